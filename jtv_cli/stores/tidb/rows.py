"""The rows of a table's documents, sources and occurrences: what one transaction does to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from pymysql.constants import FIELD_TYPE

from jtv_cli.batching import batched
from jtv_cli.errors import StoreError
from jtv_cli.records import Removed, SourceLine, SourceRange
from jtv_cli.stores.source_lines import encode_metadata, lines_to_scan
from jtv_cli.stores.tidb.connection import fetch_all, run_prepared
from jtv_cli.stores.tidb.schema import NO_LINE, NO_SOURCE, end_line_of
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

    from sqlalchemy import ColumnElement, Connection, Select

    from jtv_cli.records import Document, Occurrence, Vectors
    from jtv_cli.stores.source_lines import StoredLine
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
        into = f"`{self._schema.documents.name}` ({_DOCUMENT_COLUMNS})"
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
                count = run_prepared(self._connection, statement, types, values)
            inserted += self._insert_as_text(some, those) if count is None else count
        return inserted

    def known(
        self, hashes: Sequence[bytes], lines: SourceRange | None = None
    ) -> tuple[dict[bytes, int], set[StoredLine]]:
        """Return the ids of those of the hashes that are stored, and occurrences in some lines."""
        columns = self._schema.documents.c
        statements = self._lookups((columns.content_hash, columns.id), hashes, lock=False)
        more = [] if lines is None else [self.in_range(lines)]
        rows = fetch_all(self._connection, *statements, *more)
        stored = {tuple(row) for row in rows.pop()} if more else set()
        return {key: number for part in rows for key, number in part}, stored

    def lock_stored(self, hashes: Sequence[bytes]) -> dict[bytes, int]:
        """Lock the documents that the transaction has stored; return their ids by hash."""
        columns = self._schema.documents.c
        ids = dict(map(tuple, self._lookup((columns.content_hash, columns.id), hashes, lock=True)))
        _require_all(hashes, ids)
        return ids

    def lock(self, documents: Collection[int]) -> int:
        """Keep documents from being deleted until the transaction ends; return their number.

        They are locked by id, so that no two transactions wait for each other.
        """
        rows = self._lookup((self._schema.documents.c.id,), sorted(documents), lock=True)
        return sum(1 for _ in rows)

    def delete(self, documents: Collection[int]) -> Removed:
        """Delete documents, which must be locked, with all their occurrences."""
        occurrences = self._delete(self._schema.occurrences.c.document, documents)
        return Removed(self._delete(self._schema.documents.c.id, documents), occurrences)

    def occurrences(self, source: str | None, places: Sequence[SourceLine]) -> set[StoredLine]:
        """Return the stored occurrences in a source: at these places, and perhaps at others."""
        if lines := lines_to_scan(places):
            found = self._connection.execute(self.in_range(SourceRange(source, *lines)))
            return {tuple(row) for row in found}
        number = self._source_number(source)
        statement = self._select_occurrences()
        # With the number as a constant, each key is a point of the primary key.
        known = self._connection.scalar(sa.select(number))
        parts = [] if known is None else batched(places, KEYS)
        statements = (statement.where(self._is_at(known, part)) for part in parts)
        return {tuple(row) for one in statements for row in self._connection.execute(one)}

    def in_range(self, lines: SourceRange) -> Select[Any]:
        """Return the statement that reads the occurrences in some lines of a source."""
        columns = self._schema.occurrences.c
        is_in = columns.source == self._source_number(lines.source)
        return self._select_occurrences().where(is_in, columns.line.between(*lines[1:]))

    def source_lines(self, source: str | None, after: SourceLine, limit: int) -> list[SourceLine]:
        """Return up to `limit` occurrences in a source by line, those after the given one."""
        columns = self._schema.occurrences.c
        statement = (
            sa.select(columns.line, columns.document, sa.null(), end_line_of(self._schema))
            .where(columns.source == self._source_number(source), columns.line >= after.line)
            .where(sa.or_(columns.line > after.line, columns.document > after.document))
            .order_by(columns.line, columns.document)
            .limit(limit)
        )
        return [SourceLine(*row) for row in self._connection.execute(statement)]

    def insert_occurrences(self, occurrences: Iterable[tuple[int, Occurrence]]) -> int:
        """Insert occurrences of documents, by id; return how many were new."""
        occurrences = list(occurrences)
        names = dict.fromkeys(occurrence.source for _, occurrence in occurrences)
        sources = self._source_ids(names)
        if missing := [name for name in names if name is not None and name not in sources]:
            rows = [(f"(%s,x'{text_hash(name).hex()}')", (name,)) for name in missing]
            self._insert(self._schema.sources, "source, source_hash", rows)
            sources |= self._source_ids(missing, lock=True)
            _require_all(missing, sources)
        has_end_line = self._schema.format > 1
        places = (
            _occurrence_row(document, sources[where.source], where, has_end_line=has_end_line)
            for document, where in occurrences
        )
        columns = "document, source, line, metadata" + (", end_line" if has_end_line else "")
        return self._insert(self._schema.occurrences, columns, places)

    def remove_occurrences(self, source: str | None, places: Sequence[SourceLine]) -> Removed:
        """Remove occurrences of locked documents, and documents with their last.

        A document that never had an occurrence, as one from the tutorial, stays.
        """
        removed = Removed()
        for count, touched in self._remove_occurrences(source, places):
            # A statement that changes rows sees what others have committed by now.
            documents = self._delete(self._schema.documents.c.id, touched, self._no_occurrence())
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
            self._connection.exec_driver_sql(
                f"INSERT INTO `{self._schema.sources.name}` (source, source_hash, details)"
                f" VALUES {values} ON DUPLICATE KEY UPDATE details = VALUES(details)",
                tuple(text for _, texts in part for text in texts),
            )

    def rename_source(self, old: str, new: str) -> int:
        """Rename a source, or merge it into another; return its number of occurrences."""
        ids = self._source_ids({old, new}, lock=True)
        if old not in ids or old == new:
            return 0
        table, columns = self._schema.occurrences, self._schema.occurrences.c
        sources = self._schema.sources
        is_old = columns.source == ids[old]
        count = self._connection.scalar(sa.select(sa.func.count()).where(is_old))
        if new not in ids:
            renamed = {"source": new, "source_hash": text_hash(new)}
            self._connection.execute(
                sa.update(sources).where(sources.c.id == ids[old]).values(renamed)
            )
            return int(count or 0)
        names = ", ".join(f"`{column.name}`" for column in columns if column is not columns.source)
        self._connection.exec_driver_sql(
            f"INSERT INTO `{table.name}` (source, {names})"
            f" SELECT %s, {names} FROM `{table.name}` AS old WHERE source = %s"
            f" ON DUPLICATE KEY UPDATE `{table.name}`.document = `{table.name}`.document",
            (ids[new], ids[old]),
        )
        self._connection.execute(sa.delete(table).where(is_old))
        if self._schema.format > 1:
            self._connection.exec_driver_sql(
                f"UPDATE `{sources.name}` AS new JOIN `{sources.name}` AS old ON old.id = %s"
                " SET new.details = COALESCE(new.details, old.details) WHERE new.id = %s",
                (ids[old], ids[new]),
            )
            is_old_source = sources.c.id == ids[old]
            self._connection.execute(sa.update(sources).where(is_old_source).values(details=None))
        # The old row stays: a writer that has just looked up its id may still refer to it.
        return int(count or 0)

    def _insert_as_text(self, documents: Sequence[Document], vectors: Vectors) -> int:
        rows = (
            (f"(%s,'{vector_text(vector)}',x'{document.hash.hex()}')", (document.text,))
            for document, vector in zip(documents, vectors, strict=True)
        )
        return self._insert(self._schema.documents, _DOCUMENT_COLUMNS, rows)

    def _select_occurrences(self) -> Select[Any]:
        columns = self._schema.occurrences.c
        return sa.select(
            columns.line, columns.document, columns.metadata, end_line_of(self._schema)
        )

    def _remove_occurrences(
        self, source: str | None, places: Sequence[SourceLine]
    ) -> Iterator[tuple[int, set[int]]]:
        """Remove occurrences; yield how many, and of which documents, some at a time."""
        number = self._source_ids({source}).get(source)
        for part in batched(places, KEYS) if number is not None else ():
            chosen = self._is_at(number, part)
            found = sa.select(self._schema.occurrences.c.document).where(chosen).with_for_update()
            documents = self._connection.scalars(found).all()
            if documents:
                self._connection.execute(sa.delete(self._schema.occurrences).where(chosen))
            yield len(documents), set(documents)

    def _is_at(self, source: int | None, places: Sequence[SourceLine]) -> ColumnElement[bool]:
        columns = self._schema.occurrences.c
        keys = [(place.document, source, place.line) for place in places]
        return sa.tuple_(columns.document, columns.source, columns.line).in_(keys)

    def _no_occurrence(self) -> ColumnElement[bool]:
        document = self._schema.occurrences.c.document
        return ~sa.exists().where(document == self._schema.documents.c.id)

    def _source_number(self, source: str | None) -> ColumnElement[Any]:
        """Return the number of a source, null if it is unknown."""
        if source is None:
            return sa.literal(NO_SOURCE)
        columns = self._schema.sources.c
        named = columns.source_hash == text_hash(source)
        return sa.select(columns.id).where(named).scalar_subquery()

    def _source_ids(
        self, names: Collection[str | None], *, lock: bool = False
    ) -> dict[str | None, int]:
        """Return the ids of those of the sources that exist, by name."""
        hashes = {text_hash(name): name for name in names if name is not None}
        columns = self._schema.sources.c
        rows = self._lookup((columns.source_hash, columns.id), list(hashes), lock=lock)
        ids = {hashes[key]: number for key, number in rows if key in hashes}
        return {None: NO_SOURCE} | ids

    def _insert(self, table: sa.Table, columns: str, rows: Iterable[Row]) -> int:
        key = next(iter(table.primary_key)).name
        statements = inserts(f"`{table.name}` ({columns})", key, rows, self._packet_bytes)
        return sum(
            self._connection.exec_driver_sql(statement, texts).rowcount
            for statement, texts in ahead(statements)
        )

    def _delete(
        self, column: sa.Column[Any], keys: Collection[int], *more: ColumnElement[bool]
    ) -> int:
        """Delete the rows whose column has one of the keys; return their number."""
        deleted = 0
        for part in batched(sorted(keys), KEYS):
            statement = sa.delete(column.table).where(column.in_(part), *more)
            deleted += self._connection.execute(statement).rowcount
        return deleted

    def _lookup(
        self, columns: Sequence[sa.Column[Any]], keys: Sequence[object], *, lock: bool
    ) -> Iterator[Any]:
        """Yield the rows whose first column has one of the keys."""
        for statement in self._lookups(columns, keys, lock=lock):
            yield from self._connection.execute(statement)

    def _lookups(
        self, columns: Sequence[sa.Column[Any]], keys: Sequence[object], *, lock: bool
    ) -> Iterator[Select[Any]]:
        for part in batched(keys, KEYS):
            statement = sa.select(*columns).where(columns[0].in_(part))
            yield statement.with_for_update() if lock else statement


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
