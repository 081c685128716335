"""SQLAlchemy's MySQL over PyMySQL, less what it sends besides the statements that it is given.

Each is a round trip, and to a cluster in a cloud that takes up to 200 ms.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.mysql.pymysql import MySQLDialect_pymysql
from sqlalchemy.exc import DisconnectionError

from jtv_cli.errors import StoreError
from jtv_cli.stores.tidb.failures import NO_HANDSHAKE, NO_LOGIN_METHOD, SERVER_LOST, code_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection, Engine
    from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

URL = "mysql+jtv://"
"""What an engine that speaks it is made with."""

_IDLE_SECONDS = 10.0


class Dialect(MySQLDialect_pymysql):
    """For connections in autocommit mode, whose transactions are begun and ended by hand."""

    supports_statement_cache = True

    def connect(self, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401  # PyMySQL's
        """Connect within `connect_timeout`, which holds for greeting and login too.

        PyMySQL would give them the time that a statement has. Where something else than TiDB
        answers, the driver's own error is raised, with code, version and reason.
        """
        timeouts = {name: options[name] for name in ("read_timeout", "write_timeout")}
        soon = dict.fromkeys(timeouts, options["connect_timeout"])
        connection = super().connect(*arguments, **options | soon, defer_connect=True)
        try:
            connection.connect()
        except Exception as error:
            version = getattr(connection, "server_version", "")
            if self._is_told(error, greeted=bool(version)):
                raise
            failure = self.loaded_dbapi.OperationalError
            raise failure(NO_HANDSHAKE, version, str(error)) from error
        # There is no other way to change them.
        for name, seconds in timeouts.items():
            setattr(connection, f"_{name}", seconds)
        return connection

    def initialize(self, connection: Connection) -> None:
        """Ask the server nothing: the answers would only tell how to look into tables."""

    def on_connect(self) -> Callable[[object], None]:
        """Leave SET NAMES to PyMySQL, which has sent it."""
        return lambda _: None

    def do_rollback(self, dbapi_connection: object) -> None:
        """Roll back nothing at the end of each use."""

    def _is_told(self, error: Exception, *, greeted: bool) -> bool:
        """Return whether it is the server that refuses, or jtv, or the network that fails."""
        if isinstance(error, StoreError):
            return True
        if not isinstance(error, self.loaded_dbapi.Error):
            return False
        code = code_of(error)
        return code not in {0, NO_LOGIN_METHOD} and (greeted or code != SERVER_LOST)


registry.register("mysql.jtv", __name__, Dialect.__name__)


def check_when_idle(engine: Engine) -> None:
    """Have the engine ask whether a server is still there, but not between two statements."""

    def note(_: object, entry: ConnectionPoolEntry) -> None:
        entry.info[check_when_idle] = time.monotonic()

    def check(connection: Any, entry: ConnectionPoolEntry, _: PoolProxiedConnection) -> None:  # noqa: ANN401
        idle = time.monotonic() - entry.info.get(check_when_idle, time.monotonic())
        if idle > _IDLE_SECONDS:
            try:
                engine.dialect.do_ping(connection)
            except engine.dialect.loaded_dbapi.Error as error:
                # Another connection is made.
                raise DisconnectionError from error

    sa.event.listen(engine, "checkin", note)
    sa.event.listen(engine, "checkout", check)
