"""No text that jtv reads drives a terminal or hides on it, wherever it comes from."""

from __future__ import annotations

import io
import json
import sys
import threading
import unicodedata
from typing import TYPE_CHECKING

import pytest

import jina_faults
from jtv_cli.render.console import Console, EscapingStream
from jtv_cli.render.escape import escape
from terminal import Terminal
from test_tidb_strangers import packet, stranger

if TYPE_CHECKING:
    from conftest import Jtv
    from jina_server import JinaServer

# A window title, a cleared screen, a C1 control, an override; then what has no glyph: a
# zero-width space and joiner, a line separator, a tag, a byte order mark, a soft hyphen.
WILD = "<\x1b]0;owned\x07\x1b[2J\x9b2J\u202e\u200b\u200d\u2028\U000e0041\ufeff\xad>"
UNSAFE = ["\x1b]", "\x1b[2J", *"\x07\x9b\u202e\u200b\u200d\u2028\U000e0041\ufeff\xad"]
ESCAPED = (
    r"<\u001b]0;owned\u0007\u001b[2J\u009b2J"
    r"\u202e\u200b\u200d\u2028\udb40\udc41\ufeff\u00ad>"
)
# Progress is redrawn, so that it need not be there in one piece.
FRAGMENT = r"\u001b]0;owned"


def on_terminal(jtv: Jtv, *arguments: str, typed: str = "", says: str = ESCAPED) -> None:
    """Run a command on a terminal, which must show the wild text, and show it escaped."""
    with Terminal(jtv, *arguments, columns=4000, env={"NO_COLOR": "1"}) as terminal:
        if typed:
            terminal.wait_for("[y/N]")
            terminal.type(typed)
        terminal.wait()
    assert says in terminal.screen
    assert not [unsafe for unsafe in UNSAFE if unsafe in terminal.screen], terminal.screen


@pytest.fixture
def wild(jtv: Jtv) -> Jtv:
    """A table with a text, a source and metadata that are all wild."""
    jtv.ok("init")
    jtv.write("wild.jsonl", json.dumps({"text": WILD, "field": WILD}))
    jtv.ok("ingest", "wild.jsonl", "--source", WILD)
    return jtv


@pytest.mark.parametrize(
    "command",
    [
        *(["search", "owned"], ["search", "--like", "1"], ["list"], ["list", "owned"]),
        *(["list", "-f", form] for form in ("tsv", "csv", "json", "jsonl", "text")),
        *(["show", "1"], ["show", "1", "--json"], ["show", "1", "-f", "tsv"], ["info"]),
        *(["info", "--json"], ["export"], ["export", "--vectors"]),
        *(["search", "--queries", "wild.txt"], ["search", "--queries", "wild.txt", "--json"]),
    ],
    ids=" ".join,
)
def test_what_is_stored(wild: Jtv, command: list[str]) -> None:
    wild.write("wild.txt", f"{WILD}\n")
    if command[:2] == ["search", "--like"]:
        wild.ok("ingest", "-", stdin=f"{WILD} again\n")
    on_terminal(wild, *command)


@pytest.mark.parametrize(
    "command",
    [
        *(["ingest", WILD], ["ingest", f"{WILD}.txt"], ["ingest", "a", "--source", WILD]),
        *(["ingest", "a", "--text-field", WILD], ["ingest", ".", "--glob", WILD]),
        *(["ingest", "a", "--input", WILD], ["sync", WILD], ["search", "x", "--where", WILD]),
        *(["search", "x", f"--{WILD}"], [WILD], ["index", WILD], ["list", "--table", WILD]),
        *(["list", "--model", WILD], ["list", "--database", f"{WILD}/x.db"]),
        *(["list", "--database", f"mysql://u:p@{WILD}/test"], ["list", "-k", WILD]),
        *(["list", "--database", f"mysql://u:p@localhost/test?{WILD}=1"],),
        *(["delete", "--source", WILD], ["delete", "--texts", WILD], ["import", WILD]),
        *(["search", "--queries", WILD], ["search", "x", "--api-base", WILD], ["show", WILD]),
    ],
    ids=lambda command: ascii(" ".join(command)).replace(ascii(WILD)[1:-1], "WILD"),
)
def test_what_a_command_line_names(jtv: Jtv, command: list[str]) -> None:
    jtv.ok("init")
    jtv.write("a", '{"text": "x"}\n')
    with Terminal(jtv, *command, "--debug", columns=4000) as terminal:
        terminal.wait()
    assert not [unsafe for unsafe in UNSAFE if unsafe in terminal.screen], terminal.screen


