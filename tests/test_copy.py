"""`jtv copy`: a table from one store to another, in every direction."""

from __future__ import annotations

import json
import random
import re
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from conftest import SAMPLE_TEXTS
from terminal import Terminal
from tidb_cluster import Cluster

if TYPE_CHECKING:
    from conftest import Jtv

TABLE = "jinaai_tidb_demo_documents"
LINES = "".join(f"line {number} of the file\n" for number in range(2000))


@pytest.fixture(
    params=[
        ("embedded", "other.db"),
        pytest.param(("embedded", "tidb"), marks=pytest.mark.tidb),
        pytest.param(("tidb", "embedded"), marks=pytest.mark.tidb),
    ],
    ids="-".join,
)
def ways(request: pytest.FixtureRequest, jtv: Jtv) -> tuple[str, str]:
    """Where from and where to; the cluster is the user's."""
    if "tidb" in request.param:
        jtv.environment["TIDB_DATABASE_URL"] = request.getfixturevalue("tidb")
    jtv.environment |= {"JTV_MODEL": "hashing-v1", "JTV_DATABASE": "not/this/one.db"}
    source, target = request.param
    return source, target


def fill(jtv: Jtv, database: str, lines: str = SAMPLE_TEXTS.read_text()) -> None:
    there = ("--database", database)
    jtv.ok("init", "--no-index", *there)
    jtv.ok("ingest", "-", "--source", "samples", *there, stdin=lines)
    records = [{"text": "with metadata", "author": "Ada"}, {"text": lines.splitlines()[0]}]
    jtv.write("more.jsonl", "".join(json.dumps(record) + "\n" for record in records))
    jtv.ok("ingest", "more.jsonl", *there)


def exported(jtv: Jtv, database: str) -> list[dict[str, object]]:
    """All that is in a table, without the ids."""
    found = jtv.ok("export", "--vectors", "--database", database).records[1:-1]
    for record in found:
        record.pop("id", None)  # the record of how a source was read has none
    return found


def arguments(source: str, target: str) -> list[str]:
    return ["copy", "--from", source, "--to", target]


class TestCopying:
    def test_everything_arrives_and_that_is_verified(self, jtv: Jtv, ways: tuple[str, str]) -> None:
        source, target = ways
        fill(jtv, source)
        result = jtv.ok(*arguments(source, target), "--no-index")
        done, where = result.stderr.splitlines()
        assert result.counts == "35 stored, 0 known, 36 new occurrences"
        assert done.endswith("Verified: every document is in the copy")
        assert where.startswith(f"table {TABLE} (model hashing-v1) from ")
        assert " to " in where
        assert exported(jtv, target) == exported(jtv, source)
        query = ("search", "heart of an octopus", "-f", "text", "--database")
        assert jtv.ok(*query, target).stdout == jtv.ok(*query, source).stdout

    def test_again_it_copies_what_is_new(self, jtv: Jtv, ways: tuple[str, str]) -> None:
        source, target = ways
        fill(jtv, source)
        jtv.ok(*arguments(source, target), "--no-index")
        jtv.ok("ingest", "-", "--source", "s", "--database", source, stdin="new\nwith metadata\n")
        report = json.loads(jtv.ok(*arguments(source, target), "--no-index", "--json").stdout)
        assert (report["stored"], report["known"]) == (1, 35)
        assert report["occurrences"] == 2
        assert exported(jtv, target) == exported(jtv, source)

    def test_another_models_table_is_refused(self, jtv: Jtv, ways: tuple[str, str]) -> None:
        source, target = ways
        fill(jtv, source)
        jtv.ok("init", "--no-index", "--model", "jina-embeddings-v3", "--database", target)
        result = jtv(*arguments(source, target))
        assert result.code == 5
        assert re.search("jina-embeddings-v3 .*, not hashing-v1", result.error)
        assert jtv.ok("list", "--database", target).stdout == ""

    def test_no_table_to_copy(self, jtv: Jtv, ways: tuple[str, str]) -> None:
        source, target = ways
        result = jtv(*arguments(source, target))
        assert result.code == 5
        assert f'no table "{TABLE}"' in result.error
        assert jtv.ok("tables", "--database", target).stdout == ""

    def test_two_at_once(self, jtv: Jtv, ways: tuple[str, str]) -> None:
        source, target = ways
        fill(jtv, source, LINES)
        command = [*arguments(source, target), "--no-index"]
        running = [jtv.start(*command, stderr=subprocess.PIPE) for _ in range(2)]
        for process in running:
            _, stderr = process.communicate(timeout=120)
            assert process.returncode == 0, stderr
            assert b"Verified" in stderr
        assert len(jtv.ok("list", "--database", target).rows) == 2001

    @pytest.mark.parametrize("seed", range(2))
    def test_killed_at_any_moment_it_goes_on(
        self, jtv: Jtv, ways: tuple[str, str], seed: int
    ) -> None:
        source, target = ways
        fill(jtv, source, LINES)
        chance = random.Random(seed)
        for _ in range(3):
            command = [*arguments(source, target), "-q"]
            process = jtv.start(*command, stderr=subprocess.DEVNULL)
            time.sleep(chance.uniform(0.2, 2))
            process.send_signal(chance.choice([signal.SIGKILL, signal.SIGTERM]))
            process.wait(60)
        assert "Verified" in jtv.ok(*arguments(source, target)).stderr
        assert exported(jtv, target) == exported(jtv, source)


