"""The progress of an ingest: a line that is redrawn on a terminal, elsewhere one now and then."""

from __future__ import annotations

import time
from collections import deque
from contextlib import contextmanager
from datetime import timedelta
from math import inf
from threading import Event, Thread
from typing import TYPE_CHECKING

from jtv_cli.errors import mask_secrets
from jtv_cli.records import IngestProgress, IngestReport
from jtv_cli.render.escape import escape
from jtv_cli.render.units import format_count, format_usd

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jtv_cli.records import Wait
    from jtv_cli.render.console import Console

# All in seconds. Off a terminal: between two lines, and how long a wait is that is printed
# when it begins.
_INTERVAL = 30.0
_LONG_WAIT = 5.0
# The rate, and the time left at that rate, are those of this period.
_RECENT = 60.0
# A rate over less than this says little.
_LEAST_PERIOD = 0.5


@contextmanager
def ingest_progress(
    console: Console, *, size: int | None, price: float, is_typed: bool = False
) -> Iterator[IngestObserver]:
    """Show on a console what the observer that this yields is told of an ingest.

    `size` is that of the input in bytes, None if it is not known; `price` is in USD per
    million tokens. While somebody types the input (`is_typed`), only long waits are shown.
    """
    if is_typed or console.quiet:
        yield IngestObserver(console, size, price, prints_waits=True)
    elif console.shows_progress:
        observer = IngestObserver(console, size, price)
        with _redrawn(console, observer):
            yield observer
    else:
        observer = IngestObserver(console, size, price, prints_waits=True)
        with _printed(console, observer):
            yield observer


class IngestObserver:
    """Keeps the latest progress of an ingest, and prints its notices."""

    def __init__(
        self, console: Console, size: int | None, price: float, *, prints_waits: bool = False
    ) -> None:
        self._console = console
        self._size = size
        self._price = price
        self._prints_waits = prints_waits
        self._wait: Wait | None = None
        self._progress = IngestProgress(IngestReport())
        self._began = time.monotonic()
        self._recent = deque([(self._began, 0)])

    @property
    def report(self) -> IngestReport:
        """What was done so far."""
        return self._progress.report

    def on_progress(self, progress: IngestProgress) -> None:
        """Keep the progress, and print a long wait when it begins, if that is wanted."""
        self._progress = progress
        now = time.monotonic()
        if now - self._recent[-1][0] >= _LEAST_PERIOD:
            self._recent.append((now, progress.report.texts))
            while now - self._recent[0][0] > _RECENT and len(self._recent) > 2:
                self._recent.popleft()
        if self._prints_waits and progress.wait is not None and progress.wait is not self._wait:
            self._print_wait(progress.wait)

    def on_notice(self, message: str) -> None:
        """Print the notice."""
        self._console.report(message)

    def on_skipped(self, place: str, reason: str) -> None:
        """Print which text was skipped, and why."""
        self._console.skipped(place, reason)

    def describe(self) -> str:
        """Return the progress, the rate, the cost, and the time left or else passed."""
        report = self._progress.report
        passed = time.monotonic() - self._began
        if not self._progress.texts:
            return f"reading, {_clock(passed)}"
        total, is_exact = self._total()
        if total is None:
            parts = [f"{report.stored:,} stored, {report.known:,} already stored"]
        else:
            parts = [f"{report.texts:,} of {'' if is_exact else '~'}{total:,}"]
        wait = self._progress.wait
        if wait is not None and wait.until > time.monotonic():
            parts.append(_describe_wait(wait))
        rate = self._rate()
        if rate:
            parts.append(f"{rate:,.0f} texts/s")
        if report.tokens:
            price = format_usd(report.tokens * self._price / 1e6)
            parts.append(f"{format_count(report.tokens, 'token')}, {price}")
        if rate and total is not None and total > report.texts:
            parts.append(f"{_clock((total - report.texts) / rate)} left")
        else:
            parts.append(_clock(passed))
        return ", ".join(parts)

    def _print_wait(self, wait: Wait) -> None:
        is_long = wait.until - time.monotonic() >= _LONG_WAIT
        if is_long and (self._wait is None or wait.until > self._wait.until + 1):
            self._console.report(_describe_wait(wait))
        self._wait = wait

    def _total(self) -> tuple[int | None, bool]:
        """Return the number of texts, estimated from what was read, and whether it is exact."""
        if not self._size or not self._progress.bytes:
            return None, False
        texts, read = self._progress.texts, self._progress.bytes
        return round(texts * max(1.0, self._size / read)), read >= self._size

    def _rate(self) -> float:
        """Return the texts per second of the recent period."""
        began, texts = self._recent[0]
        passed = time.monotonic() - began
        return (self.report.texts - texts) / passed if passed >= _LEAST_PERIOD else 0.0


def _describe_wait(wait: Wait) -> str:
    left = wait.until - time.monotonic()
    return f"waiting{'' if left == inf else f' {left:,.0f} s'}: {wait.reason}"


def _clock(seconds: float) -> str:
    """Return a time as hours, minutes and seconds."""
    return str(timedelta(seconds=round(seconds)))


@contextmanager
def _redrawn(console: Console, observer: IngestObserver) -> Iterator[None]:
    """Redraw the last line of the terminal, four times a second."""
    from rich.console import Console as RichConsole
    from rich.progress import Progress, ProgressColumn, SpinnerColumn, Task
    from rich.table import Column
    from rich.text import Text

    class Description(ProgressColumn):
        def render(self, task: Task) -> Text:  # noqa: ARG002
            return Text(escape(mask_secrets(observer.describe())))

    with console.live_line() as stream:
        terminal = RichConsole(
            file=stream,
            width=console.width,
            force_terminal=True,
            color_system="auto" if console.colored else None,
            no_color=not console.colored,
        )
        # On one line, because one is erased before a message, and with room behind it for
        # the ^C that a terminal shows.
        width = max(20, console.width - 6)
        one_line = Column(no_wrap=True, overflow="ellipsis", max_width=width)
        columns = (SpinnerColumn(), Description(table_column=one_line))
        progress = Progress(*columns, console=terminal, transient=True, refresh_per_second=4)
        with progress:
            progress.add_task("")
            yield


@contextmanager
def _printed(console: Console, observer: IngestObserver) -> Iterator[None]:
    """Print a line now and then, from a thread of its own."""
    ended = Event()

    def print_lines() -> None:
        while not ended.wait(_INTERVAL):
            console.report(observer.describe())

    Thread(target=print_lines, daemon=True).start()
    try:
        yield
    finally:
        ended.set()
