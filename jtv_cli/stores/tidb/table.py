"""One table of a TiDB database: its documents, sources and occurrences."""

from __future__ import annotations

import sys
from collections import defaultdict
from functools import partial
from itertools import chain, islice
from math import ceil, isnan
from typing import TYPE_CHECKING, Any, TypeVar

from jtv_cli.batching import batched
from jtv_cli.errors import NoIndex, StoreError
from jtv_cli.records import (
    Added,
    Hit,
    IndexState,
    Occurrence,
    SearchResults,
    SourceCount,
    SourceLine,
    StoredDocument,
)
from jtv_cli.source_names import shown_source
from jtv_cli.stores.contract import Table
from jtv_cli.stores.source_lines import by_source, decode_metadata, new_source_lines
from jtv_cli.stores.tidb.errors import NO_PRIVILEGE, DatabaseError, TooLarge, code_of
from jtv_cli.stores.tidb.full_text import FullTextIndex, best_matches
from jtv_cli.stores.tidb.index import VectorIndex
from jtv_cli.stores.tidb.rows import Rows, insert_nothing
from jtv_cli.stores.tidb.schema import (
    NO_LINE,
    PARTS,
    Schema,
    add_columns,
    encode_comment,
    fetch_own,
    set_comment,
)
from jtv_cli.stores.tidb.search import (
    EXACT,
    SearchPlan,
    distance,
    explain_search,
    fetch_hits,
    matching_ids,
    measure_recall,
    search,
    search_matching,
    select_measured,
    where,
    with_first_occurrence,
)
from jtv_cli.stores.tidb.sql import literals
from jtv_cli.stores.tidb.statements import (
    KEYS,
    largest_text,
    metadata_size,
    occurrence_transactions,
    read_vector,
    text_size,
    transactions,
)
from jtv_cli.stores.tidb.tutorial import pass_on_hashes
from jtv_cli.text import text_hash
from jtv_cli.threads import run_together

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from jtv_cli.records import (
        Document,
        Filter,
        IndexCheck,
        IndexStatus,
        Removed,
        SourceRange,
        TableSpec,
        Vectors,
    )
    from jtv_cli.stores.source_lines import StoredLine
    from jtv_cli.stores.tidb.connection import Connection, Database

    Result = TypeVar("Result")

# The number of documents read at once: with their texts, or only ids and distances.
_BLOCK = 500
_RANKED_BLOCK = 20_000
_OCCURRENCES = 20_000
_MATCHES = 1000
# The most lines of a source that are looked up along with the texts in them.
_LINES = 10_000
# Many queries go over so many connections, each with at least so many of them: a server answers
# the statements of one connection one after the other.
_CONNECTIONS = 4
_LEAST_QUERIES = 8


