"""The file itself: how it is opened, whose it is, and what it says when it fails."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from jtv_cli.errors import StoreError, of_newer_format
from jtv_cli.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

APPLICATION_ID = int.from_bytes(b"jtv1", "big")
FORMAT = 2

_PAGE_SIZE = 16384  # five rows of 768 dimensions a page; with 4096 every row would overflow
# Hashes scatter over the pages of their index: the longer the write-ahead log, the more
# changes of one page are written back as one. So many pages are 125 MiB.
_CHECKPOINT_PAGES = 8000
_BUSY_SECONDS = 30.0
_PAUSE_SECONDS = 0.01

_FAILURES = {
    "database is locked": ("{} is in use by another process", "try again in a moment"),
    "file is not a database": ("{} is not a database", "name another file with --database"),
    "readonly database": ("{} cannot be written", "give yourself write access, or use a copy"),
    "disk is full": ("no space is left for {}", "make room, then run the same command again"),
    "disk I/O error": ("the disk does not read or write {}", "see to it, then run it again"),
    "malformed": ("{} is damaged", "go back to a copy of it"),
    "unable to open database file": ("cannot open {}", "look at the rights of it and its folder"),
    "FOREIGN KEY": ("a document was deleted from {} meanwhile", "run the same command again"),
}


@contextmanager
def translated(location: str) -> Iterator[None]:
    """Turn what SQLite and the file system say into a StoreError."""
    try:
        yield
    except sqlite3.Error as error:
        for text, (message, hint) in _FAILURES.items():
            if text in str(error):
                raise StoreError(message.format(location), hint=hint) from error
        raise StoreError(f"{location}: {error}") from error
    except OSError as error:
        raise StoreError(
            f"cannot use {location}: {error.strerror or error}",
            hint="name another file with --database or JTV_DATABASE",
        ) from error


class Connection(sqlite3.Connection):
    """A connection that knows which file it has open."""

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
        """Make a function of SQL; the transaction that calls it raises what it raises.

        SQLite would say no more than that something was raised, be it an interrupt.
        """

        def call(*arguments: object) -> bool:
            try:
                return function(*arguments)
            except BaseException as error:
                self.raised = error
                raise

        self.create_function(name, parameters, call)

    def require_there(self) -> None:
        """Raise StoreError where the file was removed, and what is written would be lost."""
        if not (self.path.exists() and os.path.samestat(self.path.stat(), self.file)):
            raise StoreError(
                f"{printable(str(self.path))} was removed or replaced meanwhile",
                hint="put it back, or make it anew with: jtv init",
            )


@contextmanager
def transaction(connection: Connection, kind: Literal["DEFERRED", "IMMEDIATE"]) -> Iterator[None]:
    """Do all that follows, or nothing; IMMEDIATE waits for the write lock first."""
    connection.execute(f"BEGIN {kind}")
    try:
        yield
        if kind == "IMMEDIATE":
            connection.require_there()
        connection.execute("COMMIT")
    except BaseException:
        # Some failures, a full disk for one, have rolled back already.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raised, connection.raised = connection.raised, None
        if raised is not None:
            raise raised from None
        raise


def connect(path: Path, *, writable: bool) -> Connection:
    """Open a file that exists.

    Raises StoreError where it is not jtv's, or has a newer format, and the errors of
    sqlite3.
    """
    if path.is_dir():
        raise StoreError(f"{printable(str(path))} is a folder", hint="name a file in it")
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?{_mode(path, writable=writable)}",
        uri=True,
        timeout=_BUSY_SECONDS,
        isolation_level=None,
        # The thread that pays for vectors stores them; the main thread reads in between.
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


def prepare(connection: sqlite3.Connection) -> None:
    """Lay out a file that is still empty; for any other this does nothing.

    Whoever else is laying it out is waited for: for a change of the journal mode,
    SQLite itself does not.
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
    """Mark the file as jtv's, within a transaction."""
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {FORMAT}")


def is_empty(connection: sqlite3.Connection) -> bool:
    """Return whether nothing was ever made in the file."""
    return connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is None


def _mode(path: Path, *, writable: bool) -> str:
    """Return how SQLite should open the file.

    With write access it is `mode=rw` for readers too, who change nothing: the last to
    close the file then removes the side files, which `mode=ro` would leave behind.
    Without, a file that has no write-ahead log has no writer: `immutable` lets it be read
    as it stands, where SQLite would otherwise try to make side files.
    """
    if writable or (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        return "mode=rw"
    has_log = path.with_name(f"{path.name}-wal").exists()
    return "mode=ro" if has_log else "mode=ro&immutable=1"


def _check(connection: Connection, path: Path) -> None:
    # In one read: another process may be making the file just now.
    with transaction(connection, "DEFERRED"):
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        is_new = application == 0 and is_empty(connection)
    if application != APPLICATION_ID and not is_new:
        raise StoreError(
            f"{path} is a database that jtv did not make",
            hint="name another file with --database or JTV_DATABASE",
        )
    connection.read_format()
