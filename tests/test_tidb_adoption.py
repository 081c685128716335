"""The table that readers of TiDB's tutorial have: read as it stands, adopted when asked to."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from contextlib import closing
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Session
from tidb_vector.sqlalchemy import VectorType

from jtv_cli.stores import open_store
from jtv_cli.text import text_hash
from terminal import Terminal
from tidb_cluster import Cluster
from tidb_proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Jtv
    from jina_server import JinaServer
    from tidb_cluster import TidbServer

TABLE = "jinaai_tidb_demo_documents"
TEXTS = [
    "Jina AI offers best-in-class embeddings, reranker and prompt optimizer.",
    "TiDB is an open-source MySQL-compatible database.",
    "naïve Größe 数学",
    "TiDB is an open-source MySQL-compatible database.",
    "with a space ",
    "with a space",
    "TiDB is an open-source MySQL-compatible database.",
    "tidb IS an open-source MySQL-compatible database.",
]
DISTINCT = len(set(TEXTS))
QUERY = "What is TiDB?"


class Base(DeclarativeBase):
    pass


class Document(Base):
    """As the tutorial has it."""

    __tablename__ = TABLE
    id = sa.Column(sa.Integer, primary_key=True)
    content = sa.Column(sa.String(255), nullable=False)
    content_vec = sa.Column(VectorType(dim=768), comment="hnsw(distance=cosine)")


def vectors(count: int) -> Any:
    return np.random.default_rng(0).normal(size=(count, 768)).astype(np.float32)


@pytest.fixture
def reader(keyed: Jtv, tiflash_tidb: str) -> Jtv:
    """Somebody with a key who has done the tutorial, more than once."""
    engine = sa.create_engine(tiflash_tidb)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all(
            Document(content=text, content_vec=vector)
            for text, vector in zip(TEXTS, vectors(len(TEXTS)).tolist(), strict=True)
        )
        session.commit()
    engine.dispose()
    keyed.environment["TIDB_DATABASE_URL"] = tiflash_tidb
    return keyed


@pytest.fixture
def proxy(reader: Jtv) -> Iterator[Proxy]:
    """The way that `reader` takes to the database."""
    with Proxy(reader.environment["TIDB_DATABASE_URL"]) as proxy:
        reader.environment["TIDB_DATABASE_URL"] = proxy.url
        yield proxy


def database(jtv: Jtv) -> Cluster:
    return Cluster(jtv.environment["TIDB_DATABASE_URL"])


def rows(jtv: Jtv) -> list[tuple[Any, ...]]:
    return database(jtv).execute(f"SELECT id, content, content_vec FROM {TABLE} ORDER BY id")


def hashes(jtv: Jtv) -> list[bytes | None]:
    found = database(jtv).execute(f"SELECT content_hash FROM {TABLE} ORDER BY id")
    return [value for (value,) in found]


def structure(jtv: Jtv) -> object:
    create = database(jtv).execute(f"SHOW CREATE TABLE {TABLE}")
    return create, database(jtv).execute("SHOW TABLES")


def index_by_hand(jtv: Jtv, replicas: int = 1) -> None:
    database(jtv).execute(f"ALTER TABLE {TABLE} SET TIFLASH REPLICA {replicas}")
    database(jtv).execute(
        f"ALTER TABLE {TABLE} ADD VECTOR INDEX mine ((VEC_COSINE_DISTANCE(content_vec))) USING HNSW"
    )


# The steps of an adoption that say of the table that it is under way, and that it is done,
# and the one that fills in hashes.
ADOPTING = r"^ALTER TABLE \S+ COMMENT = .*adopting"
ADOPTED = r"^ALTER TABLE \S+ COMMENT = (?!.*adopting)"
FILL = r"^UPDATE .* SET \S+content_hash = "
SECOND_FILL = FILL.replace(".*", r".* BETWEEN (?!1 )\d+ AND .*")


def add_many(jtv: Jtv) -> None:
    """Add 2,500 rows with 1,500 texts."""
    vector = str(vectors(1)[0].tolist())
    with database(jtv).connect() as connection, connection.cursor() as cursor:
        cursor.executemany(
            f"INSERT INTO {TABLE} (content, content_vec) VALUES (%s, %s)",
            [(f"text {number % 1500}", vector) for number in range(2500)],
        )


def replace_rows(jtv: Jtv, *rows: tuple[int, str, str | None]) -> None:
    """Have the table hold these, of id, text and vector."""
    database(jtv).execute(f"DELETE FROM {TABLE}")
    # 0 as an id would be taken for none.
    for number, text, vector in rows:
        values = (number or 1, text, vector)
        database(jtv).execute(
            f"INSERT INTO {TABLE} (id, content, content_vec) VALUES (%s, %s, %s)", *values
        )
        if not number:
            database(jtv).execute(f"UPDATE {TABLE} SET id = 0 WHERE id = 1")


def assert_one_hash_for_each_of_many(jtv: Jtv) -> None:
    filled = [value for value in hashes(jtv) if value]
    assert len(filled) == len(set(filled)) == 1500 + DISTINCT


FIRSTS = [
    text_hash(text) if text not in TEXTS[:place] else None for place, text in enumerate(TEXTS)
]


def assert_adopted(jtv: Jtv, before: list[tuple[Any, ...]]) -> None:
    """Hold that nothing was lost or moved, and nothing is left to do."""
    assert rows(jtv) == before
    assert hashes(jtv) == FIRSTS
    assert json.loads(jtv.ok("init", "--json").stdout)["changes"] == []
    comment = database(jtv).execute(
        f"SELECT table_comment FROM information_schema.tables WHERE table_name = '{TABLE}'"
        " AND table_schema = DATABASE()"
    )
    said = json.loads(comment[0][0])
    assert (said["model"], "adopting" in said) == ("jina-embeddings-v2-base-en", False)
    assert said["identity"]


class TestAsItStands:
    def test_search_and_list(self, reader: Jtv) -> None:
        before = structure(reader)
        assert [row[2] for row in reader.ok("list").rows] == TEXTS
        listed = reader.ok("list", QUERY).rows
        found = reader.ok("search", QUERY, "-k", "3", "--exact").rows
        assert found == sorted(listed, key=lambda row: (float(row[0]), int(row[1])))[:3]
        assert [row[3:] for row in found] == [["-", "-"]] * 3
        assert structure(reader) == before

    def test_ingest_says_what_to_do_and_pays_nothing(self, reader: Jtv, api: JinaServer) -> None:
        before = structure(reader)
        result = reader("ingest", "-", stdin="a\n")
        assert result.code == 5
        assert result.is_one_error
        line = result.error
        assert "is the tutorial's and read-only\nhint: convert it with: jtv init" in line
        assert (api.bill, structure(reader)) == ([], before)

    def test_its_index_is_not_changed(self, reader: Jtv) -> None:
        index_by_hand(reader)
        before = structure(reader)
        for command in ("build", "drop"):
            result = reader("index", command)
            assert result.code == 5
            assert (
                "is the tutorial's and read-only\nhint: convert it with: jtv init" in result.error
            )
        assert structure(reader) == before

    def test_off_a_terminal_it_needs_a_yes(self, reader: Jtv) -> None:
        before = structure(reader)
        result = reader("init")
        assert result.code == 2
        assert result.error == (
            f"jtv: error: this changes table {TABLE}\nhint: add --yes to confirm"
        )
        for part in (
            "record the model jina-embeddings-v2-base-en",
            "content_hash",
            "_occurrences",
            "- build the vector index, on a TiFlash replica of the table\n",
        ):
            assert part in result.stderr
        assert "index, on" not in reader("init", "--no-index").stderr
        assert structure(reader) == before

    @pytest.mark.parametrize("model", ["hashing-v1", "jina-embeddings-v3"])
    def test_another_model_is_refused(self, reader: Jtv, model: str) -> None:
        result = reader("init", "--yes", "--model", model)
        assert result.code == 5
        assert "created with model jina-embeddings-v2-base-en" in result.error
        assert f"not {model}" in result.error

    def test_drop_asks(self, reader: Jtv) -> None:
        assert f"drops table {TABLE} with {len(TEXTS)} documents" in reader("init", "--drop").error
        assert [row[2] for row in reader.ok("list").rows] == TEXTS

    def test_drop_leaves_the_tables_of_others(self, reader: Jtv) -> None:
        database(reader).execute(f"CREATE TABLE {TABLE}_sources (precious INT)")
        result = reader("init", "--drop", "--yes")
        assert result.code == 5
        assert f"{TABLE}_sources exists that jtv did not create" in result.error
        database(reader).execute(f"SELECT precious FROM {TABLE}_sources")

    @pytest.mark.parametrize(
        "change",
        [
            "ADD COLUMN extra INT",
            "ADD COLUMN content_hash BINARY(32)",
            "MODIFY content VARCHAR(300) NOT NULL",
            "RENAME COLUMN content TO text",
        ],
    )
    def test_almost_the_tutorials(self, reader: Jtv, change: str) -> None:
        database(reader).execute(f"ALTER TABLE {TABLE} {change}")
        before = structure(reader)
        for command in (["init", "--yes"], ["init", "--drop", "--yes"], ["ingest", "-"], ["list"]):
            result = reader(*command)
            assert result.code == 5
            assert "is neither jtv's nor the tutorial's" in result.error
        assert structure(reader) == before

    def test_other_dimensions(self, reader: Jtv) -> None:
        database(reader).execute(f"DROP TABLE {TABLE}")
        database(reader).execute(
            f"CREATE TABLE {TABLE} (id INT PRIMARY KEY AUTO_INCREMENT,"
            " content VARCHAR(255) NOT NULL, content_vec VECTOR(1024))"
        )
        assert "neither jtv's nor the tutorial's" in reader("init", "--yes").error


class TestAdoption:
    def test_on_a_terminal_it_asks(self, reader: Jtv) -> None:
        before, form = rows(reader), structure(reader)
        for answer, code in (("n", 2), ("y", 0)):
            with Terminal(reader, "init") as terminal:
                terminal.wait_for(f"Change table {TABLE}? [y/N] ")
                terminal.type(f"{answer}\n")
                assert terminal.wait() == code
            assert (structure(reader) == form) == (answer == "n")
        assert "with all its documents" in terminal.screen
        assert "Built the vector index" in terminal.screen
        assert_adopted(reader, before)

    def test_without_a_key(self, reader: Jtv, api: JinaServer) -> None:
        """The model is known, and nothing has to be embedded."""
        before = rows(reader)
        for name in ("JINA_API_KEY", "JINA_API_BASE"):
            del reader.environment[name]
        reader.ok("init", "--yes")
        assert_adopted(reader, before)
        assert api.requests == []

    def test_report_as_json(self, reader: Jtv) -> None:
        report = json.loads(reader.ok("init", "--yes", "--json").stdout)
        assert len(report["changes"]) == 5
        assert report["changes"][-1].startswith("build the vector index, ")
        assert (report["model"], report["index"]) == ("jina-embeddings-v2-base-en", "ready")

    @pytest.mark.parametrize("replicas", [1, 2])
    def test_with_a_replica_and_an_index(self, reader: Jtv, replicas: int) -> None:
        index_by_hand(reader, replicas)
        before = rows(reader)
        reader.ok("init", "--yes")
        assert_adopted(reader, before)
        assert "mine" in str(structure(reader))
        assert "jtv_vector" not in str(structure(reader))
        select = "SELECT replica_count FROM information_schema.tiflash_replica"
        assert database(reader).execute(f"{select} WHERE table_schema = DATABASE()") == [
            (replicas,)
        ]

    def test_what_is_there_is_known_and_not_paid_for(self, reader: Jtv, api: JinaServer) -> None:
        reader.ok("init", "--yes")
        reader.write("texts.txt", "\n".join([*TEXTS, "new", "l" * 1000]) + "\n")
        # Of each line, jtv takes the text without the white space around it.
        lines = {text.strip() for text in TEXTS}
        result = reader.ok("ingest", "texts.txt")
        assert sorted(api.bill) == sorted({"new", "l" * 1000, *lines} - set(TEXTS))
        assert f"2 stored, {len(TEXTS)} known" in result.counts
        texts = [row[2] for row in reader.ok("list").rows]
        assert texts == [*TEXTS, "new", "l" * 1000]
        first = reader.ok("list", "--limit", "1").rows[0]
        assert first[3:] == ["texts.txt", "1"]

    def test_more_rows_than_go_into_one_transaction(self, reader: Jtv, proxy: Proxy) -> None:
        add_many(reader)
        before = rows(reader)
        reader.ok("init", "--yes", "--no-index")
        assert rows(reader) == before
        assert_one_hash_for_each_of_many(reader)
        assert sum("SET" in sql and "content_hash" in sql for sql in proxy.statements) == 3

    def test_rows_that_its_script_adds_later(
        self, reader: Jtv, api: JinaServer, proxy: Proxy
    ) -> None:
        reader.ok("init", "--yes")
        add_many(reader)
        before = rows(reader)
        proxy.on(SECOND_FILL, lose=True)
        said = reader.ok("init").stderr
        assert "fill content_hash in the rows that other programs have added" in said
        assert f"Repaired table {TABLE}" in said
        assert rows(reader) == before
        assert_one_hash_for_each_of_many(reader)
        assert "0 stored, 1 known" in reader.ok("ingest", "-", stdin="text 7\n").counts
        assert api.bill == []
        assert "already exists" in reader.ok("init").stderr

    def test_a_text_that_cannot_be_found_is_not_known(self, reader: Jtv, api: JinaServer) -> None:
        """A row without a vector, or with one of zeros, is in no answer."""
        zeros, usable = str([0] * 768), str(vectors(1)[0].tolist())
        replace_rows(reader, (1, "nul", None), (2, "nul", usable), (3, "zero", zeros))
        before = rows(reader)
        reader.ok("init", "--yes", "--no-index")
        assert rows(reader) == before
        assert hashes(reader) == [None, text_hash("nul"), None]
        assert "already exists" in reader.ok("init", "--no-index").stderr
        assert "1 stored, 1 known" in reader.ok("ingest", "-", stdin="nul\nzero\n").counts
        assert api.bill == ["zero"]
        assert "zero" in [row[2] for row in reader.ok("search", "zero").rows]
        # Nor does it come to the hash of one that is deleted.
        reader.ok("delete", "2", "--yes")
        assert hashes(reader) == [None, None, text_hash("zero")]

    def test_ids_that_are_not_positive(self, reader: Jtv) -> None:
        usable = str(vectors(1)[0].tolist())
        replace_rows(reader, (-7, "a", usable), (0, "b", usable), (5, "a", usable))
        for _ in range(2):
            assert [row[2] for row in reader.ok("list").rows] == ["a", "b", "a"]
            assert reader.ok("export").records[-1]["documents"] == 3
            reader.ok("init", "--yes", "--no-index")
        assert hashes(reader) == [text_hash("a"), text_hash("b"), None]

    def test_a_table_in_another_character_set(self, reader: Jtv) -> None:
        ((_, create),) = database(reader).execute(f"SHOW CREATE TABLE {TABLE}")
        database(reader).execute(f"DROP TABLE {TABLE}")
        database(reader).execute(re.sub("CHARSET.*", "CHARSET=gbk", create))
        replace_rows(reader, (1, "数学", str(vectors(1)[0].tolist())))
        reader.ok("init", "--yes", "--no-index")
        assert hashes(reader) == [text_hash("数学")]

    def test_a_change_may_take_longer_than_an_answer(
        self, reader: Jtv, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The server may have to end another first, such as an index that is built by hand."""
        monkeypatch.setattr("jtv_cli.stores.tidb.connection._ANSWER_SECONDS", 4)
        proxy.on("ADD UNIQUE INDEX", lambda: Event().wait(5))
        said: list[str] = []
        url = reader.environment["TIDB_DATABASE_URL"]
        with closing(open_store(url, writable=True, notice=said.append)) as store:
            (spec,) = store.tables()
            store.apply(spec, store.plan(spec, index=False))
            assert store.plan(spec, index=False) == []
        assert said == []


