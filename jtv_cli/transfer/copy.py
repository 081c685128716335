"""Store documents with the vectors they have, from an export or from another table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from jtv_cli.batching import batched, batched_by_weight
from jtv_cli.errors import DocumentDeleted
from jtv_cli.records import Document, SourceLine, Transferred
from jtv_cli.text import too_long
from jtv_cli.transfer.format import searchable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from jtv_cli.records import StoredDocument
    from jtv_cli.stores import Table

    class Read(Protocol):
        """Yields documents by id, with their vectors if asked."""

        def __call__(self, *, vectors: bool = False) -> Iterator[StoredDocument]:
            """Yield the documents, in short reads."""
            ...


_BATCH = 512
_BATCH_CHARACTERS = 4 << 20
_OCCURRENCE_CHARACTERS = 200  # that take about as much memory as one


def store_documents(
    documents: Iterable[StoredDocument],
    table: Table,
    *,
    progress: Callable[[Transferred], None],
    skipped: Callable[[StoredDocument, str], None],
) -> None:
    """Store the documents that the table does not have, and add the occurrences of the others.

    Every document needs a usable vector of the table's model. `progress` is called after
    each batch with what was done so far, `skipped` with each document that is too long for
    the table and the reason.
    """
    done = Transferred()
    for batch in batches(_not_too_long(documents, table, skipped)):
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
    read: Read | None = None,
) -> int:
    """Copy all documents from one table to another, and verify that they arrived.

    `progress` is called with what was copied so far, `skipped` with each document that
    cannot be copied and the reason, `verifying` with how many were looked up. `read` yields the
    documents to copy by id, as `Table.read` does; by default, these are all. Documents
    that are added to the source meanwhile may or may not be copied.

    Returns how many documents are missing in the end, because others deleted them.
    """
    last = 0
    skipped_ids: set[int] = set()
    sources: set[str | None] = set()
    read = read or source.read

    def skip(document: StoredDocument, reason: str) -> None:
        skipped_ids.add(document.id)
        skipped(document, reason)

    def seen() -> Iterator[StoredDocument]:
        nonlocal last
        for document in read(vectors=True):
            last = document.id
            sources.update(occurrence.source for occurrence in document.occurrences)
            yield document

    store_documents(searchable(seen(), skip), target, progress=progress, skipped=skip)
    details = details_of(source)
    add_source_details({name: details[name] for name in details if name in sources}, target)
    copied = (d for d in _until(read(), last) if d.id not in skipped_ids)
    return count_missing(copied, target, verifying)


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


def _not_too_long(
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


def _until(documents: Iterable[StoredDocument], last: int) -> Iterator[StoredDocument]:
    for document in documents:
        if document.id > last:
            return
        yield document


def count_missing(
    documents: Iterable[StoredDocument], table: Table, verifying: Callable[[int], None]
) -> int:
    """Return how many of the documents the table does not have.

    `verifying` is called with how many were looked up.
    """
    missing = looked_up = 0
    for batch in batches(documents):
        hashes = {document.hash for document in batch}
        missing += len(hashes - table.known(list(hashes)).keys())
        looked_up += len(batch)
        verifying(looked_up)
    return missing


def batches(documents: Iterable[StoredDocument]) -> Iterator[list[StoredDocument]]:
    """Yield the documents in batches, each stored in one transaction."""
    return batched_by_weight(
        documents,
        lambda each: len(each.text) + _OCCURRENCE_CHARACTERS * len(each.occurrences),
        _BATCH_CHARACTERS,
        _BATCH,
    )


def _merged(batch: Sequence[StoredDocument]) -> dict[bytes, StoredDocument]:
    """Return each text once, by its hash, with all its occurrences."""
    merged: dict[bytes, StoredDocument] = {}
    for document in batch:
        first = merged.get(document.hash, document)
        occurrences = (*first.occurrences, *document.occurrences)
        places = {(where.source, where.line): where for where in reversed(occurrences)}
        merged[document.hash] = first._replace(occurrences=list(places.values())[::-1])
    return merged


def _store(documents: dict[bytes, StoredDocument], table: Table) -> Transferred:
    stored = occurrences = 0
    while True:
        ids = table.known(list(documents))
        added = _add([d for key, d in documents.items() if key not in ids], table)
        stored, occurrences = stored + added.stored, occurrences + added.occurrences
        try:
            occurrences += _add_occurrences(
                [(ids[key], d) for key, d in documents.items() if key in ids], table
            )
        except DocumentDeleted:
            # Another process deleted one since: it is new again.
            continue
        return Transferred(stored, 0, occurrences)


def _add(documents: Sequence[StoredDocument], table: Table) -> Transferred:
    if not documents:
        return Transferred()
    import numpy as np

    vectors = np.array([document.vector for document in documents], np.float32)
    added = table.add([Document(d.text, d.hash, d.occurrences) for d in documents], vectors)
    return Transferred(added.documents, 0, added.occurrences)


def _add_occurrences(documents: Iterable[tuple[int, StoredDocument]], table: Table) -> int:
    """Add occurrences to stored documents; return how many are new."""
    places: dict[str | None, list[SourceLine]] = {}
    for number, document in documents:
        for source, line, metadata, end_line in document.occurrences:
            place = SourceLine(line or 0, number, metadata, end_line)
            places.setdefault(source, []).append(place)
    return sum(table.add_occurrences(source, added) for source, added in places.items())
