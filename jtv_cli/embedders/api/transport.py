"""HTTP to an embeddings API: one POST, within a deadline and a largest size of the reply."""

from __future__ import annotations

import re
import time
import zlib
from functools import cached_property
from http import HTTPStatus
from importlib.util import find_spec
from queue import Empty
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar
from urllib.parse import urlsplit

import requests
from requests import exceptions
from requests.adapters import HTTPAdapter
from requests.utils import select_proxy
from urllib3.exceptions import HTTPError, NameResolutionError, ProtocolError, ReadTimeoutError

from jtv_cli import __version__
from jtv_cli.embedders import MOST_AT_ONCE
from jtv_cli.embedders.api.replies import AGAIN, Reply, seconds_to_reset
from jtv_cli.errors import RateLimited, ServiceDown, ServiceError, ServiceRefused
from jtv_cli.threads import run_within

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from jtv_cli.embedders.api.endpoint import Endpoint
    from jtv_cli.records import Embeddings, RerankScores

    Answer = TypeVar("Answer", Embeddings, RerankScores)

CONNECT_TIMEOUT = 10.0
"""Seconds to wait for a connection."""
REQUEST_TIMEOUT = 120.0
"""Seconds that a request may take as a whole, from its first byte to the last of its reply."""

# What is read of a reply that is an error: enough for any message.
_LARGEST_ERROR = 1 << 20
_BLOCK = 1 << 16

_NETWORK = "check the network connection and JINA_API_BASE"
_PROXY = re.compile(
    r"((?P<scheme>https?|socks(4a?|5h?))://)?([!-.0-~]*@)?"
    r"(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(:(?P<port>[0-9]{1,5}))?/?",
    re.IGNORECASE,
)


class Transport:
    """Sends requests to one endpoint; threads may share it.

    The API key goes nowhere but into the Authorization header. Redirects are not followed,
    netrc is not read, and this machine is never reached through a proxy. Certificates are
    verified against the system's CA store and certifi's, or REQUESTS_CA_BUNDLE alone.
    """

    def __init__(self, endpoint: Endpoint, key: str | None) -> None:
        self._endpoint = endpoint
        self._key = key
        self._has_connected = False
        self._url, self._other_url = endpoint.url, endpoint.other_url
        # On the clock of `time.monotonic`, from the headers of the last reply.
        self._not_before = 0.0

    def ask(self, body: bytes, largest: int, read: Callable[[Reply], Answer]) -> Answer:
        """Send a JSON body, and return what `read` makes of the reply, whatever its status.

        `largest` is the most bytes that a reply with an answer may have, unpacked. Until one
        was answered, a request is sent to the endpoint's other URL too.

        Raises what `read` raises, RateLimited instead of sending a request that the service
        will refuse, and ServiceDown or ServiceRefused where no whole reply comes.
        """
        if (wait := self._not_before - time.monotonic()) > 0:
            message = f"the rate limit that {self._endpoint.place} states is used up"
            hint = "run the same command again in a minute"
            raise RateLimited(message, kind="rate", retry_after=wait, hint=hint)
        url, other_url = self._url, self._other_url  # another thread may change them
        reply = self._post(url, body, largest)
        if reply.status == HTTPStatus.NOT_FOUND and other_url:
            other = self._post(other_url, body, largest)
            if other.status != HTTPStatus.NOT_FOUND:
                self._url, reply = other_url, other
        answer = read(reply)
        self._other_url = ""
        if (until_reset := seconds_to_reset(reply.headers, answer.tokens)) is not None:
            self._not_before = time.monotonic() + until_reset
        return answer

    def _post(self, url: str, body: bytes, largest: int) -> Reply:
        """Return the reply to one request.

        The timeouts of a socket start anew with each byte, so that a reply that drips in, or
        an endless row of "100 Continue", would never end. So it is read in a thread of its own.
        """
        place = self._endpoint.place
        try:
            reply = run_within(REQUEST_TIMEOUT, lambda: self._receive(url, body, largest))
        except Empty:
            raise self._down(_NO_REPLY.format("{}", REQUEST_TIMEOUT), AGAIN) from None
        # Not every failure below requests is turned into one of its exceptions.
        except (OSError, HTTPError, ValueError) as error:
            self._raise_failure(error)
        if reply is None:
            raise ServiceRefused(
                f"{place} answered with more than {largest >> 20:,} MiB, too much for this batch",
                hint="check JINA_API_BASE",
            )
        return reply

    def _receive(self, url: str, body: bytes, largest: int) -> Reply | None:
        """Return the reply to one request, None where it is too large."""
        with self._session.post(
            url,
            data=body,
            timeout=(CONNECT_TIMEOUT, REQUEST_TIMEOUT),
            allow_redirects=False,
            stream=True,
        ) as response:
            self._has_connected = True
            content = _read(response, largest)
        if content is None:
            return None
        return Reply(self._endpoint.place, response.status_code, response.headers, content)

    @cached_property
    def _session(self) -> requests.Session:
        endpoint = self._endpoint
        return open_session(endpoint.url, is_local=endpoint.is_local, key=self._key)

    def _raise_failure(self, error: Exception) -> NoReturn:
        """Raise what a request without a whole reply comes to."""
        place = self._endpoint.place
        if not self._has_connected and _is_unknown_host(error):
            proxy = isinstance(error, exceptions.ProxyError)
            raise ServiceRefused(
                "the host name of the proxy cannot be resolved"
                if proxy
                else f"the host name {self._endpoint.host} cannot be resolved",
                hint="check HTTPS_PROXY and HTTP_PROXY" if proxy else _NETWORK,
            ) from None
        if isinstance(error, exceptions.SSLError):
            raise _tls_failure(str(error), self._endpoint) from error
        if isinstance(error, exceptions.ProxyError):
            raise _proxy_failure(str(error), self._endpoint) from error
        for kind, sentence, hint in _INTERRUPTIONS:
            if isinstance(error, kind):
                raise self._down(sentence, hint) from error
        # What is left is not chained: the text of some names a proxy with its password.
        if isinstance(error, OSError) and not isinstance(error, exceptions.RequestException):
            hint = "check REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE"
            raise ServiceRefused("cannot read the CA certificates", hint=hint) from None
        message = f"no request to {place} can be sent ({type(error).__name__})"
        hint = "check JINA_API_BASE, HTTPS_PROXY and HTTP_PROXY"
        raise ServiceRefused(message, hint=hint) from None

    def _down(self, sentence: str, hint: str) -> ServiceDown:
        return ServiceDown(sentence.format(self._endpoint.place), hint=hint)


