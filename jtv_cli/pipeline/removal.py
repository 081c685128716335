"""Removal from a table: find and count first, then remove in short transactions."""

from __future__ import annotations

from array import array
from itertools import chain
from typing import TYPE_CHECKING

from jtv_cli.batching import batched
from jtv_cli.pipeline.matching import read_matching
from jtv_cli.records import STDIN, Removed, SourceLine
from jtv_cli.source_names import possible_identities
from jtv_cli.text import short_key, text_hashes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from jtv_cli.records import Filter
    from jtv_cli.sources.blocks import RecordBlock
    from jtv_cli.stores import Table

    LineHash = tuple[int, bytes]
    """A line of a source, and the hash of its text."""

# Occurrences or documents in one transaction, and in one query.
_BATCH = 1000


class MarkedLines:
    """Occurrences of one source that are to be removed, in 16 bytes each.

    `present` are the documents that the source still has, in 8 bytes for each line.
    """

    def __init__(self, source: str | None) -> None:
        self.source = source
        self.present = array("q")
        self.documents = array("q")
        self._lines = array("q")

    def __len__(self) -> int:
        return len(self._lines)

    def mark(self, lines: Iterable[SourceLine]) -> MarkedLines:
        """Add occurrences that are to be removed, and return self."""
        for each in lines:
            self._lines.append(each.line)
            self.documents.append(each.document)
        return self

    def batches(self) -> Iterator[list[SourceLine]]:
        """Yield the marked occurrences, as many at a time as one transaction removes."""
        parts = (batched(each, _BATCH) for each in (self._lines, self.documents))
        for lines, documents in zip(*parts, strict=True):
            yield list(map(SourceLine, lines, documents))


def mark_source(table: Table, source: str) -> MarkedLines:
    """Mark all occurrences in a source, given its name, or a path as shown or typed."""
    if source == STDIN:
        return MarkedLines(None).mark(table.source_lines(None))
    marked = MarkedLines(source)
    for name in possible_identities(source):
        if len(marked := MarkedLines(name).mark(table.source_lines(name))):
            break
    return marked


def count_marked(table: Table, marked: Sequence[MarkedLines]) -> Removed:
    """Return what would be removed; a document is, if none of its occurrences would be left."""
    if not marked:
        return Removed()
    import numpy as np

    documents = np.concatenate([np.asarray(each.documents) for each in marked])
    present = np.concatenate([np.asarray(each.present) for each in marked])
    ids, counts = np.unique(documents, return_counts=True)
    candidates = ~np.isin(ids, present)
    ids, counts = ids[candidates], counts[candidates]
    last = 0
    for start in range(0, ids.size, _BATCH):
        part = slice(start, start + _BATCH)
        removed = dict(zip(ids[part].tolist(), counts[part].tolist(), strict=True))
        last += sum(len(d.occurrences) == removed[d.id] for d in table.get(list(removed)))
    return Removed(last, documents.size)


def remove_marked(
    table: Table,
    marked: Sequence[MarkedLines],
    on_removed: Callable[[Removed], None] = lambda _: None,
) -> Removed:
    """Remove what is marked; `on_removed` is called with the total after each transaction."""
    total = Removed()
    for each in marked:
        for lines in each.batches():
            total += table.remove(each.source, lines)
            on_removed(total)
    return total


def mark_matching(table: Table, filter: Filter) -> list[MarkedLines]:
    """Mark the occurrences that match a filter, by source."""
    marked: dict[str | None, MarkedLines] = {}
    for document, occurrences in read_matching(table, filter):
        for where in occurrences:
            lines = marked.setdefault(where.source, MarkedLines(where.source))
            lines.mark([SourceLine(where.line or 0, document.id)])
    return list(marked.values())


def mark_missing(
    table: Table, source: str | None, reads: Iterable[Sequence[LineHash]]
) -> MarkedLines:
    """Mark the occurrences of a source that the table has and the source no longer has.

    `reads` yields all lines of the source in order, some at a time.
    """
    marked = MarkedLines(source)
    stored_lines = table.source_lines(source)
    stored = next(stored_lines, None)
    there: set[tuple[int, int | None]] = set()
    last = 0
    for part in reads:
        ids = table.known([key for _, key in part])
        marked.present.extend(ids.values())
        # The chunks of one line may be spread over several parts.
        there = {each for each in there if each[0] >= last}
        there |= {(line, ids.get(key)) for line, key in part}
        last = part[-1][0]
        while stored is not None and stored.line < last:
            if (stored.line, stored.document) not in there:
                marked.mark([stored])
            stored = next(stored_lines, None)
    rest = chain([stored] if stored else [], stored_lines)
    return marked.mark(each for each in rest if (each.line, each.document) not in there)


def find_texts(table: Table, blocks: Iterable[RecordBlock]) -> tuple[list[int], int]:
    """Return the ids of the texts that are stored, and how many of the texts are not."""
    import numpy as np

    found, unknown = array("q"), array("Q")
    for block in blocks:
        hashes = text_hashes(text for _, text, _, _ in block.texts)
        known = table.known(hashes)
        found.extend(known.values())
        unknown.extend(short_key(key) for key in hashes if key not in known)
    return np.unique(np.asarray(found)).tolist(), np.unique(np.asarray(unknown)).size


def count_documents(table: Table, ids: Sequence[int]) -> tuple[Removed, list[int]]:
    """Return what the removal of documents would remove, and the ids that are not stored."""
    stored: set[int] = set()
    occurrences = 0
    for part in batched(ids, _BATCH):
        for document in table.get(part):
            stored.add(document.id)
            occurrences += len(document.occurrences)
    return Removed(len(stored), occurrences), [number for number in ids if number not in stored]


def delete_documents(
    table: Table, ids: Sequence[int], on_removed: Callable[[Removed], None] = lambda _: None
) -> Removed:
    """Delete documents; `on_removed` is called with the total after each transaction."""
    total = Removed()
    for part in batched(ids, _BATCH):
        total += table.delete(part)
        on_removed(total)
    return total
