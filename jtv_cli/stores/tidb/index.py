"""The vector index of a table: HNSW on TiFlash, over a columnar replica of the table."""

from __future__ import annotations

import re
import time
from contextlib import closing
from threading import Event, Thread
from typing import TYPE_CHECKING

from jtv_cli.errors import StoreError
from jtv_cli.records import IndexState, IndexStatus
from jtv_cli.stores.tidb.errors import (
    CONNECTION_LOST,
    DUPLICATE_INDEX,
    DatabaseError,
    code_of,
    says_no_tiflash,
)
from jtv_cli.stores.tidb.sql import literal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jtv_cli.stores.tidb.connection import Connection, Database, Rows

_NAME = "jtv_vector"
_ADD = f"ADD VECTOR INDEX {_NAME} ((VEC_COSINE_DISTANCE(content_vec))) USING HNSW"
# Under any name, which stays quoted: users may have created the index by hand.
_COSINE = re.compile(
    r"VECTOR INDEX (`(?:[^`]|``)+`)\s*\(\(VEC_COSINE_DISTANCE\(`content_vec`\)\)\)", re.IGNORECASE
)

# Each with the name of the table as a literal.
_REPLICA = (
    "SELECT available, progress FROM information_schema.tiflash_replica"
    " WHERE table_schema = DATABASE() AND table_name = {0} AND replica_count > 0"
)
# TiDB passes conditions on single columns to TiFlash in lower case, where they miss names with
# capitals: hence one lower-cased string.
_PROGRESS = (
    "SELECT index_name, SUM(rows_stable_indexed + rows_delta_indexed),"
    " SUM(rows_stable_not_indexed + rows_delta_not_indexed),"
    " COALESCE(MAX(error_message), '') FROM information_schema.tiflash_indexes"
    " WHERE LOWER(CONCAT(tidb_database, '.', tidb_table)) = LOWER(CONCAT(DATABASE(), '.', {0}))"
    " GROUP BY index_name"
)
_JOBS = (
    "ADMIN SHOW DDL JOBS WHERE db_name = DATABASE() AND table_name = {0}"
    " AND job_type IN ('add vector index', 'add columnar index')"
    " AND state NOT IN ('synced', 'done', 'cancelled', 'rollback done')"
)

_BACKFILL_FAILED = 9014
# The server goes on without the connection, or another process was faster.
_NO_FAILURES = {*CONNECTION_LOST, DUPLICATE_INDEX}

_POLL_SECONDS = 0.5
_POLLS = 3
# A replica or an index without progress for so long needs an administrator.
_STALL_SECONDS = 600.0