class _Session(requests.Session):
    """A session that takes no reply for a redirect.

    requests parses the target even of one it does not follow.
    """

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002
        return None


def open_session(url: str, *, is_local: bool, key: str | None = None) -> requests.Session:
    """Return a session for the host of a URL, which sends that key, if any.

    It follows no redirect and reads no netrc. Of the environment, it takes the proxies, unless
    the host `is_local`, and REQUESTS_CA_BUNDLE: https trusts that alone or, without it, the
    system's CA store and certifi's.

    Raises ServiceRefused for a proxy that cannot be used.
    """
    session = _Session()
    environment = session.merge_environment_settings(url, {}, None, None, None)
    session.trust_env = False
    session.verify = environment["verify"]
    if not is_local:
        session.proxies = proxies = dict(environment["proxies"])
        if proxy := select_proxy(url, proxies):
            scheme = urlsplit(url).scheme
            _check_proxy(proxy, f"{scheme if scheme in proxies else 'all'}_proxy".upper())
    for scheme in ("https://", "http://"):
        session.mount(scheme, _Adapter(pool_maxsize=MOST_AT_ONCE))
    session.headers.update(
        {
            "User-Agent": f"jtv/{__version__}",
            "Content-Type": "application/json",
            "Accept": "application/json",
            # The one packing that `_read` unpacks within bounds.
            "Accept-Encoding": "gzip",
        }
    )
    if key is not None:
        session.headers["Authorization"] = f"Bearer {key}"
    return session


class _Adapter(HTTPAdapter):
    """Connections of which https ones trust the system's CA store too."""

    def build_connection_pool_key_attributes(
        self, request: Any, verify: Any, cert: Any = None
    ) -> Any:
        host, pool = super().build_connection_pool_key_attributes(request, verify, cert)
        # A bundle that the user names is trusted alone.
        if verify is True and host["scheme"] == "https":
            pool["ssl_context"] = self._system_store
        return host, pool

    @cached_property
    def _system_store(self) -> ssl.SSLContext:
        import ssl

        import truststore

        return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


