"""The recall of an index, measured with the table's own documents as queries."""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from jtv_cli.records import GOOD_RECALL, RECALL_AT, IndexCheck
from jtv_cli.stores.distances import Nearest, normalized
from jtv_cli.stores.sqlite.codes import nearest_codes
from jtv_cli.stores.sqlite.search import (
    Plan,
    are_worth_it,
    plan_exact,
    search,
    usual_candidates,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from jtv_cli.records import Vectors
    from jtv_cli.stores.distances import Ids
    from jtv_cli.stores.sqlite.codes import CodeDistances
    from jtv_cli.stores.sqlite.documents import Documents
    from jtv_cli.stores.sqlite.index import Generation, Index

    Ranks = npt.NDArray[np.intp]

_ENOUGH = 100  # queries, of ten neighbors each: with ten missed, recall is 0.99
_TIMED = 5  # exact searches that are timed
_SAME = 1e-6  # float32 distances that differ by no more are a tie, and either is right
_TIES = 256  # documents at a tie that are recognized as such


class _Query(NamedTuple):
    """A document to search for, and its ten nearest neighbors.

    `others` also contains those at a tie with the farthest of the ten.
    """

    own: int
    vector: Vectors
    others: Ids
    farthest: float

    @property
    def wanted(self) -> int:
        return min(RECALL_AT, self.others.size)


def check(
    documents: Documents, index: Index, generation: Generation, queries: int
) -> tuple[IndexCheck, int | None]:
    """Return the measurement, and the number of candidates to store for this table.

    That is None if the usual number is enough, 0 if exact searches are faster.
    """
    count = documents.count()
    usual = usual_candidates(count)
    candidates = max(usual, generation.candidates or 0)
    asked = _queries(documents, index, queries)
    found, by_index = _found(documents, index, Plan(generation, candidates, ""), asked)
    recall = found / sum(query.wanted for query in asked)
    ranks = np.concatenate(list(_ranks(documents, index, generation, asked)))
    needed = int(np.quantile(ranks, GOOD_RECALL, method="inverted_cdf"))
    by_all = _found(documents, index, plan_exact(""), asked[:_TIMED])[1]
    if recall >= GOOD_RECALL:
        kept = None if candidates == usual else candidates
        number = "the usual number of" if kept is None else f"{candidates:,}"
        verdict = f"good: {number} candidates are enough"
    elif len(asked) < min(_ENOUGH, count):
        kept = generation.candidates
        verdict = f"nothing changes: too few queries to tell; use {_ENOUGH} or more"
    elif are_worth_it(needed, count):
        kept, verdict = needed, f"from now on {needed:,} candidates are rescored"
    else:
        kept = 0
        verdict = "from now on this table is searched exactly, which is faster than more candidates"
    return IndexCheck(len(asked), recall, candidates, needed, by_index, by_all, verdict), kept


def _queries(documents: Documents, index: Index, size: int) -> list[_Query]:
    """Return `size` documents, or all, with what an exact search finds for each."""
    ids, blocks = zip(*documents.vectors_of(documents.sample(size)), strict=True)
    vectors = normalized(np.concatenate(blocks))
    nearest = [Nearest(vector, 1 + RECALL_AT + _TIES) for vector in vectors]
    search(documents, index, plan_exact(""), vectors, nearest)
    return [
        _query(own, vector, best)
        for own, vector, best in zip(np.concatenate(ids).tolist(), vectors, nearest, strict=True)
    ]


def _query(own: int, vector: Vectors, best: Nearest) -> _Query:
    others = [(number, distance) for number, distance in best.ranked() if number != own]
    farthest = others[:RECALL_AT][-1][1] + _SAME
    ids = [number for number, distance in others if distance <= farthest]
    return _Query(own, vector, np.array(ids, np.int64), farthest)


def _found(
    documents: Documents, index: Index, plan: Plan, queries: Sequence[_Query]
) -> tuple[int, float]:
    """Return how many of the nearest are found, and the median seconds of one search."""
    found, times = 0, []
    for query in queries:
        best = Nearest(query.vector, 1 + RECALL_AT)
        started = time.perf_counter()
        search(documents, index, plan, query.vector[None], [best])
        times.append(time.perf_counter() - started)
        others = [distance for number, distance in best.ranked() if number != query.own]
        found += sum(distance <= query.farthest for distance in others[:RECALL_AT])
    return found, median(times)


def _ranks(
    documents: Documents, index: Index, generation: Generation, queries: Sequence[_Query]
) -> Iterator[Ranks]:
    """Yield the rank, by code, of each of the ten neighbors of each query.

    A search with at least so many candidates finds that neighbor. What the index does not
    cover yet is always found: its rank is 0. Codes of deleted documents do not count.
    """
    existing = np.fromiter(
        (row[0] for row in documents.execute('SELECT id FROM "{name}"')), np.int64
    )
    vectors = np.stack([query.vector for query in queries])
    for query, (ids, distances) in zip(queries, index.distances(generation, vectors), strict=True):
        exists = np.isin(ids, existing)
        yield _ranks_by_code(query, ids[exists], distances[exists])


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
