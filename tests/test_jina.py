"""The embedder for Jina AI's API, against a stand-in over real HTTP."""

from __future__ import annotations

import gc
import gzip
import random
import socket
import ssl
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import requests
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3.exceptions import LocationParseError

import jina_api
import jina_faults
from discretion import KEY, TEXTS, assert_discreet
from jina_server import JinaServer
from jtv_cli import __version__
from jtv_cli.embedders import BatchLimit, EmbedderOptions
from jtv_cli.embedders.api import transport
from jtv_cli.embedders.api.embedder import ApiEmbedder
from jtv_cli.embedders.models import MODELS, TUTORIAL_MODEL
from jtv_cli.errors import (
    BatchTooLarge,
    RateLimited,
    ServiceDown,
    ServiceError,
    ServiceRefused,
    TextsFailed,
    TextsRefused,
    TextTooLong,
    UsageError,
)
from jtv_cli.records import Embeddings, Purpose

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jina_faults import Fault
    from jtv_cli.embedders import Model

V2 = MODELS[TUTORIAL_MODEL]
CERTIFICATE = Path(__file__).with_name("localhost.pem")
API_MODELS = [model for model in MODELS.values() if model.provider == "api"]


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NETRC"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> Iterator[JinaServer]:
    with JinaServer(key=KEY) as server:
        yield server


# urllib3 leaves the socket of a connection that breaks at once to the garbage collector,
# which is not to come across it in some other test.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    yield
    gc.collect()


