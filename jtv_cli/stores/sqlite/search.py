"""The nearest documents of one table, by its index or by looking at every vector."""

from __future__ import annotations

from math import isqrt
from typing import TYPE_CHECKING, NamedTuple

from jtv_cli.records import RECALL_AT
from jtv_cli.stores.filters import all_compared

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


_LATE = 0.01  # the share of the best that may be among the later half of the candidates
_MOST_TIMES = 16


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


class Effort(NamedTuple):
    """The most candidates that were compared for a query, and for how many none would do."""

    candidates: int
    in_vain: int


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
        if not index.is_worth_it():
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


def explanation(way: Route, effort: Effort, queries: int) -> str:
    """Return in words how so many queries were answered."""
    words = way.explanation
    if effort.candidates > way.candidates:
        words += f", then {effort.candidates:,} to be sure"
    return words + all_compared(effort.in_vain, queries)


def search(
    rows: Rows, index: Index, way: Route, unit_queries: Vectors, nearest: Sequence[Nearest]
) -> Effort:
    """Offer to the nearest of each of (m, dimensions) queries what may be near it.

    That is every document; or the candidates of the index and what it does not cover yet;
    or those that are chosen. Where the index is of no use, all rows are compared.
    """
    generation = way.generation
    after = generation.last if generation else 0
    blocks = rows.vectors(after=after) if way.chosen is None else rows.vectors_of(way.chosen)
    for ids, vectors in blocks:
        _offer(ids, vectors, unit_queries, nearest)
    if generation is None:
        return Effort(0, 0)
    compared = [
        _rescore(rows, way, ids, distances, unit_queries[position], nearest[position])
        for position, (ids, distances) in enumerate(index.distances(generation, unit_queries))
    ]
    left = [position for position, some in enumerate(compared) if some is None]
    if left:
        again = [nearest[position] for position in left]
        for best in again:
            best.clear()
        search(rows, index, exactly(""), unit_queries[left], again)
    return Effort(max(some or 0 for some in compared), len(left))


def _rescore(
    rows: Rows, way: Route, ids: Ids, distances: CodeDistances, query: Vectors, best: Nearest
) -> int | None:
    """Offer the nearest by code, and as many again while the later half still had some of the best.

    So it is where many documents are about as near, or where those that were nearest were
    deleted. Returns how many were compared, None where the index is of no use.
    """
    from jtv_cli.stores.sqlite.codes import nearest_codes

    seen = there = 0
    while seen < ids.size:
        candidates = ids[nearest_codes(distances, 2 * seen or way.candidates)]
        for found, vectors in rows.vectors_of(candidates[seen:].tolist()):
            _offer(found, vectors, query[None], [best])
            there += found.size
        if there < way.least:
            return None
        seen = candidates.size
        is_settled = best.share_of(candidates[seen // 2 :]) <= _LATE
        if there >= (way.candidates if is_settled else _MOST_TIMES * way.candidates):
            break
        if not can_use(2 * seen, ids.size):
            return None
    return there


def _offer(ids: Ids, vectors: Vectors, unit_queries: Vectors, nearest: Iterable[Nearest]) -> None:
    from jtv_cli.stores.distances import cosine_distances

    for best, distances in zip(nearest, cosine_distances(vectors, unit_queries), strict=True):
        best.offer(ids, distances)
