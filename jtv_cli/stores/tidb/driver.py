"""The driver for TiDB: how to log in, and what a session is set to.

PyMySQL sends statements of its own, to set the character set and the autocommit mode. Each is a
round trip, up to 200 ms to a cluster in a cloud. Here, all settings are sent together with the
first statement of the session.
"""

from __future__ import annotations

import math
import socket
import struct
import time
from contextlib import contextmanager, suppress
from threading import Event, Timer
from typing import TYPE_CHECKING, Any

from pymysql import connections, err
from pymysql.constants import COMMAND

from jtv_cli.hosts import resolve
from jtv_cli.stores.tidb.errors import (
    CANNOT_CONNECT,
    NO_HANDSHAKE,
    NO_LOGIN_METHOD,
    SERVER_LOST,
    code_of,
    password_refused,
    version_error,
)
from jtv_cli.stores.tidb.sql import literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jtv_cli.stores.tidb.tls import Tls

# Authentication methods in which the client sends the password itself, or encrypts it with a
# key that whoever answers has sent.
_CLEAR_METHODS = ("mysql_clear_password", "dialog")
_SHA2_METHODS = ("sha256_password", "caching_sha2_password")

# Every variable that a statement depends on, as an administrator may have changed its global
# value. https://docs.pingcap.com/tidb/stable/system-variables
_SETTINGS = (
    "NAMES utf8mb4 COLLATE utf8mb4_bin",
    "autocommit = 1",
    # Without strict mode, the server truncates what does not fit.
    "sql_mode = 'STRICT_TRANS_TABLES'",
    "sql_select_limit = 18446744073709551615",
    "time_zone = '+00:00'",
    "transaction_isolation = 'REPEATABLE-READ'",
    "transaction_read_only = OFF",
)
_TIDB_SETTINGS = (
    # SELECT … FOR UPDATE locks nothing in an optimistic transaction.
    "tidb_txn_mode = 'pessimistic'",
    # A duplicate would otherwise be found at the COMMIT only.
    "tidb_constraint_check_in_place_pessimistic = ON",
    "tidb_dml_type = 'standard'",
    # With it, reads miss what was committed within the last two seconds.
    "tidb_low_resolution_tso = OFF",
    # The vector index is read by MPP on TiFlash, information_schema on the TiDB server.
    "tidb_isolation_read_engines = 'tikv,tiflash,tidb'",
    "tidb_allow_mpp = ON",
    "tidb_enable_window_function = ON",
    # Occurrences are looked up by their primary key.
    "tidb_enable_clustered_index = ON",
    # To look for a plan that is bound to a statement, the server would parse an INSERT of a
    # megabyte of vectors once more.
    "tidb_use_plan_baselines = OFF",
)
# 1193: unknown variable, in another release; 1227, 8121: no privilege to set it; 1231: unknown
# value; 1238: read-only.
_UNSETTABLE = frozenset({1193, 1227, 1231, 1238, 8121})
# 1047: unknown command; 1295: not in this protocol; 1461: too many prepared statements.
_UNPREPARABLE = frozenset({1047, 1295, 1461})
# Prepared for what the table was: the statement itself says what is wrong, if anything is.
_SCHEMA_CHANGED = 8113
# Prepared on another server than that to which a proxy has moved the session. TiDB reports it
# with the code for unknown errors.
_NOT_PREPARED = "Unknown prepared statement"
_NO_CURSOR = 0
# A longer statement, which inserts rows, may be as long as a packet can be.
_LONGEST_FIRST_BYTES = 1 << 19


class _PasswordRefused(err.OperationalError):
    """The server asks for the password over a connection that is not verified."""


class _Refusal:
    """An authentication method that would reveal the password to whoever answers."""

    def authenticate(self, _packet: object) -> None:
        raise _PasswordRefused(NO_LOGIN_METHOD, "the password is not sent")


# The type stubs leave out everything that is overridden here.
_PyMySQLConnection: Any = connections.Connection


