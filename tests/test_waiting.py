"""What stands on a terminal while something is waited for, and that nothing of it is left."""

from __future__ import annotations

import os
import pty
import re
import socket
import sys
import time
from typing import TYPE_CHECKING

import pytest

from jtv_cli.cli import run
from jtv_cli.render.console import Console
from terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from conftest import Jtv

ERASE = "\r\x1b[2K"


@pytest.fixture
def silent_server() -> Iterator[str]:
    """The host and port of a server that takes every connection and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize(
    "command",
    [
        *("init", "ingest x", "sync x", "ingest --dry-run x", "search x", "search --like 1"),
        *("search --queries x", "list", "show 1", "delete 1 --yes", "info", "export", "import e"),
        *("index status", "index build", "index drop", "index wait", "index check"),
        *("copy --from tidb --to x.db", "copy --from embedded --to tidb"),
    ],
)
def test_a_store_that_is_waited_for_is_named(made: Jtv, silent_server: str, command: str) -> None:
    made.write("x", "a\n")
    if command == "import e":
        made.write("e", made.ok("export", "--vectors").stdout)
    made.environment["TIDB_DATABASE_URL"] = f"mysql://user:a_password@{silent_server}/test"
    with Terminal(made, *command.split(), env={"JTV_MODEL": "hashing-v1"}) as terminal:
        terminal.wait_for(f"reading {silent_server}/test …")
        assert terminal.screen.endswith(f"{ERASE}reading {silent_server}/test …")
        assert "a_password" not in terminal.screen


@pytest.mark.parametrize(
    ("command", "message"), [("tables", "counting"), ("doctor", "checking database")]
)
def test_what_is_waited_for_comes_back_after_a_wait_within_it(
    jtv: Jtv, silent_server: str, command: str, message: str
) -> None:
    jtv.environment["TIDB_DATABASE_URL"] = f"mysql://user@{silent_server}/test"
    with Terminal(jtv, command) as terminal:
        terminal.wait_for(f"opening the store …{ERASE}{message} …")
        assert terminal.screen.endswith(f"{message} …")


@pytest.mark.parametrize("columns", [40, 20])
def test_it_is_cut_to_what_fits_on_a_line(jtv: Jtv, columns: int) -> None:
    path = "数学" * 20 + ".db"
    with Terminal(jtv, "info", "--database", path, columns=columns) as terminal:
        assert terminal.wait() == 5
    waited = re.findall(r"\x1b\[2K([^\r\n]* …)", terminal.screen)
    assert "reading 数学" in str(waited)
    assert max(map(cells, waited)) + len("^C") < columns


def cells(text: str) -> int:
    """How wide a text is in a terminal: Chinese characters take two cells."""
    return sum(2 if "\u4e00" <= character <= "\u9fff" else 1 for character in text)


@pytest.fixture
def console() -> Iterator[tuple[Console, int]]:
    """A console on a terminal, and where what it writes can be read."""
    reader, writer = pty.openpty()
    with os.fdopen(writer, "w") as stream:
        yield Console(stream), reader
    os.close(reader)


def test_waits_nest_and_lines_pass(console: tuple[Console, int]) -> None:
    told, reader = console
    with told.status("outer") as show:
        show("changed")
        with told.status("inner"):
            told.report("a line")
        told.report("another")
    told.report("the last")
    screen = b""
    while not screen.endswith(b"the last\r\n"):
        screen += os.read(reader, 10_000)
    assert screen.decode().replace(ERASE, "^").replace("\r\n", "\n") == (
        "^outer …^changed …^inner …^a line\ninner …^changed …^another\nchanged …^the last\n"
    )


@pytest.mark.parametrize("command", ["search x", "list", "ingest -", "nonsense x", "doctor"])
def test_something_is_shown_at_once(sampled: Jtv, command: str) -> None:
    """Before jtv imports what a command needs, and within 150 ms of processor time."""
    program = (
        "import os, sys, time\nfrom jtv_cli.__main__ import main\nsys.argv[:2] = ['jtv']\n"
        "write = os.write\n"
        "def first_write(number, data):\n"
        "    with open('first', 'w') as file:\n"
        "        print(time.process_time(), 'typer' in sys.modules, file=file)\n"
        "    return write(number, data)\n"
        "os.write = first_write\n"
        "main()"
    )
    with Terminal(sampled, *command.split(), prefix=[sys.executable, "-c", program]) as terminal:
        terminal.wait_for("starting …")
        terminal.wait_for(ERASE)
    seconds, has_typer = (sampled.folder / "work/first").read_text().split()
    assert float(seconds) < 0.15
    assert has_typer == "False"


@pytest.mark.parametrize("command", [name for name in run._COMMANDS if name != "completion"])
def test_every_command_shows_something_150_ms_after_python(jtv: Jtv, command: str) -> None:
    def seconds(text: str, *words: str, prefix: Sequence[str]) -> float:
        started = time.monotonic()
        with Terminal(jtv, *words, prefix=prefix) as terminal:
            terminal.wait_for(text)
            return time.monotonic() - started

    def late() -> float:
        """Return how much later than a program that only prints."""
        python = seconds("here", prefix=[sys.executable, "-c", "print('here')"])
        return seconds("starting …", *command.split(), prefix=[sys.executable]) - python

    # Once in a while, another process has the processor.
    assert any(late() < 0.15 for _ in range(5))


@pytest.mark.parametrize(
    "command", ["search x -q", "search x --quiet", "--help", "search --help", "index", "--version"]
)
def test_nothing_of_it_is_left(sampled: Jtv, command: str) -> None:
    with Terminal(sampled, *command.split()) as terminal:
        terminal.wait()
    assert "starting" not in "".join(terminal.lines)
    assert command == "index" or "starting" not in terminal.screen


def test_an_error_erases_it(jtv: Jtv) -> None:
    with Terminal(jtv, "nonsense", "x") as terminal:
        assert terminal.wait() == 2
    assert terminal.screen.startswith(f"starting …{ERASE}")
    assert terminal.lines[0].startswith("jtv: error: ")
