"""Many items, a part at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jtv_cli.batching import batched, batched_by_length, batched_by_weight

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.mark.parametrize(
    ("items", "parts"),
    [("", []), ("abc", ["abc"]), ("abcd", ["abc", "d"]), ("abcdef", ["abc", "def"])],
)
def test_so_many_at_a_time(items: str, parts: list[str]) -> None:
    assert list(batched(items, 3)) == parts


@pytest.mark.parametrize(
    ("weights", "parts"),
    [
        ([], []),
        ([4, 6, 1], [[4, 6], [1]]),
        ([11, 1, 20], [[11], [1], [20]]),
        ([0] * 7, [[0] * 3, [0] * 3, [0]]),
        ([9, 1, 0, 1], [[9, 1, 0], [1]]),
    ],
)
def test_by_weight(weights: list[int], parts: list[list[int]]) -> None:
    assert list(batched_by_weight(weights, int, 10, count=3)) == parts


@pytest.mark.parametrize(
    ("texts", "batches"),
    [
        ([], []),
        (["a"], [[0]]),
        (["abcdef", "a", "", "ab", "bc"], [[2, 1], [3, 4], [0]]),
    ],
)
def test_by_length(texts: list[str], batches: list[list[int]]) -> None:
    assert list(batched_by_length(texts, 4)) == batches


def test_a_full_part_waits_for_nothing_more() -> None:
    def endless() -> Iterator[int]:
        yield from (1, 2)
        pytest.fail("one more was asked for")

    assert next(batched_by_weight(endless(), int, 10, count=2)) == [1, 2]
