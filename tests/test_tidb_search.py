"""`jtv search` and `jtv list` on TiDB: what the index can answer, and the same as elsewhere."""

from __future__ import annotations

import re
from threading import Barrier
from typing import TYPE_CHECKING

import pytest

from conftest import SAMPLE_TEXTS
from tidb_cluster import Cluster, TidbServer
from tidb_proxy import Proxy

if TYPE_CHECKING:
    from conftest import Jtv

TABLE = "jinaai_tidb_demo_documents"
QUERIES = ["What is TiDB?", "größte Insel"]
ZERO = "[" + ",".join("0" * 768) + "]"


@pytest.fixture
def flash(jtv: Jtv, tiflash_tidb: str) -> Jtv:
    """A user of a table with the sample texts and no index."""
    jtv.environment["TIDB_DATABASE_URL"] = tiflash_tidb
    jtv.ok("init", "--no-index", "--model", "hashing-v1")
    # Without statistics, which would come at some time, the optimizer takes any table for a
    # large one.
    execute(jtv, f"LOCK STATS {TABLE}")
    jtv.ok("ingest", str(SAMPLE_TEXTS))
    return jtv


@pytest.fixture
def indexed(flash: Jtv) -> Jtv:
    flash.ok("init")
    return flash


def execute(jtv: Jtv, sql: str) -> list[tuple[object, ...]]:
    return Cluster(jtv.environment["TIDB_DATABASE_URL"]).execute(sql)


def explained(jtv: Jtv, *options: str) -> str:
    return jtv.ok("search", QUERIES[0], "--explain", *options).stderr


@pytest.mark.parametrize("is_exact", [False, True])
def test_the_statement_that_is_sent(indexed: Jtv, tiflash_tidb: str, is_exact: bool) -> None:
    with Proxy(tiflash_tidb) as proxy:
        options = ("--exact",) if is_exact else ()
        indexed.ok("search", QUERIES[0], *options, env={"TIDB_DATABASE_URL": proxy.url})
    (together,) = [sql for sql in proxy.statements if "vec_cosine_distance" in sql.lower()]
    sent, _ = together.split(";\n")
    assert "WHERE" not in sent
    assert len(re.findall(r"\[[-0-9.,e]+\]", sent)) == 1, "the vector is sent once"
    plan = str(execute(indexed, f"EXPLAIN {sent}"))
    assert ("annIndex:COSINE(content_vec..[" in plan) == (not is_exact)


def test_each_round_trip_is_needed(indexed: Jtv, tiflash_tidb: str) -> None:
    with Proxy(tiflash_tidb) as proxy:
        indexed.ok("search", QUERIES[0], env={"TIDB_DATABASE_URL": proxy.url})
    # The occurrences come with the hits.
    assert [sql.split(maxsplit=2)[:2] for sql in proxy.statements] == [
        ["SELECT", "table_name,"],
        ["WITH", "near"],
    ]


@pytest.mark.parametrize("options", [(), ("--exact",), ("--source", "*.txt")])
def test_many_queries_go_over_several_connections(
    indexed: Jtv, tiflash_tidb: str, options: tuple[str, ...]
) -> None:
    """One of them is lost, so that its queries are sent again."""
    queries = [f"{query} {number}" for number in range(20) for query in QUERIES]
    file = indexed.write("queries.txt", "\n".join(queries))
    meeting = Barrier(3, timeout=30)
    with Proxy(tiflash_tidb) as proxy:
        proxy.on("^WITH near", lose=True)
        proxy.on("^WITH near", meeting.wait, times=3)
        found = indexed.ok(
            *("search", "--queries", str(file), "--json", *options),
            env={"TIDB_DATABASE_URL": proxy.url},
        )
    assert not meeting.broken
    assert found.stderr.count("retrying") == 1
    assert [record["query"] for record in found.records] == queries
    for number in (0, 19, 39):
        alone = indexed.ok("search", queries[number], "--json", *options).records
        assert found.records[number]["hits"] == alone


def test_it_agrees_with_the_embedded_store(indexed: Jtv) -> None:
    embedded = ("--database", "other.db")
    indexed.ok("init", "--model", "hashing-v1", *embedded)
    indexed.ok("ingest", str(SAMPLE_TEXTS), *embedded)
    for query in QUERIES:
        for options in ((), ("--exact", "-k", "100")):
            ours, theirs = (
                [(r["distance"], r["id"], r["source"], r["line"]) for r in found.records]
                for found in (
                    indexed.ok("search", query, "--json", *options),
                    indexed.ok("search", query, "--json", *options, *embedded),
                )
            )
            assert len(ours) == len(theirs) == (34 if "100" in options else 5)
            wanted = {number: rest for _, number, *rest in theirs}
            for (one, number, *rest), (other, *_) in zip(ours, theirs, strict=True):
                assert one == pytest.approx(other, abs=1e-5)
                assert wanted.get(number, rest) == rest


