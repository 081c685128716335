"""What a server's global settings may be, and what may happen to the bytes of a session."""

from __future__ import annotations

import itertools
import random
import socket
import sys
import time
from contextlib import closing, suppress
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from conftest import SAMPLE_TEXTS
from jtv_cli.errors import StoreError
from jtv_cli.records import Condition, Filter, Occurrence, TableSpec
from jtv_cli.stores import open_store
from jtv_cli.stores.tidb import connection
from jtv_cli.stores.tidb.connection import Database
from jtv_cli.stores.tidb.sql import string_literal
from jtv_cli.stores.tidb.url import parse_url
from tables import DIMENSIONS, document, documents, make, vectors
from tidb_cluster import Cluster
from tidb_proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Jtv
    from tidb_cluster import TidbServer

MEBIBYTE = 1 << 20
TABLE = "jinaai_tidb_demo_documents"

UNUSUAL = {
    "sql_mode": "'ANSI_QUOTES,PIPES_AS_CONCAT,NO_BACKSLASH_ESCAPES,NO_AUTO_VALUE_ON_ZERO,"
    "IGNORE_SPACE,PAD_CHAR_TO_FULL_LENGTH,ONLY_FULL_GROUP_BY,HIGH_NOT_PRECEDENCE'",
    "sql_select_limit": "3",
    "time_zone": "'+05:45'",
    "autocommit": "0",
    "max_allowed_packet": str(MEBIBYTE),
    "character_set_client": "'latin1'",
    "character_set_results": "'latin1'",
    "character_set_connection": "'latin1'",
    "character_set_server": "'latin1'",
    "collation_connection": "'utf8mb4_general_ci'",
    "default_collation_for_utf8mb4": "'utf8mb4_general_ci'",
    "transaction_isolation": "'READ-COMMITTED'",
    "tidb_txn_mode": "'optimistic'",
    "tidb_enable_window_function": "OFF",
    "tidb_allow_mpp": "OFF",
    "tidb_enable_clustered_index": "OFF",
    "tidb_use_plan_baselines": "ON",
    "tidb_multi_statement_mode": "ON",
    "tidb_replica_read": "'follower'",
    "tidb_max_chunk_size": "32",
    "sql_require_primary_key": "ON",
    "sql_safe_updates": "ON",
    "group_concat_max_len": "4",
    "auto_increment_increment": "7",
    "auto_increment_offset": "3",
}


@pytest.fixture
def unusual(plain_server: TidbServer, plain_tidb: str) -> Iterator[str]:
    """The URL of a database on a server whose global variables are unlike the defaults."""
    with closing(plain_server.connect()) as admin, admin.cursor() as cursor:
        before = {}
        for name in UNUSUAL:
            cursor.execute(f"SELECT @@GLOBAL.{name}")
            [before[name]] = cursor.fetchone() or [None]
        for name, value in UNUSUAL.items():
            cursor.execute(f"SET GLOBAL {name} = {value}")
        # Last, as it makes reads and writes of this connection fail.
        cursor.execute("SET GLOBAL tidb_low_resolution_tso = ON")
        yield plain_tidb
        cursor.execute("SET GLOBAL tidb_low_resolution_tso = OFF")
        for name, old in before.items():
            cursor.execute(f"SET GLOBAL {name} = %s", (old,))


@pytest.fixture
def user(jtv: Jtv, unusual: str) -> Jtv:
    jtv.environment |= {"TIDB_DATABASE_URL": unusual, "JTV_MODEL": "hashing-v1"}
    return jtv


@pytest.mark.parametrize(
    ("command", "more"),
    [
        ("list", {"concurrent.futures", "numpy", "statistics"}),
        ("search animals", {"statistics"}),
        ("search animals --exact --explain", set()),
        (f"ingest {SAMPLE_TEXTS}", set()),
        ("show 1", {"numpy"}),
    ],
)
def test_a_command_loads_only_what_it_uses(
    jtv: Jtv, tidb: str, command: str, more: set[str]
) -> None:
    """SQLAlchemy takes twice as long to import as all the rest of these commands."""
    jtv.environment |= {"TIDB_DATABASE_URL": tidb, "JTV_MODEL": "hashing-v1"}
    jtv.ok("init")
    jtv.ok("ingest", "-", stdin="animals\n")
    unused = {"requests", "sqlalchemy", "tidb_vector", *more}
    program = (
        "import os, sys\nfrom jtv_cli.__main__ import main\n"
        "sys.argv[:2] = ['jtv']\nos._exit = sys.exit\n"
        f"try:\n    main()\nfinally:\n    print('LOADED', *{unused} & set(sys.modules))"
    )
    result = jtv(*command.split(), prefix=[sys.executable, "-c", program])
    assert result.stdout.splitlines()[-1] == "LOADED"


