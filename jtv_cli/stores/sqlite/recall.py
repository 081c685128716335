"""How much of what is nearest an index finds, measured on the table's own documents."""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from jtv_cli.records import GOOD_RECALL, RECALL_AT, IndexCheck
from jtv_cli.stores.distances import Nearest, normalized
from jtv_cli.stores.sqlite.codes import nearest_codes
from jtv_cli.stores.sqlite.search import (
    Route,
    can_use,
    exactly,
    search,
    usual_candidates,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from jtv_cli.records import Vectors
    from jtv_cli.stores.distances import Ids
    from jtv_cli.stores.sqlite.codes import CodeDistances
    from jtv_cli.stores.sqlite.index import Generation, Index
    from jtv_cli.stores.sqlite.rows import Rows

    Ranks = npt.NDArray[np.intp]

_ENOUGH = 100  # queries, of ten neighbours each: ten that are missed are 0.99
_TIMED = 5  # exact searches that are timed
_SAME = 1e-6  # float32 distances that differ by no more are a tie, and either will do
_TIES = 256  # documents at a tie that are told from others


class _Query(NamedTuple):
    """A document that is looked for, and those nearest to it, itself left out.

    `others` are those at a tie with the farthest of the ten, too.
    """

    own: int
    vector: Vectors
    others: Ids
    farthest: float

    @property
    def wanted(self) -> int:
        return min(RECALL_AT, self.others.size)


def check(
    rows: Rows, index: Index, generation: Generation, queries: int
) -> tuple[IndexCheck, int | None]:
    """Return what was measured, and the number of candidates to keep for this table.

    That is None where the usual number will do, 0 where exact searches are faster.
    """
    documents = rows.count()
    usual = usual_candidates(documents)
    candidates = max(usual, generation.candidates or 0)
    asked = _queries(rows, index, queries)
    found, by_index = _found(rows, index, Route(generation, candidates, ""), asked)
    recall = found / sum(query.wanted for query in asked)
    ranks = np.concatenate(list(_ranks(rows, index, generation, asked)))
    needed = int(np.quantile(ranks, GOOD_RECALL, method="inverted_cdf"))
    by_all = _found(rows, index, exactly(""), asked[:_TIMED])[1]
    if recall >= GOOD_RECALL:
        kept = None if candidates == usual else candidates
        which = "the usual number of" if kept is None else f"{candidates:,}"
        verdict = f"good: {which} candidates will do"
    elif len(asked) < min(_ENOUGH, documents):
        kept = generation.candidates
        verdict = f"nothing changes: so few queries are too few to go by; ask {_ENOUGH} or more"
    elif can_use(needed, documents):
        kept, verdict = needed, f"from now on {needed:,} candidates are compared"
    else:
        kept = 0
        verdict = "from now on this table is searched exactly: so many candidates would take longer"
    return IndexCheck(len(asked), recall, candidates, needed, by_index, by_all, verdict), kept


def _queries(rows: Rows, index: Index, size: int) -> list[_Query]:
    """Return so many documents, or all, with what an exact search finds."""
    ids, blocks = zip(*rows.vectors_of(rows.sample(size)), strict=True)
    vectors = normalized(np.concatenate(blocks))
    nearest = [Nearest(1 + RECALL_AT + _TIES) for _ in vectors]
    search(rows, index, exactly(""), vectors, nearest)
    return [
        _query(own, vector, best)
        for own, vector, best in zip(np.concatenate(ids).tolist(), vectors, nearest, strict=True)
    ]


def _query(own: int, vector: Vectors, best: Nearest) -> _Query:
    others = [(number, distance) for number, distance in best.ranked() if number != own]
    farthest = others[:RECALL_AT][-1][1] + _SAME
    ids = [number for number, distance in others if distance <= farthest]
    return _Query(own, vector, np.array(ids, np.int64), farthest)


def _found(rows: Rows, index: Index, way: Route, queries: Sequence[_Query]) -> tuple[int, float]:
    """Return how many of the nearest are found, and the median time of one search."""
    found, times = 0, []
    for query in queries:
        best = Nearest(1 + RECALL_AT)
        started = time.perf_counter()
        search(rows, index, way, query.vector[None], [best])
        times.append(time.perf_counter() - started)
        others = [distance for number, distance in best.ranked() if number != query.own]
        found += sum(distance <= query.farthest for distance in others[:RECALL_AT])
    return found, median(times)


def _ranks(
    rows: Rows, index: Index, generation: Generation, queries: Sequence[_Query]
) -> Iterator[Ranks]:
    """Yield the rank, by code, of each of the ten neighbours of each of the queries.

    A search with at least so many candidates finds that neighbour. What the index does
    not cover yet is always found: its rank is 0. Codes of deleted documents do not count.
    """
    there = np.fromiter((row[0] for row in rows.execute('SELECT id FROM "{name}"')), np.int64)
    vectors = np.stack([query.vector for query in queries])
    for query, (ids, distances) in zip(queries, index.distances(generation, vectors), strict=True):
        is_there = np.isin(ids, there)
        yield _ranks_by_code(query, ids[is_there], distances[is_there])


def _ranks_by_code(query: _Query, ids: Ids, distances: CodeDistances) -> Ranks:
    is_wanted = np.isin(ids, query.others)
    uncovered = min(query.wanted, query.others.size - np.count_nonzero(is_wanted))
    left = query.wanted - uncovered
    ranks = np.zeros(query.wanted, np.intp)
    if left:
        farthest = np.partition(distances[is_wanted], left - 1)[left - 1]
        order = nearest_codes(distances, int(np.count_nonzero(distances <= farthest)))
        ranks[uncovered:] = np.flatnonzero(is_wanted[order])[:left] + 1
    return ranks
