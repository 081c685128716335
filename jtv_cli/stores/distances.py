"""Cosine distances over blocks of vectors, and the nearest of many."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from jtv_cli.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy.typing as npt

    from jtv_cli.records import Vectors

    Ids = npt.NDArray[np.int64]

# Below, float32 keeps fewer and fewer digits.
_LEAST_SQUARE = np.finfo(np.float32).smallest_normal
# A float32 sum of 16,000 products of unit vectors is off by less than half of this.
_ESTIMATE_MARGIN = 1e-3
_LEAST_EXCESS = 8


def check_vectors(vectors: Vectors, count: int, dimensions: int) -> None:
    """Raise StoreError unless there are `count` usable vectors of that many dimensions."""
    if vectors.shape != (count, dimensions):
        raise StoreError(f"got vectors of shape {vectors.shape}, not {(count, dimensions)}")
    if not are_usable(vectors):
        raise StoreError("got a vector whose length is zero or not finite")


def are_usable(vectors: Vectors) -> bool:
    """Return whether (n, dimensions) float32 vectors all have a distance to others.

    A distance takes the square of the length, which float32 cannot hold for vectors that
    are extremely short or long.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.vecdot(vectors, vectors)
    return bool(((squares >= _LEAST_SQUARE) & (squares < np.inf)).all())


def normalized(vectors: Vectors) -> Vectors:
    """Return (n, dimensions) float32 vectors scaled to length 1."""
    with np.errstate(all="ignore"):
        unit: Vectors = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return unit


def offer(ids: Ids, vectors: Vectors, unit_queries: Vectors, nearest: Iterable[Nearest]) -> None:
    """Offer (n,) documents with their (n, dimensions) vectors to the nearest of each query.

    One matrix product estimates the distances to the (m, dimensions) queries. It rounds a
    row differently depending on where in the block it is, so that those that may be near
    are measured again, each by itself.
    """
    with np.errstate(all="ignore"):
        lengths = np.sqrt(np.vecdot(vectors, vectors))
        similarities = (unit_queries @ vectors.T) / lengths
        for best, row, most in zip(nearest, similarities, similarities.max(axis=1), strict=True):
            # Not a number, of a damaged vector, is no reason to leave out the others.
            if not most < best.least_similarity:
                best.offer(ids, vectors, lengths, row)


def distances_to(unit_query: Vectors, vectors: Vectors) -> Vectors:
    """Return the distances of (n, dimensions) vectors to a (dimensions,) unit query: (n,).

    The same vector always has the same distance, whichever block it is read in, so that
    equal vectors are a tie in every search.
    """
    with np.errstate(all="ignore"):
        return _distances(vectors, np.sqrt(np.vecdot(vectors, vectors)), unit_query)


def _distances(vectors: Vectors, lengths: Vectors, unit_query: Vectors) -> Vectors:
    distances: Vectors = np.vecdot(vectors, unit_query)
    distances /= lengths
    np.subtract(1, distances, out=distances)
    np.maximum(distances, 0, out=distances)
    np.minimum(distances, 2, out=distances)
    return distances


class Nearest:
    """The k documents nearest to one (dimensions,) unit query; at a tie, those of smaller ids."""

    def __init__(self, unit_query: Vectors, k: int, max_distance: float | None = None) -> None:
        self._query = unit_query
        self._k = k
        self._max_distance = 2.0 if max_distance is None else max_distance
        self.clear()

    def clear(self) -> None:
        """Start again without any document."""
        self._set_threshold(self._max_distance)
        self._ids: Ids = np.empty(0, np.int64)
        self._distances: Vectors = np.empty(0, np.float32)

    def offer(self, ids: Ids, vectors: Vectors, lengths: Vectors, estimates: Vectors) -> None:
        """Keep what is near enough of (n,) documents; see the function `offer`.

        `lengths` are those of the vectors, `estimates` their similarities to the query.
        """
        (near,) = (estimates >= self.least_similarity).nonzero()
        if near.size < ids.size:
            ids, vectors, lengths = ids[near], vectors[near], lengths[near]
        distances = _distances(vectors, lengths, self._query)
        kept = distances <= self._threshold
        self._ids = np.concatenate((self._ids, ids[kept]))
        self._distances = np.concatenate((self._distances, distances[kept]))
        # Seldom enough that sorting takes little, often enough that the threshold is low.
        if self._ids.size > self._k + max(_LEAST_EXCESS, self._k // 8):
            self._cut()

    def share_of(self, ids: Ids) -> float:
        """Return which share of the k these ids are."""
        self._cut()
        return np.count_nonzero(np.isin(self._ids, ids)) / self._k

    def ranked(self) -> list[tuple[int, float]]:
        """Return (id, distance), nearest first, and the smaller id first at a tie."""
        self._cut()
        return list(zip(self._ids.tolist(), self._distances.tolist(), strict=True))

    def _cut(self) -> None:
        order = np.lexsort((self._ids, self._distances))[: self._k]
        self._ids, self._distances = self._ids[order], self._distances[order]
        if self._ids.size == self._k:
            self._set_threshold(float(self._distances[-1]))

    def _set_threshold(self, distance: float) -> None:
        self._threshold = distance
        # Of estimates: what is less similar is too far.
        self.least_similarity = 1 - distance - _ESTIMATE_MARGIN


class Ranking:
    """All documents by distance to one query, in 16 bytes each.

    The bits of a float32 that is not negative order as the number does, so an
    eight-byte key of distance and position sorts in place; the ids, by position,
    are the other eight. Offered by id, the smaller id comes first at a tie.
    """

    def __init__(self, size: int) -> None:
        self._keys: npt.NDArray[np.uint64] = np.empty(size, np.uint64)
        self._ids: Ids = np.empty(size, np.int64)
        self._filled = 0

    def offer(self, ids: Ids, distances: Vectors) -> None:
        """Add (n,) ids and distances; what exceeds the size is left out."""
        start = self._filled
        self._filled = end = min(start + ids.size, self._ids.size)
        self._ids[start:end] = ids[: end - start]
        positions = np.arange(start, end, dtype=np.uint64)
        bits = distances[: end - start].astype(np.float32).view(np.uint32).astype(np.uint64)
        self._keys[start:end] = bits << np.uint64(32) | positions

    def ranked(self, size: int) -> Iterator[list[tuple[int, float]]]:
        """Yield (id, distance), nearest first, `size` at a time. No `offer` may follow."""
        keys = self._keys[: self._filled]
        keys.sort()
        for start in range(0, self._filled, size):
            chunk = keys[start : start + size]
            ids = self._ids[(chunk & np.uint64(0xFFFFFFFF)).astype(np.int64)]
            distances = (chunk >> np.uint64(32)).astype(np.uint32).view(np.float32)
            yield list(zip(ids.tolist(), distances.tolist(), strict=True))
