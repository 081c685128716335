"""The rows of a table's documents, sources and occurrences: what one transaction does to them."""

from __future__ import annotations

from itertools import chain, groupby, islice
from typing import TYPE_CHECKING, Any

from pymysql.constants import FIELD_TYPE

from jtv_cli.batching import batched
from jtv_cli.errors import DocumentDeleted, StoreError
from jtv_cli.records import Added, Occurrence, Removed, SourceLine, SourceRange
from jtv_cli.stores.source_lines import encode_metadata, lines_to_scan
from jtv_cli.stores.tidb.schema import NO_LINE, NO_SOURCE, fetch_own
from jtv_cli.stores.tidb.sql import literal, literals
from jtv_cli.stores.tidb.statements import (
    KEYS,
    ahead,
    document_values,
    inserts,
    prepared_rows,
    vector_text,
)
from jtv_cli.text import text_hash

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from jtv_cli.records import Document, Vectors
    from jtv_cli.stores.source_lines import StoredLine
    from jtv_cli.stores.tidb.connection import Connection
    from jtv_cli.stores.tidb.schema import Schema


_DOCUMENT_COLUMNS = "content, content_vec, content_hash"
# To prepare a statement takes a round trip.
_WORTH_PREPARING = 2
_DOCUMENT_TYPES = (FIELD_TYPE.VAR_STRING, FIELD_TYPE.VAR_STRING, FIELD_TYPE.BLOB)


def insert_nothing(name: str) -> list[str]:
    """Return statements that insert no row into any of the tables of the one of that name.

    They need the tables and the privileges that an ingest needs.
    """
    keys = {name: "id", f"{name}_sources": "id", f"{name}_occurrences": "document"}
    return [
        # No table's name has a space.
        f"INSERT INTO `{table}` SELECT `the same`.* FROM `{table}` AS `the same` WHERE FALSE"
        f" ON DUPLICATE KEY UPDATE `{table}`.{key} = `{table}`.{key}"
        for table, key in keys.items()
    ]


