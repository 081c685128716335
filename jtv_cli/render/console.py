"""stderr: notes, reports, questions and errors, a line each."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from jtv_cli.errors import mask_secrets
from jtv_cli.render.escape import escape_controls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TextIO

_ERASE = "\r\x1b[2K"
# The cells of a line behind a message: " …", and the ^C that a terminal shows.
_MARGIN = 5
_LATIN = 0x300


class Console:
    """Everything jtv says that is not data.

    With `quiet` that is errors and questions alone; with `debug` errors say where they
    came from; what moves has colours if it is `colored`. On a `dumb` terminal nothing
    moves. A stderr that cannot be written is no reason to stop.
    """

    def __init__(self, stream: TextIO | None, *, dumb: bool = False) -> None:
        self.quiet = False
        self.debug = False
        self.colored = False
        self.is_terminal = stream is not None and stream.isatty()
        self._dumb = dumb
        self._moving = False
        self._awaited = ""
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

            self._write(mask_secrets(traceback.format_exc()))
        self._line(f"jtv: {message}")

    def ask(self, question: str, stdin: TextIO) -> bool:
        """Return whether the user answers yes; the end of the input is no."""
        answer = ""
        try:
            self._write(f"{escape_controls(mask_secrets(question))} [y/N] ")
            answer = stdin.readline()
        finally:
            # The key that ends the input, or interrupts, leaves the cursor where it was.
            if not answer.endswith("\n"):
                self._write("\n")
        return answer.strip().lower() in {"y", "yes"}

    @contextmanager
    def moving(self) -> Iterator[None]:
        """Share the terminal's last line with something that moves there, then erase it.

        Within something else that moves there, that comes back afterwards.
        """
        outer = self._moving, self._awaited
        self._moving, self._awaited = True, ""
        try:
            yield
        finally:
            self._moving, self._awaited = outer
            self._write(_ERASE + self._waiting_line())

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
        self._awaited = message
        self._write(_ERASE + self._waiting_line())

    def _waiting_line(self) -> str:
        """Return what is waited for, on one line: no more than that could be erased again."""
        if not self._awaited:
            return ""
        return f"{_cut(escape_controls(mask_secrets(self._awaited)), self._width() - _MARGIN)} …"

    def _width(self) -> int:
        """Return the cells of a line, 80 where the terminal does not say."""
        try:
            columns = os.get_terminal_size(self._stream.fileno()).columns if self._stream else 0
        except (OSError, ValueError):
            columns = 0
        return columns or 80

    def _line(self, message: str) -> None:
        erase = _ERASE if self._moving else ""
        self._write(f"{erase}{escape_controls(mask_secrets(message))}\n{self._waiting_line()}")

    def _write(self, text: str) -> None:
        if self._stream is None:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            self._stream = None


def _cut(text: str, cells: int) -> str:
    """Return the beginning of a text that has room in so many cells of a terminal.

    Characters beyond Latin letters are taken to be two cells wide, as some are.
    """
    for end, character in enumerate(text):
        cells -= 1 if ord(character) < _LATIN else 2
        if cells < 0:
            return text[:end]
    return text
