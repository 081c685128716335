"""The sentence model all-MiniLM-L6-v2, computed with numpy alone.

The weights are mapped from the file that `jtv models pull` downloads. Where ONNX Runtime is
installed, it computes the layers of large batches: see `minilm_onnx`.

The architecture is BERT's with six layers; vectors are the mean over all tokens, made unit
vectors. The model reads at most 256 tokens at a time: a longer text is cut into windows,
and its vector is the mean of theirs, weighted by their tokens.
"""

from __future__ import annotations

import math
import sys
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from jtv_cli.batching import batched_by_length
from jtv_cli.embedders import BatchLimit
from jtv_cli.embedders.minilm_weights import EPSILON, HEADS, WIDTH, read_weights
from jtv_cli.embedders.weights import find_weights
from jtv_cli.embedders.wordpiece import WordPiece
from jtv_cli.records import Embeddings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from jtv_cli.embedders import EmbedderOptions, Model
    from jtv_cli.embedders.minilm_weights import Floats, Layer, Linear, Mask, Weights
    from jtv_cli.records import Purpose, Vectors

    Ids = npt.NDArray[np.int64]

_WINDOW = 254  # and a token before and after it
_MOST_WINDOWS = 16
"""What is behind some 4,000 tokens of a text is not read: it would take seconds."""

_PADDING = 0  # the vocabulary's [PAD], which no text has

_TOKENS_AT_ONCE = 2048
"""Padded tokens that are computed together: their activations fit the processor's cache."""

_SMALL = 256
"""Tokens up to which one thread is fastest: others would mostly wait for one another, on a
busy machine for long."""

_ONNX_FROM = 16
"""Texts from which on ONNX Runtime is worth its start-up."""


def open_embedder(model: Model, options: EmbedderOptions) -> MiniLmEmbedder:
    """Return the embedder. Raises UsageError where its weights were not downloaded."""
    return MiniLmEmbedder(model, find_weights(model.name, options.models_directory))


