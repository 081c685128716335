"""One request for each batch: what goes out, and what it means that nothing comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import orjson
import requests
from requests import exceptions
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.exceptions import HTTPError

from jtv_cli import __version__
from jtv_cli.embedders import MOST_AT_ONCE, BatchLimit
from jtv_cli.embedders.jina.endpoint import check_key, parse_base
from jtv_cli.embedders.jina.replies import AGAIN, Reply, read_reply
from jtv_cli.errors import ServiceDown, ServiceError, ServiceRefused, UsageError
from jtv_cli.records import Embeddings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jtv_cli.embedders.jina.endpoint import Endpoint
    from jtv_cli.embedders.models import Model
    from jtv_cli.records import Purpose

CONNECT_TIMEOUT = 10.0
"""Seconds to wait for a connection."""
READ_TIMEOUT = 120.0
"""Seconds to wait for the next bytes of a reply."""

# 512 texts are the most the API takes in one request; 32,000 tokens are a
# third of a free key's 100,000 a minute, so that its two concurrent requests fit
# into one minute and a batch sent twice does not use it up.
_JINA_LIMIT = BatchLimit(texts=512, tokens=32_000)
# 32 texts are what text-embeddings-inference takes unless told otherwise.
_COMPATIBLE_LIMIT = BatchLimit(texts=32, tokens=32_000)


class JinaEmbedder:
    """Embeds texts over HTTP; threads may share one.

    `api_base` is the API's root, its `/v1`, or the full `/embeddings` URL. Jina AI's own
    hosts, and this machine where a key is given and it so stands in for them, get all
    the fields that the model knows; other servers those that every server knows.
    `truncate` asks the service to cut a text that is too long for the model.

    Raises UsageError where the base is no plain http(s) URL, Jina AI would be called
    without a key, or the key would travel unencrypted or cannot travel at all.
    """

    def __init__(
        self,
        model: Model,
        *,
        api_base: str,
        api_key: str | None,
        truncate: bool = False,
    ) -> None:
        endpoint = parse_base(api_base)
        key = check_key(api_key, endpoint)
        stands_in = endpoint.is_local and key is not None
        self._is_jina = endpoint.is_jina or stands_in
        self.model = model
        self.batch_limit = _JINA_LIMIT if self._is_jina else _COMPATIBLE_LIMIT
        self._truncate = truncate
        self._endpoint = endpoint
        self._session = _session(key, endpoint)

    def embed(self, texts: Sequence[str], purpose: Purpose) -> Embeddings:
        """Return one vector for each text, in their order, from one request.

        The vectors are (n, dimensions) float32 in C order, finite and not all zero.

        Raises BatchTooLarge, TextTooLong, RateLimited, ServiceDown or ServiceRefused,
        and UsageError for a text that is not Unicode.
        """
        if not texts:
            return Embeddings(np.empty((0, self.model.dimensions), dtype=np.float32))
        body = self._body(texts, purpose)
        try:
            response = self._session.post(
                self._endpoint.url,
                data=body,
                timeout=(CONNECT_TIMEOUT, READ_TIMEOUT),
                allow_redirects=False,
            )
        # Not everything that goes wrong below requests is turned into its exceptions.
        except (OSError, HTTPError, ValueError) as error:
            _raise_failure(error, self._endpoint)
        reply = Reply(
            self._endpoint.place, response.status_code, response.headers, response.content
        )
        return read_reply(reply, self.model, texts)

    def _body(self, texts: Sequence[str], purpose: Purpose) -> bytes:
        fields: dict[str, Any] = {"model": self.model.name, "input": list(texts)}
        if self._is_jina:
            fields["embedding_type"] = "base64"
            if task := self.model.task_for(purpose):
                fields["task"] = task
            if self.model.normalized:
                fields["normalized"] = True
        if self._truncate:
            fields["truncate"] = True
        try:
            return orjson.dumps(fields)
        except orjson.JSONEncodeError:
            hint = "convert the input to UTF-8"
            raise UsageError("a text is not valid Unicode", hint=hint) from None


class _KeyAuth(AuthBase):
    """Gives the key, if there is one; being there, it keeps requests from asking netrc."""

    def __init__(self, key: str | None) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._key is not None:
            request.headers["Authorization"] = f"Bearer {self._key}"
        return request

    def __repr__(self) -> str:
        return "_KeyAuth(***)"


class _Session(requests.Session):
    """A session to which no reply is a redirect.

    requests parses the target even of one it does not follow, and asks netrc about it.
    """

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002
        return None


def _session(key: str | None, endpoint: Endpoint) -> requests.Session:
    session = _Session()
    session.auth = _KeyAuth(key)
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(pool_maxsize=MOST_AT_ONCE))
    session.headers.update(
        {
            "User-Agent": f"jtv/{__version__}",
            "Content-Type": "application/json",
            "Accept": "application/json",
        }
    )
    # A proxy from the environment could read the key in a plain http request.
    session.trust_env = endpoint.is_encrypted or not endpoint.is_local
    return session


_NETWORK = "check the network connection and JINA_API_BASE"

# The first that fits counts: some are kinds of others.
_INTERRUPTIONS: tuple[tuple[type[Exception], str, str], ...] = (
    (exceptions.ConnectTimeout, f"no connection to {{}} within {CONNECT_TIMEOUT:g} s", _NETWORK),
    (exceptions.ReadTimeout, f"no reply from {{}} within {READ_TIMEOUT:g} s", AGAIN),
    (exceptions.ChunkedEncodingError, "the reply of {} was cut short", AGAIN),
    (exceptions.ContentDecodingError, "the reply of {} cannot be unpacked", AGAIN),
    (exceptions.ConnectionError, "there is no connection to {}, or it was lost", _NETWORK),
)


def _raise_failure(error: Exception, endpoint: Endpoint) -> NoReturn:
    """Raise what fits a request that got no whole reply."""
    if isinstance(error, exceptions.SSLError):
        raise _tls_failure(str(error), endpoint) from error
    if isinstance(error, exceptions.ProxyError):
        raise _proxy_failure(str(error), endpoint) from error
    for kind, sentence, hint in _INTERRUPTIONS:
        if isinstance(error, kind):
            raise ServiceDown(sentence.format(endpoint.place), hint=hint) from error
    # What is left is not chained: the text of some names a proxy with its password.
    if isinstance(error, OSError) and not isinstance(error, exceptions.RequestException):
        hint = "check REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE"
        raise ServiceRefused("the CA certificates cannot be read", hint=hint) from None
    message = f"no request to {endpoint.place} can be made ({type(error).__name__})"
    raise ServiceRefused(message, hint="check JINA_API_BASE, HTTPS_PROXY and HTTP_PROXY") from None


def _tls_failure(text: str, endpoint: Endpoint) -> ServiceError:
    if "CERTIFICATE_VERIFY_FAILED" in text:
        hint = "if a proxy of yours reads along, set REQUESTS_CA_BUNDLE to its CA certificates"
        return ServiceRefused(f"certificate verification failed for {endpoint.host}", hint=hint)
    if "EOF" in text:
        return ServiceDown(f"{endpoint.place} broke off the TLS connection", hint=AGAIN)
    hint = "check JINA_API_BASE: https or http?"
    return ServiceRefused(f"there is no TLS connection to be had with {endpoint.place}", hint=hint)


def _proxy_failure(text: str, endpoint: Endpoint) -> ServiceError:
    hint = "check HTTPS_PROXY, HTTP_PROXY and NO_PROXY"
    # 400 to 407: the proxy does not know us, or that host is not allowed.
    if "Tunnel connection failed: 40" in text:
        return ServiceRefused(f"the proxy refuses to connect to {endpoint.place}", hint=hint)
    return ServiceDown(f"the proxy does not connect to {endpoint.place}", hint=hint)
