"""One table of the embedded store."""

from __future__ import annotations

import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal

from jtv_cli.errors import NoFullText, NoIndex, StoreError, TableDropped
from jtv_cli.records import (
    RECALL_AT,
    Added,
    IndexCheck,
    IndexState,
    IndexStatus,
    SearchResults,
)
from jtv_cli.stores.contract import Table
from jtv_cli.stores.sqlite.connection import Connection, NoSpaceError, transaction, translated
from jtv_cli.stores.sqlite.documents import BLOCK, HITS, Documents, to_hit
from jtv_cli.stores.sqlite.index import SEGMENT, Index
from jtv_cli.stores.sqlite.occurrences import Occurrences
from jtv_cli.stores.sqlite.schema import catalog
from jtv_cli.stores.sqlite.search import (
    FilteredDocuments,
    explanation,
    plan_exact,
    plan_search,
    search,
    search_text,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from jtv_cli.records import (
        Document,
        Filter,
        Hit,
        Removed,
        SourceCount,
        SourceLine,
        SourceRange,
        StoredDocument,
        TableSpec,
        Vectors,
    )
    from jtv_cli.stores.sqlite.space import Space

_LINES = 10_000  # read at once
_MATCHES = 1000  # ids read at once
_NEEDS_INDEX = "create one with: jtv index build"
_NEEDS_NO_INDEX = "not needed (small tables are searched exactly)"
_CATCH_UP = 32  # segments after an addition, if many are missing: half a second of work


class SqliteTable(Table):
    """One table of the embedded store."""

    def __init__(
        self, connection: Connection, spec: TableSpec, location: str, space: Space
    ) -> None:
        self.spec = spec
        self.most_bytes: int | None = None
        self.is_remote = False
        self.documents = Documents(connection, spec)
        self.occurrences = Occurrences(self.documents)
        self.index = Index(self.documents)
        self._space = space
        self._location = location

    def count(self) -> int:
        with self._reading():
            return self.documents.count()

    def require_writable(self) -> None:
        with self._translated():
            self.documents.execute("UPDATE jtv_tables SET name = name WHERE FALSE")

    def reserve(self, size: int) -> None:
        self.require_writable()
        rows, stored = size // (4 * self.spec.dimensions) + 1, self.count()
        with self._translated():
            self._space.reserve(self.documents.connection, size, rows, stored)

    def known(
        self,
        hashes: Sequence[bytes],
        lines: SourceRange | None = None,  # noqa: ARG002
    ) -> dict[bytes, int]:
        with self._reading():
            return self.documents.known(hashes)

    def add(self, documents: Sequence[Document], vectors: Vectors) -> Added:
        """Store documents with their occurrences, in one transaction.

        That transaction also adds a segment to the index if one is complete. If many are
        missing, because the table had no index before, some more follow.
        """
        from jtv_cli.stores.distances import check_vectors

        check_vectors(vectors, len(documents), self.spec.dimensions)
        try:
            return self._add(documents, vectors)
        except NoSpaceError:
            if not self._space.release():
                raise
        return self._add(documents, vectors)

    def add_occurrences(self, source: str | None, places: Sequence[SourceLine]) -> int:
        """Store occurrences; return how many were new.

        If a file is read again and nothing has changed, this takes no write lock.
        """
        if not places:
            return 0
        with self._reading():
            new, changed = self.occurrences.changes(source, places)
        if not (new or changed):
            return 0
        with self.writing():
            return self.occurrences.replace(source, new, changed)

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
        if not len(vectors):
            return SearchResults([])
        from jtv_cli.stores.distances import Nearest, normalized

        queries = normalized(vectors)
        nearest = [Nearest(query, k, max_distance) for query in queries]
        with self._reading():
            documents = self.documents
            plan = plan_exact("requested") if exact else plan_search(documents, self.index, k)
            if filter is not None:
                documents = filtered = FilteredDocuments(documents, filter)
                plan = filtered.narrow(plan)
            effort = search(documents, self.index, plan, queries, nearest)
            hits = [documents.hits(best.ranked()) for best in nearest]
        return SearchResults(hits, explanation(plan, effort, len(vectors)) if explain else "")

    def search_text(
        self,
        queries: Sequence[str],
        k: int,
        *,
        vectors: Vectors | None = None,
        max_distance: float | None = None,
        filter: Filter | None = None,
        explain: bool = False,
    ) -> SearchResults:
        unit_queries: Sequence[Vectors | None] = [None] * len(queries)
        if vectors is not None:
            from jtv_cli.stores.distances import normalized

            unit_queries = list(normalized(vectors))
        with self._reading():
            documents = self.documents
            if not documents.full_text.exists():
                raise NoFullText.of_table(self.spec.name)
            pending = documents.full_text.pending()
            if filter is not None:
                documents = FilteredDocuments(documents, filter)
            hits = [
                search_text(documents, query, k, unit_query=unit_query, max_distance=max_distance)
                for query, unit_query in zip(queries, unit_queries, strict=True)
            ]
            count = self.documents.count() - pending
        words = f"full-text index: {count:,} documents" if explain else ""
        if explain and filter is not None:
            words += ", of those that match the filter"
        return SearchResults(hits, words)

    def scan(
        self, query: Vectors | None = None, *, after: int | None = None, limit: int | None = None
    ) -> Iterator[Hit]:
        last, left = after or 0, sys.maxsize if limit is None else limit
        vector = "" if query is None else ", d.vector"
        statement = HITS.format(vector=vector, fits="", which="> ? ORDER BY d.id LIMIT ?")
        while left > 0:
            with self._reading():
                rows = self.documents.execute(statement, (last, min(left, BLOCK))).fetchall()
                hits = list(self._hits(rows, query))
            if not hits:
                return
            yield from hits
            last, left = hits[-1].id, left - len(hits)

    def rank(self, query: Vectors, *, limit: int | None = None) -> Iterator[Hit]:
        from jtv_cli.stores.distances import Ranking, distances_to, normalized

        [unit_query] = normalized(query[None])
        with self._reading():
            ranking = Ranking(self.documents.count())
            for ids, vectors in self.documents.vectors():
                ranking.offer(ids, distances_to(unit_query, vectors))
        left = sys.maxsize if limit is None else limit
        for ranked in ranking.ranked(BLOCK):
            with self._reading():
                hits = self.documents.hits(ranked[:left])
            yield from hits
            left -= len(ranked)
            if left <= 0:
                return

    def matching(self, filter: Filter, *, after: int = 0) -> Iterator[Sequence[int]]:
        while True:
            with self._reading():
                ids = FilteredDocuments(self.documents, filter).matching(after, _MATCHES)
            if ids:
                yield ids
            if len(ids) < _MATCHES:
                return
            after = ids[-1]

    def get(self, ids: Sequence[int], *, vectors: bool = False) -> list[StoredDocument]:
        with self._reading():
            return self.documents.get(ids, vectors=vectors)

    def read(self, *, vectors: bool = False) -> Iterator[StoredDocument]:
        last: int | None = 0
        while last is not None:
            with self._reading():
                block = self.documents.read(last, BLOCK, vectors=vectors)
            yield from block
            last = block[-1].id if block else None

    def delete(self, ids: Sequence[int]) -> Removed:
        with self.writing():
            return self.documents.delete(ids)

    def sources(self) -> list[SourceCount]:
        with self._reading():
            return self.occurrences.counts()

    def source_lines(self, source: str | None) -> Iterator[SourceLine]:
        last: SourceLine | None = None
        while True:
            with self._reading():
                block = self.occurrences.lines(source, last, _LINES)
            if not block:
                return
            yield from block
            last = block[-1]

    def count_occurrences(self, sources: Collection[str]) -> dict[str, int]:
        with self._reading():
            return self.occurrences.counts_of(sources)

    def source_details(self, sources: Collection[str]) -> dict[str, Mapping[str, Any]]:
        with self._reading():
            return self.occurrences.details(sources)

    def sources_without_details(self) -> list[str]:
        with self._reading():
            return self.occurrences.sources_without_details()

    def set_source_details(self, details: Mapping[str, Mapping[str, Any] | None]) -> None:
        with self.writing():
            self.occurrences.set_details(details)

    def rename_source(self, old: str, new: str) -> int:
        with self.writing():
            return self.occurrences.rename_source(old, new)

    def remove(self, source: str | None, places: Sequence[SourceLine]) -> Removed:
        with self.writing():
            return self.occurrences.remove(source, places)

    def size(self) -> int:
        with self._reading():
            return self.documents.size()

    def index_status(self) -> IndexStatus:
        """Return the status of the index; pending documents are compared exactly."""
        with self._reading():
            usable, count = self.index.usable(), self.documents.count()
            if usable is None:
                is_needed = self.index.is_worth_it()
                detail = _NEEDS_INDEX if is_needed else _NEEDS_NO_INDEX
                return IndexStatus(IndexState.NONE, 0, count, detail)
            detail = plan_search(self.documents, self.index, RECALL_AT).explanation
            pending = self.index.pending(usable)
            if deleted := self.index.codes(usable) + pending - count:
                detail += f"; {deleted:,} codes of deleted documents (jtv index build drops them)"
            if pending >= SEGMENT:
                detail += "; jtv index build adds the pending documents"
            return IndexStatus(IndexState.READY, count - pending, pending, detail)

    def build_index(self, *, progress: Callable[[str], None] = lambda _: None) -> None:
        """Build the index in short transactions, again if there is one."""
        with self.writing():
            if not self.index.is_worth_it():
                return
            number, newest = self.index.begin().number, self.documents.newest()
        self._in_steps(lambda: self.index.build(number), newest, "the index", progress)

    def drop_index(self) -> bool:
        """Drop the index; the next documents to be added create it again."""
        with self.writing():
            return self.index.drop()

    def full_text_status(self) -> IndexStatus:
        with self._reading():
            count = self.documents.count()
            if not self.documents.full_text.exists():
                detail = "create it with: jtv index build --full-text"
                return IndexStatus(IndexState.NONE, 0, count, detail)
            pending = self.documents.full_text.pending()
        if pending:
            detail = "jtv index build --full-text adds the pending documents"
            return IndexStatus(IndexState.BUILDING, count - pending, pending, detail)
        return IndexStatus(IndexState.READY, count, 0, "FTS5")

    def build_full_text(self, *, progress: Callable[[str], None] = lambda _: None) -> None:
        """Build the full-text index in short transactions; continue where it was interrupted."""
        with self.writing():
            self.documents.full_text.create()
            newest = self.documents.newest()
        self._in_steps(self.documents.full_text.build, newest, "the full-text index", progress)

    def drop_full_text(self) -> bool:
        with self.writing():
            return self.documents.full_text.drop()

    def check_index(
        self, queries: int, *, progress: Callable[[str], None] = lambda _: None
    ) -> IndexCheck:
        """Measure recall@10, and keep the number of candidates for 0.99 if it is unusual."""
        from jtv_cli.stores.sqlite.recall import check

        progress("comparing the index with exact searches")
        with self._reading():
            usable = self.index.usable()
            if usable is None or self.documents.count() <= RECALL_AT:
                raise NoIndex(self.spec.name)
            found, candidates = check(self.documents, self.index, usable, queries)
        if candidates != usable.candidates:
            with self.writing():
                self.index.keep(candidates)
        return found

    def drop(self) -> None:
        """Drop the table and all that belongs to it, within `writing`."""
        self.index.drop()
        self.documents.full_text.drop()
        # In this order there are no references left to follow.
        for suffix in ("_occurrences", "_sources", ""):
            self.documents.execute(f'DROP TABLE "{{name}}{suffix}"')
        self.documents.execute("DELETE FROM jtv_tables WHERE name = '{name}'")

    def writing(self) -> AbstractContextManager[None]:
        """Hold the write lock, on the table that was opened, whatever its name is by now.

        Raises TableDropped if it was dropped since, even if it was created again.
        """
        return self._transaction("IMMEDIATE")

    def _reading(self) -> AbstractContextManager[None]:
        """Read one state of the table, whatever others write meanwhile.

        Raises TableDropped as `writing` does.
        """
        return self._transaction("DEFERRED")

    @contextmanager
    def _transaction(self, kind: Literal["DEFERRED", "IMMEDIATE"]) -> Iterator[None]:
        connection = self.documents.connection
        with self._translated(), transaction(connection, kind):
            connection.read_format()
            row = self.documents.execute("SELECT identity FROM jtv_tables WHERE name = '{name}'")
            if row.fetchone() != (self.spec.identity,):
                self._find_renamed()
            yield

    def _find_renamed(self) -> None:
        """Use the table under the name that it has by now.

        Raises TableDropped if it no longer exists.
        """
        specs = catalog(self.documents.connection)
        found = next((spec for spec in specs if spec.identity == self.spec.identity), None)
        if found is None:
            raise TableDropped(self.spec.name)
        self.spec = self.documents.spec = found

    def _translated(self) -> AbstractContextManager[None]:
        return translated(self._location, self.documents.connection)

    def _add(self, documents: Sequence[Document], vectors: Vectors) -> Added:
        with self.writing():
            stored, ids = self.documents.insert(documents, vectors)
            occurrences = self.occurrences.insert(
                (ids[document.hash], occurrence)
                for document in documents
                for occurrence in document.occurrences
            )
            is_missing_more = self.index.extend()
        if is_missing_more:
            self._catch_up()
        return Added(stored, occurrences)

    def _catch_up(self) -> None:
        """Index some of the missing segments; if that fails, the next addition continues."""
        with suppress(StoreError):
            for _ in range(_CATCH_UP):
                with self.writing():
                    if not self.index.extend():
                        return

    def _in_steps(
        self,
        step: Callable[[], int | None],
        newest: int,
        what: str,
        progress: Callable[[str], None],
    ) -> None:
        """Build something in one transaction after the other, until there is no last id."""
        last: int | None = 0
        while last is not None:
            progress(f"building {what}: {last:,} of {newest:,}")
            with self.writing():
                last = step()

    def _hits(self, rows: Sequence[Sequence[Any]], query: Vectors | None) -> Iterator[Hit]:
        """Yield rows of HITS as hits, with their distance to a (dimensions,) query."""
        if query is None or not rows:
            return (to_hit(row, None) for row in rows)
        from jtv_cli.stores.distances import distances_to, normalized

        vectors = self.documents.decode([row[-1] for row in rows])
        [unit_query] = normalized(query[None])
        return map(to_hit, rows, distances_to(unit_query, vectors).tolist())