@pytest.fixture
def tls_server() -> Iterator[JinaServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    with JinaServer(key=KEY, tls=context) as server:
        yield server


def embed(
    server: JinaServer | str,
    texts: list[str] = TEXTS,
    *,
    key: str | None = KEY,
    model: Model = V2,
    purpose: Purpose = Purpose.DOCUMENT,
) -> Embeddings:
    base = server if isinstance(server, str) else server.url
    return ApiEmbedder(model, EmbedderOptions(base, key)).embed(texts, purpose)


def embed_badly(server: JinaServer | str, **options: Any) -> ServiceError:
    """Return the error that embedding ends in, which tells no secrets."""
    with pytest.raises(ServiceError) as caught:
        embed(server, **options)
    assert_discreet(caught.value)
    return caught.value


def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


# What is sent


@pytest.mark.parametrize("purpose", Purpose)
@pytest.mark.parametrize("model", API_MODELS, ids=lambda model: model.name)
def test_every_model_is_asked_for_what_it_knows(
    server: JinaServer, model: Model, purpose: Purpose
) -> None:
    embeddings = embed(server, model=model, purpose=purpose)
    assert embeddings.vectors.dtype == np.float32
    assert embeddings.vectors.flags.c_contiguous
    assert np.array_equal(embeddings.vectors, jina_api.embed(model, TEXTS))
    assert embeddings.tokens == server.tokens > 0
    assert server.bill == TEXTS
    body = dict(server.requests[0].body)
    side = "query" if purpose is Purpose.QUERY else "passage"
    assert body.pop("task", None) == (f"{model.task}.{side}" if model.task else None)
    family = next(f for f in jina_api.FAMILIES if model.name.startswith(f.prefix))
    assert body.pop("normalized", False) == ("normalized" in family.fields)
    assert body == {"model": model.name, "input": TEXTS, "embedding_type": "base64"}


def test_the_largest_request(server: JinaServer) -> None:
    texts = [f"line {number}" for number in range(512)]
    assert np.array_equal(embed(server, texts).vectors, jina_api.embed(V2, texts))


def test_no_texts_are_no_request(server: JinaServer) -> None:
    assert embed(server, []).vectors.shape == (0, 768)
    assert server.requests == []


def test_headers(server: JinaServer) -> None:
    embed(server, key=f"  {KEY}\n")
    headers = server.requests[0].headers
    assert headers["authorization"] == f"Bearer {KEY}"
    assert headers["content-type"] == headers["accept"] == "application/json"
    assert headers["user-agent"] == f"jtv/{__version__}"


def test_connections_are_reused(server: JinaServer) -> None:
    embedder = ApiEmbedder(V2, EmbedderOptions(server.url, KEY))
    for _ in range(3):
        embedder.embed(TEXTS, Purpose.DOCUMENT)
    assert len({request.client for request in server.requests}) == 1


def test_a_compatible_server_is_told_what_every_server_knows() -> None:
    with JinaServer(key=None) as server:
        model = MODELS["jina-embeddings-v5-text-small"]
        embeddings = embed(server, key=None, model=model)
        assert server.requests[0].body == {"model": model.name, "input": TEXTS}
        assert "authorization" not in server.requests[0].headers
    expected = jina_api.embed(model, TEXTS)
    assert np.array_equal(embeddings.vectors, expected)
    assert embeddings.vectors.dtype == np.float32


@pytest.mark.parametrize(
    ("base", "key", "texts"),
    [
        ("https://api.jina.ai", KEY, 512),
        ("https://eu.api.jina.ai/v1", KEY, 512),
        ("https://jina.ai", KEY, 512),
        ("http://127.0.0.1:8080", KEY, 512),
        ("http://[::1]:8080", KEY, 512),
        ("http://localhost:8080", None, 32),
        ("https://embeddings.example.com", KEY, 32),
        ("https://api.jina.ai.example.com", KEY, 32),
        ("https://notjina.ai", KEY, 32),
        ("http://embeddings.example.com", None, 32),
    ],
)
def test_what_is_sent_at_once_follows_from_the_host(base: str, key: str | None, texts: int) -> None:
    embedder = ApiEmbedder(V2, EmbedderOptions(base, key))
    assert embedder.batch_limit == BatchLimit(texts=texts, tokens=32_000)


# Where it is sent


@pytest.mark.parametrize("path", ["", "/", "/v1", "/v1/", "/v1/embeddings", "/v1/embeddings//"])
def test_all_bases_arrive_at_the_same_place(server: JinaServer, path: str) -> None:
    assert len(embed(server.url + path).vectors) == len(TEXTS)


def test_the_key_is_in_no_description() -> None:
    embedder = ApiEmbedder(V2, EmbedderOptions("https://api.jina.ai", KEY))
    assert KEY not in repr(embedder) + repr(embedder._transport._session)


@pytest.mark.parametrize("key", [KEY, None])
def test_netrc_is_not_read(
    tls_server: JinaServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, key: str | None
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text(
        "machine 127.0.0.1 login somebody password hunter2\ndefault login a password b"
    )
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(CERTIFICATE))
    assert requests.get(tls_server.url, timeout=10).request.headers["Authorization"]
    tls_server.key = key
    embed(tls_server, key=key)
    expected = None if key is None else f"Bearer {KEY}"
    assert tls_server.requests[-1].headers.get("authorization") == expected


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("kind", ["other", "relative", "unreadable", "none"])
def test_redirects_are_not_followed(server: JinaServer, status: int, kind: str) -> None:
    with JinaServer(key=KEY) as other:
        location = {
            "other": f"{other.url}/v1/embeddings?token=hunter2#hunter2",
            "relative": "/v1/embeddings?again",
            "unreadable": "http://user:hunter2@[::1/",
            "none": "",
        }[kind]
        server.misbehave(jina_faults.redirect(location, status))
        error = embed_badly(server)
        assert isinstance(error, ServiceRefused)
        assert f"answered {status}, a redirect" in str(error)
        assert "JINA_API_BASE" in str(error)
        assert (f"to {other.url}/v1/embeddings, which" in str(error)) == (kind == "other")
        assert len(server.requests) == 1
        assert other.requests == []


@pytest.mark.parametrize(
    ("scheme", "host"), [("http", "127.0.0.1"), ("http", "localhost"), ("https", "127.0.0.1")]
)
def test_this_machine_is_reached_through_no_proxy(
    server: JinaServer,
    tls_server: JinaServer,
    monkeypatch: pytest.MonkeyPatch,
    scheme: str,
    host: str,
) -> None:
    with JinaServer(key=KEY) as proxy:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(CERTIFICATE))
        url = (server if scheme == "http" else tls_server).url
        embed(url.replace("127.0.0.1", host))
        assert proxy.requests == []


