"""The contracts of a store and of its tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from typing import Any

    from jtv_cli.records import (
        Added,
        Change,
        Check,
        Document,
        Filter,
        Hit,
        IndexCheck,
        IndexStatus,
        Removed,
        SearchResults,
        SourceCount,
        SourceLine,
        SourceRange,
        StoredDocument,
        TableSpec,
        Vectors,
    )


class Table(Protocol):
    """A set of documents, all embedded by one model.

    Every method raises StoreError where the database refuses or fails.
    """

    spec: TableSpec
    most_bytes: int | None
    """The size of the largest text that can be stored, with its metadata; None for no limit."""
    is_remote: bool
    """Whether the table is in a server, so that its methods wait rather than compute."""

    def count(self) -> int:
        """Return the number of documents."""
        ...

    def require_writable(self) -> None:
        """Raise StoreError if documents cannot be added. Nothing is changed."""
        ...

    def reserve(self, size: int) -> None:
        """Raise StoreError if there is no space for `size` more bytes.

        It is called before texts are embedded, which may cost money. The space stays reserved
        for this process if the store can do that. A store that cannot tell its free space
        only does what `require_writable` does.
        """
        ...

    def known(self, hashes: Sequence[bytes], lines: SourceRange | None = None) -> dict[bytes, int]:
        """Return the id of each hash that is stored; the others are absent.

        `lines` are those that `add_occurrences` is called with next: a store may look up their
        occurrences at the same time.
        """
        ...

    def add(self, documents: Sequence[Document], vectors: Vectors) -> Added:
        """Store documents with their occurrences, in one transaction unless they are huge.

        `vectors` is (len(documents), dimensions) float32. A document whose text is already
        stored only gains its occurrences.

        Raises TableDropped if the table is no longer the one that was opened.
        """
        ...

    def add_occurrences(self, source: str | None, places: Sequence[SourceLine]) -> int:
        """Store occurrences of stored documents in a source; return how many were new."""
        ...

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
        """Return, for each of (m, dimensions) query vectors, its k nearest documents in order.

        Hits are ordered by distance. `exact` compares every vector, whatever index there
        is. `filter` removes the documents that do not match before the nearest k are
        chosen; a hit then shows its first matching occurrence. `explain` asks for the
        explanation, which may need another query of the database.
        """
        ...

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
        """Return, for each query, the k documents that its words find best, by their score.

        A document is found if it has one of the words; nothing in a query is an operator. The
        score is about the share of the words that a document has, weighted by how rare they
        are: from 0 to 1, and more if it is short or repeats them; None if the store cannot tell.
        `vectors` are those of the queries, (m, dimensions): with them, hits have distances,
        and `max_distance` removes those farther away before the best k are chosen. `filter`
        and `explain` are those of `search`.

        Raises NoFullText if the table has no full-text index.
        """
        ...

    def scan(
        self, query: Vectors | None = None, *, after: int | None = None, limit: int | None = None
    ) -> Iterator[Hit]:
        """Yield the documents by id, in short reads, with their distance to a (dimensions,) query.

        Only documents with ids greater than `after` are yielded.
        """
        ...

    def rank(self, query: Vectors, *, limit: int | None = None) -> Iterator[Hit]:
        """Yield the documents by distance to a (dimensions,) query.

        It keeps at most 16 bytes per document in memory.
        """
        ...

    def matching(self, filter: Filter, *, after: int = 0) -> Iterator[Sequence[int]]:
        """Yield the ids of the documents that match a filter, in order, in short reads.

        Only ids greater than `after` are yielded.
        """
        ...

    def get(self, ids: Sequence[int], *, vectors: bool = False) -> list[StoredDocument]:
        """Return the documents with these ids, in that order; missing ones are skipped."""
        ...

    def read(self, *, vectors: bool = False) -> Iterator[StoredDocument]:
        """Yield all documents with all their occurrences, by id, in short reads."""
        ...

    def delete(self, ids: Sequence[int]) -> Removed:
        """Remove documents with all their occurrences, in one transaction."""
        ...

    def sources(self) -> list[SourceCount]:
        """Return the sources of the documents, by name, stdin first."""
        ...

    def source_lines(self, source: str | None) -> Iterator[SourceLine]:
        """Yield the occurrences in a source, by line, in short reads, without metadata."""
        ...

    def count_occurrences(self, sources: Collection[str]) -> dict[str, int]:
        """Return how many occurrences each of the sources has; those without any left out."""
        ...

    def source_details(self, sources: Collection[str]) -> dict[str, Mapping[str, Any]]:
        """Return how each of the sources was read.

        Sources without an occurrence, or without recorded details, are left out.
        """
        ...

    def sources_without_details(self) -> list[str]:
        """Return the sources with a name that have occurrences and no recorded details."""
        ...

    def set_source_details(self, details: Mapping[str, Mapping[str, Any] | None]) -> None:
        """Record how sources were read, in one transaction; None removes the record.

        The details of a source are a JSON object, for example its input format.
        """
        ...

    def rename_source(self, old: str, new: str) -> int:
        """Give a source another name, in one transaction; return its number of occurrences.

        If the new name is in use, both sources become one, with the details of the new
        name if it has any, and 0 is returned if the old name has no occurrences.
        """
        ...

    def remove(self, source: str | None, places: Sequence[SourceLine]) -> Removed:
        """Remove occurrences, and documents with their last, in one transaction."""
        ...

    def size(self) -> int | None:
        """Return the approximate size in bytes, with the index; None if unknown."""
        ...

    def index_status(self) -> IndexStatus:
        """Return the state of the index."""
        ...

    def build_index(self, *, progress: Callable[[str], None] = lambda _: None) -> None:
        """Build the index, or rebuild it; searches work meanwhile.

        `progress` is called with the progress in words. A table that is too small for an
        index gets none.
        """
        ...

    def drop_index(self) -> bool:
        """Drop the index; return whether there was one. Searches are exact from then on."""
        ...

    def full_text_status(self) -> IndexStatus:
        """Return the state of the full-text index."""
        ...

    def build_full_text(self, *, progress: Callable[[str], None] = lambda _: None) -> None:
        """Create the full-text index, or resume building it. Searches and writes go on meanwhile.

        Raises NoFullText if the store cannot have one.
        """
        ...

    def drop_full_text(self) -> bool:
        """Remove the full-text index; return whether there was one."""
        ...

    def check_index(
        self, queries: int, *, progress: Callable[[str], None] = lambda _: None
    ) -> IndexCheck:
        """Measure recall@10 of the index, with `queries` documents of the table as queries.

        If recall is too low, the store corrects what it can. Raises NoIndex if there is no
        index, or it is not ready.
        """
        ...


class Store(Protocol):
    """A database that holds tables. Opening one changes nothing.

    `location` is its name in messages: a file, or a host and database. `notes` are what a
    user who writes to it should know about the connection, one line each.
    """

    location: str
    notes: Sequence[str]

    def tables(self) -> list[TableSpec]:
        """Return the specs of jtv's tables, by name; none if the file does not exist."""
        ...

    def open(self, name: str) -> Table:
        """Return a table. Raises NoTable if there is none of that name."""
        ...

    def plan(self, spec: TableSpec, *, index: bool = True) -> list[Change]:
        """Return the changes that create the table and its index, or bring them to the spec.

        Raises TableMismatch if the table exists with another model.
        """
        ...

    def apply(
        self,
        spec: TableSpec,
        changes: Sequence[Change],
        *,
        wait: bool = True,
        progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Apply the changes of a plan. It can be interrupted and repeated.

        With `wait`, it returns when the index is built. `progress` is called with the
        progress in words.
        """
        ...

    def drop(self, name: str) -> None:
        """Drop a table and everything in it. Raises NoTable if there is none of that name."""
        ...

    def rename(
        self,
        table: TableSpec,
        name: str,
        *,
        replacing: TableSpec | None = None,
        progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Give a table another name, in one transaction.

        `replacing` is the table that has this name so far: it is dropped. A process that has
        opened one of them either follows it or fails with TableDropped. `progress` is called
        with the progress in words.

        Raises TableDropped if the table is no longer of this spec, and TableExists if another
        table than `replacing` has the name.
        """
        ...

    def checks(self) -> Iterator[Check]:
        """Check the database, one aspect after the other: can it be reached, is it intact.

        A failure is yielded, not raised, and is the last check.
        """
        ...

    def close(self) -> None:
        """Close the connection."""
        ...
