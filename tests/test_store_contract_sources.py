"""What every store must keep of sources: how they were read, where texts end, other names."""

from __future__ import annotations

import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from jtv_cli.errors import StoreError
from jtv_cli.records import Occurrence, SourceCount, SourceLine
from jtv_cli.stores import open_store
from jtv_cli.stores.sqlite import SqliteStore
from jtv_cli.text import text_hash
from tables import DIMENSIONS, SPEC, document, documents, make, vectors
from tidb_cluster import Cluster

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import OpenStore
    from jtv_cli.stores import Store, Table

DETAILS = {"input": "csv", "text_fields": ["subject", "body"], "delimiter": ";", "size": 1 << 40}


class TestDetails:
    def test_they_come_back_as_they_were(self, table: Table, open_one: OpenStore) -> None:
        table.add(documents(2), vectors(2))
        assert table.source_details(["text.txt", "other.txt"]) == {}
        table.set_source_details({"text.txt": DETAILS})
        for each in (table, open_one().open("documents")):
            assert each.source_details(["text.txt", "other.txt"]) == {"text.txt": DETAILS}
            assert each.source_details([]) == {}
            assert each.sources() == [SourceCount("text.txt", 2, 2, DETAILS)]

    def test_they_can_be_replaced_and_removed(self, table: Table) -> None:
        table.add(documents(1), vectors(1))
        for details in (DETAILS, {"input": "lines"}, {}):
            table.set_source_details({"text.txt": details})
            assert table.source_details(["text.txt"]) == {"text.txt": details}
        table.set_source_details({"text.txt": None})
        table.set_source_details({})
        assert table.source_details(["text.txt"]) == {}
        assert table.sources() == [SourceCount("text.txt", 1, 1)]

    def test_of_a_source_to_come_and_of_one_that_is_gone(self, table: Table) -> None:
        table.set_source_details({"text.txt": DETAILS, "漢字/🦣.csv": {"a": "it's %s {name}"}})
        assert table.source_details(["text.txt"]) == {}
        assert table.sources() == []
        table.add(
            [document("a", Occurrence("text.txt", 1), Occurrence("漢字/🦣.csv", 1))], vectors(1)
        )
        assert table.source_details(["text.txt"]) == {"text.txt": DETAILS}
        assert table.source_details(["漢字/🦣.csv"]) == {"漢字/🦣.csv": {"a": "it's %s {name}"}}
        table.delete([hit.id for hit in table.scan()])
        assert table.source_details(["text.txt"]) == {}

    def test_of_very_many_sources(self, table: Table) -> None:
        names = [f"{'x' * 100}/{number}.md" for number in range(2500)]
        table.add([document("a", *(Occurrence(name, 1) for name in names))], vectors(1))
        details = {name: {"number": number} for number, name in enumerate(names)}
        table.set_source_details(details)
        assert table.source_details(names) == details


class TestEndLine:
    def test_it_comes_back(self, table: Table) -> None:
        where = [Occurrence("a.md", 3, {"heading": "x"}, 9), Occurrence("a.md", 12)]
        table.add([document("a chunk", *where)], vectors(1))
        [stored] = table.get([1])
        assert stored.occurrences == where
        assert [each.occurrences for each in table.read()] == [where]
        assert list(table.source_lines("a.md")) == [
            SourceLine(3, 1, None, 9),
            SourceLine(12, 1, None, None),
        ]

    def test_one_that_changed_replaces_the_old(self, table: Table) -> None:
        table.add([document("a chunk", Occurrence("a.md", 3, None, 9))], vectors(1))
        for end_line, news in ((9, 0), (10, 1), (10, 0), (None, 1), (None, 0), (4, 1)):
            assert table.add_occurrences("a.md", [SourceLine(3, 1, None, end_line)]) == news
            [stored] = table.get([1])
            assert stored.occurrences == [Occurrence("a.md", 3, None, end_line)]
        assert table.remove("a.md", [SourceLine(3, 1)]).documents == 1


