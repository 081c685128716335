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
    import tokenizers
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

    words = {word: number for number, word in enumerate(WORDS)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    tokenizer.save(str(directory / "tokenizer.json"))
    (directory / "jtv.json").write_text(json.dumps(record))
    return directory


def vectors_of_words(seed: int) -> Any:
    return np.random.default_rng(seed).standard_normal((len(WORDS), DIMENSIONS), np.float32)
