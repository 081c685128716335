"""Checks of a jtv file: its permissions, its contents, and the space on its disk."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import time
from typing import TYPE_CHECKING

from jtv_cli.errors import StoreError
from jtv_cli.records import Check, Outcome
from jtv_cli.stores.sqlite.connection import translated

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SECONDS = 10.0  # a file of some gigabytes, or one on a slow disk, takes longer
_STEPS = 10_000  # instructions of SQLite between two looks at the clock
_LEAST_FREE = 512 << 20  # bytes: four times the write-ahead log of a large ingest


def checks(connection: sqlite3.Connection, path: Path) -> Iterator[Check]:
    """Check who may use an open file, whether it is damaged, and how much space is left."""
    for name, look in (("file", _permissions), ("integrity", _integrity), ("disk space", _space)):
        try:
            with translated(str(path)):
                outcome, detail = look(connection, path)
        except StoreError as error:
            outcome, detail = Outcome.FAILED, str(error)
        yield Check(name, outcome, detail)
        if outcome is Outcome.FAILED:
            return


def _permissions(_: sqlite3.Connection, path: Path) -> tuple[Outcome, str]:
    mode = stat.S_IMODE(path.stat().st_mode)
    if os.name == "posix" and mode & 0o077:
        return (
            Outcome.WARNING,
            f"other users can access {path} (mode {mode:04o}); run: chmod 600 {path}",
        )
    if not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        return Outcome.WARNING, f"{path} is read-only"
    return Outcome.OK, f"{path}, mode {mode:04o}"


def _integrity(connection: sqlite3.Connection, path: Path) -> tuple[Outcome, str]:
    deadline = time.monotonic() + _SECONDS
    connection.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
    try:
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError as error:
        if "interrupted" not in str(error):
            raise
        detail = f"too large to check within {_SECONDS:.0f} s; run:"
        return Outcome.WARNING, f"{detail} sqlite3 {path} 'PRAGMA quick_check'"
    finally:
        connection.set_progress_handler(None, 0)
    if found != "ok":
        return Outcome.FAILED, f"{path} is damaged: {found}; restore it from a backup"
    return Outcome.OK, "no corruption found"


def _space(_: sqlite3.Connection, path: Path) -> tuple[Outcome, str]:
    free = shutil.disk_usage(path.parent).free
    if free < _LEAST_FREE:
        return Outcome.WARNING, f"only {_in_units(free)} free for {path}; free some space"
    return Outcome.OK, f"{_in_units(free)} free"


def _in_units(size: int) -> str:
    return f"{size / (1 << 30):,.1f} GiB" if size >= 1 << 30 else f"{size >> 20:,} MiB"
