"""What files are called as sources, what is remembered of them, and what earlier versions left."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from jtv_cli.stores import open_store
from terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from conftest import Jtv
    from jina_server import JinaServer

TABLE = "jinaai_tidb_demo_documents"


@pytest.fixture
def made(on_each_store: Jtv) -> Jtv:
    on_each_store.ok("init")
    return on_each_store


def work(jtv: Jtv) -> Path:
    return jtv.folder.resolve() / "work"


def sources(jtv: Jtv) -> set[str]:
    """The sources as they are stored."""
    store = open_store(jtv.environment.get("JTV_DATABASE") or str(jtv.database), writable=False)
    try:
        return {each.source or "-" for each in store.open(TABLE).sources()}
    finally:
        store.close()


def make_earlier(jtv: Jtv, names: Mapping[str, str]) -> None:
    """Rename sources as an earlier version would have stored them, without details."""
    store = open_store(jtv.environment.get("JTV_DATABASE") or str(jtv.database), writable=True)
    try:
        table = store.open(TABLE)
        for now, before in names.items():
            table.set_source_details({now: None})
            table.rename_source(now, before)
    finally:
        store.close()


def texts(jtv: Jtv) -> list[str]:
    return [row[2] for row in jtv.ok("list").rows]


class TestIdentity:
    def test_a_file_is_one_source_however_it_is_typed(self, made: Jtv) -> None:
        made.write("notes/travel.md", "one\ntwo\n")
        (work(made) / "link.md").symlink_to("notes/travel.md")
        (work(made) / "elsewhere").symlink_to("notes")
        typed = ("notes/travel.md", "./notes//travel.md", "link.md", "elsewhere/travel.md")
        for path in (*typed, str(work(made) / "notes/travel.md")):
            made.ok("ingest", path)
        made.ok("ingest", "travel.md", cwd=work(made) / "notes")
        made.ok("ingest", "notes", "--glob", "*")
        assert sources(made) == {str(work(made) / "notes/travel.md")}

    def test_it_is_shown_relative_to_the_working_directory(self, made: Jtv) -> None:
        made.write("notes/travel.md", "one\n")
        made.ok("ingest", "notes/travel.md")
        for command in (["list"], ["search", "one"], ["show", "1"]):
            assert made.ok(*command).rows[0][3] == "notes/travel.md"
            assert made.ok(*command, cwd=work(made) / "notes").rows[0][3] == "travel.md"
            above = made.ok(*command, "--json", cwd="/").records[0]["source"]
            assert above == str(work(made) / "notes/travel.md")[1:]
            beside = made.ok(*command, "--json", cwd=made.folder / "home").records[0]["source"]
            assert beside == str(work(made) / "notes/travel.md")
        assert "source\tnotes/travel.md\t1\t1\n" in made.ok("info").stdout
        [report] = made.ok("info", "--json").records
        assert report["sources"] == [
            {"source": "notes/travel.md", "occurrences": 1, "documents": 1}
        ]
        [document] = [each for each in made.ok("export").records if "content" in each]
        assert document["occurrences"][0]["source"] == str(work(made) / "notes/travel.md")

    @pytest.mark.parametrize(
        ("pattern", "found"),
        [
            ("notes/*.md", True),
            ("./notes/t*", True),
            ("notes/travel.md", True),
            ("link.md", True),
            ("elsewhere/*", True),
            ("*travel*", True),
            ("*/work/notes/*", True),
            ("../work/no[st]es/*", True),
            ("travel.md", False),
            ("notes", False),
            ("Notes/*", False),
        ],
    )
    def test_a_search_takes_what_is_shown_and_what_is_typed(
        self, made: Jtv, pattern: str, found: bool
    ) -> None:
        made.write("notes/travel.md", "one\n")
        (work(made) / "link.md").symlink_to("notes/travel.md")
        (work(made) / "elsewhere").symlink_to("notes")
        made.ok("ingest", "notes/travel.md")
        assert made("search", "one", "--source", pattern).code == (0 if found else 1)
        absolute = str(work(made) / "notes/*")
        assert made("search", "one", "--source", absolute).code == 0

    @pytest.mark.parametrize("typed", ["notes/travel.md", "./notes/../notes/travel.md", "link.md"])
    @pytest.mark.parametrize("is_gone", [False, True])
    def test_delete_takes_what_is_shown_and_what_is_typed(
        self, made: Jtv, typed: str, is_gone: bool
    ) -> None:
        path = made.write("notes/travel.md", "one\n")
        (work(made) / "link.md").symlink_to("notes/travel.md")
        made.ok("ingest", "notes/travel.md")
        if is_gone:
            path.unlink()
        made.ok("delete", "--source", typed, "--dry-run")
        made.ok("delete", "--source", str(work(made) / "notes/travel.md"), "--dry-run")
        made.ok("delete", "--source", "travel.md", "--yes", cwd=work(made) / "notes")
        assert texts(made) == []

    @pytest.mark.parametrize("typed", [b"caf\xe9/a\xff.txt", b"caf\\xe9/a\\xff.txt"])
    def test_a_name_that_is_not_utf8_can_be_given_back(self, made: Jtv, typed: bytes) -> None:
        path = os.fsdecode(b"caf\xe9/a\xff.txt")
        made.write(path, "one\n")
        made.ok("ingest", path)
        assert made.ok("list").rows[0][3] == r"caf\xe9/a\xff.txt"
        made.ok("search", "one", "--source", os.fsdecode(b"caf\xe9/*"))
        made.ok("delete", "--source", os.fsdecode(typed), "--yes")
        assert texts(made) == []

    def test_a_directory_of_another_project_is_left_alone(self, made: Jtv) -> None:
        for project in "ab":
            made.write(f"{project}/docs/{project}.md", f"text of {project}\n")
            folder = work(made) / project
            made.ok("sync", "docs", "--glob", "*.md", "--yes", cwd=folder)
        assert texts(made) == ["text of a", "text of b"]

    def test_a_name_is_not_a_file(self, made: Jtv) -> None:
        path = str(made.write("notes/a.md", "one\n"))
        (work(made) / "notes/b.md").write_text("two\n")
        for name in ("notes/a.md", "notes/c.md", f"{work(made)}/notes/d.md"):
            made.ok("ingest", "-", "--source", name, stdin=f"{name}\n")
        made.ok("sync", "notes", "--glob", "*", "--yes")
        assert len(texts(made)) == 5
        result = made("ingest", "-", "--source", path, stdin="three\n")
        assert (result.code, "is the path of a file" in result.error) == (2, True)
        made.write("notes/d.md", "four\n")
        result = made("ingest", "notes/d.md")
        assert (result.code, "is already the name of a source" in result.error) == (2, True)

    def test_what_is_no_file_on_disk_keeps_its_path(self, made: Jtv) -> None:
        command = 'exec "$@" <(echo one) <(echo two)'
        made.ok("ingest", prefix=["bash", "-c", command, "bash"])
        assert all(source.startswith("/dev/fd/") for source in sources(made))


class TestEarlierVersions:
    def test_the_names_of_one_file_become_one(self, made: Jtv) -> None:
        for name in ("a", "b", "c"):
            made.write(f"notes/{name}.md", "one\ntwo\nthree\n")
            made.ok("ingest", f"notes/{name}.md", "--lines")
        here = work(made) / "notes"
        names = {"a": "a.md", "b": "notes/a.md", "c": f"{here}/a.md"}
        make_earlier(made, {f"{here}/{now}.md": before for now, before in names.items()})
        assert "a.md" in sources(made)
        made.write("notes/a.md", "one\ntwo\nfour\n")
        result = made.ok("sync", "notes/a.md", "--yes")
        assert "of an earlier version" in result.stderr
        made.ok("ingest", "a.md", cwd=here)
        assert sources(made) == {str(here / "a.md")}
        made.ok("sync", "notes/a.md", "--yes")
        assert set(texts(made)) == {"one", "two", "four"}

    def test_one_of_another_project_is_left_alone(self, made: Jtv) -> None:
        made.write("a/docs/x.md", "one\ntwo\n")
        made.ok("ingest", "docs/x.md", "--lines", cwd=work(made) / "a")
        make_earlier(made, {f"{work(made)}/a/docs/x.md": "docs/x.md"})
        made.write("b/docs/x.md", "other\n")
        made.write("b/docs/y.md", "more\n")
        made.ok("sync", "docs", "--glob", "*", "--yes", cwd=work(made) / "b")
        assert "docs/x.md" in sources(made)
        (work(made) / "b/docs/x.md").unlink()
        result = made.ok("sync", "docs", "--glob", "*", "--yes", cwd=work(made) / "b")
        assert "1 source of an earlier version may be gone" in result.stderr
        assert "jtv delete --source docs/x.md" in result.stderr
        assert texts(made) == ["one", "two", "more"]
        made.ok("sync", "docs", "--glob", "*", "--yes", cwd=work(made) / "a")
        assert sources(made) == {f"{work(made)}/a/docs/x.md", f"{work(made)}/b/docs/y.md"}

    def test_a_dry_run_renames_nothing(self, made: Jtv) -> None:
        made.write("a.md", "one\n")
        made.ok("ingest", "a.md")
        make_earlier(made, {f"{work(made)}/a.md": "a.md"})
        made.ok("ingest", "a.md", "--dry-run")
        made.ok("sync", "a.md", "--dry-run")
        assert sources(made) == {"a.md"}

    def test_the_way_it_was_read_is_found_out(self, made: Jtv) -> None:
        made.write("a.md", "one\nmore of it\n\ntwo\nand more\n")
        made.ok("ingest", "a.md", "--paragraphs")
        make_earlier(made, {f"{work(made)}/a.md": "a.md"})
        result = made("ingest", "a.md")
        assert (result.code, "was read by paragraphs before" in result.error) == (2, True)
        made.ok("ingest", "a.md", "--paragraphs")
        assert sources(made) == {f"{work(made)}/a.md"}
        assert len(texts(made)) == 2


class TestReading:
    PARAGRAPHS = "one\nmore of it\n\ntwo\nand more\n"

    @pytest.mark.parametrize("command", ["ingest", "sync"])
    def test_another_way_must_be_said_before_anything_is_paid(
        self, keyed: Jtv, api: JinaServer, command: str
    ) -> None:
        keyed.ok("init")
        keyed.write("a.txt", self.PARAGRAPHS)
        keyed.ok("ingest", "a.txt", "--paragraphs")
        paid = len(api.bill)
        for more in ([], ["--dry-run"]):
            result = keyed(command, "a.txt", *more)
            assert result.code == 2
            assert "a.txt was read by paragraphs before" in result.error
            assert (
                "add --paragraphs to read it as before, or --input text --chunk 256" in result.error
            )
        assert len(api.bill) == paid
        keyed.ok(command, "a.txt", "--paragraphs")
        assert len(api.bill) == paid

    def test_sync_asks_before_it_pays(self, keyed: Jtv, api: JinaServer) -> None:
        keyed.ok("init")
        keyed.write("a.txt", self.PARAGRAPHS)
        keyed.ok("ingest", "a.txt", "--paragraphs")
        paid = len(api.bill)
        result = keyed("sync", "a.txt", "--input", "lines")
        assert result.code == 2
        assert "this replaces up to 2 documents and 2 occurrences of a.txt" in result.error
        assert "now read by lines instead of by paragraphs" in result.error
        with Terminal(keyed, "sync", "a.txt", "--input", "lines") as terminal:
            terminal.wait_for("[y/N]")
            assert len(api.bill) == paid
            terminal.type("n\n")
            assert terminal.wait() == 2
        assert len(api.bill) == paid
        keyed.ok("sync", "a.txt", "--input", "lines", "--yes")
        assert texts(keyed) == ["one", "more of it", "two", "and more"]
        keyed.ok("sync", "a.txt")
        assert keyed("sync", "a.txt", "--paragraphs").code == 2

    @pytest.mark.parametrize(
        ("name", "data", "before", "now", "says"),
        [
            (
                "a.csv",
                "text,body\nx,y\n",
                ["--text-field", "body"],
                [],
                "add --input csv --text-field body to read it as before",
            ),
            ("a.csv", "text,body\nx,y\n", ["--no-header", "--text-field", "2"], [], "--no-header"),
            ("a.csv", "text,a;text\nx,y;z\n", ["--delimiter", ";"], [], "--delimiter ';'"),
            ("a.jsonl", '{"text": "x"}\n', ["--input", "lines"], [], "--input lines"),
            ("a.jsonl", '{"text": "x"}\n', [], ["--paragraphs", "--input", "lines"], ""),
            ("a.csv", "text,body\nx,y\n", [], ["--text-field", "body"], ""),
            ("a.csv", "text,body\nx,y\n", ["--text-field", "text"], [], ""),
            ("a.csv", "text;body\nx;y\n", ["--delimiter", ";"], [], ""),
            ("a.csv", "text;body\nx;y\n", [], ["--delimiter", ";"], ""),
            ("-", "x\n", ["--source", "n"], ["--source", "n", "--paragraphs"], ""),
            ("-", "x\n", ["--source", "n", "--paragraphs"], ["--source", "n"], "--paragraphs"),
        ],
    )
    def test_what_is_remembered(
        self, made: Jtv, name: str, data: str, before: list[str], now: list[str], says: str
    ) -> None:
        if name != "-":
            made.write(name, data)
        made.ok("ingest", name, *before, stdin=data)
        result = made("ingest", name, *now, stdin=data)
        assert result.code == (2 if says else 0), result.stderr
        assert says in result.stderr

    def test_a_file_that_is_empty_for_once_keeps_what_is_remembered(self, made: Jtv) -> None:
        made.write("a.csv", "text,body\nx,y\n")
        made.ok("sync", "a.csv", "--text-field", "body")
        made.write("a.csv", "")
        made.ok("ingest", "a.csv", "--text-field", "body")
        made.write("a.csv", "text,body\nx,y\n")
        assert made("sync", "a.csv").code == 2


def test_sync_of_a_directory_with_a_binary_file(made: Jtv) -> None:
    """It is left out, exit code 3, and what is gone from the others is removed all the same."""
    made.write("docs/a.txt", "one\ntwo\n")
    made.write("docs/b.bin", "three\n")
    made.write("docs/c.txt", "four\n")
    made.ok("sync", "docs", "--glob", "*")
    made.write("docs/a.txt", "one\n")
    made.write("docs/b.bin", b"\0\1\2")
    (work(made) / "docs/c.txt").unlink()
    result = made("sync", "docs", "--glob", "*", "--yes")
    assert result.code == 3
    assert "b.bin: it is a binary file" in result.stderr
    assert texts(made) == ["one", "three"]
