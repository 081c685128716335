"""The options that filter documents, on the command line."""

from __future__ import annotations

import pytest

from conftest import Jtv  # noqa: TC001

RECORDS = """\
{"text": "one", "lang": "en", "year": 2019, "tags": ["a", "b"], "site": {"name": "x"}}
{"text": "two", "lang": "de", "year": 2020, "day": "2024-05-01", "site": {"name": "y"}}
{"text": "three", "lang": "en", "year": "2021"}
{"text": "four"}
"""


@pytest.fixture
def filled(on_each_store: Jtv) -> Jtv:
    on_each_store.ok("init")
    on_each_store.ok("ingest", "-", "--input", "jsonl", "--source", "r.jsonl", stdin=RECORDS)
    return on_each_store


@pytest.mark.parametrize(
    ("options", "texts"),
    [
        (["--where", "year>=2020"], "two three"),
        (["--where", "year >= 2020", "--where", "lang=en"], "three"),
        (["--where-any", "year<2020", "--where-any", "lang=de"], "one two"),
        (["--where", "lang=en", "--where-any", "tags contains b", "--where-any", "x=1"], "one"),
        (["--where", "lang in (de, fr)"], "two"),
        (["--where", "lang!=en"], "two"),
        (["--where", "site.name exists"], "one two"),
        (["--where", "site.name=y"], "two"),
        (["--where", "day > 2024-04-30T23:00:00Z"], "two"),
    ],
)
def test_conditions(filled: Jtv, options: list[str], texts: str) -> None:
    rows = filled.ok("search", "one", *options).rows
    assert sorted(row[2] for row in rows) == sorted(texts.split())


def test_a_field_that_no_document_has_is_named(filled: Jtv) -> None:
    result = filled("search", "one", "--where", "site.title exists")
    assert result.code == 1
    assert result.stderr.startswith('jtv: warning: no document has a field "site.title"\nhint: the')
    both = ("--where-any", "x=1", "--where-any", "year=1")
    assert filled("search", "one", *both).stderr == ""


@pytest.mark.parametrize(
    "options",
    [
        ("--where", "year >"),
        ("--where", "lang in en"),
        ("--where-any", "lang"),
        ("--after", "yesterday"),
        ("--before", "2024-02-30"),
    ],
)
def test_what_cannot_be_read_is_exit_2(jtv: Jtv, options: tuple[str, str]) -> None:
    result = jtv("search", "one", *options)
    assert result.code == 2
    assert result.is_one_error
    assert result.error.startswith(f"jtv: error: {options[0]}")
    assert f"hint: for example: {options[0]} " in result.error or "compare with" in result.error