@pytest.mark.parametrize(("base", "status"), [("http", 200), ("https", None)])
def test_a_host_in_no_proxy_is_reached_through_none(
    monkeypatch: pytest.MonkeyPatch, base: str, status: int | None
) -> None:
    with JinaServer(key=None) as proxy:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        url = f"{base}://embeddings.invalid/v1"
        if status:
            # What a proxy is asked for in plain http is a whole URL, which the stand-in refuses.
            assert "404" in str(embed_badly(url, key=None))
        else:
            assert "proxy" in str(embed_badly(url, key=None))
        assert len(proxy.requests) == 1
        monkeypatch.setenv("NO_PROXY", "example.com,.invalid")
        assert "cannot be resolved" in str(embed_badly(url, key=None))
        assert len(proxy.requests) == 1


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (b"HTTP/1.1 407 Password\r\n\r\n", ServiceRefused, "proxy refuses to connect"),
        (b"HTTP/1.1 403 No\r\n\r\n", ServiceRefused, "proxy refuses to connect"),
        (b"HTTP/1.1 502 Bad\r\n\r\n", ServiceDown, "proxy does not connect"),
        (b"", ServiceDown, "cannot connect to embeddings.invalid:"),
    ],
)
def test_proxies_that_do_not_help(
    monkeypatch: pytest.MonkeyPatch, reply: bytes, kind: type[ServiceError], words: str
) -> None:
    with JinaServer() as proxy:
        proxy.misbehave(jina_faults.raw(reply))
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("//", "//user:hunter2@"))
        error = embed_badly("https://embeddings.invalid")
        assert "hunter2" not in str(proxy.requests[0].headers)
        assert KEY not in str(proxy.requests[0].headers)
    assert type(error) is kind
    assert words in str(error)


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "ALL_PROXY"])
@pytest.mark.parametrize(
    "proxy",
    [
        "http://user:hunter2@:1",
        "foo://user:hunter2@host",
        "user:hunter2@host:99999999",
        "http://[::1",
        "http://",
        "://",
        ":",
        "http://host:0",
        "socks5://",
        "http://ho st:1",
        "http://host\x00:1",
        "http://h\u00e4\u2028st:1",
        "http://[hunter2]:1",
        "http://%zz:1",
        "http:/host",
        "http:host:1",
        "//",
        "@",
    ],
)
def test_proxies_that_cannot_be(monkeypatch: pytest.MonkeyPatch, proxy: str, variable: str) -> None:
    if "\x00" in proxy:
        monkeypatch.setattr(
            requests.sessions, "get_environ_proxies", lambda *_, **__: {"https": proxy}
        )
        variable = "HTTPS_PROXY"
    else:
        monkeypatch.setenv(variable, proxy)
    error = embed_badly("https://embeddings.invalid")
    assert type(error) is ServiceRefused
    assert error.message == f"{variable} is not the URL of a proxy"