class VectorIndex:
    """The vector index of one table, for cosine distance.

    The statement that adds it returns when the index is built, which may take longer than a
    connection lasts. The server goes on without the connection, so progress is polled for in
    short statements.
    """

    def __init__(self, database: Database, table: str) -> None:
        self._database = database
        self._table = table

    def status(self) -> IndexStatus:
        """Return the state of the index and of the TiFlash replica that it is built on."""
        return self._database.read(self._status)

    def build(self, *, wait: bool, progress: Callable[[str], None]) -> None:
        """Create the replica and the index unless they exist, and wait until both are ready.

        In a cluster without TiFlash there can be no index: this is a notice, not an error.
        Without `wait`, it returns once the server works by itself.

        Raises StoreError if the build fails, or makes no progress for ten minutes.
        """
        statement = None
        try:
            # If two statements add it at once, the server rolls back the second, and with it
            # what the first has built.
            with self._database.lock(f"jtv index {self._table}"):
                self._database.read(lambda connection: self._replicate(connection, progress))
                if self.status().state in {IndexState.NONE, IndexState.FAILED}:
                    progress("adding the vector index")
                    statement = self._begin()
            if wait:
                self._wait(statement, progress)
        except _NoTiflashError:
            self._database.on_notice(
                "the cluster has no TiFlash, so the table cannot have a vector index"
            )
        except DatabaseError as error:
            if code_of(error) == _BACKFILL_FAILED:
                raise self._failure(str(error.orig.args[-1])) from error
            raise self._database.translated(error) from error

    def rebuild(self, progress: Callable[[str], None]) -> None:
        """Drop and recreate the index; one that was created by hand stays.

        Searches are full scans meanwhile. Raises StoreError as `build` does.
        """
        name = self._database.read(self._name)
        if name == f"`{_NAME}`":
            progress("dropping the vector index")
            self.drop()
        elif name is not None:
            self._database.on_notice(
                f"kept index {name}, which jtv did not create; jtv index drop drops it"
            )
        self.build(wait=True, progress=progress)

    def drop(self) -> bool:
        """Drop the index; return whether there was one. The replica stays."""
        name = self._database.read(self._name)
        if name is not None:
            drop = f"ALTER TABLE `{self._table}` DROP INDEX IF EXISTS {name}"
            self._database.read(lambda connection: connection.run(drop))
        return name is not None

    def _begin(self) -> _Statement:
        """Send the statement that adds the index, and wait until the server works on it.

        It is sent once: the server may work on it although the connection was lost.

        Raises DatabaseError if the server refuses, StoreError if it cannot be reached.
        """
        connection = self._database.slow_connection()

        def add() -> None:
            with closing(connection):
                self._alter(connection, _ADD)

        statement = _Statement(add)
        while not statement.ended(_POLL_SECONDS) and not self._database.read(self._is_adding):
            pass
        statement.check()
        return statement

    def _wait(self, statement: _Statement | None, progress: Callable[[str], None]) -> None:
        last, since = "", time.monotonic()
        while (status := self._settled_status()).state is not IndexState.READY:
            if statement is not None:
                statement.check()
            if status.state is IndexState.NONE:
                raise StoreError(
                    f"the server stopped building the vector index of table {self._table}",
                    hint="run the same command again",
                )
            if status.state is IndexState.FAILED:
                raise self._failure(status.detail)
            if status.detail != last:
                last, since = status.detail, time.monotonic()
            elif time.monotonic() - since > _STALL_SECONDS:
                raise StoreError(
                    f"no progress for {_STALL_SECONDS / 60:.0f} minutes: {status.detail}",
                    hint="check the cluster's TiFlash; run the same command to keep waiting",
                )
            progress(status.detail)
            time.sleep(_POLL_SECONDS)

    def _settled_status(self) -> IndexStatus:
        """Return the status; NONE only if several polls find none.

        An index that is finished between the two queries of a poll, for the index and for the
        job that adds it, is found by neither.
        """
        for _ in range(_POLLS):
            if (status := self.status()).state is not IndexState.NONE:
                break
            time.sleep(_POLL_SECONDS)
        return status

    def _failure(self, why: str) -> StoreError:
        return StoreError(
            f"the vector index of table {self._table} was not built: {why}",
            hint="check the cluster's TiFlash, then run: jtv index build",
        )

    def _replicate(self, connection: Connection, progress: Callable[[str], None]) -> None:
        if not self._has_replica(connection):
            progress("creating a TiFlash replica")
            self._alter(connection, "SET TIFLASH REPLICA 1")

    def _alter(self, connection: Connection, what: str) -> None:
        try:
            connection.run(f"ALTER TABLE `{self._table}` {what}")
        except DatabaseError as error:
            if says_no_tiflash(error):
                raise _NoTiflashError from error
            raise

    def _status(self, connection: Connection) -> IndexStatus:
        return read_status(connection.fetch_all(*status_statements(self._table), optional=1))

    def _name(self, connection: Connection) -> str | None:
        """Return the name of the index, quoted, None if there is none."""
        return _index_name(connection.rows(_show(self._table)))

    def _has_replica(self, connection: Connection) -> bool:
        return bool(connection.rows(_REPLICA.format(literal(self._table))))

    def _is_adding(self, connection: Connection) -> bool:
        """Return whether the server is adding the index."""
        return _is_adding(*connection.fetch_all(*_progress_and_jobs(self._table), optional=1))


