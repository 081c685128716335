"""The documents of one table, whole: stored, read with all that is known of them, removed."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from jtv_cli.batching import batched
from jtv_cli.records import Occurrence, Removed, StoredDocument
from jtv_cli.stores.metadata import decode_metadata
from jtv_cli.stores.sqlite.occurrences import remove_places
from jtv_cli.stores.sqlite.rows import PARAMETERS, decode, marks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from jtv_cli.records import Document, SourceLine, Vectors
    from jtv_cli.stores.sqlite.rows import Rows

_STORED = 'SELECT id, content, hash{vector} FROM "{{name}}" WHERE id {which}'

# Those with a name first: stdin is 0.
_OCCURRENCES = """
SELECT o.document, s.source, nullif(o.line, 0), o.metadata, {{end_line}}
FROM "{{name}}_occurrences" o LEFT JOIN "{{name}}_sources" s ON s.id = o.source
WHERE o.document IN ({marks}) ORDER BY o.document, o.source = 0, o.source, o.line
"""

_WITHOUT_OCCURRENCE = 'NOT EXISTS (SELECT 1 FROM "{name}_occurrences" WHERE document = "{name}".id)'


def insert_documents(
    rows: Rows, documents: Sequence[Document], vectors: Vectors
) -> tuple[int, Mapping[bytes, int]]:
    """Return how many were not there yet, and the ids of all by hash."""
    hashes = [document.hash for document in documents]
    blobs = [vector.tobytes() for vector in vectors.astype("<f4", copy=False)]
    texts = [document.text for document in documents]
    first = rows.newest() + 1
    ids = range(first, first + len(documents))
    stored = rows.insert(
        'INSERT OR IGNORE INTO "{name}" (id, hash, vector, content) VALUES (?, ?, ?, ?)',
        zip(ids, hashes, blobs, texts, strict=True),
    )
    rows.count_more(stored)
    all_are_new = stored == len(documents)
    if all_are_new:
        return stored, dict(zip(hashes, ids, strict=True))
    return stored, rows.known(hashes)


def get(rows: Rows, ids: Sequence[int], *, vectors: bool) -> list[StoredDocument]:
    """Return the documents of these ids, in that order, less those that are not there."""
    found: dict[int, StoredDocument] = {}
    for part in _ids_in_parts(ids):
        for document in _stored(rows, f"IN ({marks(len(part))})", part, vectors=vectors):
            found[document.id] = document
    return [found[number] for number in ids if number in found]


def read(rows: Rows, after: int, limit: int, *, vectors: bool) -> list[StoredDocument]:
    """Return so many documents by id; `after` is the id to go on from."""
    return _stored(rows, "> ? ORDER BY id LIMIT ?", (after, limit), vectors=vectors)


def delete(rows: Rows, ids: Iterable[int]) -> Removed:
    """Remove documents with all their occurrences, within a transaction."""
    occurrences = documents = 0
    for part in _ids_in_parts(ids):
        which = f"IN ({marks(len(part))})"
        gone = rows.execute(f'DELETE FROM "{{name}}_occurrences" WHERE document {which}', part)
        occurrences += gone.rowcount
        documents += rows.execute(f'DELETE FROM "{{name}}" WHERE id {which}', part).rowcount
    rows.count_more(-documents)
    return Removed(documents, occurrences)


def remove(rows: Rows, source: str | None, places: Sequence[SourceLine]) -> Removed:
    """Remove occurrences, and documents with their last, within a transaction."""
    removed = remove_places(rows, source, places)
    documents = 0
    for part in _ids_in_parts({place.document for place in removed}):
        which = f"id IN ({marks(len(part))}) AND {_WITHOUT_OCCURRENCE}"
        documents += rows.execute(f'DELETE FROM "{{name}}" WHERE {which}', part).rowcount
    rows.count_more(-documents)
    return Removed(documents, len(removed))


def _stored(
    rows: Rows, which: str, parameters: Sequence[object], *, vectors: bool
) -> list[StoredDocument]:
    statement = _STORED.format(vector=", vector" if vectors else "", which=which)
    found = rows.execute(statement, parameters).fetchall()
    if not found:
        return []
    places = _occurrences(rows, [row[0] for row in found])
    decoded = decode([row[3] for row in found]) if vectors else [None] * len(found)
    return [
        StoredDocument(number, text, key, places[number], vector)
        for (number, text, key, *_), vector in zip(found, decoded, strict=True)
    ]


def _occurrences(rows: Rows, documents: Sequence[int]) -> Mapping[int, list[Occurrence]]:
    found = defaultdict[int, list[Occurrence]](list)
    for part in _ids_in_parts(documents):
        for document, source, line, metadata, end_line in rows.execute(
            _OCCURRENCES.format(marks=marks(len(part))), part
        ):
            where = Occurrence(source, line, decode_metadata(metadata), end_line)
            found[document].append(where)
    return found


def _ids_in_parts(ids: Iterable[int]) -> Iterator[Sequence[int]]:
    """Yield those that can be ids, each once and in order, as many at a time as a statement takes.

    SQLite counts to 2 ** 63 - 1.
    """
    return batched(sorted({number for number in ids if number.bit_length() < 64}), PARAMETERS)