class TestRenaming:
    def test_to_a_new_name(self, table: Table) -> None:
        table.add(documents(3), vectors(3))
        table.set_source_details({"text.txt": DETAILS})
        assert table.rename_source("text.txt", "/home/ada/text.txt") == 3
        assert table.sources() == [SourceCount("/home/ada/text.txt", 3, 3, DETAILS)]
        assert {hit.source for hit in table.scan()} == {"/home/ada/text.txt"}
        # A source of the old name is another one.
        assert table.add_occurrences("text.txt", [SourceLine(1, 1)]) == 1
        assert [count.source for count in table.sources()] == ["/home/ada/text.txt", "text.txt"]

    def test_to_a_name_in_use(self, table: Table) -> None:
        both = [Occurrence("a.md", 1, None, 2), Occurrence("b.md", 1, {"x": 1})]
        table.add([document("both", *both), document("one", Occurrence("a.md", 5))], vectors(2))
        assert table.rename_source("a.md", "b.md") == 2
        assert table.sources() == [SourceCount("b.md", 2, 2)]
        first, second = table.read()
        assert first.occurrences == [Occurrence("b.md", 1, {"x": 1})]
        assert second.occurrences == [Occurrence("b.md", 5)]
        assert table.add_occurrences("a.md", [SourceLine(7, 1)]) == 1

    @pytest.mark.parametrize("own", [None, {"input": "lines"}])
    def test_details_of_the_new_name_are_kept(self, table: Table, own: Any) -> None:
        table.add([document("a", Occurrence("a.md", 1), Occurrence("b.md", 2))], vectors(1))
        table.set_source_details({"a.md": DETAILS, "b.md": own})
        table.rename_source("a.md", "b.md")
        assert table.source_details(["a.md", "b.md"]) == {"b.md": own or DETAILS}

    def test_one_that_is_not_there(self, table: Table) -> None:
        table.add(documents(1), vectors(1))
        assert table.rename_source("none.txt", "text.txt") == 0
        assert table.rename_source("text.txt", "text.txt") == 0
        assert table.sources() == [SourceCount("text.txt", 1, 1)]

    def test_in_a_table_made_anew_nothing_is_renamed(
        self, table: Table, open_one: OpenStore
    ) -> None:
        other = open_one()
        other.drop("documents")
        make(other).add(documents(1), vectors(1))
        for change in (
            lambda: table.rename_source("text.txt", "a"),
            lambda: table.set_source_details({"text.txt": DETAILS}),
        ):
            with pytest.raises(StoreError, match="dropped"):
                change()
        assert other.open("documents").sources() == [SourceCount("text.txt", 1, 1)]


OLD_FILE = """
PRAGMA page_size = 16384;
PRAGMA journal_mode = WAL;
CREATE TABLE jtv_tables (
    name TEXT PRIMARY KEY COLLATE NOCASE,
    model TEXT NOT NULL,
    task TEXT,
    dimensions INTEGER NOT NULL,
    metric TEXT NOT NULL,
    identity TEXT NOT NULL,
    documents INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
"""
OLD_TABLE = """
CREATE TABLE "{name}" (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    hash BLOB NOT NULL UNIQUE,
    vector BLOB NOT NULL,
    content TEXT NOT NULL
);
CREATE TABLE "{name}_sources" (
    id INTEGER PRIMARY KEY,
    source TEXT NOT NULL UNIQUE
);
CREATE TABLE "{name}_occurrences" (
    source INTEGER NOT NULL,
    line INTEGER NOT NULL,
    document INTEGER NOT NULL REFERENCES "{name}" (id) ON DELETE CASCADE,
    metadata TEXT,
    PRIMARY KEY (source, line, document)
) WITHOUT ROWID;
CREATE INDEX "{name}_by_document" ON "{name}_occurrences" (document);
INSERT INTO jtv_tables VALUES ('{name}', 'model-a', 'retrieval', 8, 'cosine', '{identity}', 1);
INSERT INTO "{name}_sources" VALUES (1, 'a.txt'), (2, 'b.txt');
"""


