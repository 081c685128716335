"""The documents of one table: the statements that store, look up, read and delete them."""

from __future__ import annotations

import sys
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from jtv_cli.batching import batched
from jtv_cli.records import Hit, Occurrence, Removed, StoredDocument
from jtv_cli.stores.source_lines import decode_metadata
from jtv_cli.stores.sqlite.connection import DamagedError
from jtv_cli.stores.sqlite.full_text import FullText
from jtv_cli.stores.sqlite.schema import Statements

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from jtv_cli.records import Document, TableSpec, Vectors
    from jtv_cli.stores.distances import Ids
    from jtv_cli.stores.sqlite.connection import Connection

# Rows fetched at once: larger blocks cost more in page faults than they save in calls.
BLOCK = 128
# Parameters in one statement: SQLite before 3.32 takes no more than 999.
PARAMETERS = 900
# The types of values that may be NULL.
_NAME = {str, type(None)}
_LINE = {int, type(None)}


def marks(count: int) -> str:
    """Return so many placeholders for the parameters of a statement."""
    return ",".join("?" * count)


# Its first occurrence in a source with a name, else from stdin, which is 0: each is found by
# the index alone, however many occurrences there are to sort otherwise.
HITS = """
SELECT d.id, d.content, s.source, nullif(o.line, 0), o.metadata, {{end_line}}{vector}
FROM "{{name}}" d
LEFT JOIN "{{name}}_occurrences" o
    ON o.document = d.id AND (o.source, o.line) = (
        SELECT * FROM (
            SELECT source, line FROM "{{name}}_occurrences"
            WHERE document = d.id AND source > 0 {fits} ORDER BY source, line LIMIT 1
        ) UNION ALL SELECT * FROM (
            SELECT source, line FROM "{{name}}_occurrences"
            WHERE document = d.id AND source = 0 {fits} ORDER BY line LIMIT 1
        ) LIMIT 1
    )
LEFT JOIN "{{name}}_sources" s ON s.id = o.source
WHERE d.id {which}
"""

# Always of one length, so that SQLite compiles it once.
KNOWN = f'SELECT hash, id FROM "{{name}}" WHERE hash IN ({marks(PARAMETERS)})'
_CHOSEN = f'SELECT id, vector FROM "{{name}}" d WHERE id IN ({marks(BLOCK)})'

_STORED = 'SELECT id, content, hash{vector} FROM "{{name}}" WHERE id {which}'

# Those with a name first: stdin is 0.
_OCCURRENCES = """
SELECT o.document, s.source, nullif(o.line, 0), o.metadata, {{end_line}}
FROM "{{name}}_occurrences" o LEFT JOIN "{{name}}_sources" s ON s.id = o.source
WHERE o.document IN ({marks}) ORDER BY o.document, o.source = 0, o.source, o.line
"""

_SIZE = """
SELECT (page_count - freelist_count) * page_size
    * (SELECT documents * dimensions + 1.0 FROM jtv_tables WHERE name = '{name}')
    / (SELECT sum(documents * dimensions + 1.0) FROM jtv_tables)
FROM pragma_page_count, pragma_freelist_count, pragma_page_size
"""


