"""The bytes of a source, as they come, unpacked if need be."""

from __future__ import annotations

import codecs
import os
import stat
import sys
import zlib
from collections import deque
from contextlib import contextmanager, suppress
from itertools import chain
from typing import TYPE_CHECKING

from jtv_cli.errors import UsageError
from jtv_cli.records import STDIN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from io import FileIO


# Some hundred lines: enough to look up together, few enough to hold.
_BLOCK_BYTES = 1 << 16
_GZIP_MAGIC = b"\x1f\x8b"
_GZIP = 16 + zlib.MAX_WBITS


class Damaged(Exception):
    """Packed data that cannot be unpacked from here on."""


class Stream:
    """Reads a file, a pipe or stdin without waiting for more than is there.

    `size` is in bytes, None where that cannot be known; `consumed` is how many were
    read. What comes from a terminal is typed there: `is_typed`.

    Raises UsageError where it cannot be opened or read.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.consumed = 0
        # Unbuffered: closing it does not wait for another thread that reads.
        self._file: FileIO | None = _open(path)
        status = os.fstat(self._file.fileno())
        self._is_packed = path.lower().endswith(".gz")
        self.is_typed = self._file.isatty()
        self.size = status.st_size if stat.S_ISREG(status.st_mode) else None
        self._kept: list[bytes] | None = None
        self._again: deque[bytes] = deque()

    @property
    def may_wait(self) -> bool:
        """Whether reading may have to wait for somebody who writes."""
        return self.size is None

    @contextmanager
    def rehearsal(self) -> Iterator[None]:
        """Have all that is read within be read again afterwards; a file is closed until then."""
        kept: list[bytes] = []
        self._kept = kept
        yield
        self._kept = None
        self.consumed = 0
        if not self.may_wait and self.path != STDIN:
            self.close()
        else:
            self._again.extendleft(reversed(kept))

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def check_beginning(self) -> None:
        """Raise UsageError as `blocks` does for what is not what it should be."""
        with self.rehearsal(), suppress(Damaged):
            next(self.blocks(), b"")

    def blocks(self) -> Iterator[bytes]:
        """Yield the bytes, unpacked, in blocks that are not empty.

        Raises Damaged, and UsageError for what is not packed as its name says, or is
        UTF-16, whose lines have other ends.
        """
        blocks = self._unpacked()
        if start := next(blocks, b""):
            if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                hint = "turn it into UTF-8 first, with iconv for one"
                raise UsageError(f"{self.path} is UTF-16", hint=hint)
            yield start
            yield from blocks

    def _unpacked(self) -> Iterator[bytes]:
        blocks = self._raw()
        if start := next(blocks, b""):
            is_gzip = start.startswith(_GZIP_MAGIC)
            if self._is_packed and not is_gzip:
                raise UsageError(f"{self.path} is not packed by gzip", hint="name it without .gz")
            # Standard input has no name that could say so.
            may_be_packed = self._is_packed or self.path == STDIN
            every = chain([start], blocks)
            yield from _gunzipped(every) if is_gzip and may_be_packed else every

    def _raw(self) -> Iterator[bytes]:
        while block := self._read():
            self.consumed += len(block)
            yield block

    def _read(self) -> bytes:
        block = self._again.popleft() if self._again else self._read_file()
        if self._kept is not None:
            self._kept.append(block)
        return block

    def _read_file(self) -> bytes:
        if self._file is None:
            self._file = _open(self.path)
        try:
            return self._file.read(_BLOCK_BYTES) or b""
        except OSError as error:
            raise unreadable(self.path, error) from error


def _gunzipped(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield what is in the gzip files that stand in the blocks, one after the other."""
    unpacker = None
    for block in blocks:
        left = block
        while left:
            if unpacker is None:
                # Zeros may fill up the end.
                if not (left := left.lstrip(b"\0")):
                    break
                unpacker = zlib.decompressobj(_GZIP)
            try:
                data = unpacker.decompress(left, _BLOCK_BYTES)
            except zlib.error as error:
                raise Damaged("it cannot be unpacked from here on") from error
            left = unpacker.unconsumed_tail
            if unpacker.eof:
                left, unpacker = unpacker.unused_data, None
            if data:
                yield data
    if unpacker is not None:
        raise Damaged("its packed end is missing")


def _open(path: str) -> FileIO:
    if not path:
        raise UsageError("a file name is empty")
    if path == STDIN and sys.stdin is None:
        raise UsageError("standard input is closed")
    try:
        return open(0 if path == STDIN else path, "rb", buffering=0, closefd=path != STDIN)
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: str, error: OSError) -> UsageError:
    """Return the error that a file or folder cannot be read."""
    return UsageError(f"cannot read {path}: {error.strerror or error}")
