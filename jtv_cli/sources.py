"""Files and stdin as an iterator of texts, one a line, each with where it stands."""

from __future__ import annotations

import codecs
import os
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from jtv_cli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from io import BufferedReader

STDIN = "-"

# Some hundred lines: enough to look up together, few enough to hold.
_WINDOW_BYTES = 1 << 16


class BadLine(NamedTuple):
    """A line that is no text: where it stands, as file:line, and why."""

    place: str
    reason: str


@dataclass(frozen=True, slots=True)
class Window:
    """Some lines of one source, read together.

    `texts` has (line, text) without surrounding white space; lines that have nothing
    else are only counted.
    """

    source: str | None
    texts: list[tuple[int, str]]
    empty: int
    bad: list[BadLine]


@dataclass(frozen=True, slots=True)
class Source:
    """An open file. `path` is as the user gave it, `name` what its occurrences record."""

    path: str
    name: str | None
    stream: BufferedReader


@contextmanager
def open_sources(paths: Sequence[str], *, name: str | None = None) -> Iterator[list[Source]]:
    """Open all the files, `-` being stdin, before any is read.

    A source is named by its path, normalised, or by `name`; stdin by `name` alone.

    Raises UsageError for the first that cannot be read.
    """
    with ExitStack() as stack:
        yield [
            Source(path, name or _name(path), stack.enter_context(_open(path))) for path in paths
        ]


def read_windows(sources: Sequence[Source]) -> Iterator[Window]:
    """Yield all lines of all sources, split at newlines only, as they come.

    Raises UsageError where reading fails.
    """
    for source in sources:
        start, mark = 1, codecs.BOM_UTF8
        for lines in _read(source):
            lines[0] = lines[0].removeprefix(mark)
            yield _window(source, lines, start)
            start, mark = start + len(lines), b""


def _read(source: Source) -> Iterator[list[bytes]]:
    """Yield the lines that are there, without waiting for more than one."""
    unfinished: list[bytes] = []
    while True:
        try:
            block = source.stream.read1(_WINDOW_BYTES)
        except OSError as error:
            raise _unreadable(source.path, error) from error
        *lines, rest = block.split(b"\n")
        if lines:
            lines[0] = b"".join((*unfinished, lines[0]))
            unfinished = []
            yield lines
        if rest:
            unfinished.append(rest)
        if not block:
            break
    if unfinished:
        yield [b"".join(unfinished)]


def _window(source: Source, lines: list[bytes], start: int) -> Window:
    bad: list[BadLine] = []
    try:
        decoded = [line.decode() for line in lines]
    except UnicodeDecodeError:
        decoded = [_decode(source, line, at, bad) for at, line in enumerate(lines, start)]
    texts = [(at, text) for at, line in enumerate(decoded, start) if (text := line.strip())]
    return Window(source.name, texts, len(lines) - len(texts) - len(bad), bad)


def _decode(source: Source, line: bytes, at: int, bad: list[BadLine]) -> str:
    """Return the line, or nothing after noting it among the bad ones."""
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        reason = f"not UTF-8 (byte 0x{line[error.start]:02x} at position {error.start + 1})"
        bad.append(BadLine(f"{source.path}:{at}", reason))
        return ""


def _open(path: str) -> BufferedReader:
    if path == STDIN and sys.stdin is None:
        raise UsageError("standard input is closed")
    try:
        stream = open(0 if path == STDIN else path, "rb", closefd=path != STDIN)  # noqa: SIM115
    except OSError as error:
        raise _unreadable(path, error) from error
    if stream.seekable() and stream.peek(2)[:2] in {codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE}:
        stream.close()
        raise UsageError(f"{path} is UTF-16", hint="turn it into UTF-8 first, with iconv for one")
    return stream


def _name(path: str) -> str | None:
    """Return the path in its shortest form, bytes of it that are not UTF-8 escaped."""
    if path == STDIN:
        return None
    return os.fsencode(os.path.normpath(path)).decode(errors="backslashreplace")


def _unreadable(path: str, error: OSError) -> UsageError:
    if isinstance(error, IsADirectoryError):
        return UsageError(f"{path} is a folder", hint="name the files in it")
    return UsageError(f"cannot read {path}: {error.strerror or error}")