class TestTheSameStore:
    @pytest.mark.parametrize(
        "names",
        [
            ("embedded", "embedded"),
            ("a.db", "./b/../a.db"),
            ("a.db", "link.db"),
            ("hard.db", "a.db"),
            ("new.db", "b/../new.db"),
        ],
        ids="-".join,
    )
    def test_of_files(self, jtv: Jtv, names: tuple[str, str]) -> None:
        jtv.ok("init", "--database", "a.db")
        folder = jtv.folder / "work"
        (folder / "b").mkdir()
        (folder / "link.db").symlink_to("a.db")
        (folder / "hard.db").hardlink_to(folder / "a.db")
        result = jtv(*arguments(*names))
        assert (result.code, result.stderr) == (
            2,
            "jtv: error: --from and --to name the same store\nhint: name two stores\n",
        )

    def test_of_the_default_file_and_its_path(self, jtv: Jtv) -> None:
        assert jtv(*arguments("embedded", str(jtv.database))).code == 2

    @pytest.mark.parametrize(
        ("one", "other", "is_same"),
        [
            ("mysql://a:secret1@h/d", "mysql+pymysql://b:secret2@H:4000/D?ssl_ca=", True),
            ("mysql://a@localhost/d", "mysql://a@127.0.0.1/d", True),
            ("mysql://a@localhost/d", "mysql://a@[0:0::1]/d", True),
            ("mysql://a@localhost/d", "mysql://a@[::1]/d", True),
            ("mysql://a@localhost/d", "mysql://a@localhost:4001/d", False),
            ("mysql://a@localhost/d", "mysql://a@localhost/e", False),
            ("mysql://1.root@localhost/d", "mysql://2.root@localhost/d", False),
            ("mysql://1.root@localhost/d", "mysql://1.reader@localhost/d", True),
        ],
    )
    def test_of_clusters(self, jtv: Jtv, one: str, other: str, is_same: bool) -> None:
        # Nothing listens there.
        one, other = (url.replace("localhost/", "localhost:1/") for url in (one, other))
        other = other.replace("127.0.0.1/", "127.0.0.1:1/").replace("]/", "]:1/")
        jtv.environment["TIDB_DATABASE_URL"] = other
        result = jtv(*arguments(one, "tidb"))
        assert result.code == (2 if is_same else 5)
        assert ("the same store" in result.error) == is_same
        assert "secret" not in result.stderr

    def test_a_copy_of_the_file_is_another_store(self, jtv: Jtv) -> None:
        jtv.ok("init")
        shutil.copy(jtv.database, jtv.folder / "work/backup.db")
        jtv.ok("ingest", "-", stdin="a\n")
        assert "1 stored" in jtv.ok(*arguments("embedded", "backup.db")).counts


class TestSettings:
    def test_both_are_needed(self, jtv: Jtv) -> None:
        for command in (["copy"], ["copy", "--from", "a"], ["copy", "--to", "a"]):
            assert jtv(*command).code == 2
        assert jtv("copy", "--database", "a", "--from", "b", "--to", "c").code == 2
        assert "--from is empty" in jtv("copy", "--from", " ", "--to", "a").error

    def test_tidb_needs_its_url(self, jtv: Jtv) -> None:
        result = jtv(*arguments("embedded", "tidb"))
        assert (result.code, "TIDB_DATABASE_URL is not set" in result.error) == (2, True)

    def test_a_path_in_a_working_folder_that_is_gone(self, jtv: Jtv) -> None:
        jtv.ok("init")
        prefix = ["sh", "-c", 'mkdir gone && cd gone && rmdir ../gone && exec "$@"', "sh"]
        result = jtv(*arguments("embedded", "b.db"), prefix=prefix)
        assert (result.code, result.is_one_error) == (2, True)
        assert "b.db: No such file or directory" in result.error

    def test_a_password_is_not_shown(self, jtv: Jtv) -> None:
        jtv.ok("init")
        url = "mysql://root:pass_of_mine@127.0.0.1:1/d"
        result = jtv(*arguments("embedded", url), "--debug")
        assert result.code == 5
        assert "pass_of_mine" not in result.stderr

    def test_a_broken_database_setting_is_nobodys_business(self, jtv: Jtv) -> None:
        jtv.ok("init")
        env = {"JTV_DATABASE": "tidb"}
        assert "Verified" in jtv.ok(*arguments("embedded", "b.db"), env=env).stderr


