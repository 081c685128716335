"""The options that filter documents, on the command line."""

from __future__ import annotations

import os
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from jtv_cli.pipeline.search import list_documents
from jtv_cli.records import Filter, Occurrence
from tables import document, vectors

if TYPE_CHECKING:
    from conftest import Jtv
    from jtv_cli.stores import Table

RECORDS = """\
{"text": "one", "lang": "en", "year": 2019, "tags": ["a", "b"], "site": {"name": "x"}}
{"text": "two", "lang": "de", "year": 2020, "day": "2024-05-01", "site": {"name": "y"}}
{"text": "three", "lang": "en", "year": "2021"}
{"text": "four"}
"""


@pytest.fixture
def filled(on_each_store: Jtv) -> Jtv:
    on_each_store.ok("init")
    on_each_store.ok("ingest", "-", "--input", "jsonl", "--source", "r.jsonl", stdin=RECORDS)
    return on_each_store


@pytest.mark.parametrize(
    ("options", "texts"),
    [
        (["--where", "year>=2020"], "two three"),
        (["--where", "year >= 2020", "--where", "lang=en"], "three"),
        (["--where-any", "year<2020", "--where-any", "lang=de"], "one two"),
        (["--where", "lang=en", "--where-any", "tags contains b", "--where-any", "x=1"], "one"),
        (["--where", "lang in (de, fr)"], "two"),
        (["--where", "lang!=en"], "two"),
        (["--where", "site.name exists"], "one two"),
        (["--where", "site.name=y"], "two"),
        (["--where", "day > 2024-04-30T23:00:00Z"], "two"),
    ],
)
def test_conditions(filled: Jtv, options: list[str], texts: str) -> None:
    rows = filled.ok("search", "one", *options).rows
    assert sorted(row[2] for row in rows) == sorted(texts.split())


def test_a_field_that_no_document_has_is_named(filled: Jtv) -> None:
    result = filled("search", "one", "--where", "site.title exists")
    assert result.code == 1
    assert result.stderr.startswith('jtv: warning: no document has a field "site.title"\nhint: the')
    both = ("--where-any", "x=1", "--where-any", "year=1")
    assert filled("search", "one", *both).stderr == ""


@pytest.mark.parametrize(
    "options",
    [
        ("--where", "year >"),
        ("--where", "lang in en"),
        ("--where-any", "lang"),
        ("--after", "yesterday"),
        ("--before", "2024-02-30"),
    ],
)
def test_what_cannot_be_read_is_exit_2(jtv: Jtv, options: tuple[str, str]) -> None:
    result = jtv("search", "one", *options)
    assert result.code == 2
    assert result.is_one_error
    assert result.error.startswith(f"jtv: error: {options[0]}")
    assert f"hint: for example: {options[0]} " in result.error or "compare with" in result.error


