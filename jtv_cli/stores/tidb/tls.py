"""How a connection to TiDB is secured: what the `ssl_*` keys of its URL mean.

TLS that is asked for, by a key or by a host of TiDB Cloud, is always verified. It
needs PyMySQL 1.2: earlier ones, given a context, log in without TLS where the server,
or someone in between, announces none.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from jtv_cli.errors import StoreError, UsageError
from jtv_cli.hosts import is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.exc import DBAPIError

TLS_KEYS = ("ssl_ca", "ssl_cert", "ssl_key", "ssl_mode", "ssl_verify_cert", "ssl_verify_identity")

_CLOUD = ".tidbcloud.com"
_MODES = ("DISABLED", "PREFERRED", "REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY")
_TRUE = ("true", "1", "yes", "on")
_FALSE = ("false", "0", "no", "off")
_ANY_CA = "a CA that is trusted here"
_UNVERIFIED = (
    "the connection to {} is not verified, and encrypted only if the server offers it:"
    " add ssl_ca=PATH or ssl_mode=VERIFY_IDENTITY to the database URL"
)

# OpenSSL's codes, X509_V_ERR_* in its x509_vfy.h.
_UNTRUSTED = (7, 18, 19, 20, 21)  # another CA of the same name, self-signed, unknown issuer
_OTHER_HOST = (62, 64)  # by name, by address
_LOST = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)  # a broken connection
_UNUSABLE = (OSError, ValueError, RuntimeError)  # a file, a null in its name, an unknown ~user
_NO_TLS = 2026  # MySQL's CR_SSL_CONNECTION_ERROR


class Tls(NamedTuple):
    """How the connection to a host is secured.

    With a `context`, TLS is demanded, and `signer` says in words who may sign the
    certificate. Without one, TLS is used `if_offered`, unverified, or else not at all.
    """

    host: str
    context: ssl.SSLContext | None = None
    signer: str = _ANY_CA
    if_offered: bool = False
    notes: tuple[str, ...] = ()

    @property
    def arguments(self) -> dict[str, object]:
        """What PyMySQL's `connect` is to be told."""
        if self.context:
            return {"ssl": self.context}
        # PyMySQL would do as it is asked, by whoever answers.
        refusals = dict.fromkeys(("mysql_clear_password", "dialog"), _ClearPassword)
        return {"auth_plugin_map": refusals} | ({} if self.if_offered else {"ssl_disabled": True})


class _ClearPassword:
    """A method to log in that sends the password as it is: not where anyone may listen."""

    def __init__(self, _connection: object) -> None:
        pass

    def authenticate(self, _packet: object) -> None:
        raise StoreError(
            "the server asks for the password itself, over a connection that is not verified",
            hint="add ssl_ca=PATH or ssl_mode=VERIFY_IDENTITY to the database URL",
        )


def read_tls(host: str, keys: Mapping[str, str]) -> Tls:
    """Return what a URL's `ssl_*` keys mean for a connection to a host.

    Without any: verified TLS for TiDB Cloud, none on this machine, and elsewhere what
    the server offers.

    Raises UsageError for what cannot be meant, is not safe, or names an unusable file.
    """
    mode = _mode(host, keys)
    if mode == "DISABLED":
        return Tls(host)
    if not _is_true(keys, "ssl_verify_cert", default=True):
        raise UsageError(
            "ssl_verify_cert=false in the database URL is refused: TLS is always verified",
            hint="leave it out, and name the CA, if it is your own, with ssl_ca=PATH",
        )
    if mode not in {"", "PREFERRED"} or set(keys) - {"ssl_mode"} or host.endswith(_CLOUD):
        return _verified(host, keys, checks_name=mode != "VERIFY_CA")
    if is_loopback(host):
        return Tls(host, if_offered=mode == "PREFERRED")
    return Tls(host, if_offered=True, notes=(_UNVERIFIED.format(host),))


def tls_failure(error: DBAPIError, tls: Tls) -> StoreError | None:
    """Return what a failed connection has to say of TLS, None where that was not the reason.

    None of it mends itself, although some comes with the code of a lost connection.
    """
    # When the first statement is sent, both sides have agreed: what OpenSSL does not
    # understand from then on is how a connection broke off.
    lost = _LOST if error.statement is None else ssl.SSLError
    cause: BaseException | None = error
    while cause is not None:
        code, text = cause.args if len(cause.args) == 2 else (None, "")
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _bad_certificate(cause, tls)
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, lost):
            hint = "if the server asks for a certificate of yours, add ssl_cert and ssl_key"
            return StoreError(f"TLS with {tls.host} failed: {_reason(cause)}", hint=hint)
        if code == _NO_TLS:
            hint = "turn it on at the server"
            return StoreError(f"{tls.host} does not offer the TLS that is asked for", hint=hint)
        if "insecure transport" in str(text):
            hint = "add ssl_mode=VERIFY_IDENTITY to the URL, or ssl_ca=PATH with the CA's file"
            return StoreError(f"{tls.host} demands TLS", hint=hint)
        cause = cause.__cause__ or cause.__context__
    return None


