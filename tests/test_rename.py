"""`jtv tables rename`, on both stores, and what others see of it."""

from __future__ import annotations

import subprocess
from contextlib import closing
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from conftest import Jtv
from jtv_cli.errors import NoFullText, StoreError
from jtv_cli.stores import open_store
from tables import SPEC, make
from terminal import Terminal
from tidb_cluster import Cluster
from tidb_proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from jina_api import Reply
    from jina_server import JinaServer
    from tidb_cluster import TidbServer


@pytest.fixture
def two(on_each_store: Jtv) -> Jtv:
    """`notes` has two documents, and `others` has one."""
    for table, texts in (("notes", "one\ntwo\n"), ("others", "three\n")):
        on_each_store.ok("init", "--no-index", "--table", table)
        on_each_store.ok("ingest", "-", "--source", table, "--table", table, stdin=texts)
    return on_each_store


def tables(jtv: Jtv) -> list[str]:
    return [row[0] for row in jtv.ok("tables").rows]


def texts(jtv: Jtv, table: str) -> list[str]:
    return jtv.ok("list", "--table", table, "-f", "text").stdout.splitlines()


def test_a_table_gets_another_name(two: Jtv) -> None:
    result = two.ok("tables", "rename", "notes", "renamed")
    assert result.stdout == ""
    assert result.stderr.startswith("Renamed table notes to renamed\n")
    assert "table renamed (model hashing-v1) in " in result.last_line
    assert tables(two) == ["others", "renamed"]
    assert texts(two, "renamed") == ["one", "two"]
    two.ok("ingest", "-", "--table", "renamed", stdin="one\nthree\n")
    assert texts(two, "renamed") == ["one", "two", "three"]
    result = two("search", "--table", "notes", "one")
    assert result.code == 5
    assert 'no table "notes"' in result.error


def test_in_place_of_another(two: Jtv) -> None:
    command = ("tables", "rename", "notes", "others")
    result = two(*command)
    assert result.code == 5
    assert result.error.splitlines() == [
        "jtv: error: table others already exists",
        "hint: drop it for this one with: jtv tables rename --replace notes others",
    ]
    result = two(*command, "--replace")
    assert result.code == 2
    assert "this drops table others with 1 document (model hashing-v1) in " in result.error
    assert "replacing it with table notes with 2 documents (model hashing-v1)" in result.error
    assert tables(two) == ["notes", "others"]
    [report] = two.ok(*command, "--replace", "--yes", "--json").records
    assert (report["from"], report["table"], report["replaced"]) == ("notes", "others", True)
    assert tables(two) == ["others"]
    assert texts(two, "others") == ["one", "two"]


@pytest.mark.parametrize(("answer", "code"), [("n", 2), ("y", 0)])
def test_on_a_terminal_it_asks(two: Jtv, answer: str, code: int) -> None:
    with Terminal(two, "tables", "rename", "--replace", "notes", "others") as terminal:
        terminal.wait_for("[y/N]")
        terminal.type(f"{answer}\n")
        assert terminal.wait() == code
    assert ("nothing was renamed" in terminal.screen) == (code == 2)
    assert texts(two, "others") == (["three"] if code else ["one", "two"])


def test_names_that_cannot_be_meant(two: Jtv) -> None:
    for names, code, says in (
        (("nothing", "other"), 5, 'no table "nothing" in '),
        (("notes", "NOTES"), 2, "notes and NOTES are the same name"),
        (("notes", "a b"), 2, "invalid table name 'a b' (NEW)"),
        (("notes", "notes_sources"), 2, "is reserved"),
        (("notes", "others_full_text"), 2, "is reserved"),
        (("notes", "others_full_text_data"), 2, "is reserved"),
        (("notes",), 2, "missing argument 'NEW'"),
    ):
        result = two("tables", "rename", *names, "--replace", "--yes")
        assert result.code == code
        assert says in result.error
    assert tables(two) == ["notes", "others"]


def test_the_hint_repeats_the_database(jtv: Jtv) -> None:
    for table in ("a", "b"):
        jtv.ok("init", "--table", table, "--database", "x.db", "--model", "hashing-v1")
    result = jtv("tables", "rename", "a", "b", "--database", "x.db")
    assert result.error.endswith(": jtv tables rename --database x.db --replace a b")
    jtv.ok("tables", "rename", "--database", "x.db", "--replace", "a", "b", "--yes")


