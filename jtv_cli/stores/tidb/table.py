"""One table of a TiDB database: reading and writing documents, and finding the nearest."""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import chain, islice
from math import isnan
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from jtv_cli.errors import StoreError, TableMismatch
from jtv_cli.records import Added, Hit, IndexState, Occurrence
from jtv_cli.stores.metadata import decode_metadata
from jtv_cli.stores.tidb.failures import TooLarge
from jtv_cli.stores.tidb.index import VectorIndex, why_no_index
from jtv_cli.stores.tidb.schema import NO_LINE, comment_of, encode_comment, schema
from jtv_cli.stores.tidb.writing import Writing, vector_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import ColumnElement, Connection, Select

    from jtv_cli.records import Document, IndexStatus, Place, TableSpec, Vectors
    from jtv_cli.stores.tidb.database import Database

    Rows = Sequence[Any]
    First = Mapping[int, tuple[str | None, int | None, Mapping[str, Any] | None]]
    """The first occurrence of each document: source, line, metadata."""

# Documents read at once: with their texts, or by their ids and distances alone.
_BLOCK = 500
_RANKED_BLOCK = 20_000
# TiDB Cloud Starter takes 10 MiB in a transaction.
_TRANSACTION_BYTES = 8 << 20


class TidbTable:
    """One table of a TiDB database: jtv's own, or the tutorial's as it stands.

    A search is one that the vector index can answer; where there is none, the
    server looks at every vector.
    """

    def __init__(self, database: Database, spec: TableSpec, *, is_adopted: bool) -> None:
        self.spec = spec
        self._database = database
        self._is_adopted = is_adopted
        self._schema = schema(spec)
        self._columns = self._schema.documents.c

    def count(self) -> int:
        """Return the number of documents."""
        statement = sa.select(sa.func.count()).select_from(self._schema.documents)
        return self._database.read(lambda connection: int(connection.scalar(statement) or 0))

    def known(self, hashes: Sequence[bytes]) -> dict[bytes, int]:
        """Return the ids of those of the hashes that are stored, found by their unique index."""
        self._require_adopted()
        return self._database.read(lambda connection: Writing(connection, self._schema).ids(hashes))

    def add(self, documents: Sequence[Document], vectors: Vectors) -> Added:
        """Store documents with their occurrences, in one transaction unless they are huge.

        Raises StoreError that names the text where one is larger than the server takes.
        """
        from jtv_cli.stores.distances import check_vectors

        check_vectors(vectors, len(documents), self.spec.dimensions)
        self._require_adopted()
        added = [
            self._add(documents[part], vectors[part])
            for part in _transactions(documents, self.spec.dimensions)
        ]
        return Added(sum(part.documents for part in added), sum(part.occurrences for part in added))

    def add_occurrences(self, source: str | None, places: Sequence[Place]) -> int:
        """Note where a source has stored documents; return how many of that were news."""
        self._require_adopted()
        if not places:
            return 0
        noted = self._database.read(
            lambda connection: Writing(connection, self._schema).noted(source, places)
        )
        news = [place for place in places if (place.line, place.document) not in noted]
        if not news:
            return 0

        def work(connection: Connection) -> int:
            writing = Writing(connection, self._schema)
            documents = {place.document for place in news}
            still_there = writing.lock(documents)
            self._require_same(connection)
            if still_there < len(documents):
                raise StoreError(
                    f"a document was deleted from table {self.spec.name} meanwhile",
                    hint="run the same command again",
                )
            return writing.insert_occurrences(
                (place.document, Occurrence(source, place.line, place.metadata)) for place in news
            )

        return self._database.write(work)

    def search(
        self,
        vectors: Vectors,
        k: int,
        *,
        exact: bool = False,
        max_distance: float | None = None,
        explain: Callable[[str], None] | None = None,
    ) -> list[list[Hit]]:
        """Return the k nearest documents to each of (m, dimensions) query vectors.

        Rows without a distance, of an all-zero vector or none, are left out.
        """
        far = 2.0 if max_distance is None else max_distance

        def work(connection: Connection) -> list[list[Hit]]:
            found = [self._nearest(connection, vector, k, exact=exact) for vector in vectors]
            firsts = self._firsts(connection, {row.id for rows in found for row in rows})
            hits = [[_hit(row, firsts) for row in rows] for rows in found]
            return [[hit for hit in row if (hit.distance or 0) <= far] for row in hits]

        if explain is not None and len(vectors):
            explain(self._explanation(vectors[0], k, exact=exact))
        return self._database.read(work)

    def scan(
        self, query: Vectors | None = None, *, after: int | None = None, limit: int | None = None
    ) -> Iterator[Hit]:
        """Yield the documents by id, with their distance to a (dimensions,) query."""
        distance = sa.null().label("distance") if query is None else self._distance(query)
        statement = sa.select(self._columns.id, self._columns.content, distance)
        left = sys.maxsize if limit is None else limit
        for rows in self._by_id(statement, after=after or 0, limit=left, size=_BLOCK):
            yield from self._with_firsts(rows)

    def rank(self, query: Vectors, *, limit: int | None = None) -> Iterator[Hit]:
        """Yield the documents by distance to a (dimensions,) query, those without one last."""
        import numpy as np

        from jtv_cli.stores.distances import Ranking

        ranking = Ranking(self.count())
        statement = sa.select(self._columns.id, self._distance(query))
        for rows in self._by_id(statement, size=_RANKED_BLOCK):
            ids, distances = zip(*rows, strict=True)
            # Not a number, in place of null, sorts behind all numbers.
            ranking.offer(np.array(ids), np.array(distances, np.float32).clip(0, 2))
        ranked = islice(chain.from_iterable(ranking.ranked(_BLOCK)), limit)
        while block := list(islice(ranked, _BLOCK)):
            yield from self._ranked_hits(block)

    def index_status(self) -> IndexStatus:
        """Return how far the vector index and its TiFlash replica are."""
        return VectorIndex(self._database, self.spec.name).status()

    def _add(self, documents: Sequence[Document], vectors: Vectors) -> Added:
        rows = [
            {"content": document.text, "content_vec": text, "content_hash": document.hash}
            for document, text in zip(documents, map(vector_text, vectors), strict=True)
        ]

        def work(connection: Connection) -> Added:
            writing = Writing(connection, self._schema)
            stored = writing.insert(self._schema.documents, rows)
            ids = writing.ids([document.hash for document in documents], lock=True)
            occurrences = writing.insert_occurrences(
                (ids[document.hash], occurrence)
                for document in documents
                for occurrence in document.occurrences
            )
            self._require_same(connection)
            return Added(stored, occurrences)

        try:
            return self._database.write(work)
        except TooLarge as error:
            source, line, _ = max(documents, key=_size).occurrences[0]
            where = f"{source or 'standard input'}:{line}"
            raise StoreError(f"{where}: {error.message}", hint=error.hint) from error

    def _nearest(self, connection: Connection, query: Vectors, k: int, *, exact: bool) -> Rows:
        rows = connection.execute(self._search_statement(query, k, exact=exact)).all()
        if not exact and any(row.distance is None for row in rows):
            # They sort first: beside them, fewer than k would be left.
            return self._nearest(connection, query, k, exact=True)
        return [row for row in rows if row.distance is not None]

    def _search_statement(self, query: Vectors, k: int, *, exact: bool) -> Select[Any]:
        """Return the search. Only with one thing to order by can the index answer it."""
        statement = sa.select(self._columns.id, self._columns.content, self._distance(query))
        # By its label, for the expression again would send the vector again.
        order = ("distance IS NULL", "distance", "id") if exact else ("distance",)
        return statement.order_by(*map(sa.literal_column, order)).limit(k)

    def _explanation(self, query: Vectors, k: int, *, exact: bool) -> str:
        """Return whether the index answers a search, as the server plans it, or why not."""
        if exact:
            return "no index was used: --exact looks at every vector"
        statement = self._search_statement(query, k, exact=False)
        why = self._database.read(lambda connection: why_no_index(connection, statement))
        if why is None:
            return "the vector index was used"
        status = self.index_status()
        if not why and status.state is IndexState.READY:
            why = "the server prefers to look at every vector of so small a table"
        return f"no index was used: {why or status.detail}"

    def _distance(self, query: Vectors) -> ColumnElement[float]:
        column = self._columns.content_vec
        return sa.func.vec_cosine_distance(column, vector_text(query)).label("distance")

    def _by_id(
        self, statement: Select[Any], *, after: int = 0, limit: int = sys.maxsize, size: int
    ) -> Iterator[Rows]:
        """Yield the rows of a statement by id, in short reads."""
        number = self._columns.id
        while limit > 0:
            block = statement.where(number > after).order_by(number).limit(min(limit, size))
            rows = self._database.read(lambda connection: connection.execute(block).all())  # noqa: B023
            if not rows:
                return
            yield rows
            after, limit = rows[-1].id, limit - len(rows)

    def _with_firsts(self, rows: Rows) -> Iterator[Hit]:
        ids = {row.id for row in rows}
        firsts = self._database.read(lambda connection: self._firsts(connection, ids))
        return (_hit(row, firsts) for row in rows)

    def _ranked_hits(self, ranked: Sequence[tuple[int, float]]) -> Iterator[Hit]:
        """Yield the documents of (id, distance) in that order, less those deleted since."""
        number = self._columns.id
        statement = sa.select(number, self._columns.content, sa.null().label("distance"))
        block = statement.where(number.in_([document for document, _ in ranked]))
        rows = self._database.read(lambda connection: connection.execute(block).all())
        hits = {hit.id: hit for hit in self._with_firsts(rows)}
        for document, distance in ranked:
            if document in hits:
                yield replace(hits[document], distance=None if isnan(distance) else distance)

    def _firsts(self, connection: Connection, ids: Iterable[int]) -> First:
        """Return the first occurrences of documents."""
        if not self._is_adopted or not ids:
            return {}
        where, sources = self._schema.occurrences.c, self._schema.sources.c
        place = (
            sa.func.row_number()
            .over(partition_by=where.document, order_by=(where.source, where.line))
            .label("place")
        )
        ranked = (
            sa.select(where.document, where.source, where.line, where.metadata, place)
            .where(where.document.in_(list(ids)))
            .subquery()
        )
        statement = (
            sa.select(ranked.c.document, sources.source, ranked.c.line, ranked.c.metadata)
            .outerjoin_from(ranked, self._schema.sources, sources.id == ranked.c.source)
            .where(ranked.c.place == 1)
        )
        return {
            document: (source, line if line != NO_LINE else None, decode_metadata(metadata))
            for document, source, line, metadata in connection.execute(statement)
        }

    def _require_adopted(self) -> None:
        if not self._is_adopted:
            raise StoreError(
                f"table {self.spec.name} is the tutorial's and lacks what ingest needs",
                hint="jtv init adds what is missing, and says first what that is",
            )

    def _require_same(self, connection: Connection) -> None:
        """Raise TableMismatch where the table was dropped since, even if it was made again.

        Once the transaction has locked something in it, no one else can drop it.
        """
        if comment_of(connection, self.spec.name) != encode_comment(self.spec):
            raise TableMismatch(
                f"table {self.spec.name} was dropped meanwhile", hint="run the same command again"
            )


def _transactions(documents: Sequence[Document], dimensions: int) -> Iterator[slice]:
    """Yield the parts to store in one transaction each."""
    start, size = 0, 0
    for position, document in enumerate(documents):
        more = _size(document) + 4 * dimensions
        if size and size + more > _TRANSACTION_BYTES:
            yield slice(start, position)
            start, size = position, 0
        size += more
    if size:
        yield slice(start, len(documents))


def _size(document: Document) -> int:
    """Return a document's bytes."""
    return len(document.text.encode())


def _hit(row: Any, firsts: First) -> Hit:  # noqa: ANN401
    distance = row.distance
    if distance is not None:
        # The server adds up in float32, and may end beside the range.
        distance = min(max(distance, 0.0), 2.0)
    return Hit(row.id, row.content, distance, *firsts.get(row.id, ()))
