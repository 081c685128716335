"""What is to go from a table: found and counted first, then removed in short transactions."""

from __future__ import annotations

from array import array
from itertools import chain
from typing import TYPE_CHECKING

from jtv_cli.records import Place, Removed, text_hash

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from jtv_cli.sources import Window
    from jtv_cli.stores import Table

    Read = tuple[int, bytes]
    """A line that a source has, and the hash of its text."""

# Occurrences or documents in one transaction, and in one look at the table.
_AT_ONCE = 1000


class Marked:
    """Occurrences of one source that are to go, in 16 bytes each."""

    def __init__(self, source: str | None, places: Iterable[Place] = ()) -> None:
        self.source = source
        self._lines = array("q")
        self._documents = array("q")
        for line, document, _ in places:
            self._lines.append(line)
            self._documents.append(document)

    def __len__(self) -> int:
        return len(self._lines)

    def count(self, table: Table) -> Removed:
        """Return what would go with them: documents too, where nothing else holds them."""
        import numpy as np

        ids, marked = np.unique(np.asarray(self._documents), return_counts=True)
        last = 0
        for start in range(0, ids.size, _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            counts = dict(zip(ids[part].tolist(), marked[part].tolist(), strict=True))
            stored = table.get(list(counts))
            last += sum(len(found.occurrences) == counts[found.id] for found in stored)
        return Removed(last, len(self))

    def remove(self, table: Table, progress: Callable[[Removed], None] = lambda _: None) -> Removed:
        """Remove them; `progress` hears what is gone so far."""
        gone = Removed(0, 0)
        for start in range(0, len(self), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            pairs = zip(self._lines[part], self._documents[part], strict=True)
            gone += table.remove(self.source, [Place(*pair) for pair in pairs])
            progress(gone)
        return gone


def missing(table: Table, source: str | None, reads: Iterable[Sequence[Read]]) -> Marked:
    """Return the occurrences that the table has of a source, and the source has no longer.

    `reads` are all that the source has, by line, some at a time.
    """
    return Marked(source, _missing(table, source, reads))


def _missing(table: Table, source: str | None, reads: Iterable[Sequence[Read]]) -> Iterator[Place]:
    places = table.places(source)
    place = next(places, None)
    for part in reads:
        ids = table.known([key for _, key in part])
        there = {(line, ids.get(key)) for line, key in part}
        last = part[-1][0]
        while place is not None and place.line <= last:
            if (place.line, place.document) not in there:
                yield place
            place = next(places, None)
    if place is not None:
        yield from chain([place], places)


def find_texts(table: Table, windows: Iterable[Window]) -> tuple[list[int], int]:
    """Return the ids of the texts that the table has, and how many it does not have."""
    import numpy as np

    found, unknown = array("q"), array("Q")
    for window in windows:
        hashes = [text_hash(text) for _, text, _ in window.texts]
        known = table.known(hashes)
        found.extend(known.values())
        unknown.extend(int.from_bytes(key[:8], "big") for key in hashes if key not in known)
    return np.unique(np.asarray(found)).tolist(), np.unique(np.asarray(unknown)).size


def count_documents(table: Table, ids: Sequence[int]) -> tuple[Removed, list[int]]:
    """Return what would go with these documents, and the ids that are not there."""
    there: set[int] = set()
    occurrences = 0
    for start in range(0, len(ids), _AT_ONCE):
        for document in table.get(ids[start : start + _AT_ONCE]):
            there.add(document.id)
            occurrences += len(document.occurrences)
    return Removed(len(there), occurrences), [number for number in ids if number not in there]


def delete_documents(
    table: Table, ids: Sequence[int], progress: Callable[[Removed], None] = lambda _: None
) -> Removed:
    """Delete documents, in as many transactions as it takes; `progress` hears what is gone."""
    gone = Removed(0, 0)
    for start in range(0, len(ids), _AT_ONCE):
        gone += table.delete(ids[start : start + _AT_ONCE])
        progress(gone)
    return gone
