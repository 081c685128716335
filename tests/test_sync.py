"""`jtv sync`: the table has of a file what is in it, no more and no less."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

import jina_faults
from terminal import Terminal
from waiting import wait_until

if TYPE_CHECKING:
    from conftest import Jtv
    from jina_server import JinaServer


@pytest.fixture
def synced(on_each_store: Jtv) -> Jtv:
    """a.txt has been read, and has changed since; `two` is in b.txt too."""
    jtv = on_each_store
    jtv.write("a.txt", "one\ntwo\nthree\n")
    jtv.write("b.txt", "two\n")
    jtv.ok("init")
    jtv.ok("ingest", "a.txt", "b.txt")
    jtv.write("a.txt", "one\nfour\n\nfive\n")
    return jtv


def places(jtv: Jtv) -> set[tuple[str, ...]]:
    """The text, source and line of every occurrence."""
    numbers = [row[1] for row in jtv.ok("list").rows]
    rows = jtv.ok("show", *numbers).rows if numbers else []
    return {(text, source, line) for _, _, text, source, line in rows}


BEFORE = {("one", "a.txt", "1"), ("two", "a.txt", "2"), ("three", "a.txt", "3")}
AFTER = {("one", "a.txt", "1"), ("four", "a.txt", "2"), ("five", "a.txt", "4")}
ELSEWHERE = {("two", "b.txt", "1")}


def test_what_is_new_is_added_and_what_is_gone_removed(synced: Jtv) -> None:
    result = synced.ok("sync", "a.txt", "--yes")
    assert "2 stored, 1 known, 1 empty" in result.counts
    assert "Removed 1 document and 2 occurrences\n" in result.stderr
    assert places(synced) == AFTER | ELSEWHERE
    assert "Removed 0 documents and 0 occurrences\n" in synced.ok("sync", "a.txt").stderr


def test_a_report_as_json(synced: Jtv) -> None:
    [report] = synced.ok("sync", "a.txt", "b.txt", "--yes", "--json").records
    assert (report["stored"], report["known"]) == (2, 2)
    assert report["removed"] == {"documents": 1, "occurrences": 2}


def test_a_removal_that_fails_is_reported_as_json(jtv: Jtv) -> None:
    jtv.ok("init")
    jtv.write("a.txt", "".join(f"line {number}\n" for number in range(1500)))
    jtv.ok("sync", "a.txt")
    with closing(sqlite3.connect(jtv.database)) as database:
        database.execute(
            "CREATE TRIGGER refuse BEFORE DELETE ON jinaai_tidb_demo_documents"
            " WHEN OLD.content = 'line 1200' BEGIN SELECT RAISE(ABORT, 'this one stays'); END"
        )
    jtv.write("a.txt", "new\n")
    result = jtv("sync", "a.txt", "--yes", "--json")
    assert result.code == 5
    [report] = result.records
    assert report["stored"] == 1
    assert report["removed"] == {"documents": 1000, "occurrences": 1000}
    assert "this one stays" in report["stopped"]
    assert len(jtv.ok("list").rows) == 501


def test_off_a_terminal_it_adds_and_wants_a_yes_to_remove(synced: Jtv) -> None:
    result = synced("sync", "a.txt")
    assert result.code == 3
    assert "this removes 1 document and 2 occurrences from table" in result.stderr
    assert "add --yes" in result.stderr
    assert places(synced) == BEFORE | AFTER | ELSEWHERE
    synced.ok("sync", "a.txt", "--yes")
    assert places(synced) == AFTER | ELSEWHERE


@pytest.mark.parametrize(("answer", "code"), [("n", 3), ("y", 0)])
def test_on_a_terminal_it_asks(synced: Jtv, answer: str, code: int) -> None:
    with Terminal(synced, "sync", "a.txt") as terminal:
        terminal.wait_for("[y/N]")
        assert "Remove 1 document and 2 occurrences from table" in terminal.screen
        terminal.type(f"{answer}\n")
        assert terminal.wait() == code
    assert places(synced) == AFTER | ELSEWHERE | (set() if code == 0 else BEFORE)


def test_a_dry_run_changes_nothing(synced: Jtv) -> None:
    result = synced.ok("sync", "a.txt", "--dry-run")
    assert "Would embed 2 of 3" in result.stderr
    assert "Would remove 1 document and 2 occurrences\n" in result.stderr
    [report] = synced.ok("sync", "a.txt", "--dry-run", "--json").records
    assert (report["to_embed"], report["removed"]) == (2, {"documents": 1, "occurrences": 2})
    assert places(synced) == BEFORE | ELSEWHERE


def test_a_line_that_moved_keeps_its_document(synced: Jtv) -> None:
    before = {row[2]: row[1] for row in synced.ok("list").rows}
    synced.write("a.txt", "zero\none\ntwo\nthree\n")
    assert (
        "Would remove 0 documents and 3 occurrences\n"
        in synced.ok("sync", "a.txt", "--dry-run").stderr
    )
    assert "1 stored, 3 known" in synced.ok("sync", "a.txt", "--yes").counts
    assert before.items() <= {row[2]: row[1] for row in synced.ok("list").rows}.items()
    assert {row[:2] for row in places(synced)} == {
        *((text, "a.txt") for text in ("zero", "one", "two", "three")),
        ("two", "b.txt"),
    }


def test_a_text_that_moved_from_file_to_file(synced: Jtv) -> None:
    synced.write("a.txt", "one\n")
    synced.write("b.txt", "three\n")
    [report] = synced.ok("sync", "a.txt", "b.txt", "--dry-run", "--json").records
    assert report["removed"] == {"documents": 1, "occurrences": 3}
    [report] = synced.ok("sync", "a.txt", "b.txt", "--yes", "--json").records
    assert report["removed"] == {"documents": 1, "occurrences": 3}
    assert places(synced) == {("one", "a.txt", "1"), ("three", "b.txt", "1")}


def test_an_empty_file_leaves_nothing_of_its_source(synced: Jtv) -> None:
    synced.write("a.txt", "")
    synced.ok("sync", "a.txt", "--yes")
    assert places(synced) == ELSEWHERE


def test_stdin_is_a_source_with_a_name(synced: Jtv) -> None:
    result = synced("sync", "-", stdin="one\n")
    assert result.code == 2
    assert "--source NAME" in result.error
    synced.ok("ingest", "-", "--source", "notes", stdin="one\nsix\n")
    synced.ok("sync", "-", "--source", "notes", "--yes", stdin="one\nfour\n")
    assert places(synced) == BEFORE | ELSEWHERE | {("one", "notes", "1"), ("four", "notes", "2")}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["a.txt", "./a.txt"], "are the same source a.txt"),
        (["a.txt", "b.txt", "--source", "x"], "are the same source x"),
        (["nope.txt"], "cannot read nope.txt"),
        (["a.txt", "--source", " "], "--source is empty"),
        (["-", "--source", "-"], "cannot be the name of a source"),
    ],
)
def test_files_that_cannot_be_meant(synced: Jtv, arguments: list[str], says: str) -> None:
    result = synced("sync", *arguments, "--yes")
    assert result.code == 2
    assert says in result.error
    assert places(synced) == BEFORE | ELSEWHERE


def test_a_run_that_skipped_a_record_removes_nothing(synced: Jtv) -> None:
    synced.write("a.txt", b"one\ncaf\xe9\nfive\n")
    result = synced("sync", "a.txt", "--yes")
    assert result.code == 3
    assert "a.txt:2: not UTF-8" in result.stderr
    assert "nothing was removed, because not all input was stored" in result.stderr
    assert places(synced) == BEFORE | {("five", "a.txt", "3")} | ELSEWHERE
    [report] = synced("sync", "a.txt", "--dry-run", "--json").records
    assert report["removed"] == {"documents": 0, "occurrences": 0}


def test_records_with_fields(on_each_store: Jtv) -> None:
    jtv = on_each_store
    jtv.ok("init")
    jtv.write("a.jsonl", '{"body": "one"}\n{"body": "two"}\n')
    jtv.ok("sync", "a.jsonl", "--text-field", "body")
    jtv.write("a.jsonl", '{"body": "two"}\n')
    jtv.ok("sync", "a.jsonl", "--text-field", "body", "--yes")
    assert places(jtv) == {("two", "a.jsonl", "1")}


def test_more_than_one_transaction(on_each_store: Jtv) -> None:
    jtv = on_each_store
    jtv.ok("init")
    jtv.write("a.txt", "".join(f"line {number}\n" for number in range(6000)))
    jtv.ok("sync", "a.txt")
    kept = "".join(f"line {number}\n" if number % 2 else "\n" for number in range(6000))
    jtv.write("a.txt", kept)
    [report] = jtv.ok("sync", "a.txt", "--yes", "--json").records
    assert report["removed"] == {"documents": 3000, "occurrences": 3000}
    texts = jtv.ok("list", "-f", "text").stdout.splitlines()
    assert texts == [line for line in kept.splitlines() if line]


class TestFolders:
    """What is gone from a folder goes from the table."""

    ALL = ("--glob", "*", "--checksum")

    @pytest.fixture
    def folder(self, on_each_store: Jtv) -> Jtv:
        jtv = on_each_store
        jtv.ok("init")
        for name in ("a.md", "sub/b.md", "c.txt"):
            jtv.write(f"notes/{name}", f"{name}\n")
        jtv.ok("sync", "notes", *self.ALL)
        return jtv

    def test_a_file_that_is_gone(self, folder: Jtv) -> None:
        (folder.folder / "work/notes/sub/b.md").unlink()
        result = folder.ok("sync", "./notes/", *self.ALL, "--dry-run")
        assert "1 file no longer exists: notes/sub/b.md\n" in result.stderr
        assert "Would remove 1 document and 1 occurrence\n" in result.stderr
        result = folder("sync", "notes", *self.ALL)
        assert result.code == 3
        assert "this removes 1 document and 1 occurrence from table" in result.stderr
        assert len(places(folder)) == 3
        result = folder.ok("sync", "notes", *self.ALL, "--yes", "--json")
        assert result.records[0]["removed"] == {"documents": 1, "occurrences": 1}
        assert "1 file no longer exists: notes/sub/b.md\n" in result.stderr
        assert {row[1] for row in places(folder)} == {"notes/a.md", "notes/c.txt"}
        assert "no longer exists" not in folder.ok("sync", "notes", *self.ALL).stderr

    def test_a_file_that_has_another_name_keeps_its_documents(self, folder: Jtv) -> None:
        work = folder.folder / "work"
        before = {row[2]: row[1] for row in folder.ok("list").rows}
        (work / "notes/c.txt").rename(work / "notes/d.txt")
        result = folder.ok("sync", "notes", *self.ALL, "--dry-run")
        assert "Would remove 0 documents and 1 occurrence\n" in result.stderr
        result = folder.ok("sync", "notes", *self.ALL, "--yes")
        assert "0 stored, 3 known" in result.counts
        assert "Removed 0 documents and 1 occurrence\n" in result.stderr
        assert before == {row[2]: row[1] for row in folder.ok("list").rows}
        assert ("c.txt", "notes/d.txt", "1") in places(folder)

    def test_only_what_the_patterns_fit(self, folder: Jtv) -> None:
        for name in ("a.md", "sub/b.md", "c.txt"):
            (folder.folder / "work/notes" / name).unlink()
        folder.write("notes/d.md", "d.md\n")
        folder.ok("sync", "notes", "--glob", "sub/*", "--glob", "d.*", "--yes")
        assert {row[1] for row in places(folder)} == {"notes/a.md", "notes/c.txt", "notes/d.md"}
        folder.ok("sync", "notes", "--glob", "*.md", "--yes")
        assert {row[1] for row in places(folder)} == {"notes/c.txt", "notes/d.md"}

    @pytest.mark.parametrize("given", ["notes", "."])
    def test_nothing_outside_and_nothing_that_it_would_not_have_read(
        self, folder: Jtv, given: str
    ) -> None:
        link, work = "notes/link", folder.folder / "work"
        folder.write("elsewhere/x", "x\n")
        (work / link).symlink_to("../elsewhere")
        folder.ok("ingest", f"{link}/x")
        strange = os.fsdecode(b"notes/caf\xe9")
        (work / strange).write_text("strange\n")
        folder.ok("ingest", strange)
        hidden = (".notes/a.md", "notes/.x/a.md")
        elsewhere = ("/notes/a.md", "../notes/a.md", "notes/../../a.md", "https://notes/a.md")
        no_file = (f"notes/{'long' * 100}/a.md", "notes")
        beside = ("notes2/a.md", "a.md") if given == "notes" else ()
        for name in (*hidden, *elsewhere, *no_file, *beside):
            folder.ok("ingest", "-", "--source", name, stdin=f"{name}\n")
        folder.ok("ingest", "-", stdin="piped\n")
        before = places(folder)
        result = folder.ok("sync", given, "--glob", "notes/*", "--glob", "a.md", "--yes")
        assert "no longer exist" not in result.stderr
        assert places(folder) == before

    def test_a_folder_without_any_such_file_may_not_be_there(self, folder: Jtv) -> None:
        """A disk that is not mounted looks like that."""
        for name in ("a.md", "sub/b.md", "c.txt"):
            (folder.folder / "work/notes" / name).unlink()
        result = folder("sync", "notes", *self.ALL, "--yes")
        assert result.code == 2
        assert "no file in notes matches *" in result.error
        assert len(places(folder)) == 3

    def test_where_something_cannot_be_read_nothing_goes(
        self, folder: Jtv, as_a_user: list[str]
    ) -> None:
        sub = folder.folder / "work/notes/sub"
        (folder.folder / "work/notes/c.txt").unlink()
        sub.chmod(0)
        result = folder("sync", "notes", *self.ALL, "--yes", prefix=as_a_user)
        sub.chmod(0o700)
        assert result.code == 2
        folder.write("notes/a.md", b"a.md\n\xff\n")
        assert folder("sync", "notes", *self.ALL, "--yes").code == 3
        assert len(places(folder)) == 3

    def test_a_source_with_a_name_is_no_folder(self, folder: Jtv) -> None:
        (folder.folder / "work/notes/c.txt").unlink()
        folder.ok("sync", "notes", "--glob", "a.md", "--source", "notes/x", "--yes")
        assert len(places(folder)) == 4


class TestPaying:
    @pytest.fixture
    def paid(self, keyed: Jtv, api: JinaServer) -> Jtv:
        keyed.write("a.txt", "".join(f"line {number}\n" for number in range(1500)))
        keyed.ok("init")
        keyed.ok("ingest", "a.txt")
        api.bill.clear()
        return keyed

    def test_only_for_what_the_table_does_not_have(self, paid: Jtv, api: JinaServer) -> None:
        paid.write("a.txt", "line 7\nnew\nline 8\n")
        paid.ok("sync", "a.txt", "--dry-run")
        assert api.bill == []
        paid.ok("sync", "a.txt", "--yes")
        assert api.bill == ["new"]
        assert len(paid.ok("list").rows) == 3

    def test_interrupted_it_removes_nothing(self, paid: Jtv, api: JinaServer) -> None:
        paid.write("a.txt", "new\n")
        api.misbehave(jina_faults.hang(2), times=None)
        asked = len(api.requests)
        process = paid.start("sync", "a.txt", "--yes", stderr=subprocess.PIPE)
        wait_until(lambda: len(api.requests) > asked)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=30)
        assert process.returncode == 130
        assert stderr.decode().rstrip().endswith("nothing was removed")
        assert len(paid.ok("list").rows) == 1501  # the answer in flight is stored

    def test_stopped_by_its_budget_it_removes_nothing(self, paid: Jtv) -> None:
        paid.write("a.txt", "new " * 500)
        result = paid("sync", "a.txt", "--yes", "--max-tokens", "1")
        assert result.code == 3
        assert "nothing was removed" in result.stderr
        assert len(paid.ok("list").rows) == 1500
