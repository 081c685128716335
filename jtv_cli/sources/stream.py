"""The bytes of a file, a pipe or standard input, decompressed if they are gzip."""

from __future__ import annotations

import os
import shlex
import stat
import sys
import time
import zlib
from collections import deque
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from jtv_cli.errors import UsageError
from jtv_cli.records import STDIN
from jtv_cli.sources.content import NotText, check_is_text
from jtv_cli.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from io import FileIO


# A few hundred lines: enough to look up together, few enough to hold in memory.
_BLOCK_BYTES = 1 << 16
_GZIP_MAGIC = b"\x1f\x8b"
_GZIP = 16 + zlib.MAX_WBITS  # tells zlib to expect a gzip header


# File systems keep times in ticks of up to 2 seconds (FAT), here in nanoseconds.
_LONGEST_TICK = 2_000_000_000


class FileState(NamedTuple):
    """What shows whether a file has changed: its modification time (ns) and its size."""

    modified: int
    size: int


class DamagedData(Exception):
    """Compressed data that cannot be decompressed from here on."""


class Stream:
    """Reads a file, a pipe or standard input in blocks, without waiting for full ones.

    `size` is in bytes, None where that cannot be known. `consumed` counts the bytes read so
    far, before decompression. `modified` is the time when a regular file was modified, in
    seconds since 1970, None for anything else. `is_typed` says whether the input comes from a
    terminal.

    Raises UsageError if the file cannot be opened or read.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.consumed = 0
        # Unbuffered, so that closing it does not wait for a thread that is reading.
        self._file: FileIO | None = _open(path)
        self._opened_at = time.time_ns()
        self._status = status = os.fstat(self._file.fileno())
        self._has_gzip_name = path.lower().endswith(".gz")
        self.is_typed = self._file.isatty()
        self.size = status.st_size if stat.S_ISREG(status.st_mode) else None
        self.modified = None if self.size is None else status.st_mtime
        self._recorded: list[bytes] | None = None
        self._replay: deque[bytes] = deque()

    @property
    def may_wait(self) -> bool:
        """Whether reading may have to wait for another program or a person."""
        return self.size is None

    @contextmanager
    def preview(self) -> Iterator[None]:
        """Make everything read inside the block be read again afterwards.

        A regular file is closed until then, so that any number of them can be previewed.
        """
        recorded: list[bytes] = []
        self._recorded = recorded
        try:
            yield
        finally:
            self._recorded = None
            self.consumed = 0
            if not self.may_wait and self.path != STDIN:
                self.close()
            else:
                self._replay.extendleft(reversed(recorded))

    def settled_state(self) -> FileState | None:
        """Return the state of a regular file that was read to its end, before it is closed.

        None if it changed meanwhile, or so shortly before that it may change again within the
        same tick of the file system's clock.
        """
        if self._file is None or self.may_wait:
            return None
        now, before = os.fstat(self._file.fileno()), self._status
        has_changed = (now.st_mtime_ns, now.st_size) != (before.st_mtime_ns, before.st_size)
        if has_changed or self._opened_at - now.st_mtime_ns < _LONGEST_TICK:
            return None
        return FileState(now.st_mtime_ns, now.st_size)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def check_beginning(self, *, is_text: bool = True) -> bytes:
        """Return the first block; raise NotText if `blocks` would for it."""
        with self.preview(), suppress(DamagedData):
            return next(self.blocks(is_text=is_text), b"")
        return b""

    def blocks(self, *, is_text: bool = True) -> Iterator[bytes]:
        """Yield the decompressed bytes in blocks of at most 64 KiB, none of them empty.

        Raises NotText if the first block is not text though it should be, or not gzip in a file
        that ends in .gz, and DamagedData.
        """
        blocks = self._decompressed()
        if start := next(blocks, b""):
            if is_text:
                check_is_text(start)
            yield start
            yield from blocks

    def _decompressed(self) -> Iterator[bytes]:
        blocks = self._raw()
        if start := next(blocks, b""):
            is_gzip = start.startswith(_GZIP_MAGIC)
            if self._has_gzip_name and not is_gzip:
                raise NotText(
                    "not compressed with gzip", hint="rename it without .gz", is_fatal=True
                )
            # Standard input has no name that could end in .gz.
            may_be_gzip = self._has_gzip_name or self.path == STDIN
            every = chain([start], blocks)
            yield from _gunzipped(every) if is_gzip and may_be_gzip else every

    def _raw(self) -> Iterator[bytes]:
        while block := self._read():
            self.consumed += len(block)
            yield block

    def _read(self) -> bytes:
        block = self._replay.popleft() if self._replay else self._read_file()
        if self._recorded is not None:
            self._recorded.append(block)
        return block

    def _read_file(self) -> bytes:
        if self._file is None:
            self._file = _open(self.path)
            self._opened_at = time.time_ns()
            self._status = os.fstat(self._file.fileno())
        try:
            return self._file.read(_BLOCK_BYTES) or b""
        except OSError as error:
            raise unreadable(self.path, error) from error


def _gunzipped(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the content of the gzip members in the blocks, at most 64 KiB at a time."""
    member = None
    for block in blocks:
        left = block
        while left:
            if member is None:
                # A file may be padded with zeros at its end.
                if not (left := left.lstrip(b"\0")):
                    break
                member = zlib.decompressobj(_GZIP)
            try:
                data = member.decompress(left, _BLOCK_BYTES)
            except zlib.error as error:
                raise DamagedData("the gzip data is damaged from here on") from error
            left = member.unconsumed_tail
            if member.eof:
                left, member = member.unused_data, None
            if data:
                yield data
    if member is not None:
        raise DamagedData("the end of the gzip data is missing")


def _open(path: str) -> FileIO:
    if not path:
        raise UsageError("a file name is empty")
    if path == STDIN and sys.stdin is None:
        raise UsageError("standard input is closed")
    try:
        return open(0 if path == STDIN else path, "rb", buffering=0, closefd=path != STDIN)
    except (OSError, ValueError) as error:  # ValueError: the name contains a NUL character
        raise unreadable(path, error) from error


def unreadable(path: str, error: OSError | ValueError) -> UsageError:
    """Return the error that a file or directory cannot be read."""
    reason = error.strerror if isinstance(error, OSError) else None
    hint = None
    if isinstance(error, FileNotFoundError):
        there = next(each for each in Path(path).parents if each.is_dir() or each == each.parent)
        hint = f"check the name: ls {shlex.quote(printable(str(there)))}"
    return UsageError(f"cannot read {path}: {reason or error}", hint=hint)
