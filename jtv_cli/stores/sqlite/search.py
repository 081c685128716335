"""The nearest documents of one table, by its index or by looking at every vector."""

from __future__ import annotations

from math import isqrt
from typing import TYPE_CHECKING, NamedTuple

from jtv_cli.records.checks import RECALL_AT
from jtv_cli.stores.sqlite.index import SEGMENT

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from jtv_cli.records import Vectors
    from jtv_cli.stores.distances import Ids, Nearest
    from jtv_cli.stores.sqlite.codes import CodeDistances
    from jtv_cli.stores.sqlite.index import Generation, Index
    from jtv_cli.stores.sqlite.rows import Rows

# For the RECALL_AT nearest, and for each neighbour more.
_LEAST_CANDIDATES = 512
_CANDIDATES_FOR_ONE_MORE = 12
READ_BY_ID_COST = 4
"""A row read by its id takes as long as so many that are read one after another."""


class Route(NamedTuple):
    """How a search goes: by a generation of the index, or exactly where that is None.

    Where documents are `chosen`, only these are compared. Where fewer than `least` of the
    nearest candidates are among the rows that are read, the index is of no use.
    """

    generation: Generation | None
    candidates: int
    explanation: str
    chosen: Collection[int] | None = None
    least: int = 0


def usual_candidates(documents: int) -> int:
    """Return how many candidates hold the ten nearest of so many documents, almost always."""
    return max(_LEAST_CANDIDATES, 2 * isqrt(documents))


def can_use(candidates: int, documents: int) -> bool:
    """Return whether so many candidates take less time than all documents."""
    return candidates * READ_BY_ID_COST < documents


def route(rows: Rows, index: Index, k: int) -> Route:
    """Return how to search for the k nearest."""
    usable, documents = index.usable(), rows.count()
    if usable is None:
        if rows.newest() < SEGMENT:
            return exactly("a table this small needs no index")
        return exactly("there is no index; make it with: jtv index build")
    if usable.candidates == 0:
        return exactly("the index would miss too much of this table, as jtv index check found")
    candidates = max(usual_candidates(documents), usable.candidates or 0)
    candidates += max(0, k - RECALL_AT) * _CANDIDATES_FOR_ONE_MORE
    if not can_use(candidates, documents):
        return exactly(f"for {k:,} of {documents:,} documents that is faster")
    return Route(usable, candidates, f"index: {candidates:,} candidates of {documents:,} documents")


def exactly(reason: str) -> Route:
    """Return a search that looks at every vector."""
    return Route(None, 0, f"exact: {reason}")


def search(
    rows: Rows, index: Index, way: Route, unit_queries: Vectors, nearest: Sequence[Nearest]
) -> int:
    """Offer to the nearest of each of (m, dimensions) queries what may be near it.

    That is every document; or the candidates of the index and what it does not cover yet;
    or those that are chosen. Returns for how many queries the index was of no use, so that
    all rows were compared.
    """
    generation = way.generation
    after = generation.last if generation else 0
    blocks = rows.vectors(after=after) if way.chosen is None else rows.vectors_of(way.chosen)
    for ids, vectors in blocks:
        _offer(ids, vectors, unit_queries, nearest)
    if generation is None:
        return 0
    found = index.distances(generation, unit_queries)
    left = [
        position
        for position, (ids, distances) in enumerate(found)
        if not _rescore(rows, way, ids, distances, unit_queries[position], nearest[position])
    ]
    if left:
        again = [nearest[position] for position in left]
        for best in again:
            best.clear()
        search(rows, index, exactly(""), unit_queries[left], again)
    return len(left)


def _rescore(
    rows: Rows, way: Route, ids: Ids, distances: CodeDistances, query: Vectors, best: Nearest
) -> bool:
    """Offer the nearest by code: so many, and more where some of them are not among the rows.

    Returns whether the index was of use.
    """
    from jtv_cli.stores.sqlite.codes import nearest_codes

    seen = there = 0
    while there < way.candidates and seen < ids.size:
        candidates = nearest_codes(distances, 2 * seen or way.candidates)
        for found, vectors in rows.vectors_of(ids[candidates[seen:]].tolist()):
            _offer(found, vectors, query[None], [best])
            there += found.size
        if there < way.least:
            return False
        seen = candidates.size
    return True


def _offer(ids: Ids, vectors: Vectors, unit_queries: Vectors, nearest: Iterable[Nearest]) -> None:
    from jtv_cli.stores.distances import cosine_distances

    for best, distances in zip(nearest, cosine_distances(vectors, unit_queries), strict=True):
        best.offer(ids, distances)
