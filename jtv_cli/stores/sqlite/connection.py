"""The connection to a jtv file: opening it, its transactions, and what its errors mean."""

from __future__ import annotations

import os
import sqlite3
import struct
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Literal

from jtv_cli.errors import StoreError, of_newer_format
from jtv_cli.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

APPLICATION_ID = int.from_bytes(b"jtv1", "big")
FORMAT = 2
"""The current format; format 1 had no `details` of sources and no `end_line`."""

_PAGE_SIZE = 16384  # five rows of 768 dimensions a page; with 4096 every row would overflow
# Hashes scatter over the pages of their index: the longer the write-ahead log, the more
# changes of one page are written back as one. So many pages are 125 MiB.
_CHECKPOINT_PAGES = 8000
_BUSY_SECONDS = 30.0
_PAUSE_SECONDS = 0.01

# Where SQLite's file format keeps these numbers: https://www.sqlite.org/fileformat2.html
_APPLICATION_ID_OFFSET = 68
_LOG_HEADER = struct.Struct(">4x4xI4xI4x4x4x")  # page size, salt
_MOST_PAGE_SIZE = 65536
_FRAME_HEADER = struct.Struct(">I4xI4x4x4x")  # page number, salt

_FULL = "disk is full"
_FAILURES = {
    "database is locked": ("{} is in use by another process", "try again in a moment"),
    "file is not a database": ("{} is not a database", "name another file with --database"),
    "readonly database": ("{} is read-only", "get write permission for it, or use a copy"),
    _FULL: ("no space left on the disk of {}", "free some space, then run the same command again"),
    "disk I/O error": ("cannot read or write {}: disk I/O error", "check the disk and free space"),
    "no such module: fts5": (
        "Python's SQLite has no FTS5, which the full-text index in {} needs",
        "use another Python",
    ),
    "error in tokenizer constructor": (
        "Python's SQLite is too old for the full-text index in {}",
        "use a Python with SQLite 3.27 or newer",
    ),
    "malformed": ("{} is damaged", "restore it from a backup"),
    "not decode to UTF-8": ("{} is damaged", "restore it from a backup"),
    "unable to open database file": (
        "cannot open {}",
        "check the permissions of the file and its directory",
    ),
    "FOREIGN KEY": ("a document was deleted from {} meanwhile", "run the same command again"),
}

# What reading a damaged row raises in Python, if SQLite itself does not notice the damage.
_UNREADABLE = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError)


class DamagedError(sqlite3.DatabaseError):
    """A row whose values cannot be what jtv has written."""

    def __init__(self) -> None:
        super().__init__("database disk image is malformed")


class NoSpaceError(StoreError):
    """The disk, or a limit for files, leaves no space."""


def no_space(location: str) -> NoSpaceError:
    """Return the error of a file for which no space is left."""
    message, hint = _FAILURES[_FULL]
    return NoSpaceError(message.format(location), hint=hint)


@contextmanager
def translated(location: str, connection: Connection | None = None) -> Iterator[None]:
    """Raise the errors of SQLite and of the file system as StoreError.

    Any other error is one too if a check of the open `connection` finds it damaged.
    """
    try:
        yield
    except sqlite3.Error as error:
        if _FULL in str(error):
            raise no_space(location) from error
        for text, (message, hint) in _FAILURES.items():
            if text in str(error):
                raise StoreError(message.format(location), hint=hint) from error
        raise StoreError(f"{location}: {error}") from error
    except OSError as error:
        raise StoreError(
            f"cannot use {location}: {error.strerror or error}",
            hint="name another file with --database or JTV_DATABASE",
        ) from error
    except _UNREADABLE as error:
        # SQLite's messages about a damaged schema quote it as it is.
        is_damaged = isinstance(error, UnicodeDecodeError)
        if not is_damaged and (connection is None or not _is_damaged(connection)):
            raise
        message, hint = _FAILURES["malformed"]
        raise StoreError(message.format(location), hint=hint) from error


class Connection(sqlite3.Connection):
    """A connection with the file that it was opened on, and that file's format."""

    path: Path
    file: os.stat_result
    format: int = 0
    raised: BaseException | None = None

    def read_format(self) -> int:
        """Read the file's format, which another process may have raised since it was opened.

        Raises StoreError if a newer jtv has written the file.
        """
        (self.format,) = self.execute("PRAGMA user_version").fetchone()
        if self.format > FORMAT:
            raise of_newer_format(StoreError, printable(str(self.path)), self.format, FORMAT)
        return self.format

    def define(self, name: str, parameters: int, function: Callable[..., bool]) -> None:
        """Define an SQL function. `transaction` raises what it raises, an interrupt for one.

        SQLite itself only reports that the function has failed.
        """

        def call(*arguments: object) -> bool:
            try:
                return function(*arguments)
            except BaseException as error:
                self.raised = error
                raise

        self.create_function(name, parameters, call)

    def require_same_file(self) -> None:
        """Raise StoreError if the file was removed or replaced: writes to it would be lost."""
        try:
            is_same = os.path.samestat(self.path.stat(), self.file)
        except FileNotFoundError:
            is_same = False
        if not is_same:
            raise StoreError(
                f"{printable(str(self.path))} was removed or replaced meanwhile",
                hint="put it back, or create a new one with: jtv init",
            )


@contextmanager
def transaction(connection: Connection, kind: Literal["DEFERRED", "IMMEDIATE"]) -> Iterator[None]:
    """Run the block in one transaction; IMMEDIATE waits for the write lock first."""
    connection.execute(f"BEGIN {kind}")
    try:
        yield
        if kind == "IMMEDIATE":
            connection.require_same_file()
        connection.execute("COMMIT")
    except BaseException:
        # Some failures, such as a full disk, have rolled back already.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raised, connection.raised = connection.raised, None
        if raised is not None:
            raise raised from None
        raise