class TestSocks:
    def test_a_socks_proxy_without_the_package(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
        monkeypatch.setattr(transport, "find_spec", lambda _: None)
        error = embed_badly("https://embeddings.invalid")
        assert type(error) is ServiceRefused
        assert "ALL_PROXY names a SOCKS proxy" in error.message
        assert "pip install 'jtv-cli[socks]'" in str(error.hint)

    def test_a_socks_proxy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is asked for the host by name, and the reply through it has the deadline too."""
        with JinaServer(key=None) as server, SocksProxy(server) as proxy:
            monkeypatch.setenv("ALL_PROXY", f"socks5h://127.0.0.1:{proxy.port}")
            texts = embed("http://embeddings.invalid", key=None).vectors
            assert np.array_equal(texts, jina_api.embed(V2, TEXTS))
            assert proxy.hosts == [b"embeddings.invalid"]
            monkeypatch.setattr(transport, "REQUEST_TIMEOUT", 0.3)
            server.misbehave(jina_faults.dripping(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"))
            assert "no whole reply" in str(embed_badly("http://embeddings.invalid", key=None))


class SocksProxy:
    """A SOCKS5 proxy that connects everybody to one server."""

    def __init__(self, server: JinaServer) -> None:
        self.hosts: list[bytes] = []
        self._target = ("127.0.0.1", int(server.url.rpartition(":")[2]))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> SocksProxy:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        self._threads.append(threading.Thread(target=target, args=arguments))
        self._threads[-1].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                self._start(self._serve, self._listener.accept()[0])

    def _serve(self, client: socket.socket) -> None:
        with client, client.makefile("rb") as stream:
            stream.read(stream.read(2)[1])
            client.sendall(b"\x05\x00")
            length = stream.read(5)[4]
            self.hosts.append(stream.read(length))
            stream.read(2)
            client.sendall(b"\x05\x00\x00\x01" + bytes(6))
            with socket.create_connection(self._target) as server:
                self._start(self._copy, server, client)
                while data := stream.read1(1 << 16):
                    server.sendall(data)
                server.shutdown(socket.SHUT_RDWR)

    @staticmethod
    def _copy(server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(1 << 16):
                client.sendall(data)
            client.shutdown(socket.SHUT_RDWR)


# TLS


def test_a_ca_bundle_from_the_environment_is_used(
    tls_server: JinaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(CERTIFICATE))
    assert len(embed(tls_server).vectors) == len(TEXTS)


def test_a_certificate_that_is_not_trusted(tls_server: JinaServer) -> None:
    error = embed_badly(tls_server)
    assert isinstance(error, ServiceRefused)
    assert error.message == "certificate verification failed for 127.0.0.1"
    assert tls_server.requests == []


def test_the_systems_ca_store_is_trusted(
    tls_server: JinaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    assert len(embed(tls_server).vectors) == len(TEXTS)
    # A bundle that is named is trusted alone.
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", DEFAULT_CA_BUNDLE_PATH)
    assert "certificate verification failed" in str(embed_badly(tls_server))


def test_tls_with_a_server_that_has_none(server: JinaServer) -> None:
    error = embed_badly(server.url.replace("http:", "https:"))
    assert isinstance(error, ServiceRefused)
    assert "https or http?" in str(error)


def test_ca_certificates_that_are_not_there(
    tls_server: JinaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
    error = embed_badly(tls_server)
    assert isinstance(error, ServiceRefused)
    assert "REQUESTS_CA_BUNDLE" in str(error)


# No whole reply


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (jina_faults.cut, "was cut short"),
        (jina_faults.short_length, "not JSON"),
        (jina_faults.broken_packing, "cannot be unpacked"),
        (jina_faults.raw(b""), "cannot connect to"),
        (jina_faults.raw(b"SSH-2.0-OpenSSH_9.9\r\n"), "cannot connect to"),
        (
            jina_faults.raw(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n"),
            "cannot connect to",
        ),
        (jina_faults.raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz"), "cut short"),
        (
            jina_faults.raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n"),
            "cut short",
        ),
    ],
)
def test_a_reply_that_is_broken_off(server: JinaServer, fault: Fault, words: str) -> None:
    server.misbehave(fault)
    error = embed_badly(server)
    assert isinstance(error, ServiceDown)
    assert words in str(error)
    assert server.url.removeprefix("http://") in str(error)


def test_a_reply_that_does_not_come(server: JinaServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "REQUEST_TIMEOUT", 0.1)
    server.misbehave(jina_faults.hang(30))
    error = embed_badly(server)
    assert isinstance(error, ServiceDown)
    assert "no whole reply from 127.0.0.1:" in str(error)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (HEAD + b"Content-Length: 100000\r\n\r\n", b" "),
        (HEAD + b"\r\n", b" "),
        (CHUNKED, b"1\r\n \r\n"),
        (CHUNKED, b"0"),
        (HEAD, b"X"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 100 Continue\r\n", b"X: y\r\n"),
    ],
    ids=["body", "until closed", "chunks", "chunk size", "headers", "continue", "continue headers"],
)
def test_a_request_has_a_deadline_as_a_whole(
    server: JinaServer,
    tls_server: JinaServer,
    monkeypatch: pytest.MonkeyPatch,
    head: bytes,
    piece: bytes,
    tls: bool,
) -> None:
    monkeypatch.setattr(transport, "REQUEST_TIMEOUT", 0.4)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(CERTIFICATE))
    server = tls_server if tls else server
    embedder = ApiEmbedder(V2, EmbedderOptions(server.url, KEY))
    embedder.embed(TEXTS, Purpose.DOCUMENT)  # so that the connection is a used one
    server.misbehave(jina_faults.dripping(head, piece))
    with pytest.raises(ServiceDown, match=r"no whole reply from 127.0.0.1:\d+ within 0.4 s"):
        embedder.embed(TEXTS, Purpose.DOCUMENT)
    assert len(embedder.embed(TEXTS, Purpose.DOCUMENT).vectors) == len(TEXTS)


@pytest.mark.parametrize(
    "fault",
    [
        jina_faults.bomb,
        jina_faults.dripping(CHUNKED, b"10000\r\n" + b" " * 65536 + b"\r\n", 0),
        jina_faults.dripping(HEAD + b"\r\n", b" " * 65536, 0),
        jina_faults.answer(200, b" " * (1 << 25)),
    ],
    ids=["bomb", "chunks", "until closed", "announced"],
)
def test_a_reply_has_a_largest_size(server: JinaServer, fault: Fault) -> None:
    server.misbehave(fault)
    with pytest.raises(ServiceRefused, match="more than 2 MiB"):
        embed(server)
    assert len(embed(server).vectors) == len(TEXTS)


def test_an_error_without_end_is_told_by_its_status(server: JinaServer) -> None:
    head = b"HTTP/1.1 503 No\r\n\r\n"
    server.misbehave(jina_faults.dripping(head, b" " * 65536, 0))
    error = embed_badly(server)
    assert type(error) is ServiceDown
    assert "answered 503" in str(error)


def test_a_reply_may_be_packed(server: JinaServer) -> None:
    def pack(reply: jina_api.Reply) -> jina_api.Reply:
        headers = {**reply.headers, "Content-Encoding": "gzip"}
        return replace(reply, body=gzip.compress(reply.body), headers=headers)

    server.misbehave(pack)
    assert len(embed(server).vectors) == len(TEXTS)
    assert server.requests[0].headers["accept-encoding"] == "gzip"


def test_a_host_without_an_address_is_refused_at_once_if_it_never_had_one(
    server: JinaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert type(embed_badly("https://embeddings.invalid")) is ServiceRefused
    embedder = ApiEmbedder(V2, EmbedderOptions(server.url, KEY))
    embedder.embed(TEXTS, Purpose.DOCUMENT)
    embedder._transport._session.close()

    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(ServiceDown):
        embedder.embed(TEXTS, Purpose.DOCUMENT)


def test_a_host_that_is_dead() -> None:
    port = closed_port()
    error = embed_badly(f"http://127.0.0.1:{port}")
    assert isinstance(error, ServiceDown)
    assert f"cannot connect to 127.0.0.1:{port}" in str(error)


@pytest.mark.parametrize(
    ("failure", "kind", "words"),
    [
        (requests.ConnectTimeout("x"), ServiceDown, "within 10 s"),
        (requests.ConnectionError("Failed"), ServiceDown, "cannot connect to"),
        (requests.exceptions.SSLError("UNEXPECTED_EOF_WHILE_READING"), ServiceDown, "broke off"),
        (requests.exceptions.InvalidHeader("x"), ServiceRefused, "InvalidHeader"),
        (LocationParseError("x"), ServiceRefused, "LocationParseError"),
        (UnicodeError("label too long"), ServiceRefused, "UnicodeError"),
    ],
)
def test_failures_that_are_hard_to_provoke(
    monkeypatch: pytest.MonkeyPatch, failure: Exception, kind: type[ServiceError], words: str
) -> None:
    def post(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr(requests.Session, "post", post)
    error = embed_badly("http://127.0.0.1:9")
    assert type(error) is kind
    assert words in str(error)


# The same from the stand-in, whose replies have the headers of real ones


@pytest.mark.parametrize(
    ("settings", "texts", "kind"),
    [
        ({"key": "jina_another"}, TEXTS, ServiceRefused),
        ({"concurrent": 0}, TEXTS, RateLimited),
        ({"tokens_a_minute": 1}, TEXTS, RateLimited),
        ({"requests_a_minute": 0}, TEXTS, RateLimited),
        ({"max_items": 3}, TEXTS, BatchTooLarge),
        ({}, ["x" * 40_000], TextTooLong),
        ({}, [""], TextsRefused),
    ],
)
def test_refusals_of_the_api(
    settings: dict[str, Any], texts: list[str], kind: type[ServiceError]
) -> None:
    with JinaServer(**{"key": KEY, **settings}) as server:
        error = embed_badly(server, texts=texts)
        assert type(error) is kind
        assert len(server.requests) == 1
        assert server.bill == []


@pytest.mark.parametrize("remaining", [0, 1])
def test_a_limit_that_is_used_up_is_waited_for(server: JinaServer, remaining: int) -> None:
    """A limit that has fewer tokens left than the last request cost is used up, too."""
    limits = {"X-RateLimit-Remaining-Tokens": str(remaining), "X-RateLimit-Reset-Tokens": "0.3"}
    server.misbehave(lambda reply: replace(reply, headers={**reply.headers, **limits}))
    embedder = ApiEmbedder(V2, EmbedderOptions(server.url, KEY))
    embedder.embed(TEXTS, Purpose.DOCUMENT)
    with pytest.raises(RateLimited, match="is used up") as caught:
        embedder.embed(TEXTS, Purpose.DOCUMENT)
    assert caught.value.kind == "rate"
    assert 0 < (caught.value.retry_after or 0) <= 0.3
    assert len(server.requests) == 1
    time.sleep(0.3)
    embedder.embed(TEXTS, Purpose.DOCUMENT)


@pytest.mark.parametrize("key", [KEY, None])
@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        (jina_faults.wrong_dimension(512), ServiceRefused, f"512 dimensions.*{V2.name} have 768"),
        (jina_faults.filled(float("nan")), TextsFailed, "not finite|without a vector"),
        (jina_faults.filled(float("-inf")), TextsFailed, "not finite|without a vector"),
        (jina_faults.filled(0), TextsFailed, "all zero"),
        # Their lengths overflow and underflow in float32.
        (jina_faults.filled(3e38), TextsFailed, "length"),
        (jina_faults.filled(1e-38), TextsFailed, "length"),
        (jina_faults.garbled, TextsFailed, "unequal length"),
        (jina_faults.duplicate_index, ServiceDown, "without a vector for each text"),
        (jina_faults.missing_item, ServiceDown, "without a vector for each text"),
        (jina_faults.web_page(200), ServiceRefused, "web page"),
        (jina_faults.web_page(502), ServiceDown, "web page"),
    ],
)
def test_vectors_that_are_wrong(
    server: JinaServer, fault: Fault, kind: type[ServiceError], words: str, key: str | None
) -> None:
    server.key = key
    server.misbehave(fault)
    with pytest.raises(kind, match=words) as caught:
        embed(server, key=key)
    assert_discreet(caught.value)
    assert len(embed(server, key=key).vectors) == len(TEXTS)


def test_a_missing_usage_costs_nothing(server: JinaServer) -> None:
    server.misbehave(jina_faults.no_usage)
    assert embed(server).tokens == 0


def test_a_text_that_is_not_unicode(server: JinaServer) -> None:
    with pytest.raises(UsageError, match="not valid Unicode") as caught:
        embed(server, [f"{TEXTS[0]} \udcff"])
    assert_discreet(caught.value)
    assert server.requests == []


def test_any_bytes_over_the_wire(server: JinaServer) -> None:
    dice = random.Random(2)
    names = [b"Content-Length", b"Transfer-Encoding: chunked", b"Content-Encoding", b"Set-Cookie"]
    pieces = [*names, b"Location", b"\r\n", b"\r\n", b": ", b"7", b"gzip", b"\xff\x00", b"{}", b"<"]
    for _ in range(100):
        head = b"HTTP/1.1 %d X\r\n" % dice.randint(100, 599) if dice.random() < 0.9 else b""
        server.misbehave(jina_faults.raw(head + b"".join(dice.choices(pieces, k=20))))
        embed_badly(server)
