"""What an ingest says while it runs, from steps made up here and from a real terminal."""

from __future__ import annotations

import io
import re
import time
from typing import TYPE_CHECKING

import pytest

import jina_faults
from jtv_cli.records import IngestProgress, IngestReport, Wait
from jtv_cli.render import progress
from jtv_cli.render.console import Console
from jtv_cli.render.progress import ingest_progress
from terminal import Terminal

if TYPE_CHECKING:
    from conftest import Jtv
    from jina_server import JinaServer


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has a line said a hundred times a second, rather than each half minute."""
    monkeypatch.setattr(progress, "_INTERVAL", 0.01)


def said(
    *steps: IngestProgress, quiet: bool = False, until: str = "", size: int | None = 1000
) -> str:
    """Return what was said of the steps, off a terminal, until a word was in it."""
    stream = io.StringIO()
    console = Console(stream)
    console.quiet = quiet
    with ingest_progress(console, size=size, price=0.05) as observer:
        for step in steps:
            observer.on_progress(step)
        deadline = time.monotonic() + 10
        while until not in stream.getvalue() and time.monotonic() < deadline:
            time.sleep(0.01)
    return stream.getvalue()


def test_off_a_terminal_a_line_now_and_then() -> None:
    report = IngestReport(stored=40, known=10, tokens=2_000_000)
    text = said(IngestProgress(report, texts=100, bytes=500), until="50 of")
    assert "50 of ~200, 2,000,000 tokens, 0.1000 USD, 0:00:00\n" in text


def test_a_price_has_the_digits_it_takes() -> None:
    text = said(IngestProgress(IngestReport(tokens=1_000), texts=1), until="USD")
    assert ", 1,000 tokens, less than 0.0001 USD, " in text
    text = said(IngestProgress(IngestReport(tokens=28_000), texts=1), until="USD")
    assert ", 28,000 tokens, 0.0014 USD, " in text


def test_all_was_read() -> None:
    text = said(IngestProgress(IngestReport(stored=40), texts=100, bytes=1000), until="40 of")
    assert "40 of 100, 0:00:00\n" in text


def test_an_input_of_unknown_size() -> None:
    text = said(IngestProgress(IngestReport(stored=40), texts=50), until="40", size=None)
    assert "40 stored, 0 already stored, 0:00:00\n" in text


def test_a_wait_is_said_once() -> None:
    wait = Wait(time.monotonic() + 60, "a limit is reached")
    steps = [IngestProgress(IngestReport(stored=n), texts=1, wait=wait) for n in (1, 2)]
    also = Wait(wait.until + 0.1, "a limit is reached")
    text = said(*steps, IngestProgress(IngestReport(), texts=1, wait=also), until=", waiting")
    assert re.findall("^waiting 60 s: .*$", text, re.MULTILINE) == [f"waiting 60 s: {wait.reason}"]


def test_quiet_says_nothing() -> None:
    wait = Wait(time.monotonic() + 60, "a limit is reached")
    assert said(IngestProgress(IngestReport(stored=1), texts=1, wait=wait), quiet=True) == ""


@pytest.fixture
def ready(keyed: Jtv) -> Jtv:
    keyed.ok("init")
    keyed.write("lines.txt", "".join(f"line {number}\n" for number in range(3000)))
    return keyed


def test_on_a_terminal(ready: Jtv, api: JinaServer) -> None:
    api.latency = 0.8
    with Terminal(ready, "ingest", "lines.txt", columns=160) as terminal:
        terminal.wait_for("1,024 of 3,000, ")
        terminal.wait_for("texts/s, ")
        terminal.wait_for(" USD, 0:00:0")
        terminal.wait_for(" left")
        assert terminal.wait() == 0


@pytest.mark.parametrize(
    ("options", "env", "is_colored"),
    [
        ((), {}, True),
        (("--color", "never"), {}, False),
        ((), {"NO_COLOR": "1"}, False),
        (("--color", "always"), {"NO_COLOR": "1"}, True),
    ],
    ids=str,
)
def test_it_moves_in_colour_only_if_wanted(
    ready: Jtv, options: tuple[str, ...], env: dict[str, str], is_colored: bool
) -> None:
    with Terminal(ready, "ingest", "lines.txt", *options, env=env) as terminal:
        assert terminal.wait() == 0
    assert "reading" in terminal.screen
    assert bool(re.search(r"\x1b\[[\d;]*m", terminal.screen)) == is_colored


def test_what_is_waited_for_is_counted_down_on_a_terminal(ready: Jtv, api: JinaServer) -> None:
    api.misbehave(jina_faults.answer(429, {"detail": "Slow down"}, {"Retry-After": "3"}), times=2)
    with Terminal(ready, "ingest", "lines.txt", columns=160) as terminal:
        for seconds in (3, 2, 1):
            terminal.wait_for(f"waiting {seconds} s: a limit is reached: 127.0.0.1:")
        assert terminal.wait() == 0
    assert not [line for line in terminal.lines if "waiting" in line]


def test_nothing_moves_over_what_is_typed(jtv: Jtv) -> None:
    jtv.ok("init")
    with Terminal(jtv, "ingest", "-") as terminal:
        terminal.wait_for("opening the embedder")
        terminal.type("a line that is typed\n\x04")
        assert terminal.wait() == 0
    assert "reading, 0:" not in terminal.screen
    assert "a line that is typed" in terminal.screen
    assert "Stored 1 new" in terminal.screen
