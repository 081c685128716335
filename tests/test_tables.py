"""What a terminal shows of hits and documents: places, excerpts, highlights, links, widths."""

from __future__ import annotations

import json
import random
import re
import sys
from typing import TYPE_CHECKING

import pytest

from conftest import processor_seconds
from jtv_cli.render.layout import cell_width, cut, excerpt, fold, hang, unwrapped
from terminal import Terminal

if TYPE_CHECKING:
    from conftest import Jtv

PLAIN = {"NO_COLOR": "1"}
WIDTHS = [40, 80, 120, 200]
LONG = "Filler says nothing of it. " * 40 + "Then a platypus lays an egg. " + "More filler. " * 40


@pytest.fixture
def filled(jtv: Jtv) -> Jtv:
    """A table with documents of a file in a directory, of stdin, long ones and code."""
    jtv.ok("init")
    texts = [LONG, "def egg():\n\treturn 1\n\n\nprint(egg())", "a short text about an egg"]
    jtv.write("dir/a.jsonl", "".join(json.dumps({"text": text}) + "\n" for text in texts))
    jtv.ok("ingest", "dir/a.jsonl")
    jtv.ok("ingest", "-", stdin="an egg from nowhere\n")
    return jtv


def shown(jtv: Jtv, *command: str, columns: int = 80, env: dict[str, str] = PLAIN) -> list[str]:
    """Return the lines that a command leaves on a terminal."""
    with Terminal(jtv, *command, columns=columns, env=env) as terminal:
        assert terminal.wait() == 0
    return terminal.lines


@pytest.mark.parametrize("columns", WIDTHS)
@pytest.mark.parametrize("command", ["search egg", "list", "list egg"])
def test_each_hit_has_its_file_and_line(filled: Jtv, command: str, columns: int) -> None:
    lines = shown(filled, *command.split(), columns=columns)
    text = "".join(lines).replace(" ", "")
    for place in ("dir/a.jsonl:1", "dir/a.jsonl:2", "dir/a.jsonl:3"):
        assert text.count(place) == 1
    assert max(map(cell_width, lines)) <= columns


@pytest.mark.parametrize("columns", WIDTHS)
def test_a_long_text_is_an_excerpt_around_the_query(filled: Jtv, columns: int) -> None:
    lines = shown(filled, "search", "platypus", "-k", "1", columns=columns)
    assert 4 <= len(list(filter(None, lines))) <= 20
    assert "platypus" in "".join(lines)
    assert "".join(lines).count("…") == 2
    listed = shown(filled, "list", "--limit", "1", columns=columns)
    assert "platypus" not in "".join(listed)
    assert "".join(listed).count("…") == 1
    assert "More filler" in "".join(shown(filled, "show", "1", columns=columns))


def test_a_newline_is_a_line_break(filled: Jtv) -> None:
    for command in (["search", "def", "-k", "1"], ["list", "--after", "1", "--limit", "1"]):
        lines = shown(filled, *command)
        [start] = [number for number, line in enumerate(lines) if "def egg" in line]
        column = lines[start].index("def")
        assert [line[column:] for line in lines[start : start + 4]] == [
            *("def egg():", "    return 1", "print(egg())", "dir/a.jsonl:2")
        ]
    assert shown(filled, "show", "2")[:8] == [
        *("id       2", "read in  dir/a.jsonl:2", "", "def egg():", "    return 1", "", ""),
        "print(egg())",
    ]


def test_off_a_terminal_a_table_is_whole(filled: Jtv) -> None:
    for command in (["search", "egg"], ["list"], ["list", "egg"]):
        text = filled.ok(*command, "-f", "table", env={"COLUMNS": "100"}).stdout
        assert " ".join(text.split()).count("More filler.") == 40
        assert "…" not in text
        assert "\x1b" not in text
        assert max(map(len, text.splitlines())) <= 100


def test_what_matches_is_highlighted(filled: Jtv) -> None:
    lines = shown(filled, "search", "What about the Eggs?", columns=80, env={})
    assert re.search(
        "a short text \x1b\\[[\\d;]*mabout\x1b\\[0m an \x1b\\[[\\d;]*megg\x1b", str_of(lines)
    )
    assert not re.search("m(an|the|of)\x1b", str_of(lines))
    assert "megg\x1b" not in str_of(shown(filled, "list", env={}))


