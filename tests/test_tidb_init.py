"""`jtv init` on TiDB: tables, replica and index, whatever happens meanwhile."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from conftest import SAMPLE_TEXTS
from jtv_cli.records import Added, Document, IndexState, Occurrence
from jtv_cli.stores import open_store
from jtv_cli.text import text_hash
from terminal import Terminal
from tidb_cluster import Cluster, TidbServer
from tidb_proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Jtv

TABLE = "jinaai_tidb_demo_documents"
OFFLINE = ("--model", "hashing-v1")
ADD = "ADD VECTOR INDEX"


@pytest.fixture
def flash(jtv: Jtv, tiflash_tidb: str) -> Jtv:
    """A user of an empty database with TiFlash."""
    jtv.environment["TIDB_DATABASE_URL"] = tiflash_tidb
    return jtv


@pytest.fixture
def plain(jtv: Jtv, plain_tidb: str) -> Jtv:
    """A user of an empty database without TiFlash."""
    jtv.environment["TIDB_DATABASE_URL"] = plain_tidb
    return jtv


@pytest.fixture
def proxy(flash: Jtv, tiflash_tidb: str) -> Iterator[Proxy]:
    """The way that `flash` takes to the database."""
    with Proxy(tiflash_tidb) as proxy:
        flash.environment["TIDB_DATABASE_URL"] = proxy.url
        yield proxy


def database(jtv: Jtv) -> Cluster:
    return Cluster(jtv.environment["TIDB_DATABASE_URL"])


def definition(jtv: Jtv, table: str = TABLE) -> str:
    return str(database(jtv).execute(f"SHOW CREATE TABLE {table}")[0][1])


def replicas(jtv: Jtv) -> list[int]:
    select = "SELECT replica_count FROM information_schema.tiflash_replica"
    return [count for (count,) in database(jtv).execute(f"{select} WHERE table_schema=DATABASE()")]


def assert_finished(jtv: Jtv) -> None:
    """Hold that there is nothing left to do, and that the table works."""
    with closing(open_store(jtv.environment["TIDB_DATABASE_URL"], writable=True)) as store:
        (spec,) = store.tables()
        assert store.plan(spec) == []
        table = store.open(spec.name)
        assert table.index_status().state is IndexState.READY
        assert definition(jtv).count("VECTOR INDEX") == 1
        vector = np.ones((1, spec.dimensions), np.float32)
        document = Document("a", text_hash("a"), [Occurrence("file.txt", 1)])
        assert table.add([document], vector) == Added(1, 1)
        [[hit]], explanation = table.search(vector, 1, explain=True)
        assert (hit.content, hit.source, hit.line) == ("a", "file.txt", 1)
        assert explanation == "the vector index was used"


def rows_in_index(jtv: Jtv, table: str = TABLE) -> int:
    return int(jtv.ok("index", "status", "--json", "--table", table).records[0]["indexed"])


def state(jtv: Jtv) -> IndexState:
    with closing(open_store(jtv.environment["TIDB_DATABASE_URL"], writable=False)) as store:
        return store.open(TABLE).index_status().state


def make_by_hand(jtv: Jtv, index: str) -> None:
    """Make a table and, with SQL, an index of it."""
    jtv.ok("init", "--no-index", *OFFLINE)
    database(jtv).execute(f"ALTER TABLE {TABLE} SET TIFLASH REPLICA 1")
    database(jtv).execute(f"ALTER TABLE {TABLE} {ADD} {index} USING HNSW")


class TestWithTiflash:
    def test_table_replica_and_index(self, flash: Jtv) -> None:
        result = flash.ok("init", *OFFLINE)
        made, built, offline, _, where = result.stderr.splitlines()
        assert made == f"Created table {TABLE} (768 dimensions, cosine distance)"
        assert built == "Built the vector index: HNSW on TiFlash"
        assert "matches words, not meaning" in offline
        assert where.startswith(f"table {TABLE} (model hashing-v1) in ")
        assert replicas(flash) == [1]
        assert_finished(flash)

    def test_report_as_json(self, flash: Jtv) -> None:
        report = json.loads(flash.ok("init", "--json", *OFFLINE).stdout)
        assert report["changes"][1:] == [
            "build the vector index, on a TiFlash replica of the table"
        ]
        assert (report["index"], report["dimensions"]) == ("ready", 768)
        assert "/jtv_test_" in report["store"]
        assert json.loads(flash.ok("init", "--json").stdout)["changes"] == []

    def test_without_a_key_or_a_model_nothing_is_made(self, flash: Jtv) -> None:
        result = flash("init")
        assert (result.code, result.error) == (
            2,
            "jtv: error: no API key is set\nhint: set JINA_API_KEY (https://jina.ai/embeddings),"
            " or use the built-in model: jtv init --model static-v1",
        )
        assert database(flash).execute("SHOW TABLES") == []

    def test_no_index(self, flash: Jtv) -> None:
        said = flash.ok("init", "--no-index", *OFFLINE).stderr
        assert f"jtv: warning: table {TABLE} has no vector index: searches are full scans" in said
        assert (replicas(flash), state(flash)) == ([], IndexState.NONE)
        assert "already exists" in flash.ok("init", "--no-index").stderr
        flash.ok("init")
        assert_finished(flash)

    def test_two_replicas_are_not_lowered(self, flash: Jtv) -> None:
        flash.ok("init", "--no-index", *OFFLINE)
        database(flash).execute(f"ALTER TABLE {TABLE} SET TIFLASH REPLICA 2")
        flash.ok("init")
        assert replicas(flash) == [2]
        assert_finished(flash)

    def test_an_index_made_by_hand_will_do(self, flash: Jtv) -> None:
        make_by_hand(flash, "`my%s ``100%` ((VEC_COSINE_DISTANCE(content_vec)))")
        flash.ok("index", "wait")
        assert "already exists" in flash.ok("init").stderr
        assert_finished(flash)
        flash.ok("index", "drop")
        assert state(flash) is IndexState.NONE

    def test_an_index_of_another_metric_is_none(self, flash: Jtv) -> None:
        make_by_hand(flash, "mine ((VEC_L2_DISTANCE(content_vec)))")
        assert state(flash) is IndexState.NONE
        assert "Built the vector index" in flash.ok("init").stderr
        assert "VEC_COSINE_DISTANCE" in definition(flash)
        assert rows_in_index(flash) == 2000
        flash.ok("index", "drop")
        assert rows_in_index(flash) == 0

    def test_rows_are_those_of_this_table_whatever_the_case_of_its_name(self, flash: Jtv) -> None:
        for name in ("One", "Other"):
            flash.ok("init", *OFFLINE, "--table", name)
        assert rows_in_index(flash, "One") == 2000

    def test_build_anew(self, flash: Jtv, proxy: Proxy) -> None:
        flash.ok("init", *OFFLINE)
        assert flash.ok("index", "build").stderr.startswith(
            "ready: 2,000 of 2,000 documents indexed"
        )
        assert "DROP INDEX IF EXISTS `jtv_vector`" in "".join(proxy.statements)
        assert sum(ADD in sql for sql in proxy.statements) == 2
        assert_finished(flash)

    def test_build_leaves_what_was_made_by_hand(self, flash: Jtv) -> None:
        make_by_hand(flash, "mine ((VEC_COSINE_DISTANCE(content_vec)))")
        before = definition(flash)
        said = flash.ok("index", "build").stderr.splitlines()
        assert said[0] == "kept index `mine`, which jtv did not create; jtv index drop drops it"
        assert definition(flash) == before

    def test_another_was_faster(self, flash: Jtv, proxy: Proxy, tiflash_tidb: str) -> None:
        same = f"ALTER TABLE {TABLE} {ADD} jtv_vector ((VEC_COSINE_DISTANCE(content_vec)))"
        proxy.on(ADD, lambda: Cluster(tiflash_tidb).execute(f"{same} USING HNSW"))
        flash.ok("init", *OFFLINE)
        assert_finished(flash)

    def test_many_at_once_make_one_table_and_one_index(self, flash: Jtv) -> None:
        with ThreadPoolExecutor(4) as pool:
            results = list(pool.map(lambda _: flash("init", *OFFLINE), range(4)))
        assert [result.code for result in results] == [0] * 4, [r.stderr for r in results]
        assert_finished(flash)


class TestWithoutTiflash:
    def test_it_is_said_in_one_line_and_no_failure(self, plain: Jtv) -> None:
        lines = plain.ok("init", *OFFLINE).stderr.splitlines()
        assert sum("TiFlash" in line for line in lines) == 1
        assert f"jtv: warning: table {TABLE} has no vector index: searches are full scans" in lines
        assert plain.ok("init").code == 0
        assert "has no vector index" in plain.ok("ingest", str(SAMPLE_TEXTS)).stderr
        for command in (["search", "What is TiDB?"], ["list"], ["index", "status"]):
            assert plain.ok(*command).stderr == ""

    def test_tables_have_the_form_that_is_promised(self, plain: Jtv) -> None:
        plain.ok("init", *OFFLINE)
        documents = definition(plain)
        for part in (
            "`id` bigint(20) NOT NULL AUTO_INCREMENT",
            "`content` mediumtext NOT NULL",
            "`content_vec` vector(768) NOT NULL",
            "`content_hash` binary(32) NOT NULL",
            "UNIQUE KEY `content_hash` (`content_hash`)",
            "AUTO_ID_CACHE=1",
        ):
            assert part in documents
        plain.ok("ingest", str(SAMPLE_TEXTS))
        assert [row[1] for row in plain.ok("list").rows] == [str(i) for i in range(1, 35)]

    def test_the_longest_names(self, plain: Jtv, plain_server: TidbServer) -> None:
        with plain_server.database("x" * 64) as url:
            plain.ok("init", *OFFLINE, "--table", "t" * 52, "--database", url)
            assert plain.ok("tables", "--database", url).rows[0][0] == "t" * 52

    def test_what_a_drop_that_was_killed_left_over_is_not_kept(self, plain: Jtv) -> None:
        plain.ok("init", *OFFLINE)
        plain.ok("ingest", str(SAMPLE_TEXTS))
        database(plain).execute(f"DROP TABLE {TABLE}")
        plain.ok("init", *OFFLINE)
        for part in ("sources", "occurrences"):
            assert database(plain).execute(f"SELECT * FROM {TABLE}_{part}") == []

    def test_the_name_of_what_is_left_over_may_be_in_another_case(self, plain: Jtv) -> None:
        plain.ok("init", *OFFLINE, "--table", "Notes")
        plain.ok("ingest", str(SAMPLE_TEXTS), "--table", "Notes")
        database(plain).execute("DROP TABLE Notes")
        plain.ok("init", *OFFLINE, "--table", "notes")
        plain.ok("ingest", str(SAMPLE_TEXTS), "--table", "NOTES")
        plain.ok("init", "--drop", "--yes", *OFFLINE, "--table", "NOTES")
        assert len(database(plain).execute("SHOW TABLES")) == 3

    def test_drop_beside_init(self, plain: Jtv, plain_tidb: str) -> None:
        """Another init waits until all is dropped, or has made all that is needed."""
        plain.ok("init", *OFFLINE)
        waiting = (
            "SELECT 1 FROM information_schema.processlist"
            " WHERE db = DATABASE() AND info LIKE 'SELECT GET_LOCK%'"
        )

        def init() -> None:
            others.append(plain.start("init", *OFFLINE, env={"TIDB_DATABASE_URL": plain_tidb}))
            while others[0].poll() is None and not database(plain).execute(waiting):
                pass

        others: list[subprocess.Popen[bytes]] = []
        with Proxy(plain_tidb) as proxy:
            plain.environment["TIDB_DATABASE_URL"] = proxy.url
            proxy.on("^\\s*DROP TABLE", init, after=True)
            plain.ok("init", "--drop", "--yes", *OFFLINE)
            assert others[0].wait() == 0
            plain.ok("ingest", str(SAMPLE_TEXTS))

    def test_drop(self, plain: Jtv) -> None:
        plain.ok("init", *OFFLINE)
        plain.ok("ingest", str(SAMPLE_TEXTS))
        assert "34 documents" in plain("init", "--drop", *OFFLINE).error
        plain.ok("init", "--drop", "--yes", *OFFLINE)
        assert plain.ok("list").stdout == ""
        tables = {name for (name,) in database(plain).execute("SHOW TABLES")}
        assert tables == {TABLE, f"{TABLE}_sources", f"{TABLE}_occurrences"}


@pytest.mark.parametrize(
    ("version", "is_good"),
    [
        ("8.0.36", False),
        ("11.4.2-MariaDB", False),
        ("8.0.11-TiDB-v7.1.0", False),
        ("8.0.11-TiDB-v8.3.1", False),
        ("8.0.11-TiDB-v8.4.0", True),
        ("8.0.11-TiDB-v9.0.0-beta.2", True),
        ("8.0.11-TiDB-v7.5.2-serverless", True),
    ],
)
def test_versions(plain: Jtv, plain_server: TidbServer, version: str, is_good: bool) -> None:
    plain_server.set_version(version)
    result = plain("init", *OFFLINE)
    if is_good:
        assert result.code == 0, result.stderr
    else:
        assert result.code == 5
        assert f"runs {version}, not TiDB 8.4 or newer" in result.error
        assert result.is_one_error
        assert database(plain).execute("SHOW TABLES") == []


class TestBuilding:
    """An index that takes its time."""

    def test_progress_on_a_terminal(self, flash: Jtv, tiflash_server: TidbServer) -> None:
        tiflash_server.set_index("building")
        with Terminal(flash, "init", *OFFLINE) as terminal:
            terminal.wait_for("vector index: 500 of 2,000 rows")
            tiflash_server.set_index("ready")
            assert terminal.wait() == 0
        assert "Created table" in terminal.lines[0]
        assert terminal.lines[1] == "Built the vector index: HNSW on TiFlash"
        assert_finished(flash)

    def test_no_wait(self, flash: Jtv, tiflash_server: TidbServer) -> None:
        tiflash_server.set_index("building")
        for _ in range(2):
            assert "The server is still building" in flash.ok("init", "--no-wait", *OFFLINE).stderr
        assert state(flash) is IndexState.BUILDING
        why = flash("search", "x", "--explain")
        assert why.code == 1
        assert why.stderr.startswith("no index was used: ")
        tiflash_server.set_index("ready")
        flash.ok("index", "wait")
        assert_finished(flash)

    def test_a_replica_that_is_all_there_but_not_available(self, flash: Jtv) -> None:
        said = flash.ok("init", "--no-wait", *OFFLINE).stderr
        assert "100%" not in said
        assert "(TiFlash replica: " in said or "Built the vector index" in said

    def test_to_build_what_is_being_built_is_to_wait(
        self, flash: Jtv, tiflash_server: TidbServer
    ) -> None:
        tiflash_server.set_index("building")
        flash.ok("init", "--no-wait", *OFFLINE)
        with Terminal(flash, "index", "build") as terminal:
            terminal.wait_for("of 2,000 rows")
            tiflash_server.set_index("ready")
            assert terminal.wait() == 0
        assert_finished(flash)

    @pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
    def test_interrupted_while_it_waits(
        self, flash: Jtv, tiflash_server: TidbServer, sent: signal.Signals
    ) -> None:
        """The server goes on; the same command goes on waiting."""
        tiflash_server.set_index("building")
        with Terminal(flash, "init", *OFFLINE) as terminal:
            terminal.wait_for("of 2,000 rows")
            terminal.process.send_signal(sent)
            terminal.wait()
        assert state(flash) is IndexState.BUILDING
        with Terminal(flash, "init") as terminal:
            terminal.wait_for("of 2,000 rows")
            tiflash_server.set_index("ready")
            assert terminal.wait() == 0
        assert_finished(flash)

    def test_the_connection_is_lost_meanwhile(
        self, flash: Jtv, proxy: Proxy, tiflash_server: TidbServer
    ) -> None:
        """The gateway of TiDB Cloud drops what is idle; that does not end the building."""
        tiflash_server.set_index("building")
        with Terminal(flash, "init", *OFFLINE) as terminal:
            terminal.wait_for("of 2,000 rows")
            proxy.cut(ADD)
            proxy.on("tiflash_indexes", lambda: tiflash_server.set_index("ready"))
            assert terminal.wait() == 0
        assert "Built the vector index" in terminal.screen
        assert_finished(flash)

    def test_the_job_is_cancelled_meanwhile(self, flash: Jtv, tiflash_server: TidbServer) -> None:
        tiflash_server.set_index("building")
        with Terminal(flash, "init", *OFFLINE) as terminal:
            terminal.wait_for("of 2,000 rows")
            ((job, *_),) = database(flash).execute(
                "ADMIN SHOW DDL JOBS WHERE job_type = 'add vector index' AND state = 'running'"
            )
            database(flash).execute(f"ADMIN CANCEL DDL JOBS {job}")
            assert terminal.wait() == 5
        assert "ancelled" in terminal.lines[-2]
        assert any(line.startswith("jtv: error: ") for line in terminal.lines)
        tiflash_server.set_index("ready")
        flash.ok("init")
        assert_finished(flash)

    def test_it_fails(self, flash: Jtv, tiflash_server: TidbServer) -> None:
        tiflash_server.set_index("failing")
        result = flash("init", *OFFLINE)
        assert result.code == 5
        assert f"table {TABLE} was not built: TiFlash backfill" in result.error
        assert "the stand-in was told to fail" in result.error
        assert result.error.endswith("hint: check the cluster's TiFlash, then run: jtv index build")
        assert result.is_one_error
        tiflash_server.set_index("ready")
        flash.ok("index", "build")
        assert_finished(flash)

    def test_it_fails_meanwhile(self, flash: Jtv, tiflash_server: TidbServer) -> None:
        tiflash_server.set_index("building")
        with Terminal(flash, "init", *OFFLINE) as terminal:
            terminal.wait_for("of 2,000 rows")
            tiflash_server.set_index("failing")
            assert terminal.wait() == 5
        assert "the stand-in was told to fail" in " ".join(terminal.lines)
        assert any(line.startswith("jtv: error: ") for line in terminal.lines)


class TestInterrupted:
    """At each statement that changes something; run again, init finishes."""

    @pytest.mark.parametrize(
        ("words", "after"),
        [
            (f"CREATE TABLE IF NOT EXISTS {TABLE}_sources", False),
            (f"CREATE TABLE IF NOT EXISTS {TABLE}_occurrences", False),
            (f"CREATE TABLE IF NOT EXISTS {TABLE} ", False),
            ("SET TIFLASH REPLICA", False),
            (ADD, False),
            (ADD, True),
        ],
    )
    def test_killed(self, flash: Jtv, proxy: Proxy, words: str, after: bool) -> None:
        proxy.on(words, lambda: process.send_signal(signal.SIGKILL), after=after, lose=True)
        process = flash.start("init", *OFFLINE, stderr=subprocess.DEVNULL)
        assert process.wait(30) == -signal.SIGKILL
        flash.ok("init", *OFFLINE)
        assert_finished(flash)

    @pytest.mark.parametrize(
        "words", [f"CREATE TABLE IF NOT EXISTS {TABLE}_sources", "SET TIFLASH REPLICA"]
    )
    def test_control_c(self, flash: Jtv, proxy: Proxy, words: str) -> None:
        proxy.on(words, lambda: process.send_signal(signal.SIGINT))
        process = flash.start("init", *OFFLINE, stderr=subprocess.PIPE)
        _, stderr = process.communicate(timeout=30)
        assert (process.returncode, stderr) == (130, b"jtv: interrupted\n")
        flash.ok("init", *OFFLINE)
        assert_finished(flash)

    @pytest.mark.parametrize(
        "words", [f"CREATE TABLE IF NOT EXISTS {TABLE} ", "SET TIFLASH REPLICA", "GET_LOCK"]
    )
    @pytest.mark.parametrize("after", [False, True])
    def test_a_connection_that_is_lost(
        self, flash: Jtv, proxy: Proxy, words: str, after: bool
    ) -> None:
        proxy.on(words, after=after, lose=True)
        result = flash("init", *OFFLINE)
        assert result.code == 0, result.stderr
        assert "Traceback" not in result.stderr
        flash.ok("init", *OFFLINE)
        assert_finished(flash)

    @pytest.mark.parametrize("after", [False, True])
    def test_a_connection_that_is_lost_while_the_index_is_dropped(
        self, flash: Jtv, proxy: Proxy, after: bool
    ) -> None:
        flash.ok("init", *OFFLINE)
        proxy.on("DROP INDEX", after=after, lose=True)
        assert "retrying" in flash.ok("index", "drop").stderr
        assert state(flash) is IndexState.NONE


class TestRights:
    @pytest.fixture
    def limited(self, flash: Jtv, tiflash_server: TidbServer) -> Any:
        """Have the user be one with these rights only."""

        def limit(rights: str) -> None:
            name = flash.environment["TIDB_DATABASE_URL"].rpartition("/")[2]
            url = tiflash_server.limited_url(name, rights)
            flash.environment["TIDB_DATABASE_URL"] = url

        return limit

    def test_those_that_init_needs(self, flash: Jtv, limited: Any) -> None:
        limited("SELECT, INSERT, UPDATE, CREATE, ALTER")
        flash.ok("init", *OFFLINE)
        limited("SELECT, INSERT, UPDATE")
        flash.ok("ingest", str(SAMPLE_TEXTS))
        limited("SELECT")
        found = flash.ok("search", "What is TiDB?", "--explain")
        assert len(found.rows) == 5
        # Once the server has counted the rows, it prefers a full scan of so few.
        assert re.fullmatch("the vector index was used\n|no index .* full scan .*\n", found.stderr)

    @pytest.mark.parametrize(
        "words",
        [
            f"CREATE TABLE IF NOT EXISTS {TABLE}_occurrences",
            f"CREATE TABLE IF NOT EXISTS {TABLE} ",
        ],
    )
    def test_killed_without_the_right_to_drop(self, flash: Jtv, limited: Any, words: str) -> None:
        limited("SELECT, INSERT, UPDATE, CREATE, ALTER")
        with Proxy(flash.environment["TIDB_DATABASE_URL"]) as proxy:
            proxy.on(words, lambda: process.send_signal(signal.SIGKILL), lose=True)
            url = {"TIDB_DATABASE_URL": proxy.url}
            process = flash.start("init", *OFFLINE, env=url, stderr=subprocess.DEVNULL)
            assert process.wait(30) == -signal.SIGKILL
        flash.ok("init", *OFFLINE)
        assert_finished(flash)

    @pytest.mark.parametrize(
        ("rights", "missing"),
        [
            ("SELECT", "CREATE"),
            ("SELECT, CREATE", "ALTER"),
        ],
    )
    def test_one_is_missing(self, flash: Jtv, limited: Any, rights: str, missing: str) -> None:
        limited(rights)
        result = flash("init", *OFFLINE)
        assert result.code == 5
        assert f"missing privilege: {missing} command denied" in result.error
        assert "hunter2" not in flash("init", "--debug").stderr

    def test_an_index_of_another_metric_without_the_right_to_see_jobs(
        self, flash: Jtv, limited: Any
    ) -> None:
        make_by_hand(flash, "mine ((VEC_L2_DISTANCE(content_vec)))")
        limited("SELECT, INSERT, UPDATE, CREATE, ALTER")
        assert flash.ok("index", "status").stdout.startswith("no index")
        flash.ok("init")
        flash.ok("index", "build")

    def test_a_lost_connection_without_the_right_to_see_jobs(
        self, flash: Jtv, limited: Any, tiflash_server: TidbServer
    ) -> None:
        limited("SELECT, INSERT, UPDATE, CREATE, ALTER")
        tiflash_server.set_index("building")
        with Proxy(flash.environment["TIDB_DATABASE_URL"]) as proxy:
            flash.environment["TIDB_DATABASE_URL"] = proxy.url
            with Terminal(flash, "init", *OFFLINE) as terminal:
                terminal.wait_for("of 2,000 rows")
                proxy.cut(ADD)
                proxy.on("tiflash_indexes", lambda: tiflash_server.set_index("ready"))
                assert terminal.wait() == 0
            assert_finished(flash)


class TestForeignTables:
    FOREIGN = (
        f"CREATE TABLE {TABLE} (id INT PRIMARY KEY, content_vec VECTOR(768), x TEXT)",
        f"CREATE VIEW {TABLE} AS SELECT 1 AS id, 'x' AS content, '[1]' AS content_vec",
    )

    @pytest.mark.parametrize("statement", FOREIGN, ids=["table", "view"])
    def test_refused_and_left_alone(self, plain: Jtv, statement: str) -> None:
        database(plain).execute(statement)
        before = definition(plain)
        for command in (["init"], ["init", "--drop", "--yes"], ["ingest", "-"], ["search", "x"]):
            result = plain(*command, *OFFLINE)
            assert result.code == 5
            assert f"table {TABLE} in " in result.error
            assert "neither jtv's nor the tutorial's" in result.error
        assert definition(plain) == before
        assert len(database(plain).execute("SHOW TABLES")) == 1

    @pytest.mark.parametrize("part", ["sources", "occurrences"])
    def test_a_part_that_is_anothers(self, plain: Jtv, part: str) -> None:
        database(plain).execute(f"CREATE TABLE {TABLE}_{part} (precious INT)")
        for command in (["init"], ["init", "--drop", "--yes"]):
            result = plain(*command, *OFFLINE)
            assert result.code == 5
            assert f"a table {TABLE}_{part} exists that jtv did not create" in result.error
        assert "precious" in definition(plain, f"{TABLE}_{part}")

    def test_a_newer_format(self, plain: Jtv) -> None:
        plain.ok("init", *OFFLINE)
        database(plain).execute(f"ALTER TABLE {TABLE} COMMENT = %s", '{"jtv": 99}')
        result = plain("list")
        assert (result.code, "newer jtv (format 99" in result.error) == (5, True)

    def test_a_newer_format_is_the_matter_of_that_table_alone(self, plain: Jtv) -> None:
        plain.ok("init", *OFFLINE, "--table", "backup")
        database(plain).execute("ALTER TABLE backup COMMENT = %s", '{"jtv": 99}')
        plain.ok("init", *OFFLINE, "--table", "other")
        result = plain.ok("tables")
        assert [row[0] for row in result.rows] == ["other"]
        assert "table backup was written by a newer jtv (format 99" in result.stderr
        for command in (["init"], ["init", "--drop", "--yes"], ["list"]):
            result = plain(*command, *OFFLINE, "--table", "backup")
            assert (result.code, "newer jtv (format 99" in result.error) == (5, True)
        assert len(database(plain).execute("SHOW TABLES")) == 6

    def test_a_comment_that_looks_like_ours(self, plain: Jtv) -> None:
        comment = '{"jtv": 1}'
        database(plain).execute(f"CREATE TABLE {TABLE} (x INT) COMMENT = '{comment}'")
        for command in (["init"], ["init", "--drop", "--yes"], ["list"]):
            result = plain(*command, *OFFLINE)
            assert result.code == 5
            assert result.is_one_error
        assert database(plain).execute("SHOW TABLES") == [(TABLE,)]