class MiniLmEmbedder:
    """Embeds with all-MiniLM-L6-v2 in this process: without network, key or cost.

    A text has the same vector as a document and as a query.
    """

    def __init__(self, model: Model, directory: Path) -> None:
        self.model = model
        self.batch_limit = BatchLimit(texts=64, tokens=1 << 13)
        self._tokenizer = WordPiece(directory / "vocab.txt")
        self._weights = read_weights(directory / "model.safetensors")
        self._onnx: Callable[[Floats, Mask], Floats] | None = None

    def embed(self, texts: Sequence[str], purpose: Purpose) -> Embeddings:  # noqa: ARG002
        """Return the texts' unit vectors, in their order; an empty text has one, too."""
        windows: list[list[int]] = []
        owners: list[int] = []
        for row, text in enumerate(texts):
            ids = self._tokenizer.ids(text, _WINDOW * _MOST_WINDOWS)
            for start in range(0, len(ids) or 1, _WINDOW):
                cls, sep = self._tokenizer.cls, self._tokenizer.sep
                windows.append([cls, *ids[start : start + _WINDOW], sep])
                owners.append(row)
        vectors = self._vectors(windows)
        if len(windows) == len(texts):
            return Embeddings(vectors)
        weights = np.fromiter(map(len, windows), np.float32, len(windows))
        sums = np.zeros((len(texts), WIDTH), np.float32)
        np.add.at(sums, owners, vectors * weights[:, None])
        return Embeddings(_unit(sums))

    def _vectors(self, windows: Sequence[Sequence[int]]) -> Vectors:
        """Return unit vectors of windows of ids, each computed with others of its length."""
        layers = self._layers(len(windows))
        vectors = np.empty((len(windows), WIDTH), np.float32)
        for rows in batched_by_length(windows, _TOKENS_AT_ONCE):
            ids = np.full((len(rows), len(windows[rows[-1]])), _PADDING)
            for place, row in enumerate(rows):
                ids[place, : len(windows[row])] = windows[row]
            is_token = ids != _PADDING
            last = layers(_first_state(self._weights, ids), is_token)
            vectors[rows] = _unit(np.einsum("nld,nl->nd", last, is_token.astype(np.float32)))
        return vectors

    def _layers(self, texts: int) -> Callable[[Floats, Mask], Floats]:
        """Return what computes the last hidden state (n, length, 384) from the first."""
        if texts < _ONNX_FROM or not find_spec("onnxruntime"):
            return self._by_numpy
        if self._onnx is None:
            from jtv_cli.embedders.minilm_onnx import open_layers

            self._onnx = open_layers(self._weights)
        return self._onnx

    def _by_numpy(self, hidden: Floats, is_token: Mask) -> Floats:
        is_small = is_token.size <= _SMALL
        with _one_thread() if is_small else nullcontext():
            return _last_state(self._weights, hidden, is_token)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Have OpenBLAS, if that is what numpy uses, compute in one thread."""
    import ctypes

    try:
        # The functions of a library that it depends on can be found through it.
        library = ctypes.CDLL(sys.modules["numpy._core._multiarray_umath"].__file__ or "")
        threads = library.scipy_openblas_get_num_threads64_()
        set_threads = library.scipy_openblas_set_num_threads64_
    except (AttributeError, KeyError, OSError):
        yield
        return
    set_threads(1)
    try:
        yield
    finally:
        set_threads(threads)


def _first_state(weights: Weights, ids: Ids) -> Floats:
    """Return the hidden state (n, length, 384) that token ids (n, length) begin with."""
    hidden = weights.embeddings[ids] + weights.positions[: ids.shape[1]]
    return _layer_norm(hidden.reshape(-1, WIDTH), weights.norm).reshape(hidden.shape)


def _last_state(weights: Weights, first: Floats, is_token: Mask) -> Floats:
    """Return the hidden state after all layers, (n, length, 384) as the first."""
    count, length, _ = first.shape
    # Products of two dimensions are faster than numpy's of three.
    hidden = first.reshape(count * length, WIDTH)
    # Attention passes over padding.
    bias = None if is_token.all() else np.where(is_token, 0, -1e9).astype("f4")[:, None, None]
    for layer in weights.layers:
        attended = _attention(hidden, layer, (count, length), bias)
        hidden += _apply(attended, layer.attention)
        hidden = _layer_norm(hidden, layer.attention_norm)
        inner = _gelu(_apply(hidden, layer.intermediate))
        hidden += _apply(inner, layer.output)
        hidden = _layer_norm(hidden, layer.output_norm)
    return hidden.reshape(first.shape)


def _attention(hidden: Floats, layer: Layer, shape: tuple[int, int], bias: Floats | None) -> Floats:
    size = WIDTH // HEADS
    query, key, value = (
        _apply(hidden, linear).reshape(*shape, HEADS, size).transpose(0, 2, 1, 3)
        for linear in (layer.query, layer.key, layer.value)
    )
    scores = query @ key.transpose(0, 1, 3, 2)
    scores *= np.float32(1 / math.sqrt(size))
    if bias is not None:
        scores += bias
    scores -= scores.max(-1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(-1, keepdims=True)
    mixed: Floats = (scores @ value).transpose(0, 2, 1, 3).reshape(hidden.shape)
    return mixed


def _apply(inputs: Floats, linear: Linear) -> Floats:
    outputs: Floats = inputs @ linear[0]
    outputs += linear[1]
    return outputs


def _layer_norm(values: Floats, norm: Linear) -> Floats:
    """Normalise rows (tokens, 384), in place."""
    values -= values.mean(-1, keepdims=True)
    variance = np.einsum("ij,ij->i", values, values)[:, None]
    variance /= values.shape[1]
    variance += EPSILON
    np.sqrt(variance, out=variance)
    values /= variance
    values *= norm[0]
    values += norm[1]
    return values


def _gelu(values: Floats) -> Floats:
    """Return x · Φ(x); Φ by formula 7.1.26 of Abramowitz and Stegun, within 1.5e-7."""
    square = np.abs(values)
    square *= np.float32(1 / math.sqrt(2))
    term = square * np.float32(0.3275911)
    term += 1
    np.reciprocal(term, out=term)
    np.square(square, out=square)
    np.negative(square, out=square)
    np.exp(square, out=square)
    polynomial = term * np.float32(1.061405429)
    for coefficient in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        polynomial += np.float32(coefficient)
        polynomial *= term
    polynomial *= square
    result: Floats = np.copysign(1 - polynomial, values)
    result += 1
    result *= np.float32(0.5)
    result *= values
    return result


def _unit(sums: Floats) -> Vectors:
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    unit: Vectors = sums / np.maximum(lengths, np.float32(1e-12))
    return unit