class TestOtherCommands:
    @pytest.mark.parametrize(
        ("options", "texts"),
        [
            (["--where", "lang=en"], ["one", "three"]),
            (["--where-any", "lang=de", "--where-any", "year<2020"], ["one", "two"]),
            (["--where", "lang exists", "--limit", "2"], ["one", "two"]),
            (["--where", "lang exists", "--after", "1"], ["two", "three"]),
            (["--source", "r.*", "--where", "lang=fr"], []),
            (["--before", "2999-01-01"], []),
        ],
    )
    def test_list(self, filled: Jtv, options: list[str], texts: list[str]) -> None:
        assert [row[2] for row in filled.ok("list", *options).rows] == texts

    def test_list_with_distances(self, filled: Jtv) -> None:
        where = ["--where", "lang exists"]
        rows = filled.ok("list", "two", *where).rows
        assert [row[2] for row in rows] == ["one", "two", "three"]
        assert float(rows[1][0]) < 1e-5
        by_distance = filled.ok("list", "two", *where, "--sort", "distance").rows
        assert sorted(by_distance) == sorted(rows)
        assert by_distance[0] == rows[1]
        plain = filled.ok("list", "two").rows
        for row, other in zip(rows, plain[:3], strict=True):
            assert float(row[0]) == pytest.approx(float(other[0]), abs=1e-5)
            assert row[1:] == other[1:]

    @pytest.mark.parametrize("after", ["-1", "x", str(1 << 63), "9" * 40])
    def test_after_that_is_neither_id_nor_date(self, jtv: Jtv, after: str) -> None:
        assert jtv("list", "--after", after).code == 2

    def test_delete(self, filled: Jtv) -> None:
        filled.ok("ingest", "-", "--source", "other", stdin="one\n")
        dry = filled.ok("delete", "--where", "lang=en", "--dry-run")
        assert "Would delete 1 document and 2 occurrences" in dry.stderr
        filled.ok("delete", "--where", "lang=en", "--yes")
        assert [row[2:4] for row in filled.ok("list").rows] == [
            ["one", "other"],
            ["two", "r.jsonl"],
            ["four", "r.jsonl"],
        ]
        nothing = filled.ok("delete", "--source", "other", "--where", "lang=de", "--yes")
        assert "Deleted 0 documents" in nothing.stderr
        filled.ok("delete", "--source", "r.jsonl", "--where", "lang=de", "--yes")
        assert len(filled.ok("list").rows) == 2
        assert filled("delete", "1", "--where", "lang=de").code == 2
        assert filled("delete", "--source", "x", "--where", "lang=de", "--yes").code == 2

    def test_export_and_copy(self, filled: Jtv) -> None:
        where = ["--where", "lang=en"]
        filled.ok("copy", "--from", filled.environment.get("JTV_DATABASE", "embedded"), "--to",
                  "copy.db", *where)  # fmt: skip
        copied = filled.ok("list", "--database", "copy.db").rows
        assert [row[2] for row in copied] == ["one", "three"]
        exported = filled.ok("export", "--vectors", *where).stdout
        filled.ok("import", "-", "--database", "imported.db", stdin=exported)
        rows = filled.ok("list", "--database", "imported.db").rows
        assert [row[2:] for row in rows] == [row[2:] for row in copied]


def test_the_time_when_a_file_was_modified(table: Table) -> None:
    """Where it is recorded; see the contract tests for the rest."""
    table.add([document("old", Occurrence("old", 1)), document("new", Occurrence("new", 1))],
              vectors(2))  # fmt: skip
    table.set_source_details({"old": {"modified": 100}, "new": {"modified": 200.5}})
    for filter, texts in (
        (Filter(after=150), ["new"]),
        (Filter(before=150), ["old"]),
        (Filter(after=100, before=201), ["old", "new"]),
    ):
        assert [hit.content for hit in list_documents(table, filter=filter)] == texts
        assert len(table.search(vectors(1), 5, filter=filter).hits[0]) == len(texts)


def test_files_by_modification_time(on_each_store: Jtv) -> None:
    for name, day in (("old.txt", "2024-05-01T12:00:00"), ("new.txt", "2024-06-01T12:00:00")):
        path = on_each_store.write(name, f"a {name} note\n")
        time = datetime.fromisoformat(day).timestamp()
        os.utime(path, (time, time))
    on_each_store.ok("init")
    on_each_store.ok("ingest", "old.txt", "new.txt")
    on_each_store.ok("ingest", "-", stdin="a piped note\n")

    def found(*options: str) -> list[str]:
        rows = on_each_store.ok("search", "note", *options).rows
        assert [row[3] for row in on_each_store.ok("list", *options).rows] == sorted(
            (row[3] for row in rows), reverse=True
        )
        return sorted(row[3] for row in rows)

    assert found("--after", "2024-05-15") == ["new.txt"]
    assert found("--before", "2024-05-15") == ["old.txt"]
    assert found("--after", "2024-05-01", "--before", "2024-06-02") == ["new.txt", "old.txt"]
    assert found("--after", "2024-05-01T12:00:00") == ["new.txt", "old.txt"]
    assert on_each_store("search", "note", "--before", "2024-05-01T12:00").code == 1
    os.utime(on_each_store.folder / "work/old.txt")
    on_each_store.ok("ingest", "old.txt")
    assert found("--after", "2024-05-15") == ["new.txt", "old.txt"]
