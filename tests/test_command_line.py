"""How a command line may be written: queries of several words, other names, options anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Jtv

CLUSTER = "mysql://someone:secret@127.0.0.1:1/test"


class TestQueries:
    @pytest.mark.parametrize("command", [["search"], ["list"], ["list", "--sort", "distance"]])
    def test_words_are_joined(self, sampled: Jtv, command: list[str]) -> None:
        one = sampled.ok(*command, "what is tidb").stdout
        assert sampled.ok(*command, "what", "is", "tidb").stdout == one
        assert sampled.ok(*command, "what", "is", "--json", "tidb").records

    @pytest.mark.parametrize("command", ["search", "list"])
    def test_standard_input_is_one_query(self, sampled: Jtv, command: str) -> None:
        expected = sampled.ok(command, "what is\ntidb").stdout
        assert sampled.ok(command, "-", stdin="what is\ntidb\n").stdout == expected

    @pytest.mark.parametrize(
        ("stdin", "says"), [("", "empty"), (" \n", "empty"), (b"\xff", "not UTF-8")]
    )
    def test_standard_input_that_is_none(self, sampled: Jtv, stdin: bytes | str, says: str) -> None:
        result = sampled("search", "-", stdin=stdin)
        assert (result.code, result.is_one_error) == (2, True)
        assert f"the query is {says}" in result.error

    def test_standard_input_that_is_closed(self, sampled: Jtv) -> None:
        result = sampled("search", "-", prefix=["sh", "-c", 'exec "$@" <&-', "sh"])
        assert (result.code, result.is_one_error) == (2, True)

    @pytest.mark.parametrize("command", ["search", "list"])
    @pytest.mark.parametrize(
        "query", ["-foo", "-x", "-5", "--nothing-of-it", "-0x", "-foo bar", "-kx"]
    )
    def test_one_that_begins_with_a_hyphen_is_explained(
        self, sampled: Jtv, command: str, query: str
    ) -> None:
        result = sampled(command, query)
        assert (result.code, result.is_one_error) == (2, True)
        shown = f"'{query}'" if " " in query else query
        assert f"jtv {command} -- {shown};" in result.error
        assert sampled.ok(command, "--limit", "1", "--", query).rows


class TestNames:
    @pytest.mark.parametrize(
        ("other", "usual"),
        [
            (["ls"], ["list"]),
            (["ls", "-n", "3"], ["list", "--limit", "3"]),
            (["list", "-k", "3"], ["list", "--limit", "3"]),
            (["search", "x", "-n", "2"], ["search", "x", "-k", "2"]),
            (["search", "x", "--limit", "2"], ["search", "x", "--k", "2"]),
            (["help", "search"], ["search", "--help"]),
            (["help", "ls"], ["list", "--help"]),
            (["help", "index", "build"], ["index", "build", "--help"]),
            (["help"], ["--help"]),
            (["--table", "jinaai_tidb_demo_documents", "list"], ["list"]),
            (["-q", "ls"], ["list"]),
            (["--json", "search", "x"], ["search", "x", "--json"]),
            (["--json", "index", "status"], ["index", "status", "--json"]),
        ],
        ids=str,
    )
    def test_they_do_the_same(self, sampled: Jtv, other: list[str], usual: list[str]) -> None:
        expected = sampled.ok(*usual)
        assert expected.stdout
        assert sampled.ok(*other).stdout == expected.stdout

    def test_rm_deletes(self, sampled: Jtv) -> None:
        sampled.ok("rm", "1", "--yes")
        assert len(sampled.ok("list").rows) == 33

    @pytest.mark.parametrize(
        ("command", "hint"),
        [
            (["serch", "x"], "did you mean 'search'"),
            (["search", "x", "--limt", "3"], "did you mean '--like, --limit"),
            (["--format", "json", "list"], "put options after the command"),
            (["index", "--table", "x", "status"], "put options after the command"),
            (["help", "nothing"], "see: jtv --help"),
        ],
        ids=str,
    )
    def test_the_right_one_is_named(self, jtv: Jtv, command: list[str], hint: str) -> None:
        result = jtv(*command)
        assert (result.code, result.is_one_error) == (2, True)
        assert f"hint: {hint}" in result.error


@pytest.mark.parametrize(
    "command",
    [
        ["ingest", "t.csv"],
        ["sync", "t.csv"],
        ["search", "x"],
        ["list"],
        ["show", "1"],
        ["delete", "1", "--yes"],
        ["info"],
        ["export"],
        ["index", "status"],
    ],
    ids=" ".join,
)
def test_a_hint_repeats_the_options_of_the_call(made: Jtv, command: list[str]) -> None:
    made.write("t.csv", "text\na\n")
    result = made(*command, "--table", "tickets", "--database", "my store.db")
    assert result.code == 5
    assert "hint: create it with: jtv init --database 'my store.db' --table tickets" in result.error
    created = made.ok("init", "--database", "my store.db", "--table", "tickets")
    assert "table tickets" in created.last_line


def test_a_hint_repeats_the_model_for_init_alone(jtv: Jtv) -> None:
    jtv.ok("init", "--table", "other")
    result = jtv("ingest", "-", "--table", "tickets", "--model", "hashing-v1", stdin="a\n")
    assert result.error.endswith("jtv init --table tickets --model hashing-v1")


def test_a_hint_repeats_how_to_reach_the_model(jtv: Jtv) -> None:
    jtv.ok("init", "--table", "other")
    options = ("--table", "t", "--model", "m", "--api-base", "http://127.0.0.1:1/v1", "--no-key")
    result = jtv("ingest", "-", *options, stdin="a\n")
    assert result.error.endswith(f"jtv init {' '.join(options)}")


class TestTwoStores:
    """Both JTV_DATABASE and TIDB_DATABASE_URL are set."""

    @pytest.fixture
    def both(self, sampled: Jtv) -> Jtv:
        sampled.write("a.txt", "a\nb\n")
        sampled.write("export.jsonl", sampled.ok("export", "--vectors").raw_stdout)
        sampled.environment |= {"JTV_DATABASE": "own.db", "TIDB_DATABASE_URL": CLUSTER}
        sampled.ok("init", "--quiet")
        return sampled

    @pytest.mark.parametrize(
        "command",
        [
            ["init"],
            ["init", "--drop", "--yes"],
            ["ingest", "a.txt"],
            ["sync", "a.txt"],
            ["import", "export.jsonl"],
            ["index", "build"],
            ["index", "drop"],
        ],
        ids=" ".join,
    )
    def test_every_write_says_which_one_is_used(self, both: Jtv, command: list[str]) -> None:
        line = both.ok(*command).last_line
        assert line.endswith(
            "own.db (JTV_DATABASE in the environment; TIDB_DATABASE_URL is not used)"
        )

    def test_delete_does_too(self, both: Jtv) -> None:
        both.ok("ingest", "a.txt")
        line = both.ok("delete", "1", "--yes").last_line
        assert line.endswith("TIDB_DATABASE_URL is not used)")

    def test_so_does_doctor(self, both: Jtv) -> None:
        checks = {name: detail for _, name, detail in both.ok("doctor", "--no-api").rows}
        assert checks["store"].endswith("; TIDB_DATABASE_URL is not used)")

    def test_in_a_settings_file_too(self, both: Jtv) -> None:
        del both.environment["TIDB_DATABASE_URL"]
        both.write(".env", f"TIDB_DATABASE_URL={CLUSTER}\n")
        line = both.ok("ingest", "a.txt").last_line
        assert line.endswith("; TIDB_DATABASE_URL is not used)")

    def test_nothing_is_said_where_it_is_clear(self, both: Jtv) -> None:
        line = both.ok("ingest", "a.txt", "--database", "own.db").last_line
        assert "TIDB_DATABASE_URL" not in line
        both.environment["JTV_DATABASE"] = "tidb"
        assert both("list").code == 5
