"""The bytes of a source, as they come, unpacked if need be."""

from __future__ import annotations

import codecs
import os
import stat
import sys
import zlib
from collections import deque
from contextlib import contextmanager
from itertools import chain, islice
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
    read.

    Raises UsageError where it cannot be opened or read.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.consumed = 0
        # Unbuffered: closing it does not wait for another thread that reads.
        self._file: FileIO | None = _open(path)
        status = os.fstat(self._file.fileno())
        self._is_packed = path.lower().endswith(".gz")
        self._is_regular = stat.S_ISREG(status.st_mode)
        self.size = status.st_size if self._is_regular else None
        self._kept: list[bytes] | None = None
        self._again: deque[bytes] = deque()

    @property
    def may_wait(self) -> bool:
        """Whether reading may have to wait for somebody who writes."""
        return not self._is_regular

    @contextmanager
    def rehearsal(self) -> Iterator[None]:
        """Have all that is read meanwhile be read again; a file is closed until then."""
        kept: list[bytes] = []
        self._kept = kept
        yield
        self._kept = None
        self.consumed = 0
        if self._is_regular and self.path != STDIN:
            self.close()
        else:
            self._again.extendleft(reversed(kept))

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def blocks(self) -> Iterator[bytes]:
        """Yield the bytes, in blocks that are not empty; raises Damaged."""
        blocks = self._raw()
        is_packed = self._is_packed
        if self.path == STDIN:  # it has no name that could say so
            first = list(islice(blocks, 1))
            is_packed = any(block.startswith(_GZIP_MAGIC) for block in first)
            blocks = chain(first, blocks)
        yield from _unpacked(blocks) if is_packed else blocks

    def check_beginning(self) -> None:
        """Raise UsageError for a file that is not packed as its name says, or is UTF-16."""
        with self.rehearsal():
            start = next(self._raw(), b"")
        if self._is_packed:
            if start and not start.startswith(_GZIP_MAGIC):
                raise UsageError(f"{self.path} is not packed by gzip", hint="name it without .gz")
        elif start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            hint = "turn it into UTF-8 first, with iconv for one"
            raise UsageError(f"{self.path} is UTF-16", hint=hint)

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


def _unpacked(blocks: Iterable[bytes]) -> Iterator[bytes]:
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
