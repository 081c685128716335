"""How much of what is nearest an index finds, measured on the table's own documents."""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from jtv_cli.records import IndexCheck
from jtv_cli.records.checks import GOOD_RECALL, RECALL_AT
from jtv_cli.stores.distances import Nearest, normalized
from jtv_cli.stores.sqlite.search import (
    Route,
    can_use,
    exactly,
    search,
    usual_candidates,
)

if TYPE_CHECKING:
    import numpy.typing as npt

    from jtv_cli.records import Vectors
    from jtv_cli.stores.distances import Ids
    from jtv_cli.stores.sqlite.codes import CodeDistances
    from jtv_cli.stores.sqlite.index import Generation, Index
    from jtv_cli.stores.sqlite.rows import Rows

    Ranks = npt.NDArray[np.int64]

_TIMED = 5  # searches of each kind that are timed


def check(
    rows: Rows, index: Index, generation: Generation, queries: int
) -> tuple[IndexCheck, int | None]:
    """Return what was measured, and the number of candidates to keep for this generation.

    That is None where the usual number will do, 0 where exact searches are faster.
    """
    documents = rows.count()
    usual = usual_candidates(documents)
    candidates = max(usual, generation.candidates or 0)
    ids, vectors = _sample(rows, queries)
    ranks = _ranks(rows, index, generation, ids, vectors)
    needed = int(np.quantile(ranks, GOOD_RECALL, method="inverted_cdf"))
    kept, verdict = _judge(needed, usual, documents)
    ways = Route(generation, candidates, ""), exactly("")
    by_index, by_all = (_seconds(rows, index, way, vectors[:_TIMED]) for way in ways)
    recall = float(np.mean(ranks <= candidates))
    return IndexCheck(len(ids), recall, candidates, needed, by_index, by_all, verdict), kept


def _judge(needed: int, usual: int, documents: int) -> tuple[int | None, str]:
    if needed <= usual:
        return None, "good: the usual number of candidates will do"
    if can_use(needed, documents):
        return needed, f"from now on {needed:,} candidates are compared"
    return 0, "from now on this table is searched exactly: so many candidates would take longer"


def _sample(rows: Rows, size: int) -> tuple[Ids, Vectors]:
    """Return ids and unit vectors of so many documents from first to last, or of all."""
    ids, vectors = zip(*rows.sample(size), strict=True)
    return np.concatenate(ids), normalized(np.concatenate(vectors))


def _ranks(
    rows: Rows, index: Index, generation: Generation, documents: Ids, vectors: Vectors
) -> Ranks:
    """Return the rank, by code, of each of the ten neighbours of each of the documents.

    A search with at least so many candidates finds that neighbour. What the index does
    not cover yet is always found: its rank is 0. Codes of deleted documents do not count.
    """
    nearest = [Nearest(RECALL_AT + 1) for _ in documents]
    search(rows, index, exactly(""), vectors, nearest)
    there = np.fromiter((row[0] for row in rows.execute('SELECT id FROM "{name}"')), np.int64)
    ranks = []
    by_code = index.distances(generation, vectors)
    for own, best, (ids, distances) in zip(documents, nearest, by_code, strict=True):
        others = [document for document, _ in best.ranked() if document != own][:RECALL_AT]
        is_there = np.isin(ids, there)
        codes = ids[is_there], distances[is_there]
        ranks.append(_ranks_by_code(np.array(others, np.int64), *codes))
    return np.concatenate(ranks)


def _ranks_by_code(documents: Ids, ids: Ids, distances: CodeDistances) -> Ranks:
    positions = np.searchsorted(ids, documents)
    is_covered = positions < ids.size
    no_farther = np.bincount(distances).cumsum()
    ranks = np.zeros(documents.size, np.int64)
    ranks[is_covered] = no_farther[distances[positions[is_covered]]]
    return ranks


def _seconds(rows: Rows, index: Index, way: Route, queries: Vectors) -> float:
    """Return the median time of one search."""
    times = []
    for query in queries:
        started = time.perf_counter()
        search(rows, index, way, query[None], [Nearest(RECALL_AT)])
        times.append(time.perf_counter() - started)
    return median(times)
