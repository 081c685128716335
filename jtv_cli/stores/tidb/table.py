"""One table of a TiDB database: reading and writing documents, and finding the nearest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError

from jtv_cli.errors import NoIndex, StoreError, TableDropped
from jtv_cli.records import Added, IndexState, Occurrence, SearchResults
from jtv_cli.stores.places import new_source_lines
from jtv_cli.stores.tidb.duplicates import hand_on_hashes
from jtv_cli.stores.tidb.errors import NO_PRIVILEGE, TooLarge, code_of
from jtv_cli.stores.tidb.index import VectorIndex
from jtv_cli.stores.tidb.occurrences import noted
from jtv_cli.stores.tidb.reading import Reading
from jtv_cli.stores.tidb.schema import (
    add_columns,
    comment_of,
    decode_comment,
    encode_comment,
    schema,
)
from jtv_cli.stores.tidb.searching import Searching
from jtv_cli.stores.tidb.transactions import (
    metadata_size,
    place_transactions,
    text_size,
    transactions,
)
from jtv_cli.stores.tidb.writing import Writing

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from typing import Any, TypeVar

    from sqlalchemy import Connection

    from jtv_cli.records import (
        Document,
        Filter,
        Hit,
        IndexCheck,
        IndexStatus,
        Removed,
        SourceCount,
        SourceLine,
        StoredDocument,
        TableSpec,
        Vectors,
    )
    from jtv_cli.stores.tidb.connection import Database
    from jtv_cli.stores.tidb.schema import Schema

    Result = TypeVar("Result")

# txn-entry-size-limit, which TiDB Cloud does not let one raise, less what a row has
# beside text and vector, with room to spare.
_ROW_BYTES = (6 << 20) - 1024


class TidbTable:
    """One table of a TiDB database: jtv's own, or the tutorial's as it stands.

    The statement of a search is one that the vector index can answer; where there is none,
    the server looks at every vector.
    """

    def __init__(
        self, database: Database, spec: TableSpec, *, is_adopted: bool, table_format: int
    ) -> None:
        self.spec = spec
        self.most_bytes: int | None = _ROW_BYTES - 4 * spec.dimensions
        self._database = database
        self._index = VectorIndex(database, spec.name)
        self._use(schema(spec, has_parts=is_adopted, table_format=table_format))
        self._can_migrate = True

    def count(self) -> int:
        """Return the number of documents."""
        return self._reading.count()

    def require_writable(self) -> None:
        """Raise StoreError where documents could not be added."""
        self._require_adopted()
        self._database.read(lambda connection: Writing(connection, self._schema).insert_nothing())

    def reserve(self, size: int) -> None:
        """Do nothing: a server does not tell how much room it has."""

    def known(self, hashes: Sequence[bytes]) -> dict[bytes, int]:
        """Return the ids of those of the hashes that are stored, found by their unique index."""
        self._require_adopted()
        return self._database.read(lambda connection: Writing(connection, self._schema).ids(hashes))

    def add(self, documents: Sequence[Document], vectors: Vectors) -> Added:
        """Store documents with their occurrences, in one transaction unless they are huge.

        Raises StoreError that names the place of what is larger than the server takes.
        """
        from jtv_cli.stores.distances import check_vectors

        check_vectors(vectors, len(documents), self.spec.dimensions)
        self._require_adopted()
        self._migrate_for(where for document in documents for where in document.occurrences)
        added = [self._add(*part) for part in transactions(documents, vectors)]
        return Added(sum(part.documents for part in added), sum(part.occurrences for part in added))

    def add_occurrences(self, source: str | None, places: Sequence[SourceLine]) -> int:
        """Note where stored documents are in a source; return how many places were new.

        Very many are noted in several transactions.
        """
        self._require_adopted()
        if not places:
            return 0
        self._migrate_for(places)
        known = self._database.read(
            lambda connection: noted(connection, self._schema, source, places)
        )
        new, changed = new_source_lines(places, known)
        added = sum(self._note(source, part) for part in place_transactions(new))
        # Each is removed, and noted with its new metadata, in the same transaction.
        return added + sum(
            self._note(source, part, are_there=True) for part in place_transactions(changed)
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

        Rows without a distance, of an all-zero vector or none, are left out.
        """
        if not len(vectors):
            return SearchResults([])
        far = 2.0 if max_distance is None else max_distance
        if filter is None:
            return self._searching.all(vectors, k, exact=exact, far=far, explained=explain)
        found = self._searching.fitting(vectors, k, filter, exact=exact, far=far)
        return found if explain else found._replace(explanation="")

    def scan(
        self, query: Vectors | None = None, *, after: int | None = None, limit: int | None = None
    ) -> Iterator[Hit]:
        """Yield the documents by id, with their distance to a (dimensions,) query."""
        return self._reading.scan(query, after=after, limit=limit)

    def rank(self, query: Vectors, *, limit: int | None = None) -> Iterator[Hit]:
        """Yield the documents by distance to a (dimensions,) query, those without one last."""
        return self._reading.rank(query, limit=limit)

    def get(self, ids: Sequence[int], *, vectors: bool = False) -> list[StoredDocument]:
        """Return the documents of these ids, in that order; those that are not there left out."""
        return self._reading.get(ids, vectors=vectors)

    def read(self, *, vectors: bool = False) -> Iterator[StoredDocument]:
        """Yield all documents, whole, by id, in short reads."""
        return self._reading.read(vectors=vectors)

    def delete(self, ids: Sequence[int]) -> Removed:
        """Remove documents with all their occurrences, in one transaction."""
        return self._remove(ids, lambda writing: writing.delete(ids))

    def sources(self) -> list[SourceCount]:
        """Return the sources that documents were read in, by name, stdin first."""
        return self._reading.sources()

    def source_lines(self, source: str | None) -> Iterator[SourceLine]:
        """Yield what is noted of a source, by line, in short reads; line 0 where there is none."""
        return self._reading.source_lines(source)

    def source_details(self, sources: Collection[str]) -> dict[str, Mapping[str, Any]]:
        """Return how each of the sources was read."""
        return self._reading.source_details(sources)

    def set_source_details(self, details: Mapping[str, Mapping[str, Any] | None]) -> None:
        """Record how sources were read, in one transaction; None removes the record."""
        self._require_adopted()
        if details and self._migrate():
            self._in_transaction(lambda writing: writing.set_source_details(details))

    def rename_source(self, old: str, new: str) -> int:
        """Give a source another name, in one transaction; return its number of occurrences."""
        self._require_adopted()
        return self._in_transaction(lambda writing: writing.rename_source(old, new))

    def remove(self, source: str | None, places: Sequence[SourceLine]) -> Removed:
        """Remove occurrences, and documents with their last, in one transaction."""
        documents = {place.document for place in places}
        return self._remove(documents, lambda writing: writing.remove(source, places))

    def size(self) -> int | None:
        """Return about how many bytes it takes, as far as the server has statistics."""
        return self._reading.size()

    def index_status(self) -> IndexStatus:
        """Return how far the vector index and its TiFlash replica are."""
        return self._index.status()

    def build_index(self, *, progress: Callable[[str], None] = lambda _: None) -> None:
        """Build the vector index, anew where jtv made one, and wait until it is ready."""
        self._require_adopted()
        self._index.rebuild(progress)

    def drop_index(self) -> bool:
        """Drop the vector index; return whether there was one. The TiFlash replica stays."""
        self._require_adopted()
        return self._index.drop()

    def check_index(
        self, queries: int, *, progress: Callable[[str], None] = lambda _: None
    ) -> IndexCheck:
        """Measure recall@10 of the vector index. Raises NoIndex where there is none."""
        from jtv_cli.stores.tidb.recall import check

        if self.index_status().state is not IndexState.READY:
            raise NoIndex(self.spec.name)
        progress("comparing the index with exact searches")
        return self._database.read(lambda connection: check(connection, self._schema, queries))

    def _use(self, schema: Schema) -> None:
        self._schema = schema
        self._reading = Reading(self._database, schema)
        self._searching = Searching(self._database, schema, self._index)

    def _migrate_for(self, places: Iterable[Occurrence | SourceLine]) -> None:
        if self._schema.format == 1 and any(place.end_line is not None for place in places):
            self._migrate()

    def _migrate(self) -> bool:
        """Bring the table to the current format; return False without the privilege to.

        Each step may be repeated, so a crash or another process in between does no harm.
        """

        def work(connection: Connection) -> bool:
            self._require_same(connection)
            try:
                add_columns(connection, self.spec.name)
                comment = f"ALTER TABLE `{self.spec.name}` COMMENT = %s"
                connection.exec_driver_sql(comment, (encode_comment(self.spec),))
            except DBAPIError as error:
                if code_of(error) in NO_PRIVILEGE:
                    return False
                raise
            return True

        if self._schema.format == 1 and self._can_migrate:
            # The lock that creating and dropping a table take.
            with self._database.lock(f"jtv init {self.spec.name.lower()}"):
                self._can_migrate = self._database.read(work, is_slow=True)
            if self._can_migrate:
                self._use(schema(self.spec))
            else:
                self._database.on_notice(
                    f"table {self.spec.name} does not record how files were read: that takes"
                    f" the ALTER privilege on it, {self.spec.name}_sources and"
                    f" {self.spec.name}_occurrences"
                )
        return self._schema.format > 1

    def _in_transaction(self, work: Callable[[Writing], Result]) -> Result:
        def in_transaction(connection: Connection) -> Result:
            result = work(Writing(connection, self._schema))
            self._require_same(connection)
            return result

        return self._database.write(in_transaction)

    def _add(self, documents: Sequence[Document], vectors: Vectors) -> Added:
        def work(connection: Connection) -> Added:
            writing = Writing(connection, self._schema)
            stored = writing.insert_documents(documents, vectors)
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
            entries = (
                (max(text_size(document), metadata_size(where)), where.source, where.line)
                for document in documents
                for where in document.occurrences
            )
            raise _naming_the_largest(error, entries) from error

    def _note(
        self, source: str | None, places: Sequence[SourceLine], *, are_there: bool = False
    ) -> int:
        """Note places in one transaction, in place of what is noted if they `are_there`."""

        def work(connection: Connection) -> int:
            writing = Writing(connection, self._schema)
            documents = {place.document for place in places}
            still_there = writing.lock(documents)
            self._require_same(connection)
            if still_there < len(documents):
                raise StoreError(
                    f"a document was deleted from table {self.spec.name} meanwhile",
                    hint="run the same command again",
                )
            if are_there:
                writing.forget(source, places)
            return writing.insert_occurrences(
                (place.document, Occurrence(source, place.line, place.metadata, place.end_line))
                for place in places
            )

        try:
            return self._database.write(work)
        except TooLarge as error:
            entries = ((metadata_size(place), source, place.line) for place in places)
            raise _naming_the_largest(error, entries) from error

    def _remove(self, documents: Collection[int], work: Callable[[Writing], Removed]) -> Removed:
        """Return what some work removes of documents that are locked, in one transaction."""
        self._require_adopted()

        def in_transaction(connection: Connection) -> Removed:
            writing = Writing(connection, self._schema)
            writing.lock(documents)
            self._require_same(connection)
            removed = work(writing)
            if removed.documents:
                hand_on_hashes(connection, self._schema)
            return removed

        return self._database.write(in_transaction)

    def _require_adopted(self) -> None:
        if not self._schema.has_parts:
            raise StoreError(
                f"table {self.spec.name} is the tutorial's and can only be read",
                hint="jtv init adds what is missing, and says first what that is",
            )

    def _require_same(self, connection: Connection) -> None:
        """Raise TableDropped where the table was dropped since, even if it was made again.

        Once the transaction has locked something in it, no one else can drop it.
        """
        comment = comment_of(connection, self.spec.name)
        found = None if comment is None else decode_comment(self.spec.name, comment)
        if found is None or found.spec.identity != self.spec.identity:
            raise TableDropped(self.spec.name)


def _naming_the_largest(
    error: TooLarge, entries: Iterable[tuple[int, str | None, int | None]]
) -> StoreError:
    """Return the error with the place of the largest of what has a size, a source and a line."""
    largest = max(entries, key=lambda entry: entry[0], default=None)
    if largest is None:
        return error
    _, source, line = largest
    where = f"{source or 'standard input'}:{line}" if line else source or "standard input"
    return StoreError(f"{where}: {error.message}", hint=error.hint)
