"""What users are told of TiDB's errors: one line, what to do next, and no secret."""

from __future__ import annotations

import os
import re
from contextlib import closing
from threading import Event
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pymysql
import pytest

from discretion import PASSWORD, TEXTS, assert_discreet
from jtv_cli.errors import JtvError, StoreError, TableMismatch
from jtv_cli.stores.tidb.connection import Connection, Database
from jtv_cli.stores.tidb.errors import (
    RETRYABLE,
    DatabaseError,
    TooLarge,
    says_no_tiflash,
    translated,
)
from jtv_cli.stores.tidb.url import parse_url
from tidb_cluster import Cluster, TidbServer
from tidb_proxy import Proxy

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from conftest import Jtv

TABLE = "jinaai_tidb_demo_documents"
OFFLINE = ("--model", "hashing-v1")
URL = f"mysql://someone:{PASSWORD}@db.example.com/shop"


def error(code: int, text: str) -> DatabaseError:
    """Make what a connection raises."""
    origin = pymysql.OperationalError(code, text)
    failure = DatabaseError(origin, "INSERT …")
    failure.__cause__ = origin
    return failure


class TestOnAServer:
    @pytest.fixture
    def url(self, plain_server: TidbServer, plain_tidb: str) -> str:
        """The URL of a user with a password."""
        name = plain_tidb.rpartition("/")[2]
        plain_server.execute("DROP USER IF EXISTS 'prefix.root'")
        plain_server.execute(f"CREATE USER 'prefix.root' IDENTIFIED BY '{PASSWORD}'")
        plain_server.execute(f"GRANT ALL ON {name}.* TO 'prefix.root'")
        return plain_server.url(name, user="prefix.root", password=PASSWORD)

    @pytest.mark.parametrize(
        ("old", "new", "says"),
        [
            (
                PASSWORD,
                f"{PASSWORD}x",
                "denies access to user prefix.root\nhint: check the user name",
            ),
            (
                "prefix.root",
                "prefix",
                "on TiDB Cloud the user name has a prefix, such as 4Xy7Zab.root",
            ),
            ("prefix.root", "root", "add ssl_mode=VERIFY_IDENTITY"),
            (
                "jtv_test_",
                "shop_",
                "missing privilege: .* to database 'shop_.*\nhint: ask an administrator to grant",
            ),
            (
                "{port}",
                "1",
                "cannot connect to 127.0.0.1:1/jtv_test_.*\nhint: check the host and the port",
            ),
            ("", "", f'no table "{TABLE}" in 127.0.0.1:.*\nhint: create it with: jtv init'),
        ],
    )
    def test_no_way_in(
        self, jtv: Jtv, url: str, plain_server: TidbServer, old: str, new: str, says: str
    ) -> None:
        url = url.replace(old.format(port=plain_server.port), new, 1)
        for command in (["list"], ["ingest", "-", "--debug"], ["init", *OFFLINE]):
            result = jtv(*command, "--database", url, stdin="a\n")
            if old or "init" not in command:
                assert result.code == 5
                assert re.search(says, result.error), result.error
            assert PASSWORD not in result.stdout + result.stderr
            if "--debug" not in command and old:
                assert result.is_one_error

    @pytest.mark.parametrize("idle_seconds", [0.0, 60.0])
    def test_a_connection_that_was_idle_is_looked_at(
        self, plain_tidb: str, monkeypatch: pytest.MonkeyPatch, idle_seconds: float
    ) -> None:
        """One that was just in use is not; if it is lost all the same, that is said."""
        monkeypatch.setattr("jtv_cli.stores.tidb.connection._IDLE_SECONDS", idle_seconds)
        said: list[str] = []
        with closing(Database(parse_url(plain_tidb), said.append)) as database:
            number = "SELECT CONNECTION_ID()"
            first = database.read(lambda connection: connection.scalar(number))
            assert database.read(lambda connection: connection.scalar(number)) == first
            Cluster(plain_tidb).execute(f"KILL {first}")
            assert database.read(lambda connection: connection.scalar(number)) != first
        assert len(said) == (1 if idle_seconds else 0)

    def test_the_time_to_log_in_is_not_that_to_answer(
        self, plain_tidb: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("jtv_cli.stores.tidb.connection._ANSWER_SECONDS", 1234)

        def seconds(connection: Any) -> float:
            connection.scalar("SELECT 1")
            waiting: socket.socket = connection.driver._sock
            return waiting.gettimeout() or 0

        with closing(Database(parse_url(plain_tidb), pytest.fail)) as database:
            assert database.read(seconds) == 1234
            with closing(database.slow_connection()) as connection:
                assert seconds(connection) > 1234

    def test_a_lock_is_not_waited_for_for_ever(
        self, plain_tidb: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("jtv_cli.stores.tidb.connection._ANSWER_SECONDS", 2)
        answer = Event()
        with (
            Proxy(plain_tidb) as proxy,
            closing(Database(parse_url(proxy.url), pytest.fail)) as database,
        ):
            proxy.on("GET_LOCK", lambda: answer.wait(60))
            with (
                pytest.raises(StoreError, match="did not answer in time"),
                database.lock("name"),
            ):
                pytest.fail("it waited")
            answer.set()

    def test_a_lock_ends_with_its_block(self, plain_tidb: str) -> None:
        with (
            closing(Database(parse_url(plain_tidb), pytest.fail)) as one,
            closing(Database(parse_url(plain_tidb), pytest.fail)) as other,
        ):
            for database in (one, other, one):
                with database.lock("name"):
                    pass

    def test_an_unknown_database(self, jtv: Jtv, plain_server: TidbServer) -> None:
        result = jtv("list", "--database", plain_server.url("no_such"))
        assert result.code == 5
        assert "create it with: CREATE DATABASE `no_such`" in result.error
        assert "no database no_such on 127.0.0.1:" in result.error

    def test_a_system_database(self, jtv: Jtv, plain_server: TidbServer) -> None:
        result = jtv("init", *OFFLINE, "--database", plain_server.url("sys"))
        assert (result.code, "sys is a system database" in result.error) == (2, True)

    @pytest.mark.parametrize("command", [["search", "x"], ["ingest", "-"]])
    def test_vectors_of_another_model(self, jtv: Jtv, url: str, command: list[str]) -> None:
        """Somebody has made the table anew, with the same comment."""
        jtv.environment["TIDB_DATABASE_URL"] = url
        jtv.ok("init", *OFFLINE)
        database = Cluster(url)
        ((_, create),) = database.execute(f"SHOW CREATE TABLE {TABLE}")
        database.execute(f"DROP TABLE {TABLE}")
        database.execute(create.replace("vector(768)", "vector(3)"))
        database.execute(
            f"INSERT INTO {TABLE} (content, content_hash, content_vec) VALUES ('a', 'a', '[1,2,3]')"
        )
        result = jtv(*command, stdin="some text\n")
        assert result.code == 5
        assert "the table was created for another model's vectors" in result.error
        assert "768" in result.error

    def test_no_text_is_told(self, jtv: Jtv, url: str) -> None:
        """Not even with --debug, though the statement failed that carried it."""
        jtv.environment["TIDB_DATABASE_URL"] = url
        jtv.ok("init", *OFFLINE)
        with Proxy(url) as proxy:
            proxy.on("^SET autocommit = 0", lambda: Cluster(url).execute(f"DROP TABLE {TABLE}"))
            env = {"TIDB_DATABASE_URL": proxy.url}
            result = jtv("ingest", "-", "--debug", stdin=f"{TEXTS[0]}\n", env=env)
        assert result.code == 5
        assert "Traceback" in result.stderr
        assert f"INSERT INTO `{TABLE}`" in result.stderr
        assert TEXTS[0] not in result.stderr
        assert PASSWORD not in result.stderr

    @pytest.mark.parametrize(
        ("code", "text"),
        [
            *((code, "it happens") for code in sorted(RETRYABLE)),
            (1105, "pessimistic lock retry limit reached"),
        ],
    )
    def test_what_may_pass_is_tried_again(self, plain_tidb: str, code: int, text: str) -> None:
        notices: list[str] = []
        failures = [error(code, text)]

        def work(_: object) -> str:
            if failures:
                raise failures.pop()
            return "done"

        with closing(Database(parse_url(plain_tidb), notices.append)) as database:
            assert database.write(work) == "done"
        (notice,) = notices
        assert notice.endswith("; retrying")

    @pytest.mark.parametrize("code", [1045, 1105, 1146, 8025, 2003])
    def test_what_will_not_pass_is_not(self, plain_tidb: str, code: int) -> None:
        attempts: list[object] = []

        def work(connection: object) -> None:
            attempts.append(connection)
            raise error(code, "Connection timed out")

        with (
            closing(Database(parse_url(plain_tidb), pytest.fail)) as database,
            pytest.raises(StoreError),
        ):
            database.read(work)
        assert len(attempts) == 1


@pytest.mark.parametrize(
    ("code", "text", "kind", "says"),
    [
        (1045, "Access denied", StoreError, "denies access to user someone; .* as 4Xy7Zab.root"),
        (
            1049,
            "Unknown database",
            StoreError,
            "no database shop on .*; create it with: CREATE DATABASE",
        ),
        (1044, "CREATE command denied", StoreError, "missing privilege: CREATE command denied"),
        (1064, 'syntax near "VECTOR(3)"', StoreError, "not TiDB 8.4 or newer; upgrade"),
        (1305, "FUNCTION VEC_COSINE_DISTANCE does not exist", StoreError, "not TiDB 8.4 or newer"),
        (1064, 'syntax near "FROM"', StoreError, r'syntax near "FROM" \(error 1064\)'),
        (1105, "Connections using insecure transport are prohibited", StoreError, "requires TLS"),
        (1105, "the usage quota of the cluster is exhausted", StoreError, "raise its spending"),
        (
            1105,
            "vector has 2 dimensions, does not fit VECTOR(3)",
            TableMismatch,
            "another table with --table",
        ),
        (1105, "vectors have different dimensions: 3 and 2", TableMismatch, "3 and 2; choose anot"),
        (
            1146,
            "Table does not exist",
            TableMismatch,
            "was renamed or dropped while .*jtv tables",
        ),
        (1406, "Data too long", TooLarge, "6 MiB that TiDB accepts; split it"),
        (
            8004,
            "Transaction is too large",
            StoreError,
            "the transaction is too large; split the work",
        ),
        (8025, "entry too large", TooLarge, "6 MiB that TiDB accepts; split it"),
        (
            1205,
            "Lock wait timeout exceeded",
            StoreError,
            "other processes are writing to the same rows",
        ),
        (8021, "Error: key not exist", StoreError, "other processes are writing to the same rows"),
        (
            2013,
            "Lost connection (timed out)",
            StoreError,
            "did not answer in time; the server may still",
        ),
        (2003, "Can't connect", StoreError, "cannot connect to db.example.com:4000/shop; check"),
        (2006, "gone away", StoreError, "lost the connection to .*; run the same command again"),
        (4031, "inactivity", StoreError, "lost the connection to .*; run the same command again"),
        (9007, "Write conflict", StoreError, "other processes are writing to the same rows; run"),
        (
            8002,
            "SELECT FOR UPDATE conflict",
            StoreError,
            "other processes are writing to the same rows",
        ),
        (9002, "TiKV server timeout", StoreError, "the cluster is busy: .*; try again"),
        (1234, "what is this", StoreError, r"what is this \(error 1234\)"),
    ],
)
def test_what_is_said(code: int, text: str, kind: type[JtvError], says: str) -> None:
    failure = translated(error(code, text), parse_url(URL))
    assert isinstance(failure, kind)
    with pytest.raises(kind, match=says):
        raise failure
    if code != 1234 and "FROM" not in text:
        assert_discreet(failure)


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        (1105, "the tiflash replica count: 1 should be less than the total tiflash …: 0", True),
        (8200, "Unsupported add vector index: unsupported TiFlash store count is 0", True),
        (8200, "Unsupported add columnar index: …", True),
        (8200, "columnar store (TiFlash) must be deployed", True),
        (8200, "set TiFlash replica settings for system table mysql.t", False),
        (8200, "Unsupported modify column", False),
        (9014, "TiFlash backfill index failed", False),
    ],
)
def test_what_says_that_there_is_no_tiflash(code: int, text: str, expected: Any) -> None:
    assert says_no_tiflash(error(code, text)) is expected


