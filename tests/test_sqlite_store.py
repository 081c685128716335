"""What is the embedded store's alone: its statements, its file."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
import pytest

from jtv_cli.errors import TableMismatch
from jtv_cli.records import SourceLine, TableSpec
from jtv_cli.stores.sqlite import SqliteStore
from jtv_cli.stores.sqlite.documents import HITS, KNOWN
from jtv_cli.stores.sqlite.occurrences import DELETE, LINES, STORED
from tables import DIMENSIONS, READS, SPEC, documents, make, vectors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """An empty table called `documents`, as sqlite3 sees it."""
    path = tmp_path / "jtv.db"
    store = SqliteStore(path, writable=True)
    spec = TableSpec("documents", "model", None, 8)
    store.apply(spec, store.plan(spec))
    store.close()
    connection = sqlite3.connect(path)
    yield connection
    connection.close()


def plan(connection: sqlite3.Connection, statement: str, parameters: int) -> str:
    rows = connection.execute(
        f"EXPLAIN QUERY PLAN {statement.format(name='documents', end_line='end_line')}",
        [None] * parameters,
    )
    return "\n".join(row[-1] for row in rows)


def test_known_texts_are_found_by_the_unique_index(connection: sqlite3.Connection) -> None:
    marks = KNOWN.count("?")
    steps = plan(connection, KNOWN, marks).splitlines()
    assert steps == ["SEARCH documents USING COVERING INDEX sqlite_autoindex_documents_1 (hash=?)"]


def test_a_file_read_again_walks_along_its_occurrences(connection: sqlite3.Connection) -> None:
    steps = plan(connection, STORED, 4)
    assert (
        "SEARCH documents_occurrences USING PRIMARY KEY (source=? AND line>? AND line<?)" in steps
    )
    assert "SCAN" not in steps


@pytest.mark.parametrize("lines", [(1, 5000), (0, 0)], ids=["far apart", "without a line"])
def test_what_is_known_of_few_places_is_found_without_reading_all(
    tmp_path: Path, lines: tuple[int, int]
) -> None:
    with closing(SqliteStore(tmp_path / "jtv.db", writable=True)) as store:
        table = store.open(make(store).spec.name)
        table.add(documents(5000), vectors(5000))
        table.add_occurrences("a.txt", [SourceLine(line, line) for line in range(1, 5001)])
        table.add_occurrences("a.txt", [SourceLine(0, number) for number in range(1, 5001)])
        steps = 0

        def count() -> int:
            nonlocal steps
            steps += 1
            return 0

        table.documents.connection.set_progress_handler(count, 10)
        places = [SourceLine(line, number) for line, number in zip(lines, (1, 5000), strict=True)]
        assert table.add_occurrences("a.txt", places) == 0
        assert steps < 100


def test_places_are_read_along_the_primary_key(connection: sqlite3.Connection) -> None:
    steps = plan(connection, LINES, 5)
    assert "SEARCH documents_occurrences USING PRIMARY KEY (source=? AND (line,document)>" in steps
    assert "TEMP B-TREE" not in steps
    steps = plan(connection, DELETE, 4)
    assert "PRIMARY KEY (source=? AND line=? AND document=?)" in steps


@pytest.mark.parametrize(
    ("which", "parameters"), [("> ? ORDER BY d.id LIMIT ?", 2), ("IN (?, ?, ?)", 3)]
)
def test_hits_find_their_first_occurrence_by_index(
    connection: sqlite3.Connection, which: str, parameters: int
) -> None:
    steps = plan(connection, HITS.format(vector="", which=which, fits=""), parameters)
    assert "SEARCH d USING INTEGER PRIMARY KEY" in steps
    for source in ("source>?", "source=?"):
        index = f"USING COVERING INDEX documents_by_document (document=? AND {source})"
        assert index in steps
    assert "TEMP B-TREE" not in steps
    # A subquery has one row at most.
    assert not re.search(r"SCAN (?!\(subquery|SUBQUERY)", steps)


def test_the_file_says_what_it_is(connection: sqlite3.Connection) -> None:
    def value(pragma: str) -> object:
        return connection.execute(f"PRAGMA {pragma}").fetchone()[0]

    assert value("application_id") == int.from_bytes(b"jtv1", "big")
    assert value("user_version") == 2
    assert value("page_size") == 16384
    assert value("journal_mode") == "wal"


@pytest.mark.parametrize("read", READS, ids=READS.keys())
@pytest.mark.parametrize("is_empty", [True, False], ids=["empty", "filled"])
def test_a_table_of_another_model_is_not_read_for_the_one_that_was_opened(
    tmp_path: Path, read: str, is_empty: bool
) -> None:
    path = tmp_path / "jtv.db"
    with closing(SqliteStore(path, writable=True)) as store:
        opened = make(store)
        opened.add(documents(1), vectors(1))
        store.drop(SPEC.name)
        anew = make(store, SPEC._replace(model="model-b", dimensions=2 * DIMENSIONS))
        if not is_empty:
            anew.add(documents(1), np.ones((1, 2 * DIMENSIONS), np.float32))
        with pytest.raises(TableMismatch, match="dropped while"):
            READS[read](opened)