class DriverConnection(_PyMySQLConnection):  # type: ignore[misc]
    """A connection of PyMySQL that logs in safely and in time, to a session of known settings.

    `connect_timeout` is the time in seconds for all of DNS, TCP, TLS and the login,
    `read_timeout` that for the whole answer to a statement. The session is
    set with its first statement.
    """

    _auth_plugin_name: str
    _is_set = False
    _answer_by = math.inf

    def __init__(self, *, tls: Tls, **options: Any) -> None:  # noqa: ANN401  # PyMySQL's
        self._prepared: dict[str, int | None] = {}
        self._tls = tls
        super().__init__(**options, **tls.arguments, defer_connect=True)

    def connect(self, sock: socket.socket | None = None) -> None:
        """Connect and log in. Raises PyMySQL's errors."""
        deadline = time.monotonic() + self.connect_timeout
        sock = sock or _open_socket(self.host, self.port, deadline)
        expired = Event()

        def expire() -> None:
            expired.set()
            with suppress(OSError):  # the connection has ended by itself
                duplicate.shutdown(socket.SHUT_RDWR)

        # PyMySQL's timeouts apply to each read: a server that sends a byte now and then would
        # keep it waiting forever. TLS takes over the socket, which leaves its duplicate.
        with sock.dup() as duplicate:
            timer = Timer(deadline - time.monotonic(), expire)
            timer.daemon = True
            timer.start()
            try:
                super().connect(sock)
            except err.Error as error:
                if not expired.is_set():
                    raise
                raise err.OperationalError(SERVER_LOST, "the login timed out") from error
            finally:
                timer.cancel()
                timer.join()

    def set_character_set(self, charset: str, collation: str | None = None) -> None:
        """Send nothing: the session is set with its first statement."""

    def query(self, sql: str | bytes, unbuffered: bool = False) -> int:
        """Send a statement, the first one with the settings of the session.

        Raises OperationalError for an answer that cannot be decoded.
        """
        statement = sql.encode() if isinstance(sql, str) else sql
        with self._decoding():
            if not self._is_set:
                self._is_set = True
                # The server parses both before it sets the SQL mode, in which a backslash may
                # mean something else.
                if len(statement) <= _LONGEST_FIRST_BYTES and b"\\" not in statement:
                    return self._set_and_query(statement)
                self._set_session()
            return int(super().query(statement, unbuffered=unbuffered))

    def next_result(self, unbuffered: bool = False) -> int:
        """Read the result of the next of several statements. Raises OperationalError likewise."""
        with self._decoding():
            return int(super().next_result(unbuffered))

    def run_prepared(
        self, sql: str, types: bytes, values: Iterable[bytes], *, before: str = ""
    ) -> list[int | None]:
        """Run a statement in the binary protocol, with each of the values in turn.

        `types` has the type of each parameter, and an item of `values` all parameters. They are
        sent without waiting for an answer, after the statement `before`, so that all of it
        takes one round trip. The connection prepares a statement once, in another one, and a
        session that is not set takes one more.

        Returns how many rows each changed: None where the server refuses to run it so. If it
        refuses to prepare the statement, the list is empty and no values are taken. If one fails,
        those after it are run all the same.
        """
        if before and not self._is_set:
            self.query(before)
            before = ""
        with self._decoding():
            if sql not in self._prepared:
                self._prepared[sql] = self._prepare(sql)
            if before:
                self._execute_command(COMMAND.COM_QUERY, before)
            number = self._prepared[sql]
            if number is None:
                if before:
                    self._read_ok_packet()
                return []
            nulls = bytes((len(types) + 7) // 8)
            signed = b"".join(bytes((one, 0)) for one in types)
            head = struct.pack("<IBI", number, _NO_CURSOR, 1) + nulls + b"\1" + signed
            sent = 0
            for some in values:
                self._execute_command(COMMAND.COM_STMT_EXECUTE, head + some)
                sent += 1
            if before:
                self._read_next_ok()
            return [self._read_changed(sql) for _ in range(sent)]

    def ping(self, reconnect: bool = False) -> None:
        """Check the connection. Raises OperationalError for an answer that cannot be decoded."""
        with self._decoding():
            super().ping(reconnect)

    def escape(self, obj: object, mapping: Any = None) -> str:  # noqa: ANN401, ARG002  # PyMySQL's
        """Return a value as a literal that means the same in every SQL mode.

        PyMySQL would escape by the SQL mode that the server has last told it, which may not be
        the session's.
        """
        return literal(obj)

    def abandon(self) -> None:
        """Close the socket."""
        self._force_close()

    def _prepare(self, sql: str) -> int | None:
        """Return the server's number of a statement, None if it refuses to prepare it."""
        try:
            self._execute_command(COMMAND.COM_STMT_PREPARE, sql.encode())
            answer = self._read_packet().get_all_data()
        except err.MySQLError as error:
            if code_of(error) not in _UNPREPARABLE:
                raise
            return None
        _, number, columns, parameters = struct.unpack_from("<BIHH", answer)
        for count in (parameters, columns):
            for _ in range(count + 1 if count else 0):  # the end is a packet of its own
                self._read_packet()
        return int(number)

    def _read_changed(self, sql: str) -> int | None:
        """Return how many rows a prepared statement changed, None if it was not run."""
        try:
            return int(self._read_next_ok().affected_rows)
        except err.MySQLError as error:
            if code_of(error) != _SCHEMA_CHANGED and _NOT_PREPARED not in str(error):
                raise
            self._prepared[sql] = None
            return None

    def _read_next_ok(self) -> Any:  # noqa: ANN401  # PyMySQL's OKPacketWrapper
        """Read the answer to the next of several commands that were sent together."""
        self._next_seq_id = 1  # each answer is numbered from its own command
        return self._read_ok_packet()

    def _set_and_query(self, statement: bytes) -> int:
        """Send the settings and a statement in one round trip."""
        settings = _set_statement(*_SETTINGS, *_TIDB_SETTINGS).encode()
        self._execute_command(COMMAND.COM_QUERY, settings + b"; " + statement)
        try:
            self._read_ok_packet()
        except err.MySQLError as error:
            if code_of(error) not in _UNSETTABLE:
                raise
            # The server has not run the statement.
            self._set_session()
            return int(super().query(statement))
        return int(self.next_result())

    def _set_session(self) -> None:
        try:
            self._set(*_SETTINGS, *_TIDB_SETTINGS)
        except err.MySQLError as error:
            if code_of(error) not in _UNSETTABLE:
                raise
            self._set(*_SETTINGS)
            for setting in _TIDB_SETTINGS:
                self._set_if_possible(setting)

    def _set(self, *settings: str) -> None:
        self._execute_command(COMMAND.COM_QUERY, _set_statement(*settings))
        self._read_ok_packet()

    def _set_if_possible(self, setting: str) -> None:
        try:
            self._set(setting)
        except err.MySQLError as error:
            if code_of(error) not in _UNSETTABLE:
                raise

    def _get_server_information(self) -> None:
        super()._get_server_information()
        if self._auth_plugin_name == "sha256_password" and not self._tls.is_verified:
            # PyMySQL would put the password into its first packet. Without it, a server whose
            # user has this method asks for it in a second one.
            self._auth_plugin_name = "mysql_native_password"

    def _get_auth_plugin_handler(self, plugin_name: bytes | str) -> Any:  # noqa: ANN401  # PyMySQL's
        name = plugin_name if isinstance(plugin_name, str) else plugin_name.decode("latin-1")
        is_private = self._tls.is_verified or (self._tls.is_local and self._secure)
        if (name in _CLEAR_METHODS and not self._tls.is_verified) or (
            name in _SHA2_METHODS and not is_private
        ):
            return _Refusal()
        return super()._get_auth_plugin_handler(plugin_name)

    @contextmanager
    def _decoding(self) -> Iterator[None]:
        """Close the connection where an answer is not as the protocol says.

        Each entry starts the time that an answer may take as a whole.

        Raises OperationalError then.
        """
        self._answer_by = time.monotonic() + (self._read_timeout or math.inf)
        try:
            yield
        except MemoryError:
            raise
        except Exception as error:
            if isinstance(error, err.Error) and code_of(error):
                raise
            self._force_close()
            raise err.OperationalError(SERVER_LOST, f"malformed answer: {error!r}") from error
        finally:
            self._answer_by = math.inf

    def _read_bytes(self, num_bytes: int) -> bytes:
        """Read so many bytes. Raises OperationalError if the whole answer takes too long.

        The timeout of the socket starts anew with each byte that a server sends.
        """
        pieces: list[bytes] = []
        while num_bytes:
            if time.monotonic() > self._answer_by:
                self._force_close()
                raise err.OperationalError(SERVER_LOST, "the answer timed out")
            try:
                # At most one call of the socket, so that the time is looked at in between.
                piece = self._rfile.read1(num_bytes)
            except BaseException as error:
                self._force_close()
                if not isinstance(error, OSError):
                    raise
                raise err.OperationalError(SERVER_LOST, f"lost connection: {error}") from error
            if not piece:
                self._force_close()
                raise err.OperationalError(SERVER_LOST, "lost connection")
            pieces.append(piece)
            num_bytes -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _set_statement(*settings: str) -> str:
    return f"SET {', '.join(settings)}"


def _open_socket(host: str, port: int, deadline: float) -> socket.socket:
    """Connect to the first of a host's addresses that answers before the deadline."""
    failure: OSError | None = None
    try:
        addresses = resolve(host, port, deadline - time.monotonic())
    except OSError as error:
        addresses, failure = [], error
    for left, (family, kind, protocol, _, address) in zip(
        range(len(addresses), 0, -1), addresses, strict=True
    ):
        sock = socket.socket(family, kind, protocol)
        try:
            # Each address has its share of the time, so that a silent one leaves some.
            sock.settimeout(max((deadline - time.monotonic()) / left, 0.001))
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        except OSError as error:
            sock.close()
            failure = error
        else:
            return sock
    raise err.OperationalError(CANNOT_CONNECT, f"cannot connect to {host}: {failure}") from failure


def log_in(tls: Tls, **options: Any) -> DriverConnection:  # noqa: ANN401  # PyMySQL's
    """Return a connection with these options of PyMySQL.

    Raises PyMySQL's errors: NO_HANDSHAKE, with version and reason, where it is not TiDB that
    answers. Raises StoreError where the server asks for the password and must not have it.
    """
    connection = DriverConnection(tls=tls, **options)
    try:
        connection.connect()
    except Exception as error:
        version = getattr(connection, "server_version", "")
        if isinstance(error, _PasswordRefused) and version_error(version, "") is None:
            raise password_refused(tls) from error
        if _is_told(error, greeted=bool(version)):
            raise
        raise err.OperationalError(NO_HANDSHAKE, version, str(error)) from error
    return connection


def _is_told(error: Exception, *, greeted: bool) -> bool:
    """Return whether the driver's error tells why: a server refuses, or the network fails."""
    if not isinstance(error, err.Error):
        return False
    code = code_of(error)
    return code not in {0, NO_LOGIN_METHOD} and (greeted or code != SERVER_LOST)
