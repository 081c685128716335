"""What is said where something else than a TiDB answers: one line, soon, and no secret."""

from __future__ import annotations

import re
import socket
import ssl
import struct
import time
import traceback
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING

import pytest

from discretion import PASSWORD
from jtv_cli.errors import StoreError
from jtv_cli.stores.tidb import connection
from jtv_cli.stores.tidb.connection import Database
from jtv_cli.stores.tidb.schema import decode_comment
from jtv_cli.stores.tidb.url import parse_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Jtv


HERE = "127.0.0.1"
CERTIFICATE = Path(__file__).with_name("localhost.pem")


def packet(number: int, payload: bytes) -> bytes:
    return struct.pack("<I", len(payload))[:3] + bytes([number]) + payload


def greeting(version: str, plugin: str, *, tls: bool = False) -> bytes:
    """Return what a server of MySQL's protocol says first."""
    flags = 0x000FA20D  # of MySQL 8.0, less CLIENT_SSL and CLIENT_DEPRECATE_EOF
    flags |= 0x0800 if tls else 0
    fields = struct.pack("<HBHHB10x", flags & 0xFFFF, 45, 2, flags >> 16, 21)
    salt = b"12345678\0" + fields + b"123456789012\0"
    first = b"\x0a" + version.encode() + b"\0" + struct.pack("<I", 7)
    return packet(0, first + salt + plugin.encode() + b"\0")


SHA2 = "caching_sha2_password"
MYSQL = greeting("8.0.36", SHA2)
TIDB = greeting("8.0.11-TiDB-v8.5.4", SHA2)
KEY = b"-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----\n"
SWITCH = b"\xfe%s\0" + b"1" * 20 + b"\0"


@contextmanager
def stranger(*says: bytes, stays: bool = False) -> Iterator[str]:
    """Yield a URL where something says this, each but the first when it has heard something.

    Then it hangs up, unless it `stays`.
    """

    def serve() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                with client, suppress(OSError):
                    for number, said in enumerate(says):
                        if number:
                            client.recv(1 << 16)
                        client.sendall(said)
                    if not stays:
                        client.shutdown(socket.SHUT_WR)
                    while client.recv(1 << 16):
                        pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=serve, daemon=True)
        thread.start()
        yield f"mysql://someone:{PASSWORD}@127.0.0.1:{listener.getsockname()[1]}/shop"
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


NOT_TIDB = r"does not answer like TiDB(;|\nhint:) check the host and the port"
IS_MYSQL = r"/shop runs 8\.0\.36, not TiDB 8\.4 or newer(;|\nhint:) use a TiDB cluster"


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        ([b""], NOT_TIDB),
        ([b"SSH-2.0-OpenSSH_9.6\r\n"], NOT_TIDB),
        ([b"220 mail.example.com ESMTP\r\n"], NOT_TIDB),
        ([b"HTTP/1.1 400 Bad Request\r\n\r\n"], NOT_TIDB),
        ([b"\x05\0\0\0\x0b\x08\x05\x1a\0"], NOT_TIDB),  # MySQL's X protocol
        ([b"\0\0\0\0"], NOT_TIDB),
        ([MYSQL[:20]], NOT_TIDB),
        ([packet(0, MYSQL[4:20])], IS_MYSQL),
        ([greeting("eight\r\n\x1b[31m", SHA2)], NOT_TIDB),
        ([greeting("", SHA2)], NOT_TIDB),
        ([MYSQL, packet(2, b"\x01\x04"), packet(4, b"\x01" + KEY)], IS_MYSQL),
        ([MYSQL, packet(2, SWITCH % b"sha256_password"), packet(4, b"\x01" + KEY)], IS_MYSQL),
        ([MYSQL, packet(2, SWITCH % b"client_ed25519")], IS_MYSQL),
        ([MYSQL, packet(2, SWITCH % b"auth_gssapi_client")], IS_MYSQL),
        ([MYSQL, packet(2, b"")], IS_MYSQL),
        ([MYSQL, packet(2, b"\xff")], IS_MYSQL),
        ([MYSQL, packet(2, b"\x55")], IS_MYSQL),
        ([MYSQL, b"HTTP/1.1 400"], IS_MYSQL),
        ([TIDB, packet(2, SWITCH % b"mysql_clear_password")], "asks for the password itself"),
        ([TIDB, packet(2, SWITCH % b"dialog")], "asks for the password itself"),
        ([greeting("8.0.11-TiDB-v7.5.1", SHA2), packet(2, b"\x55")], "runs 8.0.11-TiDB-v7.5.1, no"),
        ([TIDB, packet(2, b"\x55")], "unexpected packet during"),
    ],
)
def test_what_it_may_send(says: list[bytes], expected: str) -> None:
    """Nothing of it is tried again."""
    with (
        stranger(*says) as url,
        closing(Database(parse_url(url), pytest.fail)) as strange,
        pytest.raises(StoreError, match=expected) as caught,
    ):
        strange.read(lambda _: None)
    assert str(caught.value).isprintable()
    assert PASSWORD not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        ([b"SSH-2.0-OpenSSH_9.6\r\n"], NOT_TIDB),
        ([MYSQL, packet(2, b"\x01\x04"), packet(4, b"\x01" + KEY)], IS_MYSQL),
        ([packet(0, b"\xff\x10\x04Too many\r\n\x1b[31mconnections")], "Too many.*connections"),
    ],
)
def test_what_users_see(jtv: Jtv, says: list[bytes], expected: str) -> None:
    with stranger(*says) as url:
        result = jtv("list", "--database", url)
        told = jtv("init", "--model", "hashing-v1", "--debug", "--database", url)
    assert result.code == told.code == 5
    assert result.is_one_error
    line = result.error
    assert re.search(expected, line), line
    assert line.replace("\n", "").isprintable()
    assert PASSWORD not in result.stderr + told.stderr


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        ([b""], NOT_TIDB),
        ([b"\x4a\0\0\0\x0a8"], NOT_TIDB),
        ([MYSQL], "did not answer in time"),
    ],
)
def test_silence_is_short(
    monkeypatch: pytest.MonkeyPatch, says: list[bytes], expected: str
) -> None:
    """Not only to connect takes no longer than that, but also to be greeted and let in."""
    monkeypatch.setattr(connection, "_CONNECT_SECONDS", 0.5)
    with (
        stranger(*says, stays=True) as url,
        closing(Database(parse_url(url), pytest.fail)) as silent,
        pytest.raises(StoreError, match=expected),
    ):
        silent.read(lambda _: None)


