"""The server: how it is reached, which one it is, and whether it can have vector indexes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from jtv_cli.errors import StoreError
from jtv_cli.records import TIFLASH, Check, Outcome
from jtv_cli.stores.tidb.errors import is_serverless, version_error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from jtv_cli.stores.tidb.connection import Database
    from jtv_cli.stores.tidb.tls import Tls


def server_version(connection: Connection) -> str:
    """Return what the server says of its version."""
    return str(connection.scalar(sa.text("SELECT VERSION()")))


def require_vectors(version: str, location: str) -> None:
    """Raise StoreError where the server is no TiDB of 8.4 or newer."""
    if (failure := version_error(version, location)) is not None:
        raise failure


def checks(database: Database, tls: Tls) -> Iterator[Check]:
    """Look at the connection, the server's version, and TiFlash."""
    try:
        yield database.read(lambda connection: _connection(connection, database.location, tls))
    except StoreError as error:
        yield Check("connection", Outcome.FAILED, str(error))
        return
    try:
        version = database.read(server_version)
        require_vectors(version, database.location)
    except StoreError as error:
        yield Check("server", Outcome.FAILED, str(error))
        return
    yield Check("server", Outcome.OK, version)
    yield _tiflash(database, version)


def _connection(connection: Connection, location: str, tls: Tls) -> Check:
    """Return how the connection is secured, with the notes on what is weak about that."""
    status = dict(map(tuple, connection.execute(sa.text("SHOW STATUS LIKE 'Ssl%'"))))
    if not status.get("Ssl_cipher"):
        how = "not encrypted"
    elif tls.context is None:
        how = f"{status['Ssl_version']}, {status['Ssl_cipher']}, not verified"
    else:
        how = f"{status['Ssl_version']}, {status['Ssl_cipher']}, signed by {tls.signer}"
        how += ", host name checked" if tls.context.check_hostname else ""
    outcome = Outcome.WARNING if tls.notes else Outcome.OK
    return Check("connection", outcome, "; ".join((f"{location}, {how}", *tls.notes)))


def _tiflash(database: Database, version: str) -> Check:
    if is_serverless(version):
        return Check(TIFLASH, Outcome.OK, "part of every serverless cluster")
    nodes = sa.text("SELECT COUNT(*) FROM information_schema.cluster_info WHERE type = 'tiflash'")
    try:
        count = database.read(lambda connection: int(connection.scalar(nodes) or 0))
    except StoreError as error:
        return Check(TIFLASH, Outcome.WARNING, f"whether there is any cannot be seen: {error}")
    if not count:
        detail = "none, so there is no vector index: searches look at every vector; add a node"
        return Check(TIFLASH, Outcome.WARNING, detail)
    return Check(TIFLASH, Outcome.OK, f"{count:,} {'node' if count == 1 else 'nodes'}")
