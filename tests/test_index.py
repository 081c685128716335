"""`jtv index`, and what `search --explain` says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jtv_cli.config import DEFAULT_TABLE
from jtv_cli.stores.sqlite.index import SEGMENT
from terminal import Terminal

if TYPE_CHECKING:
    from conftest import Jtv, Prepare

COMMANDS = ("status", "build", "drop", "wait", "check")


@pytest.fixture
def indexed(jtv: Jtv, prepare: Prepare) -> Jtv:
    """A user with a table of one segment and ten more documents."""
    lines = "".join(f"this is line {number} of some\n" for number in range(SEGMENT + 10))
    return prepare(jtv, ("init",), ("ingest", "-"), stdin=lines)


def test_a_small_table(sampled: Jtv) -> None:
    status = sampled.ok("index", "status")
    assert status.stdout.startswith("no index: not needed (small tables are")
    assert status.stderr == ""
    assert sampled.ok("index", "wait").stderr == status.stdout
    built = sampled.ok("index", "build")
    assert built.stderr.startswith(status.stdout)
    result = sampled("index", "check")
    assert result.code == 5
    assert result.error.endswith("has no index to check\nhint: see why: jtv index status")
    assert "exact" in sampled.ok("search", "x", "--explain").stderr


def test_status(indexed: Jtv) -> None:
    detail = f"index: 512 candidates of {SEGMENT + 10:,} documents"
    assert indexed.ok("index", "status").stdout == (
        f"ready: {SEGMENT:,} of {SEGMENT + 10:,} documents indexed; {detail}\n"
    )
    assert indexed.ok("index", "status", "--json").records == [
        {
            "table": DEFAULT_TABLE,
            "state": "ready",
            "indexed": SEGMENT,
            "pending": 10,
            "detail": detail,
        }
    ]
    assert indexed.ok("search", "line 7", "--explain").stderr == f"{detail}\n"
    assert indexed.ok("search", "line 7").stderr == ""


def test_drop_and_build(indexed: Jtv) -> None:
    before = indexed.ok("search", "line 77").rows
    assert indexed.ok("index", "drop").stderr.startswith("Dropped the index\ntable ")
    assert "jtv index build" in indexed.ok("search", "line 77", "--explain").stderr
    assert indexed.ok("index", "drop", "--json").records == [
        {"table": DEFAULT_TABLE, "dropped": False}
    ]
    [record] = indexed.ok("index", "build", "--json").records
    assert (record["state"], record["indexed"]) == ("ready", SEGMENT)
    assert indexed.ok("search", "line 77").rows == before


def test_check(indexed: Jtv) -> None:
    measured = dict(indexed.ok("index", "check").rows)
    assert float(measured["recall@10"]) >= 0.99
    assert (measured["queries"], measured["candidates"]) == ("100", "512")
    assert measured["by index"].endswith(" ms")
    [record] = indexed.ok("index", "check", "--queries", "5", "--json").records
    assert list(record) == [
        *("table", "queries", "recall", "candidates", "needed"),
        *("index_seconds", "exact_seconds", "verdict"),
    ]
    assert record["queries"] == 5


def test_check_on_a_terminal(indexed: Jtv) -> None:
    with Terminal(indexed, "index", "check") as terminal:
        assert terminal.wait() == 0
    assert "queries           100" in terminal.lines


@pytest.mark.parametrize("command", COMMANDS)
def test_no_table(jtv: Jtv, command: str) -> None:
    result = jtv("index", command)
    assert result.code == 5
    assert 'no table "' in result.error


def test_reading_the_status_needs_no_write_access(indexed: Jtv, as_a_user: list[str]) -> None:
    indexed.database.chmod(0o400)
    indexed.data_folder.chmod(0o500)
    assert indexed.ok("index", "status", prefix=as_a_user).stdout.startswith("ready")
    assert len(indexed.ok("search", "line 77", prefix=as_a_user).rows) == 5
