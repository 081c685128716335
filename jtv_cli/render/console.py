"""stderr: notes, reports, warnings, errors and questions, and a status line on a terminal."""

from __future__ import annotations

import io
import sys
from contextlib import contextmanager, suppress
from threading import RLock
from typing import TYPE_CHECKING

from jtv_cli.errors import mask_secrets
from jtv_cli.render.escape import escape
from jtv_cli.render.layout import cut, hang, terminal_width

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TextIO

_ERASE = "\r\x1b[2K"
# The cells of a line behind a message: " …", and the ^C that a terminal shows.
_MARGIN = 5
_SIGNAL_SECONDS = 0.5


class Console:
    """Writes to stderr, with secrets masked and unsafe characters escaped.

    With `quiet`, only errors and questions are written. With `debug`, errors come with a
    traceback. Progress has colors if it is `colored`; on a `dumb` terminal there is none.
    A stderr that cannot be written to is ignored. Any thread may call the methods.

    With `is_starting`, the terminal shows a line already, which `end_start` or the first
    message erases.
    """

    def __init__(
        self,
        stream: TextIO | None,
        *,
        columns: int | None = None,
        dumb: bool = False,
        is_starting: bool = False,
    ) -> None:
        self.quiet = False
        self.debug = False
        self.colored = False
        self.is_terminal = stream is not None and stream.isatty()
        self._columns = columns
        self._dumb = dumb
        self._is_live = is_starting
        self._status = ""
        self._stream = stream
        self.complete_hint: Callable[[str], str] = str
        # Reentrant, because a signal handler may write while its thread does.
        self._lock = RLock()

    @property
    def shows_progress(self) -> bool:
        """Whether a status line or a progress bar may be shown."""
        return self.is_terminal and not self.quiet and not self._dumb

    def end_start(self) -> None:
        """Erase the line that was shown while jtv started, if there is one."""
        if self._is_live:
            self._is_live = False
            self._write(_ERASE)

    def report(self, message: str) -> None:
        """Print what was done, unless quiet."""
        if not self.quiet:
            self._write_line(message)

    def warning(self, message: str, *, hint: str | None = None) -> None:
        """Print `jtv: warning: MESSAGE`, unless quiet."""
        if not self.quiet:
            self._write_labelled("warning", message, hint)

    def error(self, message: str, *, hint: str | None = None) -> None:
        """Print `jtv: error: MESSAGE`, and the hint on a line of its own.

        With `debug`, and within an `except` block, the traceback comes first.
        """
        if self.debug and (error := sys.exc_info()[1]) is not None:
            self._write(_safe_traceback(error))
        self._write_labelled("error", message, hint)

    def skipped(self, place: str, reason: str) -> None:
        """Print what was skipped, and why; exit code 3 needs it, so `quiet` keeps it.

        The reason may hold a command that reads it.
        """
        self._write_labelled("warning", f"{place}: {self.complete_hint(reason)}, skipped", None)

    def interrupted(self, message: str) -> None:
        """Print why the process ends early, and how far it came."""
        self._write_line(f"jtv: {message}")

    def _write_labelled(self, label: str, message: str, hint: str | None) -> None:
        self._write_line(f"jtv: {label}: {message}")
        if hint:
            self._write_line(f"hint: {self.complete_hint(hint)}")

    def ask(self, question: str, stdin: TextIO) -> bool:
        """Return whether the user answers yes; the end of the input is no."""
        answer = ""
        try:
            self._write(f"{hang(_safe(question), self.width)} [y/N] ")
            _wait_for_input(stdin)
            answer = stdin.readline()
        finally:
            # Ctrl-D and Ctrl-C leave the cursor where it was.
            if not answer.endswith("\n"):
                self._write("\n")
        return answer.strip().lower() in {"y", "yes"}

    @contextmanager
    def live_line(self) -> Iterator[TextIO]:
        """Lend the terminal's last line to something that redraws it, then erase it.

        Yields the stream to draw on; nothing that is written there is escaped. An outer
        status line comes back afterwards.
        """
        outer = self._is_live, self._status
        self._is_live, self._status = True, ""
        try:
            yield self._stream or io.StringIO()
        finally:
            self._is_live, self._status = outer
            self._write(_ERASE + self._status_line())

    @contextmanager
    def status(self, message: str) -> Iterator[Callable[[str], None]]:
        """On a terminal, show what jtv waits for, and erase it afterwards.

        Yields a function that replaces the message.
        """
        if not self.shows_progress:
            yield lambda _: None
            return
        with self.live_line():
            self._set_status(message)
            yield self._set_status

    def _set_status(self, message: str) -> None:
        self._status = message
        self._write(_ERASE + self._status_line())

    def _status_line(self) -> str:
        """Return the status on one line: no more than that could be erased again."""
        if not self._status:
            return ""
        return f"{cut(_safe(self._status), self.width - _MARGIN, '')} …"

    @property
    def width(self) -> int:
        """The cells of a line."""
        return self._columns or terminal_width(self._stream)

    def write_lines(self, text: str) -> None:
        """Write text that has several lines, as another program's message."""
        self._write(_safe(text, keep_newlines=True))

    def _write_line(self, message: str) -> None:
        erase = _ERASE if self._is_live else ""
        text = _safe(message)
        if self.is_terminal:
            text = hang(text, self.width)
        self._write(f"{erase}{text}\n{self._status_line()}")

    def _write(self, text: str) -> None:
        with self._lock:
            if self._stream is None:
                return
            try:
                self._stream.write(text)
                self._stream.flush()
            except OSError:
                self._stream = None


class EscapingStream(io.TextIOBase):
    """Stands for `sys.stderr`, and passes what Python itself prints there to a console.

    That is a traceback of a thread or of a destructor, or a warning. They may show any
    text that jtv reads.
    """

    def __init__(self, console: Console) -> None:
        self._console = console

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, text: str) -> int:
        """Write the text, escaped; its newlines stay."""
        self._console.write_lines(text)
        return len(text)


def _wait_for_input(stdin: TextIO) -> None:
    """Wait until something was typed, and handle signals meanwhile.

    One that comes just before a read begins is handled only when that has ended.
    """
    import select

    with suppress(OSError, ValueError):  # Windows waits for sockets only
        while not select.select([stdin], [], [], _SIGNAL_SECONDS)[0]:
            pass


def _safe(text: str, *, keep_newlines: bool = False) -> str:
    return escape(mask_secrets(text), keep_newlines=keep_newlines)


def _safe_traceback(error: BaseException) -> str:
    """Return the traceback; a newline within a message is escaped like other controls."""
    from traceback import format_exception

    frames = ("  File ", "Traceback ", "\n")
    return "".join(
        _safe(part, keep_newlines=True)
        if part.startswith(frames)
        else f"{_safe(part.removesuffix(chr(10)))}\n"
        for part in format_exception(error)
    )