class TestUnusualServer:
    def test_a_day_with_it(self, user: Jtv) -> None:
        texts = "".join(f"line {number}\n" for number in range(50))
        user.write("many.txt", texts)
        user.ok("init")
        user.ok("ingest", str(SAMPLE_TEXTS), "many.txt")
        assert len(user.ok("list").rows) == 84
        assert len(user.ok("search", "line 7", "-k", "10").rows) == 10
        user.write("many.txt", texts + "one more\n")
        user.ok("sync", "many.txt")
        assert len(user.ok("list").rows) == 85
        user.ok("delete", "--source", "many.txt", "--yes")
        assert len(user.ok("list").rows) == 34
        copied = user.ok("copy", "--from", "tidb", "--to", "other.db")
        assert len(user.ok("list", "--database", "other.db").rows) == 34, copied.stderr
        user.ok("init", "--drop", "--yes")
        assert user.ok("list").rows == []

    def test_a_batch_over_a_new_connection(self, unusual: str) -> None:
        """It is set before the transaction begins: its settings would end that."""
        cluster, seen = Cluster(unusual), []
        with Proxy(unusual) as proxy, closing(open_store(proxy.url, writable=True)) as store:
            table = make(store)
            proxy.on("^SET autocommit = 0", lose=True)
            proxy.on(
                "COMMIT", lambda: seen.extend(cluster.execute("SELECT COUNT(*) FROM documents"))
            )
            assert table.add(documents(600), vectors(600)) == (600, 600)
        assert seen == [(0,)]

    @pytest.mark.parametrize(
        "value",
        [
            "it's",
            "c:\\x",
            "\\",
            "\\'",
            "'')",
            ")>0 OR SLEEP(4)=1) -- ",
            "\\')>0 OR SLEEP(4)=1) -- ",
            '"a" || "b"',
            "%s %d %%",
            "größe\n\t\0",
        ],
    )
    def test_a_value_means_itself(self, unusual: str, value: str) -> None:
        store = open_store(unusual, writable=True)
        with closing(store):
            table = make(store)
            found = document(f"text {value}", Occurrence(f"source {value}", 1, {"k": value}))
            other = document("another", Occurrence("other", 1, {"k": "v"}))
            table.add([found, other], vectors(2))
            started = time.monotonic()
            for filter in (
                Filter(where=(Condition("k", value),)),
                Filter(where=(Condition(value, value),)),
            ):
                [hits] = table.search(vectors(1), 5, filter=filter).hits
                expected = [found.text] if filter.where[0][0] == "k" else []
                assert [hit.content for hit in hits] == expected
            assert time.monotonic() - started < 4
            assert [source.source for source in table.sources()] == ["other", f"source {value}"]
            [stored] = table.get([table.known([found.hash])[found.hash]])
            assert stored.text == found.text

    def test_a_comment_means_itself(self, unusual: str) -> None:
        """The model's name is in it."""
        spec = TableSpec("documents", "a\\b'c\"d%s/%%", "it's", DIMENSIONS)
        with closing(open_store(unusual, writable=True)) as store:
            store.apply(spec, store.plan(spec))
            assert store.open("documents").spec.model == spec.model
            assert store.plan(spec, index=False) == []

    def test_a_text_larger_than_a_packet_is_skipped(self, user: Jtv) -> None:
        user.ok("init")
        sizes = (2 * MEBIBYTE, 400_000, 400_000, 400_000)
        user.write("large.txt", "".join(f"{n} {'ab ' * (s // 3)}\n" for n, s in enumerate(sizes)))
        result = user("ingest", "large.txt", "--lines", "--no-chunk")
        assert result.code == 3, result.stderr
        assert "large.txt:1" in result.stderr
        assert len(user.ok("list").rows) == 3

    def test_its_chunks_are_stored(self, user: Jtv) -> None:
        user.ok("init")
        number = itertools.count()
        text = " ".join(f"word{next(number)}" for _ in range(MEBIBYTE // 8))
        user.ok("ingest", "-", stdin=f"{text}\nlast\n")
        found = [row[2] for row in user.ok("list").rows]
        assert len(found) > 1000
        assert " ".join(found) == f"{text} last"

    def test_texts_of_any_character_fit_into_packets(self, unusual: str) -> None:
        with closing(open_store(unusual, writable=True)) as store:
            table = make(store)
            assert table.most_bytes is not None
            texts = [
                "\\" * table.most_bytes,
                "'" * table.most_bytes,
                "ß" * (table.most_bytes // 2),
                *(str(number) + "\\" * 3000 for number in range(400)),
            ]
            added = table.add([document(text) for text in texts], vectors(len(texts)))
            assert added.documents == len(texts)


def test_setting_the_session_takes_no_round_trip(plain_tidb: str) -> None:
    with (
        Proxy(plain_tidb) as proxy,
        closing(Database(parse_url(proxy.url), pytest.fail)) as database,
    ):
        database.read(lambda connection: connection.scalar("SELECT 1"))
    # The settings, which the proxy leaves out, are sent with it.
    assert proxy.statements == ["SELECT 1"]


def test_a_server_that_lacks_a_variable(plain_tidb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another release of TiDB may: the others are set all the same."""
    monkeypatch.setattr(
        "jtv_cli.stores.tidb.driver._TIDB_SETTINGS",
        ("no_such_variable = 1", "tidb_allow_mpp = OFF"),
    )
    for more in ("", " /* \\ */", " " * (1 << 16)):  # with the settings, and after them
        with closing(Database(parse_url(plain_tidb), pytest.fail)) as database:
            mode = f"SELECT @@tidb_allow_mpp, @@sql_mode{more}"
            [row] = database.read(lambda connection: connection.rows(mode))  # noqa: B023
        assert row == (0, "STRICT_TRANS_TABLES")


@pytest.mark.parametrize("mode", ["", "NO_BACKSLASH_ESCAPES"])
@pytest.mark.parametrize("text", ["a'b", "\\", "\\'", "a\\'; --", "", "ü\\😀", "\0\n\x1a'"])
def test_a_literal_means_the_same_in_every_mode(plain_tidb: str, mode: str, text: str) -> None:
    with closing(Cluster(plain_tidb).connect()) as one, one.cursor() as cursor:
        cursor.execute(f"SET sql_mode = '{mode}'")
        cursor.execute(f"SELECT {string_literal(text)}")
        assert cursor.fetchone() == (text,)


class Noise:
    """A way to a server that changes some of the bytes that it sends."""

    def __init__(self, url: str, seed: int, after: int) -> None:
        server = Cluster(url)
        self._address = (server.host, server.port)
        self._chance = random.Random(seed)
        self._after = after
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = url.replace(f":{server.port}/", f":{self._listener.getsockname()[1]}/")

    def __enter__(self) -> Noise:
        Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError), socket.create_connection(self._address) as server:
            Thread(target=self._pass, args=(client, server, False), daemon=True).start()
            self._pass(server, client, True)

    def _pass(self, source: socket.socket, target: socket.socket, noisy: bool) -> None:
        passed = 0
        with suppress(OSError):
            while data := bytearray(source.recv(1 << 16)):
                for position in range(len(data)):
                    if noisy and passed + position >= self._after and self._chance.random() < 0.01:
                        data[position] = self._chance.randrange(256)
                passed += len(data)
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("seed", range(16))
def test_corrupted_bytes_are_no_defect_of_jtv(
    plain_tidb: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing protects them, any may arrive; nothing but a StoreError may come of it."""
    monkeypatch.setattr(connection, "_BACKOFF_SECONDS", (0.0, 0.0))
    monkeypatch.setattr(connection, "_ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(connection, "_CONNECT_SECONDS", 0.5)
    with closing(open_store(plain_tidb, writable=True)) as store:
        make(store).add(documents(30), vectors(30))
    works: list[Any] = [
        lambda table: list(table.read(vectors=True)),
        lambda table: table.search(vectors(2), 5, explain=True),
        lambda table: table.search(vectors(1), 5, filter=Filter("te*")),
        lambda table: list(table.rank(vectors(1)[0])),
        lambda table: table.sources(),
        lambda table: table.index_status(),
        lambda table: table.add(documents(3, "more"), vectors(3)),
    ]
    with Noise(plain_tidb, seed, after=300 + 90 * seed) as noise:
        for work in works:
            with closing(open_store(noise.url, writable=True)) as store, suppress(StoreError):
                work(store.open("documents"))
