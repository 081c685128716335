"""What commands say to arguments that cannot be meant: one line, and exit code 2."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Jtv

# How a byte that is not UTF-8 gets into an argument.
BYTES = "a\udcff"


@pytest.fixture
def filled(on_each_store: Jtv) -> Jtv:
    on_each_store.write("a.jsonl", '{"text": "one", "a": "1"}\n')
    on_each_store.ok("init")
    on_each_store.ok("ingest", "a.jsonl", "--source", "notes")
    return on_each_store


def refused(jtv: Jtv, *arguments: str) -> str:
    """Return the line that says what is wrong."""
    result = jtv(*arguments)
    assert (result.code, result.stdout, result.is_one_error) == (2, "", True), result.stderr
    return result.error


@pytest.mark.parametrize(
    ("command", "what"),
    [
        (("ingest", "a.jsonl", "--source", BYTES), "--source"),
        (("ingest", "a.jsonl", "--source", BYTES, "--dry-run"), "--source"),
        (("sync", "a.jsonl", "--source", BYTES, "--yes"), "--source"),
        (("search", "one", "--where", f"a={BYTES}"), "--where"),
        (("search", "one", "--where", f"{BYTES}=1"), "--where"),
        (("search", "--like", "1", "--where", BYTES), "--where"),
        (("search", BYTES), "the query"),
        (("list", BYTES), "the query"),
    ],
)
def test_what_is_not_utf8(filled: Jtv, command: tuple[str, ...], what: str) -> None:
    assert refused(filled, *command) == f"jtv: error: {what} is not UTF-8"


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (("ingest", "a.jsonl", "--text-field", BYTES), "a.jsonl has no field a\\udcff"),
        (("ingest", ".", "--glob", BYTES), "no file in . matches a\\udcff"),
        (("search", "one", "--model", BYTES), "there is no model a\\udcff"),
        (("search", "one", "--table", BYTES), "invalid table name 'a\\udcff' (--table)"),
    ],
)
def test_what_is_nothing_that_there_is(filled: Jtv, command: tuple[str, ...], says: str) -> None:
    assert f"jtv: error: {says}" in refused(filled, *command)


@pytest.mark.parametrize(
    ("command", "see"),
    [
        (("init", "--table"), "jtv init"),
        (("ingest", "-", "--source"), "jtv ingest"),
        (("copy", "--from", "a", "--to", "b", "--table"), "jtv copy"),
        (("index", "build", "--database"), "jtv index build"),
        (("index", "destroy"), "jtv index"),
        (("--table",), "jtv"),
    ],
    ids=str,
)
def test_the_help_that_is_named_is_the_commands(
    jtv: Jtv, command: tuple[str, ...], see: str
) -> None:
    assert refused(jtv, *command).endswith(f"\nhint: see: {see} --help")


BEYOND = str(10**23)


@pytest.mark.parametrize(
    "command",
    [
        ("search", "one", "-k", str(2**31)),
        ("search", "one", "--k", BEYOND),
        ("list", "--limit", str(2**31)),
        ("list", "--limit", BEYOND),
        ("list", "--after", str(2**63)),
        ("list", "--after", BEYOND),
        ("list", "--after", f"-{BEYOND}"),
    ],
)
def test_numbers_larger_than_any_can_be(filled: Jtv, command: tuple[str, ...]) -> None:
    assert "is not in the range" in refused(filled, *command)


def test_the_largest_numbers(filled: Jtv) -> None:
    filled.ok("ingest", "-", stdin="two\n")
    most = str(2**31 - 1)
    assert len(filled.ok("search", "one", "-k", most).rows) == 2
    assert len(filled.ok("search", "one", "-k", most, "--source", "*").rows) == 1
    assert len(filled.ok("search", "--like", "1", "-k", most).rows) == 1
    assert len(filled.ok("list", "--limit", most).rows) == 2
    assert len(filled.ok("list", "one", "--sort", "distance", "--limit", most).rows) == 2
    assert filled.ok("list", "--after", str(2**63 - 1)).rows == []


@pytest.mark.parametrize("number", [2**63, 2**64, 10**23, 10**100])
def test_a_document_with_an_id_that_none_can_have_is_not_there(filled: Jtv, number: int) -> None:
    says = f"no document {number} in table"
    shown = filled("show", "1", str(number))
    assert (shown.code, len(shown.rows)) == (1, 1)
    assert says in shown.error
    assert says in refused(filled, "delete", "--yes", "1", str(number))
    assert says in refused(filled, "search", "--like", str(number))


TIMES = (
    ("search", "one", "--max-wait"),
    ("list", "one", "--max-wait"),
    ("ingest", "a.jsonl", "--source", "notes", "--max-wait"),
    ("sync", "a.jsonl", "--source", "notes", "--max-wait"),
    ("index", "wait", "--timeout"),
)


@pytest.mark.parametrize("command", TIMES)
def test_seconds(filled: Jtv, command: tuple[str, ...]) -> None:
    for seconds in ("nan", "-1", "-inf"):
        assert f"{seconds.replace('-1', '-1.0')} is not a number of sec" in refused(
            filled, *command, seconds
        )
    for seconds in ("0", "0.5", "1e10", "inf"):
        filled.ok(*command, seconds)


@pytest.mark.parametrize(("option", "least"), [("--k", 1), ("--snippet", 40)])
def test_a_number_that_is_too_small(jtv: Jtv, option: str, least: int) -> None:
    result = jtv("search", "x", option, str(least - 1))
    assert f"{least - 1} is less than {least}\n" in result.error