class Documents(Statements):
    """The documents of one table, in whatever transaction is open."""

    # Conditions on an occurrence, and on a document d, that a subclass adds.
    occurrence_condition = ""
    document_condition = ""

    def __init__(self, connection: Connection, spec: TableSpec) -> None:
        super().__init__(connection, spec)
        self.full_text = FullText(self)

    def count(self) -> int:
        """Return the number of documents, which the catalog holds."""
        return self.number("SELECT documents FROM jtv_tables WHERE name = '{name}'")

    def size(self) -> int:
        """Return about how many bytes the table takes, its index included.

        The size of the file is divided among its tables in proportion to their vectors.
        """
        return self.number(_SIZE)

    def newest(self) -> int:
        """Return the highest id that was ever used; no other document will get it."""
        row = self.execute("SELECT seq FROM sqlite_sequence WHERE name = '{name}'").fetchone()
        return int(row[0]) if row else 0

    def known(self, hashes: Sequence[bytes]) -> dict[bytes, int]:
        """Return the ids of the stored hashes, which their unique index finds."""
        found: dict[bytes, int] = {}
        for part in _padded_batches(hashes, PARAMETERS):
            found.update(self.execute(KNOWN, part))
        return found

    def insert(
        self, documents: Sequence[Document], vectors: Vectors
    ) -> tuple[int, Mapping[bytes, int]]:
        """Insert the documents that are not stored; return their number and all ids by hash."""
        hashes = [document.hash for document in documents]
        blobs = [vector.tobytes() for vector in vectors.astype("<f4", copy=False)]
        texts = [document.text for document in documents]
        first = self.newest() + 1
        ids = range(first, first + len(documents))
        stored = self.executemany(
            'INSERT OR IGNORE INTO "{name}" (id, hash, vector, content) VALUES (?, ?, ?, ?)',
            zip(ids, hashes, blobs, texts, strict=True),
        )
        self.change_count(stored)
        all_are_new = stored == len(documents)
        numbers = dict(zip(hashes, ids, strict=True)) if all_are_new else self.known(hashes)
        if stored:
            rows = list(zip((numbers[key] for key in hashes), texts, strict=True))
            if not all_are_new:
                rows = sorted({row for row in rows if row[0] >= first})
            self.full_text.add(first, rows)
        return stored, numbers

    def delete(self, ids: Collection[int]) -> Removed:
        """Delete documents with all their occurrences."""
        occurrences = 0
        for part in id_batches(ids):
            which = f"document IN ({marks(len(part))})"
            gone = self.execute(f'DELETE FROM "{{name}}_occurrences" WHERE {which}', part)
            occurrences += gone.rowcount
        return Removed(self.delete_without_occurrences(ids), occurrences)

    def delete_without_occurrences(self, ids: Iterable[int]) -> int:
        """Delete those of the documents that have no occurrence left; return their number."""
        documents = 0
        for part in id_batches(ids):
            where = (
                f"id IN ({marks(len(part))}) AND NOT EXISTS"
                ' (SELECT 1 FROM "{name}_occurrences" WHERE document = "{name}".id)'
            )
            self.full_text.remove(where, part)
            documents += self.execute(f'DELETE FROM "{{name}}" WHERE {where}', part).rowcount
        self.change_count(-documents)
        return documents

    def get(self, ids: Sequence[int], *, vectors: bool) -> list[StoredDocument]:
        """Return the documents of these ids in this order; missing ones are left out."""
        found: dict[int, StoredDocument] = {}
        for part in id_batches(ids):
            for document in self._stored(f"IN ({marks(len(part))})", part, vectors=vectors):
                found[document.id] = document
        return [found[number] for number in ids if number in found]

    def read(self, after: int, limit: int, *, vectors: bool) -> list[StoredDocument]:
        """Return at most `limit` documents whose ids are greater than `after`, by id."""
        return self._stored("> ? ORDER BY id LIMIT ?", (after, limit), vectors=vectors)

    def vectors(self, after: int = 0, limit: int = sys.maxsize) -> Iterator[tuple[Ids, Vectors]]:
        """Yield ids, (n,), and vectors, (n, dimensions), by id, in blocks.

        Only ids greater than `after` are read.
        """
        which = f"id > ? {self.document_condition} ORDER BY id LIMIT ?"
        statement = f'SELECT id, vector FROM "{{name}}" d WHERE {which}'
        yield from self._blocks(self.execute(statement, (after, limit)))

    def vectors_of(self, ids: Iterable[int]) -> Iterator[tuple[Ids, Vectors]]:
        """Yield ids and vectors of those of the documents that still exist."""
        # In the order of the file.
        for part in _padded_batches(sorted(ids), BLOCK):
            yield from self._blocks(self.execute(_CHOSEN, part))

    def sample(self, size: int) -> list[int]:
        """Return the ids of `size` documents, or of all; the same ones while nothing changes.

        The order of their hashes is as good as a shuffle, and needs no sorting.
        """
        found = self.execute('SELECT id FROM "{name}" ORDER BY hash LIMIT ?', (size,))
        return [number for (number,) in found]

    def hits(self, ranked: Sequence[tuple[int, float | None]]) -> list[Hit]:
        """Return the documents of (id, distance) in this order; deleted ones are left out."""
        rows: dict[int, tuple[Any, ...]] = {}
        for part in batched(ranked, PARAMETERS):
            ids = [document for document, _ in part]
            which = f"IN ({marks(len(ids))})"
            statement = HITS.format(vector="", which=which, fits=self.occurrence_condition)
            rows.update((row[0], row) for row in self.execute(statement, ids))
        return [
            to_hit(rows[document], distance) for document, distance in ranked if document in rows
        ]

    def decode(self, blobs: Sequence[bytes]) -> Vectors:
        """Return n vectors, as they are stored, as (n, dimensions) float32."""
        import numpy as np

        dimensions = self.spec.dimensions
        try:
            if set(map(len, blobs)) - {4 * dimensions}:
                raise DamagedError
            data = b"".join(blobs)
        except TypeError as error:  # no bytes at all
            raise DamagedError from error
        vectors: Vectors = np.frombuffer(data, "<f4").reshape(-1, dimensions)
        return vectors

    def change_count(self, documents: int) -> None:
        """Add to the number of documents that the catalog holds."""
        self.execute(
            "UPDATE jtv_tables SET documents = documents + ? WHERE name = '{name}'", (documents,)
        )

    def _blocks(self, rows: sqlite3.Cursor) -> Iterator[tuple[Ids, Vectors]]:
        import numpy as np

        while block := rows.fetchmany(BLOCK):
            ids, blobs = zip(*block, strict=True)
            yield np.array(ids), self.decode(blobs)

    def _stored(
        self, which: str, parameters: Sequence[object], *, vectors: bool
    ) -> list[StoredDocument]:
        statement = _STORED.format(vector=", vector" if vectors else "", which=which)
        found = self.execute(statement, parameters).fetchall()
        if not found:
            return []
        occurrences = self._occurrences([row[0] for row in found])
        decoded = self.decode([row[3] for row in found]) if vectors else [None] * len(found)
        if any(type(text) is not str or type(key) is not bytes for _, text, key, *_ in found):
            raise DamagedError
        return [
            StoredDocument(number, text, key, occurrences[number], vector)
            for (number, text, key, *_), vector in zip(found, decoded, strict=True)
        ]

    def _occurrences(self, documents: Sequence[int]) -> Mapping[int, list[Occurrence]]:
        found = defaultdict[int, list[Occurrence]](list)
        for part in id_batches(documents):
            statement = _OCCURRENCES.format(marks=marks(len(part)))
            for document, source, line, metadata, end_line in self.execute(statement, part):
                if type(source) not in _NAME or {type(line), type(end_line)} - _LINE:
                    raise DamagedError
                found[document].append(Occurrence(source, line, to_metadata(metadata), end_line))
        return found