def _mode(host: str, keys: Mapping[str, str]) -> str:
    mode = keys.get("ssl_mode", "").upper()
    if mode and mode not in _MODES:
        hint = f"take one of {', '.join(_MODES)}"
        raise UsageError(f"ssl_mode={keys['ssl_mode']} in the database URL is unknown", hint=hint)
    if mode == "DISABLED" and not is_loopback(host):
        message = f"ssl_mode=DISABLED in the database URL would send texts to {host} unencrypted"
        raise UsageError(message, hint="leave it out")
    return mode


def _verified(host: str, keys: Mapping[str, str], *, checks_name: bool) -> Tls:
    context, signer, notes = _trust(host, keys.get("ssl_ca"))
    # Many a private CA lacks extensions that this flag, set since Python 3.13, demands.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not _is_true(keys, "ssl_verify_identity", default=checks_name):
        context.check_hostname = False
        notes.append(f"the host name in the certificate of {host} is not checked, as the URL says")
    _load_client_certificate(context, keys.get("ssl_cert"), keys.get("ssl_key"))
    return Tls(host, context, signer, notes=tuple(notes))


def _trust(host: str, ca: str | None) -> tuple[ssl.SSLContext, str, list[str]]:
    """Return a context that trusts a CA's file, or the system's CAs, and says whom and why."""
    if ca is None:
        return ssl.create_default_context(), _ANY_CA, []
    try:
        return ssl.create_default_context(cafile=Path(ca).expanduser()), ca, []
    except FileNotFoundError:
        # A copied URL names where other systems keep their CAs.
        note = f"there is no file {ca} here: {host} is verified with the system's own CAs"
        signer = f"{_ANY_CA}, and there is no file {ca}"
        return ssl.create_default_context(), signer, [note]
    except _UNUSABLE as error:
        raise UsageError(
            f"ssl_ca={ca} in the database URL cannot be used: {_reason(error)}",
            hint="name a file of CA certificates in PEM format",
        ) from error


def _load_client_certificate(context: ssl.SSLContext, cert: str | None, key: str | None) -> None:
    if not (cert or key):
        return
    if not (cert and key):
        message = f"the database URL has {'ssl_cert' if cert else 'ssl_key'} alone"
        raise UsageError(message, hint="ssl_cert and ssl_key go together")

    def refuse() -> str:
        raise UsageError(f"ssl_key={key} has a passphrase", hint="name a key that has none")

    try:
        # Without a passphrase of ours, OpenSSL would ask for one on the terminal.
        paths = Path(cert).expanduser(), Path(key).expanduser()
        context.load_cert_chain(*paths, password=refuse)
    except _UNUSABLE as error:
        message = f"ssl_cert={cert} with ssl_key={key} cannot be used: {_reason(error)}"
        raise UsageError(message, hint="name files in PEM format that belong together") from error


def _is_true(keys: Mapping[str, str], name: str, *, default: bool) -> bool:
    if name not in keys:
        return default
    if (value := keys[name].lower()) not in (*_TRUE, *_FALSE):
        message = f"{name}={keys[name]} in the database URL is neither true nor false"
        raise UsageError(message, hint="write true or false")
    return value in _TRUE


def _bad_certificate(error: ssl.SSLCertVerificationError, tls: Tls) -> StoreError:
    about = f"the certificate of {tls.host}"
    if error.verify_code in _UNTRUSTED:
        hint = "name the right CA's file with ssl_ca=PATH in the database URL"
        return StoreError(f"{about} is not signed by {tls.signer}", hint=hint)
    if error.verify_code in _OTHER_HOST:
        message = f"{about} was made for another host name"
        return StoreError(message, hint="use a name that it was made for")
    hint = "renew it, or set this machine's clock right"
    return StoreError(f"{about} is not valid: {error.verify_message}", hint=hint)


def _reason(error: Exception) -> str:
    """Return OpenSSL's or the system's own words, such as `no start line`."""
    said = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
    return str(said).replace("_", " ").lower()