def test_a_full_disk_says_so_and_the_same_command_goes_on(jtv: Jtv) -> None:
    fill(jtv, "embedded", LINES)
    limited = ["bash", "-c", 'ulimit -f 5000; exec "$@"', "bash"]
    result = jtv(*arguments("embedded", "b.db"), prefix=limited)
    assert result.code == 5
    assert "Traceback" not in result.stderr
    left = len(jtv.ok("list", "--database", "b.db").rows)
    assert 0 < left < 2001
    said = jtv.ok(*arguments("embedded", "b.db")).counts
    assert f"{2001 - left:,} stored, {left:,} known" in said
    assert exported(jtv, "b.db") == exported(jtv, "embedded")


def test_a_vector_that_cannot_be_searched_for_is_left_out(jtv: Jtv) -> None:
    import sqlite3

    fill(jtv, "embedded")
    connection = sqlite3.connect(jtv.database)
    connection.execute(f"UPDATE {TABLE} SET vector = zeroblob(4096) WHERE id = 7")
    connection.commit()
    connection.close()
    result = jtv(*arguments("embedded", "b.db"))
    assert result.code == 3
    assert "jtv: warning: document 7: the vector is missing, zero, or not finite, skipped" in (
        result.stderr.splitlines()
    )
    assert result.counts == "34 stored, 0 known, 35 new occurrences, 1 skipped"


@pytest.mark.tidb
def test_a_text_that_the_cluster_does_not_take_is_left_out(jtv: Jtv, plain_tidb: str) -> None:
    fill(jtv, "embedded", f"short\n{'x' * (7 << 20)}\nas short\n")
    result = jtv(*arguments("embedded", plain_tidb))
    assert result.code == 3
    assert "jtv: warning: document 2: 7,340,032 bytes are more than" in result.stderr
    assert result.counts == "3 stored, 0 known, 4 new occurrences, 1 skipped"
    assert "Verified: every other" in result.stderr


def test_on_a_terminal_it_shows_how_far_it_is(jtv: Jtv) -> None:
    fill(jtv, "embedded", LINES)
    with Terminal(jtv, *arguments("embedded", "b.db")) as terminal:
        assert terminal.wait() == 0
    assert "copying: 512 of 2,001 documents" in terminal.screen
    assert "verifying: 512 of 2,001" in terminal.screen


class TestTiflash:
    """On a cluster that can have an index."""

    def test_the_new_table_gets_its_index(self, jtv: Jtv, tiflash_tidb: str) -> None:
        fill(jtv, "embedded")
        jtv.ok(*arguments("embedded", tiflash_tidb))
        there = ("--database", tiflash_tidb)
        assert jtv.ok("index", "status", *there).stdout.startswith("ready")
        assert "no vector index" not in jtv.ok(*arguments("embedded", tiflash_tidb)).stderr

    def test_without_if_wanted(self, jtv: Jtv, tiflash_tidb: str) -> None:
        fill(jtv, "embedded")
        jtv.ok(*arguments("embedded", tiflash_tidb), "--no-index")
        assert jtv.ok("index", "status", "--database", tiflash_tidb).stdout.startswith("no index")


class TestTheTutorials:
    """The table of TiDB's own tutorial, as it stands."""

    @pytest.fixture
    def tutorial(self, tidb: str) -> str:
        cluster = Cluster(tidb)
        cluster.execute(
            f"CREATE TABLE {TABLE} (id INT NOT NULL AUTO_INCREMENT, content VARCHAR(255) NOT NULL,"
            " content_vec VECTOR(768) COMMENT 'hnsw(distance=cosine)', PRIMARY KEY (id))"
        )
        for text, number in (("a", 1), ("b", 2), ("a", 1), ("none", None), ("zero", 0)):
            vector = None if number is None else f"[{','.join([str(number), '0'] * 384)}]"
            cluster.execute(
                f"INSERT INTO {TABLE} (content, content_vec) VALUES (%s, %s)", text, vector
            )
        return tidb

    def test_what_has_a_vector_is_copied(self, jtv: Jtv, tutorial: str) -> None:
        result = jtv(*arguments(tutorial, "embedded"))
        assert result.code == 3
        first, second, done, _ = result.stderr.splitlines()
        assert (first[:25], second[:25]) == (
            "jtv: warning: document 4:",
            "jtv: warning: document 5:",
        )
        assert result.counts == "2 stored, 1 known, 0 new occurrences, 2 skipped"
        assert "Verified" in done
        assert [row[2] for row in jtv.ok("list").rows] == ["a", "b"]

    def test_nothing_is_copied_into_it(self, jtv: Jtv, tutorial: str) -> None:
        jtv.ok("init", "--model", "jina-embeddings-v2-base-en")
        result = jtv(*arguments("embedded", tutorial))
        assert result.code == 5
        assert "jtv init" in result.error