def test_a_connection_that_is_lost_over_tls(
    tls_server: TidbServer, tls_tidb: str, certificates: Path
) -> None:
    """OpenSSL has words of its own for that; it is tried again all the same."""
    said: list[str] = []
    numbers: list[int] = []
    url = tls_tidb.replace("127.0.0.1", "localhost")

    def work(connection: Connection) -> None:
        numbers.append(connection.scalar("SELECT CONNECTION_ID()") or 0)
        if len(numbers) == 1:
            # No record that the server could decipher, past OpenSSL.
            os.write(connection.driver._sock.fileno(), b"\x17\x03\x03\x00\x20" + bytes(32))
            connection.scalar("SELECT 1")

    with closing(Database(parse_url(f"{url}?ssl_ca={certificates}/ca.pem"), said.append)) as db:
        db.read(work)
    assert len(set(numbers)) == 2
    assert said == [
        f"lost the connection to localhost:{tls_server.port}{urlsplit(url).path}; retrying"
    ]


def test_a_client_certificate_that_is_demanded(
    jtv: Jtv, tls_server: TidbServer, tls_tidb: str, certificates: Path
) -> None:
    """That comes as a lost connection; trying again would not help."""
    tls_server.execute("SET GLOBAL require_secure_transport = ON")
    tls_server.present("server")
    url = tls_tidb.replace("127.0.0.1", "localhost")
    result = jtv("list", "--database", f"{url}?ssl_ca={certificates}/ca.pem")
    assert result.code == 5
    assert result.is_one_error
    line = result.error
    assert "add ssl_cert and ssl_key" in line


@pytest.mark.parametrize(
    "url",
    [
        f"mysql://someone:{PASSWORD}@127.0.0.1:1/shop?ssl_ca=/no@where.pem",
        f"mysql://someone:{PASSWORD}\udcff@127.0.0.1:1/shop",
        f"mysql://someone:{PASSWORD}?@127.0.0.1:1/shop",
        f"postgres://someone:{PASSWORD}@127.0.0.1/shop",
    ],
)
def test_urls_of_any_shape_keep_their_secret(jtv: Jtv, url: str) -> None:
    result = jtv("list", "--debug", env={"TIDB_DATABASE_URL": url})
    assert result.code in (2, 5)
    assert result.error.startswith("jtv: error: ")
    assert PASSWORD not in result.stderr
