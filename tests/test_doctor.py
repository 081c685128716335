"""`jtv doctor`: what it looks at, what it says, and that it always ends."""

from __future__ import annotations

from threading import Event
from typing import TYPE_CHECKING

import pytest

import jina_faults
from jtv_cli.cli.doctor import CheckGroup, run_checks
from jtv_cli.errors import ExitCode, UsageError
from jtv_cli.records import Check, Outcome
from terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Jtv, Result
    from jina_server import JinaServer

TABLE = "jinaai_tidb_demo_documents"
SETTINGS = ["store", "table name", "model", "API key", "API base"]


def details(result: Result, outcome: str) -> dict[str, str]:
    """The details of the checks that ended so, by name."""
    return {name: detail for found, name, detail in result.rows if found == outcome}


def test_all_is_well(on_each_store: Jtv) -> None:
    jtv = on_each_store
    jtv.ok("init", "--no-index")
    jtv.ok("ingest", "-", stdin="a\nb\n")
    result = jtv.ok("doctor")
    assert details(result, "failed") == {}
    found = details(result, "ok")
    assert [name for name in found if name in SETTINGS] == SETTINGS
    assert found["table"] == f"{TABLE}: model hashing-v1, 768 dimensions, 2 documents"
    assert found["index"].startswith("none: ")
    assert found["API"] == "not needed: hashing-v1 runs on this machine"
    assert result.stderr == ""


def test_what_is_looked_at_in_a_file(sampled: Jtv) -> None:
    result = sampled.ok("doctor", "--no-api")
    assert [row[1] for row in result.rows] == [
        *(*SETTINGS, "file", "integrity", "disk space", "table", "index"),
    ]
    assert {row[0] for row in result.rows} == {"ok"}


def test_what_is_looked_at_in_a_cluster(jtv: Jtv, tiflash_tidb: str) -> None:
    jtv.environment |= {"JTV_DATABASE": tiflash_tidb, "JTV_MODEL": "hashing-v1"}
    jtv.ok("init")
    result = jtv.ok("doctor", "--no-api")
    assert [row[1] for row in result.rows] == [
        *(*SETTINGS, "connection", "server", "TiFlash", "table", "index"),
    ]
    jtv.ok("ingest", "-", stdin="a\n")
    assert "the vector index was used" in details(jtv.ok("doctor", "--no-api"), "ok")["index"]
    # As after a build that failed.
    jtv.ok("index", "drop")
    said = details(jtv.ok("doctor", "--no-api"), "warning")
    assert said["index"] == "none: create it with: jtv init"


def test_as_json(sampled: Jtv) -> None:
    records = sampled.ok("doctor", "--json").records
    assert {tuple(record) for record in records} == {("name", "outcome", "detail")}
    assert records[0] == {
        "name": "store",
        "outcome": "ok",
        "detail": f"{sampled.database} (default)",
    }


def test_on_a_terminal(sampled: Jtv) -> None:
    with Terminal(sampled, "doctor", columns=200) as terminal:
        assert terminal.wait() == 0
    lines = [line for line in terminal.lines if line]
    assert lines[0] == f"ok       store        {sampled.database} (default)"
    assert not [line for line in lines if "checking" in line]


class TestSettings:
    def test_each_says_where_it_came_from(self, sampled: Jtv) -> None:
        folder = sampled.folder / "work"
        sampled.write(".env", "JTV_TABLE=mine\nJINA_API_BASE=https://h/v1\n")
        env = {"JTV_MODEL": "jina-embeddings-v3"}
        found = details(sampled("doctor", "--no-api", env=env), "ok")
        assert found["table name"] == f"mine (JTV_TABLE in {folder}/.env)"
        assert found["model"] == "jina-embeddings-v3 (JTV_MODEL in the environment)"
        assert found["API key"] == "not set"
        assert found["API base"] == f"https://h/v1 (JINA_API_BASE in {folder}/.env)"

    @pytest.mark.parametrize("password", ["a_password", "abc", "p@ss:w/rd"])
    def test_no_secret_is_shown(self, jtv: Jtv, password: str) -> None:
        env = {
            "TIDB_DATABASE_URL": f"mysql://root:{password}@127.0.0.1:1/test",
            "JTV_DATABASE": "tidb",
            "JINA_API_KEY": "jina_of_these_tests",
        }
        for options in ((), ("--json",), ("--debug",)):
            result = jtv("doctor", "--no-api", *options, env=env)
            assert result.code == 5
            assert "jina_of" not in result.stdout + result.stderr
            assert password not in result.stdout + result.stderr
        found = details(jtv("doctor", "--no-api", env=env), "ok")
        assert found["store"] == "127.0.0.1:1/test (TIDB_DATABASE_URL in the environment)"
        assert found["API key"] == "*** (JINA_API_KEY in the environment)"

    @pytest.mark.parametrize(
        ("env", "name", "says"),
        [
            ({"JTV_MODEL": "gpt"}, "model", "there is no model gpt"),
            ({"JTV_DATABASE": "tidb"}, "store", "TIDB_DATABASE_URL is not set"),
            ({"JTV_DATABASE": "mysql://h"}, "store", "has no user"),
            ({"JTV_DATABASE": "postgres://u@h/d"}, "store", "cannot use a postgres:// URL"),
            ({"JINA_API_BASE": "ftp:nonsense"}, "API base", "is not an http or https URL"),
            ({"JINA_API_BASE": "https://h?key=in_the_url"}, "API base", "has a query"),
            ({"JINA_API_BASE": "https://in_the_url@h"}, "API base", "has a user name"),
        ],
        ids=str,
    )
    def test_what_cannot_be_meant(
        self, sampled: Jtv, env: dict[str, str], name: str, says: str
    ) -> None:
        result = sampled("doctor", "--no-api", env=env)
        assert result.code == 2
        assert says in details(result, "failed")[name]
        assert "in_the_url" not in result.stdout + result.stderr
        assert details(result, "ok").keys() >= set(SETTINGS) - {name}

    def test_a_key_that_would_travel_to_a_strangers_api(self, sampled: Jtv) -> None:
        sampled.write(".env", "JINA_API_BASE=https://elsewhere.example\n")
        result = sampled("doctor", env={"JINA_API_KEY": "jina_0123456789"})
        assert result.code == 2
        failed = details(result, "failed")
        assert "is not sent" in failed["API base"]
        assert "is not sent" in failed["API"]


