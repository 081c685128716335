"""What an error of the driver or of a TiDB server means to a user, and whether to retry."""

from __future__ import annotations

import re
import ssl
from typing import TYPE_CHECKING

from jtv_cli.errors import JtvError, StoreError, TableMismatch

if TYPE_CHECKING:
    from pymysql.err import MySQLError

    from jtv_cli.stores.tidb.tls import Tls
    from jtv_cli.stores.tidb.url import Address


_SHOWN_CHARACTERS = 500


class DatabaseError(Exception):
    """An error of the driver or the server, in a connection or in one of some `statements`.

    Its text has their beginning, without the literals: they may be users' texts.
    """

    def __init__(self, orig: MySQLError, *statements: str) -> None:
        beginning = ";\n".join(statements).partition("'")[0][:_SHOWN_CHARACTERS]
        super().__init__(f"{orig} [{beginning}]")
        self.orig = orig
        self.statements = statements


class TooLarge(StoreError):
    """A text or its metadata is larger than the server accepts."""


# Codes of the client library, CR_* in https://dev.mysql.com/doc/mysql-errors/8.0/en/client-error-reference.html
CANNOT_CONNECT = 2003
NO_HANDSHAKE = 2012
SERVER_LOST = 2013
_NO_TLS = 2026
NO_LOGIN_METHOD = 2059

# Codes of TiDB: https://docs.pingcap.com/tidb/stable/error-codes
CONNECTION_LOST = frozenset({2006, SERVER_LOST, 4031})
# 1205: waited too long for a lock; 8021 and 8133: a row and its index entries differ while
# another transaction writes them; 8028: the table was altered meanwhile.
_CONFLICTS = frozenset({1205, 1213, 8002, 8021, 8022, 8028, 8133, 9007})
RETRYABLE = CONNECTION_LOST | _CONFLICTS
# TiDB reports this conflict with the code for unknown errors.
_UNKNOWN = 1105
_LOCK_CONFLICT = "pessimistic lock retry limit reached"

# TiDB 8.5.4 reports this, as an unknown error, for any statement on a table whose vector index
# has lost its TiFlash replica.
_NO_REPLICA = "nil pointer dereference"

DUPLICATE_INDEX = 1061
NO_PRIVILEGE = frozenset({1044, 1142, 1143, 1227, 8121})
_PACKET_TOO_LARGE = 1153
_TOO_LARGE = frozenset({1406, 8025})
_TRANSACTION_TOO_LARGE = 8004
_BUSY = frozenset({9001, 9002, 9003, 9005})
_NO_VECTORS = frozenset({1064, 1128, 1305})
# What a cluster without full-text indexes answers to a statement that adds one.
NO_FULL_TEXT = frozenset({1064, 1235, 8200})

_CHECK_HOST = "check the host and the port, and that the cluster is running"

_NO_TIFLASH_CODES = frozenset({1105, 8200})
# The wording differs between releases: these words are common to all of them.
_NO_TIFLASH = re.compile("tiflash|columnar|vector index", re.IGNORECASE)
_QUOTA = re.compile("usage quota.*exhausted", re.IGNORECASE | re.DOTALL)

_VERSION = re.compile(r"\d+\.\d+[\w.+~-]*", re.ASCII)
_TIDB_VERSION = re.compile(r"TiDB-v(\d+)\.(\d+)", re.IGNORECASE)
_FIRST_WITH_VECTORS = (8, 4)

# OpenSSL's codes, X509_V_ERR_* in its x509_vfy.h.
_UNTRUSTED = (7, 18, 19, 20, 21)  # another CA of the same name, self-signed, unknown issuer
_OTHER_HOST = (62, 64)  # by name, by address
_CONNECTION_BROKE = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)


def code_of(error: BaseException) -> int:
    """Return the MySQL error code, 0 if there is none."""
    origin = getattr(error, "orig", error)
    code = origin.args[0] if origin.args else 0
    return code if isinstance(code, int) else 0


