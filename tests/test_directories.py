"""Directories: which of their files are read."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Jtv
    from jina_server import JinaServer


def git(jtv: Jtv, *arguments: str, cwd: Path | None = None) -> str:
    """Run the real git as the user."""
    identity = ("-c", "user.name=A", "-c", "user.email=a@example.com")
    done = subprocess.run(
        ["git", *identity, *arguments],
        cwd=cwd or jtv.folder / "work",
        env=jtv.variables({"GIT_CONFIG_NOSYSTEM": "1"}),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def write_all(jtv: Jtv, *names: str) -> None:
    """Write files, each with its own name as its text."""
    for name in names:
        jtv.write(name, f"{name}\n")


def read(jtv: Jtv, *arguments: str) -> set[str]:
    """Return the files that an ingest reads, each of which has its own name as its text."""
    jtv.ok("init", "--drop", "--yes", "--model", "hashing-v1")
    jtv.ok("ingest", *arguments)
    return set(jtv.ok("list", "-f", "text").stdout.splitlines())


def listed(jtv: Jtv, below: str = "") -> set[str]:
    """Return the files that git would list, less hidden ones, links and nested repositories."""
    work = jtv.folder / "work"
    names = git(jtv, "ls-files", "-co", "-z", "--exclude-standard", "--", below or ".").split("\0")
    return {
        name
        for name in names
        if name
        and not any(part.startswith(".") for part in name.split("/"))
        and (work / name).is_file()
        and not (work / name).is_symlink()
    }


def test_a_repository_with_nested_rules(made: Jtv) -> None:
    git(made, "init", "-q")
    write_all(
        made,
        *("a.md", "build/x.md", "src/build/y.md", "src/a.tmp", "src/keep.tmp", "notes/draft.md"),
        *("notes/old/a.md", "notes/old/keep/b.md", "deep/er/x.log", "deep/x.log", "deep/er/y.md"),
        *("node_modules/p/readme.md", "src/node_modules/q.md", "a b.md ", "#c.md", "!d.md"),
        *("data/1.dat", "data/10.dat", "data/x.dat", "only/here.md", "src/only/here.md"),
    )
    made.write(
        ".gitignore",
        "# comment\n\n/build/\nnode_modules/\n*.tmp\n!keep.tmp\ndeep/**/x.log\r\n\\#c.md\n"
        "\\!d.md\na\\ b.md\\ \ndata/[0-9].dat\n/only\n[unclosed\ntrailing\\\n   \n",
    )
    made.write("notes/.gitignore", "draft.md\nold/*\n!old/keep\n")
    made.write("src/.gitignore", "!/a.tmp\n/build/*\n!/build/y.md")
    assert read(made, ".") == listed(made)
    assert read(made, "src") == listed(made, "src")
    assert "src/a.tmp" in read(made, "src")


def test_a_repository_with_excludes_of_the_user_and_tracked_files(made: Jtv) -> None:
    git(made, "init", "-q")
    write_all(
        made,
        *("a.md", "kept/tracked.log", "kept/other.log", "x.log", "out/deep/tracked.md"),
        *("out/deep/new.md", "out/new.md", "mine.txt", "private/a.md", "backup~", "docs/a.log"),
    )
    git(made, "add", "kept/tracked.log", "out/deep/tracked.md")
    git(made, "commit", "-q", "-m", "first")
    made.write(".gitignore", "*.log\nout/\n!docs/*.log\n")
    made.write(".git/info/exclude", "private/\n")
    made.write("../home/.config/git/ignore", "*~\n")
    assert read(made, ".") == listed(made)
    assert read(made, "out/deep") == listed(made, "out/deep") | {"out/deep/new.md"}
    made.write("../home/.gitconfig", '[user]\n\tname = A\n[Core]\n\texcludesFile = "~/mine"\n')
    made.write("../home/mine", "mine.txt\n")
    assert read(made, ".") == listed(made)
    git(made, "update-index", "--index-version", "4")
    assert read(made, ".") == listed(made) > {"kept/tracked.log", "out/deep/tracked.md"}


@pytest.mark.parametrize("way", ["clone", "worktree"])
def test_a_repository_whose_rules_exclude_everything_first(made: Jtv, way: str) -> None:
    git(made, "init", "-q", "origin")
    origin = made.folder / "work/origin"
    write_all(made, "origin/first.md")
    git(made, "add", "-f", ".", cwd=origin)
    git(made, "commit", "-q", "-m", "first", cwd=origin)
    if way == "clone":
        git(made, "clone", "-q", "origin", "copy")
        made.write("copy/.git/info/exclude", "excluded.md\n")
    else:
        git(made, "worktree", "add", "-q", "../copy", cwd=origin)
        made.write("origin/.git/info/exclude", "excluded.md\n")
    copy = made.folder / "work/copy"
    names = ("a.md", "b.txt", "sub/c.md", "sub/d.txt", "sub/x/e.md", "excluded.md", "y/**/f.md")
    for name in names:
        made.write(f"copy/{name}", f"{name}\n")
    made.write("copy/first.md", "first.md\n")
    made.write(
        "copy/.gitignore", "*\n!*/\n!*.md\nsub/**/e.md\n!/sub/[[:alpha:]].txt\ny/**\n!y/**/\n"
    )
    found = read(made, "copy")
    inside = {
        name
        for name in git(made, "ls-files", "-co", "-z", "--exclude-standard", cwd=copy).split("\0")
        if name and not name.startswith(".")
    }
    assert found == inside
    assert "sub/d.txt" in found


def test_own_ignore_files_have_priority(made: Jtv) -> None:
    write_all(made, "d/a.md", "d/b.md", "d/c.md", "d/e.md", "d/sub/a.md", "d/sub/c.md")
    made.write("d/.gitignore", "a.md\nb.md\n")
    made.write("d/.ignore", "!a.md\nc.md\n")
    made.write("d/.jtvignore", "!/c.md\ne.md\n")
    made.write("d/sub/.ignore", "a.md\n")
    assert read(made, "d") == {"d/a.md", "d/c.md"}
    everything = {"d/a.md", "d/b.md", "d/c.md", "d/e.md", "d/sub/a.md", "d/sub/c.md"}
    assert read(made, "d", "--no-ignore") == everything


def test_nested_repositories_have_rules_of_their_own(made: Jtv) -> None:
    git(made, "init", "-q")
    git(made, "init", "-q", "inner")
    write_all(made, "a.log", "a.md", "inner/a.log", "inner/b.md")
    made.write(".gitignore", "*.log\n")
    made.write("inner/.gitignore", "b.md\n")
    made.write(".jtvignore", "")
    assert read(made, ".") == {"a.md", "inner/a.log"}


def test_what_is_not_read_is_counted(made: Jtv) -> None:
    write_all(made, "d/a.md", "d/.hidden.md", "d/.venv/x", "d/.git/y", "d/skip.md", "d/more/b.md")
    made.write("d/.gitignore", "skip.md\n")
    made.write("d/picture", b"\x89PNG\r\n\x1a\n rest")
    made.write("d/data.bin", b"a\0b")
    (made.folder / "work/d/link").symlink_to("more")
    result = made.ok("ingest", "d")
    assert "Excluded 6 files and directories: " in result.stderr
    for count in ("2 hidden", "1 ignored", "1 linked", "2 binary"):
        assert count in result.stderr
    assert result.counts.startswith("2 stored, 0 known, 0 empty, 0 skipped")
    assert "Excluded" not in made.ok("ingest", "d/more").stderr


def test_include_and_exclude(made: Jtv) -> None:
    write_all(made, "d/a.md", "d/b.md", "d/c.txt", "d/sub/a.md", "d/sub/old/x.md", "d/old/y.md")
    assert read(made, "d", "--include", "*.md", "--exclude", "old/", "--exclude", "/b.md") == {
        "d/a.md",
        "d/sub/a.md",
    }
    assert read(made, "d", "--exclude", "*", "--exclude", "!c.txt") == {"d/c.txt"}
    assert read(made, "d", "--include", "sub") == {"d/sub/a.md", "d/sub/old/x.md"}
    result = made("ingest", "d/a.md", "--exclude", "x")
    assert (result.code, "are for directories" in result.error) == (2, True)


def test_links_to_directories(made: Jtv) -> None:
    write_all(made, "d/a.md", "d/sub/b.md", "elsewhere/c.md")
    work = made.folder / "work"
    (work / "d/loop").symlink_to("../d")
    (work / "d/sub/up").symlink_to("..")
    (work / "d/out").symlink_to("../elsewhere")
    (work / "d/again").symlink_to("../elsewhere")
    assert read(made, "d") == {"d/a.md", "d/sub/b.md"}
    assert read(made, "d", "--follow") == {"d/a.md", "d/sub/b.md", "elsewhere/c.md"}
    sources = {record["source"] for record in made.ok("list", "--json").records}
    assert sources == {"d/a.md", "d/sub/b.md", "elsewhere/c.md"}


def test_records_without_text_are_read_as_code(made: Jtv) -> None:
    made.write("d/package.json", '{\n"name": "x"\n}\n')
    made.write("d/settings.json", "// comment\n{}\n")
    made.write("d/numbers.csv", "a,b\n1,2\n")
    made.write("d/texts.jsonl", '{"text": "one"}\n')
    made.ok("ingest", "d")
    texts = made.ok("list", "-f", "text").stdout.splitlines()
    assert {'{\\n"name": "x"\\n}', "// comment\\n{}", "a,b\\n1,2", "one"} == set(texts)
    result = made("ingest", "d", "--text-field", "body")
    assert (result.code, "has no field body" in result.error) == (2, True)


def test_text_that_cannot_be_read_is_named(made: Jtv) -> None:
    made.write("d/a.md", "a\n")
    made.write("d/wide.txt", "wide".encode("utf-16"))
    result = made("ingest", "d")
    assert result.code == 3
    assert "d/wide.txt: it is UTF-16 text" in result.stderr


@pytest.mark.parametrize("command", ["ingest", "sync"])
def test_a_directory_without_anything_to_read(made: Jtv, command: str) -> None:
    (made.folder / "work/d").mkdir()
    result = made(command, "d")
    assert (result.code, "no file to read in d" in result.error) == (2, True)
    write_all(made, "d/a.md")
    made.write("d/.gitignore", "*\n")
    result = made(command, "d")
    assert (result.code, "add --no-ignore" in result.error) == (2, True)
    made.write("e/a", b"GIF87a")
    result = made(command, "e")
    assert (result.code, "all files found are binary" in result.error) == (2, True)


def test_names_that_are_not_utf8(made: Jtv) -> None:
    for name in (b"caf\xe9.md", b"b\xff.md"):
        made.write(f"d/{os.fsdecode(name)}", "text\n")
    made.write("d/.gitignore", b"*\xe9.md\n")
    result = made.ok("ingest", "d")
    assert "1 ignored" in result.stderr
    assert made.ok("list", "--json").records[0]["source"] == "d/b\\xff.md"


HOUR = 3600


def age(jtv: Jtv, name: str, seconds: float = HOUR) -> None:
    """Make files look as if they were last modified some time ago."""
    then = time.time() - seconds
    top = jtv.folder / "work" / name
    for path in [top, *top.rglob("*")]:
        if path.is_file():
            os.utime(path, (then, then))


def unchanged(stderr: str) -> str:
    """Return the line that counts unchanged files, if there is one."""
    return next((line for line in stderr.splitlines() if "unchanged" in line), "")


class TestUnchanged:
    """Files that have not changed are not read again, and no other file is passed over."""

    @pytest.fixture
    def read_once(self, on_each_store: Jtv) -> Jtv:
        jtv = on_each_store
        jtv.ok("init")
        for name in ("a", "b", "sub/c"):
            jtv.write(f"d/{name}.txt", f"{name} one\n{name} two\nshared\n")
        age(jtv, "d")
        jtv.ok("ingest", "d")
        return jtv

    def test_they_are_not_read(self, read_once: Jtv, as_a_user: list[str]) -> None:
        work = read_once.folder / "work"
        (work / "d/a.txt").chmod(0)
        result = read_once.ok("ingest", "d", prefix=as_a_user)
        assert unchanged(result.stderr) == "3 files unchanged, not read"
        assert unchanged(read_once.ok("sync", "d", prefix=as_a_user).stderr)
        assert read_once("ingest", "d", "--checksum", prefix=as_a_user).code == 2
        (work / "d/a.txt").chmod(0o600)
        result = read_once.ok("ingest", "d", "--checksum")
        assert (result.counts, unchanged(result.stderr)) == (
            "0 stored, 9 known, 0 empty, 0 skipped, 0 tokens",
            "",
        )

    def test_changed_ones_are(self, read_once: Jtv) -> None:
        path = read_once.write("d/a.txt", "a one\na new\nshared\n")
        result = read_once.ok("ingest", "d")
        assert unchanged(result.stderr) == "2 files unchanged, not read"
        assert result.counts.startswith("1 stored, 2 known")
        # It was modified just before it was read, and so may change again unnoticed.
        then = path.stat().st_mtime_ns
        path.write_text("a one\na two\nagain1\n")
        os.utime(path, ns=(then, then))
        assert read_once.ok("ingest", "d").counts.startswith("1 stored")

    def test_only_time_and_size_are_compared_without_checksum(self, read_once: Jtv) -> None:
        path = read_once.folder / "work/d/a.txt"
        then = path.stat().st_mtime_ns
        path.write_text("a one\na new\nshared\n")
        os.utime(path, ns=(then, then))
        assert read_once.ok("ingest", "d").counts.startswith("0 stored")
        assert read_once.ok("ingest", "d", "--checksum").counts.startswith("1 stored")

    @pytest.mark.parametrize("how", ["id", "source", "texts"])
    def test_what_was_deleted_comes_back(self, read_once: Jtv, how: str) -> None:
        found = {row[2]: row[1] for row in read_once.ok("list").rows}
        if how == "id":
            read_once.ok("delete", found["a one"], "--yes")
        elif how == "source":
            read_once.ok("delete", "--source", "d/a.txt", "--yes")
        else:
            read_once.ok("delete", "--texts", "-", "--yes", stdin="a one\n")
        result = read_once.ok("ingest", "d")
        assert unchanged(result.stderr) == "2 files unchanged, not read"
        assert "a one" in read_once.ok("list", "-f", "text").stdout.splitlines()
        assert unchanged(read_once.ok("ingest", "d").stderr).startswith("3 files")

    def test_sync_removes_what_ingest_left(self, read_once: Jtv) -> None:
        read_once.write("d/a.txt", "a one\n")
        age(read_once, "d/a.txt", 2 * HOUR)
        read_once.ok("ingest", "d")
        assert unchanged(read_once.ok("ingest", "d").stderr).startswith("3 files")
        result = read_once.ok("sync", "d", "--yes")
        assert unchanged(result.stderr) == "2 files unchanged, not read"
        assert "Removed 1 document and 2 occurrences" in result.stderr
        (read_once.folder / "work/d/b.txt").unlink()
        result = read_once.ok("sync", "d", "--yes")
        assert unchanged(result.stderr) == "2 files unchanged, not read"
        assert "Removed 2 documents and 3 occurrences" in result.stderr
        shutil.rmtree(read_once.folder / "work/d")
        assert read_once("sync", "d", "--yes").code == 2
        assert len(read_once.ok("list").rows) == 4

    def test_in_another_way_they_are_read(self, read_once: Jtv) -> None:
        result = read_once("ingest", "d", "--paragraphs")
        assert unchanged(result.stderr) == ""
        assert result.counts.startswith("3 stored")

    def test_files_with_skipped_records_are_read_again(self, read_once: Jtv) -> None:
        read_once.write("d/b.txt", b"b one\n\xff\n")
        age(read_once, "d/b.txt", 2 * HOUR)
        for _ in range(2):
            result = read_once("ingest", "d")
            assert (result.code, unchanged(result.stderr)) == (3, "2 files unchanged, not read")

    def test_one_that_became_binary_is_named(self, read_once: Jtv) -> None:
        read_once.write("d/b.txt", b"GIF87a")
        result = read_once("sync", "d", "--yes")
        assert result.code == 3
        assert "d/b.txt: it is a GIF image" in result.stderr
        assert len(read_once.ok("list").rows) == 7

    def test_json(self, read_once: Jtv) -> None:
        [report] = read_once.ok("ingest", "d", "--json").records
        assert report["stored"] == 0


def test_an_interrupted_ingest_reads_again(keyed: Jtv, api: JinaServer) -> None:
    keyed.ok("init")
    for number in range(3):
        keyed.write(f"d/{number}.txt", "".join(f"{number} {line}\n" for line in range(400)))
    age(keyed, "d")
    result = keyed("ingest", "d", "--max-tokens", "3000", "--concurrency", "1")
    assert result.code == 3
    api.bill.clear()
    result = keyed.ok("ingest", "d")
    assert unchanged(result.stderr) == ""
    assert 0 < len(api.bill) < 1200
    assert len(keyed.ok("list").rows) == 1200
    assert unchanged(keyed.ok("ingest", "d").stderr) == "3 files unchanged, not read"


class TestMany:
    def test_many_files_need_yes(self, made: Jtv) -> None:
        for number in range(1001):
            made.write(f"d/{'large' if number > 300 else 'small'}/{number}.txt", f"{number}\n")
        age(made, "d")
        result = made("ingest", "d")
        assert result.code == 2
        assert "this ingests 1,001 new files, about " in result.error
        assert "(free); the largest directories are d/large (" in result.error
        assert "hint: add --yes to confirm" in result.error
        assert made.ok("list").rows == []
        made.ok("ingest", "d", "--yes")
        assert unchanged(made.ok("ingest", "d").stderr) == "1,001 files unchanged, not read"

    def test_many_tokens_need_yes(self, keyed: Jtv, api: JinaServer) -> None:
        keyed.write("d/a.txt", "word " * 700_000)
        keyed.ok("init")
        result = keyed("sync", "d")
        assert result.code == 2
        assert "this ingests 1 new file, about 1,166,666 tokens with" in result.error
        assert "USD" in result.error
        assert api.bill == []
