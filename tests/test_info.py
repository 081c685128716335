"""`jtv info` and `jtv tables`, on both stores."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from terminal import Terminal

if TYPE_CHECKING:
    from conftest import Jtv

TABLE = "jinaai_tidb_demo_documents"


@pytest.fixture
def filled(on_each_store: Jtv) -> Jtv:
    """A user with documents from a file, from stdin, and from both."""
    jtv = on_each_store
    jtv.ok("init", "--no-index")
    jtv.ok("ingest", "-", "--source", "tab\there", stdin="a\nb\nb\n")
    jtv.ok("ingest", "-", stdin="b\n")
    return jtv


def test_a_name_and_a_value_on_each_line(filled: Jtv) -> None:
    rows = filled.ok("info").rows
    facts = {row[0]: row[1] for row in rows if row[0] != "source"}
    assert list(facts) == [
        *("store", "table", "model", "task", "dimensions", "metric", "documents"),
        *("size", "index", "indexed", "pending"),
    ]
    assert facts["table"] == TABLE
    assert (facts["model"], facts["task"], facts["metric"]) == ("hashing-v1", "-", "cosine")
    assert (facts["dimensions"], facts["documents"], facts["index"]) == ("768", "2", "none")
    assert facts["size"] == "-" or int(facts["size"]) >= 2 * 3072
    assert [row[1:] for row in rows if row[0] == "source"] == [
        ["-", "1", "1"],
        [r"tab\there", "3", "2"],
    ]


def test_as_json(filled: Jtv) -> None:
    [found] = filled.ok("info", "--json").records
    assert (found["table"], found["task"], found["documents"]) == (TABLE, None, 2)
    assert found["sources"] == [
        {"source": None, "occurrences": 1, "documents": 1},
        {"source": "tab\there", "occurrences": 3, "documents": 2},
    ]
    assert found["index"]["state"] == "none"
    assert set(found) == {
        *("store", "table", "model", "task", "dimensions", "metric", "documents"),
        *("size", "index", "sources"),
    }


def test_on_a_terminal(sampled: Jtv) -> None:
    sampled.ok("ingest", "-", "--source", "\x1b[31mred", stdin="a\nb\n")
    with Terminal(sampled, "info") as terminal:
        assert terminal.wait() == 0
    screen = "\n".join(terminal.lines)
    assert f"table        {TABLE}" in screen
    assert "documents    36" in screen
    assert " KiB" in screen
    assert "index        not needed" in screen
    assert r"\u001b[31mred" in screen
    assert "occurrences" in screen


def test_of_many_sources_a_terminal_shows_the_largest(jtv: Jtv) -> None:
    jtv.ok("init")
    for number in range(12):
        jtv.write(f"{number}.txt", "".join(f"{line}\n" for line in range(number + 1)))
    jtv.ok("ingest", ".", "--glob", "*.txt")
    with Terminal(jtv, "info", "--color", "never") as terminal:
        assert terminal.wait() == 0
    names = [line.split()[0] for line in terminal.lines if ".txt" in line]
    assert names == [f"{number}.txt" for number in range(11, 1, -1)]
    assert "2 more sources; list all with: jtv info --sources" in terminal.lines
    with Terminal(jtv, "info", "--sources", "--color", "never") as terminal:
        assert terminal.wait() == 0
    assert len([line for line in terminal.lines if ".txt" in line]) == 12
    assert "more source" not in terminal.screen
    rows = [row for row in jtv.ok("info").rows if row[0] == "source"]
    assert rows == [row for row in jtv.ok("info", "--sources").rows if row[0] == "source"]
    assert len(rows) == 12


def test_a_path_drives_no_terminal(jtv: Jtv) -> None:
    path = ("--database", "\x1b[31m\u202ered.db")
    jtv.ok("init", *path)
    for options in ((), ("--json",)):
        with Terminal(jtv, "info", *path, *options) as terminal:
            assert terminal.wait() == 0
        assert r"\u001b[31m\u202ered.db" in terminal.screen


def test_no_table(on_each_store: Jtv) -> None:
    result = on_each_store("info")
    assert result.code == 5
    assert "hint: create it" in result.error


def test_another_model_is_refused(sampled: Jtv) -> None:
    assert sampled("info", "--model", "jina-embeddings-v3").code == 5


class TestTables:
    def test_a_line_each(self, filled: Jtv) -> None:
        filled.ok("init", "--no-index", "--table", "by_meaning", "--model", "jina-embeddings-v3")
        assert filled.ok("tables").rows == [
            ["by_meaning", "jina-embeddings-v3", "1024", "0"],
            [TABLE, "hashing-v1", "768", "2"],
        ]
        first, second = filled.ok("tables", "--json").records
        assert first == {
            "table": "by_meaning",
            "model": "jina-embeddings-v3",
            "task": "retrieval",
            "dimensions": 1024,
            "metric": "cosine",
            "documents": 0,
        }
        assert second["documents"] == 2

    def test_they_may_have_any_model(self, jtv: Jtv) -> None:
        assert jtv("tables", "--model", "hashing-v1").code == 2

    def test_none(self, on_each_store: Jtv) -> None:
        result = on_each_store.ok("tables")
        assert (result.stdout, result.stderr) == ("", "")

    def test_none_on_a_terminal(self, jtv: Jtv) -> None:
        with Terminal(jtv, "tables") as terminal:
            assert terminal.wait() == 0
        assert f"No tables in {jtv.database}" in terminal.messages[0]
        assert not jtv.database.exists()

    def test_on_a_terminal(self, sampled: Jtv) -> None:
        with Terminal(sampled, "tables", "--color", "never") as terminal:
            assert terminal.wait() == 0
        head, _, row, *_ = [line.split() for line in terminal.lines if line]
        assert head == ["table", "model", "dimensions", "documents"]
        assert row == [TABLE, "static-v1", "1024", "34"]

    def test_on_a_narrow_terminal_no_word_above_a_number_is_broken(self, sampled: Jtv) -> None:
        with Terminal(sampled, "tables", "--color", "never", columns=50) as terminal:
            assert terminal.wait() == 0
        header, *_ = filter(None, terminal.lines)
        assert header.split() == ["table", "model", "dimensions", "documents"]

    def test_of_a_file_that_is_none(self, jtv: Jtv) -> None:
        jtv.write("x.db", "no database\n" * 1000)
        assert jtv("tables", "--database", "x.db").code == 5


def test_a_report_is_one_object(filled: Jtv) -> None:
    assert json.loads(filled.ok("info", "--json").stdout)["store"]
