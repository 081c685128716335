"""Small tables of either store, and tables of the embedded one that are nothing but vectors."""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import numpy as np

from jtv_cli.records import Document, Filter, Occurrence, SourceLine, TableSpec
from jtv_cli.stores.sqlite import SqliteStore
from jtv_cli.text import text_hash

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from jtv_cli.records import Vectors
    from jtv_cli.stores import Store, Table
    from jtv_cli.stores.sqlite.table import SqliteTable


DIMENSIONS = 8
SPEC = TableSpec("documents", "model-a", "retrieval", DIMENSIONS)


def make(store: Store, spec: TableSpec = SPEC) -> Table:
    store.apply(spec, store.plan(spec, index=False))
    return store.open(spec.name)


def document(text: str, *occurrences: Occurrence) -> Document:
    return Document(text, text_hash(text), occurrences or (Occurrence("file.txt", 1),))


def documents(count: int, prefix: str = "text") -> list[Document]:
    return [
        document(f"{prefix} {number}", Occurrence(f"{prefix}.txt", number))
        for number in range(1, count + 1)
    ]


def vectors(count: int, seed: int = 0) -> Vectors:
    return np.random.default_rng(seed).normal(size=(count, DIMENSIONS)).astype(np.float32)


@contextmanager
def table_of(path: Path, vectors: Vectors) -> Iterator[SqliteTable]:
    """Make a table called `documents` that holds the vectors, with the ids 1, 2, 3 …"""
    spec = TableSpec("documents", "model", None, vectors.shape[1])
    with closing(SqliteStore(path, writable=True)) as store:
        store.apply(spec, store.plan(spec))
        table = store.open(spec.name)
        add(table, vectors)
        yield table


def add(table: SqliteTable, vectors: Vectors, prefix: str = "text", batch: int = 1000) -> None:
    """Add documents called `text 1`, `text 2` …"""
    for start in range(0, len(vectors), batch):
        part = vectors[start : start + batch]
        texts = [f"{prefix} {start + number}" for number in range(1, len(part) + 1)]
        table.add([Document(text, text_hash(text), [Occurrence()]) for text in texts], part)


def delete(table: SqliteTable, where: str) -> None:
    """Delete the documents of which that is true."""
    found = table.documents.execute(f'SELECT id FROM "{{name}}" WHERE {where}')
    table.delete([number for (number,) in found])


def recall(table: SqliteTable, queries: Vectors, k: int = 10) -> float:
    """Return how much of what an exact search finds the index finds, whichever of a tie."""
    found = total = 0
    exact = table.search(queries, k, exact=True).hits
    for nearest, hits in zip(exact, table.search(queries, k).hits, strict=True):
        farthest = nearest[-1].distance or 0
        found += sum((hit.distance or 0) <= farthest + 1e-6 for hit in hits)
        total += len(nearest)
    return found / total


READS: dict[str, Callable[[Table], object]] = {
    "count": lambda table: table.count(),
    "known": lambda table: table.known([text_hash("text 1")]),
    "note": lambda table: table.add_occurrences("text.txt", [SourceLine(1, 1)]),
    "search": lambda table: table.search(vectors(1), 1),
    "scan": lambda table: list(table.scan()),
    "scan with distances": lambda table: list(table.scan(vectors(1)[0])),
    "rank": lambda table: list(table.rank(vectors(1)[0])),
    "get": lambda table: table.get([1]),
    "matching": lambda table: list(table.matching(Filter("*"))),
    "read": lambda table: list(table.read()),
    "sources": lambda table: table.sources(),
    "places": lambda table: list(table.source_lines("text.txt")),
    "index status": lambda table: table.index_status(),
}
"""All ways to read a table that has a document."""
