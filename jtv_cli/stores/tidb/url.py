"""Parses the URL of a TiDB database: host, credentials, database, and TLS settings.

Neither `urllib` nor SQLAlchemy splits it, because their errors may quote a part of the
password.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, unquote_to_bytes

from jtv_cli.errors import DATABASE_URL_HINT, UsageError, register_secret
from jtv_cli.hosts import is_loopback
from jtv_cli.stores.tidb.tls import TLS_KEYS, Tls, read_tls

if TYPE_CHECKING:
    from collections.abc import Sequence

_SCHEMES = ("mysql", "mysql+pymysql", "mysql+mysqldb", "tidb")
_PORT = "4000"
_KEYS = ("charset", *TLS_KEYS)
_PATH_KEYS = ("ssl_ca", "ssl_cert", "ssl_key")
_SYSTEM_DATABASES = (
    "information_schema",
    "lightning_task_info",
    "metrics_schema",
    "mysql",
    "performance_schema",
    "sys",
)

_LABEL = "[a-z0-9_-]{1,63}"
_HOST_AND_PORT = re.compile(
    rf"(?:(?P<name>{_LABEL}(?:\.{_LABEL})*)\.?"
    # RFC 6874: the % before a zone is written as %25.
    r"|\[(?P<address>[0-9a-f:.]+)(?:%(?:25)?(?P<zone>[\w.~-]+))?\])"
    r"(?::(?P<port>.*))?",
    re.IGNORECASE | re.ASCII,
)
_PLACEHOLDER = re.compile(r"<([A-Za-z][\w .-]*)>")


@dataclass(frozen=True, slots=True)
class Address:
    """The address of a database and the credentials for it."""

    host: str
    port: int
    user: str
    password: bytes = field(repr=False)
    database: str
    tls: Tls

    @property
    def location(self) -> str:
        """Host, port and database, without credentials, for messages."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}/{self.database}"

    @property
    def place(self) -> tuple[str, int, str, str]:
        """The identity of the database, which is the same for every spelling of its URL.

        Clusters of TiDB Cloud share hosts; the prefix of the user name tells them apart.
        """
        host = "localhost" if is_loopback(self.host) else self.host
        cluster = self.user.rpartition(".")[0]
        return host, self.port, cluster, self.database.casefold()

    @property
    def notes(self) -> Sequence[str]:
        """What a user should know about the connection, one line each."""
        return self.tls.notes

    def connect_args(self) -> dict[str, Any]:
        """Return the arguments of PyMySQL's `connect`, except timeouts.

        The password is bytes, because PyMySQL encodes text as Latin-1.
        """
        return {
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "password": self.password,
            "database": self.database,
            "charset": "utf8mb4",
            "tls": self.tls,
        }


def parse_url(url: str) -> Address:
    """Parse a URL.

    User, password and database may be percent-encoded. Other characters are taken
    literally, up to the last @.

    Raises UsageError, which never quotes a part of the password, if the URL is invalid.
    """
    credentials, place, query = _split(_after_scheme(url.strip()))
    user, _, password = credentials.partition(":")
    secret = _password(password)
    register_secret(password)
    _refuse_placeholders(f"{user} {place} {query}", password)
    if not user:
        raise UsageError("the database URL has no user", hint=DATABASE_URL_HINT)
    keys = _keys(query)
    _check_charset(keys.pop("charset", "utf8mb4"))
    place, _, database = place.partition("/")
    host, port = _host_and_port(place)
    return Address(
        host=host,
        port=port,
        user=_checked_name(unquote(user), "user"),
        password=secret,
        database=_database(unquote(database.removesuffix("/"))),
        tls=read_tls(host, keys),
    )


def _after_scheme(url: str) -> str:
    scheme, _, rest = url.partition("://")
    scheme = scheme.lower()
    if scheme in _SCHEMES:
        return rest
    hint = f"for TiDB, {DATABASE_URL_HINT}"
    if scheme.startswith("sqlite"):
        hint = "for the embedded store, name its file: --database FILE"
    kind = f"a {scheme}:// URL" if re.fullmatch(r"[a-z][a-z0-9+.-]*", scheme) else "this URL"
    raise UsageError(f"jtv cannot use {kind}", hint=hint)


def _split(rest: str) -> tuple[str, str, str]:
    """Return credentials, host with database, and query."""
    head, _, query = rest.partition("?")
    if "@" in head or "@" not in query:
        credentials, _, place = head.rpartition("@")
    else:  # the ? is a character of the password
        credentials, _, tail = rest.rpartition("@")
        place, _, query = tail.partition("?")
    return credentials, place, query


def _refuse_placeholders(shown: str, password: str) -> None:
    """Raise UsageError for a placeholder such as <PASSWORD> that was not replaced.

    One that is percent-encoded or only a part of the password is taken literally.
    """
    found = _PLACEHOLDER.search(unquote(shown)) or _PLACEHOLDER.fullmatch(password)
    if found:
        raise UsageError(
            f"{found[1]} is still a placeholder in the database URL",
            hint="replace it with your own value, without the angle brackets",
        )


def _keys(query: str) -> dict[str, str]:
    keys: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        # If an @ follows, the ? may be part of a password, so nothing of it is shown.
        at = name not in _PATH_KEYS and "@" in (value if name in _KEYS else query)
        if at or not re.fullmatch(r"[\w.-]+", name):
            hint = "write parameters as key=value; in a password, write ? as %3F and @ as %40"
            raise UsageError("the database URL has an invalid parameter after the ?", hint=hint)
        if name not in _KEYS:
            hint = f"remove it; the supported parameters are {', '.join(_KEYS)}"
            raise UsageError(f"the database URL has an unsupported parameter {name}", hint=hint)
        if name in keys:
            raise UsageError(f"the database URL has {name} twice", hint="remove one of them")
        if value:
            keys[name] = value
    return keys


def _check_charset(charset: str) -> None:
    if charset.lower() not in {"utf8mb4", "utf8mb3", "utf8"}:
        hint = "remove it: jtv uses utf8mb4"
        raise UsageError(f"charset={charset} in the database URL cannot hold every text", hint=hint)


def _host_and_port(place: str) -> tuple[str, int]:
    parts = _HOST_AND_PORT.fullmatch(place)
    if parts is None:
        hint = f"{DATABASE_URL_HINT}, with an IPv6 address in brackets"
        raise UsageError("the database URL has no valid host", hint=hint)
    port = parts["port"] or _PORT
    if not (re.fullmatch("[0-9]{1,5}", port) and 0 < int(port) < 65536):
        raise UsageError(
            "the port in the database URL is not a number from 1 to 65535", hint=DATABASE_URL_HINT
        )
    # A zone is the name of a network interface, where case matters.
    zone = f"%{parts['zone']}" if parts["zone"] else ""
    return (parts["name"] or parts["address"]).lower() + zone, int(port)


def _password(password: str) -> bytes:
    try:
        return unquote_to_bytes(password)
    except UnicodeEncodeError:
        message = "the password in the database URL is not UTF-8"
        raise UsageError(message, hint="percent-encode it") from None


def _database(database: str) -> str:
    hint = "end the URL with the name of your database; on TiDB Cloud that is /test"
    if not database:
        raise UsageError("the database URL has no database", hint=hint)
    if database.lower() in _SYSTEM_DATABASES:
        raise UsageError(f"{database} is a system database of TiDB", hint=hint)
    return _checked_name(database, "database")


def _checked_name(name: str, what: str) -> str:
    if not name.isprintable():
        message = f"the {what} in the database URL has an unprintable character"
        raise UsageError(message, hint=DATABASE_URL_HINT)
    return name
