"""Which texts of the input the table has already, and groups of those that it has not."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from jtv_cli.pipeline.batches import NewText, estimated_tokens
from jtv_cli.records import Document, Occurrence, SourceLine
from jtv_cli.text import text_hashes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jtv_cli.embedders import BatchLimit
    from jtv_cli.sources import RecordBlock
    from jtv_cli.stores import Table

# Of the tokens that `concurrency` batches may have. Batches, cut by length, are never quite
# full: a group of just so many tokens would need one more, for a small remainder.
_FILL = 0.95


class Intake:
    """Takes windows and gives groups of new texts, each enough for `concurrency` batches.

    A text that is on its way already is not new: it gains an occurrence. Where `longest`
    is given, no text counts for more tokens than that.
    """

    def __init__(self, table: Table, *, concurrency: int, longest: int | None) -> None:
        self.groups: deque[list[NewText]] = deque()
        self._table = table
        self._concurrency = concurrency
        self._longest = longest
        self._on_their_way: dict[bytes, NewText] = {}
        self._group: list[NewText] = []
        self._tokens = 0

    @property
    def is_empty(self) -> bool:
        """Whether every text it took was handed on, in a group that was fetched."""
        return not self.groups and not self._group

    def take(self, window: RecordBlock, limit: BatchLimit) -> int:
        """Sort the texts of a window and return how many of them are known.

        Where they were read is noted. `limit` is that of one batch.
        """
        hashes = text_hashes(text for _, text, _ in window.texts)
        ids = self._table.known(hashes)
        known: list[SourceLine] = []
        new = 0
        for key, (line, text, metadata) in zip(hashes, window.texts, strict=True):
            if key in ids:
                known.append(SourceLine(line, ids[key], metadata))
                continue
            occurrence = Occurrence(window.source, line, metadata)
            if there := self._on_their_way.get(key):
                there.occurrences.append(occurrence)
                there.paths.append(window.path)
            else:
                self._add(text, key, occurrence, window.path, limit)
                new += 1
        self._table.add_occurrences(window.source, known)
        return len(hashes) - new

    def finish(self) -> bool:
        """Make what is gathered so far a group; return whether there was anything."""
        if not self._group:
            return False
        self.groups.append(self._group)
        self._group, self._tokens = [], 0
        return True

    def forget(self, documents: Sequence[Document]) -> None:
        """Hear that these are not on their way any more: the table has them, or they left."""
        for document in documents:
            del self._on_their_way[document.hash]

    def _add(
        self, text: str, key: bytes, occurrence: Occurrence, path: str, limit: BatchLimit
    ) -> None:
        occurrences = [occurrence]
        tokens = estimated_tokens(text, self._longest)
        new = NewText(Document(text, key, occurrences), occurrences, [path], tokens)
        most = _FILL * self._concurrency * limit.tokens
        if self._tokens + new.tokens > most:
            self.finish()
        self._on_their_way[key] = new
        self._group.append(new)
        self._tokens += new.tokens
        if len(self._group) >= self._concurrency * limit.texts:
            self.finish()
