"""Sign codes: binary codes of vectors whose Hamming distances approximate their angles.

The mean of all vectors is subtracted from a unit vector, the result is rotated at random,
and the sign of each coordinate becomes one bit. The mean is subtracted because it is common
to all vectors and does not tell them apart. The rotation is a random sign for each
coordinate, then a Hadamard matrix of the next power of two (Ailon and Chazelle, "The fast
Johnson–Lindenstrauss transform", 2009). Short vectors are rotated several times.

The code of a query is not stored, so it can be more precise: it has a mask that excludes
the coordinates near zero.

Codes are stored in planes, (words, n): the n first words, then the n second words, and so on.
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
# Vectors encoded at once. With more, page faults cost more than the calls that are saved.
_BLOCK = 32
# The threshold of three levels, -1, 0 and 1, that keep most of a normal distribution
# (Max, "Quantizing for minimum distortion", 1960), in standard deviations.
_NEAR_ZERO = 0.612


class QueryCodes(NamedTuple):
    """The codes of m queries and the masks of the bits to compare; each (words, m)."""

    signs: Codes
    masks: Codes


def seed_size(dimensions: int) -> int:
    """Return the number of bytes of a seed, which has one bit for each bit of a code."""
    return max(_LEAST_BITS, _width(dimensions)) // 8


class Encoder:
    """Encodes vectors, given a seed and the mean, (dimensions,), of all vectors.

    A code has `words` words of 64 bits.
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

        The query's component along the mean is removed, because it is about the same for
        every vector. If the mean is no longer than that of random vectors, it is a direction
        like any other, and less of the component is removed.
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
    """Yield, for each of m queries, the number of compared bits in which the n codes differ."""
    for signs, mask in zip(queries.signs.T, queries.masks.T, strict=True):
        differing = codes ^ signs[:, None]
        differing &= mask[:, None]
        yield np.bitwise_count(differing).sum(axis=0, dtype=np.uint16)


def nearest_codes(distances: CodeDistances, count: int) -> Positions:
    """Return the positions of the `count` smallest distances, in order; ties by position.

    A histogram of the distances gives the largest one to keep, which is faster than sorting.
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

    The matrix is the Kronecker product of two matrices of about the square root of its
    size, and two small products are ten times as fast as one large one.
    """
    width = vectors.shape[-1]
    columns = 1 << (width.bit_length() // 2)
    rows = width // columns
    # One small product for each vector: BLAS would start threads for a large one.
    squares = vectors.reshape(-1, rows, columns)
    product = _hadamard(rows) @ (squares @ _hadamard(columns))
    return product.reshape(vectors.shape)


@cache
def _hadamard(width: int) -> Vectors:
    matrix = np.ones((1, 1), np.float32)
    while len(matrix) < width:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return matrix
