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
    """The bytes of the longest text that can be stored, its metadata included; None for any."""

    def count(self) -> int:
        """Return the number of documents."""
        ...

    def require_writable(self) -> None:
        """Raise StoreError where documents could not be added; nothing is changed."""
        ...

    def reserve(self, size: int) -> None:
        """Raise StoreError where `size` more bytes could not be stored; for use before paying.

        The room stays reserved for this process if the store can do that. A store that
        cannot tell how much room there is only does what `require_writable` does.
        """
        ...

    def known(self, hashes: Sequence[bytes]) -> dict[bytes, int]:
        """Return the ids of those of the hashes that are stored, found by index."""
        ...

    def add(self, documents: Sequence[Document], vectors: Vectors) -> Added:
        """Store documents with their occurrences, in one transaction unless they are huge.

        `vectors` is (len(documents), dimensions) float32. A document whose text is
        stored already, perhaps since a moment ago, only gains its occurrences.

        Raises TableDropped where the table is no longer the one that was opened.
        """
        ...

    def add_occurrences(self, source: str | None, places: Sequence[SourceLine]) -> int:
        """Note where stored documents are in a source; return how many places were new."""
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
        explanation, which may cost another query; without any vector it is empty.
        """
        ...

    def scan(
        self, query: Vectors | None = None, *, after: int | None = None, limit: int | None = None
    ) -> Iterator[Hit]:
        """Yield the documents by id, in short reads, with their distance to a (dimensions,) query.

        `after` is the id to go on from, itself left out.
        """
        ...

    def rank(self, query: Vectors, *, limit: int | None = None) -> Iterator[Hit]:
        """Yield the documents by distance to a (dimensions,) query.

        It holds no more than 16 bytes of each document in memory.
        """
        ...

    def get(self, ids: Sequence[int], *, vectors: bool = False) -> list[StoredDocument]:
        """Return the documents of these ids, in that order; those that are not there left out."""
        ...

    def read(self, *, vectors: bool = False) -> Iterator[StoredDocument]:
        """Yield all documents, whole, by id, in short reads."""
        ...

    def delete(self, ids: Sequence[int]) -> Removed:
        """Remove documents with all their occurrences, in one transaction."""
        ...

    def sources(self) -> list[SourceCount]:
        """Return the sources that documents were read in, by name, stdin first."""
        ...

    def source_lines(self, source: str | None) -> Iterator[SourceLine]:
        """Yield what is noted of a source, by line, in short reads; without metadata."""
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
        """Return about how many bytes it takes, its index included; None where unknown."""
        ...

    def index_status(self) -> IndexStatus:
        """Return how far the index is."""
        ...

    def build_index(self, *, progress: Callable[[str], None] = lambda _: None) -> None:
        """Build the index, anew where there is one; searches go on meanwhile.

        `progress` hears how far it is. A table too small for an index gets none.
        """
        ...

    def drop_index(self) -> bool:
        """Remove the index; return whether there was one. Searches are exact from then on."""
        ...

    def check_index(
        self, queries: int, *, progress: Callable[[str], None] = lambda _: None
    ) -> IndexCheck:
        """Measure recall@10 of the index, with so many documents as queries, and act on it.

        Raises NoIndex where there is none, or none yet.
        """
        ...


class Store(Protocol):
    """A database that holds tables. Opening one changes nothing.

    `location` names it to a user: a file, or a host and database. `notes` are what a
    user who writes to it should know about the connection, a line each.
    """

    location: str
    notes: Sequence[str]

    def tables(self) -> list[TableSpec]:
        """Return the specs of jtv's tables, by name; none where there is no file yet."""
        ...

    def open(self, name: str) -> Table:
        """Return a table. Raises NoTable where there is none of that name."""
        ...

    def plan(self, spec: TableSpec, *, index: bool = True) -> list[Change]:
        """Return what is still to do before the table, and its index, are as the spec says.

        Raises TableMismatch where there is one of that name and another model.
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
        """Carry out a plan. It may be interrupted and repeated.

        `wait` waits until the index is built, `progress` hears what is being done.
        """
        ...

    def drop(self, name: str) -> None:
        """Remove a table and all it holds. Raises NoTable where there is none of that name."""
        ...

    def checks(self) -> Iterator[Check]:
        """Look at the database, one thing after the other: can it be reached, is it sound.

        A failure is yielded, not raised, and nothing else is looked at after it.
        """
        ...

    def close(self) -> None:
        """Let go of the database."""
        ...
