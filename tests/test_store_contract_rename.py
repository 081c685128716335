"""Renaming a table, over each kind of store."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from jtv_cli.errors import NoTable, TableDropped, TableExists, TableMismatch
from jtv_cli.records import IndexState, Occurrence, SourceLine, TableSpec
from jtv_cli.stores.sqlite import SqliteStore
from jtv_cli.stores.sqlite.index import SEGMENT
from tables import DIMENSIONS, READS, document, documents, make, table_of, vectors
from tidb_cluster import Cluster

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import OpenStore
    from jtv_cli.records import StoredDocument
    from jtv_cli.stores import Store, Table

OTHER = TableSpec("others", "model-b", None, DIMENSIONS)


def content(table: Table) -> list[StoredDocument]:
    return [
        each._replace(vector=None if each.vector is None else each.vector.tolist())
        for each in table.read(vectors=True)
    ]


def fill(table: Table) -> None:
    places = [Occurrence("a.txt", 1, {"lang": "en"}, 3), Occurrence(None, 7), Occurrence("b.txt")]
    table.add([document("one", *places), *documents(5)], vectors(6))
    table.set_source_details({"a.txt": {"input": "lines"}, "b.txt": {"file": False}})


class TestRenaming:
    def test_everything_goes_along(self, store: Store, open_one: OpenStore) -> None:
        table = make(store)
        fill(table)
        before, sources = content(table), table.sources()
        store.rename(table.spec, "notes")
        renamed = open_one().open("notes")
        assert renamed.spec == table.spec._replace(name="notes") or renamed.spec == table.spec
        assert content(renamed) == before
        assert renamed.sources() == sources
        assert [spec.name for spec in store.tables()] == ["notes"]
        with pytest.raises(NoTable):
            store.open("documents")
        renamed.add([document("last")], vectors(1, seed=1))
        assert content(renamed)[-1].id > before[-1].id
        [[hit]] = renamed.search(vectors(1), 1).hits
        assert (hit.content, hit.source, hit.line, hit.end_line) == ("one", "a.txt", 1, 3)
        removed = renamed.remove("a.txt", [SourceLine(1, hit.id)])
        assert (removed.documents, removed.occurrences) == (0, 1)

    def test_the_old_name_is_free(self, store: Store) -> None:
        fill(make(store))
        store.rename(store.open("documents").spec, "notes")
        again = make(store)
        assert again.count() == 0
        fill(again)
        store.drop("notes")
        assert (again.count(), store.open("documents").count()) == (6, 6)
        store.rename(again.spec, "notes")
        assert content(make(store)) == []
        assert store.open("notes").count() == 6

    def test_in_place_of_another(self, store: Store) -> None:
        fill(make(store, OTHER))
        table = make(store)
        table.add(documents(2), vectors(2))
        before = content(table)
        store.rename(table.spec, "others", replacing=store.open("others").spec)
        assert [spec.name for spec in store.tables()] == ["others"]
        renamed = store.open("others")
        assert (renamed.spec.model, renamed.spec.identity) == ("model-a", table.spec.identity)
        assert content(renamed) == before
        store.drop("others")

    def test_nothing_is_left_of_what_was_replaced(self, store: Store, database: str) -> None:
        fill(make(store, OTHER))
        fill(make(store))
        store.rename(store.open("documents").spec, "others", replacing=store.open("others").spec)
        store.drop("others")
        if "://" in database:
            assert Cluster(database).execute("SHOW TABLES") == []
        else:
            import sqlite3

            with closing(sqlite3.connect(database)) as connection:
                names = connection.execute("SELECT name FROM sqlite_master WHERE name LIKE '%o%'")
                assert {name for (name,) in names} <= {"sqlite_sequence"}

    def test_another_table_has_the_name(self, store: Store) -> None:
        fill(make(store, OTHER))
        table = make(store)
        stale = store.open("others").spec._replace(identity="0" * 32)
        for replacing in (None, stale):
            with pytest.raises(TableExists, match="others already exists") as caught:
                store.rename(table.spec, "others", replacing=replacing)
            assert caught.value.hint
            assert "jtv tables rename --replace documents others" in caught.value.hint
        assert [spec.name for spec in store.tables()] == ["documents", "others"]
        assert store.open("others").count() == 6

    def test_what_is_replaced_may_be_gone(self, store: Store) -> None:
        other = make(store, OTHER).spec
        table = make(store)
        store.drop("others")
        store.rename(table.spec, "others", replacing=other)
        assert [spec.name for spec in store.tables()] == ["others"]

    def test_a_table_that_was_made_anew_is_another(self, store: Store) -> None:
        old = make(store).spec
        store.drop("documents")
        make(store)
        with pytest.raises(TableDropped):
            store.rename(old, "notes")
        assert [spec.name for spec in store.tables()] == ["documents"]


class TestWhoeverHasOpenedIt:
    """Either gets the right answer or an error."""

    @pytest.mark.parametrize("read", READS, ids=READS.keys())
    def test_reads(self, store: Store, open_one: OpenStore, read: str, database: str) -> None:
        opened = make(store)
        fill(opened)
        READS[read](opened)
        before = repr(READS[read](opened))
        open_one().rename(opened.spec, "notes")
        if "://" in database:
            with pytest.raises(TableMismatch, match="renamed or dropped"):
                READS[read](opened)
        else:
            assert repr(READS[read](opened)) == before
            assert opened.spec.name == "notes"

    def test_writes(self, store: Store, open_one: OpenStore, database: str) -> None:
        opened = make(store)
        other = open_one()
        other.rename(opened.spec, "notes")
        if "://" in database:
            with pytest.raises(TableMismatch, match="renamed or dropped"):
                opened.add(documents(1), vectors(1))
            assert other.open("notes").count() == 0
        else:
            opened.reserve(1)
            opened.add(documents(1), vectors(1))
            assert other.open("notes").count() == 1

    @pytest.mark.parametrize(
        "read", ["search", "scan", "scan with distances", "rank", "get", "read"]
    )
    def test_another_table_has_its_name_now(
        self, store: Store, open_one: OpenStore, read: str
    ) -> None:
        """Its vectors, of as many dimensions, must not be compared with those of the old model."""
        opened = make(store)
        fill(opened)
        other = open_one()
        fill(make(other, OTHER))
        other.rename(other.open("others").spec, "documents", replacing=opened.spec)
        with pytest.raises(TableMismatch, match="renamed or dropped"):
            READS[read](opened)
        with pytest.raises(TableMismatch, match="renamed or dropped"):
            opened.add(documents(1, "new"), vectors(1))
        assert other.open("documents").count() == 6


def test_the_indexes_of_an_embedded_table_go_along(tmp_path: Path) -> None:
    path = tmp_path / "jtv.db"
    many = vectors(SEGMENT + 100)
    with table_of(path, many) as table, closing(SqliteStore(path, writable=True)) as store:
        table.build_full_text()
        nearest = table.search(many[7:8], 10).hits
        best = table.search_text(["text 77"], 10).hits
        store.rename(table.spec, "notes")
        make(store)
        renamed = store.open("notes")
        for _ in range(2):
            assert renamed.index_status().state is IndexState.READY
            assert renamed.index_status().indexed == SEGMENT
            assert renamed.full_text_status().indexed == SEGMENT + 100
            assert renamed.search(many[7:8], 10).hits == nearest
            assert renamed.search_text(["text 77"], 10).hits == best
            # Back again, in place of one that has both.
            other = store.open("documents")
            if other.spec.identity != renamed.spec.identity:
                other.build_full_text()
                store.rename(renamed.spec, "documents", replacing=other.spec)
                renamed = store.open("documents")
        assert [spec.name for spec in store.tables()] == ["documents"]
        renamed.add([document("a walrus")], vectors(1))
        assert renamed.search_text(["walrus"], 1).hits[0][0].content == "a walrus"


def test_a_table_with_the_name_of_a_full_text_index_is_kept(tmp_path: Path) -> None:
    from jtv_cli.errors import StoreError

    with closing(SqliteStore(tmp_path / "jtv.db", writable=True)) as store:
        other = make(store, OTHER._replace(name="documents_full_text"))
        other.add(documents(3), vectors(3))
        table = make(store)
        with pytest.raises(StoreError, match="already"):
            table.build_full_text()
        assert store.open("documents_full_text").count() == 3
