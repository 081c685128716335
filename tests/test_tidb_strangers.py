"""What is said where something else than a TiDB answers: one line, soon, and no secret."""

from __future__ import annotations

import re
import socket
import struct
import traceback
from contextlib import closing, contextmanager, suppress
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from discretion import PASSWORD
from jtv_cli.errors import StoreError
from jtv_cli.stores.tidb import database
from jtv_cli.stores.tidb.database import Database
from jtv_cli.stores.tidb.url import parse_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Jtv


def packet(number: int, payload: bytes) -> bytes:
    return struct.pack("<I", len(payload))[:3] + bytes([number]) + payload


def greeting(version: str, plugin: str) -> bytes:
    """Return what a server of MySQL's protocol says first, without TLS."""
    flags = 0x000FA20D  # of MySQL 8.0, less CLIENT_SSL and CLIENT_DEPRECATE_EOF
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


NOT_TIDB = r"does not answer like TiDB; check host, port"
IS_MYSQL = r"/shop runs 8\.0\.36, not TiDB 8\.4 or newer; name a TiDB cluster"


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
    (line,) = result.stderr.splitlines()
    assert re.search(expected, line), line
    assert line.isprintable()
    assert PASSWORD not in result.stderr + told.stderr


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        ([b""], NOT_TIDB),
        ([b"\x4a\0\0\0\x0a8"], NOT_TIDB),
        ([MYSQL], "gave no answer in time"),
    ],
)
def test_silence_is_short(
    monkeypatch: pytest.MonkeyPatch, says: list[bytes], expected: str
) -> None:
    """Not only to connect takes no longer than that, but also to be greeted and let in."""
    monkeypatch.setattr(database, "_CONNECT_SECONDS", 0.5)
    with (
        stranger(*says, stays=True) as url,
        closing(Database(parse_url(url), pytest.fail)) as silent,
        pytest.raises(StoreError, match=expected),
    ):
        silent.read(lambda _: None)
