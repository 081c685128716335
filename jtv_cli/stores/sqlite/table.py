"""One table of the file: reading and writing documents, and finding the nearest."""

from __future__ import annotations

import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Literal

from jtv_cli.errors import NoIndex, StoreError, TableDropped
from jtv_cli.records import (
    RECALL_AT,
    Added,
    IndexCheck,
    IndexState,
    IndexStatus,
    SearchResults,
)
from jtv_cli.stores import Table
from jtv_cli.stores.places import new_source_lines
from jtv_cli.stores.sqlite.documents import delete, get, insert_documents, read, remove
from jtv_cli.stores.sqlite.file import Connection, transaction, translated
from jtv_cli.stores.sqlite.filtered import FilteredRows
from jtv_cli.stores.sqlite.index import SEGMENT, Index
from jtv_cli.stores.sqlite.occurrences import (
    insert_occurrences,
    insert_places,
    noted,
    remove_places,
    rename_source,
    set_source_details,
    source_details,
    source_lines,
    sources,
)
from jtv_cli.stores.sqlite.rows import BLOCK, HITS, Rows, decode, hit
from jtv_cli.stores.sqlite.search import exactly, explanation, route, search

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from typing import Any

    from jtv_cli.records import (
        Document,
        Filter,
        Hit,
        Removed,
        SourceCount,
        SourceLine,
        StoredDocument,
        TableSpec,
        Vectors,
    )

_PLACES = 10_000  # read at once
_CATCH_UP = 32  # segments after an addition, where many wait: half a second of work


