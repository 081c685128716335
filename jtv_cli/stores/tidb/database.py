"""The connection to a TiDB database: opened for each piece of work, never held in between."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from jtv_cli.errors import StoreError
from jtv_cli.stores.tidb.dialect import URL, check_when_idle
from jtv_cli.stores.tidb.failures import (
    CANNOT_CONNECT,
    NO_HANDSHAKE,
    RETRYABLE,
    code_of,
    is_timeout,
    translated,
)
from jtv_cli.stores.tidb.tls import tls_failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection, Engine

    from jtv_cli.errors import JtvError
    from jtv_cli.stores.tidb.url import Address

    Result = TypeVar("Result")

_CONNECT_SECONDS = 15
# An exact search through some ten million vectors may take minutes.
_ANSWER_SECONDS = 300
# One that changes a table takes longer, and may have to wait for another that does.
_CHANGE_SECONDS = 3600
# TiDB Cloud's gateway drops what was idle for 340 seconds.
_RECYCLE_SECONDS = 300
_LOCK_SECONDS = 60
_SHOWN_CHARACTERS = 500
# A server that is restarted, or a gateway that fails over, is waited for half a minute.
_PAUSES_SECONDS = (0.2, 1.0, 3.0, 10.0, 15.0)
_COMMIT = "COMMIT"


class Database:
    """A database of a TiDB cluster.

    `notice` hears of each attempt that is made again, and of what cannot be had.
    """

    def __init__(self, address: Address, notice: Callable[[str], None]) -> None:
        self.location = address.location
        self._address = address
        self.notice = notice
        self._engine = self._make_engine(read_timeout=_ANSWER_SECONDS)
        self._was_connected = False

    def read(self, work: Callable[[Connection], Result], *, patient: bool = False) -> Result:
        """Return what some work on a connection gives, each statement by itself.

        The work is done anew when the connection is lost. With `patient`,
        an answer may take an hour.

        Raises StoreError.
        """
        engine = self._patient_engine if patient else self._engine

        def attempt() -> Result:
            with self._connect(engine) as connection:
                return work(connection)

        return self._patiently(attempt)

    def write(self, work: Callable[[Connection], Result]) -> Result:
        """Return what some work in one transaction gives.

        It is done anew when the connection is lost or others write to the same rows.

        Raises StoreError.
        """

        def in_transaction(connection: Connection) -> Result:
            connection.exec_driver_sql("BEGIN")
            try:
                result = work(connection)
                connection.exec_driver_sql(_COMMIT)
            except BaseException:
                # The server rolls back what a connection that ends leaves behind.
                connection.invalidate()
                raise
            return result

        return self.read(in_transaction)

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Keep other processes from what is done under the same name.

        Raises StoreError where one of them is at it for a minute.
        """
        # The name of a lock has at most 64 characters, those of database and table together
        # may have more.
        statement = sa.text("SELECT GET_LOCK(MD5(CONCAT(DATABASE(), ' ', :name)), :seconds)")
        parameters = {"name": name, "seconds": _LOCK_SECONDS}
        with ExitStack() as connections:

            def take() -> object:
                connection = connections.enter_context(self._connect(self._engine))
                # The lock ends with its connection, which so ends with this block.
                connection.detach()
                return connection.scalar(statement, parameters)

            if not self._patiently(take):
                raise StoreError(
                    f"another process works on the same table of {self.location}",
                    hint="run the same command again when it is done",
                )
            yield

    def patient_connection(self) -> Connection:
        """Open a connection of its own, for a statement that may take an hour.

        Raises StoreError.
        """
        return self._patiently(lambda: self._connect(self._patient_engine))

    def translated(self, error: DBAPIError) -> JtvError:
        """Return what to tell a user of an error."""
        return translated(error, self._address)

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    @cached_property
    def _patient_engine(self) -> Engine:
        return self._make_engine(read_timeout=_CHANGE_SECONDS, poolclass=NullPool)

    def _connect(self, engine: Engine) -> Connection:
        connection = engine.connect()
        self._was_connected = True
        return connection

    def _make_engine(self, *, read_timeout: int, **options: object) -> Engine:
        engine = sa.create_engine(
            URL,
            pool_recycle=_RECYCLE_SECONDS,
            # Its errors would else show the texts of users.
            hide_parameters=True,
            connect_args={
                **self._address.connect_args(),
                # No transaction but those that `write` begins.
                "autocommit": True,
                "connect_timeout": _CONNECT_SECONDS,
                "read_timeout": read_timeout,
                "write_timeout": _ANSWER_SECONDS,
                # SQLAlchemy would ask for the number of rows found; needed is that of rows changed.
                "client_flag": 0,
            },
            **options,
        )
        check_when_idle(engine)
        return engine

    def _patiently(self, attempt: Callable[[], Result]) -> Result:
        said = ""
        for pause in (*_PAUSES_SECONDS, None):
            try:
                return attempt()
            except DBAPIError as error:
                failure = self.translated(error)
                if pause is None or not self._may_pass(error):
                    # A traceback shows the statement, and an insert has a megabyte of vectors.
                    error.statement = (error.statement or "")[:_SHOWN_CHARACTERS]
                    raise failure from error
                again = "; trying again"
                if error.statement == _COMMIT:
                    again += ", and what the server has done already is not counted"
                if not said.endswith(again):
                    said = f"{failure.message}{again}"
                    self.notice(said)
                time.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def _may_pass(self, error: DBAPIError) -> bool:
        """Return whether the same work may succeed in a moment."""
        if is_timeout(error) or tls_failure(error, self._address.tls) is not None:
            return False
        code = code_of(error)
        # A server that answered before is being restarted; any other is not there.
        is_away = code in {CANNOT_CONNECT, NO_HANDSHAKE} and self._was_connected
        return is_away or code in RETRYABLE
