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


def test_the_messages_of_troubleshooting_exist() -> None:
    page = (DOCS / "troubleshooting.md").read_text()
    messages = re.findall(r"^#### `(.*)`$", page, re.MULTILINE)
    assert len(messages) > 20
    texts = texts_of_the_code()
    for message in messages:
        # What is filled in at either end may be missing in the code, which then adds it later.
        wanted = message.strip("… ").replace("…", GAP)
        assert any(wanted in text for text in texts), message


def test_links_between_pages_lead_somewhere() -> None:
    for page in (*DOCS.glob("*.md"), *ROOT.glob("*.md")):
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


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