class Rows:
    """The rows of one table, over one connection.

    A transaction does not see what others have committed since it began, unless it locks what
    it reads. `packet_bytes` is the server's max_allowed_packet.
    """

    def __init__(self, connection: Connection, schema: Schema, packet_bytes: int) -> None:
        self._connection = connection
        self._schema = schema
        self._packet_bytes = packet_bytes

    def add(self, documents: Sequence[Document], vectors: Vectors) -> Added:
        """Insert the documents that are not stored yet and the occurrences of all, and commit.

        These are two round trips, for many documents three; for new sources one more.

        Raises TableDropped.
        """
        stored, last = self._insert_documents(documents, vectors)
        hashes = [document.hash for document in documents]
        # In order: sources are numbered as they are inserted.
        names = list(
            dict.fromkeys(where.source for document in documents for where in document.occurrences)
        )
        counts, rows, sources = self._fetch(
            last,
            self._lookups(self._schema.documents, "content_hash", hashes, lock=True),
            self._source_lookups(names),
        )
        ids = dict(rows)
        _require_all(hashes, ids)
        places = [
            (ids[document.hash], where) for document in documents for where in document.occurrences
        ]
        stored += sum(count for (count,) in counts)
        ids_of_sources = self._insert_sources(names, sources)
        return Added(stored, self._insert_occurrences(places, ids_of_sources))

    def add_occurrences(
        self, source: str | None, places: Sequence[SourceLine], *, replace: bool = False
    ) -> int:
        """Insert occurrences, in place of the stored ones with `replace`, and commit.

        Returns how many.

        Raises TableDropped, and DocumentDeleted.
        """
        documents = sorted({place.document for place in places})
        locked, sources = self._fetch(
            self._lookups(self._schema.documents, "id", documents, lock=True),
            self._source_lookups({source}),
        )
        if len(locked) < len(documents):
            raise DocumentDeleted(self._schema.spec.name)
        if replace:
            for _ in self._remove_occurrences(source, places):
                pass
        occurrences = [
            (place.document, Occurrence(source, place.line, place.metadata, place.end_line))
            for place in places
        ]
        return self._insert_occurrences(occurrences, self._insert_sources({source}, sources))

    def known(
        self, hashes: Sequence[bytes], lines: SourceRange | None = None
    ) -> tuple[dict[bytes, int], set[StoredLine]]:
        """Return the ids of those of the hashes that are stored, and occurrences in some lines."""
        statements = self._lookups(self._schema.documents, "content_hash", hashes)
        more = [] if lines is None else [self._in_range(lines)]
        rows = self._connection.fetch_all(*statements, *more)
        stored = set(rows.pop()) if more else set()
        return {key: number for part in rows for key, number in part}, stored

    def lock(self, documents: Collection[int]) -> None:
        """Keep documents from being deleted until the transaction ends.

        They are locked by id, so that no two transactions wait for each other.

        Raises TableDropped.
        """
        self._fetch(self._lookups(self._schema.documents, "id", sorted(documents), lock=True))

    def delete(self, documents: Collection[int]) -> Removed:
        """Delete documents, which must be locked, with all their occurrences."""
        occurrences = self._delete(self._schema.occurrences, "document", documents)
        return Removed(self._delete(self._schema.documents, "id", documents), occurrences)

    def occurrences(self, source: str | None, places: Sequence[SourceLine]) -> set[StoredLine]:
        """Return the stored occurrences in a source: at these places, and perhaps at others."""
        if lines := lines_to_scan(places):
            return set(self._connection.rows(self._in_range(SourceRange(source, *lines))))
        number = self._source_ids({source}).get(source)
        # With the number as a constant, each key is a point of the primary key.
        parts = [] if number is None else batched(places, KEYS)
        statements = (f"{self._select_lines()} WHERE {_is_at(number, part)}" for part in parts)
        return {row for one in statements for row in self._connection.rows(one)}

    def source_lines(self, source: str | None, after: SourceLine, limit: int) -> list[SourceLine]:
        """Return up to `limit` occurrences in a source by line, those after the given one."""
        rows = self._connection.rows(
            f"SELECT line, document, NULL, {self._schema.end_line} FROM {self._schema.occurrences}"
            f" WHERE source = {self._source_number(source)} AND line >= {after.line}"
            f" AND (line > {after.line} OR document > {after.document})"
            f" ORDER BY line, document LIMIT {limit}"
        )
        return [SourceLine(*row) for row in rows]

    def remove_occurrences(self, source: str | None, places: Sequence[SourceLine]) -> Removed:
        """Remove occurrences of locked documents, and documents with their last.

        A document that never had an occurrence, as one from the tutorial, stays.
        """
        removed = Removed()
        for count, touched in self._remove_occurrences(source, places):
            # A statement that changes rows sees what others have committed by now.
            table = self._schema.documents
            has_none = (
                f"NOT EXISTS (SELECT 1 FROM {self._schema.occurrences} WHERE document = {table}.id)"
            )
            documents = self._delete(table, "id", touched, has_none)
            removed += Removed(documents, count)
        return removed

    def set_source_details(self, details: Mapping[str, Mapping[str, Any] | None]) -> None:
        """Record how sources were read, in a table of format 2.

        Raises TableDropped.
        """
        rows = [
            _in_parentheses(name, text_hash(name), encode_metadata(some))
            for name, some in details.items()
        ]
        self._fetch(
            [
                f"INSERT INTO {self._schema.sources} (source, source_hash, details)"
                f" VALUES {','.join(part)} ON DUPLICATE KEY UPDATE details = VALUES(details)"
                for part in batched(rows, KEYS)
            ]
        )

    def rename_source(self, old: str, new: str) -> int:
        """Rename a source, or merge it into another; return its number of occurrences.

        Raises TableDropped.
        """
        ids = self._source_ids({old, new}, lock=True)
        if old not in ids or old == new:
            return 0
        table, sources, run = self._schema.occurrences, self._schema.sources, self._connection.run
        is_old = f"source = {ids[old]}"
        count = int(self._connection.scalar(f"SELECT COUNT(*) FROM {table} WHERE {is_old}"))
        if new not in ids:
            run(
                f"UPDATE {sources} SET source = {literal(new)},"
                f" source_hash = {literal(text_hash(new))} WHERE id = {ids[old]}"
            )
            return count
        names = "document, line, metadata" + (", end_line" if self._schema.format > 1 else "")
        run(
            f"INSERT INTO {table} (source, {names})"
            f" SELECT {ids[new]}, {names} FROM {table} AS old WHERE {is_old}"
            f" ON DUPLICATE KEY UPDATE {table}.document = {table}.document"
        )
        run(f"DELETE FROM {table} WHERE {is_old}")
        if self._schema.format > 1:
            run(
                f"UPDATE {sources} AS new JOIN {sources} AS old ON old.id = {ids[old]}"
                " SET new.details = COALESCE(new.details, old.details)"
                f" WHERE new.id = {ids[new]}"
            )
            run(f"UPDATE {sources} SET details = NULL WHERE id = {ids[old]}")
        # The old row stays: a writer that has just looked up its id may still refer to it.
        return count

    def _insert_documents(
        self, documents: Sequence[Document], vectors: Vectors
    ) -> tuple[int, list[str]]:
        """Insert documents; return the number of new ones, and the statements for the rest.

        Most of many go in the binary protocol: in a statement, the server reads all digits of
        the vectors twice, to parse it and for its digest, before it reads the numbers.
        """
        size = prepared_rows(vectors.shape[1])
        rest = len(documents) - len(documents) % size
        if rest < _WORTH_PREPARING * size:
            rest = 0
        row = ",".join(["(?,?,?)"] * size)
        into = f"{self._schema.documents} ({_DOCUMENT_COLUMNS})"
        statement = f"INSERT INTO {into} VALUES {row} ON DUPLICATE KEY UPDATE id = id"
        types, most = bytes(_DOCUMENT_TYPES * size), self._packet_bytes - 32 * size
        parts = (
            (part, document_values(documents[part], vectors[part]))
            for part in (slice(start, start + size) for start in range(0, rest, size))
        )
        inserted = 0
        for fits, some in groupby(parts, lambda part: len(part[1]) < most):
            sent: list[slice] = []
            counts: list[int | None] = []
            if fits:
                counts = self._connection.run_prepared(statement, types, _values(some, sent))
            refused = [part for part, count in zip(sent, counts, strict=True) if count is None]
            for part in chain(refused, (part for part, _ in some)):
                inserted += self._run(self._document_inserts(documents[part], vectors[part]))
            inserted += sum(filter(None, counts))
        statements = list(self._document_inserts(documents[rest:], vectors[rest:]))
        return inserted + self._run(statements[:-1]), statements[-1:]

    def _document_inserts(self, documents: Sequence[Document], vectors: Vectors) -> Iterator[str]:
        rows = (
            f"({literal(document.text)},'{vector_text(vector)}',{literal(document.hash)})"
            for document, vector in zip(documents, vectors, strict=True)
        )
        return self._inserts(self._schema.documents, "id", _DOCUMENT_COLUMNS, rows)

    def _insert_sources(
        self, names: Collection[str | None], rows: Iterable[tuple[bytes, int]]
    ) -> dict[str | None, int]:
        """Insert the sources that do not exist yet; return the ids of all by name.

        `rows` are hash and id of those that do. Raises TableDropped.
        """
        ids = _by_name(names, rows)
        missing = {name: text_hash(name) for name in names if name is not None and name not in ids}
        if missing:
            values = [_in_parentheses(name, key) for name, key in missing.items()]
            inserts = list(self._inserts(self._schema.sources, "id", "source, source_hash", values))
            _, found = self._fetch(inserts, self._source_lookups(missing, lock=True))
            ids |= _by_name(missing, found)
            _require_all(missing, ids)
        return ids

    def _insert_occurrences(
        self, occurrences: Sequence[tuple[int, Occurrence]], sources: dict[str | None, int]
    ) -> int:
        """Insert occurrences of documents, by id, and commit; return how many were new.

        `sources` has the ids of their sources by name.
        """
        has_end_line = self._schema.format > 1
        places = (
            _occurrence_row(document, sources[where.source], where, has_end_line=has_end_line)
            for document, where in occurrences
        )
        columns = "document, source, line, metadata" + (", end_line" if has_end_line else "")
        statements = list(self._inserts(self._schema.occurrences, "document", columns, places))
        inserted = self._run(statements[:-1])
        return inserted + sum(
            int(count) for [(count,)] in self._connection.commit(*statements[-1:])
        )

    def _select_lines(self) -> str:
        columns = f"line, document, metadata, {self._schema.end_line}"
        return f"SELECT {columns} FROM {self._schema.occurrences}"

    def _in_range(self, lines: SourceRange) -> str:
        """Return the statement that reads the occurrences in some lines of a source."""
        is_in = f"source = {self._source_number(lines.source)}"
        return (
            f"{self._select_lines()} WHERE {is_in} AND line BETWEEN {lines.first} AND {lines.last}"
        )

    def _remove_occurrences(
        self, source: str | None, places: Sequence[SourceLine]
    ) -> Iterator[tuple[int, set[int]]]:
        """Remove occurrences; yield how many, and of which documents, some at a time."""
        number = self._source_ids({source}).get(source)
        for part in batched(places, KEYS) if number is not None else ():
            chosen = f"FROM {self._schema.occurrences} WHERE {_is_at(number, part)}"
            found = self._connection.rows(f"SELECT document {chosen} FOR UPDATE")
            if found:
                self._connection.run(f"DELETE {chosen}")
            yield len(found), {document for (document,) in found}

    def _source_number(self, source: str | None) -> str:
        """Return the number of a source, null if it is unknown."""
        if source is None:
            return str(NO_SOURCE)
        named = f"source_hash = {literal(text_hash(source))}"
        return f"(SELECT id FROM {self._schema.sources} WHERE {named})"

    def _source_ids(
        self, names: Collection[str | None], *, lock: bool = False
    ) -> dict[str | None, int]:
        """Return the ids of those of the sources that exist, by name. Raises TableDropped."""
        [rows] = self._fetch(self._source_lookups(names, lock=lock))
        return _by_name(names, rows)

    def _source_lookups(self, names: Collection[str | None], *, lock: bool = False) -> list[str]:
        hashes = [text_hash(name) for name in names if name is not None]
        return self._lookups(self._schema.sources, "source_hash", hashes, lock=lock)

    def _inserts(self, table: str, key: str, columns: str, rows: Iterable[str]) -> Iterator[str]:
        return inserts(f"{table} ({columns})", key, rows, self._packet_bytes)

    def _run(self, statements: Iterable[str]) -> int:
        """Run statements, each made while the one before is run; return how many rows changed."""
        return sum(map(self._connection.run, ahead(iter(statements))))

    def _delete(self, table: str, column: str, keys: Collection[int], condition: str = "") -> int:
        """Delete the rows whose column has one of the keys; return their number."""
        more = f" AND {condition}" if condition else ""
        return sum(
            self._connection.run(f"DELETE FROM {table} WHERE {column} IN {literals(part)}{more}")
            for part in batched(sorted(keys), KEYS)
        )

    def _lookups(
        self, table: str, column: str, keys: Sequence[object], *, lock: bool = False
    ) -> list[str]:
        """Return the statements that read key and id of the rows whose column has one of the keys.

        With `lock`, each row is locked until the transaction ends.
        """
        end = " FOR UPDATE" if lock else ""
        return [
            f"SELECT {column}, id FROM {table} WHERE {column} IN {literals(part)}{end}"
            for part in batched(keys, KEYS)
        ]

    def _fetch(self, *groups: Sequence[str]) -> list[list[tuple[Any, ...]]]:
        """Return the rows of each group of statements, all run in one round trip.

        Raises TableDropped if the table was dropped, even if it was created again. Once a
        transaction has locked a row of it, that can no longer happen.
        """
        results = iter(fetch_own(self._connection, self._schema, *chain.from_iterable(groups)))
        return [list(chain.from_iterable(islice(results, len(group)))) for group in groups]


