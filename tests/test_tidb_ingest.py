"""`jtv ingest` on TiDB: nothing is lost, stored twice or paid for again, whatever fails."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from contextlib import closing
from threading import Thread
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from jtv_cli.records import Occurrence, SourceLine
from jtv_cli.stores import open_store
from jtv_cli.stores.tidb.driver import DriverConnection
from jtv_cli.text import text_hash
from tables import document, documents, make, vectors
from tidb_cluster import Cluster, TidbServer
from tidb_proxy import Proxy
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Jtv
    from jina_api import Reply
    from jina_server import JinaServer

TABLE = "jinaai_tidb_demo_documents"
OFFLINE = ("--model", "hashing-v1")
VECTOR = np.ones((1, 768), np.float32)
BATCH_COMMIT = "(?s)INSERT INTO .*_occurrences.*COMMIT;"
LINES = [f"line {number} of the file" for number in range(3000)]


@pytest.fixture
def offline(jtv: Jtv, plain_tidb: str) -> Jtv:
    """A user with a table of the offline model."""
    jtv.environment["TIDB_DATABASE_URL"] = plain_tidb
    jtv.ok("init", *OFFLINE)
    jtv.write("lines.txt", "\n".join(LINES))
    return jtv


@pytest.fixture
def paying(keyed: Jtv, plain_tidb: str) -> Jtv:
    """A user with a table of the API's model, who sends one request after the other."""
    keyed.environment["TIDB_DATABASE_URL"] = plain_tidb
    keyed.ok("init")
    keyed.write("lines.txt", "\n".join(LINES))
    return keyed


INGEST = ("ingest", "lines.txt", "--concurrency", "1")


def database(jtv: Jtv) -> Cluster:
    return Cluster(jtv.environment["TIDB_DATABASE_URL"])


def count(jtv: Jtv, what: str) -> int:
    ((found,),) = database(jtv).execute(f"SELECT COUNT(*) FROM {what}")
    return int(found)


def assert_complete(jtv: Jtv, sources: int = 1) -> None:
    """Hold that each line is stored once, with all the places where it was read."""
    found = database(jtv).execute(f"SELECT content FROM {TABLE}")
    assert sorted(text for (text,) in found) == sorted(LINES)
    assert count(jtv, f"{TABLE}_occurrences") == sources * len(LINES)
    assert count(jtv, f"{TABLE}_sources") == sources
    orphans = f"{TABLE}_occurrences o LEFT JOIN {TABLE} d ON o.document = d.id WHERE d.id IS NULL"
    assert count(jtv, orphans) == 0


def at_request(api: JinaServer, number: int, action: Callable[[], object]) -> None:
    """Do something while a request is being answered."""

    def fault(reply: Reply) -> Reply:
        action()
        return reply

    api.misbehave(fault, when=lambda _: len(api.requests) == number)


def test_a_table_of_any_name(jtv: Jtv, plain_tidb: str) -> None:
    """Statements that check the privileges name the table twice."""
    jtv.environment |= {"TIDB_DATABASE_URL": plain_tidb, "JTV_TABLE": "old"}
    jtv.ok("init", *OFFLINE)
    jtv.ok("ingest", "-", stdin="a\n")
    assert [row[2] for row in jtv.ok("list").rows] == ["a"]


