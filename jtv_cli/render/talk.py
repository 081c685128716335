"""stderr: notes, reports, questions and errors, a line each."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from jtv_cli.errors import masked
from jtv_cli.render.visible import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TextIO

_ERASE = "\r\x1b[2K"


class Talk:
    """Everything jtv says that is not data. With `quiet`, only errors.

    On a `dumb` terminal nothing moves. A stderr that cannot be written is no reason
    to stop.
    """

    def __init__(self, stream: TextIO | None, *, dumb: bool = False) -> None:
        self.quiet = False
        self.debug = False
        self.is_terminal = stream is not None and stream.isatty()
        self._dumb = dumb
        self._moving = False
        self._stream = stream

    @property
    def shows_progress(self) -> bool:
        """Whether something that moves may be shown."""
        return self.is_terminal and not self.quiet and not self._dumb

    def note(self, message: str) -> None:
        """Say something worth knowing."""
        if not self.quiet:
            self._line(f"jtv: {message}")

    def report(self, message: str) -> None:
        """Say what was done."""
        if not self.quiet:
            self._line(message)

    def error(self, message: str) -> None:
        """Say what went wrong, and with `debug` where, from within an `except` block."""
        if self.debug and sys.exc_info()[0] is not None:
            import traceback

            self._write(masked(traceback.format_exc()))
        self._line(f"jtv: {message}")

    def ask(self, question: str, stdin: TextIO) -> bool:
        """Return whether the user answers yes."""
        self._write(f"{visible(masked(question))} [y/N] ")
        return stdin.readline().strip().lower() in {"y", "yes"}

    @contextmanager
    def moving(self) -> Iterator[None]:
        """Share the terminal's last line with something that moves there, then erase it."""
        self._moving = True
        try:
            yield
        finally:
            self._moving = False
            self._write(_ERASE)

    @contextmanager
    def waiting(self, message: str) -> Iterator[Callable[[str], None]]:
        """On a terminal, show what is being waited for, and take it away again.

        What this yields puts another message in its place.
        """
        if not self.shows_progress:
            yield lambda _: None
            return
        with self.moving():
            self._wait_for(message)
            yield self._wait_for

    def _wait_for(self, message: str) -> None:
        self._write(f"{_ERASE}{visible(message)} …")

    def _line(self, message: str) -> None:
        self._write(f"{_ERASE if self._moving else ''}{visible(masked(message))}\n")

    def _write(self, text: str) -> None:
        if self._stream is None:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            self._stream = None
