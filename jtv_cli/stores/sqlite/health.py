"""What can be wrong with the file: its rights, its contents, the disk that it is on."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import time
from typing import TYPE_CHECKING

from jtv_cli.errors import StoreError
from jtv_cli.records import Check, Outcome
from jtv_cli.stores.sqlite.file import translated

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SECONDS = 10.0  # a file of some gigabytes, or one on a slow disk, takes longer
_STEPS = 10_000  # of SQLite's machine, between two looks at the clock
_LEAST_FREE = 512 << 20  # bytes: the write-ahead log of a large ingest, four times over


def checks(connection: sqlite3.Connection, path: Path) -> Iterator[Check]:
    """Look at an open file: whose it is, whether it is sound, how much room is left."""
    for name, look in (("file", _rights), ("integrity", _integrity), ("disk space", _room)):
        try:
            with translated(str(path)):
                outcome, detail = look(connection, path)
        except StoreError as error:
            outcome, detail = Outcome.FAILED, str(error)
        yield Check(name, outcome, detail)
        if outcome is Outcome.FAILED:
            return


def _rights(_: sqlite3.Connection, path: Path) -> tuple[Outcome, str]:
    mode = stat.S_IMODE(path.stat().st_mode)
    if os.name == "posix" and mode & 0o077:
        return Outcome.WARNING, f"others may use {path} (mode {mode:04o}); chmod 600 {path}"
    if not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        return Outcome.WARNING, f"{path} can be read, but not written"
    return Outcome.OK, f"{path}, mode {mode:04o}"


def _integrity(connection: sqlite3.Connection, path: Path) -> tuple[Outcome, str]:
    deadline = time.monotonic() + _SECONDS
    connection.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
    try:
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError as error:
        if "interrupted" not in str(error):
            raise
        detail = f"in {_SECONDS:.0f} s not all of it could be looked at; do it with:"
        return Outcome.WARNING, f"{detail} sqlite3 {path} 'PRAGMA quick_check'"
    finally:
        connection.set_progress_handler(None, 0)
    if found != "ok":
        return Outcome.FAILED, f"{path} is damaged: {found}; go back to a copy of it"
    return Outcome.OK, "the file is sound"


def _room(_: sqlite3.Connection, path: Path) -> tuple[Outcome, str]:
    free = shutil.disk_usage(path.parent).free
    if free < _LEAST_FREE:
        return Outcome.WARNING, f"only {free >> 20:,} MiB are left for {path}; make room"
    return Outcome.OK, f"{free >> 20:,} MiB are left"
