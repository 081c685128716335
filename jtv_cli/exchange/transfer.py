"""Documents that have their vectors already, stored in a table: nothing is embedded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jtv_cli.batching import batched, batched_by_weight
from jtv_cli.exchange.documents import searchable
from jtv_cli.records import Document, SourceLine, Transferred
from jtv_cli.text import too_long

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from jtv_cli.records import StoredDocument
    from jtv_cli.stores import Table

_BATCH = 512
_BATCH_CHARACTERS = 4 << 20


def transfer(
    documents: Iterable[StoredDocument],
    table: Table,
    *,
    progress: Callable[[Transferred], None],
    skipped: Callable[[StoredDocument, str], None],
) -> None:
    """Store the documents that the table does not have; of the others, note where they were read.

    Every document has a usable vector of the table's model. `progress` hears, after each
    batch, what was done so far, `skipped` of what is longer than the table takes.
    """
    done = Transferred()
    for batch in batches(_fitting(documents, table, skipped)):
        more = _store(_merged(batch), table)
        done = Transferred(
            done.stored + more.stored,
            done.known + len(batch) - more.stored,
            done.occurrences + more.occurrences,
        )
        progress(done)


def copy(
    source: Table,
    target: Table,
    *,
    progress: Callable[[Transferred], None],
    skipped: Callable[[StoredDocument, str], None],
    verifying: Callable[[int], None],
) -> int:
    """Copy all documents from one table to another, and verify that they are there.

    `progress` hears what was copied so far, `skipped` of documents that cannot be copied,
    and why, `verifying` how many were looked up. Documents that the source gains meanwhile
    may or may not be copied.

    Returns how many documents are missing in the end, because others have deleted them.
    """
    last = 0
    left_out: set[int] = set()

    def leave_out(document: StoredDocument, reason: str) -> None:
        left_out.add(document.id)
        skipped(document, reason)

    def seen() -> Iterator[StoredDocument]:
        nonlocal last
        for document in source.read(vectors=True):
            last = document.id
            yield document

    transfer(searchable(seen(), leave_out), target, progress=progress, skipped=leave_out)
    add_source_details(details_of(source), target)
    copied = (d for d in _until(source, last) if d.id not in left_out)
    return _missing(copied, target, verifying)


def details_of(table: Table) -> dict[str, Mapping[str, Any]]:
    """Return how the sources of a table were read, as far as that is recorded."""
    return {
        count.source: count.details
        for count in table.sources()
        if count.source is not None and count.details is not None
    }


def add_source_details(details: Mapping[str, Mapping[str, Any]], table: Table) -> None:
    """Record how sources were read, unless the table has a record of its own."""
    for part in batched(list(details), _BATCH):
        has_own = table.source_details(part)
        if missing := {source: details[source] for source in part if source not in has_own}:
            table.set_source_details(missing)


def _fitting(
    documents: Iterable[StoredDocument],
    table: Table,
    skipped: Callable[[StoredDocument, str], None],
) -> Iterator[StoredDocument]:
    for document in documents:
        beside = [None, *(occurrence.metadata for occurrence in document.occurrences)]
        reasons = (too_long(document.text, table.most_bytes, metadata) for metadata in beside)
        if reason := next(filter(None, reasons), None):
            skipped(document, reason)
        else:
            yield document


def _until(table: Table, last: int) -> Iterator[StoredDocument]:
    for document in table.read():
        if document.id > last:
            return
        yield document


def _missing(
    documents: Iterable[StoredDocument], table: Table, verifying: Callable[[int], None]
) -> int:
    """Return how many of the documents the table does not have."""
    missing = looked_up = 0
    for batch in batches(documents):
        hashes = {document.hash for document in batch}
        missing += len(hashes - table.known(list(hashes)).keys())
        looked_up += len(batch)
        verifying(looked_up)
    return missing


def batches(documents: Iterable[StoredDocument]) -> Iterator[list[StoredDocument]]:
    """Yield as many documents together as are stored at once."""
    return batched_by_weight(
        documents, lambda document: len(document.text), _BATCH_CHARACTERS, _BATCH
    )


def _merged(batch: Sequence[StoredDocument]) -> dict[bytes, StoredDocument]:
    """Return each text once, by its hash, and each place that it was read at once."""
    merged: dict[bytes, StoredDocument] = {}
    for document in batch:
        first = merged.get(document.hash, document)
        occurrences = (*first.occurrences, *document.occurrences)
        places = {(where.source, where.line): where for where in reversed(occurrences)}
        merged[document.hash] = first._replace(occurrences=list(places.values())[::-1])
    return merged


def _store(documents: dict[bytes, StoredDocument], table: Table) -> Transferred:
    ids = table.known(list(documents))
    done = _add([d for key, d in documents.items() if key not in ids], table)
    news = _note([(ids[key], d) for key, d in documents.items() if key in ids], table)
    return done._replace(occurrences=done.occurrences + news)


def _add(documents: Sequence[StoredDocument], table: Table) -> Transferred:
    if not documents:
        return Transferred()
    import numpy as np

    vectors = np.array([document.vector for document in documents], np.float32)
    added = table.add([Document(d.text, d.hash, d.occurrences) for d in documents], vectors)
    return Transferred(added.documents, 0, added.occurrences)


def _note(documents: Iterable[tuple[int, StoredDocument]], table: Table) -> int:
    """Note where known documents were read; return how many occurrences are new."""
    places: dict[str | None, list[SourceLine]] = {}
    for number, document in documents:
        for source, line, metadata, end_line in document.occurrences:
            place = SourceLine(line or 0, number, metadata, end_line)
            places.setdefault(source, []).append(place)
    return sum(table.add_occurrences(source, found) for source, found in places.items())