def connect(path: Path, *, writable: bool) -> Connection:
    """Open an existing file.

    Raises StoreError if the file is not jtv's or has a newer format, and the errors of
    sqlite3. A file that is not jtv's is not changed, not even by the recovery of a crash.
    """
    if path.is_dir():
        raise StoreError(f"{printable(str(path))} is a directory", hint="name a file in it")
    _require_ours(path)
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?{_mode(path, writable=writable)}",
        uri=True,
        timeout=_BUSY_SECONDS,
        isolation_level=None,
        # One thread embeds and stores while the main thread reads.
        check_same_thread=False,
        factory=Connection,
    )
    try:
        connection.path, connection.file = path.absolute(), path.stat()
        _check(connection, path)
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        if not writable:
            connection.execute("PRAGMA query_only = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def create(path: Path, *, with_directories: bool) -> None:
    """Create an empty file, and perhaps its directories, that only its owner may use."""
    if with_directories:
        # `parents=True` would give all but the last the mode that the umask leaves.
        for parent in reversed(path.absolute().parents):
            if not parent.exists():
                parent.mkdir(mode=0o700, exist_ok=True)
    # SQLite gives its side files the mode of this one. If a crash leaves it empty, it is
    # taken for a new file the next time.
    path.touch(mode=0o600)


def prepare(connection: sqlite3.Connection) -> None:
    """Set the page size and the journal mode of an empty file; do nothing for any other.

    It waits for another process that does the same: SQLite itself does not wait when the
    journal mode changes.
    """
    deadline = time.monotonic() + _BUSY_SECONDS
    while is_empty(connection):
        try:
            connection.execute(f"PRAGMA page_size = {_PAGE_SIZE}")
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE_SECONDS)
        else:
            return


def sign(connection: sqlite3.Connection) -> None:
    """Mark the file as jtv's, of the current format, within a transaction."""
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {FORMAT}")


def is_empty(connection: sqlite3.Connection) -> bool:
    """Return whether the file has no tables."""
    return connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is None


def log_of(path: Path) -> Path:
    """Return the path of a file's write-ahead log."""
    return path.with_name(f"{path.name}-wal")


def _mode(path: Path, *, writable: bool) -> str:
    """Return how SQLite should open the file.

    With write permission it is `mode=rw` for readers too, who change nothing: the last
    to close the file then removes the side files, which `mode=ro` would leave behind.
    Without it, a file that has no write-ahead log has no writer, and `immutable` keeps
    SQLite from creating side files.
    """
    if writable or (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        return "mode=rw"
    return "mode=ro" if log_of(path).exists() else "mode=ro&immutable=1"


def _require_ours(path: Path) -> None:
    """Raise StoreError if the file is another program's, without changing it.

    A plain connection would recover the write-ahead log of a crashed program. `immutable`
    ignores that log; it is searched for the mark of a jtv file that was never checkpointed.
    """
    uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(uri, uri=True)) as probe:
            (application,) = probe.execute("PRAGMA application_id").fetchone()
            is_new = application == 0 and is_empty(probe)
    except sqlite3.DatabaseError as error:
        # A full disk may have ended a checkpoint halfway: only with its log the file is whole.
        if "malformed" not in str(error):
            raise
        application, is_new = _first_application(path), False
    if application == APPLICATION_ID:
        return
    if not is_new or _logged_application(log_of(path)) not in (None, APPLICATION_ID):
        raise _not_ours(path)


def _first_application(path: Path) -> int:
    """Return the application id in the header of a file that SQLite cannot read."""
    # Never closed: that would end all locks that this process has on the file.
    descriptor = os.open(path, os.O_RDONLY)
    header = os.read(descriptor, _APPLICATION_ID_OFFSET + 4)
    return int.from_bytes(header[_APPLICATION_ID_OFFSET:], "big")


def _logged_application(log: Path) -> int | None:
    """Return the application id that a write-ahead log would give its file, None if none."""
    found = None
    try:
        opened = log.open("rb")
    except FileNotFoundError:  # there is none, or the last to close the file has removed it
        return None
    with opened as file:
        header = file.read(_LOG_HEADER.size)
        if len(header) < _LOG_HEADER.size:
            return None
        page_size, salt = _LOG_HEADER.unpack(header)
        if page_size > _MOST_PAGE_SIZE:
            return None
        while len(frame := file.read(_FRAME_HEADER.size)) == _FRAME_HEADER.size:
            page, frame_salt = _FRAME_HEADER.unpack(frame)
            if frame_salt != salt:
                break
            if page == 1:
                found = int.from_bytes(file.read(page_size)[_APPLICATION_ID_OFFSET:][:4], "big")
            else:
                file.seek(page_size, os.SEEK_CUR)
    return found


def _check(connection: Connection, path: Path) -> None:
    # In one read: another process may be creating the file just now.
    with transaction(connection, "DEFERRED"):
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        is_new = application == 0 and is_empty(connection)
    if application != APPLICATION_ID and not is_new:
        raise _not_ours(path)
    connection.read_format()


def _not_ours(path: Path) -> StoreError:
    return StoreError(
        f"{printable(str(path))} is a database that jtv did not create",
        hint="name another file with --database or JTV_DATABASE",
    )


def _is_damaged(connection: Connection) -> bool:
    try:
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        return bool(found != "ok")
    except sqlite3.Error:
        return True
