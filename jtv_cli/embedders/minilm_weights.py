"""The weights of all-MiniLM-L6-v2, mapped from a file in the format of safetensors."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]
    Mask = npt.NDArray[np.bool_]
    Linear = tuple[Floats, Floats]
    """The weights (inputs, outputs) and the bias of a linear layer, or both of a LayerNorm."""

LAYERS, WIDTH, HEADS = 6, 384, 12
EPSILON = 1e-12


class Layer(NamedTuple):
    """The weights of one layer."""

    query: Linear
    key: Linear
    value: Linear
    attention: Linear
    attention_norm: Linear
    intermediate: Linear
    output: Linear
    output_norm: Linear


class Weights(NamedTuple):
    """All weights: `embeddings` (tokens, 384), `positions` with the token type added."""

    embeddings: Floats
    positions: Floats
    norm: Linear
    layers: list[Layer]


def read_weights(path: Path) -> Weights:
    """Map the weights from a file in the format of safetensors.

    It begins with the length of its header as a little-endian 64-bit integer; the header,
    JSON, says where each tensor is behind it.
    """
    content = np.memmap(path, np.uint8, "r")
    length = int.from_bytes(content[:8].tobytes(), "little")
    header = json.loads(content[8 : 8 + length].tobytes())
    tensors = content[8 + length :]

    def tensor(name: str) -> Floats:
        first, last = header[name]["data_offsets"]
        values: Floats = np.asarray(tensors[first:last]).view("<f4").reshape(header[name]["shape"])
        return values

    def norm(name: str) -> Linear:
        return tensor(f"{name}.weight"), tensor(f"{name}.bias")

    def linear(name: str) -> Linear:
        return tensor(f"{name}.weight").T, tensor(f"{name}.bias")

    def layer(number: int) -> Layer:
        name = f"encoder.layer.{number}"
        attention = f"{name}.attention"
        return Layer(
            query=linear(f"{attention}.self.query"),
            key=linear(f"{attention}.self.key"),
            value=linear(f"{attention}.self.value"),
            attention=linear(f"{attention}.output.dense"),
            attention_norm=norm(f"{attention}.output.LayerNorm"),
            intermediate=linear(f"{name}.intermediate.dense"),
            output=linear(f"{name}.output.dense"),
            output_norm=norm(f"{name}.output.LayerNorm"),
        )

    return Weights(
        embeddings=tensor("embeddings.word_embeddings.weight"),
        positions=tensor("embeddings.position_embeddings.weight")
        + tensor("embeddings.token_type_embeddings.weight")[0],
        norm=norm("embeddings.LayerNorm"),
        layers=[layer(number) for number in range(LAYERS)],
    )