def test_searches_find_the_one_table_or_the_other(two: Jtv) -> None:
    """Tables change places all the time, and no search finds nothing, or fails."""
    two.ok("tables", "rename", "others", "spare")
    problems: list[str] = []
    is_done = False

    def search() -> None:
        while not is_done:
            result = two("search", "two", "--table", "notes", "-f", "text")
            lines = set(result.stdout.splitlines())
            is_clean = result.code == 5 and "renamed or dropped while" in result.error
            if not (is_clean or (result.code == 0 and lines in ({"one", "two"}, {"three"}))):
                problems.append(result.stdout + result.stderr)

    threads = [Thread(target=search) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(4):
        two.ok("tables", "rename", "--replace", "--yes", "spare", "notes")
        two.ok("init", "--no-index", "--table", "spare")
        lines = "one\ntwo\n" if number % 2 == 0 else "three\n"
        two.ok("ingest", "-", "--table", "spare", stdin=lines)
    is_done = True
    for thread in threads:
        thread.join()
    assert problems == []


class TestWhileACommandWaitsForTheApi:
    """Somebody else renames its table meanwhile."""

    TEXTS = "".join(f"line {number}\n" for number in range(700))

    @pytest.fixture
    def user(self, keyed: Jtv, user_store: str) -> Jtv:  # noqa: ARG002
        keyed.ok("init", "--no-index", "--table", "notes")
        return keyed

    @staticmethod
    def during(api: JinaServer, action: Callable[[], object]) -> None:
        def fault(reply: Reply) -> Reply:
            action()
            return reply

        api.misbehave(fault)

    def test_an_ingest_into_a_renamed_table(
        self, user: Jtv, user_store: str, api: JinaServer
    ) -> None:
        self.during(api, lambda: user.ok("tables", "rename", "notes", "renamed"))
        user.write("a.log", self.TEXTS)
        result = user("ingest", "a.log", "--table", "notes", "--concurrency", "1")
        if user_store == "tidb":
            assert result.code == 5
            assert "renamed or dropped while this command was running" in result.error
        else:
            assert result.code == 0
            assert "table renamed (model" in result.last_line
            assert len(texts(user, "renamed")) == len(set(api.bill)) == 700

    @pytest.mark.parametrize("command", ["search", "ingest"])
    def test_a_table_of_another_model_has_its_name(
        self, user: Jtv, api: JinaServer, command: str
    ) -> None:
        """Of as many dimensions, so that the store itself would not notice."""
        user.ok("ingest", "-", "--table", "notes", stdin="one\n")
        user.ok("init", "--no-index", "--table", "others", "--model", "hashing-v1")
        user.ok("ingest", "-", "--table", "others", stdin="two\n")
        arguments = ("tables", "rename", "--replace", "--yes", "others", "notes")
        self.during(api, lambda: user.ok(*arguments))
        user.write("a.log", "three\n")
        words = "one" if command == "search" else "a.log"
        result = user(command, words, "--table", "notes")
        assert (result.code, result.stdout) == (5, "")
        assert "table notes was renamed or dropped while this command was running" in result.error
        assert texts(user, "notes") == ["two"]


@pytest.mark.tidb
def test_what_is_remembered_of_a_table_that_others_replaced(
    jtv: Jtv,
    keyed: Jtv,  # noqa: ARG001
    api: JinaServer,
    tidb: str,
    tmp_path: Path,
) -> None:
    jtv.environment["TIDB_DATABASE_URL"] = tidb
    jtv.ok("init", "--no-index", "--table", "notes")
    jtv.ok("ingest", "-", "--table", "notes", stdin="one\ntwo\n")
    search = ("search", "one", "--table", "notes")
    jtv.ok(*search)
    (tmp_path / "other/home").mkdir(parents=True)
    (tmp_path / "other/work").mkdir()
    other = Jtv(tmp_path / "other", dict(jtv.environment))
    other.ok("init", "--no-index", "--table", "new", "--model", "jina-embeddings-v3")
    other.ok("ingest", "-", "--table", "new", stdin="two\nthree\n")
    other.ok("tables", "rename", "--replace", "--yes", "new", "notes")
    requests = len(api.requests)
    found = jtv.ok(*search).stdout
    assert len(api.requests) <= requests + 2  # one with the old model was sent ahead
    assert found == other.ok(*search).stdout
    assert {row[2] for row in jtv.ok(*search).rows} == {"two", "three"}


@pytest.mark.tidb
def test_with_a_vector_index(jtv: Jtv, tiflash_tidb: str) -> None:
    jtv.environment |= {"TIDB_DATABASE_URL": tiflash_tidb, "JTV_MODEL": "hashing-v1"}
    for table in ("notes", "others"):
        jtv.ok("init", "--table", table)
        jtv.ok("ingest", "-", "--table", table, stdin=f"{table}\n")
    jtv.ok("tables", "rename", "--replace", "--yes", "notes", "others")
    assert jtv.ok("index", "status", "--table", "others").stdout.startswith("ready")
    assert texts(jtv, "others") == ["notes"]
    jtv.ok("init", "--table", "notes")
    jtv.ok("ingest", "-", "--table", "others", stdin="more\n")
    assert len(jtv.ok("search", "more", "--table", "others").rows) == 2


def test_an_interrupted_command_changes_nothing_or_all(two: Jtv) -> None:
    process = two.start("tables", "rename", "notes", "renamed", stderr=subprocess.PIPE)
    process.terminate()
    process.communicate(timeout=60)
    assert tables(two) in (["notes", "others"], ["others", "renamed"])


@pytest.mark.tidb
def test_the_privileges_that_it_takes(jtv: Jtv, plain_tidb: str, plain_server: TidbServer) -> None:
    jtv.environment |= {"TIDB_DATABASE_URL": plain_tidb, "JTV_MODEL": "hashing-v1"}
    for table in ("notes", "others"):
        jtv.ok("init", "--no-index", "--table", table)
    name = plain_tidb.rpartition("/")[2]
    command = ("tables", "rename", "--replace", "--yes", "notes", "others")
    for rights, code in (
        ("SELECT, INSERT, CREATE, ALTER", 5),
        ("SELECT, INSERT, CREATE, ALTER, DROP", 0),
    ):
        url = plain_server.limited_url(name, rights)
        result = jtv(*command, env={"TIDB_DATABASE_URL": url})
        assert result.code == code, result.stderr
        assert ("missing privilege" in result.stderr) == (code == 5)
        assert tables(jtv) == (["notes", "others"] if code else ["others"])


@pytest.mark.tidb
def test_a_connection_that_is_lost_after_the_statement(jtv: Jtv, tidb: str) -> None:
    """The server has renamed the tables, and the answer does not arrive."""
    jtv.environment |= {"TIDB_DATABASE_URL": tidb, "JTV_MODEL": "hashing-v1"}
    for table in ("notes", "others"):
        jtv.ok("init", "--no-index", "--table", table)
        jtv.ok("ingest", "-", "--table", table, stdin=f"{table}\n")
    with Proxy(tidb) as proxy:
        proxy.on("^RENAME TABLE", after=True, lose=True)
        command = ("tables", "rename", "--replace", "--yes", "notes", "others")
        jtv.ok(*command, env={"TIDB_DATABASE_URL": proxy.url})
    assert tables(jtv) == ["others"]
    assert texts(jtv, "others") == ["notes"]
    assert len(Cluster(tidb).execute("SHOW TABLES")) == 3


@pytest.mark.tidb
@pytest.mark.parametrize("fails", [False, True])
def test_a_full_text_index_is_dropped_and_built_again(
    tidb: str, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    """With a stand-in for the index, which only clusters of TiDB Cloud have."""
    done: list[str] = []

    class Index:
        def __init__(self, _database: object, name: str, _location: str) -> None:
            self._name = name

        def drop(self) -> bool:
            done.append(f"drop that of {self._name}, one of {existing()}")
            return True

        def build(self, _progress: object) -> None:
            done.append(f"build that of {self._name}, one of {existing()}")
            if fails:
                raise NoFullText("the region has none", hint="")

    def existing() -> list[str]:
        return [name for (name,) in Cluster(tidb).execute("SHOW TABLES") if "_" not in name]

    monkeypatch.setattr("jtv_cli.stores.tidb.store.FullTextIndex", Index)
    with closing(open_store(tidb, writable=True)) as store:
        old, new = (make(store, SPEC._replace(name=name)).spec for name in ("notes", "others"))
        if fails:
            message = "table notes is now called others, but its full-text index could not be built"
            with pytest.raises(StoreError, match=message) as caught:
                store.rename(old, "others", replacing=new)
            assert caught.value.hint == (
                "build it with: jtv index build --full-text --table others"
            )
        else:
            store.rename(old, "others", replacing=new)
        assert store.open("others").spec.identity == old.identity
    assert done == [
        "drop that of notes, one of ['notes', 'others']",
        "drop that of others, one of ['notes', 'others']",
        "build that of others, one of ['others']",
    ]
