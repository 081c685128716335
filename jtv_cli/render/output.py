"""stdout: where data goes, and what happens when it cannot."""

from __future__ import annotations

import errno
import io
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

from jtv_cli.errors import OutputFailed
from jtv_cli.render.escape import escape, tab_separated
from jtv_cli.render.layout import hang, terminal_width

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import TextIO

# A narrower terminal has no room for a column of wrapped text.
_LEAST_FOR_COLUMNS = 60


class OutputClosed(Exception):
    """The reader has seen enough and closed the pipe."""


class Output:
    """A stream for data: in UTF-8, except on a terminal, which has an encoding of its own.

    Every method raises OutputClosed where the reader is gone, and OutputFailed where
    writing fails or there is no stream. `columns` is the width that the user asks for;
    without it, `width` is the terminal's, in cells. Text for people has colors if it is
    `colored`, and then links to files if the terminal `has_links`.
    """

    is_closed = False
    """Whether the reader is gone."""

    def __init__(
        self, stream: TextIO | None, *, columns: int | None = None, has_links: bool = False
    ) -> None:
        self.colored = False
        self._columns = columns
        self._has_links = has_links
        self._stream = stream
        self.is_terminal = stream is not None and stream.isatty()
        if isinstance(stream, io.TextIOWrapper):
            if self.is_terminal:
                stream.reconfigure(errors="replace")
            else:
                stream.reconfigure(encoding="utf-8", newline="\n")

    @property
    def width(self) -> int:
        """The cells of a line."""
        return self._columns or terminal_width(self._stream)

    @property
    def shows_links(self) -> bool:
        """Whether names of files are links (OSC 8)."""
        return self._has_links and self.is_terminal and self.colored

    @property
    def is_file(self) -> bool:
        """Whether all goes into a file, and nobody reads it meanwhile."""
        stream = self._stream
        return stream is not None and stat.S_ISREG(os.fstat(stream.fileno()).st_mode)

    def require_open(self) -> None:
        """Raise OutputFailed if there is no stream."""
        if self._stream is None:
            raise OutputFailed("stdout is closed")

    def write(self, text: str) -> int:
        """Write a piece of data."""
        with self._attempt() as stream:
            return stream.write(text)

    def escape(self, text: str) -> str:
        """Return a text as it can be written: on a terminal without unsafe characters."""
        return escape(text, keep_sequences=True) if self.is_terminal else text

    def write_line(self, text: str) -> None:
        """Write a line of data, on a terminal without unsafe characters."""
        self.write(self.escape(text) + "\n")

    def write_fields(self, fields: Sequence[str], widths: Sequence[int]) -> None:
        """Write a line of fields: in columns on a terminal, separated by tabs elsewhere.

        `widths` are those of all columns but the last.
        """
        if self.is_terminal:
            *columns, last = fields
            padded = (f"{field:<{width}} " for field, width in zip(columns, widths, strict=True))
            line = self.escape("".join((*padded, last)))
            column = sum(widths) + len(widths)
            indents = {"indent": column} if self.width >= _LEAST_FOR_COLUMNS else {}
            self.write(f"{hang(line, self.width, **indents)}\n")
        else:
            self.write(tab_separated(fields) + "\n")

    def flush(self) -> None:
        """Hand over what was written so far."""
        if self._stream is not None:
            with self._attempt() as stream:
                stream.flush()

    @contextmanager
    def _attempt(self) -> Iterator[TextIO]:
        if self._stream is None:
            raise OutputFailed("stdout is closed")
        try:
            yield self._stream
        except OSError as error:
            is_closed_on_windows = os.name == "nt" and error.errno == errno.EINVAL
            if isinstance(error, BrokenPipeError) or is_closed_on_windows:
                self.is_closed = True
                raise OutputClosed from error
            raise OutputFailed(f"cannot write to stdout: {error.strerror or error}") from error
