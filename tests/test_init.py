"""`jtv init`, on the embedded store."""

from __future__ import annotations

import json
import signal
import stat
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from terminal import Terminal

if TYPE_CHECKING:
    from conftest import Jtv

TABLE = "jinaai_tidb_demo_documents"
TUTORIAL_MODEL = "jina-embeddings-v2-base-en"


def test_it_says_what_it_made_where_and_with_which_model(jtv: Jtv) -> None:
    result = jtv.ok("init")
    made, note, better, where = result.stderr.splitlines()
    assert made == f"Created table {TABLE} (1024 dimensions, cosine distance)"
    assert "offline" in note
    assert "finds meaning in English, and shared words in any language" in note
    assert "JINA_API_KEY" in better
    assert where == f"table {TABLE} (model static-v1) in ~/.local/share/jtv/jtv.db"
    assert result.stdout == ""


def test_a_second_time_it_has_nothing_to_do(jtv: Jtv) -> None:
    jtv.ok("init")
    before = jtv.database.read_bytes()
    assert "already exists" in jtv.ok("init").stderr
    assert jtv.database.read_bytes() == before


def test_the_file_is_the_users_alone(jtv: Jtv) -> None:
    jtv.ok("init")
    assert stat.S_IMODE(jtv.database.stat().st_mode) == 0o600
    assert stat.S_IMODE(jtv.data_folder.stat().st_mode) == 0o700
    assert [path.name for path in jtv.data_folder.iterdir()] == ["jtv.db"]


def test_with_a_key_the_model_is_the_tutorials(jtv: Jtv) -> None:
    result = jtv.ok("init", env={"JINA_API_KEY": "jina_0123456789"})
    assert f"model {TUTORIAL_MODEL}" in result.last_line
    assert "works offline" not in result.stderr


@pytest.mark.parametrize("how", ["flag", "environment"])
def test_the_model_can_be_named(jtv: Jtv, how: str) -> None:
    if how == "flag":
        result = jtv.ok("init", "--model", "jina-embeddings-v3")
    else:
        result = jtv.ok("init", env={"JTV_MODEL": "jina-embeddings-v3"})
    assert "model jina-embeddings-v3" in result.last_line
    assert "1024 dimensions" in result.stderr


def test_an_unknown_model_is_refused_with_the_ones_there_are(jtv: Jtv) -> None:
    result = jtv("init", "--model", "gpt")
    assert result.code == 2
    assert "there is no model gpt" in result.error
    assert TUTORIAL_MODEL in result.error
    assert not jtv.database.exists()


@pytest.mark.parametrize(
    "command",
    [
        *(["init"], ["ingest", "-"], ["sync", "-", "--source", "x"], ["export"], ["info"]),
        *(["search", "x"], ["search", "--like", "1"], ["list"], ["list", "x"], ["show", "1"]),
        *(["delete", "1", "--dry-run"], ["delete", "1", "--yes"]),
        *(["index", name] for name in ("status", "build", "drop", "wait", "check")),
    ],
    ids=" ".join,
)
def test_another_model_for_a_table_that_is_there_is_refused(jtv: Jtv, command: list[str]) -> None:
    jtv.ok("init")
    jtv.ok("ingest", "-", stdin="a\n")
    result = jtv(*command, "--model", TUTORIAL_MODEL, env={"JINA_API_KEY": "jina_0123456789"})
    assert result.code == 5
    assert "static-v1" in result.error
    assert TUTORIAL_MODEL in result.error
    assert len(jtv.ok("list").rows) == 1
    assert "there is no model gpt" in jtv(*command, "--model", "gpt").error


def test_a_model_from_the_environment_is_for_new_tables(jtv: Jtv) -> None:
    jtv.ok("init")
    result = jtv.ok("init", env={"JTV_MODEL": "jina-embeddings-v3"})
    assert "(model static-v1) in " in result.last_line


def test_a_key_that_an_offline_table_does_not_use_is_noted(jtv: Jtv) -> None:
    jtv.ok("init")
    key = {"JINA_API_KEY": "jina_0123456789"}
    for command in (["init"], ["ingest", "-"]):
        result = jtv.ok(*command, env=key)
        assert "does not use your API key" in result.stderr
        assert f"jtv init --drop --model {TUTORIAL_MODEL}" in result.stderr
    assert "does not use your API key" not in jtv.ok("ingest", "-").stderr


def test_report_as_json(jtv: Jtv) -> None:
    report = json.loads(jtv.ok("init", "--json").stdout)
    assert report == {
        "store": str(jtv.database),
        "table": TABLE,
        "model": "static-v1",
        "dimensions": 1024,
        "changes": [f"create table {TABLE} in {jtv.database}"],
        "index": "none",
    }
    assert json.loads(jtv.ok("init", "--json").stdout)["changes"] == []


def test_quiet(jtv: Jtv) -> None:
    assert jtv.ok("init", "--quiet").stderr == ""