class TestEqualTexts:
    """Whichever of them is deleted, a text that is still there is known and not paid for."""

    # The ids of rows with equal texts, first the one that has the hash.
    EQUAL = ("2", "4", "7")

    @pytest.fixture
    def adopted(self, reader: Jtv) -> Jtv:
        reader.ok("init", "--yes", "--no-index")
        reader.write("texts.txt", f"{TEXTS[1]}\n")
        return reader

    def assert_known(self, jtv: Jtv, api: JinaServer) -> None:
        assert "0 stored, 1 known" in jtv.ok("ingest", "texts.txt").counts
        assert api.bill == []
        values = [value for value in hashes(jtv) if value]
        assert len(values) == len(set(values))

    def test_by_id(self, adopted: Jtv, api: JinaServer) -> None:
        for number in self.EQUAL[:2]:
            adopted.ok("delete", number, "--yes")
            self.assert_known(adopted, api)
        adopted.ok("delete", self.EQUAL[2], "--yes")
        assert "1 stored, 0 known" in adopted.ok("ingest", "texts.txt").counts

    def test_one_without_the_hash(self, adopted: Jtv, api: JinaServer) -> None:
        adopted.ok("delete", self.EQUAL[2], "--yes")
        assert hashes(adopted) == FIRSTS[:6] + FIRSTS[7:]
        self.assert_known(adopted, api)

    @pytest.mark.parametrize("what", ["--texts", "--source"])
    def test_by_text_and_by_source(self, adopted: Jtv, api: JinaServer, what: str) -> None:
        adopted.ok("ingest", "texts.txt")
        adopted.ok("delete", what, "texts.txt", "--yes")
        self.assert_known(adopted, api)
        assert adopted.ok("list", "--json", "--limit", "2").records[1]["id"] == 3
        assert hashes(adopted)[2] == text_hash(TEXTS[3])

    def test_all_that_there_are(self, adopted: Jtv) -> None:
        ids = [str(number) for number in range(1, len(TEXTS) + 1)]
        assert f"Deleted {len(ids)} documents" in adopted.ok("delete", *ids, "--yes").stderr

    def test_a_table_without_any_is_not_searched_for_them(self, adopted: Jtv, proxy: Proxy) -> None:
        adopted.ok("init", "--table", "own", "--no-index", "--model", "hashing-v1")
        adopted.ok("ingest", "texts.txt", "--table", "own")
        adopted.ok("delete", "1", "--yes", "--table", "own")
        assert not any(sql.startswith("UPDATE") for sql in proxy.statements)


