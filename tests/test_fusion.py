"""Reciprocal rank fusion."""

from __future__ import annotations

import pytest

from jtv_cli.pipeline.fusion import Fused, K, fuse, keyword_weight


def test_scores_are_sums_of_reciprocal_ranks() -> None:
    assert K == 60
    assert fuse([[7, 8], [8, 9]]) == [
        Fused(8, 1 / 62 + 1 / 61, (2, 1)),
        Fused(7, 1 / 61, (1, None)),
        Fused(9, 1 / 62, (None, 2)),
    ]


def test_ties_keep_the_order_of_the_rankings() -> None:
    assert [one.item for one in fuse([[1, 2], [3, 4]])] == [1, 3, 2, 4]


def test_weights() -> None:
    assert [one.item for one in fuse([[1, 2], [3, 4]], [[1, 1], [2, 2]])] == [3, 4, 1, 2]
    assert fuse([[1], [2]], [[1], [0]])[1] == Fused(2, 0.0, (None, 1))


def test_the_weight_of_a_hit_by_keyword() -> None:
    assert keyword_weight(1.0) == keyword_weight(1.7) == 3.0
    assert keyword_weight(0.5) == 0.375
    assert keyword_weight(None) == 1.0


@pytest.mark.parametrize("rankings", [[], [[]], [[], []]])
def test_nothing_to_fuse(rankings: list[list[int]]) -> None:
    assert fuse(rankings) == []


def test_an_item_that_is_ranked_twice_counts_once() -> None:
    assert fuse([[5, 5]]) == [Fused(5, 1 / 61, (1,))]
