"""`jtv search` and `jtv list`: what they find, in which order, with which exit code."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from conftest import SAMPLE_TEXTS

if TYPE_CHECKING:
    from conftest import Jtv

TIDB = SAMPLE_TEXTS.read_text().splitlines()[1]
SAMPLES = len(SAMPLE_TEXTS.read_text().splitlines())


def distances(rows: list[list[str]]) -> list[float]:
    return [float(row[0]) for row in rows]


class TestSearch:
    def test_the_nearest_first(self, sampled: Jtv) -> None:
        result = sampled.ok("search", "What is TiDB?")
        assert len(result.rows) == 5
        assert result.rows[0][2] == TIDB
        assert distances(result.rows) == sorted(distances(result.rows))
        assert result.stderr == ""

    @pytest.mark.parametrize(("k", "shown"), [(1, 1), (7, 7), (1000, SAMPLES)])
    @pytest.mark.parametrize("flag", ["--k", "-k"])
    def test_k(self, sampled: Jtv, flag: str, k: int, shown: int) -> None:
        assert len(sampled.ok("search", "database", flag, str(k)).rows) == shown

    @pytest.mark.parametrize("k", ["0", "-1", "many"])
    def test_a_k_that_cannot_be(self, sampled: Jtv, k: str) -> None:
        assert sampled("search", "x", "--k", k).code == 2

    def test_max_distance(self, sampled: Jtv) -> None:
        everything = sampled.ok("search", "What is TiDB?", "-k", "100").rows
        cut = (float(everything[0][0]) + float(everything[1][0])) / 2
        rows = sampled.ok("search", "What is TiDB?", "--max-distance", str(cut)).rows
        assert rows == everything[:1]

    def test_nothing_found_is_exit_1_and_silent(self, sampled: Jtv) -> None:
        result = sampled("search", "xylophone", "--max-distance", "0.01")
        assert (result.code, result.stdout, result.stderr) == (1, "", "")

    @pytest.mark.parametrize("distance", ["-1", "2.1", "nan", "near"])
    def test_a_distance_that_cannot_be(self, sampled: Jtv, distance: str) -> None:
        assert sampled("search", "x", "--max-distance", distance).code == 2

    def test_an_empty_table_finds_nothing(self, jtv: Jtv) -> None:
        jtv.ok("init")
        assert jtv("search", "x").code == 1

    @pytest.mark.parametrize("query", ["", "  \t"])
    def test_an_empty_query(self, sampled: Jtv, query: str) -> None:
        for command in ("search", "list"):
            result = sampled(command, query)
            assert result.code == 2
            assert result.error == "jtv: error: the query is empty"

    def test_a_query_that_is_not_utf8(self, sampled: Jtv) -> None:
        result = sampled("search", b"caf\xe9".decode(errors="surrogateescape"))
        assert result.code == 2
        assert "not UTF-8" in result.error

    @pytest.mark.parametrize(
        "query", ["🦣", "漢字", "[bold]", "?!", "-- --k", "\u202e", "x" * 100_000]
    )
    def test_any_query(self, sampled: Jtv, query: str) -> None:
        assert len(sampled.ok("search", "--", query).rows) == 5

    def test_no_table(self, jtv: Jtv) -> None:
        for command in (["search", "x"], ["list"], ["list", "x"]):
            result = jtv(*command)
            assert result.code == 5
            assert 'no table "jinaai_tidb_demo_documents"' in result.error
            assert "jtv ingest FILE" in result.error
        assert not jtv.data_folder.exists()

    def test_a_typing_error_is_one_line_that_helps(self, jtv: Jtv) -> None:
        result = jtv("serch", "x")
        assert result.code == 2
        assert result.is_one_error
        assert "did you mean 'search'?" in result.error
        assert jtv("search", "x", "--nope").stderr.endswith("see: jtv search --help\n")


class TestList:
    def test_every_document_in_order_of_id(self, sampled: Jtv) -> None:
        rows = sampled.ok("list").rows
        texts = SAMPLE_TEXTS.read_text().splitlines()
        assert rows == [
            ["-", str(number), text, str(SAMPLE_TEXTS), str(number)]
            for number, text in enumerate(texts, 1)
        ]

    def test_with_the_distances_of_a_search(self, sampled: Jtv) -> None:
        rows = sampled.ok("list", "What is TiDB?").rows
        assert [row[1] for row in rows] == [str(number) for number in range(1, SAMPLES + 1)]
        best = min(rows, key=lambda row: float(row[0]))
        assert [best] == sampled.ok("search", "What is TiDB?", "-k", "1").rows

    def test_by_distance(self, sampled: Jtv) -> None:
        rows = sampled.ok("list", "What is TiDB?", "--sort", "distance").rows
        assert rows == sampled.ok("search", "What is TiDB?", "-k", "1000").rows
        assert (
            sampled.ok("list", "What is TiDB?", "--sort", "distance", "--limit", "3").rows
            == rows[:3]
        )

    def test_limit_and_after(self, sampled: Jtv) -> None:
        everything = sampled.ok("list").rows
        assert sampled.ok("list", "--limit", "3").rows == everything[:3]
        assert sampled.ok("list", "--after", "30").rows == everything[30:]
        assert sampled.ok("list", "--after", "10", "--limit", "2").rows == everything[10:12]
        assert sampled.ok("list", "--limit", "0").rows == []

    @pytest.mark.parametrize(
        "options",
        [["--sort", "distance"], ["x", "--sort", "distance", "--after", "1"], ["--limit", "-1"]],
    )
    def test_options_that_do_not_fit(self, sampled: Jtv, options: list[str]) -> None:
        assert sampled("list", *options).code == 2

    @pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
    def test_memory_is_constant(self, jtv: Jtv) -> None:
        """A list of 30,000 vectors (90 MB) passes through far less."""
        jtv.ok("init")
        jtv.ok("ingest", "-", stdin="".join(f"line {number}\n" for number in range(30_000)))
        program = (
            "import pathlib, re, sys\n"
            "from jtv_cli.cli.run import run\n"
            "run(sys.argv[2:])\n"
            "status = pathlib.Path('/proc/self/status').read_text()\n"
            "sys.stderr.write(re.search(r'VmHWM:\\s+(\\d+) kB', status)[1])"
        )
        for command in (["list", "line 7"], ["list", "line 7", "--sort", "distance"], ["list"]):
            result = jtv(*command, prefix=[sys.executable, "-c", program])
            assert len(result.rows) == 30_000
            assert int(result.stderr) < 80 * 1024


class TestReadOnly:
    @pytest.fixture
    def locked(self, sampled: Jtv, as_a_user: list[str]) -> Jtv:
        self.prefix = as_a_user
        sampled.database.chmod(0o400)
        sampled.data_folder.chmod(0o500)
        return sampled

    def test_a_file_and_folder_without_write_access_can_be_read(self, locked: Jtv) -> None:
        assert locked.ok("search", "What is TiDB?", prefix=self.prefix).rows[0][2] == TIDB
        assert len(locked.ok("list", prefix=self.prefix).rows) == SAMPLES
        locked.data_folder.chmod(0o700)
        assert [path.name for path in locked.data_folder.iterdir()] == ["jtv.db"]

    @pytest.mark.parametrize(
        "command", [["ingest", "-"], ["init", "--drop", "--yes"], ["init", "--table", "x"]]
    )
    def test_but_not_written(self, locked: Jtv, command: list[str]) -> None:
        result = locked(*command, stdin="new\n", prefix=self.prefix)
        assert result.code == 5
        assert result.error.startswith(f"jtv: error: {locked.database} is read-only")

    def test_reading_leaves_nothing_behind(self, sampled: Jtv) -> None:
        before = sampled.database.read_bytes()
        sampled.ok("search", "What is TiDB?")
        assert sampled.database.read_bytes() == before
        assert [path.name for path in sampled.data_folder.iterdir()] == ["jtv.db"]
