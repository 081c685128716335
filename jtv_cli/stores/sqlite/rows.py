"""The rows of one table: the statements that read documents and their vectors."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from jtv_cli.batching import batched
from jtv_cli.records import Hit
from jtv_cli.stores.metadata import decode_metadata

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from jtv_cli.records import TableSpec, Vectors
    from jtv_cli.stores.distances import Ids
    from jtv_cli.stores.sqlite.file import Connection

# Rows fetched at once: larger blocks cost more in page faults than they save in calls.
BLOCK = 128
# Parameters in one statement: SQLite before 3.32 takes no more than 999.
PARAMETERS = 900


def marks(count: int) -> str:
    """Return so many placeholders for the parameters of a statement."""
    return ",".join("?" * count)


# Its first occurrence in a source with a name, else from stdin, which is 0: each is found by
# the index alone, however many occurrences there are to sort otherwise.
HITS = """
SELECT d.id, d.content, s.source, nullif(o.line, 0), o.metadata{vector}
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

_SIZE = """
SELECT (page_count - freelist_count) * page_size
    * (SELECT documents * dimensions + 1.0 FROM jtv_tables WHERE name = '{name}')
    / (SELECT sum(documents * dimensions + 1.0) FROM jtv_tables)
FROM pragma_page_count, pragma_freelist_count, pragma_page_size
"""

# Always of one length, so that SQLite compiles it once.
KNOWN = f'SELECT hash, id FROM "{{name}}" WHERE hash IN ({marks(PARAMETERS)})'
CHOSEN = f'SELECT id, vector FROM "{{name}}" d WHERE id IN ({marks(BLOCK)})'


class Rows:
    """Reads one table, in whatever transaction there is. Raises the errors of sqlite3.

    In statements `{name}` stands for the table's name, which needs no quoting: only
    letters, digits and underscores are taken for one. `{end_line}` and `{details}` stand
    for the columns of that name, and for NULL in a file whose format has none.
    """

    # Conditions that an occurrence, or a document d, has to meet besides, for subclasses to set.
    occurrence_fits = ""
    document_fits = ""

    def __init__(self, connection: Connection, spec: TableSpec) -> None:
        self.connection = connection
        self.spec = spec

    def execute(
        self, statement: str, parameters: Sequence[object] | Mapping[str, object] = ()
    ) -> sqlite3.Cursor:
        """Run one statement on this table."""
        return self.connection.execute(self._complete(statement), parameters)

    def insert(self, statement: str, values: Iterable[Sequence[object]]) -> int:
        """Run one statement with each of the values; return how many rows were inserted."""
        before = self.connection.total_changes
        self.connection.executemany(self._complete(statement), values)
        return self.connection.total_changes - before

    def _complete(self, statement: str) -> str:
        # Tables of format 1 lack these columns, which are NULL unless something was written.
        is_old = self.connection.format < 2
        end_line, details = ("NULL", "NULL") if is_old else ("end_line", "details")
        return statement.format(name=self.spec.name, end_line=end_line, details=details)

    def count(self) -> int:
        """Return the number of documents, from the catalogue's counter."""
        row = self.execute("SELECT documents FROM jtv_tables WHERE name = '{name}'").fetchone()
        return int(row[0])

    def count_more(self, documents: int) -> None:
        """Note in the catalogue how many more documents there are, or fewer."""
        self.execute(
            "UPDATE jtv_tables SET documents = documents + ? WHERE name = '{name}'", (documents,)
        )

    def size(self) -> int:
        """Return about how many bytes the table takes, its index included.

        What the file holds is divided among its tables by the numbers in their vectors.
        """
        row = self.execute(_SIZE).fetchone()
        return int(row[0])

    def newest(self) -> int:
        """Return the highest id that was ever given; no document will get it again."""
        row = self.execute("SELECT seq FROM sqlite_sequence WHERE name = '{name}'").fetchone()
        return int(row[0]) if row else 0

    def known(self, hashes: Sequence[bytes]) -> dict[bytes, int]:
        """Return the ids of those of the hashes that are stored, found by their unique index."""
        found: dict[bytes, int] = {}
        for part in _filled_parts(hashes, PARAMETERS):
            found.update(self.execute(KNOWN, part))
        return found

    def vectors(self, after: int = 0, limit: int = sys.maxsize) -> Iterator[tuple[Ids, Vectors]]:
        """Yield ids, (n,), and vectors, (n, dimensions), in order of id, in blocks.

        `after` is the id to go on from, itself left out.
        """
        which = f"id > ? {self.document_fits} ORDER BY id LIMIT ?"
        statement = f'SELECT id, vector FROM "{{name}}" d WHERE {which}'
        yield from _blocks(self.execute(statement, (after, limit)))

    def vectors_of(self, ids: Iterable[int]) -> Iterator[tuple[Ids, Vectors]]:
        """Yield ids and vectors of those of the documents that are still there."""
        # In the order of the file.
        for part in _filled_parts(sorted(ids), BLOCK):
            yield from _blocks(self.execute(f"{CHOSEN} {self.document_fits}", part))

    def sample(self, size: int) -> list[int]:
        """Return the ids of so many documents, or of all, always the same while nothing changes.

        In the order of their hashes, which is none: a shuffle that costs nothing.
        """
        found = self.execute('SELECT id FROM "{name}" ORDER BY hash LIMIT ?', (size,))
        return [number for (number,) in found]

    def hits(self, ranked: Sequence[tuple[int, float]]) -> list[Hit]:
        """Return the documents of (id, distance) in that order, less those deleted since."""
        rows: dict[int, tuple[Any, ...]] = {}
        for part in batched(ranked, PARAMETERS):
            ids = [document for document, _ in part]
            which = f"IN ({marks(len(ids))})"
            statement = HITS.format(vector="", which=which, fits=self.occurrence_fits)
            rows.update((row[0], row) for row in self.execute(statement, ids))
        return [hit(rows[document], distance) for document, distance in ranked if document in rows]


def decode(blobs: Sequence[bytes]) -> Vectors:
    """Return n vectors, as they are stored, as (n, dimensions)."""
    import numpy as np

    vectors: Vectors = np.frombuffer(b"".join(blobs), "<f4").reshape(len(blobs), -1)
    return vectors


def hit(row: Sequence[Any], distance: float | None) -> Hit:
    """Return a row of HITS as a hit."""
    number, content, source, line, metadata = row[:5]
    return Hit(number, content, distance, source, line, decode_metadata(metadata))


def _blocks(rows: sqlite3.Cursor) -> Iterator[tuple[Ids, Vectors]]:
    import numpy as np

    while block := rows.fetchmany(BLOCK):
        ids, blobs = zip(*block, strict=True)
        yield np.array(ids), decode(blobs)


def _filled_parts(values: Sequence[Any], size: int) -> Iterator[list[Any]]:
    """Yield the values, so many at a time, the last of them filled up with None."""
    for part in batched(values, size):
        yield [*part, *[None] * (size - len(part))]
