"""What is read of one table, in short reads by id: nothing is held open in between."""

from __future__ import annotations

import sys
from collections import defaultdict
from itertools import chain, islice
from math import isnan
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from jtv_cli.batching import batched
from jtv_cli.records import Hit, Occurrence, SourceCount, SourceLine, StoredDocument
from jtv_cli.stores.metadata import decode_metadata
from jtv_cli.stores.places import by_source
from jtv_cli.stores.tidb.hits import to_hits
from jtv_cli.stores.tidb.neighbours import distance
from jtv_cli.stores.tidb.occurrences import source_lines
from jtv_cli.stores.tidb.schema import end_line_of, in_order, line_of
from jtv_cli.stores.tidb.statements import KEYS, read_vector
from jtv_cli.text import text_hash

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from sqlalchemy import Connection, Select

    from jtv_cli.records import Vectors
    from jtv_cli.stores.tidb.connection import Database
    from jtv_cli.stores.tidb.schema import Schema

_NO_DISTANCE = sa.null().label("distance")
# Documents read at once: with their texts, or by their ids and distances alone.
_BLOCK = 500
_RANKED_BLOCK = 20_000
_PLACES = 20_000


class Reading:
    """Reads one table. Raises StoreError."""

    def __init__(self, database: Database, schema: Schema) -> None:
        self._database = database
        self._schema = schema
        self._columns = schema.documents.c

    def count(self) -> int:
        """Return the number of documents."""
        statement = sa.select(sa.func.count()).select_from(self._schema.documents)
        return self._database.read(lambda connection: int(connection.scalar(statement) or 0))

    def scan(self, query: Vectors | None, *, after: int | None, limit: int | None) -> Iterator[Hit]:
        """Yield the documents by id, with their distance to a (dimensions,) query."""
        measured = _NO_DISTANCE if query is None else distance(self._schema, query)
        statement = sa.select(self._columns.id, self._columns.content, measured)
        left = sys.maxsize if limit is None else limit
        for rows in self._by_id(statement, after=after, limit=left, size=_BLOCK):
            yield from self._hits(rows)

    def rank(self, query: Vectors, *, limit: int | None) -> Iterator[Hit]:
        """Yield the documents by distance to a (dimensions,) query, those without one last."""
        import numpy as np

        from jtv_cli.stores.distances import Ranking

        ranking = Ranking(self.count())
        statement = sa.select(self._columns.id, distance(self._schema, query))
        for rows in self._by_id(statement, size=_RANKED_BLOCK):
            ids, distances = zip(*rows, strict=True)
            # Not a number, in place of null, sorts behind all numbers.
            ranking.offer(np.array(ids), np.array(distances, np.float32).clip(0, 2))
        ranked = islice(chain.from_iterable(ranking.ranked(_BLOCK)), limit)
        while block := list(islice(ranked, _BLOCK)):
            yield from self._ranked_hits(block)

    def get(self, ids: Sequence[int], *, vectors: bool) -> list[StoredDocument]:
        """Return the documents of these ids, in that order, less those that are not there."""
        found: dict[int, StoredDocument] = {}
        for part in batched(ids, _BLOCK):
            statement = self._documents(vectors=vectors).where(self._columns.id.in_(part))
            rows = self._database.read(lambda connection: connection.execute(statement).all())  # noqa: B023
            found.update((document.id, document) for document in self._stored(rows))
        return [found[number] for number in ids if number in found]

    def read(self, *, vectors: bool) -> Iterator[StoredDocument]:
        """Yield all documents, whole, by id."""
        for rows in self._by_id(self._documents(vectors=vectors), size=_BLOCK):
            yield from self._stored(rows)

    def sources(self) -> list[SourceCount]:
        """Return the sources that documents were read in, by name, stdin first."""
        if not self._schema.has_parts:
            return []
        columns, sources = self._schema.occurrences.c, self._schema.sources.c
        statement = (
            sa.select(
                sa.func.any_value(sources.source),
                sa.func.count(),
                sa.func.count(columns.document.distinct()),
                sa.null() if self._schema.format == 1 else sa.func.any_value(sources.details),
            )
            .select_from(self._schema.placed)
            .group_by(columns.source)
        )
        rows = self._database.read(lambda connection: connection.execute(statement).all())
        return by_source(
            SourceCount(source, occurrences, documents, decode_metadata(details))
            for source, occurrences, documents, details in rows
        )

    def source_details(self, names: Collection[str]) -> dict[str, Mapping[str, Any]]:
        """Return the details of those of the sources that have occurrences and details."""
        if not self._schema.has_parts or self._schema.format == 1:
            return {}
        columns = self._schema.sources.c
        is_used = sa.exists().where(self._schema.occurrences.c.source == columns.id)
        statement = sa.select(columns.source, columns.details).where(
            columns.details.is_not(None), is_used
        )
        found: dict[str, Mapping[str, Any]] = {}
        for part in batched(list(names), KEYS):
            chosen = statement.where(columns.source_hash.in_([text_hash(name) for name in part]))
            rows = self._database.read(lambda connection: connection.execute(chosen).all())  # noqa: B023
            found.update((source, decode_metadata(details) or {}) for source, details in rows)
        return found

    def source_lines(self, source: str | None) -> Iterator[SourceLine]:
        """Yield what is noted of a source, by line; line 0 where there is none."""
        last = SourceLine(-1, 0)
        while self._schema.has_parts:
            rows = self._database.read(
                lambda connection: source_lines(connection, self._schema, source, last, _PLACES)  # noqa: B023
            )
            yield from rows
            if len(rows) < _PLACES:
                return
            last = rows[-1]

    def size(self) -> int | None:
        """Return what the server estimates, from its statistics, in bytes."""
        names = [table.name for table in (self._schema.documents, *self._schema.parts)]
        statement = sa.text(
            "SELECT SUM(data_length + index_length) FROM information_schema.tables"
            " WHERE table_schema = DATABASE() AND table_name IN :names"
        ).bindparams(sa.bindparam("names", names, expanding=True))
        size = self._database.read(lambda connection: connection.scalar(statement))
        return int(size) if size else None

    def _documents(self, *, vectors: bool) -> Select[Any]:
        columns = self._columns
        vector = columns.content_vec if vectors else sa.null()
        # As text: to decode it number by number would take longer than all the rest.
        return sa.select(columns.id, columns.content, sa.type_coerce(vector, sa.Text).label("text"))

    def _stored(self, rows: Sequence[Any]) -> Iterator[StoredDocument]:
        if not rows:
            return
        found = self._database.read(
            lambda connection: self._occurrences(connection, [row.id for row in rows])
        )
        for number, content, vector in rows:
            yield StoredDocument(
                number,
                content,
                text_hash(content),
                found[number],
                None if vector is None else read_vector(vector),
            )

    def _occurrences(
        self, connection: Connection, documents: Sequence[int]
    ) -> Mapping[int, list[Occurrence]]:
        found = defaultdict[int, list[Occurrence]](list)
        if not self._schema.has_parts:
            return found
        columns, sources = self._schema.occurrences.c, self._schema.sources.c
        statement = (
            sa.select(
                columns.document,
                sources.source,
                line_of(columns.line),
                columns.metadata,
                end_line_of(self._schema),
            )
            .select_from(self._schema.placed)
            .where(columns.document.in_(documents))
            .order_by(columns.document, *in_order(self._schema))
        )
        for document, source, line, metadata, end_line in connection.execute(statement):
            where = Occurrence(source, line, decode_metadata(metadata), end_line)
            found[document].append(where)
        return found

    def _by_id(
        self,
        statement: Select[Any],
        *,
        after: int | None = None,
        limit: int = sys.maxsize,
        size: int,
    ) -> Iterator[Sequence[Any]]:
        """Yield the rows of a statement by id, in short reads."""
        number = self._columns.id
        while limit > 0:
            rest = statement if after is None else statement.where(number > after)
            block = rest.order_by(number).limit(min(limit, size))
            rows = self._database.read(lambda connection: connection.execute(block).all())  # noqa: B023
            if not rows:
                return
            yield rows
            after, limit = rows[-1].id, limit - len(rows)

    def _hits(self, rows: Sequence[Any]) -> list[Hit]:
        return self._database.read(lambda connection: to_hits(connection, self._schema, rows))

    def _ranked_hits(self, ranked: Sequence[tuple[int, float]]) -> Iterator[Hit]:
        """Yield the documents of (id, distance) in that order, less those deleted since."""
        number = self._columns.id
        statement = sa.select(number, self._columns.content, _NO_DISTANCE)
        block = statement.where(number.in_([document for document, _ in ranked]))
        rows = self._database.read(lambda connection: connection.execute(block).all())
        hits = {hit.id: hit for hit in self._hits(rows)}
        for document, value in ranked:
            if document in hits:
                yield hits[document]._replace(distance=None if isnan(value) else value)
