"""How far an ingest is: a line that moves on a terminal, elsewhere one now and then."""

from __future__ import annotations

import time
from collections import deque
from contextlib import contextmanager
from math import inf
from threading import Event, Thread
from typing import TYPE_CHECKING

from jtv_cli.errors import mask_secrets
from jtv_cli.records import IngestProgress, IngestReport
from jtv_cli.render.escape import escape
from jtv_cli.render.units import format_count, format_usd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jtv_cli.records import Wait
    from jtv_cli.render.console import Console

# Off a terminal, seconds between two lines.
_INTERVAL = 30.0
# Off a terminal, waits from so many seconds on are said when they begin.
_LONG_WAIT = 5.0
# The rate, and what is left at that rate, are those of so many seconds.
_RECENT = 60.0


@contextmanager
def ingest_progress(
    console: Console, *, size: int | None, price: float, is_typed: bool = False
) -> Iterator[Callable[[IngestProgress], None]]:
    """Show how far an ingest has come; what this yields is to be called with every step.

    `size` is that of the input in bytes, None where it is not known, `price` is in USD
    for a million tokens. Beside what `is_typed` only waits are: the rest would stand in it.
    """
    view = _View(size, price)
    if console.quiet:
        yield view.update
    elif is_typed:
        yield _noting_waits(console, view)
    elif console.shows_progress:
        with _moving(console, view):
            yield view.update
    else:
        with _now_and_then(console, view):
            yield _noting_waits(console, view)


class _View:
    """The latest step in words."""

    def __init__(self, size: int | None, price: float) -> None:
        self._size = size
        self._price = price
        self._progress = IngestProgress(IngestReport())
        self._began = time.monotonic()
        self._recent = deque([(self._began, 0)])

    def update(self, progress: IngestProgress) -> None:
        """Take a step."""
        self._progress = progress
        now = time.monotonic()
        if now - self._recent[-1][0] >= 0.5:
            self._recent.append((now, progress.report.texts))
            while now - self._recent[0][0] > _RECENT and len(self._recent) > 2:
                self._recent.popleft()

    def words(self) -> str:
        """Return how far it is, how fast, what it cost, and when it will be done."""
        report = self._progress.report
        passed = time.monotonic() - self._began
        if not self._progress.texts:
            return f"reading, {_clock(passed)}"
        total, is_exact = self._total()
        if total is None:
            parts = [f"{report.stored:,} stored, {report.known:,} already stored"]
        else:
            parts = [f"{report.texts:,} of {'' if is_exact else '~'}{total:,}"]
        if wait := self._current_wait:
            parts.append(_in_words(wait))
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
        return escape(mask_secrets(", ".join(parts)))

    @property
    def _current_wait(self) -> Wait | None:
        wait = self._progress.wait
        return wait if wait is not None and wait.until > time.monotonic() else None

    def _total(self) -> tuple[int | None, bool]:
        """Return the number of texts, judged by what was read, and whether it is exact."""
        if not self._size or not self._progress.bytes:
            return None, False
        texts, read = self._progress.texts, self._progress.bytes
        return round(texts * max(1.0, self._size / read)), read >= self._size

    def _rate(self) -> float:
        """Return texts a second of late."""
        began, texts = self._recent[0]
        passed = time.monotonic() - began
        return (self._progress.report.texts - texts) / passed if passed >= 0.5 else 0.0


def _in_words(wait: Wait) -> str:
    left = wait.until - time.monotonic()
    return f"waiting{'' if left == inf else f' {left:,.0f} s'}: {wait.reason}"


def _clock(seconds: float) -> str:
    """Return a time as hours, minutes and seconds."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"


@contextmanager
def _moving(console: Console, view: _View) -> Iterator[None]:
    from rich.console import Console as RichConsole
    from rich.progress import Progress, ProgressColumn, SpinnerColumn, Task
    from rich.table import Column
    from rich.text import Text

    class Words(ProgressColumn):
        def render(self, task: Task) -> Text:  # noqa: ARG002
            return Text(view.words())

    with console.live_line() as stream:
        terminal = RichConsole(
            file=stream,
            width=console.width,
            force_terminal=True,
            color_system="auto" if console.colored else None,
            no_color=not console.colored,
        )
        # On one line, for one is what is erased before a message, and with room behind it
        # for the ^C that a terminal shows.
        width = max(20, console.width - 6)
        one_line = Column(no_wrap=True, overflow="ellipsis", max_width=width)
        columns = (SpinnerColumn(), Words(table_column=one_line))
        progress = Progress(*columns, console=terminal, transient=True, refresh_per_second=4)
        with progress:
            progress.add_task("")
            yield


@contextmanager
def _now_and_then(console: Console, view: _View) -> Iterator[None]:
    ended = Event()

    def tell() -> None:
        while not ended.wait(_INTERVAL):
            console.report(view.words())

    Thread(target=tell, daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def _noting_waits(console: Console, view: _View) -> Callable[[IngestProgress], None]:
    last: Wait | None = None

    def update(progress: IngestProgress) -> None:
        nonlocal last
        wait = progress.wait
        if wait is not None and wait is not last:
            left = wait.until - time.monotonic()
            if left >= _LONG_WAIT and (last is None or wait.until > last.until + 1):
                console.note(_in_words(wait))
            last = wait
        view.update(progress)

    return update