def _values(parts: Iterable[tuple[slice, bytes]], sent: list[slice]) -> Iterator[bytes]:
    """Yield the values of parts, and add each part to those that are sent."""
    for part, values in parts:
        sent.append(part)
        yield values


def _is_at(source: int | None, places: Sequence[SourceLine]) -> str:
    """Return the condition that an occurrence in a source is at one of some places."""
    keys = ",".join(f"({place.document},{source},{place.line})" for place in places)
    return f"(document, source, line) IN ({keys})"


def _require_all(keys: Iterable[object], found: Mapping[Any, int]) -> None:
    """Raise StoreError if a row that was just stored is not found."""
    if any(key not in found for key in keys):
        # Without TLS, bytes may be corrupted on the way.
        raise StoreError(
            "the server did not return a row that it had just stored",
            hint="run the same command again; a connection with TLS detects corrupted data",
        )


def _by_name(
    names: Iterable[str | None], rows: Iterable[tuple[bytes, int]]
) -> dict[str | None, int]:
    """Return the ids of sources by name, given rows of hash and id."""
    hashes = {text_hash(name): name for name in names if name is not None}
    return {None: NO_SOURCE} | {hashes[key]: number for key, number in rows if key in hashes}


def _occurrence_row(
    document: int, source: int, occurrence: Occurrence, *, has_end_line: bool
) -> str:
    metadata = literal(encode_metadata(occurrence.metadata))
    end_line = f",{occurrence.end_line or 'NULL'}" if has_end_line else ""
    return f"({document},{source},{occurrence.line or NO_LINE},{metadata}{end_line})"


def _in_parentheses(*values: object) -> str:
    return f"({','.join(map(literal, values))})"
