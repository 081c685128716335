"""What a transaction on one table does: insert what is new, look up ids, note occurrences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from jtv_cli.batching import batched
from jtv_cli.records import Removed
from jtv_cli.stores.metadata import encode_metadata
from jtv_cli.stores.tidb.occurrences import is_at
from jtv_cli.stores.tidb.schema import NO_LINE, NO_SOURCE
from jtv_cli.stores.tidb.statements import KEYS, ahead, inserts, vector_text
from jtv_cli.text import text_hash

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import ColumnElement, Connection

    from jtv_cli.records import Document, Occurrence, SourceLine, Vectors
    from jtv_cli.stores.tidb.schema import Schema
    from jtv_cli.stores.tidb.statements import Row


class Writing:
    """Statements on the tables of a jtv table, over one connection.

    A transaction does not see what others have stored since it began, unless it
    locks what it reads.
    """

    def __init__(self, connection: Connection, schema: Schema) -> None:
        self._connection = connection
        self._schema = schema

    def insert_documents(self, documents: Sequence[Document], vectors: Vectors) -> int:
        """Insert the documents that are not there yet; return how many those were."""
        rows = (
            (f"(%s,'{vector_text(vector)}',x'{document.hash.hex()}')", (document.text,))
            for document, vector in zip(documents, vectors, strict=True)
        )
        return self._insert(self._schema.documents, "content, content_vec, content_hash", rows)

    def insert_nothing(self) -> None:
        """Send inserts of no rows, which need the tables and the rights that an ingest needs."""
        for table in (self._schema.documents, *self._schema.parts):
            key = next(iter(table.primary_key)).name
            self._connection.exec_driver_sql(
                f"INSERT INTO `{table.name}` SELECT old.* FROM `{table.name}` AS old WHERE FALSE"
                f" ON DUPLICATE KEY UPDATE `{table.name}`.{key} = `{table.name}`.{key}"
            )

    def ids(self, hashes: Sequence[bytes], *, lock: bool = False) -> dict[bytes, int]:
        """Return the ids of those of the hashes that are stored."""
        columns = self._schema.documents.c
        rows = self._lookup((columns.content_hash, columns.id), hashes, lock=lock)
        return dict(map(tuple, rows))

    def lock(self, documents: Collection[int]) -> int:
        """Keep documents from being deleted until the transaction ends; return how many are there.

        In one order, so that two of these never wait for each other.
        """
        rows = self._lookup((self._schema.documents.c.id,), sorted(documents), lock=True)
        return sum(1 for _ in rows)

    def delete(self, documents: Collection[int]) -> Removed:
        """Remove documents, which are locked, with all their occurrences."""
        occurrences = self._delete(self._schema.occurrences.c.document, documents)
        return Removed(self._delete(self._schema.documents.c.id, documents), occurrences)

    def remove(self, source: str | None, places: Sequence[SourceLine]) -> Removed:
        """Remove occurrences of documents, which are locked, and of these those that have no more.

        A document that never had one, as it came from the tutorial, stays.
        """
        number = self._source_ids({source}).get(source)
        if number is None:
            return Removed(0, 0)
        removed = documents = 0
        for part in batched(places, KEYS):
            count, touched = self._remove(number, part)
            removed += count
            # A statement that changes rows sees what others have stored by now.
            documents += self._delete(self._schema.documents.c.id, touched, self._no_occurrence())
        return Removed(documents, removed)

    def forget(self, source: str | None, places: Sequence[SourceLine]) -> None:
        """Remove occurrences alone, so that they can be noted with other metadata."""
        number = self._source_ids({source}).get(source)
        for part in batched(places, KEYS):
            self._remove(number, part)

    def _remove(self, source: int | None, places: Sequence[SourceLine]) -> tuple[int, set[int]]:
        """Remove occurrences; return how many were there, and of which documents."""
        chosen = is_at(self._schema, source, places)
        there = sa.select(self._schema.occurrences.c.document).where(chosen).with_for_update()
        touched = self._connection.scalars(there).all()
        if touched:
            self._connection.execute(sa.delete(self._schema.occurrences).where(chosen))
        return len(touched), set(touched)

    def _no_occurrence(self) -> ColumnElement[bool]:
        document = self._schema.occurrences.c.document
        return ~sa.exists().where(document == self._schema.documents.c.id)

    def _delete(
        self, column: sa.Column[Any], keys: Collection[int], *more: ColumnElement[bool]
    ) -> int:
        """Delete the rows whose column has one of the keys; return how many those were."""
        deleted = 0
        for part in batched(sorted(keys), KEYS):
            statement = sa.delete(column.table).where(column.in_(part), *more)
            deleted += self._connection.execute(statement).rowcount
        return deleted

    def insert_occurrences(self, occurrences: Iterable[tuple[int, Occurrence]]) -> int:
        """Note where documents were read; return how many were new."""
        occurrences = list(occurrences)
        names = dict.fromkeys(occurrence.source for _, occurrence in occurrences)
        sources = self._source_ids(names)
        if missing := [name for name in names if name is not None and name not in sources]:
            rows = [(f"(%s,x'{text_hash(name).hex()}')", (name,)) for name in missing]
            self._insert(self._schema.sources, "source, source_hash", rows)
            sources |= self._source_ids(missing, lock=True)
        has_end_line = self._schema.format > 1
        places = (
            _values(document, sources[occurrence.source], occurrence, has_end_line=has_end_line)
            for document, occurrence in occurrences
        )
        columns = "document, source, line, metadata" + (", end_line" if has_end_line else "")
        return self._insert(self._schema.occurrences, columns, places)

    def set_source_details(self, details: Mapping[str, Mapping[str, Any] | None]) -> None:
        """Record how sources were read, in a table that has the column for it."""
        rows = (
            (f"(%s,x'{text_hash(name).hex()}',%s)", (name, encode_metadata(some)))
            for name, some in details.items()
        )
        for part in batched(list(rows), KEYS):
            values = ",".join(value for value, _ in part)
            self._connection.exec_driver_sql(
                f"INSERT INTO `{self._schema.sources.name}` (source, source_hash, details)"
                f" VALUES {values} ON DUPLICATE KEY UPDATE details = VALUES(details)",
                tuple(text for _, texts in part for text in texts),
            )

    def rename_source(self, old: str, new: str) -> int:
        """Give a source another name, or merge it into one; return its number of occurrences."""
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
        # A writer that looked the old name up a moment ago may still add to it: the row stays.
        return int(count or 0)

    def _insert(self, table: sa.Table, columns: str, rows: Iterable[Row]) -> int:
        key = next(iter(table.primary_key)).name
        statements = inserts(f"`{table.name}` ({columns})", key, rows)
        return sum(
            self._connection.exec_driver_sql(statement, texts).rowcount
            for statement, texts in ahead(statements)
        )

    def _source_ids(
        self, names: Collection[str | None], *, lock: bool = False
    ) -> dict[str | None, int]:
        """Return the ids of those sources that there are, by name."""
        hashes = {text_hash(name): name for name in names if name is not None}
        columns = self._schema.sources.c
        rows = self._lookup((columns.source_hash, columns.id), list(hashes), lock=lock)
        return {None: NO_SOURCE} | {hashes[key]: number for key, number in rows}

    def _lookup(
        self, columns: Sequence[sa.Column[Any]], keys: Sequence[object], *, lock: bool
    ) -> Iterator[Any]:
        """Yield the rows whose first column has one of the keys."""
        for part in batched(keys, KEYS):
            statement = sa.select(*columns).where(columns[0].in_(part))
            if lock:
                statement = statement.with_for_update()
            yield from self._connection.execute(statement)


def _values(document: int, source: int, occurrence: Occurrence, *, has_end_line: bool) -> Row:
    metadata = encode_metadata(occurrence.metadata)
    mark, texts = ("NULL", ()) if metadata is None else ("%s", (metadata,))
    numbers = f"{document},{source},{occurrence.line or NO_LINE}"
    end_line = f",{occurrence.end_line or 'NULL'}" if has_end_line else ""
    return f"({numbers},{mark}{end_line})", texts