class TestRights:
    """SELECT, UPDATE, CREATE and ALTER are what README names."""

    @pytest.fixture
    def limited(self, reader: Jtv, tiflash_server: TidbServer) -> Callable[[str], None]:
        """Have the user be one with these rights only."""
        name = reader.environment["TIDB_DATABASE_URL"].rpartition("/")[2]

        def limit(rights: str) -> None:
            url = tiflash_server.limited_url(name, rights)
            reader.environment["TIDB_DATABASE_URL"] = url

        return limit

    @pytest.mark.parametrize("step", [None, ADOPTING, "ADD UNIQUE INDEX", FILL, ADOPTED])
    def test_those_that_an_adoption_needs(
        self, reader: Jtv, limited: Callable[[str], None], step: str | None
    ) -> None:
        before = rows(reader)
        limited("SELECT, UPDATE, CREATE, ALTER")
        if step is not None:
            with Proxy(reader.environment["TIDB_DATABASE_URL"]) as proxy:
                proxy.on(step, lambda: process.send_signal(signal.SIGKILL), lose=True)
                url = {"TIDB_DATABASE_URL": proxy.url}
                process = reader.start("init", "--yes", env=url, stderr=subprocess.DEVNULL)
                assert process.wait(60) == -signal.SIGKILL
        reader.ok("init", "--yes")
        assert_adopted(reader, before)

    @pytest.mark.parametrize("missing", ["UPDATE", "CREATE", "ALTER"])
    def test_one_is_missing_and_the_table_stays_as_it_is(
        self, reader: Jtv, limited: Callable[[str], None], missing: str
    ) -> None:
        before = database(reader).execute(f"SHOW CREATE TABLE {TABLE}")
        limited(", ".join({"SELECT", "UPDATE", "CREATE", "ALTER"} - {missing}))
        result = reader("init", "--yes")
        assert result.code == 5
        assert "missing privilege: " in result.error
        assert missing in result.error.upper()
        limited("SELECT")
        assert database(reader).execute(f"SHOW CREATE TABLE {TABLE}") == before


