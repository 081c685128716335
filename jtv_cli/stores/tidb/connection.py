"""Connections to a TiDB database: opened for each piece of work, retried, never held in between."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa
from pymysql import err
from pymysql.constants import CLIENT
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from jtv_cli.errors import StoreError
from jtv_cli.stores.tidb.dialect import URL, ping_when_idle
from jtv_cli.stores.tidb.errors import (
    CANNOT_CONNECT,
    NO_HANDSHAKE,
    RETRYABLE,
    code_of,
    is_retryable,
    is_timeout,
    tls_error,
    translated,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy import Connection, Engine, Executable

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
# TiDB Cloud's gateway drops connections that were idle for 340 seconds.
_RECYCLE_SECONDS = 300
_LOCK_SECONDS = 60
_SHOWN_CHARACTERS = 500
# Half a minute altogether: enough for a server to restart, or a gateway to fail over.
_BACKOFF_SECONDS = (0.2, 1.0, 3.0, 10.0, 15.0)
_COMMIT = "COMMIT"


class Database:
    """A database of a TiDB cluster.

    `on_notice` is called with a line for each retry.
    """

    def __init__(self, address: Address, on_notice: Callable[[str], None]) -> None:
        self.location = address.location
        self.on_notice = on_notice
        self._address = address
        self._engine = self._create_engine(read_timeout=_ANSWER_SECONDS)
        self._was_connected = False

    def read(self, work: Callable[[Connection], Result], *, is_slow: bool = False) -> Result:
        """Return what `work` returns, given a connection that commits each statement.

        It is called again if the connection is lost. If it `is_slow`, each of its statements
        may take an hour.

        Raises StoreError.
        """
        engine = self._slow_engine if is_slow else self._engine

        def attempt() -> Result:
            with self._connect(engine) as connection:
                return work(connection)

        return self._retried(attempt)

    def write(self, work: Callable[[Connection], Result]) -> Result:
        """Return what `work` returns, given a connection with an open transaction.

        It is called again, in a new transaction, if the connection is lost or another
        transaction writes to the same rows.

        Raises StoreError.
        """

        def in_transaction(connection: Connection) -> Result:
            connection.exec_driver_sql("BEGIN")
            try:
                result = work(connection)
                connection.exec_driver_sql(_COMMIT)
            except BaseException:
                # The server rolls back the transaction of a connection that is closed.
                connection.invalidate()
                raise
            return result

        return self.read(in_transaction)

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold a lock of that name, which one process at a time can have.

        Raises StoreError if another process holds it for a minute.
        """
        # A lock's name has at most 64 characters; those of database and table together may
        # have more.
        statement = sa.text("SELECT GET_LOCK(MD5(CONCAT(DATABASE(), ' ', :name)), :seconds)")
        parameters = {"name": name, "seconds": _LOCK_SECONDS}
        with ExitStack() as connections:

            def acquire() -> object:
                connection = connections.enter_context(self._connect(self._engine))
                # The server releases the lock when its connection ends, here with the block.
                connection.detach()
                return connection.scalar(statement, parameters)

            if not self._retried(acquire):
                raise StoreError(
                    f"another process is working on the same table in {self.location}",
                    hint="run the same command again when it is done",
                )
            yield

    def slow_connection(self) -> Connection:
        """Open a connection of its own, for a statement that may take an hour.

        Raises StoreError.
        """
        return self._retried(lambda: self._connect(self._slow_engine))

    def translated(self, error: DBAPIError) -> JtvError:
        """Return the error that a user sees for an error of the driver or the server."""
        return translated(error, self._address)

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    @cached_property
    def _slow_engine(self) -> Engine:
        return self._create_engine(read_timeout=_CHANGE_SECONDS, poolclass=NullPool)

    def _connect(self, engine: Engine) -> Connection:
        connection = engine.connect()
        self._was_connected = True
        return connection

    def _create_engine(self, *, read_timeout: int, **options: object) -> Engine:
        engine = sa.create_engine(
            URL,
            pool_recycle=_RECYCLE_SECONDS,
            # SQLAlchemy's errors would otherwise show users' texts.
            hide_parameters=True,
            connect_args={
                **self._address.connect_args(),
                # Only `write` begins transactions.
                "autocommit": True,
                "connect_timeout": _CONNECT_SECONDS,
                "read_timeout": read_timeout,
                "write_timeout": _ANSWER_SECONDS,
                # Without CLIENT.FOUND_ROWS, which SQLAlchemy would set, row counts are those of
                # the rows changed.
                # Several statements in one round trip: `fetch_all`. All values are escaped.
                "client_flag": CLIENT.MULTI_STATEMENTS,
            },
            **options,
        )
        ping_when_idle(engine)
        return engine

    def _retried(self, attempt: Callable[[], Result]) -> Result:
        last_notice = ""
        for pause in (*_BACKOFF_SECONDS, None):
            try:
                return attempt()
            except DBAPIError as error:
                failure = self.translated(error)
                if pause is None or not self._is_retryable(error):
                    # A traceback shows the statement, and an INSERT has a megabyte of vectors.
                    error.statement = (error.statement or "")[:_SHOWN_CHARACTERS]
                    raise failure from error
                outcome = "; retrying"
                if error.statement == _COMMIT:
                    outcome += ", without counting what may have been committed"
                if not last_notice.endswith(outcome):
                    last_notice = f"{failure.message}{outcome}"
                    self.on_notice(last_notice)
                time.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def _is_retryable(self, error: DBAPIError) -> bool:
        if is_timeout(error) or tls_error(error, self._address.tls) is not None:
            return False
        # A server that has answered before is restarting; any other is not there.
        is_away = code_of(error) in {CANNOT_CONNECT, NO_HANDSHAKE} and self._was_connected
        return is_away or is_retryable(error)


