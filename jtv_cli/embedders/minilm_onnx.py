"""The layers of all-MiniLM-L6-v2 on ONNX Runtime, which computes them faster than numpy.

The graph is written here, from the same weights, so that there is no second file to
download and vectors are the same within 1e-5. ONNX is a format of protocol buffers,
https://onnx.ai/onnx/repo-docs/IR.html.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from jtv_cli.embedders.minilm_weights import EPSILON, HEADS, WIDTH

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from jtv_cli.embedders.minilm_weights import Floats, Linear, Mask, Weights

_IR_VERSION, _OPSET = 8, 17
_FLOAT, _INT64 = 1, 7
_TYPES = {"float32": _FLOAT, "int64": _INT64}


def open_layers(weights: Weights) -> Callable[[Floats, Mask], Floats]:
    """Return a function that computes the last hidden state (n, length, 384) from the first.

    Its second argument says which of the (n, length) are tokens, and no padding.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        _model(weights), options, providers=["CPUExecutionProvider"]
    )

    def compute(hidden: Floats, is_token: Mask) -> Floats:
        [last] = session.run(None, {"first": hidden, "mask": is_token.astype(np.float32)})
        result: Floats = last
        return result

    return compute


def _model(weights: Weights) -> bytes:
    """Return the graph of all layers, as an ONNX model."""
    graph = _Graph()
    hidden = "first"
    padding = graph.node("Sub", "mask", graph.constant(np.float32(1)))
    bias = graph.node(
        "Unsqueeze",
        graph.node("Mul", padding, graph.constant(np.float32(1e9))),
        graph.constant(np.array([1, 2])),
    )
    for layer in weights.layers:
        query, key, value = (
            graph.heads(graph.linear(hidden, linear), order)
            for linear, order in (
                (layer.query, (0, 2, 1, 3)),
                (layer.key, (0, 2, 3, 1)),
                (layer.value, (0, 2, 1, 3)),
            )
        )
        scale = graph.constant(np.float32(1 / math.sqrt(WIDTH // HEADS)))
        scores = graph.node("Mul", graph.node("MatMul", query, key), scale)
        shares = graph.node("Softmax", graph.node("Add", scores, bias), axis=-1)
        mixed = graph.node("Transpose", graph.node("MatMul", shares, value), perm=(0, 2, 1, 3))
        joined = graph.node("Reshape", mixed, graph.constant(np.array([0, 0, WIDTH])))
        attended = graph.linear(joined, layer.attention)
        hidden = graph.norm(graph.node("Add", hidden, attended), layer.attention_norm)
        inner = graph.gelu(graph.linear(hidden, layer.intermediate))
        output = graph.linear(inner, layer.output)
        hidden = graph.norm(graph.node("Add", hidden, output), layer.output_norm)
    graph.node("Identity", hidden, output="last")
    return graph.encoded()


class _Graph:
    """The nodes and the constants of a graph, encoded as they are added."""

    def __init__(self) -> None:
        self._nodes: list[bytes] = []
        self._constants: list[bytes] = []
        self._names = 0

    def node(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:  # noqa: ANN401
        """Add a node with one output, and return the output's name."""
        output = output or self._name()
        parts = [_text(1, name) for name in inputs]
        parts += [_text(2, output), _text(4, kind)]
        parts += [_field(5, _attribute(*item)) for item in attributes.items()]
        self._nodes.append(_field(1, b"".join(parts)))
        return output

    def constant(self, value: npt.NDArray[Any] | np.float32) -> str:
        """Add a tensor, and return its name."""
        name = self._name()
        array: npt.NDArray[Any] = np.ascontiguousarray(value).reshape(np.shape(value))
        parts = [_number(1, size) for size in array.shape]
        parts.append(_number(2, _TYPES[array.dtype.name]))
        parts += [_text(8, name), _field(9, array.tobytes())]
        self._constants.append(_field(5, b"".join(parts)))
        return name

    def linear(self, inputs: str, linear: Linear) -> str:
        """Add a linear layer."""
        weights, bias = (self.constant(values) for values in linear)
        return self.node("Add", self.node("MatMul", inputs, weights), bias)

    def norm(self, inputs: str, norm: Linear) -> str:
        """Add a LayerNorm."""
        weight, bias = (self.constant(values) for values in norm)
        return self.node("LayerNormalization", inputs, weight, bias, axis=-1, epsilon=EPSILON)

    def heads(self, inputs: str, order: Sequence[int]) -> str:
        """Split rows (n, length, 384) into heads, and reorder the dimensions."""
        shape = self.constant(np.array([0, 0, HEADS, WIDTH // HEADS]))
        return self.node("Transpose", self.node("Reshape", inputs, shape), perm=order)

    def gelu(self, inputs: str) -> str:
        """Add x · Φ(x), in the steps that ONNX Runtime recognises."""
        ratio = self.node("Div", inputs, self.constant(np.float32(math.sqrt(2))))
        error = self.node("Add", self.node("Erf", ratio), self.constant(np.float32(1)))
        product = self.node("Mul", inputs, error)
        return self.node("Mul", product, self.constant(np.float32(0.5)))

    def encoded(self) -> bytes:
        """Return the model."""
        graph = b"".join(
            [
                *self._nodes,
                _text(2, "all-minilm-l6-v2"),
                *self._constants,
                _field(11, _value("first", "n", "length", WIDTH)),
                _field(11, _value("mask", "n", "length")),
                _field(12, _value("last", "n", "length", WIDTH)),
            ]
        )
        opset = _field(8, _text(1, "") + _number(2, _OPSET))
        return _number(1, _IR_VERSION) + _field(7, graph) + opset

    def _name(self) -> str:
        self._names += 1
        return f"t{self._names}"


# Protocol buffers: a field is a tag, its number and kind, and the value.


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*encoded, value))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _field(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _text(field: int, text: str) -> bytes:
    return _field(field, text.encode())


def _attribute(name: str, value: float | Sequence[int]) -> bytes:
    if isinstance(value, float):
        single: bytes = np.float32(value).tobytes()
        kind, content = 1, _varint(2 << 3 | 5) + single
    elif isinstance(value, int):
        kind, content = 2, _number(3, value)
    else:
        kind, content = 7, b"".join(_number(8, number) for number in value)
    return _text(1, name) + content + _number(20, kind)


def _value(name: str, *shape: str | int) -> bytes:
    """Return the declaration of an input or an output of float32."""
    sizes = [_text(2, size) if isinstance(size, str) else _number(1, size) for size in shape]
    dimensions = b"".join(_field(1, encoded) for encoded in sizes)
    tensor = _number(1, _FLOAT) + _field(2, dimensions)
    return _text(1, name) + _field(2, _field(1, tensor))
