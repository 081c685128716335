"""Deduplication of the input: which texts are new to the table, and in which groups they go."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from jtv_cli.errors import DocumentDeleted
from jtv_cli.pipeline.batches import NewText
from jtv_cli.records import Document
from jtv_cli.text import estimated_tokens, text_hashes

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from jtv_cli.embedders import BatchLimit
    from jtv_cli.pipeline.reembedding import Block
    from jtv_cli.stores import Table

# Of the tokens that `concurrency` batches may have. Batches, cut by length, are never quite
# full: a group with all of these tokens would need one more request for a small remainder.
_FILL = 0.95
# The most occurrences of texts that are not stored yet, about 200 bytes each: without this
# bound, an input that repeats a few texts would be held in memory as a whole.
_MOST_OCCURRENCES = 1 << 15


class Deduplicator:
    """Sorts the texts that are read into stored ones and groups of new ones.

    A group is large enough for `concurrency` requests. A new text that is read again before
    it is stored only gains an occurrence. `longest` is the most tokens that a text counts
    for, None for no bound.
    """

    def __init__(self, table: Table, *, concurrency: int, longest: int | None) -> None:
        self._table = table
        self._concurrency = concurrency
        self._longest = longest
        self._groups: deque[list[NewText]] = deque()
        self._gathering: list[NewText] = []
        self._tokens = 0
        self._unstored: dict[bytes, NewText] = {}
        self._occurrences = 0

    @property
    def is_empty(self) -> bool:
        """Whether every new text was taken, in a group."""
        return not self._groups and not self._gathering

    @property
    def is_full(self) -> bool:
        """Whether no more should be read until some of the new texts are stored."""
        return self._occurrences >= _MOST_OCCURRENCES

    @property
    def unstored(self) -> Collection[NewText]:
        """The new texts that are neither stored nor skipped yet."""
        return self._unstored.values()

    def add(self, block: Block, limit: BatchLimit) -> int:
        """Add the texts of a block and return how many of them are not new.

        Occurrences of stored texts are stored. `limit` is that of one request.

        Raises StoreError.
        """
        hashes = text_hashes(text for _, text, _, _ in block.texts)
        ids = self._store_occurrences(block, hashes)
        new = 0
        for row, (key, (_, text, _, _)) in enumerate(zip(hashes, block.texts, strict=True)):
            if key in ids:
                continue
            occurrences, place = block.occurrences_of(row), block.place_of(row)
            self._occurrences += len(occurrences)
            if earlier := self._unstored.get(key):
                earlier.occurrences.extend(occurrences)
                earlier.places.append(place)
            else:
                tokens = estimated_tokens(text, self._longest)
                first = NewText(Document(text, key, occurrences), occurrences, [place], tokens)
                self._unstored[key] = first
                self._gather(first, limit)
                new += 1
        return len(hashes) - new

    def next_group(self, *, unfinished: bool = False) -> list[NewText] | None:
        """Remove and return the next group, `unfinished` or not; None if there is none."""
        if unfinished and not self._groups:
            self._finish_group()
        return self._groups.popleft() if self._groups else None

    def forget(self, documents: Sequence[Document]) -> None:
        """Remove documents that are stored or skipped."""
        for document in documents:
            self._occurrences -= len(self._unstored.pop(document.hash).occurrences)

    def _store_occurrences(self, block: Block, hashes: Sequence[bytes]) -> dict[bytes, int]:
        """Store the occurrences of stored texts; return the ids of these texts by hash."""
        while True:
            ids = self._table.known(hashes, block.span)
            try:
                for source, lines in block.stored_lines(ids, hashes):
                    self._table.add_occurrences(source, lines)
            except DocumentDeleted:
                # Another process has just deleted one of them: its text is new again.
                continue
            return ids

    def _gather(self, new: NewText, limit: BatchLimit) -> None:
        if self._tokens + new.tokens > _FILL * self._concurrency * limit.tokens:
            self._finish_group()
        self._gathering.append(new)
        self._tokens += new.tokens
        if len(self._gathering) >= self._concurrency * limit.texts:
            self._finish_group()

    def _finish_group(self) -> None:
        if self._gathering:
            self._groups.append(self._gathering)
            self._gathering, self._tokens = [], 0
