"""Tiny models in ONNX's format: a vector for each word, and a tokenizer of those words.

A word's vector is drawn from its name and the model's seed, so that texts with words in
common are near. The graph is one Gather; pooling is what jtv does afterwards.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

WORDS = ("[UNK]", "[CLS]", "[SEP]", "cat", "dog", "bread", "flour", "river", "query", "text", ":")
DIMENSIONS = 48


def write(
    directory: Path,
    *,
    seed: int = 1,
    inputs: tuple[str, ...] = ("input_ids", "attention_mask"),
    is_pooled: bool = False,
    **record: Any,
) -> Path:
    """Write a model; `is_pooled` has it return one vector for each text, that of its start."""
    import onnx
    from onnx import TensorProto, helper

    directory.mkdir(parents=True, exist_ok=True)
    table = vectors_of_words(seed)
    shape: list[Any] = ["n", DIMENSIONS] if is_pooled else ["n", "length", DIMENSIONS]
    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["gathered"])]
    constants = [
        helper.make_tensor("table", TensorProto.FLOAT, table.shape, table.tobytes(), raw=True)
    ]
    if is_pooled:
        constants.append(helper.make_tensor("first", TensorProto.INT64, [], [0]))
        nodes.append(helper.make_node("Gather", ["gathered", "first"], ["out"], axis=1))
    else:
        nodes.append(helper.make_node("Identity", ["gathered"], ["out"]))
    given = [helper.make_tensor_value_info(n, TensorProto.INT64, ["n", "length"]) for n in inputs]
    output = helper.make_tensor_value_info("out", TensorProto.FLOAT, shape)
    graph = helper.make_graph(nodes, "tiny", given, [output], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(directory / "model.onnx"))

    _write_tokenizer(directory)
    (directory / "jtv.json").write_text(json.dumps(record))
    return directory


def _write_tokenizer(directory: Path) -> None:
    import tokenizers

    words = {word: number for number, word in enumerate(WORDS)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 1), ("[SEP]", 2)],
    )
    tokenizer.save(str(directory / "tokenizer.json"))


def write_cross_encoder(directory: Path, *, most: int = 32, scores: int = 1) -> Path:
    """Write a model that scores a text by what its words have in common with the query's.

    A score is the mean of the products of the query's vectors, summed, and the mean of the
    text's. `most` is the length
    of the longest text; a longer one fails, as it does where positions have vectors.
    """
    import onnx
    from onnx import TensorProto, helper

    directory.mkdir(parents=True, exist_ok=True)
    (directory / "tokenizer_config.json").write_text(json.dumps({"model_max_length": most}))
    table = vectors_of_words(1)
    constants = [
        helper.make_tensor("table", TensorProto.FLOAT, table.shape, table.tobytes(), raw=True),
        helper.make_tensor("last", TensorProto.INT64, [1], [-1]),
        helper.make_tensor("tokens", TensorProto.INT64, [1], [1]),
        helper.make_tensor("copies", TensorProto.INT64, [2], [1, scores]),
        helper.make_tensor("positions", TensorProto.FLOAT, [most, 1], [0.0] * most),
    ]
    steps: list[tuple[str, list[str], str, dict[str, Any]]] = [
        ("Gather", ["positions", "position_ids"], "place", {}),
        ("Gather", ["table", "input_ids"], "gathered", {}),
        ("Add", ["gathered", "place"], "words", {}),
        ("Cast", ["token_type_ids"], "of_text", {"to": TensorProto.FLOAT}),
        ("Cast", ["attention_mask"], "kept", {"to": TensorProto.FLOAT}),
        ("Sub", ["kept", "of_text"], "of_query", {}),
        ("Unsqueeze", ["of_text", "last"], "text_mask", {}),
        ("Unsqueeze", ["of_query", "last"], "query_mask", {}),
        ("Mul", ["words", "text_mask"], "text_words", {}),
        ("Mul", ["words", "query_mask"], "query_words", {}),
        ("ReduceSum", ["text_words", "tokens"], "text_sum", {"keepdims": 0}),
        ("ReduceSum", ["query_words", "tokens"], "query", {"keepdims": 0}),
        ("ReduceSum", ["of_text", "tokens"], "length", {"keepdims": 1}),
        ("Div", ["text_sum", "length"], "text", {}),
        ("Mul", ["query", "text"], "products", {}),
        ("ReduceMean", ["products"], "score", {"axes": [-1], "keepdims": 1}),
        ("Tile", ["score", "copies"], "logits", {}),
    ]
    nodes = [helper.make_node(kind, given, [out], **more) for kind, given, out, more in steps]
    names = ("input_ids", "attention_mask", "token_type_ids", "position_ids")
    given = [helper.make_tensor_value_info(n, TensorProto.INT64, ["n", "length"]) for n in names]
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", scores])
    graph = helper.make_graph(nodes, "cross_encoder", given, [output], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(directory / "model.onnx"))
    _write_tokenizer(directory)
    return directory


def vectors_of_words(seed: int) -> Any:
    return np.random.default_rng(seed).standard_normal((len(WORDS), DIMENSIONS), np.float32)
