"""Directories: which of their files are read."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Jtv


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


def test_records_without_text_are_read_as_plain_text(made: Jtv) -> None:
    made.write("d/package.json", '{\n"name": "x"\n}\n')
    made.write("d/settings.json", "// comment\n{}\n")
    made.write("d/numbers.csv", "a,b\n1,2\n")
    made.write("d/texts.jsonl", '{"text": "one"}\n')
    made.ok("ingest", "d")
    texts = made.ok("list", "-f", "text").stdout.splitlines()
    assert {'"name": "x"', "// comment", "1,2", "one"} <= set(texts)
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