def is_timeout(error: DatabaseError) -> bool:
    """Return whether a connection or an answer took too long."""
    return "timed out" in str(error.orig)


def is_retryable(error: DatabaseError) -> bool:
    """Return whether the same work may succeed a moment later."""
    code = code_of(error)
    return code in RETRYABLE or (code == _UNKNOWN and _LOCK_CONFLICT in str(error.orig))


def says_no_tiflash(error: DatabaseError) -> bool:
    """Return whether the server refused an index because the cluster has no TiFlash."""
    text = str(error.orig)
    return (
        code_of(error) in _NO_TIFLASH_CODES
        and "system table" not in text
        and _NO_TIFLASH.search(text) is not None
    )


def is_serverless(version: str) -> bool:
    """Return whether a version is that of a serverless cluster of TiDB Cloud.

    They have their own version numbers, and all of them have vectors and TiFlash.
    """
    return "serverless" in version.lower()


def version_error(version: str, location: str) -> StoreError | None:
    """Return the error for a server that is not TiDB 8.4 or newer, None for one that is."""
    number = _TIDB_VERSION.search(version)
    if is_serverless(version) or (
        number is not None and tuple(map(int, number.groups())) >= _FIRST_WITH_VECTORS
    ):
        return None
    return StoreError(
        f"{location} runs {version}, not TiDB 8.4 or newer",
        hint="use a TiDB cluster of version 8.4 or newer, or --database embedded",
    )


def translated(error: DatabaseError, address: Address) -> JtvError:
    """Return the error that a user sees for an error of the driver or the server."""
    if (failure := tls_error(error, address.tls)) is not None:
        return failure
    code, where = code_of(error), address.location
    if code == 1045:
        return _access_denied(address)
    if code == 1049:
        return StoreError(
            f"no database {address.database} on {where}",
            hint=f"create it with: CREATE DATABASE `{address.database.replace('`', '``')}`",
        )
    if code == 1146:
        return TableMismatch(
            f"a table in {where} was renamed or dropped while this command was running",
            hint="list the tables with: jtv tables; create it again with: jtv init",
        )
    if (failure := _connection_error(code, error, where)) is not None:
        return failure
    return _statement_error(error, where)


def tls_error(error: DatabaseError, tls: Tls) -> StoreError | None:
    """Return the error for a connection that TLS has failed, None where the reason is another.

    A retry would fail in the same way, although some come with the code of a lost connection.
    """
    # Once a statement was sent, both sides have agreed: what OpenSSL does not understand from
    # then on is how a connection broke.
    broke = _CONNECTION_BROKE if not error.statements else ssl.SSLError
    cause: BaseException | None = error
    while cause is not None:
        code, text = cause.args if len(cause.args) == 2 else (None, "")
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _certificate_error(cause, tls)
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, broke):
            reason = str(cause.reason or cause.strerror or cause).replace("_", " ").lower()
            hint = "if the server requires a client certificate, add ssl_cert and ssl_key"
            return StoreError(f"TLS with {tls.host} failed: {reason}", hint=hint)
        if code == _NO_TLS:
            hint = f"enable TLS on the server{tls.unverified_hint}"
            return StoreError(f"{tls.host} does not offer TLS", hint=hint)
        if "insecure transport" in str(text):
            hint = "add ssl_mode=VERIFY_IDENTITY to the URL, or ssl_ca=PATH with the CA's file"
            return StoreError(f"{tls.host} requires TLS", hint=hint)
        cause = cause.__cause__ or cause.__context__
    return None


def password_refused(tls: Tls) -> StoreError:
    """Return the error for a server that asks for the password without being verified."""
    hint = "add ssl_ca=PATH or ssl_mode=VERIFY_IDENTITY to the database URL"
    if tls.context is not None:
        hint = "remove ssl_verify_identity=false or ssl_mode=VERIFY_CA from the database URL"
    return StoreError(
        f"{tls.host} asks for the password itself over a connection that is not verified",
        hint=hint,
    )