def fetch_all(
    connection: Connection, *statements: str | Executable, optional: int = 0
) -> list[Rows]:
    """Run statements in one round trip, and return the rows of each, as the driver decodes them.

    If one fails, the server does not run those after it. The server may refuse the last
    `optional` ones, for lack of a privilege or of a table: then their rows are missing.

    Raises DBAPIError.
    """
    cursor = connection.connection.cursor()
    text = ";\n".join(rendered(connection, statement) for statement in statements)
    found: list[Rows] = []
    try:
        cursor.execute(text)
        found.append(cursor.fetchall())
        while cursor.nextset():
            found.append(cursor.fetchall())
    except err.MySQLError as error:
        if not cursor.connection.open:
            connection.invalidate(error)
        failure = DBAPIError.instance(text, None, error, err.MySQLError, hide_parameters=True)
        is_refused = cursor.connection.open and code_of(failure) not in RETRYABLE
        if not is_refused or len(found) < len(statements) - optional:
            raise failure from error
    return found


def run_prepared(connection: Connection, sql: str, types: bytes, values: bytes) -> int | None:
    """Run a statement in the binary protocol, as `DriverConnection.run_prepared` does.

    Raises DBAPIError.
    """
    driver: Any = connection.connection.driver_connection
    try:
        return driver.run_prepared(sql, types, values)  # type: ignore[no-any-return]
    except err.MySQLError as error:
        if not driver.open:
            connection.invalidate(error)
        raise DBAPIError.instance(sql, None, error, err.MySQLError, hide_parameters=True) from error


def rendered(connection: Connection, statement: str | Executable) -> str:
    """Return a statement with its parameters as literals."""
    if isinstance(statement, str):
        return statement
    compiled = statement.compile(  # type: ignore[attr-defined]
        dialect=connection.dialect, compile_kwargs={"render_postcompile": True}
    )
    return str(connection.connection.cursor().mogrify(str(compiled), compiled.params))