def str_of(lines: list[str]) -> str:
    return "\n".join(lines)


def test_file_names_are_links(filled: Jtv) -> None:
    filled.ok("ingest", "-", "--source", "no file", stdin="another egg\n")
    url = f"file://{filled.folder}/work/dir/a.jsonl"
    for command in (["search", "egg"], ["list"], ["show", "1"]):
        text = str_of(shown(filled, *command, env={}))
        assert re.search(rf"\x1b\]8;[^;]*;{re.escape(url)}\x1b\\", text)
        assert text.count("\x1b]8;") == 2 * len(re.findall(r"dir/a\.jsonl:\d", text))
        for env in (PLAIN, {"TERM": "linux"}, {"VTE_VERSION": "4200"}):
            assert "\x1b]8;" not in str_of(shown(filled, *command, env=env))


@pytest.mark.parametrize("columns", ["0", "garbage", "-3", "1", "99999999999"])
def test_a_width_that_is_none_is_ignored(filled: Jtv, columns: str) -> None:
    for command in (["search", "egg"], ["list"], ["info"]):
        env = PLAIN | {"COLUMNS": columns}
        assert shown(filled, *command, env=env) == shown(filled, *command)


def test_a_width_that_is_asked_for(filled: Jtv) -> None:
    lines = shown(filled, "search", "egg", env=PLAIN | {"COLUMNS": "50"})
    assert 45 < max(map(len, lines)) <= 50