def old_file(path: Path) -> None:
    """Write a file of format 1 with two tables of one document each."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(OLD_FILE)
        for name in ("documents", "others"):
            connection.executescript(OLD_TABLE.format(name=name, identity=f"{name:x<32}"))
            connection.execute(
                f"INSERT INTO {name} VALUES (1, ?, ?, 'old')",
                (text_hash("old"), vectors(1)[0].tobytes()),
            )
            connection.execute(
                f"INSERT INTO {name}_occurrences VALUES (1, 1, 1, NULL), (2, 7, 1, '{{\"x\":1}}')"
            )
        connection.commit()
        connection.executescript(
            f"PRAGMA application_id = {int.from_bytes(b'jtv1', 'big')};PRAGMA user_version = 1;"
        )


def format_of(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


OCCURRENCES = [Occurrence("a.txt", 1), Occurrence("b.txt", 7, {"x": 1})]


def check_old(table: Table) -> None:
    """Read all there is in a table of an old format."""
    [hit] = table.scan()
    assert (hit.content, hit.source, hit.line) == ("old", "a.txt", 1)
    [[found]] = table.search(vectors(1), 1).hits
    assert found.content == "old"
    [stored] = table.get([1], vectors=True)
    assert stored.occurrences == OCCURRENCES
    assert [each.occurrences for each in table.read()] == [OCCURRENCES]
    assert table.sources() == [SourceCount("a.txt", 1, 1), SourceCount("b.txt", 1, 1)]
    assert table.source_details(["a.txt"]) == {}
    assert list(table.source_lines("b.txt")) == [SourceLine(7, 1)]


def write_old(table: Table) -> None:
    """Write into a table what its format can hold, and read it again."""
    assert table.add(documents(2), vectors(2, seed=3)).documents == 2
    assert table.add_occurrences("a.txt", [SourceLine(1, 1), SourceLine(2, 1)]) == 1
    assert table.add_occurrences("b.txt", [SourceLine(7, 1, {"x": 2})]) == 1
    assert table.rename_source("text.txt", "c.txt") == 2
    assert table.remove("c.txt", [SourceLine(2, 3)]).documents == 1
    [stored] = table.get([1])
    assert [place.line for place in stored.occurrences] == [1, 2, 7]
    assert table.delete([2]).documents == 1


MIGRATIONS = {
    "details": lambda table: table.set_source_details({"a.txt": DETAILS}),
    "an end line": lambda table: table.add(
        [document("new", Occurrence("a.txt", 2, None, 5))], vectors(1, seed=2)
    ),
    "an end line alone": lambda table: table.add_occurrences(
        "a.txt", [SourceLine(1, 1, None, 2), SourceLine(2, 1)]
    ),
    "a merge": lambda table: table.rename_source("a.txt", "b.txt"),
}


class TestOldFiles:
    def test_one_is_read_without_a_change(self, tmp_path: Path) -> None:
        path = tmp_path / "jtv.db"
        old_file(path)
        before = path.read_bytes()
        for writable in (False, True):
            with closing(SqliteStore(path, writable=writable)) as store:
                assert store.plan(SPEC) == []
                check_old(store.open("documents"))
        assert path.read_bytes() == before

    def test_what_it_can_hold_is_written_without_migration(self, tmp_path: Path) -> None:
        path = tmp_path / "jtv.db"
        old_file(path)
        with closing(SqliteStore(path, writable=True)) as store:
            write_old(store.open("documents"))
        assert format_of(path) == 1

    @pytest.mark.parametrize("first", MIGRATIONS)
    def test_what_it_cannot_hold_migrates_it(self, tmp_path: Path, first: str) -> None:
        path = tmp_path / "jtv.db"
        old_file(path)
        with (
            closing(SqliteStore(path, writable=True)) as store,
            closing(SqliteStore(path, writable=True)) as another,
        ):
            table, seen = store.open("documents"), another.open("documents")
            check_old(seen)
            MIGRATIONS[first](table)
            # One that was opened before reads and writes what is new.
            assert list(seen.read()) == list(table.read())
            assert seen.sources() == table.sources()
            seen.set_source_details({"b.txt": {"input": "lines"}})
            assert table.source_details(["b.txt"]) == {"b.txt": {"input": "lines"}}
            check_old(store.open("others"))
            store.open("others").set_source_details({"a.txt": DETAILS})
        assert format_of(path) == 2

    def test_a_new_table_in_it_is_of_the_new_format(self, tmp_path: Path) -> None:
        path = tmp_path / "jtv.db"
        old_file(path)
        with closing(SqliteStore(path, writable=True)) as store:
            table = make(store, SPEC._replace(name="new"))
            table.set_source_details({"a.txt": DETAILS})
            check_old(store.open("documents"))
        assert format_of(path) == 2

    def test_interrupted_nothing_is_changed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "jtv.db"
        old_file(path)
        monkeypatch.setattr("jtv_cli.stores.sqlite.occurrences._SET_DETAILS", "SELECT broken")
        with closing(SqliteStore(path, writable=True)) as store:
            with pytest.raises(StoreError, match="broken"):
                store.open("documents").set_source_details({"a.txt": DETAILS})
            check_old(store.open("documents"))
            monkeypatch.undo()
            store.open("documents").set_source_details({"a.txt": DETAILS})
        assert format_of(path) == 2

    def test_one_made_newer_meanwhile_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "jtv.db"
        old_file(path)
        with closing(SqliteStore(path, writable=True)) as store:
            table = store.open("documents")
            with closing(sqlite3.connect(path)) as other:
                other.execute("PRAGMA user_version = 3")
            for use in (table.count, lambda: table.add(documents(1), vectors(1))):
                with pytest.raises(StoreError, match="newer jtv"):
                    use()


OLD_TIDB = (
    """
    CREATE TABLE documents_sources (
        id BIGINT NOT NULL AUTO_INCREMENT, source MEDIUMTEXT NOT NULL,
        source_hash BINARY(32) NOT NULL, PRIMARY KEY (id), UNIQUE (source_hash)
    ) CHARSET=utf8mb4 COLLATE utf8mb4_bin AUTO_ID_CACHE=1
    COMMENT='{"jtv": 1, "part_of": "documents"}'
    """,
    """
    CREATE TABLE documents_occurrences (
        document BIGINT NOT NULL, source BIGINT NOT NULL, line BIGINT NOT NULL,
        metadata MEDIUMTEXT, PRIMARY KEY (document, source, line),
        CONSTRAINT by_source UNIQUE (source, line, document)
    ) CHARSET=utf8mb4 COLLATE utf8mb4_bin COMMENT='{"jtv": 1, "part_of": "documents"}'
    """,
    f"""
    CREATE TABLE documents (
        id BIGINT NOT NULL AUTO_INCREMENT, content MEDIUMTEXT NOT NULL,
        content_vec VECTOR({DIMENSIONS}) NOT NULL, content_hash BINARY(32) NOT NULL,
        PRIMARY KEY (id), UNIQUE (content_hash)
    ) CHARSET=utf8mb4 COLLATE utf8mb4_bin AUTO_ID_CACHE=1
    COMMENT='{{"jtv": 1, "model": "model-a", "task": "retrieval", "dimensions": {DIMENSIONS},
 "metric": "cosine", "identity": "0123456789abcdef0123456789abcdef"}}'
    """,
    f"""
    INSERT INTO documents VALUES (
        1, 'old', '{vectors(1)[0].tolist()}', x'{text_hash("old").hex()}'
    )
    """,
    "INSERT INTO documents_sources VALUES {}".format(
        ",".join(
            f"({number}, '{name}', x'{text_hash(name).hex()}')"
            for number, name in ((1, "a.txt"), (2, "b.txt"))
        )
    ),
    "INSERT INTO documents_occurrences VALUES (1, 1, 1, NULL), (1, 2, 7, '{\"x\":1}')",
)


@pytest.mark.tidb
class TestOldTidbTables:
    @pytest.fixture
    def cluster(self, tidb: str) -> Cluster:
        return Cluster(tidb)

    @pytest.fixture
    def open_one(self, cluster: Cluster, open_one: OpenStore) -> OpenStore:
        for statement in OLD_TIDB:
            cluster.execute(statement)
        return open_one

    @pytest.fixture
    def database(self, tidb: str) -> str:
        return tidb

    def test_one_is_read_without_a_change(self, store: Store) -> None:
        assert store.plan(SPEC, index=False) == []
        check_old(store.open("documents"))

    def test_what_it_can_hold_is_written_without_migration(
        self, store: Store, cluster: Cluster
    ) -> None:
        write_old(store.open("documents"))
        assert format_in_tidb(cluster) == 1
        assert columns_in_tidb(cluster) == {}

    @pytest.mark.parametrize("first", MIGRATIONS)
    def test_what_it_cannot_hold_migrates_it(
        self, open_one: OpenStore, cluster: Cluster, first: str
    ) -> None:
        table, seen = (open_one().open("documents") for _ in range(2))
        check_old(seen)
        MIGRATIONS[first](table)
        # One that was opened before still writes to what is the same table, and migrates too.
        assert seen.add_occurrences("c.txt", [SourceLine(1, 1)]) == 1
        seen.set_source_details({"b.txt": {"input": "lines"}})
        assert list(seen.read()) == list(table.read())
        assert seen.sources() == open_one().open("documents").sources()
        assert format_in_tidb(cluster) == 2
        assert columns_in_tidb(cluster) == {"details": "documents_sources"} | {
            "end_line": "documents_occurrences"
        }
        assert open_one().plan(SPEC, index=False) == []

    @pytest.mark.parametrize("steps", [1, 2])
    def test_interrupted_it_goes_on(
        self, open_one: OpenStore, cluster: Cluster, steps: int
    ) -> None:
        cluster.execute("ALTER TABLE documents_sources ADD COLUMN details MEDIUMTEXT")
        if steps > 1:
            cluster.execute("ALTER TABLE documents_occurrences ADD COLUMN end_line BIGINT")
        check_old(open_one().open("documents"))
        table = open_one().open("documents")
        table.set_source_details({"a.txt": DETAILS})
        assert open_one().open("documents").source_details(["a.txt"]) == {"a.txt": DETAILS}
        assert format_in_tidb(cluster) == 2

    def test_many_at_once(self, open_one: OpenStore, cluster: Cluster) -> None:
        tables = [open_one().open("documents") for _ in range(4)]

        def use(number: int) -> int:
            where = Occurrence(f"{number}.txt", 1, None, 2)
            tables[number].add([document(f"text {number}", where)], vectors(1, seed=number))
            tables[number].set_source_details({f"{number}.txt": {"number": number}})
            return tables[number].add_occurrences("a.txt", [SourceLine(8 + number, 1)])

        with ThreadPoolExecutor(4) as pool:
            assert sum(pool.map(use, range(4))) == 4
        assert len(open_one().open("documents").sources()) == 6
        assert format_in_tidb(cluster) == 2

    def test_without_the_privilege_details_are_left_out(
        self, store: Store, cluster: Cluster, tidb: str
    ) -> None:
        said: list[str] = []
        limited = cluster.limited_url(tidb.rpartition("/")[2], "SELECT, INSERT, UPDATE, DELETE")
        with closing(open_store(limited, writable=True, notice=said.append)) as other:
            table = other.open("documents")
            for _ in range(2):
                table.set_source_details({"a.txt": DETAILS})
                where = Occurrence("a.txt", 2, None, 5)
                table.add([document("new", where)], vectors(1, seed=2))
        assert [line for line in said if "ALTER privilege" in line] == said
        assert len(said) == 1
        assert format_in_tidb(cluster) == 1
        assert store.open("documents").count() == 2

    def test_a_newer_one_is_refused(self, store: Store, cluster: Cluster) -> None:
        cluster.execute("ALTER TABLE documents COMMENT = '{\"jtv\": 3}'")
        with pytest.raises(StoreError, match="newer jtv"):
            store.open("documents")

    def test_a_table_half_made_by_an_older_version_is_made_whole(
        self, store: Store, cluster: Cluster
    ) -> None:
        cluster.execute("DROP TABLE documents")
        cluster.execute("DELETE FROM documents_sources")
        cluster.execute("DELETE FROM documents_occurrences")
        table = make(store)
        table.add([document("new", Occurrence("a.txt", 2, None, 5))], vectors(1))
        table.set_source_details({"a.txt": DETAILS})
        assert table.sources() == [SourceCount("a.txt", 1, 1, DETAILS)]


def format_in_tidb(cluster: Cluster) -> int:
    [[comment]] = cluster.execute(
        "SELECT table_comment FROM information_schema.tables"
        " WHERE table_schema = DATABASE() AND table_name = 'documents'"
    )
    return int(json.loads(comment)["jtv"])


def columns_in_tidb(cluster: Cluster) -> dict[str, str]:
    """The columns of format 2, with their tables."""
    return dict(
        cluster.execute(
            "SELECT column_name, table_name FROM information_schema.columns WHERE table_schema ="
            " DATABASE() AND column_name IN ('details', 'end_line')"
        )
    )