class TidbTable(Table):
    """One table of a TiDB database: jtv's own, or the tutorial's as it is.

    Reading is done in short statements by id: no connection is held in between. `packet_bytes`
    is the server's max_allowed_packet. `is_writable` says that an insert was accepted, and
    `index_status` is the state of the index, if the table was opened with them.
    """

    def __init__(
        self,
        database: Database,
        spec: TableSpec,
        *,
        is_converted: bool,
        table_format: int,
        packet_bytes: int,
        is_writable: bool = False,
        index_status: IndexStatus | None = None,
    ) -> None:
        self.spec = spec
        self.is_remote = True
        self.most_bytes: int | None = largest_text(spec.dimensions, packet_bytes)
        self._database = database
        self._packet_bytes = packet_bytes
        self._schema = Schema(spec, is_converted, table_format)
        self._index = VectorIndex(database, spec.name)
        self._full_text = FullTextIndex(database, spec.name, database.location)
        self._can_migrate = True
        self._is_writable = is_writable
        self._first_status = index_status
        self._lines_ahead: tuple[SourceRange, set[StoredLine]] | None = None
        self._names_ahead: list[str] | None = None

    def count(self) -> int:
        statement = f"SELECT COUNT(*) FROM {self._schema.documents}"
        return self._database.read(lambda connection: int(connection.scalar(statement)))

    def require_writable(self) -> None:
        self._require_converted()
        if not self._is_writable:
            statements = insert_nothing(self.spec.name)
            self._database.read(lambda connection: connection.fetch_all(*statements))

    def reserve(self, size: int) -> None:
        """Do nothing: a server does not tell how much room it has."""

    def known(self, hashes: Sequence[bytes], lines: SourceRange | None = None) -> dict[bytes, int]:
        """Return the ids of those of the hashes that are stored, found by their unique index."""
        self._require_converted()
        if not hashes:
            return {}
        if lines is not None and not 0 < lines.first <= lines.last < lines.first + _LINES:
            lines = None
        ids, stored = self._database.read(
            lambda connection: self._rows(connection).known(hashes, lines)
        )
        self._lines_ahead = None if lines is None else (lines, stored)
        return ids

    def add(self, documents: Sequence[Document], vectors: Vectors) -> Added:
        """Store documents with their occurrences, in one transaction unless they are huge.

        Raises StoreError that names where the text is from that is too large for the server.
        """
        from jtv_cli.stores.distances import check_vectors

        check_vectors(vectors, len(documents), self.spec.dimensions)
        self._require_converted()
        self._migrate_for(where for document in documents for where in document.occurrences)
        added = [self._add(*part) for part in transactions(documents, vectors)]
        return Added(sum(part.documents for part in added), sum(part.occurrences for part in added))

    def add_occurrences(self, source: str | None, places: Sequence[SourceLine]) -> int:
        self._require_converted()
        if not places:
            return 0
        self._migrate_for(places)
        new, changed = new_source_lines(places, self._stored_lines(source, places))
        added = sum(self._add_occurrences(source, part) for part in occurrence_transactions(new))
        return added + sum(
            self._add_occurrences(source, part, replace=True)
            for part in occurrence_transactions(changed)
        )

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
        """Return the k nearest documents to each of (m, dimensions) query vectors.

        Documents without a distance, whose vector is NULL or all zeros, are left out.
        """
        if not len(vectors):
            return SearchResults([])
        far = 2.0 if max_distance is None else max_distance
        if filter is None:
            plan = self._plan(vectors[0], k, exact=exact) if exact or explain else None
            results = self._answered(
                lambda part, connection: search(
                    connection, self._schema, vectors[part], k, far=far, plan=plan
                ),
                len(vectors),
                explain=explain,
            )
        elif not self._schema.has_parts:
            reason = "the tutorial's table has no sources and no metadata"
            results = SearchResults([[] for _ in vectors], reason)
        else:
            found = self._plan(vectors[0], k, exact=exact, has_filter=True)
            results = self._answered(
                lambda part, connection: search_matching(
                    connection, self._schema, vectors[part], k, far=far, filter=filter, plan=found
                ),
                len(vectors),
                explain=explain,
            )
        return results if explain else results._replace(explanation="")

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
        self._full_text.require()
        if filter is not None and not self._schema.has_parts:
            return SearchResults([[] for _ in queries])
        far = 2.0 if max_distance is None else max_distance

        def search_part(part: slice, connection: Connection) -> SearchResults:
            some = [None] * len(queries[part]) if vectors is None else vectors[part]
            hits = [
                best_matches(
                    connection, self._schema, query, k, vector=vector, far=far, filter=filter
                )
                for query, vector in zip(queries[part], some, strict=True)
            ]
            return SearchResults(hits, "the full-text index was used" if explain else "")

        return self._answered(search_part, len(queries), explain=explain)

    def scan(
        self, query: Vectors | None = None, *, after: int | None = None, limit: int | None = None
    ) -> Iterator[Hit]:
        near = select_measured(self._schema, query)
        most = sys.maxsize if limit is None else limit
        for hits in self._by_id(near, self._fetch_hits, after=after, limit=most, size=_BLOCK):
            yield from hits

    def rank(self, query: Vectors, *, limit: int | None = None) -> Iterator[Hit]:
        """Yield the documents by distance to a (dimensions,) query, those without one last."""
        import numpy as np

        from jtv_cli.stores.distances import Ranking

        ranking = Ranking(self.count())
        statement = f"SELECT id, {distance(query)} FROM {self._schema.documents}"
        for rows in self._by_id(statement, self._fetch, size=_RANKED_BLOCK):
            ids, distances = zip(*rows, strict=True)
            # NaN, in place of null, is sorted behind all numbers.
            ranking.offer(np.array(ids), np.array(distances, np.float32).clip(0, 2))
        ranked = islice(chain.from_iterable(ranking.ranked(_BLOCK)), limit)
        while block := list(islice(ranked, _BLOCK)):
            yield from self._ranked_hits(block)

    def matching(self, filter: Filter, *, after: int = 0) -> Iterator[Sequence[int]]:
        last: tuple[int, int, int] | None = (after, sys.maxsize, 0)
        while last is not None and self._schema.has_parts:
            ids, last = self._database.read(
                lambda connection: matching_ids(connection, self._schema, filter, last, _MATCHES)  # noqa: B023
            )
            if ids:
                yield ids

    def get(self, ids: Sequence[int], *, vectors: bool = False) -> list[StoredDocument]:
        found: dict[int, StoredDocument] = {}
        for part in batched(ids, _BLOCK):
            statement, chosen = self._documents(vectors=vectors), literals(part)
            rows = self._fetch(f"{statement} WHERE id IN {chosen}")
            found.update((document.id, document) for document in self._stored(rows))
        return [found[number] for number in ids if number in found]

    def read(self, *, vectors: bool = False) -> Iterator[StoredDocument]:
        for rows in self._by_id(self._documents(vectors=vectors), self._fetch, size=_BLOCK):
            yield from self._stored(rows)

    def delete(self, ids: Sequence[int]) -> Removed:
        return self._remove(ids, lambda rows: rows.delete(ids))

    def sources(self) -> list[SourceCount]:
        if not self._schema.has_parts:
            return []
        details = "NULL" if self._schema.format == 1 else "ANY_VALUE(details)"
        sources, occurrences = self._schema.sources, self._schema.occurrences
        statement = (
            f"SELECT ANY_VALUE({sources}.source), COUNT(*), COUNT(DISTINCT document), {details}"
            f" FROM {self._schema.occurrences_with_source} GROUP BY {occurrences}.source"
        )
        rows = self._database.read(lambda connection: connection.rows(statement))
        return by_source(
            SourceCount(source, occurrences, documents, decode_metadata(details))
            for source, occurrences, documents, details in rows
        )

    def source_lines(self, source: str | None) -> Iterator[SourceLine]:
        last = SourceLine(-1, 0)
        while self._schema.has_parts:
            lines = self._database.read(
                lambda connection: self._rows(connection).source_lines(source, last, _OCCURRENCES)  # noqa: B023
            )
            yield from lines
            if len(lines) < _OCCURRENCES:
                return
            last = lines[-1]

    def count_occurrences(self, sources: Collection[str]) -> dict[str, int]:
        if not self._schema.has_parts:
            return {}
        table, occurrences = self._schema.sources, self._schema.occurrences
        found: dict[str, int] = {}
        for part in batched(list(sources), KEYS):
            statement = (
                f"SELECT ANY_VALUE({table}.source), COUNT(*) FROM {table}"
                f" JOIN {occurrences} ON {occurrences}.source = id"
                f" WHERE {_is_named(part)} GROUP BY id"
            )
            found.update(self._database.read(lambda connection: connection.rows(statement)))  # noqa: B023
        return found

    def source_details(self, sources: Collection[str]) -> dict[str, Mapping[str, Any]]:
        if not self._schema.has_parts or self._schema.format == 1:
            return {}
        statements = [
            f"SELECT source, details FROM {self._schema.sources}"
            f" WHERE details IS NOT NULL AND {self._is_used} AND {_is_named(part)}"
            for part in batched(list(sources), KEYS)
        ]
        # Whoever asks for the one asks for the other.
        *rows, without_details = self._database.read(
            lambda connection: connection.fetch_all(*statements, self._without_details)
        )
        self._names_ahead = [source for (source,) in without_details]
        return {source: decode_metadata(details) or {} for part in rows for source, details in part}

    def sources_without_details(self) -> list[str]:
        if not self._schema.has_parts:
            return []
        names, self._names_ahead = self._names_ahead, None
        if names is not None:
            return names
        rows = self._database.read(lambda connection: connection.rows(self._without_details))
        return [source for (source,) in rows]

    def set_source_details(self, details: Mapping[str, Mapping[str, Any] | None]) -> None:
        self._require_converted()
        if details and self._migrate():
            self._write(lambda rows: rows.set_source_details(details))

    def rename_source(self, old: str, new: str) -> int:
        self._require_converted()
        return self._write(lambda rows: rows.rename_source(old, new))

    def remove(self, source: str | None, places: Sequence[SourceLine]) -> Removed:
        documents = {place.document for place in places}
        return self._remove(documents, lambda rows: rows.remove_occurrences(source, places))

    def size(self) -> int | None:
        """Return the size in bytes that the server estimates, None without statistics."""
        parts = PARTS if self._schema.has_parts else ()
        names = literals(f"{self.spec.name}{part}" for part in ("", *parts))
        statement = (
            "SELECT SUM(data_length + index_length) FROM information_schema.tables"
            f" WHERE table_schema = DATABASE() AND table_name IN {names}"
        )
        size = self._database.read(lambda connection: connection.scalar(statement))
        return int(size) if size else None

    def index_status(self) -> IndexStatus:
        """Return the state of the vector index and its TiFlash replica."""
        status, self._first_status = self._first_status, None
        return status or self._index.status()

    def build_index(self, *, progress: Callable[[str], None] = lambda _: None) -> None:
        """Build the vector index, anew if jtv created it, and wait until it is ready."""
        self._require_converted()
        self._first_status = None
        self._index.rebuild(progress)

    def drop_index(self) -> bool:
        """Drop the vector index; return whether there was one. The TiFlash replica stays."""
        self._require_converted()
        self._first_status = None
        return self._index.drop()

    def full_text_status(self) -> IndexStatus:
        return self._full_text.status()

    def build_full_text(self, *, progress: Callable[[str], None] = lambda _: None) -> None:
        self._require_converted()
        self._full_text.build(progress)

    def drop_full_text(self) -> bool:
        self._require_converted()
        return self._full_text.drop()

    def check_index(
        self, queries: int, *, progress: Callable[[str], None] = lambda _: None
    ) -> IndexCheck:
        if self.index_status().state is not IndexState.READY:
            raise NoIndex(self.spec.name)
        progress("comparing the index with exact searches")
        return self._database.read(
            lambda connection: measure_recall(connection, self._schema, queries)
        )

    def _stored_lines(self, source: str | None, places: Sequence[SourceLine]) -> set[StoredLine]:
        """Return the stored occurrences in a source: at these places, and perhaps at others."""
        ahead, self._lines_ahead = self._lines_ahead, None
        if ahead is not None and ahead[0].source == source:
            lines, stored = ahead
            if all(lines.first <= place.line <= lines.last for place in places):
                return stored
        return self._database.read(
            lambda connection: self._rows(connection).occurrences(source, places)
        )

    @property
    def _is_used(self) -> str:
        """The condition that a source has occurrences."""
        occurrences, sources = self._schema.occurrences, self._schema.sources
        return f"EXISTS (SELECT 1 FROM {occurrences} WHERE {occurrences}.source = {sources}.id)"

    @property
    def _without_details(self) -> str:
        """The statement that reads the names of the sources without details."""
        has_none = "details IS NULL" if self._schema.format > 1 else ""
        return f"SELECT source FROM {self._schema.sources}{where(self._is_used, has_none)}"

    def _rows(self, connection: Connection) -> Rows:
        return Rows(connection, self._schema, self._packet_bytes)

    def _plan(self, query: Vectors, k: int, *, exact: bool, has_filter: bool = False) -> SearchPlan:
        """Return how the server answers a search."""
        if exact:
            return EXACT
        return self._database.read(
            lambda connection: explain_search(
                connection, self._schema, query, k, has_filter=has_filter
            )
        )

    def _answered(
        self, work: Callable[[slice, Connection], SearchResults], queries: int, *, explain: bool
    ) -> SearchResults:
        """Return what `work` returns for parts of the queries, many of them at the same time.

        An explanation is about all queries, so that they are one part then.
        """
        size = max(queries if explain else ceil(queries / _CONNECTIONS), _LEAST_QUERIES)
        parts = [slice(start, start + size) for start in range(0, queries, size)]
        results = run_together(
            [partial(self._database.read, partial(work, part)) for part in parts]
        )
        hits = [hits for result in results for hits in result.hits]
        return SearchResults(hits, results[0].explanation if results else "")

    def _by_id(
        self,
        statement: str,
        fetch: Callable[[str], Sequence[tuple[Any, ...]]],
        *,
        after: int | None = None,
        limit: int = sys.maxsize,
        size: int,
    ) -> Iterator[Sequence[Any]]:
        """Yield what is fetched by a statement, in order of the id, up to `size` at a time."""
        while limit > 0:
            rest = "" if after is None else f"id > {after}"
            rows = fetch(f"{statement}{where(rest)} ORDER BY id LIMIT {min(limit, size)}")
            if rows:
                yield rows
            if len(rows) < size:
                return
            after, limit = rows[-1][0], limit - len(rows)

    def _fetch(self, statement: str) -> Sequence[tuple[Any, ...]]:
        [rows] = self._database.read(
            lambda connection: fetch_own(connection, self._schema, statement)
        )
        return rows

    def _fetch_hits(self, near: str) -> list[Hit]:
        statement = with_first_occurrence(self._schema, near)
        [hits] = self._database.read(
            lambda connection: fetch_hits(connection, self._schema, statement)
        )
        return hits

    def _ranked_hits(self, ranked: Sequence[tuple[int, float]]) -> Iterator[Hit]:
        """Yield the documents of (id, distance) in that order, less those deleted since."""
        chosen = literals(document for document, _ in ranked)
        near = f"{select_measured(self._schema, None)} WHERE id IN {chosen}"
        hits = {hit.id: hit for hit in self._fetch_hits(near)}
        for document, value in ranked:
            if document in hits:
                yield hits[document]._replace(distance=None if isnan(value) else value)

    def _documents(self, *, vectors: bool) -> str:
        vector = "content_vec" if vectors else "NULL"
        return f"SELECT id, content, {vector} FROM {self._schema.documents}"

    def _stored(self, rows: Sequence[tuple[Any, ...]]) -> Iterator[StoredDocument]:
        if not rows:
            return
        found = self._database.read(
            lambda connection: self._occurrences(connection, [row[0] for row in rows])
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
        rows = connection.rows(
            f"SELECT document, {self._schema.sources}.source, NULLIF(line, {NO_LINE}), metadata,"
            f" {self._schema.end_line} FROM {self._schema.occurrences_with_source}"
            f" WHERE document IN {literals(documents)}"
            f" ORDER BY document, {self._schema.in_order}"
        )
        for document, source, line, metadata, end_line in rows:
            found[document].append(Occurrence(source, line, decode_metadata(metadata), end_line))
        return found

    def _write(self, work: Callable[[Rows], Result]) -> Result:
        """Return what `work` returns, given the rows in one transaction."""
        return self._database.write(lambda connection: work(self._rows(connection)))

    def _add(self, documents: Sequence[Document], vectors: Vectors) -> Added:
        try:
            return self._write(lambda rows: rows.add(documents, vectors))
        except TooLarge as error:
            entries = (
                (max(text_size(document), metadata_size(where)), where.source, where.line)
                for document in documents
                for where in document.occurrences
            )
            raise _with_largest(error, entries) from error

    def _add_occurrences(
        self, source: str | None, places: Sequence[SourceLine], *, replace: bool = False
    ) -> int:
        """Insert occurrences in one transaction, in place of the stored ones with `replace`."""
        try:
            return self._write(lambda rows: rows.add_occurrences(source, places, replace=replace))
        except TooLarge as error:
            entries = ((metadata_size(place), source, place.line) for place in places)
            raise _with_largest(error, entries) from error

    def _remove(self, documents: Collection[int], work: Callable[[Rows], Removed]) -> Removed:
        """Return what `work` removes of documents that it finds locked, in one transaction."""
        self._require_converted()

        def in_transaction(connection: Connection) -> Removed:
            rows = self._rows(connection)
            rows.lock(documents)
            removed = work(rows)
            if removed.documents:
                pass_on_hashes(connection, self.spec.name)
            return removed

        return self._database.write(in_transaction)

    def _migrate_for(self, places: Iterable[Occurrence | SourceLine]) -> None:
        if self._schema.format == 1 and any(place.end_line is not None for place in places):
            self._migrate()

    def _migrate(self) -> bool:
        """Bring the table to the current format; return False without the privilege to.

        Each step may be repeated, so an interruption or another process does no harm.
        """

        def work(connection: Connection) -> bool:
            fetch_own(connection, self._schema)
            try:
                add_columns(connection, self.spec.name)
                set_comment(connection, self.spec.name, encode_comment(self.spec))
            except DatabaseError as error:
                if code_of(error) in NO_PRIVILEGE:
                    return False
                raise
            return True

        if self._schema.format == 1 and self._can_migrate:
            # The lock that creating and dropping a table take.
            with self._database.lock(f"jtv init {self.spec.name.lower()}"):
                self._can_migrate = self._database.read(work, is_slow=True)
            if self._can_migrate:
                self._schema = Schema(self.spec)
            else:
                self._database.on_notice(
                    f"table {self.spec.name} does not record how files were read: that takes"
                    f" the ALTER privilege on it, {self.spec.name}_sources and"
                    f" {self.spec.name}_occurrences"
                )
        return self._schema.format > 1

    def _require_converted(self) -> None:
        if not self._schema.has_parts:
            raise StoreError(
                f"table {self.spec.name} is the tutorial's and read-only",
                hint="convert it with: jtv init (which shows the changes first)",
            )


def _is_named(sources: Sequence[str]) -> str:
    """Return the condition that a source has one of these names."""
    return f"source_hash IN {literals(map(text_hash, sources))}"


def _with_largest(
    error: TooLarge, entries: Iterable[tuple[int, str | None, int | None]]
) -> StoreError:
    """Return the error with the source and line of the largest entry, given their sizes."""
    largest = max(entries, key=lambda entry: entry[0], default=None)
    if largest is None:
        return error
    _, source, line = largest
    name = shown_source(source) or "standard input"
    where = f"{name}:{line}" if line else name
    return StoreError(f"{where}: {error.message}", hint=error.hint)
