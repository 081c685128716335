"""Disk space that is reserved for documents before their vectors are paid for."""

from __future__ import annotations

import errno
import os
from typing import IO, TYPE_CHECKING

from jtv_cli.stores.sqlite.connection import log_of, no_space
from jtv_cli.text import printable

if TYPE_CHECKING:
    from pathlib import Path

    from jtv_cli.stores.sqlite.connection import Connection

# What a page of 16 KiB holds besides full rows, and what their occurrences take.
_OVERHEAD = 1.3
_LEAST_BYTES = 1 << 20  # a segment of the index, and the pages that any write changes
_PAGE_BYTES = 16384 + 24  # in the write-ahead log
_ENTRIES = 300  # hashes on a page of their index
# Not EFBIG: the space is held in one file, and the limit is checked for each of the others.
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}


class Space:
    """Space on the disk of a file, held by an unnamed file beside it until it is needed.

    A crash leaves nothing behind. A system that cannot allocate space, such as macOS, is
    only asked how much is free.
    """

    def __init__(self) -> None:
        self._held: IO[bytes] | None = None
        self._size = 0

    def reserve(self, connection: Connection, size: int, rows: int, stored: int) -> None:
        """Hold the space for `rows` new rows of `size` bytes in all, beside `stored` rows.

        Raises NoSpaceError if there is too little, and the errors of sqlite3.
        """
        # Each hash may belong on another page of its index, and changed pages go to the log.
        pages = min(rows, stored // _ENTRIES + 1)
        growth = int(_OVERHEAD * size) + _LEAST_BYTES
        logged = growth + pages * _PAGE_BYTES
        if self._fits(connection, growth, logged):
            return
        # Once all of the log is in the file, the next write starts it over.
        _, frames, moved = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        reusable = _log_size(connection) if frames == moved else 0
        if not self._fits(connection, growth, max(0, logged - reusable)):
            raise no_space(printable(str(connection.path)))

    def release(self) -> bool:
        """Give the space back; return whether there was any."""
        if self._held is None:
            return False
        self._held.close()
        self._held, self._size = None, 0
        return True

    def _fits(self, connection: Connection, growth: int, logged: int) -> bool:
        if _exceeds_limit(connection, growth, logged):
            return False
        if growth + logged <= self._size:
            return True
        self.release()
        return self._allocate(connection.path.parent, growth + logged)

    def _allocate(self, directory: Path, size: int) -> bool:
        if not hasattr(os, "posix_fallocate"):
            import shutil

            return shutil.disk_usage(directory).free >= size
        import tempfile

        held = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115  # until it is released
        try:
            os.posix_fallocate(held.fileno(), 0, size)
        except OSError as error:
            held.close()
            # Any other error says that this file system cannot allocate.
            return error.errno not in _NO_SPACE
        self._held, self._size = held, size
        return True


def _exceeds_limit(connection: Connection, growth: int, logged: int) -> bool:
    """Return whether the file or its log would exceed the limit for the size of files."""
    try:
        import resource
    except ImportError:  # Windows
        return False
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if limit == resource.RLIM_INFINITY:
        return False
    (size,) = connection.execute(
        "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
    ).fetchone()
    return max(int(size) + growth, _log_size(connection) + logged) > limit


def _log_size(connection: Connection) -> int:
    try:
        return log_of(connection.path).stat().st_size
    except FileNotFoundError:
        return 0