@pytest.mark.parametrize("text", ["a line of text\n", "word", "naïve ", "数学", "a 数 "], ids=ascii)
def test_large_texts_take_a_moment(jtv: Jtv, text: str) -> None:
    """Rather than minutes: 4 MB are folded in a fraction of this, on a machine at rest."""
    jtv.ok("init")
    large = (text * (4_000_000 // len(text.encode()))).strip()
    jtv.write("large.jsonl", json.dumps({"text": large}))
    jtv.ok("ingest", "large.jsonl")
    for command in (["search", "math"], ["list"], ["show", "1"]):
        for options in ([], ["-f", "table"]):
            before = processor_seconds()
            if options:
                jtv.ok(*command, *options)
            else:
                shown(jtv, *command)
            assert processor_seconds() - before < 4, command


class TestEmpty:
    """Where there is nothing to show, the next command is named."""

    def test_a_table_without_documents(self, jtv: Jtv) -> None:
        jtv.ok("init", "--table", "things")
        for command, code in (("search x", 1), ("list", 0), ("list x", 0), ("info", 0)):
            with Terminal(jtv, *command.split(), "--table", "things", env=PLAIN) as terminal:
                assert terminal.wait() == code
            message = "Table things has no documents. Add some with: jtv ingest --table things FILE"
            lines = terminal.messages
            assert message in (lines if command == "info" else lines[:1])
        assert jtv.ok("list", "--table", "things").stderr == ""

    def test_nothing_that_is_near_enough(self, filled: Jtv) -> None:
        with Terminal(filled, "search", "xylophone", "--max-distance", "0.01") as terminal:
            assert terminal.wait() == 1
        assert "Nothing found. Try again without --max-distance" in terminal.screen

    def test_an_id_that_does_not_exist(self, filled: Jtv) -> None:
        for command, code in (("show 9999", 1), ("delete 9999", 2)):
            result = filled(*command.split())
            assert result.code == code
            assert result.stderr.endswith("\nhint: see the ids: jtv list\n")

    def test_a_blank_file(self, filled: Jtv) -> None:
        filled.write("blank.txt", "\n \n")
        assert "The input has no text." in str_of(shown(filled, "ingest", "blank.txt"))
        assert "no text" not in filled.ok("ingest", "blank.txt").stderr

    def test_a_new_table(self, jtv: Jtv) -> None:
        with Terminal(jtv, "init", "--table", "notes", env=PLAIN) as terminal:
            assert terminal.wait() == 0
        assert "Now add documents with: jtv ingest --table notes FILE\n" in terminal.screen
        with Terminal(jtv, "init", "--table", "notes", env=PLAIN) as terminal:
            assert terminal.wait() == 0
        assert "Now add" not in terminal.screen

    def test_no_table(self, jtv: Jtv) -> None:
        for command in ("search x", "list"):
            with Terminal(jtv, *command.split(), env=PLAIN) as terminal:
                assert terminal.wait() == 5
            assert "jtv ingest FILE" in terminal.screen


class TestLayout:
    def test_no_line_is_longer_and_nothing_is_lost(self) -> None:
        chance = random.Random(0)
        pieces = ["a", "bcd", " ", "漢", "é", "e\u0301", "🦣", "\n", "    "]
        for _ in range(5000):
            text = "".join(chance.choices(pieces, k=chance.randrange(60)))
            width = chance.randrange(2, 20)
            lines = list(fold(text, width))
            assert all(cell_width(line) <= width for line in lines), (text, width)
            assert "".join("".join(lines).split()) == "".join(text.split())

    def test_words_stay_whole_and_indentation_stays(self) -> None:
        assert list(fold("one two three", 9)) == ["one two", "three"]
        assert list(fold("  indented\n\nx", 20)) == ["  indented", "", "x"]
        assert list(fold("incomprehensible", 6)) == ["incomp", "rehens", "ible"]
        assert list(fold("数学と物理", 4)) == ["数学", "と物", "理"]

    def test_a_sequence_is_not_broken(self) -> None:
        assert list(fold("👩\u200d💻👩\u200d💻", 5)) == ["👩\u200d💻"] * 2

    def test_prose_that_was_wrapped_is_joined(self) -> None:
        prose = "Semantic search finds texts by what they mean,\nnot by their words (a\nlittle)."
        assert unwrapped(f"# Title\n\n{prose}\n\nNext.") == (
            "# Title\nSemantic search finds texts by what they mean, not by their words (a\n"
            "little).\nNext."
        )

    @pytest.mark.parametrize(
        "text",
        [
            "- the first item of a list that is rather long, as items are\n- the second",
            "| a table | with two columns, and rows that are long enough |\n| its | row |",
            "result = compute_something_with_a_long_name(argument_one,\nargument_two)\n    return",
            "for (int i = 0; i < number_of_all_items_there_are; i++) {\nwork(i);\n}",
            "1. the first step of the recipe is to heat the oven well\n2. the second is to wait",
            "short lines\nof a poem\nstay lines",
        ],
    )
    def test_lines_that_are_not_prose_stay(self, text: str) -> None:
        assert unwrapped(text).split("\n") == text.split("\n")

    def test_a_message_hangs(self) -> None:
        assert hang("short", 5) == "short"
        assert hang("jtv: error: it is long", 14) == "jtv: error: it\n  is long"
        assert hang("see /a/very/long/path/to it", 10) == "see\n  /a/very/long/path/to\n  it"
        assert hang("数学 数学 数学", 6) == "数学\n  数学\n  数学"

    def test_cut(self) -> None:
        assert [cut("abcdef", width) for width in (6, 5, 1)] == ["abcdef", "abcd…", "…"]
        assert cut("数学数学", 6) == "数学…"
        assert cut("数学数学", 5, "") == "数学"

    def test_an_excerpt_has_what_matches_most(self) -> None:
        lines = ["a", "b one", "c", "d", "e one two", "f", "g", "h"]
        pattern = re.compile("one|two")
        assert excerpt(lines, 8, 20, pattern) == lines
        assert excerpt(lines, 3, 20, pattern) == ["…d", "e one two", "f …"]
        assert excerpt(lines, 3, 20) == ["a", "b one", "c …"]
        assert excerpt(lines, 3, 20, re.compile("three")) == ["a", "b one", "c …"]
        assert excerpt(lines, 3, 20, re.compile("h")) == ["…f", "g", "h"]


def test_a_table_imports_little(sampled: Jtv) -> None:
    """To draw hits takes the styles of rich alone: the rest of it takes longer than a search."""
    program = (
        "import os, sys\nfrom jtv_cli.__main__ import main\nsys.argv[:2] = ['jtv']\n"
        "os._exit = sys.exit\ntry:\n    main()\nexcept SystemExit:\n    pass\n"
        "sys.stderr.write('LOADED ' + ' '.join(sys.modules))"
    )
    command = ("search", "x", "-f", "table")
    result = sampled(*command, prefix=[sys.executable, "-c", program])
    loaded = result.stderr.rpartition("LOADED ")[2].split()
    assert "rich.style" in loaded
    assert not {"rich.console", "rich.table", "rich.text"} & set(loaded)
