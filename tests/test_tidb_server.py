"""The TiDB of the tests does what the other tests rely on, or they would prove nothing."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pymysql
import pytest
from pymysql.constants import CLIENT

import tidb_cluster
from tidb_cluster import VERSION, Cluster, NoServerError
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tidb_cluster import Certificate, TidbServer

TABLE = "CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, v VECTOR(3) NOT NULL)"
ROWS = "INSERT INTO t (v) VALUES ('[0,1,0]'), ('[1,0,0]'), ('[1,1,0]')"
REPLICA = "ALTER TABLE t SET TIFLASH REPLICA 1"
INDEX = "VECTOR INDEX i ((VEC_COSINE_DISTANCE(v))) USING HNSW"
ADD_INDEX = f"ALTER TABLE t ADD {INDEX}"
NEAREST = "SELECT id, VEC_COSINE_DISTANCE(v, '[1,0,0]') AS d FROM t ORDER BY d LIMIT 2"


def filled(url: str) -> Cluster:
    cluster = Cluster(url)
    cluster.execute(TABLE)
    cluster.execute(ROWS)
    return cluster


@pytest.fixture
def cluster(tidb: str) -> Cluster:
    return filled(tidb)


@pytest.fixture
def plain(plain_tidb: str) -> Cluster:
    return filled(plain_tidb)


@pytest.fixture
def tiflash(tiflash_tidb: str) -> Cluster:
    return filled(tiflash_tidb)


def available(cluster: Cluster) -> object:
    ((available,),) = cluster.execute(
        "SELECT available FROM information_schema.tiflash_replica WHERE table_schema = DATABASE()"
    )
    return available


def replicate(cluster: Cluster) -> None:
    cluster.execute(REPLICA)
    wait_until(lambda: available(cluster))


def rows_to_index(cluster: Cluster) -> list[tuple[Any, ...]]:
    """Of every node."""
    return cluster.execute(
        "SELECT rows_stable_not_indexed FROM information_schema.tiflash_indexes "
        "WHERE tidb_database = DATABASE() AND index_name = 'i'"
    )


def is_gone(cluster: Cluster) -> bool:
    try:
        cluster.connect().close()
    except pymysql.OperationalError as error:
        return "Can't connect" in str(error)
    return False


def last_job(cluster: Cluster) -> tuple[object, object]:
    """The kind and the state of the youngest change of a schema."""
    job = cluster.execute("ADMIN SHOW DDL JOBS 1")[0]
    return job[3], job[11]


def refusal(cluster: Cluster, sql: str) -> tuple[int, str]:
    with pytest.raises(pymysql.MySQLError) as refused:
        cluster.execute(sql)
    code, message = refused.value.args
    return code, message


@pytest.mark.parametrize(
    ("sql", "answer"),
    [
        ("SELECT VEC_DIMS('[1,2,3]')", 3),
        ("SELECT VEC_L2_NORM('[3,4]')", 5),
        ("SELECT VEC_AS_TEXT(VEC_FROM_TEXT('[1, 2.5]'))", "[1,2.5]"),
        ("SELECT VEC_COSINE_DISTANCE('[1,0]', '[0,1]')", 1),
        ("SELECT VEC_COSINE_DISTANCE('[1,0]', '[0,0]')", None),
        ("SELECT VEC_L2_DISTANCE('[1,0]', '[4,4]')", 5),
        ("SELECT VEC_L1_DISTANCE('[1,0]', '[4,4]')", 7),
        ("SELECT VEC_NEGATIVE_INNER_PRODUCT('[1,2]', '[3,4]')", -11),
    ],
)
def test_vector_functions(tidb: str, sql: str, answer: object) -> None:
    assert Cluster(tidb).execute(sql) == [(answer,)]


def test_vectors_are_stored_as_float32_and_searched(cluster: Cluster) -> None:
    cluster.execute("INSERT INTO t (id, v) VALUES (9, '[0.1,16777217,0]')")
    ((vector,),) = cluster.execute("SELECT v FROM t WHERE id = %s", 9)
    assert vector == "[0.1,16777216,0]"
    assert [row[0] for row in cluster.execute(NEAREST)] == [2, 3]


def test_what_it_says_it_is(plain_server: TidbServer, plain_tidb: str) -> None:
    ((version, text),) = Cluster(plain_tidb).execute("SELECT VERSION(), TIDB_VERSION()")
    assert version == f"8.0.11-TiDB-{VERSION}"
    assert f"Release Version: {VERSION}" in text
    plain_server.set_version("8.0.36")
    with closing(plain_server.connect()) as connection:
        assert vars(connection)["server_version"] == "8.0.36"
    assert plain_server.execute("SELECT VERSION()") == [("8.0.36",)]
    plain_server.set_version()
    assert plain_server.execute("SELECT VERSION()") == [(version,)]


@pytest.mark.parametrize(
    ("sql", "code", "words"),
    [
        (REPLICA, 1105, "should be less than the total tiflash server count: 0"),
        (ADD_INDEX, 8200, "unsupported empty TiFlash replica, the replica is nil"),
        (f"CREATE TABLE u (v VECTOR(3), {INDEX})", 8200, "unsupported TiFlash store count is 0"),
        ("CREATE TABLE u (v VECTOR(16384))", 1105, "cannot have more than 16383 dimensions"),
        ("INSERT INTO t (v) VALUES ('[1,2]')", 1105, "2 dimensions, does not fit VECTOR(3)"),
        ("INSERT INTO t (v) VALUES ('[NaN,0,0]')", 1105, "Invalid vector text"),
        ("SELECT VEC_COSINE_DISTANCE(v, '[1]') FROM t", 1105, "different dimensions: 3 and 1"),
        ("SELECT * FROM nowhere", 1146, "doesn't exist"),
    ],
)
def test_what_a_cluster_without_tiflash_refuses(
    plain: Cluster, sql: str, code: int, words: str
) -> None:
    seen, message = refusal(plain, sql)
    assert (seen, words in message) == (code, True), message


def test_without_tiflash_there_is_nothing_to_see_of_it(plain: Cluster) -> None:
    assert plain.execute("SELECT * FROM information_schema.tiflash_replica") == []
    assert plain.execute("SELECT * FROM information_schema.tiflash_indexes") == []
    assert "annIndex:" not in str(plain.execute(f"EXPLAIN {NEAREST}"))


def test_an_index_that_is_used(tiflash: Cluster) -> None:
    replicate(tiflash)
    assert "annIndex:" not in str(tiflash.execute(f"EXPLAIN {NEAREST}"))
    tiflash.execute(ADD_INDEX)
    kinds = {row[2]: row[10] for row in tiflash.execute("SHOW INDEX FROM t")}
    assert kinds == {"PRIMARY": "BTREE", "i": "HNSW"}
    assert rows_to_index(tiflash) == [(0,), (0,)]
    assert "annIndex:COSINE(v..[" in str(tiflash.execute(f"EXPLAIN {NEAREST}"))
    assert [row[0] for row in tiflash.execute(NEAREST)] == [2, 3]
    assert refusal(tiflash, ADD_INDEX)[0] == 1061


def test_an_index_that_comes_with_the_table(tiflash: Cluster) -> None:
    tiflash.execute("DROP TABLE t")
    tiflash.execute(f"{TABLE[:-1]}, {INDEX})")
    tiflash.execute(ROWS)
    wait_until(lambda: available(tiflash))
    assert [row[0] for row in tiflash.execute(NEAREST)] == [2, 3]
    assert "annIndex:COSINE(v..[" in str(tiflash.execute(f"EXPLAIN {NEAREST}"))


def test_two_replicas_and_no_more(tiflash: Cluster) -> None:
    tiflash.execute(REPLICA.replace("1", "2"))
    assert "should be less than the total" in refusal(tiflash, REPLICA.replace("1", "3"))[1]


def test_a_replica_that_is_not_there_yet(tiflash_server: TidbServer, tiflash: Cluster) -> None:
    tiflash_server.set_replica("building")
    tiflash.execute(REPLICA)
    forced = NEAREST.replace("SELECT", "SELECT /*+ READ_FROM_STORAGE(TIFLASH[t]) */")
    assert not available(tiflash)
    assert "mpp[tiflash]" not in str(tiflash.execute(f"EXPLAIN {forced}"))
    tiflash_server.set_replica("ready")
    wait_until(lambda: available(tiflash))
    assert "mpp[tiflash]" in str(tiflash.execute(f"EXPLAIN {forced}"))


def test_an_index_is_built_though_its_connection_is_lost(
    tiflash_server: TidbServer, tiflash: Cluster
) -> None:
    replicate(tiflash)
    tiflash_server.set_index("building")
    with (
        closing(tiflash.connect(read_timeout=1)) as connection,
        pytest.raises(pymysql.OperationalError, match="Lost connection"),
    ):
        connection.cursor().execute(ADD_INDEX)
    assert rows_to_index(tiflash) == [(750,), (750,)]
    assert last_job(tiflash) == ("add vector index", "running")
    tiflash_server.set_index("ready")
    wait_until(lambda: last_job(tiflash) == ("add vector index", "synced"))
    assert "HNSW" in str(tiflash.execute("SHOW INDEX FROM t"))


def test_an_index_that_cannot_be_built(tiflash_server: TidbServer, tiflash: Cluster) -> None:
    replicate(tiflash)
    tiflash_server.set_index("failing")
    assert refusal(tiflash, ADD_INDEX) == (
        9014,
        "TiFlash backfill index failed: the stand-in was told to fail",
    )
    assert last_job(tiflash) == ("add vector index", "rollback done")
    assert "HNSW" not in str(tiflash.execute("SHOW INDEX FROM t"))


def test_its_data_survives_a_kill(start_tidb: Callable[..., TidbServer], tmp_path: Path) -> None:
    server = start_tidb(data=tmp_path)
    test = Cluster(server.url("test"))
    test.execute(TABLE)
    test.execute(ROWS)
    server.kill()
    assert is_gone(server)
    server.restart()
    assert [row[0] for row in test.execute(NEAREST)] == [2, 3]
    test.execute(ROWS)


@pytest.mark.parametrize(
    ("shown", "authority", "words"),
    [
        ("server", "ca", None),
        ("server", "other-ca", "unable to get local issuer certificate"),
        ("wrong-host", "ca", "certificate is not valid for '127.0.0.1'"),
        ("expired", "ca", "certificate has expired"),
    ],
)
def test_certificates(
    tls_server: TidbServer,
    tls_tidb: str,
    certificates: Path,
    shown: Certificate,
    authority: str,
    words: str | None,
) -> None:
    tls_server.present(shown)
    context = ssl.create_default_context(cafile=certificates / f"{authority}.pem")
    if words:
        with pytest.raises(pymysql.OperationalError, match=words):
            Cluster(tls_tidb).connect(ssl=context)
    else:
        with closing(Cluster(tls_tidb).connect(ssl=context)) as connection:
            cursor = connection.cursor()
            cursor.execute("SHOW STATUS LIKE 'Ssl_cipher'")
            assert cursor.fetchall()[0][1]


def test_a_server_that_demands_tls(tls_server: TidbServer, tls_tidb: str) -> None:
    Cluster(tls_tidb).connect(ssl_disabled=True).close()
    tls_server.execute("SET GLOBAL require_secure_transport = ON")
    with pytest.raises(pymysql.MySQLError, match="insecure transport are prohibited") as refused:
        Cluster(tls_tidb).connect(ssl_disabled=True)
    assert refused.value.args[0] == 3159


@pytest.mark.usefixtures("tls_tidb")
def test_a_user_with_a_certificate(tls_server: TidbServer, certificates: Path) -> None:
    tls_server.execute("CREATE USER IF NOT EXISTS certified REQUIRE X509")
    context = ssl.create_default_context(cafile=certificates / "ca.pem")
    cluster = Cluster(tls_server.url("", user="certified"))
    with pytest.raises(pymysql.OperationalError, match="Access denied"):
        cluster.connect(ssl=context)
    context.load_cert_chain(certificates / "client.pem", certificates / "client.key")
    cluster.connect(ssl=context).close()


def test_a_plain_server_has_no_tls(plain_server: TidbServer) -> None:
    with closing(plain_server.connect()) as connection:
        assert not vars(connection)["server_capabilities"] & CLIENT.SSL


def test_urls(plain_server: TidbServer) -> None:
    plain_server.execute("CREATE USER IF NOT EXISTS 'a.root' IDENTIFIED BY %s", "p@ss:/?#%")
    url = plain_server.url("d", user="a.root", password="p@ss:/?#%")
    port = plain_server.port
    assert url == f"mysql+pymysql://a.root:p%40ss%3A%2F%3F%23%25@127.0.0.1:{port}/d"
    server = Cluster(plain_server.url("", user="a.root", password="p@ss:/?#%"))
    assert server.execute("SELECT CURRENT_USER()") == [("a.root@%",)]
    cloud = Cluster("mysql+pymysql://a.root:p%40@gateway.tidbcloud.com:4000/test?ssl_ca=x")
    assert (cloud.host, cloud.port) == ("gateway.tidbcloud.com", 4000)
    assert cloud.url("d") == "mysql+pymysql://a.root:p%40@gateway.tidbcloud.com:4000/d?ssl_ca=x"


def test_it_does_not_outlive_whoever_started_it(
    tidb_program: Callable[[], Path], tmp_path: Path
) -> None:
    tidb_program()
    command = [sys.executable, tidb_cluster.__file__, "--tiflash", "1"]
    scratch = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=scratch) as process:
        assert process.stdout
        url = process.stdout.readline().removeprefix("export TIDB_DATABASE_URL=").rstrip()
        server = Cluster(url)
        assert server.execute("SELECT DATABASE()") == [("test",)]
        assert list(tmp_path.iterdir())
        process.kill()
    wait_until(lambda: not list(tmp_path.iterdir()) and is_gone(server))


def test_without_go_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidb_cluster.shutil.which", lambda name: None)
    with pytest.raises(NoServerError, match="built with Go: install Go"):
        tidb_cluster.binary(pytest.fail)


@pytest.mark.tidb
def test_it_is_built_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tidb_cluster, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(tidb_cluster, "SOURCES", tmp_path / "sources")
    source = tmp_path / "sources/main.go"
    source.parent.mkdir()
    (tmp_path / "sources/go.mod").write_text("module program\n")
    said: list[str] = []

    source.write_text("package main\nfunc main() { nonsense }\n")
    with pytest.raises(NoServerError, match="undefined: nonsense"):
        tidb_cluster.binary(said.append)

    source.write_text("package main\nfunc main() { println(1) }\n")
    programs = {tidb_cluster.binary(said.append) for _ in range(2)}
    (program,) = programs
    assert subprocess.run([program], capture_output=True).stderr == b"1\n"
    assert sorted(path.name for path in program.parent.iterdir()) == ["lock", program.name]
    assert len(said) == 2
