"""Connections to a TiDB database: opened for each piece of work, retried, never held in between."""

from __future__ import annotations

import time
from collections import deque
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from pymysql import err
from pymysql.constants import CLIENT

from jtv_cli.errors import StoreError
from jtv_cli.stores.tidb.driver import log_in
from jtv_cli.stores.tidb.errors import (
    CANNOT_CONNECT,
    NO_HANDSHAKE,
    RETRYABLE,
    DatabaseError,
    code_of,
    is_retryable,
    is_timeout,
    tls_error,
    translated,
)
from jtv_cli.stores.tidb.sql import literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from jtv_cli.errors import JtvError
    from jtv_cli.stores.tidb.url import Address

    Result = TypeVar("Result")
    Rows = Sequence[tuple[Any, ...]]
    """The rows of a statement."""

_CONNECT_SECONDS = 15
# An exact search of some ten million vectors takes minutes.
_ANSWER_SECONDS = 300
# A statement that alters a table takes longer, and may have to wait for another one.
_CHANGE_SECONDS = 3600
# A connection that was idle for longer is pinged before it is used again.
_IDLE_SECONDS = 10.0
# TiDB Cloud's gateway drops connections that were idle for 340 seconds.
_RECYCLE_SECONDS = 300.0
_LOCK_SECONDS = 60
# Half a minute altogether: enough for a server to restart, or a gateway to fail over.
_BACKOFF_SECONDS = (0.2, 1.0, 3.0, 10.0, 15.0)
# After a deadlock, the server has rolled back the whole transaction. What was sent to be run after
# the statement that failed is then in another one, which must not commit by itself, either.
_BEGIN = "SET autocommit = 0"
_COMMIT = "COMMIT"
_END = "SET autocommit = 1"


class Connection:
    """A connection whose statements are transactions of their own unless one was begun.

    Its methods raise DatabaseError.
    """

    def __init__(self, driver: Any) -> None:  # noqa: ANN401  # a DriverConnection
        self.driver = driver
        self.idle_since = time.monotonic()
        self.looked_up: dict[object, Any] = {}
        """What needs to be looked up once in a connection."""
        self.in_transaction = False
        self._pending = ""

    def rows(self, statement: str) -> Rows:
        """Return the rows of a statement."""
        return self.fetch_all(statement)[0]

    def scalar(self, statement: str) -> Any:  # noqa: ANN401  # as the column's type
        """Return the first value of the first row of a statement, None if there is no row."""
        rows = self.rows(statement)
        return rows[0][0] if rows else None

    def run(self, statement: str) -> int:
        """Run a statement; return how many rows it changed."""
        return int(self.rows(statement)[0][0])

    def run_prepared(
        self, statement: str, types: bytes, values: Iterable[bytes]
    ) -> list[int | None]:
        """Run a statement in the binary protocol, as `DriverConnection.run_prepared` does."""
        pending, self._pending = self._pending, ""
        try:
            return self.driver.run_prepared(  # type: ignore[no-any-return]
                statement, types, values, before=pending
            )
        except err.MySQLError as error:
            raise DatabaseError(error, statement) from error

    def begin(self) -> None:
        """Begin a transaction, along with the next statement."""
        self._pending = _BEGIN
        self.in_transaction = True

    def commit(self, *statements: str) -> list[Rows]:
        """Run statements as `fetch_all` does, and commit the transaction in the same round trip."""
        *rows, _, _ = self.fetch_all(*statements, _COMMIT, _END)
        self.in_transaction = False
        return rows

    def fetch_all(self, *statements: str, optional: int = 0) -> list[Rows]:
        """Run statements in one round trip, and return the rows of each.

        Of one that changes rows, their number is returned as the only row. If one fails, the
        server does not run those after it. The server may refuse the last `optional` ones, for
        lack of a privilege or of a table: then their rows are missing.
        """
        if self._pending:
            statements, self._pending = (self._pending, *statements), ""
            return self.fetch_all(*statements, optional=optional)[1:]
        cursor = self.driver.cursor()
        found: list[Rows] = []
        try:
            cursor.execute(";\n".join(statements))
            while True:
                found.append(cursor.fetchall() if cursor.description else ((cursor.rowcount,),))
                if not cursor.nextset():
                    break
        except err.MySQLError as error:
            is_refused = self.driver.open and code_of(error) not in RETRYABLE
            if not is_refused or len(found) < len(statements) - optional:
                # If the server says what is wrong, that is with the next one, and ends them all.
                end = len(found) + 1 if is_refused else len(statements)
                raise DatabaseError(error, *statements[len(found) : end]) from error
        return found

    def is_alive(self) -> bool:
        """Return whether the server should still answer; ask it after some time without use."""
        idle = time.monotonic() - self.idle_since
        if idle > _IDLE_SECONDS and idle < _RECYCLE_SECONDS:
            try:
                self.driver.ping(reconnect=False)
            except err.MySQLError:
                return False
        return bool(self.driver.open) and idle < _RECYCLE_SECONDS

    def close(self) -> None:
        """Close the connection."""
        if self.driver.open:
            self.driver.close()

    def abandon(self) -> None:
        """Close the connection without a goodbye, which the server may not be able to read."""
        self.driver.abandon()