def test_a_traceback_shows_it_escaped(jtv: Jtv) -> None:
    on_terminal(jtv, "ingest", WILD, "--debug")
    result = jtv("ingest", f"{WILD}\nforged", "--debug")
    assert "Traceback (most recent call last):\n" in result.stderr
    assert result.stderr.count(rf"{ESCAPED}\nforged") >= 2
    assert "\x1b" not in result.stderr


def test_a_line_that_is_skipped(jtv: Jtv) -> None:
    jtv.ok("init")
    jtv.write(WILD, b"good\n\xff\n")
    on_terminal(jtv, "ingest", WILD)
    on_terminal(jtv, "ingest", WILD, "--debug")


def test_a_record_that_is_bad(jtv: Jtv) -> None:
    jtv.ok("init")
    jtv.write(f"{WILD}.jsonl", "{}\n{no\n")
    on_terminal(jtv, "ingest", f"{WILD}.jsonl")


def test_a_question(wild: Jtv) -> None:
    on_terminal(wild, "delete", "--source", WILD, typed="n\n", says="[y/N]")
    path = f"{WILD}.db"
    wild.ok("init", "--database", path)
    on_terminal(wild, "init", "--drop", "--database", path, typed="n\n")


def test_a_source_that_is_gone(wild: Jtv) -> None:
    wild.write(f"dir/{WILD}.txt", "a\n")
    wild.write("dir/b.txt", "b\n")
    wild.ok("ingest", "dir", "--glob", "*")
    (wild.folder / f"work/dir/{WILD}.txt").unlink()
    on_terminal(wild, "sync", "dir", "--glob", "*", typed="y\n")


@pytest.mark.parametrize("command", [["ingest", "lines.txt"], ["search", "x"], ["doctor"]])
@pytest.mark.parametrize("debug", [False, True], ids=["plain", "debug"])
def test_an_error_of_the_api(keyed: Jtv, api: JinaServer, command: list[str], debug: bool) -> None:
    keyed.ok("init")
    keyed.write("lines.txt", "a\n")
    api.misbehave(jina_faults.answer(400, {"detail": WILD}), times=9)
    on_terminal(keyed, *command, *(["--debug"] if debug else []), says=FRAGMENT)


def test_a_wait_for_the_api(keyed: Jtv, api: JinaServer) -> None:
    keyed.ok("init")
    keyed.write("lines.txt", "a\n")
    api.misbehave(jina_faults.answer(429, {"detail": WILD}, {"Retry-After": "2"}), times=1)
    on_terminal(keyed, "ingest", "lines.txt", says=FRAGMENT)


@pytest.mark.parametrize("debug", [False, True], ids=["plain", "debug"])
def test_an_error_of_a_database(jtv: Jtv, debug: bool) -> None:
    refusal = packet(0, b"\xff\x10\x04#08004" + WILD.encode())
    with stranger(refusal) as url:
        jtv.environment["TIDB_DATABASE_URL"] = url
        on_terminal(jtv, "list", *(["--debug"] if debug else []), says=FRAGMENT)


def test_a_file_that_is_no_database(jtv: Jtv) -> None:
    jtv.write(f"{WILD}.db", "this is no database" * 100)
    on_terminal(jtv, "list", "--database", f"{WILD}.db")
    on_terminal(jtv, "list", "--database", f"{WILD}.db", "--debug")


