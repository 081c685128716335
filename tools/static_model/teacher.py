"""Run all-MiniLM-L6-v2, the model that `static-v1` is fitted to, by ONNX Runtime in int8."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Vectors = npt.NDArray[np.float32]

WIDTH, HEADS, LAYERS, EPSILON = 384, 12, 6, 1e-12
"""The model's shape, from its config.json."""

MOST_TOKENS = 256
"""Where the model cuts a text, from its sentence_bert_config.json."""


class Teacher:
    """The sentence model: mean pooling over the last hidden states, unit vectors."""

    def __init__(self, model: Path, work: Path, threads: int) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        quantized = work / "minilm-int8.onnx"
        if not quantized.exists():
            _quantize(model / "model.safetensors", quantized)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(
            str(quantized), options, providers=["CPUExecutionProvider"]
        )
        self._tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(MOST_TOKENS)

    def embed(self, texts: Sequence[str], tokens: int = 2048) -> Vectors:
        """Return unit vectors, (n, 384), for texts in batches of about that many tokens."""
        ids = [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        vectors = np.empty((len(ids), WIDTH), np.float32)
        start = 0
        while start < len(order):
            end = start + 1
            while end < len(order) and (end - start + 1) * len(ids[order[end]]) <= tokens:
                end += 1
            rows = order[start:end]
            length = len(ids[rows[-1]])
            batch = np.zeros((len(rows), length), np.int64)
            mask = np.zeros((len(rows), length), np.float32)
            for at, row in enumerate(rows):
                batch[at, : len(ids[row])] = ids[row]
                mask[at, : len(ids[row])] = 1
            states = self._session.run(None, {"ids": batch, "mask": mask, "at": np.arange(length)})
            sums = (states[0] * mask[..., None]).sum(1)
            vectors[rows] = sums / np.linalg.norm(sums, axis=1, keepdims=True)
            start = end
        return vectors


def _quantize(weights: Path, target: Path) -> None:
    """Write BERT's graph with these weights, its matrix products in dynamic int8."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    exact = target.with_name("minilm-float32.onnx")
    onnx.save(_graph(weights), exact)
    quantize_dynamic(exact, target, weight_type=QuantType.QInt8, per_channel=True)


def _graph(weights: Path) -> Any:
    from onnx import TensorProto, helper, numpy_helper
    from safetensors.numpy import load_file

    tensors = load_file(weights)
    nodes: list[Any] = []
    constants: dict[str, Any] = {}

    def constant(name: str, value: Any) -> str:
        constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def node(kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"{kind}{len(nodes)}"
        nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def weight(name: str) -> str:
        value = tensors[name]
        return constant(name, value.T if value.ndim == 2 else value)

    def dense(x: str, name: str) -> str:
        return node("Add", node("MatMul", x, weight(f"{name}.weight")), weight(f"{name}.bias"))

    def norm(x: str, name: str) -> str:
        return node(
            "LayerNormalization",
            x,
            weight(f"{name}.weight"),
            weight(f"{name}.bias"),
            axis=-1,
            epsilon=EPSILON,
        )

    words = constant("words", tensors["embeddings.word_embeddings.weight"])
    positions = tensors["embeddings.position_embeddings.weight"]
    types = tensors["embeddings.token_type_embeddings.weight"][0]
    places = constant("places", positions + types)
    split = constant("split", np.array([0, 0, HEADS, WIDTH // HEADS], np.int64))
    joined = constant("joined", np.array([0, 0, WIDTH], np.int64))
    scale = constant("scale", np.array((WIDTH // HEADS) ** -0.5, np.float32))
    one, far = (constant(n, np.array(v, np.float32)) for n, v in (("one", 1), ("far", -1e9)))
    axes = constant("axes", np.array([1, 2], np.int64))
    root = constant("root", np.array(2**-0.5, np.float32))
    half = constant("half", np.array(0.5, np.float32))
    hidden = node("Mul", node("Unsqueeze", node("Sub", one, "mask"), axes), far)

    x = norm(
        node("Add", node("Gather", words, "ids"), node("Gather", places, "at")),
        "embeddings.LayerNorm",
    )
    for layer in range(LAYERS):
        name = f"encoder.layer.{layer}"
        query, key, value = (
            node("Reshape", dense(x, f"{name}.attention.self.{part}"), split)
            for part in ("query", "key", "value")
        )
        query = node("Transpose", query, perm=[0, 2, 1, 3])
        scores = node("MatMul", query, node("Transpose", key, perm=[0, 2, 3, 1]))
        shares = node("Softmax", node("Add", node("Mul", scores, scale), hidden), axis=-1)
        mixed = node("MatMul", shares, node("Transpose", value, perm=[0, 2, 1, 3]))
        mixed = node("Reshape", node("Transpose", mixed, perm=[0, 2, 1, 3]), joined)
        x = norm(
            node("Add", dense(mixed, f"{name}.attention.output.dense"), x),
            f"{name}.attention.output.LayerNorm",
        )
        wide = dense(x, f"{name}.intermediate.dense")
        gate = node("Add", node("Erf", node("Mul", wide, root)), one)
        wide = node("Mul", node("Mul", wide, half), gate)
        x = norm(node("Add", dense(wide, f"{name}.output.dense"), x), f"{name}.output.LayerNorm")

    integers, floats = TensorProto.INT64, TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "minilm",
        [
            helper.make_tensor_value_info("ids", integers, ["texts", "tokens"]),
            helper.make_tensor_value_info("mask", floats, ["texts", "tokens"]),
            helper.make_tensor_value_info("at", integers, ["tokens"]),
        ],
        [helper.make_tensor_value_info(x, floats, ["texts", "tokens", WIDTH])],
        list(constants.values()),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