class Database:
    """A database of a TiDB cluster.

    `on_notice` is called with a line for each retry.
    """

    def __init__(self, address: Address, on_notice: Callable[[str], None]) -> None:
        self.location = address.location
        self.on_notice = on_notice
        self._address = address
        self._idle: deque[Connection] = deque()
        self._was_connected = False

    def read(self, work: Callable[[Connection], Result], *, is_slow: bool = False) -> Result:
        """Return what `work` returns, given a connection that commits each statement.

        It is called again if the connection is lost. If it `is_slow`, each of its statements
        may take an hour.

        Raises StoreError.
        """

        def attempt() -> Result:
            connection = self._open(_CHANGE_SECONDS) if is_slow else self._take()
            try:
                result = work(connection)
            except BaseException:
                # An answer may be on its way. The server rolls back an open transaction.
                connection.abandon()
                raise
            connection.idle_since = time.monotonic()
            if is_slow:
                connection.close()
            else:
                self._idle.append(connection)
            return result

        return self._retried(attempt)

    def write(self, work: Callable[[Connection], Result]) -> Result:
        """Return what `work` returns, given a connection with an open transaction.

        It is called again, in a new transaction, if the connection is lost or another
        transaction writes to the same rows.

        Raises StoreError.
        """

        def in_transaction(connection: Connection) -> Result:
            connection.begin()
            result = work(connection)
            if connection.in_transaction:
                connection.commit()
            return result

        return self.read(in_transaction)

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold a lock of that name, which one process at a time can have.

        Raises StoreError if another process holds it for a minute.
        """
        # A lock's name has at most 64 characters; those of database and table together may
        # have more.
        key = f"MD5(CONCAT(DATABASE(), ' ', {literal(name)}))"

        def acquire() -> Connection | None:
            connection = self._take()
            try:
                has_lock = connection.scalar(f"SELECT GET_LOCK({key}, {_LOCK_SECONDS})")
            except BaseException:
                connection.abandon()
                raise
            if has_lock:
                return connection
            connection.close()
            return None

        connection = self._retried(acquire)
        if connection is None:
            raise StoreError(
                f"another process is working on the same table in {self.location}",
                hint="run the same command again when it is done",
            )
        # The server releases the lock when its connection ends.
        with closing(connection):
            yield

    def slow_connection(self) -> Connection:
        """Open a connection of its own, for a statement that may take an hour.

        Raises StoreError.
        """
        return self._retried(lambda: self._open(_CHANGE_SECONDS))

    def translated(self, error: DatabaseError) -> JtvError:
        """Return the error that a user sees for an error of the driver or the server."""
        return translated(error, self._address)

    def close(self) -> None:
        """Close the connections."""
        while self._idle:
            self._idle.pop().close()

    def _take(self) -> Connection:
        """Return the connection that was used last, or another one."""
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return self._open(_ANSWER_SECONDS)
            if connection.is_alive():
                return connection
            connection.abandon()

    def _open(self, read_timeout: int) -> Connection:
        try:
            driver = log_in(
                **self._address.connect_args(),
                # Only `write` begins transactions.
                autocommit=True,
                connect_timeout=_CONNECT_SECONDS,
                read_timeout=read_timeout,
                write_timeout=_ANSWER_SECONDS,
                # Several statements in one round trip: `fetch_all`. All values are escaped.
                client_flag=CLIENT.MULTI_STATEMENTS,
            )
        except err.MySQLError as error:
            raise DatabaseError(error) from error
        self._was_connected = True
        return Connection(driver)

    def _retried(self, attempt: Callable[[], Result]) -> Result:
        last_notice = ""
        for pause in (*_BACKOFF_SECONDS, None):
            try:
                return attempt()
            except DatabaseError as error:
                failure = self.translated(error)
                if pause is None or not self._is_retryable(error):
                    raise failure from error
                outcome = "; retrying"
                if _END in error.statements:
                    outcome += ", without counting what may have been committed"
                if not last_notice.endswith(outcome):
                    last_notice = f"{failure.message}{outcome}"
                    self.on_notice(last_notice)
                time.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def _is_retryable(self, error: DatabaseError) -> bool:
        if is_timeout(error) or tls_error(error, self._address.tls) is not None:
            return False
        # A server that has answered before is restarting; any other is not there.
        is_away = code_of(error) in {CANNOT_CONNECT, NO_HANDSHAKE} and self._was_connected
        return is_away or is_retryable(error)