@pytest.mark.parametrize(
    "name", ["JTV_DATABASE", "TIDB_DATABASE_URL", "JTV_TABLE", "JTV_MODEL", "JINA_API_BASE"]
)
def test_a_setting(jtv: Jtv, name: str) -> None:
    jtv.write(".env", f"JINA_API_KEY='{WILD}'\n{name}='{WILD}'\n")
    for command in (["init"], ["ingest", "-"], ["doctor"]):
        with Terminal(jtv, *command, "--debug") as terminal:
            terminal.type("\x04")
            terminal.wait()
        assert not [unsafe for unsafe in UNSAFE if unsafe in terminal.screen], terminal.screen


def test_what_python_prints_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", EscapingStream(Console(stream)))
    error = RuntimeError(WILD)
    threading.__excepthook__(threading.ExceptHookArgs((RuntimeError, error, None, None)))
    sys.__excepthook__(RuntimeError, error, None)
    said = stream.getvalue().splitlines()
    assert said.count(f"RuntimeError: {ESCAPED}") == 2


class TestEscape:
    def test_every_control_character_is_escaped(self) -> None:
        for code in range(sys.maxunicode + 1):
            kind = unicodedata.category(chr(code))
            is_escaped = escape(f"a{chr(code)}b") != f"a{chr(code)}b"
            assert is_escaped or kind not in {"Cc", "Zl", "Zp", "Cs"}, hex(code)
            assert not is_escaped or kind not in {"Lu", "Ll", "Nd", "So", "Sm", "Zs"}, hex(code)

    @pytest.mark.parametrize("text", ["plain", "naïve 数学 🐙 ไทย", "क्षत्रिय", "a\u0308", "🇩🇪 👍🏽"])
    def test_letters_and_symbols_stay(self, text: str) -> None:
        assert escape(text) == text

    @pytest.mark.parametrize(
        "text",
        [
            *("👩‍💻", "👨‍👩‍👧‍👦", "❤️‍🔥", "🏳️‍🌈", "1️⃣", "☺︎", "👩🏽‍🚀", "🏴󠁧󠁢󠁥󠁮󠁧󠁿"),
            *("می\u200cخواهم", "क्\u200dष", "ശ്രീ\u200d", "葛\U000e0100", "ᠠ\u180b"),
        ],
        ids=ascii,
    )
    def test_a_stored_text_keeps_the_sequences_of_its_script(self, text: str) -> None:
        assert escape(text, keep_sequences=True) == text
        assert escape(text).isprintable()
        assert "\\u" in escape(text)

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("a\u200db", r"a\u200db"),
            ("👩\u200d\u200d💻", r"👩\u200d\u200d💻"),
            ("👩\u200d", r"👩\u200d"),
            ("x\ufe0f", r"x\ufe0f"),
            ("👩\ufe0f\ufe0f", "👩\ufe0f" + r"\ufe0f"),
            ("م\u200c\u200c\u200dم", r"م\u200c\u200c\u200dم"),
            ("a\U000e0100", r"a\udb40\udd00"),
            ("🏴\U000e0068\U000e0069\U000e007f", r"🏴\udb40\udc68\udb40\udc69\udb40\udc7f"),
            ("\ufeff", r"\ufeff"),
        ],
        ids=ascii,
    )
    def test_elsewhere_they_are_escaped_there_too(self, text: str, expected: str) -> None:
        assert escape(text, keep_sequences=True) == expected

    def test_newlines_may_stay(self) -> None:
        assert escape("a\nb\tc\r\n", keep_newlines=True) == "a\nb\\tc\\r\n"
        assert escape("a\nb\tc\r\n") == "a\\nb\\tc\\r\\n"

    def test_a_console_that_is_no_terminal_escapes_too(self) -> None:
        stream = io.StringIO()
        console = Console(stream)
        for say in (console.report, console.warning, console.error):
            say(WILD)
        assert stream.getvalue().count(ESCAPED) == 3
        assert stream.getvalue().count("\n") == 3
