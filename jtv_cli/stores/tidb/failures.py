"""What a TiDB server, or the way to it, says when it fails: one line, and whether to try again."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from jtv_cli.errors import JtvError, StoreError, TableMismatch
from jtv_cli.stores.tidb.server import without_vectors
from jtv_cli.stores.tidb.tls import tls_failure

if TYPE_CHECKING:
    from sqlalchemy.exc import DBAPIError

    from jtv_cli.stores.tidb.url import Address


class TooLarge(StoreError):
    """A text, or its metadata, is larger than the server takes."""


# The client's own codes, and those of TiDB: https://docs.pingcap.com/tidb/stable/error-codes
CANNOT_CONNECT = 2003
NO_HANDSHAKE = 2012
SERVER_LOST = 2013
NO_LOGIN_METHOD = 2059
CONNECTION_LOST = frozenset({2006, SERVER_LOST, 4031})
# 1205: another's transaction holds a lock; 8021: a row is seen in an index, but not yet by
# itself, while another writes it; 8028: a table was changed meanwhile.
_CONFLICTS = frozenset({1205, 1213, 8002, 8021, 8022, 8028, 9007})
RETRYABLE = CONNECTION_LOST | _CONFLICTS

DUPLICATE_INDEX = 1061
NO_RIGHT = frozenset({1044, 1142, 1143, 1227, 8121})
_TOO_LARGE = frozenset({1153, 1406, 8025})
_TOO_MUCH = 8004
_BUSY = frozenset({9001, 9002, 9003, 9005})
_NO_VECTORS = frozenset({1064, 1128, 1305})

_CHECK_PLACE = "check host, port, and that the cluster is running"

_NO_TIFLASH_CODES = frozenset({1105, 8200})
_NO_TIFLASH = re.compile("tiflash|columnar|vector index", re.IGNORECASE)
_MYSQL_VERSION = re.compile(r"\d+\.\d+[\w.+~-]*", re.ASCII)
_QUOTA = re.compile("usage quota.*exhausted", re.IGNORECASE | re.DOTALL)


def code_of(error: BaseException) -> int:
    """Return the MySQL error code, 0 where there is none."""
    origin = getattr(error, "orig", error)
    code = origin.args[0] if origin is not None and origin.args else 0
    return code if isinstance(code, int) else 0


def is_timeout(error: DBAPIError) -> bool:
    """Return whether an answer, or a connection, was waited for in vain."""
    return "timed out" in str(error.orig)


def says_no_tiflash(error: DBAPIError) -> bool:
    """Return whether the server has refused an index because the cluster has no TiFlash.

    The wording differs between releases, so only its common words are looked at.
    """
    text = str(error.orig)
    return (
        code_of(error) in _NO_TIFLASH_CODES
        and "system table" not in text
        and _NO_TIFLASH.search(text) is not None
    )


def translated(error: DBAPIError, address: Address) -> JtvError:
    """Return what to tell a user of an error of the driver or the server."""
    if (failure := tls_failure(error, address.tls)) is not None:
        return failure
    code, where = code_of(error), address.location
    if code == 1045:
        hints = ["check both in the URL"]
        if "." not in address.user:
            hints.append("on TiDB Cloud the user's name has a prefix, like 4Xy7Zab.root")
        if address.tls.context is None:
            hints.append("some users must come by TLS: add ssl_mode=VERIFY_IDENTITY")
        return StoreError(
            f"{where} refuses {address.user}: wrong user name or password", hint="; ".join(hints)
        )
    if code == 1049:
        return StoreError(
            f"{where}: there is no database {address.database}",
            hint=f"make it with: CREATE DATABASE `{address.database.replace('`', '``')}`",
        )
    if code == 1146:
        return TableMismatch(
            f"a table of {where} was dropped meanwhile", hint="make it with: jtv init"
        )
    if (failure := _of_a_connection(code, error, where)) is not None:
        return failure
    return _of_a_statement(code, str(getattr(error.orig, "args", ("", ""))[-1]), where)


def _of_a_connection(code: int, error: DBAPIError, where: str) -> StoreError | None:
    """Return what to tell where there is none to a TiDB, None where there is."""
    if code == CANNOT_CONNECT:
        return StoreError(f"cannot connect to {where}", hint=_CHECK_PLACE)
    if code == NO_HANDSHAKE:
        version = str(getattr(error.orig, "args", ("", ""))[1])
        if _MYSQL_VERSION.fullmatch(version):
            return without_vectors(version, where)
        return StoreError(f"{where} does not answer like TiDB", hint=_CHECK_PLACE)
    if code in CONNECTION_LOST and is_timeout(error):
        return StoreError(
            f"{where} gave no answer in time",
            hint="the server may still be at it: run the same command again later",
        )
    if code in CONNECTION_LOST:
        return StoreError(f"the connection to {where} was lost", hint="run the same command again")
    return None


def _of_a_statement(code: int, text: str, where: str) -> StoreError:
    """Return what to tell of a statement that was refused."""
    if code in NO_RIGHT:
        return StoreError(f"{where}: a right is missing: {text}", hint="have it granted")
    if _QUOTA.search(text):
        return StoreError(
            f"{where}: the cluster's free quota is used up",
            hint="raise its spending limit in the TiDB Cloud console",
        )
    if code in _CONFLICTS:
        return StoreError(
            f"{where}: other processes write to the same rows", hint="run the same command again"
        )
    if code in _TOO_LARGE:
        return TooLarge(
            "the text or its metadata is too large for TiDB, which takes 6 MiB", hint="split it"
        )
    if code == _TOO_MUCH:
        return StoreError(
            f"{where}: that is too much for one transaction",
            hint="do it in parts, or raise the cluster's txn-total-size-limit",
        )
    if code in _BUSY:
        return StoreError(f"{where}: the cluster is busy: {text}", hint="try again in a moment")
    if code in _NO_VECTORS and "VEC" in text.upper():
        return StoreError(
            f"{where} has no vectors: it is not TiDB 8.4 or newer", hint="upgrade the cluster"
        )
    if "different dimensions" in text or "does not fit VECTOR" in text:
        return TableMismatch(
            f"{where}: the table was made for another model's vectors: {text}",
            hint="name another --table",
        )
    return StoreError(f"{where}: {text} (error {code})")