class TestInterrupted:
    STEPS = (
        f"CREATE TABLE IF NOT EXISTS {TABLE}_sources",
        f"CREATE TABLE IF NOT EXISTS {TABLE}_occurrences",
        ADOPTING,
        "MODIFY content",
        "ADD COLUMN",
        "ADD UNIQUE INDEX",
        FILL,
        ADOPTED,
        "ADD VECTOR INDEX",
    )

    @pytest.mark.parametrize("step", STEPS)
    def test_killed_and_run_again(self, reader: Jtv, proxy: Proxy, step: str) -> None:
        before = rows(reader)
        proxy.on(step, lambda: process.send_signal(signal.SIGKILL), lose=True)
        process = reader.start("init", "--yes", stderr=subprocess.DEVNULL)
        assert process.wait(60) == -signal.SIGKILL
        assert rows(reader) == before
        assert [row[2] for row in reader.ok("list").rows] == TEXTS
        reader.ok("init", "--yes")
        assert_adopted(reader, before)

    @pytest.mark.parametrize("after", [False, True])
    def test_killed_between_two_fills(self, reader: Jtv, proxy: Proxy, after: bool) -> None:
        add_many(reader)
        before = rows(reader)
        proxy.on(SECOND_FILL, lambda: process.send_signal(signal.SIGKILL), after=after, lose=True)
        process = reader.start("init", "--yes", stderr=subprocess.DEVNULL)
        assert process.wait(60) == -signal.SIGKILL
        reader.ok("init", "--yes")
        assert rows(reader) == before
        assert_one_hash_for_each_of_many(reader)
        assert json.loads(reader.ok("init", "--json").stdout)["changes"] == []

    @pytest.mark.parametrize("step", ["MODIFY content", FILL])
    def test_between_two_runs_ingest_waits_for_init(
        self, reader: Jtv, proxy: Proxy, step: str, api: JinaServer
    ) -> None:
        proxy.on(step, lambda: process.send_signal(signal.SIGINT))
        process = reader.start("init", "--yes", stderr=subprocess.PIPE)
        _, stderr = process.communicate(timeout=60)
        assert (process.returncode, stderr.splitlines()[-1]) == (130, b"jtv: interrupted")
        assert "convert it with: jtv init" in reader("ingest", "-", stdin="a\n").error
        assert api.bill == []
        assert "add --yes" in reader("init").error

    @pytest.mark.parametrize("step", [ADOPTING, FILL, ADOPTED])
    def test_a_lost_connection(self, reader: Jtv, proxy: Proxy, step: str) -> None:
        before = rows(reader)
        proxy.on(step, after=True, lose=True)
        said = reader.ok("init", "--yes").stderr
        assert "; retrying" in said
        assert_adopted(reader, before)
