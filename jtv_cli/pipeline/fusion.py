"""Reciprocal rank fusion: one ranking out of several."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

K = 60
"""The constant of Cormack, Clarke and Büttcher (SIGIR 2009)."""


class Fused(NamedTuple):
    """An item, its score, and its rank in each ranking, from 1; None where it is missing."""

    item: int
    score: float
    ranks: tuple[int | None, ...]


def fuse(
    rankings: Sequence[Sequence[int]],
    weights: Sequence[Sequence[float]] | None = None,
    k: int = K,
) -> list[Fused]:
    """Return the items of all rankings, the highest score first.

    The score is the sum of weight / (k + rank) over the rankings that have the item. There is
    a weight for each item of each ranking; without `weights`, all are 1. Items of equal scores
    are ordered by their best rank, then by the first ranking that has them.
    """
    scores: dict[int, float] = {}
    ranks: dict[int, list[int | None]] = {}
    for place, ranking in enumerate(rankings):
        for at, item in enumerate(ranking):
            of_item = ranks.setdefault(item, [None] * len(rankings))
            if of_item[place] is None:
                of_item[place] = at + 1
                weight = 1.0 if weights is None else weights[place][at]
                scores[item] = scores.get(item, 0.0) + weight / (k + at + 1)
    fused = [Fused(item, scores[item], tuple(of_item)) for item, of_item in ranks.items()]
    # Sorting keeps the order of equal items: that of the rankings.
    return sorted(fused, key=lambda one: (-one.score, min(rank for rank in one.ranks if rank)))


def keyword_weight(score: float | None) -> float:
    """Return the weight of a hit by keyword, given the share of the query's words that it has.

    A hit that has them all weighs more than the nearest document: it has the error code or the
    name. One that has few of them, or only common ones, says nothing if the query is put in other
    words. The numbers are the best compromise on XQuAD (en, de, zh), Cranfield, and the names of
    Python's functions. Without a score it is 1, as in plain reciprocal rank fusion.
    """
    return 1.0 if score is None else 3.0 * min(score, 1.0) ** 3