class TestDrop:
    def test_off_a_terminal_it_needs_a_yes(self, sampled: Jtv) -> None:
        result = sampled("init", "--drop")
        assert result.code == 2
        assert "--yes" in result.error
        assert f"table {TABLE} with 34 documents" in result.error
        assert str(sampled.database) in result.error
        assert len(sampled.ok("list").rows) == 34

    def test_with_yes_it_is_made_anew(self, sampled: Jtv) -> None:
        result = sampled.ok("init", "--drop", "--yes", "--model", TUTORIAL_MODEL)
        assert f"Dropped table {TABLE} with 34 documents" in result.stderr
        assert f"(model {TUTORIAL_MODEL}) in " in result.last_line
        assert sampled.ok("list").stdout == ""

    def test_other_tables_stay(self, sampled: Jtv) -> None:
        sampled.ok("init", "--table", "other")
        sampled.ok("init", "--drop", "--yes", "--table", "other")
        assert len(sampled.ok("list").rows) == 34

    def test_of_one_document_it_speaks_as_of_one(self, jtv: Jtv) -> None:
        jtv.ok("init")
        jtv.ok("ingest", "-", stdin="a\n")
        assert "with 1 document in" in jtv("init", "--drop").error
        assert ", 1 document\n" in jtv.ok("doctor").stdout
        assert "with 1 document in" in jtv.ok("init", "--drop", "--yes").stderr

    def test_nothing_to_drop(self, jtv: Jtv) -> None:
        assert "Created table" in jtv.ok("init", "--drop").stderr

    def test_a_model_that_there_is_not_drops_nothing(self, sampled: Jtv) -> None:
        assert sampled("init", "--drop", "--yes", "--model", "gpt").code == 2
        assert len(sampled.ok("list").rows) == 34

    @pytest.mark.parametrize(("answer", "code", "left"), [("y", 0, 0), ("", 2, 34), ("no", 2, 34)])
    def test_on_a_terminal_it_asks(self, sampled: Jtv, answer: str, code: int, left: int) -> None:
        with Terminal(sampled, "init", "--drop") as terminal:
            terminal.wait_for(f"Drop table {TABLE} with 34 documents")
            terminal.type(f"{answer}\n")
            assert terminal.wait() == code
        assert len(sampled.ok("list").rows) == left

    def test_no_answer_is_no(self, sampled: Jtv) -> None:
        with Terminal(sampled, "init", "--drop") as terminal:
            terminal.wait_for("[y/N] ")
            terminal.type("\x04")
            assert terminal.wait() == 2
        assert terminal.lines[-2:] == ["jtv: error: canceled, nothing was dropped", ""]
        assert len(sampled.ok("list").rows) == 34

    def test_an_interrupt_is_said_below_the_question(self, sampled: Jtv) -> None:
        with Terminal(sampled, "init", "--drop") as terminal:
            terminal.wait_for("[y/N] ")
            terminal.process.send_signal(signal.SIGINT)
            assert terminal.wait() == 130
        assert terminal.lines[-2:] == ["jtv: interrupted", ""]


class TestForeignFiles:
    def test_another_programs_database_is_refused_and_left_alone(self, jtv: Jtv) -> None:
        import sqlite3

        path = jtv.folder / "work/other.db"
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE precious (x)")
        connection.close()
        before = path.read_bytes()
        for command in (["init"], ["init", "--drop", "--yes"], ["ingest", "-"], ["list"]):
            result = jtv(*command, "--database", "other.db")
            assert result.code == 5
            assert "a database that jtv did not create" in result.error
        assert path.read_bytes() == before

    def test_a_file_that_is_no_database(self, jtv: Jtv) -> None:
        path = jtv.write("notes.txt", "just text\n" * 1000)
        result = jtv("init", "--database", "notes.txt")
        assert result.code == 5
        assert "not a database" in result.error
        assert path.read_text() == "just text\n" * 1000

    def test_an_empty_file_is_as_good_as_none(self, jtv: Jtv) -> None:
        jtv.write("new.db", "")
        assert jtv("list", "--database", "new.db").code == 5
        jtv.ok("init", "--database", "new.db")
        jtv.ok("list", "--database", "new.db")

    def test_a_folder(self, jtv: Jtv) -> None:
        for command in ("init", "list"):
            result = jtv(command, "--database", "..")
            assert result.code == 5
            assert result.error == "jtv: error: .. is a directory\nhint: name a file in it"

    def test_a_folder_that_is_not_there(self, jtv: Jtv) -> None:
        result = jtv("init", "--database", "no/such/jtv.db")
        assert result.code == 5
        assert "No such file or directory" in result.error

    def test_a_newer_format_is_refused(self, jtv: Jtv) -> None:
        import sqlite3

        jtv.ok("init")
        connection = sqlite3.connect(jtv.database)
        connection.execute("PRAGMA user_version = 99")
        connection.close()
        result = jtv("list")
        assert result.code == 5
        assert "newer jtv (format 99" in result.error


def test_many_at_once_make_one_table(jtv: Jtv) -> None:
    with ThreadPoolExecutor(6) as pool:
        for number in range(5):
            command = ("init", "--database", f"{number}.db")
            results = list(pool.map(lambda _, command=command: jtv(*command), range(6)))
            for result in results:
                assert result.code == 0, result.stderr
            assert jtv.ok("list", "--database", f"{number}.db").stdout == ""