def test_two_processes_with_the_same_texts(offline: Jtv) -> None:
    processes = [
        offline.start(
            "ingest", "-", "--source", name, "--json",
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for name in ("one", "other")
    ]  # fmt: skip
    orders = (LINES, LINES[::-1])
    for process, lines in zip(processes, orders, strict=True):
        assert process.stdin
        process.stdin.write("\n".join(lines).encode())
        process.stdin.close()
        process.stdin = None
    reports = []
    for process in processes:
        stdout, stderr = process.communicate(timeout=120)
        assert process.returncode == 0, stderr
        reports.append(json.loads(stdout))
    assert sum(report["stored"] for report in reports) == len(LINES)
    assert sum(report["known"] for report in reports) == len(LINES)
    assert_complete(offline, sources=2)


def test_a_text_that_is_too_large_is_named(offline: Jtv) -> None:
    most = (6 << 20) - 1024 - 4 * 768
    offline.write("large.txt", f"a\n{'b' * most}\n{'c' * (most + 1)}\nd\n")
    said = f"large.txt:3: {most + 1:,} bytes are more than the {most:,} the store takes, skipped"
    for command in (["ingest", "--dry-run"], ["ingest"]):
        result = offline(*command, "--lines", "--no-chunk", "large.txt")
        assert result.code == 3
        assert said in result.stderr
    assert "3 stored" in result.counts


def test_metadata_that_is_too_large_is_named_before_it_is_paid_for(
    paying: Jtv, api: JinaServer
) -> None:
    records = [{"text": f"paid {number}", "m": "数"} for number in range(100)]
    records[5]["m"] = "数" * (7 << 20)
    paying.write("large.jsonl", "\n".join(map(json.dumps, records)))
    said = "large.jsonl:6: with its metadata, 22,020,"
    for command in (["ingest", "--dry-run"], ["ingest"], ["ingest"]):
        result = paying(*command, "large.jsonl")
        assert result.code == 3
        assert said in result.stderr
        assert "bytes are more than the 6,287,360 the store takes, skipped" in result.stderr
    assert sorted(api.bill) == sorted(f"paid {number}" for number in range(100) if number != 5)
    # Where the text is known.
    paying.ok("ingest", "-", stdin="paid 5\n")
    assert said in paying("ingest", "large.jsonl").stderr


def test_metadata_that_is_too_large_is_not_copied(offline: Jtv) -> None:
    local = {"JTV_DATABASE": "local.db"}
    record = {"text": "a", "m": "x" * (7 << 20)}
    offline.write("large.jsonl", f'{json.dumps(record)}\n{{"text": "b"}}')
    offline.ok("init", *OFFLINE, "--table", "t", env=local)
    offline.ok("ingest", "large.jsonl", "--table", "t", env=local)
    result = offline("copy", "--from", "local.db", "--to", "tidb", "--table", "t")
    assert result.code == 3
    assert "with its metadata, 7,340," in result.stderr
    assert [row[2] for row in offline.ok("list", "--table", "t").rows] == ["b"]


@pytest.mark.parametrize(
    "large",
    [{"text": "b" * 200_000}, {"text": "b", "m": "c" * 200_000}, {"text": "a", "m": "c" * 200_000}],
)
def test_what_is_too_large_for_a_cluster_that_takes_less_is_named(
    offline: Jtv, plain_server: TidbServer, large: dict[str, str]
) -> None:
    offline.ok("ingest", "-", stdin="a\n")
    offline.write(
        "l.jsonl", "\n".join(map(json.dumps, ({"text": "d" * 9000}, large, {"text": "e"})))
    )
    plain_server.execute("SET GLOBAL tidb_txn_entry_size_limit = 100000")
    try:
        result = offline("ingest", "l.jsonl")
    finally:
        plain_server.execute("SET GLOBAL tidb_txn_entry_size_limit = 0")
    assert result.code == 5
    assert result.error.startswith("jtv: error: l.jsonl:2: ")
    assert "larger than the 6 MiB that TiDB accepts" in result.error


def test_no_transaction_grows_with_the_places(offline: Jtv, plain_tidb: str) -> None:
    """TiDB Cloud Starter takes 10 MiB in one, whatever that is made of."""
    offline.ok("ingest", "-", stdin="text\n")
    with Proxy(plain_tidb) as proxy, closing(open_store(proxy.url, writable=True)) as store:
        table = store.open(TABLE)
        [number] = table.known([text_hash("text")]).values()
        for size in (1, 1000):
            places = [SourceLine(line, number, {"a": "数" * size}) for line in range(1, 6001)]
            assert table.add_occurrences("file.txt", places) == len(places)
        table.add([document("text", *(Occurrence("x", *place[::2]) for place in places))], VECTOR)
        sent = "\n".join(proxy.statements).encode().split(b"COMMIT")
    assert max(map(len, sent)) < 10 << 20
    assert count(offline, f"{TABLE}_occurrences") == 1 + 2 * len(places)


def test_any_text_comes_back_as_it_was(offline: Jtv) -> None:
    texts = ["😀 naïve 数学", "%s :name \\ ' \" ; -- `x`", "a\0b", "A", "a", "ä", "\u202eabc"]
    # As JSON, because a NUL byte in lines of text is taken for a binary file.
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    offline.ok("ingest", "-", "--input", "jsonl", stdin=lines)
    assert [record["content"] for record in offline.ok("list", "--json").records] == texts


@pytest.mark.parametrize("is_refused", [False, True])
def test_most_rows_go_in_the_binary_protocol(
    plain_tidb: str, plain_server: TidbServer, is_refused: bool
) -> None:
    """The server takes less than half the time to read them."""
    odd = ["", "'", "\\", "😀 数学", "a\0b", "%s ? :x", "\x1a", "x" * 250, "x" * 251, "ä" * 70_000]
    some = [document(text, Occurrence("odd", 1)) for text in odd] + documents(590)
    some_vectors = vectors(len(some))
    if is_refused:
        plain_server.execute("SET GLOBAL max_prepared_stmt_count = 0")
    try:
        with Proxy(plain_tidb) as proxy, closing(open_store(proxy.url, writable=True)) as store:
            table = make(store)
            assert table.add(some, some_vectors) == (600, 600)
            sent = [
                sql
                for statements in proxy.statements
                for sql in statements.split(";\n")
                if sql.startswith("INSERT INTO `documents` ")
            ]
            rows = len(re.findall("x'[0-9a-f]{64}'", "".join(sent)))
            assert rows == (600 if is_refused else 600 - 2 * 256)
            assert table.add(some, some_vectors) == (0, 0)
            stored = list(table.read(vectors=True))
    finally:
        plain_server.execute("SET GLOBAL max_prepared_stmt_count = -1")
    assert [each.text for each in stored] == [each.text for each in some]
    assert [each.hash for each in stored] == [each.hash for each in some]
    assert all(
        np.array_equal(each.vector, vector)
        for each, vector in zip(stored, some_vectors, strict=True)
        if each.vector is not None
    )
    assert all(each.vector is not None for each in stored)


def test_a_server_that_has_not_prepared_the_statement(
    plain_tidb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy may move a session to another server."""
    monkeypatch.setattr(DriverConnection, "_prepare", lambda *_: 4711)
    with closing(open_store(plain_tidb, writable=True)) as store:
        assert make(store).add(documents(600), vectors(600)) == (600, 600)


@pytest.mark.parametrize(
    ("words", "after"),
    [
        ("INSERT INTO", False),
        ("^COMMIT", False),
        ("^COMMIT", True),
        ("occurrences", True),
        (BATCH_COMMIT, False),
        (BATCH_COMMIT, True),
    ],
)
def test_a_connection_that_is_lost(
    paying: Jtv, api: JinaServer, words: str, after: bool, plain_tidb: str
) -> None:
    with Proxy(plain_tidb) as proxy:
        proxy.on(words, after=after, lose=True)
        result = paying.ok(*INGEST, env={"TIDB_DATABASE_URL": proxy.url})
    said = [line for line in result.stderr.splitlines() if "retrying" in line]
    assert len(said) == 1
    assert "lost the connection to 127.0.0.1:" in said[0]
    assert said[0].endswith("without counting what may have been committed") is ("COMMIT" in words)
    assert_complete(paying)
    assert sorted(api.bill) == sorted(LINES)


def test_nothing_of_a_transaction_that_is_rolled_back_is_stored(
    plain_tidb: str,
) -> None:
    """TiDB rolls back the whole of it in a deadlock, and more of it was sent by then."""
    some, some_vectors = documents(1024), vectors(1024)
    columns = "INSERT INTO documents (content, content_hash, content_vec) VALUES (%s, %s, %s)"

    def row(number: int) -> tuple[str, bytes, str]:
        return some[number].text, some[number].hash, "[1,1,1,1,1,1,1,1]"

    cluster, seen = Cluster(plain_tidb), []
    with (
        closing(open_store(plain_tidb, writable=True)) as store,
        closing(cluster.connect()) as first,
        closing(cluster.connect()) as other,
    ):
        table = make(store)

        def lock(connection: Any, number: int) -> None:
            with connection.cursor() as cursor:
                cursor.execute(columns, row(number))

        first.begin()
        lock(first, 300)  # of the second statement
        other.begin()
        lock(other, 600)  # of the third
        adding = Thread(target=lambda: seen.append(table.add(some, some_vectors)))
        adding.start()
        waiting = "SELECT COUNT(*) FROM information_schema.data_lock_waits"
        wait_until(lambda: cluster.execute(waiting) == [(1,)])
        other_waits = Thread(target=lock, args=(other, 0))
        other_waits.start()
        wait_until(lambda: cluster.execute(waiting) == [(2,)])
        first.rollback()
        other_waits.join()
        other.rollback()
        adding.join()
        assert [each.text for each in table.read()] == [each.text for each in some]
    assert seen == [(1024, 1024)]


def test_requests_are_sent_while_documents_are_stored(
    paying: Jtv, api: JinaServer, plain_tidb: str
) -> None:
    """The API turns out to take half a batch, so that the next two batches are four requests."""
    api.max_items, api.latency = 256, 0.2
    paying.write("lines.txt", "\n".join(LINES[:2048]))
    with Proxy(plain_tidb) as proxy:
        proxy.on(BATCH_COMMIT, lambda: wait_until(lambda: len(api.bill) == 2048))
        paying.ok("ingest", "lines.txt", "--concurrency", "2", env={"TIDB_DATABASE_URL": proxy.url})
    assert count(paying, TABLE) == 2048


# Runs jtv with as many attempts as ever, but hardly a pause between them.
HASTY = [
    sys.executable,
    "-c",
    "import sys\n"
    "from jtv_cli.__main__ import main\n"
    "from jtv_cli.stores.tidb import connection\n"
    "connection._BACKOFF_SECONDS = (0.01,) * len(connection._BACKOFF_SECONDS)\n"
    "sys.argv[:2] = ['jtv']\n"
    "main()\n",
]


@pytest.mark.parametrize("words", ["^COMMIT", BATCH_COMMIT])
def test_a_connection_that_is_lost_again_and_again(
    paying: Jtv, api: JinaServer, plain_tidb: str, words: str
) -> None:
    with Proxy(plain_tidb) as proxy:
        proxy.on(words, lose=True, times=None)
        result = paying(*INGEST, env={"TIDB_DATABASE_URL": proxy.url}, prefix=HASTY)
    assert result.code == 5
    assert result.error.startswith("jtv: error: lost the connection to 127.0.0.1:")
    assert result.error.endswith("\nhint: run the same command again")
    attempts = sum(re.search(words, sql) is not None for sql in proxy.statements)
    assert result.stderr.count("retrying") == attempts / 6 >= 1
    paying.ok(*INGEST)
    assert_complete(paying)
    assert len(api.bill) <= len(LINES) + 2 * 512


def test_another_holds_the_same_text(
    paying: Jtv, api: JinaServer, plain_server: TidbServer
) -> None:
    """A transaction that lasts longer than the server waits for its lock is waited for."""
    columns = "content, content_hash, content_vec"
    row = (LINES[0], text_hash(LINES[0]), str([0.1] * 768))
    plain_server.execute("SET GLOBAL innodb_lock_wait_timeout = 1")
    try:
        with closing(database(paying).connect()) as other, other.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute(f"INSERT INTO {TABLE} ({columns}) VALUES (%s, %s, %s)", row)
            process = paying.start(*INGEST, stderr=subprocess.PIPE)
            assert process.stderr
            while b"retrying" not in (said := process.stderr.readline()):
                assert said, "it has ended"
            cursor.execute("ROLLBACK")
        _, stderr = process.communicate(timeout=120)
    finally:
        plain_server.execute("SET GLOBAL innodb_lock_wait_timeout = DEFAULT")
    assert process.returncode == 0, stderr
    assert b"other processes are writing to the same rows" in said
    assert_complete(paying)
    assert sorted(api.bill) == sorted(LINES)


@pytest.mark.parametrize("comes_back", [False, True])
def test_the_server_stops(
    paying: Jtv,
    api: JinaServer,
    start_tidb: Callable[..., TidbServer],
    tmp_path: Path,
    comes_back: bool,
) -> None:
    server = start_tidb(data=tmp_path / "data")
    paying.environment["TIDB_DATABASE_URL"] = server.url("test")
    paying.ok("init")

    def stop() -> None:
        # Else this server, killed while it stores, may lose what it said it had stored.
        while count(paying, f"{TABLE}_occurrences") < sum(len(r.texts) for r in api.requests[:-1]):
            pass
        database(paying).execute(f"ADMIN CHECK TABLE {TABLE}, {TABLE}_occurrences")
        (server.restart if comes_back else server.kill)()

    at_request(api, 4, stop)
    result = paying(*INGEST, prefix=[] if comes_back else HASTY)
    if comes_back:
        assert result.code == 0, result.stderr
    else:
        assert result.code == 5
        assert result.error.startswith(
            f"jtv: error: cannot connect to 127.0.0.1:{server.port}/test\nhint: "
        )
        assert "retrying" in result.stderr
        server.restart()
        stored = count(paying, TABLE)
        assert stored >= 512
        again = json.loads(paying.ok(*INGEST, "--json").stdout)
        assert (again["stored"], again["known"]) == (len(LINES) - stored, stored)
    assert_complete(paying)
    assert len(api.bill) <= len(LINES) + 2 * 512


DROPPED = (
    "dropped while this command was running\n"
    "hint: list the tables with: jtv tables; create it again with: jtv init"
)


@pytest.mark.parametrize(
    ("action", "says"),
    [
        (["init", "--drop", "--yes"], f"table {TABLE} was renamed or dropped while"),
        (None, DROPPED),
    ],
    ids=["made anew", "dropped"],
)
def test_the_table_is_dropped_meanwhile(
    paying: Jtv, api: JinaServer, action: list[str] | None, says: str
) -> None:
    def drop() -> Any:
        if action:
            return paying.ok(*action)
        return database(paying).execute(f"DROP TABLE {TABLE}")

    at_request(api, 3, drop)
    result = paying(*INGEST)
    assert result.code == 5
    assert says in result.error
    paying.ok("init")
    assert paying.ok("list").stdout == ""
    paying.ok(*INGEST)
    assert_complete(paying)


@pytest.mark.parametrize("missing", ["INSERT", "UPDATE"])
def test_without_the_right_to_write_nothing_is_paid_for(
    paying: Jtv, plain_server: TidbServer, api: JinaServer, missing: str
) -> None:
    name = paying.environment["TIDB_DATABASE_URL"].rpartition("/")[2]
    rights = ", ".join({"SELECT", "INSERT", "UPDATE"} - {missing})
    url = plain_server.limited_url(name, rights)
    result = paying(*INGEST, env={"TIDB_DATABASE_URL": url})
    assert (result.code, api.bill) == (5, [])
    assert result.is_one_error
    line = result.error
    assert f"missing privilege: {missing} command denied" in line
    assert paying.ok("list").stdout == ""


@pytest.mark.parametrize("part", ["sources", "occurrences"])
def test_with_the_right_to_write_documents_alone_nothing_is_paid_for(
    paying: Jtv, plain_server: TidbServer, api: JinaServer, part: str
) -> None:
    name = paying.environment["TIDB_DATABASE_URL"].rpartition("/")[2]
    url = plain_server.limited_url(name, "SELECT")
    for table in {TABLE, f"{TABLE}_sources", f"{TABLE}_occurrences"} - {f"{TABLE}_{part}"}:
        plain_server.execute(f"GRANT INSERT, UPDATE ON {name}.{table} TO 'some.user'")
    result = paying(*INGEST, env={"TIDB_DATABASE_URL": url})
    assert (result.code, api.bill) == (5, [])
    assert f"INSERT command denied to user 'some.user'@'%' for table '{TABLE}_{part}'" in (
        result.error
    )


@pytest.mark.parametrize("part", ["sources", "occurrences"])
def test_a_part_that_is_missing_is_made_by_init(paying: Jtv, api: JinaServer, part: str) -> None:
    paying.write("first.txt", "\n".join(LINES[:10]))
    paying.ok("ingest", "first.txt")
    database(paying).execute(f"DROP TABLE {TABLE}_{part}")
    result = paying(*INGEST)
    assert (result.code, sorted(api.bill)) == (5, sorted(LINES[:10]))
    assert result.error.endswith(DROPPED)
    said = paying.ok("init").stderr
    parts = f"{TABLE}_sources and {TABLE}_occurrences"
    assert f"recreate {parts}, because {TABLE}_{part} is missing" in said
    assert f"Repaired table {TABLE}" in said
    assert json.loads(paying.ok("init", "--no-index", "--json").stdout)["changes"] == []
    paying.ok(*INGEST)
    assert_complete(paying)
    assert sorted(api.bill) == sorted(LINES)


def test_a_document_that_is_deleted_meanwhile_is_new_again(offline: Jtv) -> None:
    """Between the lookup of a text and the transaction that stores where it was read again."""
    offline.write("one.txt", "some text\nanother\n")
    offline.write("two.txt", "some text\n")
    offline.ok("ingest", "one.txt")
    [old] = [row[1] for row in offline.ok("list").rows if row[2] == "some text"]
    with Proxy(offline.environment["TIDB_DATABASE_URL"]) as proxy:
        proxy.on("^SET autocommit = 0", lambda: offline.ok("delete", old, "--yes"))
        env = {"TIDB_DATABASE_URL": proxy.url}
        report = json.loads(offline.ok("ingest", "two.txt", "--json", env=env).stdout)
    assert report["stored"] == 1
    [new] = [row for row in offline.ok("list").rows if row[2] == "some text"]
    assert new[1] != old
    assert new[3].endswith("two.txt")


def test_a_comment_that_says_more_is_the_same_tables(offline: Jtv) -> None:
    """Someone has edited it; the identity in it is what counts."""
    ((comment,),) = database(offline).execute(
        "SELECT table_comment FROM information_schema.tables"
        f" WHERE table_schema = DATABASE() AND table_name = '{TABLE}'"
    )
    more = json.dumps({"owner": "search team"} | json.loads(comment), indent=1)
    database(offline).execute(f"ALTER TABLE {TABLE} COMMENT = %s", more)
    offline.ok("ingest", "lines.txt")
    assert count(offline, TABLE) == len(LINES)