# Replies


def _read(response: requests.Response, largest: int) -> bytes | None:
    """Return the unpacked body, None where it has more than `largest` bytes.

    The body of an error is cut at a smaller size instead: its status matters most.

    Raises what requests, urllib3 and zlib raise.
    """
    is_error = not response.ok
    most = _LARGEST_ERROR if is_error else largest
    unpack = _unpacker(response.headers.get("Content-Encoding", ""))
    content = bytearray()
    # http.client takes chunks apart here, within bounds.
    while data := response.raw.read(_BLOCK, decode_content=False):
        content += unpack(data, most + 1 - len(content))
        if len(content) > most:
            return bytes(content[:most]) if is_error else None
    return bytes(content)


def _unpacker(encoding: str) -> Callable[[bytes, int], bytes]:
    if encoding.strip().lower() in ("", "identity"):
        return lambda data, most: data[:most]
    if encoding.strip().lower() not in ("gzip", "x-gzip", "deflate"):
        raise exceptions.ContentDecodingError(encoding)
    stream = zlib.decompressobj(zlib.MAX_WBITS | 32)

    def unpack(data: bytes, most: int) -> bytes:
        try:
            return stream.decompress(data, most)
        except zlib.error as error:
            raise exceptions.ContentDecodingError(error) from error

    return unpack


# Failures

_NO_REPLY = "no whole reply from {} within {:g} s"

# The first that fits counts: some are kinds of others.
_INTERRUPTIONS: tuple[tuple[type[Exception], str, str], ...] = (
    (exceptions.ConnectTimeout, f"no connection to {{}} within {CONNECT_TIMEOUT:g} s", _NETWORK),
    (exceptions.ReadTimeout, _NO_REPLY.format("{}", REQUEST_TIMEOUT), AGAIN),
    (ReadTimeoutError, _NO_REPLY.format("{}", REQUEST_TIMEOUT), AGAIN),
    (ProtocolError, "the reply of {} was cut short", AGAIN),
    (exceptions.ContentDecodingError, "the reply of {} cannot be unpacked", AGAIN),
    (exceptions.ConnectionError, "cannot connect to {}, or the connection was lost", _NETWORK),
)


def _is_unknown_host(error: BaseException | None) -> bool:
    """Return whether a failure comes from a host name that cannot be resolved."""
    causes = [error, *getattr(error, "args", ())]
    return any(isinstance(getattr(each, "reason", each), NameResolutionError) for each in causes)


def _check_proxy(proxy: str, variable: str) -> None:
    """Raise ServiceRefused for a proxy that cannot be used; it may have a password in it."""
    match = _PROXY.fullmatch(proxy)
    if match is None or not 0 < int(match["port"] or 1080) < 1 << 16:
        raise ServiceRefused(
            f"{variable} is not the URL of a proxy",
            hint=f"set {variable} to one like http://proxy.example.com:3128, or unset it",
        )
    if (match["scheme"] or "").startswith("socks") and find_spec("socks") is None:
        raise ServiceRefused(
            f"{variable} names a SOCKS proxy, and PySocks is not installed",
            hint=f"run: pip install 'jtv-cli[socks]', or unset {variable}",
        )


def _tls_failure(text: str, endpoint: Endpoint) -> ServiceError:
    if "CERTIFICATE_VERIFY_FAILED" in text or "certificate verify failed" in text:
        return ServiceRefused(
            f"certificate verification failed for {endpoint.host}",
            hint="if a proxy inspects TLS here, add its CA certificate to the system's store,"
            " or set REQUESTS_CA_BUNDLE to it",
        )
    if "EOF" in text:
        return ServiceDown(f"{endpoint.place} broke off the TLS connection", hint=AGAIN)
    hint = "check JINA_API_BASE: https or http?"
    return ServiceRefused(f"no TLS connection to {endpoint.place} could be set up", hint=hint)


def _proxy_failure(text: str, endpoint: Endpoint) -> ServiceError:
    hint = "check HTTPS_PROXY, HTTP_PROXY and NO_PROXY"
    # 400 to 407: the proxy asks for credentials, or does not allow that host.
    if "Tunnel connection failed: 40" in text:
        return ServiceRefused(f"the proxy refuses to connect to {endpoint.place}", hint=hint)
    return ServiceDown(f"the proxy does not connect to {endpoint.place}", hint=hint)
