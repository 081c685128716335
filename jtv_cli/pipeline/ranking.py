"""Rank hits anew: fuse what two searches find, or pick hits that vary."""

from __future__ import annotations

from collections import Counter
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jtv_cli.records import Hit, Vectors

_K = 60
"""The constant of Cormack, Clarke and Büttcher (SIGIR 2009)."""


def fuse(nearest: Sequence[Hit], by_keyword: Sequence[Hit]) -> list[Hit]:
    """Return the hits of two rankings by reciprocal rank fusion, the highest score first.

    The score is the sum of weight / (60 + rank) over the rankings that have the hit, which gets
    its rank in each of them, from 1. The weight of one of the nearest is 1. Hits of equal scores
    are ordered by their best rank, then the nearest come first.
    """
    hits = {hit.id: hit._replace(vector_rank=rank) for rank, hit in enumerate(nearest, 1)}
    scores = {hit.id: 1.0 / (_K + rank) for rank, hit in enumerate(nearest, 1)}
    for rank, hit in enumerate(by_keyword, 1):
        vector_rank = hits[hit.id].vector_rank if hit.id in hits else None
        hits[hit.id] = hit._replace(vector_rank=vector_rank, keyword_rank=rank)
        more = keyword_weight(hit.score) / (_K + rank)
        scores[hit.id] = scores.get(hit.id, 0.0) + more
    # Sorting keeps the order of equal hits: that of the rankings.
    return sorted(
        (hit._replace(score=scores[hit.id]) for hit in hits.values()),
        key=lambda hit: (-scores[hit.id], min(hit.vector_rank or inf, hit.keyword_rank or inf)),
    )


def keyword_weight(score: float | None) -> float:
    """Return the weight of a hit by keyword, given the share of the query's words that it has.

    A hit that has them all weighs more than the nearest document: it has the error code or the
    name. One that has few of them, or only common ones, says nothing if the query is put in other
    words. The numbers are the best compromise on XQuAD (en, de, zh), Cranfield, and the names of
    Python's functions. Without a score it is 1, as in plain reciprocal rank fusion.
    """
    return 1.0 if score is None else 3.0 * min(score, 1.0) ** 3


def keep_per_source(hits: Sequence[Hit], n: int) -> list[Hit]:
    """Return the first n hits of each source, in their order; standard input is one source."""
    counts: Counter[str | None] = Counter()
    kept = []
    for hit in hits:
        counts[hit.source] += 1
        if counts[hit.source] <= n:
            kept.append(hit)
    return kept


def maximal_marginal_relevance(
    query_vector: Vectors, vectors: Vectors, hits: Sequence[Hit], k: int, weight: float = 0.5
) -> list[Hit]:
    """Return up to k hits, each relevant to the query and unlike those picked before it.

    The next hit is the one with the largest `weight` * similarity to the query less
    (1 - `weight`) * its largest similarity to a picked hit, by cosine; at a tie, the earlier
    hit. See Carbonell and Goldstein, "The Use of MMR, Diversity-Based Reranking" (1998).

    `query_vector` is (dimensions,) and `vectors` (len(hits), dimensions) float32. They need
    not be of length 1, but none may be all zeros.
    """
    import numpy as np

    from jtv_cli.stores.distances import normalized

    unit = normalized(vectors)
    relevance = unit @ normalized(query_vector[None])[0]
    redundancy = np.full(len(hits), -1, np.float32)
    is_left = np.full(len(hits), fill_value=True)
    picked: list[Hit] = []
    while len(picked) < min(k, len(hits)):
        # Nothing is redundant as long as nothing has been picked.
        gains = weight * relevance - (1 - weight) * redundancy if picked else relevance
        best = int(np.where(is_left, gains, -np.inf).argmax())
        picked.append(hits[best])
        is_left[best] = False
        np.maximum(redundancy, unit @ unit[best], out=redundancy)
    return picked
