"""Help: what fits on a screen, groups, examples, and topics."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import typer

import jtv_cli
from jtv_cli.cli.run import make_app
from terminal import Terminal
from test_readme import ROOT, commands

if TYPE_CHECKING:
    from conftest import Jtv

ALL = dict(commands(typer.main.get_command(make_app())))


def test_the_help_of_jtv_fits_on_a_small_screen(jtv: Jtv) -> None:
    shown = jtv.ok("--help").stdout
    lines = shown.splitlines()
    assert len(lines) < 24  # a line is left for the prompt
    assert max(map(len, lines)) <= 80
    assert "..." not in shown
    words = set(re.findall(r"[a-z]+", shown))
    assert {name.split()[1] for name in ALL} <= words
    headings = [line for line in lines if re.match(r"[A-Z].*:($| )", line)]
    assert [heading.partition(":")[0] for heading in headings] == [
        *(
            "Usage",
            "Search text by meaning",
            "Common options",
            "Start here",
            "Look after a table",
            "Move it",
            "More",
            "Example",
            "See also",
        )
    ]


@pytest.mark.parametrize("name", ALL)
def test_every_command_has_two_examples_of_itself(name: str) -> None:
    examples = ALL[name].epilog.partition("Examples:\n")[2].partition("\n\n")[0].splitlines()
    assert len(examples) >= 2
    assert name.split()[-1] == "list" or all(name.split()[1] in example for example in examples)
    assert all(len(example) <= 80 for example in examples)


def test_options_are_in_groups(jtv: Jtv) -> None:
    shown = jtv.ok("search", "--help").stdout
    headings = re.findall(r"^([A-Z][^:\n]*):$", shown, re.MULTILINE)
    assert headings == [
        *("Arguments", "Options", "Which documents", "Output", "Store, model and API"),
    ]
    selection = shown.partition("Which documents:")[2].partition("Output:")[0]
    assert "--where" in selection
    assert "2147483647" not in shown
    assert "--source" in jtv.ok("ingest", "--help").stdout.partition("Output:")[0]


def test_the_version_as_json(jtv: Jtv) -> None:
    for words in (("--version", "--json"), ("--json", "--version")):
        [record] = jtv.ok(*words).records
        assert record["version"] == jtv_cli.__version__
        assert list(record) == ["version", "python", "platform", "sqlite", "extras"]
        assert "files" in record["extras"]


def test_topics_are_pages(jtv: Jtv) -> None:
    topics = [row[0].split()[-1] for row in jtv.ok("help", "topics").rows]
    assert {"settings", "output", "tidb"} <= set(topics)
    for topic in topics:
        assert jtv.ok("help", topic).stdout == (ROOT / f"docs/{topic}.md").read_text()
    assert jtv.ok("help", "exit-codes").stdout == jtv.ok("help", "output").stdout


def test_a_page_on_a_terminal_has_no_markup(jtv: Jtv) -> None:
    with Terminal(jtv, "help", "performance", columns=70, env={"NO_COLOR": "1"}) as terminal:
        assert terminal.wait() == 0
        assert max(map(len, terminal.lines)) <= 70
        assert "| what |" not in terminal.screen
        assert "![" not in terminal.screen
    with Terminal(jtv, "help", "settings", columns=40, env={"NO_COLOR": "1"}) as terminal:
        assert terminal.wait() == 0
        assert max(map(len, terminal.lines)) <= 40
        assert "…" not in terminal.screen.replace("starting …", "")
    with Terminal(jtv, "help", "output", columns=200) as terminal:
        assert terminal.wait() == 0
        shown = re.sub("\x1b[^m]*m", "", terminal.screen)
        assert "see Searching (jtv help searching)" in " ".join(shown.split())


@pytest.mark.parametrize("words", ["--help", "search --help", "help output"])
def test_headings_are_bold_where_colors_are_wanted(jtv: Jtv, words: str) -> None:
    with Terminal(jtv, *words.split(), columns=80) as terminal:
        assert terminal.wait() == 0
        assert re.search("\x1b\\[1m *(Start here:|Output:|Output and exit codes)", terminal.screen)
    with Terminal(jtv, *words.split(), columns=80, env={"NO_COLOR": "1"}) as terminal:
        assert terminal.wait() == 0
        assert "\x1b[" not in terminal.screen.replace("\x1b[2K", "")
    assert "\x1b" not in jtv.ok(*words.split()).stdout