SSL_REQUEST_BYTES = 36
MODES = {
    "no-tls": "ssl_mode=PREFERRED",
    "any-certificate": "ssl_mode=PREFERRED",
    "any-name": f"ssl_ca={CERTIFICATE}&ssl_verify_identity=false",
    "ca-only": f"ssl_ca={CERTIFICATE}&ssl_mode=VERIFY_CA",
}


class Thief:
    """A server with a certificate for localhost that asks for the password in every way."""

    def __init__(self, method: str, *, switches: bool, tls: bool = True) -> None:
        self.heard = b""
        self._method = method.encode()
        self._switches = switches
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(CERTIFICATE)

    def __enter__(self) -> Thief:
        self._thread = Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                client.settimeout(10)
                with client, suppress(OSError):
                    self._steal(client)

    def _steal(self, client: socket.socket) -> None:
        announced = "mysql_native_password" if self._switches else self._method.decode()
        client.sendall(greeting("8.0.11-TiDB-v8.5.4", announced, tls=self._tls))
        if not self._tls:
            self._log_in(client, 2)
            return
        client.recv(SSL_REQUEST_BYTES)
        with self._context.wrap_socket(client, server_side=True) as secured:
            self._log_in(secured, 3)

    def _log_in(self, client: socket.socket, number: int) -> None:
        self.heard += client.recv(1 << 16)
        asks = [b"\x01\x04", b"\x01" + KEY]
        if self._switches:
            asks.insert(0, SWITCH % self._method)
        for ask in asks:
            client.sendall(packet(number, ask))
            self.heard += client.recv(1 << 16)
            number += 2


@pytest.fixture
def everywhere_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every host name is this machine's, as for somebody in between."""
    find = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda _, *rest, **more: find(HERE, *rest, **more))


@pytest.mark.usefixtures("everywhere_is_here")
@pytest.mark.parametrize("switches", [False, True])
@pytest.mark.parametrize(
    "method", ["sha256_password", "caching_sha2_password", "mysql_clear_password", "dialog"]
)
@pytest.mark.parametrize("mode", MODES)
def test_an_unverified_server_never_gets_the_password(
    mode: str, method: str, switches: bool
) -> None:
    with Thief(method, switches=switches, tls=mode != "no-tls") as thief:
        url = f"mysql://someone:{PASSWORD}@db.example.com:{thief.port}/shop?{MODES[mode]}"
        with (
            closing(Database(parse_url(url), pytest.fail)) as database,
            pytest.raises(StoreError) as caught,
        ):
            database.read(lambda _: None)
    # A server with sha256_password asks by switching to it, unless it got the password.
    if switches or method != "sha256_password":
        assert re.search(r"asks for the password itself .* not verified; .*ssl_", str(caught.value))
    assert b"someone" in thief.heard
    assert PASSWORD.encode() not in thief.heard
    # Nothing is sent after the first packet, as an encrypted password would be.
    length = int.from_bytes(thief.heard[:3], "little") + 4
    scramble = 24 if switches and method == "caching_sha2_password" else 0
    assert len(thief.heard) <= length + scramble


@pytest.mark.usefixtures("everywhere_is_here")
@pytest.mark.parametrize("query", ["", "ssl_mode=REQUIRED", f"ssl_ca={CERTIFICATE}"])
def test_a_server_that_is_not_verified_hears_no_name(query: str) -> None:
    """Without a key in the URL, too."""
    with Thief("sha256_password", switches=False) as thief:
        url = f"mysql://someone:{PASSWORD}@db.example.com:{thief.port}/shop?{query}"
        with (
            closing(Database(parse_url(url), pytest.fail)) as database,
            pytest.raises(StoreError, match=r"certificate of db\.example\.com is ") as caught,
        ):
            database.read(lambda _: None)
    assert thief.heard == b""
    assert ("ssl_mode=PREFERRED" in str(caught.value)) == (not query)


