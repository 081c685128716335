"""One table of the file: reading and writing documents, and finding the nearest."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from jtv_cli.errors import TableMismatch
from jtv_cli.records import Added, Hit, IndexState, IndexStatus, Occurrence
from jtv_cli.stores.sqlite.file import transaction, translated

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from jtv_cli.records import Document, Place, TableSpec, Vectors
    from jtv_cli.stores.distances import Ids

# Rows fetched at once: larger blocks cost more in page faults than they save in calls.
_BLOCK = 128
# Parameters in one statement: SQLite before 3.32 takes no more than 999.
_PARAMETERS = 900
# The columns of an occurrence's key cannot be NULL.
_NO_SOURCE = 0
_NO_LINE = 0

HITS = """
SELECT d.id, d.content, s.source, nullif(o.line, 0), o.metadata{vector}
FROM "{{name}}" d
LEFT JOIN "{{name}}_occurrences" o
    ON o.document = d.id AND (o.source, o.line) = (
        SELECT source, line FROM "{{name}}_occurrences"
        WHERE document = d.id ORDER BY source, line LIMIT 1
    )
LEFT JOIN "{{name}}_sources" s ON s.id = o.source
WHERE d.id {which}
"""


def _marks(count: int) -> str:
    return ",".join("?" * count)


# Always of one length, so that SQLite compiles it once.
KNOWN = f'SELECT hash, id FROM "{{name}}" WHERE hash IN ({_marks(_PARAMETERS)})'

NOTED = """
SELECT line, document FROM "{name}_occurrences"
WHERE source = CASE
        WHEN ? IS NULL THEN 0
        ELSE (SELECT id FROM "{name}_sources" WHERE source = ?)
    END
    AND line BETWEEN ? AND ?