def status_statements(table: str) -> tuple[str, ...]:
    """Return the statements whose rows `read_status` takes; the last is optional."""
    return _show(table), _REPLICA.format(literal(table)), *_progress_and_jobs(table)


def read_status(rows: Sequence[Rows]) -> IndexStatus:
    """Return the state of an index from the rows of the statements of `status_statements`."""
    created, replicas, progress, *jobs = rows
    name = _index_name(created)
    is_adding = name is None and _is_adding(progress, *jobs)
    if name is None and not is_adding:
        return IndexStatus(IndexState.NONE, detail="create it with: jtv init")
    if not replicas and not is_adding:
        # Statements on such a table fail with an internal error of TiDB.
        detail = "it has no TiFlash replica; repair it with: jtv index build"
        return IndexStatus(IndexState.FAILED, detail=detail)
    is_available, share = replicas[0] if replicas else (False, 0)
    indexed, pending, error = _progress_of(progress, name)
    if error:
        state, detail = IndexState.FAILED, f"TiFlash cannot build it: {error}"
    elif is_adding and (pending or is_available):
        state = IndexState.BUILDING
        detail = f"vector index: {indexed:,} of {indexed + pending:,} rows"
    elif not is_available:
        done_so_far = f"{share:.0%}" if share < 1 else "not available yet"
        state, detail = IndexState.BUILDING, f"TiFlash replica: {done_so_far}"
    else:
        state, detail = IndexState.READY, "HNSW on TiFlash"
    return IndexStatus(state, indexed, pending, detail)


def _show(table: str) -> str:
    return f"SHOW CREATE TABLE `{table}`"


def _progress_and_jobs(table: str) -> tuple[str, str]:
    """Return two statements, of which the second takes the privilege to see the server's jobs."""
    return _PROGRESS.format(literal(table)), _JOBS.format(literal(table))


def _index_name(created: Rows) -> str | None:
    """Return the quoted name of the index that SHOW CREATE TABLE shows, None if there is none."""
    found = _COSINE.search(created[0][1])
    return found[1] if found else None


def _progress_of(progress: Rows, name: str | None) -> tuple[int, int, str]:
    """Return the numbers of indexed and of pending rows, and the error of TiFlash.

    `name` is the quoted name of the index, None for the one that is being added.
    """
    index = _NAME if name is None else name[1:-1].replace("``", "`")
    for found, indexed, pending, error in progress:
        if found.lower() == index.lower():
            return int(indexed), int(pending), error
    return 0, 0, ""


def _is_adding(progress: Rows, jobs: Rows | None = None) -> bool:
    """Return whether the server is adding the index.

    Without the privilege to see the server's jobs, TiFlash's progress tells.
    """
    if jobs is not None:
        return bool(jobs)
    indexed, pending, _ = _progress_of(progress, None)
    return bool(indexed + pending)


class _NoTiflashError(Exception):
    """The cluster has no TiFlash, so there can be no vector index."""


class _Statement:
    """A statement that runs in a thread."""

    def __init__(self, run: Callable[[], None]) -> None:
        self._run = run
        self._error: Exception | None = None
        self._ended = Event()
        # A daemon: the server may work on it for hours after the process has ended.
        Thread(target=self._work, daemon=True).start()

    def ended(self, seconds: float) -> bool:
        """Wait up to so many seconds, and return whether it has ended."""
        return self._ended.wait(seconds)

    def check(self) -> None:
        """Raise its error, unless the index is being built, or exists, all the same."""
        if self._error is not None and code_of(self._error) not in _NO_FAILURES:
            raise self._error

    def _work(self) -> None:
        try:
            self._run()
        except Exception as error:
            self._error = error
        finally:
            self._ended.set()
