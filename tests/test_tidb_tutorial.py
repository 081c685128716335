"""The table of TiDB's tutorial, as it stands: what can be read of it, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import sqlalchemy as sa

from jtv_cli.errors import StoreError
from jtv_cli.records import Filter, SourceLine, TableSpec
from jtv_cli.stores import open_store
from jtv_cli.stores.tidb import TidbStore
from jtv_cli.text import text_hash

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "jinaai_tidb_demo_documents"
SPEC = TableSpec(NAME, "jina-embeddings-v2-base-en", None, 768)
STATEMENTS = (
    f"CREATE TABLE {NAME} (id INT AUTO_INCREMENT PRIMARY KEY, content VARCHAR(255) NOT NULL,"
    " content_vec VECTOR(768))",
    f"INSERT INTO {NAME} (content, content_vec) VALUES ('one', '{[1] * 768}'),"
    f" ('one', '{[1] * 768}'), ('two', '{[0.5, -1] * 384}'), ('none', NULL)",
)


@pytest.fixture
def store(tidb: str) -> Iterator[TidbStore]:
    found = open_store(tidb, writable=True)
    assert isinstance(found, TidbStore)
    engine = sa.create_engine(tidb)
    with engine.begin() as connection:
        for statement in STATEMENTS:
            connection.execute(sa.text(statement.replace(":", r"\:")))
    engine.dispose()
    yield found
    found.close()


def test_documents_are_read_without_occurrences(store: TidbStore) -> None:
    table = store.open(NAME)
    read = list(table.read(vectors=True))
    assert [(one.id, one.text) for one in read] == [(1, "one"), (2, "one"), (3, "two"), (4, "none")]
    assert [one.hash for one in read[:2]] == [text_hash("one")] * 2
    assert all(one.occurrences == [] for one in read)
    assert read[3].vector is None
    assert read[2].vector is not None
    np.testing.assert_array_equal(read[2].vector[:3], np.array([0.5, -1, 0.5], np.float32))
    [two] = table.get([3])
    assert two == read[2]._replace(vector=None)
    assert table.sources() == []
    assert list(table.source_lines("a.txt")) == list(table.source_lines(None)) == []


def test_nothing_fits_a_filter(store: TidbStore) -> None:
    query = np.ones((2, 768), np.float32)
    table = store.open(NAME)
    found = table.search(query, 3, filter=Filter("*"), explain=True)
    assert found.hits == [[], []]
    assert "tutorial" in found.explanation


def test_nothing_is_removed_before_it_is_adopted(store: TidbStore) -> None:
    table = store.open(NAME)
    with pytest.raises(StoreError, match="jtv init"):
        table.delete([1])
    with pytest.raises(StoreError, match="jtv init"):
        table.remove("a.txt", [SourceLine(1, 1)])
    assert table.count() == 4
    store.apply(SPEC, store.plan(SPEC, index=False))
    table = store.open(NAME)
    assert len(list(table.read())) == 4
    assert table.delete([1, 4]).documents == 2
    assert [one.text for one in table.read()] == ["one", "two"]


def test_places_have_an_index(store: TidbStore) -> None:
    store.apply(SPEC, store.plan(SPEC, index=False))
    rows = store._database.read(
        lambda connection: connection.rows(f"SHOW INDEX FROM {NAME}_occurrences")
    )
    columns = [row[4] for row in rows if row[2] == "by_source"]
    assert columns == ["source", "line", "document"]


def test_more_dimensions_than_tidb_takes(store: TidbStore) -> None:
    with pytest.raises(StoreError, match="20,000 dimensions"):
        store.plan(TableSpec("large", "model", None, 20_000))