def test_list_agrees_with_search(indexed: Jtv) -> None:
    found = indexed.ok("search", QUERIES[0], "-k", "34").rows
    ranked = indexed.ok("list", QUERIES[0], "--sort", "distance").rows
    assert {row[1]: row for row in found} == {row[1]: row for row in ranked}
    assert [row[0] for row in found] == [row[0] for row in ranked]
    listed = indexed.ok("list", QUERIES[0]).rows
    assert sorted(map(tuple, listed)) == sorted(map(tuple, found))


@pytest.mark.tidb
@pytest.mark.parametrize("user", ["flash", "indexed"])
def test_rows_without_a_distance(user: str, request: pytest.FixtureRequest) -> None:
    jtv: Jtv = request.getfixturevalue(user)
    before = jtv.ok("search", QUERIES[0]).rows
    for number in range(20):
        execute(
            jtv,
            f"INSERT INTO {TABLE} (content, content_vec, content_hash)"
            f" VALUES ('nothing', '{ZERO}', UNHEX(SHA2('{number}', 256)))",
        )
    assert jtv.ok("search", QUERIES[0]).rows == before
    assert len(jtv.ok("search", QUERIES[0], "-k", "100").rows) == 34
    ranked = jtv.ok("list", QUERIES[0], "--sort", "distance").rows
    assert [row[0] for row in ranked[34:]] == ["-"] * 20
    execute(jtv, f"DELETE FROM {TABLE} WHERE content <> 'nothing'")
    assert jtv("search", QUERIES[0]).code == 1


def test_no_index_is_explained(flash: Jtv) -> None:
    assert explained(flash) == "no index was used: the table has none; create it with: jtv init\n"
    exact = "no index was used: --exact compares all vectors\n"
    assert explained(flash, "--exact") == exact


def test_an_index_is_explained(indexed: Jtv) -> None:
    assert explained(indexed) == "the vector index was used\n"
    assert "--exact" in explained(indexed, "--exact")
    execute(indexed, f"UNLOCK STATS {TABLE}")
    execute(indexed, f"ANALYZE TABLE {TABLE}")
    assert "the optimizer chose a full scan (small table)" in explained(indexed)


def test_a_search_that_documents_without_a_distance_kept_from_the_index(indexed: Jtv) -> None:
    execute(
        indexed,
        f"INSERT INTO {TABLE} (content, content_vec, content_hash)"
        f" VALUES ('nothing', '{ZERO}', UNHEX(SHA2('nothing', 256)))",
    )
    why = "documents without a distance made it a full scan"
    for more in ([], ["--source", "*.txt"]):
        assert explained(indexed, "-k", "2", *more).startswith(f"the vector index was used; {why}")
        assert why not in explained(indexed, "-k", "2", "--exact", *more)


def test_an_index_that_is_not_ready_is_explained(flash: Jtv, tiflash_server: TidbServer) -> None:
    tiflash_server.set_index("building")
    flash.ok("init", "--no-wait")
    assert explained(flash) == "no index was used: vector index: 500 of 2,000 rows\n"


def test_a_search_says_nothing_of_itself(flash: Jtv) -> None:
    """Notes are for those who write: a cron job's search is silent."""
    for command in (["search", "x"], ["list"], ["list", "x"], ["search", "x", "--max-distance=0"]):
        assert flash(*command).stderr == ""
    for command in (["init", "--no-index"], ["ingest", str(SAMPLE_TEXTS)]):
        assert "has no vector index: searches are full scans" in flash.ok(*command).stderr


def test_an_index_whose_replica_was_removed(indexed: Jtv) -> None:
    """The server then fails with an inner error at whatever reads the table."""
    before = indexed.ok("search", QUERIES[0]).rows
    execute(indexed, f"ALTER TABLE {TABLE} SET TIFLASH REPLICA 0")
    for command in (["search", "x"], ["list"], ["ingest", str(SAMPLE_TEXTS)], ["init"]):
        result = indexed(*command)
        assert result.code == 5
        assert "vector index without a TiFlash replica" in result.stderr
        assert "jtv index build" in result.stderr
        assert "nil pointer" not in result.stderr
    assert "jtv index build" in indexed("doctor", "--no-api").stdout
    status = indexed("index", "status")
    assert "failed" in status.stdout
    assert "no TiFlash replica; repair it with: jtv index build" in status.stdout
    indexed.ok("index", "build")
    assert indexed.ok("search", QUERIES[0]).rows == before
    assert explained(indexed) == "the vector index was used\n"


def test_a_document_that_is_deleted_while_the_index_is_checked(indexed: Jtv) -> None:
    with Proxy(indexed.environment["TIDB_DATABASE_URL"]) as proxy:
        newest = f"DELETE FROM {TABLE} ORDER BY id DESC LIMIT 1"
        proxy.on("(?i)SELECT min", lambda: execute(indexed, newest), after=True)
        found = indexed.ok("index", "check", env={"TIDB_DATABASE_URL": proxy.url})
    assert any("DELETE" not in sql and "min(" in sql.lower() for sql in proxy.statements)
    assert found.stdout