"""


class SqliteTable:
    """One table of the embedded store. Searches look at every vector.

    In statements `{name}` stands for the table's name, which needs no quoting: only
    letters, digits and underscores are taken for one.
    """

    def __init__(self, connection: sqlite3.Connection, spec: TableSpec, location: str) -> None:
        self.spec = spec
        self._connection = connection
        self._location = location

    def count(self) -> int:
        """Return the number of documents, from the catalogue's counter."""
        with translated(self._location):
            row = self.execute("SELECT documents FROM jtv_tables WHERE name = '{name}'")
            return int(row.fetchone()[0])

    def known(self, hashes: Sequence[bytes]) -> dict[bytes, int]:
        """Return the ids of those of the hashes that are stored, found by their unique index."""
        found: dict[bytes, int] = {}
        with translated(self._location):
            for start in range(0, len(hashes), _PARAMETERS):
                part: list[bytes | None] = [*hashes[start : start + _PARAMETERS]]
                part += [None] * (_PARAMETERS - len(part))
                found.update(self.execute(KNOWN, part))
        return found

    def add(self, documents: Sequence[Document], vectors: Vectors) -> Added:
        """Store documents with their occurrences, in one transaction."""
        from jtv_cli.stores.distances import check_vectors

        check_vectors(vectors, len(documents), self.spec.dimensions)
        with self.writing():
            stored, ids = self._insert_documents(documents, vectors)
            occurrences = self._insert_occurrences(
                (ids[document.hash], occurrence)
                for document in documents
                for occurrence in document.occurrences
            )
        return Added(stored, occurrences)

    def add_occurrences(self, source: str | None, places: Sequence[Place]) -> int:
        """Note where a source has stored documents; return how many of that were news.

        What a file that is read again has to say is known, and needs no write lock.
        """
        if not places:
            return 0
        with translated(self._location):
            lines = (min(places).line, max(places).line)
            noted = set(self.execute(NOTED, (source, source, *lines)))
        news = [place for place in places if (place.line, place.document) not in noted]
        if not news:
            return 0
        with self.writing():
            return self._insert_occurrences(
                (document, Occurrence(source, line, metadata)) for line, document, metadata in news
            )

    def search(
        self,
        vectors: Vectors,
        k: int,
        *,
        exact: bool = False,  # noqa: ARG002
        max_distance: float | None = None,
        explain: Callable[[str], None] | None = None,
    ) -> list[list[Hit]]:
        """Return the k nearest documents to each of (m, dimensions) query vectors."""
        from jtv_cli.stores.distances import Nearest

        if explain is not None:
            explain("exact: every vector was looked at")
        nearest = [Nearest(k, max_distance) for _ in vectors]
        with translated(self._location), transaction(self._connection, "DEFERRED"):
            for ids, rows in self._all_distances(vectors):
                for best, distances in zip(nearest, rows, strict=True):
                    best.offer(ids, distances)
            return [self._hits(best.ranked()) for best in nearest]

    def scan(
        self, query: Vectors | None = None, *, after: int | None = None, limit: int | None = None
    ) -> Iterator[Hit]:
        """Yield the documents by id, with their distance to a (dimensions,) query."""
        last, left = after or 0, sys.maxsize if limit is None else limit
        vector = "" if query is None else ", d.vector"
        statement = HITS.format(vector=vector, which="> ? ORDER BY d.id LIMIT ?")
        measure = None if query is None else self._measure(query[None])
        while left > 0:
            with translated(self._location):
                rows = self.execute(statement, (last, min(left, _BLOCK))).fetchall()
            if not rows:
                return
            if measure is None:
                yield from (_hit(row, None) for row in rows)
            else:
                [distances] = measure([row[-1] for row in rows]).tolist()
                yield from map(_hit, rows, distances)
            last, left = rows[-1][0], left - len(rows)

    def rank(self, query: Vectors, *, limit: int | None = None) -> Iterator[Hit]:
        """Yield the documents by distance to a (dimensions,) query."""
        from jtv_cli.stores.distances import Ranking

        with translated(self._location), transaction(self._connection, "DEFERRED"):
            ranking = Ranking(self.count())
            for ids, [distances] in self._all_distances(query[None]):
                ranking.offer(ids, distances)
        left = sys.maxsize if limit is None else limit
        for ranked in ranking.ranked(_BLOCK):
            with translated(self._location):
                hits = self._hits(ranked[:left])
            yield from hits
            left -= len(ranked)
            if left <= 0:
                return

    def index_status(self) -> IndexStatus:
        """Return that there is none: every vector is looked at."""
        return IndexStatus(IndexState.NONE)

    def execute(self, statement: str, parameters: Sequence[object] = ()) -> sqlite3.Cursor:
        """Run one statement on this table."""
        return self._connection.execute(statement.format(name=self.spec.name), parameters)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the write lock, on a table that is still the one that was opened.

        Raises TableMismatch where it was dropped since, even if it was made again.
        """
        with translated(self._location), transaction(self._connection, "IMMEDIATE"):
            row = self.execute("SELECT identity FROM jtv_tables WHERE name = '{name}'").fetchone()
            if row != (self.spec.identity,):
                raise TableMismatch(
                    f"table {self.spec.name} was dropped meanwhile",
                    hint="run the same command again",
                )
            yield

    def _insert_documents(
        self, documents: Sequence[Document], vectors: Vectors
    ) -> tuple[int, Mapping[bytes, int]]:
        """Return how many were not there yet, and the ids of all by hash."""
        hashes = [document.hash for document in documents]
        blobs = [vector.tobytes() for vector in vectors.astype("<f4", copy=False)]
        texts = [document.text for document in documents]
        last = self.execute("SELECT seq FROM sqlite_sequence WHERE name = '{name}'").fetchone()
        first = last[0] + 1 if last else 1
        ids = range(first, first + len(documents))
        stored = self._insert(
            'INSERT OR IGNORE INTO "{name}" (id, hash, vector, content) VALUES (?, ?, ?, ?)',
            zip(ids, hashes, blobs, texts, strict=True),
        )
        self.execute(
            "UPDATE jtv_tables SET documents = documents + ? WHERE name = '{name}'", (stored,)
        )
        all_are_new = stored == len(documents)
        return stored, dict(zip(hashes, ids, strict=True)) if all_are_new else self.known(hashes)

    def _insert_occurrences(self, occurrences: Iterable[tuple[int, Occurrence]]) -> int:
        sources = _Sources(self)
        rows = [
            (sources[where.source], where.line or _NO_LINE, document, _encode(where.metadata))
            for document, where in occurrences
        ]
        return self._insert(
            'INSERT OR IGNORE INTO "{name}_occurrences" (source, line, document, metadata)'
            " VALUES (?, ?, ?, ?)",
            rows,
        )

    def _insert(self, statement: str, rows: Iterable[Sequence[object]]) -> int:
        """Return how many of the rows were inserted."""
        before = self._connection.total_changes
        self._connection.executemany(statement.format(name=self.spec.name), rows)
        return self._connection.total_changes - before

    def _all_distances(self, queries: Vectors) -> Iterator[tuple[Ids, Vectors]]:
        """Yield all ids, (n,), and their distances to (m, dimensions) queries, (m, n)."""
        import numpy as np

        measure = self._measure(queries)
        rows = self.execute('SELECT id, vector FROM "{name}"')
        while block := rows.fetchmany(_BLOCK):
            ids, blobs = zip(*block, strict=True)
            yield np.array(ids), measure(blobs)

    def _measure(self, queries: Vectors) -> Callable[[Sequence[bytes]], Vectors]:
        """Return what takes n vectors, as they are stored, and gives their (m, n) distances."""
        import numpy as np

        from jtv_cli.stores.distances import cosine_distances, normalized

        unit_queries = normalized(queries)

        def measure(blobs: Sequence[bytes]) -> Vectors:
            vectors = np.frombuffer(b"".join(blobs), "<f4").reshape(len(blobs), -1)
            return cosine_distances(vectors, unit_queries)

        return measure

    def _hits(self, ranked: Sequence[tuple[int, float]]) -> list[Hit]:
        """Return the documents of (id, distance) in that order, less those deleted since."""
        rows: dict[int, tuple[Any, ...]] = {}
        for start in range(0, len(ranked), _PARAMETERS):
            ids = [document for document, _ in ranked[start : start + _PARAMETERS]]
            statement = HITS.format(vector="", which=f"IN ({_marks(len(ids))})")
            rows.update((row[0], row) for row in self.execute(statement, ids))
        return [_hit(rows[document], distance) for document, distance in ranked if document in rows]


class _Sources(dict["str | None", int]):
    """The ids of sources, looked up when first asked for, and made where there is none."""

    def __init__(self, table: SqliteTable) -> None:
        super().__init__({None: _NO_SOURCE})
        self._table = table

    def __missing__(self, source: str) -> int:
        self._table.execute('INSERT OR IGNORE INTO "{name}_sources" (source) VALUES (?)', (source,))
        row = self._table.execute('SELECT id FROM "{name}_sources" WHERE source = ?', (source,))
        self[source] = found = int(row.fetchone()[0])
        return found


def _encode(metadata: Mapping[str, Any] | None) -> str | None:
    if metadata is None:
        return None
    import orjson

    return orjson.dumps(metadata).decode()


def _hit(row: Sequence[Any], distance: float | None) -> Hit:
    number, content, source, line, metadata = row[:5]
    if metadata is not None:
        import orjson

        metadata = orjson.loads(metadata)
    return Hit(number, content, distance, source, line, metadata)
