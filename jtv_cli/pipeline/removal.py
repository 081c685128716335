"""What is to go from a table: found and counted first, then removed in short transactions."""

from __future__ import annotations

from array import array
from itertools import chain
from typing import TYPE_CHECKING

from jtv_cli.batching import batched
from jtv_cli.pipeline.keys import short_key
from jtv_cli.records import Removed, SourceLine
from jtv_cli.text import text_hashes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from jtv_cli.sources import RecordBlock
    from jtv_cli.stores import Table

    Read = tuple[int, bytes]
    """A line that a source has, and the hash of its text."""

# Occurrences or documents in one transaction, and in one look at the table.
_AT_ONCE = 1000


class Marked:
    """Occurrences of one source that are to go, in 16 bytes each.

    `present` are the documents that the source still has, in 8 bytes for each line.
    """

    def __init__(self, source: str | None) -> None:
        self.source = source
        self.present = array("q")
        self.documents = array("q")
        self._lines = array("q")

    def __len__(self) -> int:
        return len(self._lines)

    def mark(self, places: Iterable[SourceLine]) -> Marked:
        """Take occurrences that are to go."""
        for place in places:
            self._lines.append(place.line)
            self.documents.append(place.document)
        return self

    def source_lines(self) -> Iterator[list[SourceLine]]:
        """Yield those that are to go, as many at a time as go in one transaction."""
        parts = (batched(each, _AT_ONCE) for each in (self._lines, self.documents))
        for lines, documents in zip(*parts, strict=True):
            yield list(map(SourceLine, lines, documents))


def count_marked(table: Table, marked: Sequence[Marked]) -> Removed:
    """Return what would go; a document goes if none of its occurrences would be left."""
    import numpy as np

    documents = np.concatenate([np.asarray(each.documents) for each in marked])
    present = np.concatenate([np.asarray(each.present) for each in marked])
    ids, counts = np.unique(documents, return_counts=True)
    candidates = ~np.isin(ids, present)
    ids, counts = ids[candidates], counts[candidates]
    last = 0
    for start in range(0, ids.size, _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        going = dict(zip(ids[part].tolist(), counts[part].tolist(), strict=True))
        last += sum(len(d.occurrences) == going[d.id] for d in table.get(list(going)))
    return Removed(last, documents.size)


def remove_marked(
    table: Table, marked: Sequence[Marked], progress: Callable[[Removed], None] = lambda _: None
) -> Removed:
    """Remove what is marked, in short transactions; `progress` hears what is gone so far."""
    gone = Removed()
    for each in marked:
        for places in each.source_lines():
            gone += table.remove(each.source, places)
            progress(gone)
    return gone


def missing(table: Table, source: str | None, reads: Iterable[Sequence[Read]]) -> Marked:
    """Return the occurrences of a source that the table has, but the source no longer.

    `reads` has all lines of the source, in their order, some at a time.
    """
    marked = Marked(source)
    places = table.source_lines(source)
    place = next(places, None)
    for part in reads:
        ids = table.known([key for _, key in part])
        marked.present.extend(ids.values())
        there = {(line, ids.get(key)) for line, key in part}
        last = part[-1][0]
        while place is not None and place.line <= last:
            if (place.line, place.document) not in there:
                marked.mark([place])
            place = next(places, None)
    return marked.mark(chain([place] if place else [], places))


def find_texts(table: Table, blocks: Iterable[RecordBlock]) -> tuple[list[int], int]:
    """Return the ids of the texts that the table has, and how many it does not have."""
    import numpy as np

    found, unknown = array("q"), array("Q")
    for block in blocks:
        hashes = text_hashes(text for _, text, _ in block.texts)
        known = table.known(hashes)
        found.extend(known.values())
        unknown.extend(short_key(key) for key in hashes if key not in known)
    return np.unique(np.asarray(found)).tolist(), np.unique(np.asarray(unknown)).size


def count_documents(table: Table, ids: Sequence[int]) -> tuple[Removed, list[int]]:
    """Return what would go with these documents, and the ids that are not there."""
    there: set[int] = set()
    occurrences = 0
    for part in batched(ids, _AT_ONCE):
        for document in table.get(part):
            there.add(document.id)
            occurrences += len(document.occurrences)
    return Removed(len(there), occurrences), [number for number in ids if number not in there]


def delete_documents(
    table: Table, ids: Sequence[int], progress: Callable[[Removed], None] = lambda _: None
) -> Removed:
    """Delete documents, in as many transactions as it takes; `progress` hears what is gone."""
    gone = Removed()
    for part in batched(ids, _AT_ONCE):
        gone += table.delete(part)
        progress(gone)
    return gone
