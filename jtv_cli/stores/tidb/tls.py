"""How a connection to TiDB is secured: what the `ssl_*` keys of its URL mean.

A connection to another machine is verified unless the URL says otherwise. That needs
PyMySQL 1.2: earlier releases, given a TLS context, log in without TLS if the server, or
someone in between, offers none.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from jtv_cli.errors import UsageError
from jtv_cli.hosts import is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping

TLS_KEYS = ("ssl_ca", "ssl_cert", "ssl_key", "ssl_mode", "ssl_verify_cert", "ssl_verify_identity")

_CLOUD = ".tidbcloud.com"
_MODES = ("DISABLED", "PREFERRED", "REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY")
_TRUE = ("true", "1", "yes", "on")
_FALSE = ("false", "0", "no", "off")
_ANY_CA = "a CA that this machine trusts"
_UNVERIFIED = (
    "the connection to {} is not verified, and encrypted only if the server offers TLS,"
    " because of ssl_mode=PREFERRED in the database URL"
)
# A file that cannot be read, a null character in its name, an unknown ~user.
_UNUSABLE = (OSError, ValueError, RuntimeError)


class Tls(NamedTuple):
    """How the connection to a host is secured.

    With a `context`, TLS is required, and `signer` says in words who may sign the
    certificate. Without one, TLS is used `if_offered`, unverified, or else not at all.
    """

    host: str
    context: ssl.SSLContext | None = None
    signer: str = _ANY_CA
    if_offered: bool = False
    is_default: bool = False
    """Whether the URL has no key that says how to secure the connection."""
    notes: tuple[str, ...] = ()

    @property
    def arguments(self) -> dict[str, object]:
        """The arguments of PyMySQL's `connect` for TLS."""
        if self.context:
            return {"ssl": self.context}
        return {} if self.if_offered else {"ssl_disabled": True}

    @property
    def is_verified(self) -> bool:
        """Whether both the certificate's chain and its host name are verified."""
        return self.context is not None and self.context.check_hostname

    @property
    def is_local(self) -> bool:
        """Whether the connection stays on this machine."""
        return is_loopback(self.host)

    @property
    def unverified_hint(self) -> str:
        """What to add to a hint about a connection that cannot be verified."""
        if not self.is_default or self.host.endswith(_CLOUD):
            return ""
        return ", or add ssl_mode=PREFERRED to connect without verification"


def read_tls(host: str, keys: Mapping[str, str]) -> Tls:
    """Return what a URL's `ssl_*` keys mean for a connection to a host.

    Without any: no TLS on this machine, verified TLS to any other.

    Raises UsageError for a value that is unknown or not safe, or an unusable file.
    """
    mode = _mode(host, keys)
    if mode == "DISABLED":
        return Tls(host)
    if not _is_true(keys, "ssl_verify_cert", default=True):
        raise UsageError(
            "ssl_verify_cert=false in the database URL is not supported: TLS is always verified",
            hint="remove it, and if you have your own CA, add ssl_ca=PATH",
        )
    has_keys = bool(keys.keys() - {"ssl_mode"})
    if mode == "PREFERRED" and not has_keys and not host.endswith(_CLOUD):
        notes = () if is_loopback(host) else (_UNVERIFIED.format(host),)
        return Tls(host, if_offered=True, notes=notes)
    if not (mode or has_keys) and is_loopback(host):
        return Tls(host)
    tls = _verified(host, keys, checks_name=mode != "VERIFY_CA")
    return tls._replace(is_default=not (mode or has_keys))


def _mode(host: str, keys: Mapping[str, str]) -> str:
    mode = keys.get("ssl_mode", "").upper()
    if mode and mode not in _MODES:
        hint = f"use one of {', '.join(_MODES)}"
        raise UsageError(f"unknown ssl_mode={keys['ssl_mode']} in the database URL", hint=hint)
    if mode == "DISABLED" and not is_loopback(host):
        message = f"ssl_mode=DISABLED in the database URL would send texts to {host} unencrypted"
        hint = "remove it, or if the server has no TLS, use ssl_mode=PREFERRED"
        raise UsageError(message, hint=hint)
    return mode


def _verified(host: str, keys: Mapping[str, str], *, checks_name: bool) -> Tls:
    context, signer, notes = _trust(host, keys.get("ssl_ca"))
    # Many private CAs lack extensions that this flag, set since Python 3.13, requires.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not _is_true(keys, "ssl_verify_identity", default=checks_name):
        context.check_hostname = False
        notes.append(
            f"the host name in the certificate of {host} is not checked, as the database URL says"
        )
    _load_client_certificate(context, keys.get("ssl_cert"), keys.get("ssl_key"))
    return Tls(host, context, signer, notes=tuple(notes))


def _trust(host: str, ca: str | None) -> tuple[ssl.SSLContext, str, list[str]]:
    """Return a context that trusts a CA's file or the system's CAs, its signer, and notes."""
    if ca is None:
        return ssl.create_default_context(), _ANY_CA, []
    try:
        return ssl.create_default_context(cafile=Path(ca).expanduser()), ca, []
    except FileNotFoundError:
        # The URL that TiDB Cloud shows names the CA file of another operating system.
        note = f"no such file: {ca}; verifying {host} with the CAs that this machine trusts"
        signer = f"{_ANY_CA} (no such file: {ca})"
        return ssl.create_default_context(), signer, [note]
    except _UNUSABLE as error:
        raise UsageError(
            f"cannot use ssl_ca={ca} in the database URL: {_reason(error)}",
            hint="name a file of CA certificates in PEM format",
        ) from error


def _load_client_certificate(context: ssl.SSLContext, cert: str | None, key: str | None) -> None:
    if not (cert or key):
        return
    if not (cert and key):
        given, missing = ("ssl_cert", "ssl_key") if cert else ("ssl_key", "ssl_cert")
        raise UsageError(
            f"the database URL has {given} without {missing}", hint=f"add {missing}=PATH"
        )

    def refuse() -> str:
        raise UsageError(f"ssl_key={key} has a passphrase", hint="name a key without one")

    try:
        # Without this callback, OpenSSL would ask for the passphrase on the terminal.
        paths = Path(cert).expanduser(), Path(key).expanduser()
        context.load_cert_chain(*paths, password=refuse)
    except _UNUSABLE as error:
        message = f"cannot use ssl_cert={cert} with ssl_key={key}: {_reason(error)}"
        hint = "name a certificate and its key in PEM format"
        raise UsageError(message, hint=hint) from error


def _is_true(keys: Mapping[str, str], name: str, *, default: bool) -> bool:
    if name not in keys:
        return default
    if (value := keys[name].lower()) not in (*_TRUE, *_FALSE):
        message = f"{name}={keys[name]} in the database URL is neither true nor false"
        raise UsageError(message, hint="use true or false")
    return value in _TRUE


def _reason(error: Exception) -> str:
    """Return OpenSSL's or the system's own words, such as `no start line`."""
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
    return str(reason).replace("_", " ").lower()
