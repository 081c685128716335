"""Sign codes: vectors as bits, whose differences follow their angles.

A unit vector, less a mean, is rotated at random, and the sign of each coordinate is
one bit. The rotation is a random sign for each coordinate, then a Hadamard matrix of
the next power of two (Ailon and Chazelle, "The fast Johnson–Lindenstrauss transform",
2009); short vectors are rotated several times over. The mean is what all vectors have
in common, and so tells none of them apart.

A query need not be stored, and so may be told more exactly: of its coordinates, those
near zero are left out.

Codes are stored in planes, (words, n): the n first words, the n second words, and so on.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from jtv_cli.stores.distances import normalized

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from jtv_cli.records import Vectors

    Codes = npt.NDArray[np.uint64]
    """Shape (words, n), little-endian."""
    CodeDistances = npt.NDArray[np.uint16]
    Positions = npt.NDArray[np.intp]

_LEAST_BITS = 512
_BLOCK = 32  # vectors encoded at once: what more take costs more in page faults than calls do
# The threshold of three levels, -1, 0 and 1, that keep most of a normal distribution
# (Max, "Quantizing for minimum distortion", 1960), in standard deviations.
_NEAR_ZERO = 0.612


class QueryCodes(NamedTuple):
    """The codes of m queries, and the bits of them that count; each (words, m)."""

    signs: Codes
    masks: Codes


def seed_size(dimensions: int) -> int:
    """Return how many random bytes a seed has, a bit for each bit of a code."""
    return max(_LEAST_BITS, _width(dimensions)) // 8


class Encoder:
    """Makes codes, with one seed and the mean, (dimensions,), of the vectors to come.

    A code has `words` words.
    """

    def __init__(self, seed: bytes, mean: Vectors) -> None:
        bits = np.unpackbits(np.frombuffer(seed, np.uint8)).reshape(-1, _width(len(mean)))
        self.words = len(seed) // 8
        self._signs = np.float32(1) - 2 * bits.astype(np.float32)
        self._mean = mean

    def encode(self, vectors: Vectors) -> Codes:
        """Return the codes of (n, dimensions) vectors, none of them zero."""
        starts = range(0, len(vectors), _BLOCK)
        blocks = (normalized(vectors[start : start + _BLOCK]) for start in starts)
        return _packed(np.concatenate([self._rotate(block - self._mean) > 0 for block in blocks]))

    def encode_queries(self, unit_queries: Vectors) -> QueryCodes:
        """Return the codes of (m, dimensions) queries.

        The smaller the angle between a query and a vector less the mean, the nearer is that
        vector. What the query has of the mean itself says next to nothing of that, if the
        mean is long; if it is as short as chance makes it, it is a direction like any other.
        """
        common = float(self._mean @ self._mean)
        by_chance = max(0.0, 1 - common) / len(self._mean)
        share = unit_queries @ self._mean / max(common + by_chance, 1e-12)
        rotated = self._rotate(unit_queries - share[:, None] * self._mean)
        least = _NEAR_ZERO * np.sqrt(np.square(rotated).mean(axis=1, keepdims=True))
        return QueryCodes(_packed(rotated > 0), _packed(np.abs(rotated) > least))

    def _rotate(self, vectors: Vectors) -> Vectors:
        """Return (n, dimensions) vectors, rotated, as (n, bits)."""
        dimensions = len(self._mean)
        signed = np.zeros((len(vectors), *self._signs.shape), np.float32)
        signed[..., :dimensions] = vectors[:, None] * self._signs[:, :dimensions]
        return _rotated(signed).reshape(len(vectors), -1)


def code_distances(codes: Codes, queries: QueryCodes) -> Iterator[CodeDistances]:
    """Yield, for each of m queries, in how many bits that count the n codes differ from it."""
    for signs, mask in zip(queries.signs.T, queries.masks.T, strict=True):
        differing = codes ^ signs[:, None]
        differing &= mask[:, None]
        yield np.bitwise_count(differing).sum(axis=0, dtype=np.uint16)


def nearest_codes(distances: CodeDistances, count: int) -> Positions:
    """Return the positions of the smallest distances, in order; the first of those at a tie.

    Counting how often each distance occurs tells where to cut.
    """
    farthest = np.searchsorted(np.bincount(distances).cumsum(), count)
    positions = np.flatnonzero(distances <= farthest)
    return positions[np.argsort(distances[positions], kind="stable")[:count]]


def _packed(bits: npt.NDArray[np.bool_]) -> Codes:
    """Return (n, bits) as codes."""
    return np.ascontiguousarray(np.packbits(bits, axis=1).view("<u8").T)


def _width(dimensions: int) -> int:
    return 1 << (dimensions - 1).bit_length()


def _rotated(vectors: Vectors) -> Vectors:
    """Multiply (..., width) vectors by the Hadamard matrix of that width.

    That matrix is the Kronecker product of two of about its square root, so two
    small products do: ten times as fast as a large one.
    """
    width = vectors.shape[-1]
    columns = 1 << (width.bit_length() // 2)
    rows = width // columns
    # One small product for each vector: of a large one, BLAS would make two threads' work.
    squares = vectors.reshape(-1, rows, columns)
    product = _hadamard(rows) @ (squares @ _hadamard(columns))
    return product.reshape(vectors.shape)


@cache
def _hadamard(width: int) -> Vectors:
    matrix = np.ones((1, 1), np.float32)
    while len(matrix) < width:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return matrix
