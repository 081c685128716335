"""The URL of an embeddings API, and whether an API key may be sent there."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from jtv_cli.embedders.models import JINA_KEYS_PAGE
from jtv_cli.errors import UsageError, register_secret
from jtv_cli.hosts import is_loopback

RESOURCES = ("embeddings", "rerank")
"""What the URL of an API may end in."""

_PORTS = {"http": 80, "https": 443}

# ASCII alone, and no backslash: parsers of URLs disagree about the rest, and the
# key must go to the host that was checked here.
_PLAIN = re.compile(r"[!-\[\]-~]+")
_HOST_NAME = re.compile(r"[a-z0-9_][a-z0-9_-]{0,62}(\.[a-z0-9_][a-z0-9_-]{0,62})*")


class Endpoint(NamedTuple):
    """Where requests are sent: `url`. `place` is its host and port, for messages.

    `other_url` is where some servers, such as infinity, have the API if it is not at `url`;
    "" where the user has named the path.
    """

    url: str
    host: str
    place: str
    is_encrypted: bool
    other_url: str = ""

    @property
    def is_jina(self) -> bool:
        """Whether the host is Jina AI's own."""
        return self.host == "jina.ai" or self.host.endswith(".jina.ai")

    @property
    def is_local(self) -> bool:
        """Whether the host is this machine."""
        return is_loopback(self.host)


def parse_base(api_base: str, name: str = "the API base", resource: str = "embeddings") -> Endpoint:
    """Return the endpoint of an API's root, of its `/v1`, or of the full URL of a resource.

    `name` is what errors call it. `resource` is the one to use, `embeddings` or `rerank`; the
    full URL of another is taken for the base it is in.

    Raises UsageError for what is no http(s) URL, or has more in it than host, port
    and path. It never shows the base: a key or password may have ended up in it.
    """
    base = api_base.strip()
    if "@" in base:
        hint = "give the key as JINA_API_KEY"
        raise UsageError(f"{name} has a user name or an @ in it", hint=hint)
    if "?" in base or "#" in base:
        hint = "leave out what follows ? or #"
        raise UsageError(f"{name} has a query or a fragment", hint=hint)
    try:
        parts = urlsplit(base)
        port = parts.port or _PORTS[parts.scheme]
        host = _host(parts)
    except (KeyError, ValueError):
        host = ""
    if not (host and _PLAIN.fullmatch(base)):
        hint = "give one like https://api.jina.ai"
        raise UsageError(f"{name} is not an http or https URL", hint=hint)
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    root, path = f"{parts.scheme}://{place}", parts.path.rstrip("/")
    is_named = path.endswith(("/embeddings", "/rerank", "/v1"))
    for other in RESOURCES:
        path = path.removesuffix(f"/{other}")
    # A full URL need not have a /v1.
    return Endpoint(
        f"{root}{path}{'' if is_named else '/v1'}/{resource}",
        host,
        place,
        is_encrypted=parts.scheme == "https",
        other_url="" if is_named else f"{root}{path}/{resource}",
    )


def check_key(api_key: str | None, endpoint: Endpoint) -> str | None:
    """Return the key as it can be sent to the endpoint, or None if there is none.

    Raises UsageError for a key that Jina AI needs and is not there, that cannot be
    sent in a header, or that would travel unencrypted to another machine.
    """
    key = (api_key or "").strip()
    if not key:
        if endpoint.is_jina:
            hint = f"set JINA_API_KEY (or JINAAI_API_KEY); keys are at {JINA_KEYS_PAGE}"
            raise UsageError("Jina AI's API needs an API key", hint=hint)
        return None
    register_secret(key)
    if not re.fullmatch("[!-~]+", key):
        hint = f"set JINA_API_KEY to the key alone; keys are at {JINA_KEYS_PAGE}"
        raise UsageError("the API key has characters in it that no key has", hint=hint)
    if not (endpoint.is_encrypted or endpoint.is_local):
        message = f"refusing to send the API key over plain http to {endpoint.host}"
        hint = "use https, or send no key: --no-key, or JINA_API_KEY= in the environment"
        raise UsageError(message, hint=hint)
    return key


def _host(parts: SplitResult) -> str:
    host = (parts.hostname or "").rstrip(".")
    is_name = _HOST_NAME.fullmatch(host) and "[" not in parts.netloc
    return host if is_name else str(ip_address(host))
