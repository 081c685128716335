"""Many items, a part at a time: as many as a statement, a transaction or a request takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence, Sized

    Item = TypeVar("Item")


def batched(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """Yield the items in order, so many at a time; in the end, what is left."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def batched_by_weight(
    items: Iterable[Item], weight: Callable[[Item], int], most: int, count: int | None = None
) -> Iterator[list[Item]]:
    """Yield the items in order, together as many as weigh at most so much, or one.

    No more than `count` of them, where that is given; with so many, none is waited for.
    """
    part: list[Item] = []
    total = 0
    for item in items:
        more = weight(item)
        if part and total + more > most:
            yield part
            part, total = [], 0
        part.append(item)
        total += more
        if len(part) == count:
            yield part
            part, total = [], 0
    if part:
        yield part


def batched_by_length(items: Sequence[Sized], most: int) -> Iterator[list[int]]:
    """Yield the positions of all items, shortest first, those that are computed together.

    A batch has one item, or as many as take at most `most` places when all are padded to the
    length of the longest.
    """
    batch: list[int] = []
    for position in sorted(range(len(items)), key=lambda position: len(items[position])):
        if batch and (len(batch) + 1) * len(items[position]) > most:
            yield batch
            batch = []
        batch.append(position)
    if batch:
        yield batch
