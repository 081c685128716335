"""Reciprocal rank fusion."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jtv_cli.pipeline.ranking import fuse, keyword_weight
from jtv_cli.records import Hit

if TYPE_CHECKING:
    from collections.abc import Sequence


def ranking(*numbers: int, score: float | None = None) -> list[Hit]:
    return [Hit(number, str(number), score=score) for number in numbers]


def numbers(hits: Sequence[Hit]) -> list[int]:
    return [hit.id for hit in hits]


def test_scores_are_sums_of_reciprocal_ranks() -> None:
    assert fuse(ranking(7, 8), ranking(8, 9)) == [
        Hit(8, "8", score=1 / 62 + 1 / 61, vector_rank=2, keyword_rank=1),
        Hit(7, "7", score=1 / 61, vector_rank=1),
        Hit(9, "9", score=1 / 62, keyword_rank=2),
    ]


def test_ties_keep_the_order_of_the_rankings() -> None:
    assert numbers(fuse(ranking(1, 2), ranking(3, 4))) == [1, 3, 2, 4]


def test_weights() -> None:
    assert numbers(fuse(ranking(1, 2), ranking(3, 4, score=1.0))) == [3, 4, 1, 2]
    [_, last] = fuse(ranking(1), ranking(2, score=0.0))
    assert last == Hit(2, "2", score=0.0, keyword_rank=1)


def test_the_weight_of_a_hit_by_keyword() -> None:
    assert keyword_weight(1.0) == keyword_weight(1.7) == 3.0
    assert keyword_weight(0.5) == 0.375
    assert keyword_weight(None) == 1.0


def test_nothing_to_fuse() -> None:
    assert fuse([], []) == []
    assert numbers(fuse([], ranking(5))) == numbers(fuse(ranking(5), [])) == [5]