class TestDatabase:
    def test_no_table(self, on_each_store: Jtv) -> None:
        result = on_each_store("doctor")
        assert result.code == 5
        assert list(details(result, "failed")) == ["table"]
        assert "jtv init" in details(result, "failed")["table"]

    def test_another_model_than_demanded(self, sampled: Jtv) -> None:
        result = sampled("doctor", "--no-api", "--model", "jina-embeddings-v3")
        assert result.code == 5
        assert "static-v1" in details(result, "failed")["table"]

    def test_a_file_of_another_program(self, jtv: Jtv) -> None:
        jtv.write("x.db", "no database\n" * 1000)
        result = jtv("doctor", "--no-api", "--database", "x.db")
        assert result.code == 5
        assert "not a database" in details(result, "failed")["database"]

    def test_a_server_that_is_not_there(self, jtv: Jtv) -> None:
        result = jtv("doctor", "--no-api", "--database", "mysql://root@127.0.0.1:1/test")
        assert result.code == 5
        assert "cannot connect to 127.0.0.1:1/test" in details(result, "failed")["connection"]

    def test_nothing_is_made(self, jtv: Jtv) -> None:
        jtv("doctor", "--no-api")
        assert not jtv.database.exists()


class TestApi:
    def test_one_tiny_call(self, keyed: Jtv, api: JinaServer) -> None:
        keyed.ok("init", "--model", "jina-embeddings-v3")
        result = keyed.ok("doctor")
        assert len(api.requests) == 1
        assert "jina-embeddings-v3 replied" in details(result, "ok")["API"]
        assert "1024 dimensions" in details(result, "ok")["API"]
        keyed.ok("doctor", "--no-api")
        assert len(api.requests) == 1

    def test_a_key_is_tried_even_if_the_table_needs_none(self, keyed: Jtv, api: JinaServer) -> None:
        keyed.ok("init", "--model", "hashing-v1")
        assert "jina-embeddings-v2-base-en replied" in details(keyed.ok("doctor"), "ok")["API"]
        assert len(api.requests) == 1

    def test_the_model_that_is_demanded_is_tried(self, keyed: Jtv, api: JinaServer) -> None:
        keyed.ok("init", "--model", "hashing-v1")
        result = keyed("doctor", "--model", "jina-embeddings-v3")
        assert list(details(result, "failed")) == ["table"]
        assert "jina-embeddings-v3 replied" in details(result, "ok")["API"]
        result = keyed.ok("doctor", "--model", "hashing-v1")
        assert "jina-embeddings-v2-base-en replied" in details(result, "ok")["API"]
        assert len(api.requests) == 2

    def test_a_wrong_key(self, keyed: Jtv) -> None:
        keyed.ok("init")
        result = keyed("doctor", env={"JINA_API_KEY": "jina_another_key"})
        assert result.code == 4
        assert list(details(result, "failed")) == ["API"]

    def test_no_key(self, jtv: Jtv) -> None:
        jtv.ok("init", "--model", "jina-embeddings-v3")
        result = jtv("doctor")
        assert result.code == 2
        assert "JINA_API_KEY" in details(result, "failed")["API"]

    def test_what_failed_first_counts(self, keyed: Jtv) -> None:
        result = keyed("doctor", env={"JINA_API_KEY": "jina_another_key"})
        assert list(details(result, "failed")) == ["table", "API"]
        assert result.code == 5

    def test_one_that_hangs(self, keyed: Jtv, api: JinaServer) -> None:
        keyed.ok("init")
        api.misbehave(jina_faults.hang(60))
        result = keyed("doctor")
        assert result.code == 4
        assert details(result, "failed") == {"API": "no answer within 10 seconds"}


class TestTiming:
    @staticmethod
    def look(checks: Iterator[Check], seconds: float = 60) -> CheckGroup:
        return CheckGroup("it", ExitCode.STORE, seconds, lambda: checks)

    def test_what_comes_is_passed_on_and_what_does_not_is_a_failure(self) -> None:
        never = Event()

        def checks() -> Iterator[Check]:
            yield Check("one", Outcome.OK, "well")
            never.wait()

        one, two = run_checks(self.look(checks(), 0.2))
        never.set()
        assert one.check == Check("one", Outcome.OK, "well")
        assert two.check == Check("it", Outcome.FAILED, "no answer within 0.2 seconds")
        assert two.exit_code is ExitCode.STORE

    def test_an_error_is_a_failure_of_its_own_kind(self) -> None:
        def checks() -> Iterator[Check]:
            yield Check("one", Outcome.OK, "well")
            raise UsageError("wrong", hint="right")

        *_, last = run_checks(self.look(checks()))
        assert last.check == Check("it", Outcome.FAILED, "wrong; right")
        assert last.exit_code is ExitCode.USAGE

    def test_a_defect_stays_one(self) -> None:
        def checks() -> Iterator[Check]:
            yield Check("one", Outcome.OK, "well")
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            list(run_checks(self.look(checks())))