@pytest.mark.usefixtures("everywhere_is_here")
@pytest.mark.parametrize(("query", "hint"), [("", True), ("ssl_mode=REQUIRED", False)])
def test_a_server_without_tls_hears_no_name(query: str, hint: bool) -> None:
    with Thief("sha256_password", switches=False, tls=False) as thief:
        url = f"mysql://someone:{PASSWORD}@db.example.com:{thief.port}/shop?{query}"
        with (
            closing(Database(parse_url(url), pytest.fail)) as database,
            pytest.raises(StoreError, match=r"db\.example\.com does not offer TLS") as caught,
        ):
            database.read(lambda _: None)
    assert thief.heard == b""
    assert ("ssl_mode=PREFERRED" in str(caught.value)) == hint


@pytest.mark.parametrize("switches", [False, True])
def test_a_verified_server_gets_the_password(
    monkeypatch: pytest.MonkeyPatch, switches: bool
) -> None:
    monkeypatch.setattr(connection, "_BACKOFF_SECONDS", ())
    with Thief("sha256_password", switches=switches) as server:
        url = f"mysql://someone:{PASSWORD}@127.0.0.1:{server.port}/shop?ssl_ca={CERTIFICATE}"
        with closing(Database(parse_url(url), pytest.fail)) as database, pytest.raises(StoreError):
            database.read(lambda _: None)
    assert PASSWORD.encode() in server.heard


@pytest.mark.parametrize(
    ("says", "query"),
    [
        (b"\xff\0\0\0\x0a8.0.11", ""),
        (MYSQL + b"\xff\0\0\2", ""),
        (greeting("8.0.11-TiDB-v8.5.4", SHA2, tls=True) + b"\x16\3\3\x40\0", "ssl_mode=PREFERRED"),
    ],
)
def test_a_login_has_a_deadline(monkeypatch: pytest.MonkeyPatch, says: bytes, query: str) -> None:
    """A server that sends a byte now and then does not get more time."""
    monkeypatch.setattr(connection, "_CONNECT_SECONDS", 0.6)
    hung_up = Event()

    def drip() -> None:
        client, _ = listener.accept()
        with client, suppress(OSError):
            client.sendall(says)
            while True:
                client.sendall(b"\x01")
                if hung_up.wait(0.1):
                    break

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=drip, daemon=True)
        thread.start()
        url = f"mysql://someone:{PASSWORD}@127.0.0.1:{listener.getsockname()[1]}/shop?{query}"
        started = time.monotonic()
        with closing(Database(parse_url(url), pytest.fail)) as slow, pytest.raises(StoreError):
            slow.read(lambda _: None)
        assert 0.5 < time.monotonic() - started < 10
        hung_up.set()
        thread.join()


def test_an_answer_has_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that answers a statement with a byte now and then does not get more time."""
    monkeypatch.setattr(connection, "_ANSWER_SECONDS", 0.6)
    hung_up = Event()

    def drip() -> None:
        client, _ = listener.accept()
        with client, suppress(OSError):
            client.sendall(TIDB)
            client.recv(1 << 16)
            client.sendall(packet(2, b"\0\0\0\2\0\0\0"))
            client.recv(1 << 16)
            client.sendall(b"\xff\xff\x0f\x01")
            while not hung_up.wait(0.1):
                client.sendall(b"\x01")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=drip, daemon=True)
        thread.start()
        url = f"mysql://someone:{PASSWORD}@127.0.0.1:{listener.getsockname()[1]}/shop"
        started = time.monotonic()
        with (
            closing(Database(parse_url(url), pytest.fail)) as slow,
            pytest.raises(StoreError, match="did not answer in time"),
        ):
            slow.read(lambda opened: opened.run("SELECT 1"))
        assert 0.5 < time.monotonic() - started < 10
        hung_up.set()
        thread.join()


def test_a_name_lookup_has_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = Event()

    def hang(*_: object) -> list[object]:
        ended.wait()
        return []

    monkeypatch.setattr(connection, "_CONNECT_SECONDS", 0.5)
    monkeypatch.setattr(socket, "getaddrinfo", hang)
    url = f"mysql://someone:{PASSWORD}@db.example.com/shop"
    started = time.monotonic()
    with (
        closing(Database(parse_url(url), pytest.fail)) as silent,
        pytest.raises(StoreError, match=r"cannot connect to db\.example\.com"),
    ):
        silent.read(lambda _: None)
    assert time.monotonic() - started < 10
    ended.set()


@pytest.mark.parametrize(
    "comment",
    [
        "[" * 2000,
        '{"jtv": 2, "model": "m", "task": null, "dimensions": "8", "metric": "", "identity": ""}',
        '{"jtv": 2, "model": [], "task": null, "dimensions": 8, "metric": "", "identity": ""}',
    ],
)
def test_any_json_may_be_the_comment_of_a_table(comment: str) -> None:
    assert decode_comment("other", comment) is None