def _access_denied(address: Address) -> StoreError:
    hints = ["check the user name and the password in the database URL"]
    if "." not in address.user:
        hints.append("on TiDB Cloud the user name has a prefix, such as 4Xy7Zab.root")
    if address.tls.context is None:
        hints.append("if the user must connect with TLS, add ssl_mode=VERIFY_IDENTITY")
    return StoreError(
        f"{address.location} denies access to user {address.user}", hint="; ".join(hints)
    )


def _certificate_error(error: ssl.SSLCertVerificationError, tls: Tls) -> StoreError:
    certificate = f"the certificate of {tls.host}"
    if error.verify_code in _UNTRUSTED:
        hint = f"add ssl_ca=PATH with the server's CA to the database URL{tls.unverified_hint}"
        return StoreError(f"{certificate} is not signed by {tls.signer}", hint=hint)
    if error.verify_code in _OTHER_HOST:
        message = f"{certificate} is for another host name"
        return StoreError(message, hint=f"use a name it is valid for{tls.unverified_hint}")
    hint = "renew it, or set the clock of this machine"
    return StoreError(f"{certificate} is not valid: {error.verify_message}", hint=hint)


def _connection_error(code: int, error: DatabaseError, where: str) -> StoreError | None:
    """Return the error where there is no connection to a TiDB, None where there is one."""
    if code == CANNOT_CONNECT:
        return StoreError(f"cannot connect to {where}", hint=_CHECK_HOST)
    if code == NO_HANDSHAKE:
        version = str(getattr(error.orig, "args", ("", ""))[1])
        if _VERSION.fullmatch(version):
            return version_error(version, where)
        return StoreError(f"{where} does not answer like TiDB", hint=_CHECK_HOST)
    if code in CONNECTION_LOST and is_timeout(error):
        return StoreError(
            f"{where} did not answer in time",
            hint="the server may still be working: run the same command again later",
        )
    if code in CONNECTION_LOST:
        return StoreError(f"lost the connection to {where}", hint="run the same command again")
    return None


def _statement_error(error: DatabaseError, where: str) -> StoreError:
    """Return the error for a statement that the server refused."""
    code, text = code_of(error), str(getattr(error.orig, "args", ("", ""))[-1])
    if code in _TOO_LARGE:
        return TooLarge(
            "the text or its metadata is larger than the 6 MiB that TiDB accepts", hint="split it"
        )
    if code == _PACKET_TOO_LARGE:
        return TooLarge(
            "the text or its metadata is larger than the server's max_allowed_packet",
            hint="split it, or raise the global variable max_allowed_packet",
        )
    if "different dimensions" in text or "does not fit VECTOR" in text:
        return TableMismatch(
            f"{where}: the table was created for another model's vectors: {text}",
            hint="choose another table with --table",
        )
    reasons = (
        (
            code in NO_PRIVILEGE,
            f"missing privilege: {text}",
            "ask an administrator to grant it",
        ),
        (
            _NO_REPLICA in text,
            "internal error of TiDB, as for a vector index without a TiFlash replica",
            "check the index with: jtv index status; repair it with: jtv index build",
        ),
        (
            _QUOTA.search(text),
            "the cluster's free quota is used up",
            "raise its spending limit in the TiDB Cloud console",
        ),
        (
            is_retryable(error),
            "other processes are writing to the same rows",
            "run the same command again",
        ),
        (
            code == _TRANSACTION_TOO_LARGE,
            "the transaction is too large",
            "split the work, or raise the cluster's txn-total-size-limit",
        ),
        (code in _BUSY, f"the cluster is busy: {text}", "try again in a moment"),
        (
            code in _NO_VECTORS and "VEC" in text.upper(),
            "the server does not support vectors: it is not TiDB 8.4 or newer",
            "upgrade the cluster",
        ),
    )
    for applies, message, hint in reasons:
        if applies:
            return StoreError(f"{where}: {message}", hint=hint)
    return StoreError(f"{where}: {text} (error {code})")
