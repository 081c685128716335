"""The pages of docs/ are true: messages exist, and command blocks run."""

from __future__ import annotations

import ast
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import typer

from conftest import SCRIPT
from jtv_cli.cli.run import make_app, normalize
from test_structure import PACKAGE, modules

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Jtv

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
OUTPUT = (DOCS / "output.md").read_text()
GAP = "\0"
BLOCK = re.DOTALL | re.MULTILINE


def texts_of_the_code() -> list[str]:
    """Every text in the code, with a gap for what is filled in."""
    texts = []
    for path in modules():
        tree = ast.parse(path.read_text())
        parts = {
            id(part)
            for node in ast.walk(tree)
            if isinstance(node, ast.JoinedStr)
            for part in ast.walk(node)
            if part is not node
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                values = [v.value if isinstance(v, ast.Constant) else GAP for v in node.values]
                texts.append("".join(map(str, values)))
            elif (
                isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and id(node) not in parts
            ):
                texts.append(re.sub(r"\{[^}]*\}", GAP, node.value))
    return texts


def explained_messages() -> list[str]:
    page = (DOCS / "troubleshooting.md").read_text()
    headings = re.findall(r"^#### (.*)$", page, re.MULTILINE)
    return [message for heading in headings for message in re.findall("`([^`]+)`", heading)]


def test_the_messages_of_troubleshooting_exist() -> None:
    messages = explained_messages()
    assert len(messages) > 60
    texts = texts_of_the_code()
    for message in messages:
        # What is filled in at either end may be missing in the code, which then adds it later.
        wanted = message.strip("… ").removeprefix("is ").replace("…", GAP)
        assert any(wanted in text for text in texts), message


@pytest.mark.parametrize(
    "command",
    [
        ("search", "x", "--table", "none"),
        ("search", "x", "--keyword"),
        ("search", "x", "--where", "year"),
        ("search", "x", "--source", "none*"),
        ("search", "x", "--like", "3"),
        ("search", "x", "--model", "hashing-v1"),
        ("search", "x", "--database", "."),
        ("search", "x", "--database", "notes.txt"),
        ("search", "x", "--database", "tidb"),
        ("search", "x", "--database", "mysql://u@127.0.0.1:1/test"),
        ("search", "x", "--database", "mysql://u@127.0.0.1"),
        ("search", "x", "--database", "mysql://u:<PASSWORD>@127.0.0.1/test"),
        ("search", "x", "--database", "mysql://u@127.0.0.1/sys"),
        ("search", "x", "--database", "mysql://u@127.0.0.1/test?local_infile=1"),
        ("show", "99"),
        ("delete", "1"),
        ("delete", "--source", "none"),
        ("copy", "--from", "embedded", "--to", "embedded"),
        ("init", "--table", "a b"),
        ("init", "--table", "new", "--model", "none"),
        ("init", "--table", "new", "--model", "all-minilm-l6-v2"),
        ("ingest", "none.txt"),
        ("ingest", "empty"),
        ("ingest", ".", "--include", "*.none"),
        ("ingest", "latin.txt"),
        ("ingest", "some.bin"),
        ("ingest", "some.csv"),
        ("import", "notes.txt"),
    ],
    ids=" ".join,
)
def test_what_a_newcomer_may_see_is_explained(sampled: Jtv, command: tuple[str, ...]) -> None:
    sampled.write("notes.txt", "a note\n" * 200)
    sampled.write("latin.txt", "Käse\n".encode("utf-16-le") * 99)
    sampled.write("some.bin", b"\x7fELF\2\1\1\0")
    sampled.write("some.csv", "title,body\na,b\n")
    (sampled.folder / "work/empty").mkdir()
    result = sampled(*command)
    assert result.code in (1, 2, 5)
    patterns = [re.escape(each).replace("…", ".*") for each in explained_messages()]
    assert any(re.search(pattern, result.stderr) for pattern in patterns), result.stderr


def test_reports_have_the_keys_of_the_page(sampled: Jtv) -> None:
    rows = re.findall(r"^\| `([a-z ]+)` \| (`\w+`, .*|the same .*) \|$", OUTPUT, re.MULTILINE)
    documented = {name: re.findall(r"`(\w+)`", cells.partition(";")[0]) for name, cells in rows}
    documented["sync"] += documented["ingest"]
    sampled.write("notes.txt", "a note\n")
    arguments = {
        "ingest": ["notes.txt"],
        "sync": ["notes.txt"],
        "delete": ["1", "--yes"],
        "doctor": ["--no-api"],
    }
    for name, keys in documented.items():
        record, *_ = sampled.ok(*name.split(), *arguments.get(name, ()), "--json").records
        assert set(record) == set(keys) - {"ok", "warning", "failed"}, name
    assert len(documented) == 8
    [hit] = sampled.ok("search", "x", "-k", "1", "--json").records
    always = OUTPUT.partition("A JSON record always has the keys")[2].partition(";")[0]
    assert set(hit) == set(re.findall(r"`(\w+)`", always))


def test_links_between_pages_lead_somewhere() -> None:
    for page in (*DOCS.glob("*.md"), *ROOT.glob("*.md")):
        for link, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", page.read_text()):
            target = page.parent / link if link else page
            assert target.exists(), f"{page.name}: {link}"
            if anchor:
                titles = re.findall("^#+ (.*)", target.read_text(), re.MULTILINE)
                anchors = [re.sub(r"[^\w\- ]", "", each.lower()) for each in titles]
                assert anchor in [each.replace(" ", "-") for each in anchors], f"{page}: #{anchor}"


def example(name: str) -> str:
    pattern = rf"<!-- example: {re.escape(name)} -->\n```\w+\n(.*?)```"
    match = re.search(pattern, (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)
    assert match
    return match[1]


def test_the_embedder_of_contributing_works(jtv: Jtv) -> None:
    copy = jtv.folder / "copy"
    shutil.copytree(PACKAGE, copy / "jtv_cli", ignore=shutil.ignore_patterns("__pycache__"))
    module = "jtv_cli/embedders/letters.py"
    (copy / module).write_text(example(module))
    registry = copy / "jtv_cli/embedders/models.py"
    before, row, after = registry.read_text().partition("        Model(\n            STATIC_MODEL,")
    assert row
    registry.write_text(before + example("row") + row + after)
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", example("commands")],
        env=jtv.variables({"PYTHONPATH": str(copy), "PATH": f"{SCRIPT.parent}:/usr/bin:/bin"}),
        cwd=jtv.folder / "work",
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.stdout == "banana\n", result.stderr


def command_lines() -> Iterator[tuple[str, list[str]]]:
    """Every call of jtv in the command blocks of all pages: the page and the arguments."""
    pages = (*DOCS.glob("*.md"), *ROOT.glob("*.md"), ROOT / "skills/jtv/SKILL.md")
    for page in pages:
        for block in re.findall(r"^```(?:sh|console)\n(.*?)^```", page.read_text(), BLOCK):
            joined = block.replace("\\\n", " ")
            for line in joined.splitlines():
                yield from ((page.name, words) for words in calls(line.removeprefix("$ ")))


def calls(line: str) -> Iterator[list[str]]:
    """The arguments of each jtv that a shell would run in this line."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|;&<>()$")
    lexer.whitespace_split = True
    words: list[str] = []
    try:
        tokens = [*lexer, ";"]
    except ValueError:  # a quotation that goes on, or an apostrophe in the output of a command
        return
    for token in tokens:
        if set(token) <= set("|;&()$"):
            while words and re.fullmatch(r"\w+=.*|xargs|-.*|\d|export", words[0]):
                words.pop(0)
            if words[:1] == ["jtv"]:
                yield words[1:]
            words = []
        elif set(token) <= set("<>"):
            words += ["\0redirection"]
        elif words[-1:] == ["\0redirection"]:
            words.pop()
        else:
            words.append(token)


@pytest.mark.parametrize(("page", "words"), [*command_lines()], ids=lambda each: str(each)[:60])
def test_every_command_that_is_shown_is_one(page: str, words: list[str]) -> None:
    words = normalize(words)
    command = typer.main.get_command(make_app(words[0]))
    context = command.make_context("jtv", list(words), resilient_parsing=words[0].startswith("-"))
    while words and hasattr(command, "commands") and not words[0].startswith("-"):
        assert words[0] in command.commands, f"{page}: {words}"
        command = command.commands[words[0]]
        words = words[1:]
        is_help = "--help" in words
        context = command.make_context(
            "jtv", list(words), parent=context, resilient_parsing=is_help
        )