class SqliteTable(Table):
    """One table of the embedded store."""

    def __init__(self, connection: Connection, spec: TableSpec, location: str) -> None:
        self.spec = spec
        self.most_bytes: int | None = None
        self.rows = Rows(connection, spec)
        self.index = Index(self.rows)
        self._location = location

    def count(self) -> int:
        """Return the number of documents, from the catalogue's counter."""
        with self._reading():
            return self.rows.count()

    def require_writable(self) -> None:
        """Raise StoreError where documents could not be added."""
        with translated(self._location):
            self.rows.execute("UPDATE jtv_tables SET name = name WHERE FALSE")

    def reserve(self, size: int) -> None:  # noqa: ARG002
        """Raise StoreError where documents could not be added."""
        self.require_writable()

    def known(self, hashes: Sequence[bytes]) -> dict[bytes, int]:
        """Return the ids of those of the hashes that are stored, found by their unique index."""
        with self._reading():
            return self.rows.known(hashes)

    def add(self, documents: Sequence[Document], vectors: Vectors) -> Added:
        """Store documents with their occurrences, in one transaction.

        The index follows: within that transaction by one segment, if one is complete,
        and by some more afterwards if many wait, since the table had no index before.
        """
        from jtv_cli.stores.distances import check_vectors

        check_vectors(vectors, len(documents), self.spec.dimensions)
        with self.writing():
            stored, ids = insert_documents(self.rows, documents, vectors)
            occurrences = insert_occurrences(
                self.rows,
                (
                    (ids[document.hash], occurrence)
                    for document in documents
                    for occurrence in document.occurrences
                ),
            )
            another_waits = self.index.extend()
        if another_waits:
            self._catch_up()
        return Added(stored, occurrences)

    def add_occurrences(self, source: str | None, places: Sequence[SourceLine]) -> int:
        """Note where stored documents are in a source; return how many places were new.

        Where a file is read again and all of it is noted, no write lock is needed.
        """
        if not places:
            return 0
        with self._reading():
            known = noted(self.rows, source, places)
        new, changed = new_source_lines(places, known)
        if not (new or changed):
            return 0
        with self.writing():
            remove_places(self.rows, source, changed)
            return insert_places(self.rows, source, (*new, *changed))

    def search(
        self,
        vectors: Vectors,
        k: int,
        *,
        exact: bool = False,
        max_distance: float | None = None,
        filter: Filter | None = None,
        explain: bool = False,
    ) -> SearchResults:
        """Return the k nearest documents to each of (m, dimensions) query vectors."""
        if not len(vectors):
            return SearchResults([])
        from jtv_cli.stores.distances import Nearest, normalized

        nearest = [Nearest(k, max_distance) for _ in vectors]
        with self._reading():
            way = exactly("asked for") if exact else route(self.rows, self.index, k)
            rows = self.rows
            if filter is not None:
                rows = filtered = FilteredRows(rows, filter)
                way = filtered.narrowed(way)
            effort = search(rows, self.index, way, normalized(vectors), nearest)
            hits = [rows.hits(best.ranked()) for best in nearest]
            return SearchResults(hits, explanation(way, effort, len(vectors)) if explain else "")

    def scan(
        self, query: Vectors | None = None, *, after: int | None = None, limit: int | None = None
    ) -> Iterator[Hit]:
        """Yield the documents by id, with their distance to a (dimensions,) query."""
        last, left = after or 0, sys.maxsize if limit is None else limit
        vector = "" if query is None else ", d.vector"
        statement = HITS.format(vector=vector, fits="", which="> ? ORDER BY d.id LIMIT ?")
        while left > 0:
            with self._reading():
                rows = self.rows.execute(statement, (last, min(left, BLOCK))).fetchall()
            if not rows:
                return
            if query is None:
                yield from (hit(row, None) for row in rows)
            else:
                from jtv_cli.stores.distances import distances_to

                vectors = decode([row[-1] for row in rows])
                yield from map(hit, rows, distances_to(query, vectors).tolist())
            last, left = rows[-1][0], left - len(rows)

    def rank(self, query: Vectors, *, limit: int | None = None) -> Iterator[Hit]:
        """Yield the documents by distance to a (dimensions,) query."""
        from jtv_cli.stores.distances import Ranking, distances_to

        with self._reading():
            ranking = Ranking(self.rows.count())
            for ids, vectors in self.rows.vectors():
                ranking.offer(ids, distances_to(query, vectors))
        left = sys.maxsize if limit is None else limit
        for ranked in ranking.ranked(BLOCK):
            with self._reading():
                hits = self.rows.hits(ranked[:left])
            yield from hits
            left -= len(ranked)
            if left <= 0:
                return

    def get(self, ids: Sequence[int], *, vectors: bool = False) -> list[StoredDocument]:
        """Return the documents of these ids, in that order; those that are not there left out."""
        with self._reading():
            return get(self.rows, ids, vectors=vectors)

    def read(self, *, vectors: bool = False) -> Iterator[StoredDocument]:
        """Yield all documents, whole, by id, in short reads."""
        last: int | None = 0
        while last is not None:
            with self._reading():
                block = read(self.rows, last, BLOCK, vectors=vectors)
            yield from block
            last = block[-1].id if block else None

    def delete(self, ids: Sequence[int]) -> Removed:
        """Remove documents with all their occurrences, in one transaction."""
        with self.writing():
            return delete(self.rows, ids)

    def sources(self) -> list[SourceCount]:
        """Return the sources that documents were read in, by name, stdin first."""
        with self._reading():
            return sources(self.rows)

    def source_lines(self, source: str | None) -> Iterator[SourceLine]:
        """Yield what is noted of a source, by line, in short reads; line 0 where there is none."""
        last: SourceLine | None = None
        while True:
            with self._reading():
                block = source_lines(self.rows, source, last, _PLACES)
            if not block:
                return
            yield from block
            last = block[-1]

    def source_details(self, sources: Collection[str]) -> dict[str, Mapping[str, Any]]:
        with self._reading():
            return source_details(self.rows, sources)

    def set_source_details(self, details: Mapping[str, Mapping[str, Any] | None]) -> None:
        with self.writing():
            set_source_details(self.rows, details)

    def rename_source(self, old: str, new: str) -> int:
        with self.writing():
            return rename_source(self.rows, old, new)

    def remove(self, source: str | None, places: Sequence[SourceLine]) -> Removed:
        """Remove occurrences, and documents with their last, in one transaction."""
        with self.writing():
            return remove(self.rows, source, places)

    def size(self) -> int:
        """Return about how many bytes it takes, its index included."""
        with self._reading():
            return self.rows.size()

    def index_status(self) -> IndexStatus:
        """Return how far the index is; what is pending is compared exactly."""
        with self._reading():
            usable, documents = self.index.usable(), self.rows.count()
            detail = route(self.rows, self.index, RECALL_AT).explanation
            if usable is None:
                return IndexStatus(IndexState.NONE, 0, documents, detail)
            pending = self.index.pending(usable)
            if deleted := self.index.codes(usable) + pending - documents:
                detail += f"; jtv index build drops codes of deleted documents: {deleted:,}"
            if pending >= SEGMENT:
                detail += "; jtv index build adds those that wait"
            return IndexStatus(IndexState.READY, documents - pending, pending, detail)

    def build_index(self, *, progress: Callable[[str], None] = lambda _: None) -> None:
        """Build the index in short transactions, anew where there is one."""
        with self.writing():
            if not self.index.is_worth_it():
                return
            number, newest = self.index.begin().number, self.rows.newest()
        last: int | None = 0
        while last is not None:
            progress(f"building the index: {last:,} of {newest:,}")
            with self.writing():
                last = self.index.build(number)

    def drop_index(self) -> bool:
        """Remove the index; the next documents to be added bring it back."""
        with self.writing():
            return self.index.drop()

    def check_index(
        self, queries: int, *, progress: Callable[[str], None] = lambda _: None
    ) -> IndexCheck:
        """Measure recall@10, and keep how many candidates 0.99 needs, if that is unusual."""
        from jtv_cli.stores.sqlite.recall import check

        progress("comparing the index with exact searches")
        with self._reading():
            usable = self.index.usable()
            if usable is None or self.rows.count() <= RECALL_AT:
                raise NoIndex(self.spec.name)
            found, candidates = check(self.rows, self.index, usable, queries)
        if candidates != usable.candidates:
            with self.writing():
                self.index.keep(candidates)
        return found

    def writing(self) -> AbstractContextManager[None]:
        """Hold the write lock, on a table that is still the one that was opened.

        Raises TableDropped where it was dropped since, even if it was made again.
        """
        return self._transaction("IMMEDIATE")

    def _reading(self) -> AbstractContextManager[None]:
        """Read one state of the table, whatever others write meanwhile.

        Raises TableDropped as `writing` does.
        """
        return self._transaction("DEFERRED")

    @contextmanager
    def _transaction(self, kind: Literal["DEFERRED", "IMMEDIATE"]) -> Iterator[None]:
        with translated(self._location), transaction(self.rows.connection, kind):
            self.rows.connection.read_format()
            row = self.rows.execute("SELECT identity FROM jtv_tables WHERE name = '{name}'")
            if row.fetchone() != (self.spec.identity,):
                raise TableDropped(self.spec.name)
            yield

    def _catch_up(self) -> None:
        """Index some of the segments that wait; where that fails, the next addition goes on."""
        with suppress(StoreError):
            for _ in range(_CATCH_UP):
                with self.writing():
                    if not self.index.extend():
                        return
