"""The rows of a table's documents, sources and occurrences: what one transaction does to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymysql.constants import FIELD_TYPE

from jtv_cli.batching import batched
from jtv_cli.errors import StoreError
from jtv_cli.records import Removed, SourceLine, SourceRange
from jtv_cli.stores.source_lines import encode_metadata, lines_to_scan
from jtv_cli.stores.tidb.schema import NO_LINE, NO_SOURCE
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

    from jtv_cli.records import Document, Occurrence, Vectors
    from jtv_cli.stores.source_lines import StoredLine
    from jtv_cli.stores.tidb.connection import Connection
    from jtv_cli.stores.tidb.schema import Schema
    from jtv_cli.stores.tidb.statements import Row


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
        f"INSERT INTO `{table}` SELECT old.* FROM `{table}` AS old WHERE FALSE"
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

    def insert_documents(self, documents: Sequence[Document], vectors: Vectors) -> int:
        """Insert the documents that are not stored yet; return their number.

        Most of many go in the binary protocol: in a statement, the server reads all digits of
        the vectors twice, to parse it and for its digest, before it reads the numbers.
        """
        size = prepared_rows(vectors.shape[1])
        if len(documents) < _WORTH_PREPARING * size:
            return self._insert_as_text(documents, vectors)
        row = ",".join(["(?,?,?)"] * size)
        into = f"{self._schema.documents} ({_DOCUMENT_COLUMNS})"
        statement = f"INSERT INTO {into} VALUES {row} ON DUPLICATE KEY UPDATE id = id"
        parts = (
            (some, those, document_values(some, those))
            for start in range(0, len(documents), size)
            for some, those in [(documents[start : start + size], vectors[start : start + size])]
        )
        inserted = 0
        for some, those, values in ahead(parts):
            count = None
            if len(some) == size and len(values) < self._packet_bytes - 32 * size:
                types = bytes(_DOCUMENT_TYPES * size)
                count = self._connection.run_prepared(statement, types, values)
            inserted += self._insert_as_text(some, those) if count is None else count
        return inserted

    def known(
        self, hashes: Sequence[bytes], lines: SourceRange | None = None
    ) -> tuple[dict[bytes, int], set[StoredLine]]:
        """Return the ids of those of the hashes that are stored, and occurrences in some lines."""
        statements = list(self._lookups(self._schema.documents, "content_hash", hashes))
        more = [] if lines is None else [self._in_range(lines)]
        rows = self._connection.fetch_all(*statements, *more)
        stored = set(rows.pop()) if more else set()
        return {key: number for part in rows for key, number in part}, stored

    def lock_stored(self, hashes: Sequence[bytes]) -> dict[bytes, int]:
        """Lock the documents that the transaction has stored; return their ids by hash."""
        ids = dict(self._lock(self._schema.documents, "content_hash", hashes))
        _require_all(hashes, ids)
        return ids

    def lock(self, documents: Collection[int]) -> int:
        """Keep documents from being deleted until the transaction ends; return their number.

        They are locked by id, so that no two transactions wait for each other.
        """
        return sum(1 for _ in self._lock(self._schema.documents, "id", sorted(documents)))

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

    def insert_occurrences(self, occurrences: Iterable[tuple[int, Occurrence]]) -> int:
        """Insert occurrences of documents, by id; return how many were new."""
        occurrences = list(occurrences)
        names = dict.fromkeys(occurrence.source for _, occurrence in occurrences)
        sources = self._source_ids(names)
        if missing := [name for name in names if name is not None and name not in sources]:
            rows = [(f"(%s,x'{text_hash(name).hex()}')", (name,)) for name in missing]
            self._insert(self._schema.sources, "id", "source, source_hash", rows)
            sources |= self._source_ids(missing, lock=True)
            _require_all(missing, sources)
        has_end_line = self._schema.format > 1
        places = (
            _occurrence_row(document, sources[where.source], where, has_end_line=has_end_line)
            for document, where in occurrences
        )
        columns = "document, source, line, metadata" + (", end_line" if has_end_line else "")
        return self._insert(self._schema.occurrences, "document", columns, places)

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

    def replace_occurrences(self, source: str | None, places: Sequence[SourceLine]) -> None:
        """Remove occurrences alone, for them to be inserted with other metadata."""
        for _ in self._remove_occurrences(source, places):
            pass

    def set_source_details(self, details: Mapping[str, Mapping[str, Any] | None]) -> None:
        """Record how sources were read, in a table of format 2."""
        rows = [
            (f"(%s,x'{text_hash(name).hex()}',%s)", (name, encode_metadata(some)))
            for name, some in details.items()
        ]
        for part in batched(rows, KEYS):
            values = ",".join(value for value, _ in part)
            self._connection.run(
                f"INSERT INTO {self._schema.sources} (source, source_hash, details)"
                f" VALUES {values} ON DUPLICATE KEY UPDATE details = VALUES(details)",
                tuple(text for _, texts in part for text in texts),
            )

    def rename_source(self, old: str, new: str) -> int:
        """Rename a source, or merge it into another; return its number of occurrences."""
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

    def _insert_as_text(self, documents: Sequence[Document], vectors: Vectors) -> int:
        rows = (
            (f"(%s,'{vector_text(vector)}',x'{document.hash.hex()}')", (document.text,))
            for document, vector in zip(documents, vectors, strict=True)
        )
        return self._insert(self._schema.documents, "id", _DOCUMENT_COLUMNS, rows)

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
        """Return the ids of those of the sources that exist, by name."""
        hashes = {text_hash(name): name for name in names if name is not None}
        look_up = self._lock if lock else self._look_up
        rows = look_up(self._schema.sources, "source_hash", list(hashes))
        ids = {hashes[key]: number for key, number in rows if key in hashes}
        return {None: NO_SOURCE} | ids

    def _insert(self, table: str, key: str, columns: str, rows: Iterable[Row]) -> int:
        statements = inserts(f"{table} ({columns})", key, rows, self._packet_bytes)
        return sum(self._connection.run(*statement) for statement in ahead(statements))

    def _delete(self, table: str, column: str, keys: Collection[int], condition: str = "") -> int:
        """Delete the rows whose column has one of the keys; return their number."""
        more = f" AND {condition}" if condition else ""
        return sum(
            self._connection.run(f"DELETE FROM {table} WHERE {column} IN {literals(part)}{more}")
            for part in batched(sorted(keys), KEYS)
        )

    def _look_up(
        self, table: str, column: str, keys: Sequence[object]
    ) -> Iterator[tuple[Any, int]]:
        """Yield key and id of the rows whose column has one of the keys."""
        for statement in self._lookups(table, column, keys):
            yield from self._connection.rows(statement)

    def _lock(self, table: str, column: str, keys: Sequence[object]) -> Iterator[tuple[Any, int]]:
        """Yield the same, each row locked until the transaction ends."""
        for statement in self._lookups(table, column, keys):
            yield from self._connection.rows(f"{statement} FOR UPDATE")

    def _lookups(self, table: str, column: str, keys: Sequence[object]) -> Iterator[str]:
        for part in batched(keys, KEYS):
            yield f"SELECT {column}, id FROM {table} WHERE {column} IN {literals(part)}"


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


def _occurrence_row(
    document: int, source: int, occurrence: Occurrence, *, has_end_line: bool
) -> Row:
    metadata = encode_metadata(occurrence.metadata)
    mark, texts = ("NULL", ()) if metadata is None else ("%s", (metadata,))
    numbers = f"{document},{source},{occurrence.line or NO_LINE}"
    end_line = f",{occurrence.end_line or 'NULL'}" if has_end_line else ""
    return f"({numbers},{mark}{end_line})", texts