def to_hit(row: Sequence[Any], distance: float | None) -> Hit:
    """Return a row of HITS as a hit."""
    number, content, source, line, metadata, end_line = row[:6]
    if (
        type(content) is not str
        or type(source) not in _NAME
        or {type(line), type(end_line)} - _LINE
    ):
        raise DamagedError
    return Hit(number, content, distance, source, line, to_metadata(metadata), end_line)


def to_metadata(stored: object) -> Mapping[str, Any] | None:
    """Return metadata, or the details of a source, from the JSON that is stored."""
    if stored is None:
        return None
    try:
        found = decode_metadata(stored)  # type: ignore[arg-type]
    except ValueError as error:
        raise DamagedError from error
    if not isinstance(found, dict):
        raise DamagedError
    return found


def require_types(types: Sequence[type], *rows: Sequence[object]) -> None:
    """Raise DamagedError unless the values of each row are of these types, or None."""
    for row in rows:
        for value, expected in zip(row, types, strict=True):
            if value is not None and type(value) is not expected:
                raise DamagedError


def id_batches(ids: Iterable[int]) -> Iterator[Sequence[int]]:
    """Yield what can be an id, each once, by value, as many at a time as a statement takes.

    SQLite counts to 2 ** 63 - 1.
    """
    return batched(sorted({number for number in ids if number.bit_length() < 64}), PARAMETERS)


def _padded_batches(values: Sequence[Any], size: int) -> Iterator[list[Any]]:
    """Yield the values, `size` at a time, the last batch padded with None."""
    for part in batched(values, size):
        yield [*part, *[None] * (size - len(part))]
