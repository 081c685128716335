"""Filters on tables of the embedded store that are large enough for an index."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from jtv_cli.records import Condition, Document, Filter, Occurrence, Operator
from jtv_cli.stores.filters import metadata_test
from jtv_cli.stores.sqlite import search
from jtv_cli.stores.sqlite.index import SEGMENT
from jtv_cli.text import text_hash
from tables import table_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from jtv_cli.records import Vectors
    from jtv_cli.stores.sqlite.table import SqliteTable

COUNT = 8 * SEGMENT + 500
DIMENSIONS = 64
QUERIES = 20


def clustered(seed: int) -> Vectors:
    """Return vectors of low rank around one of two centres, which `seed` 0 and 1 tell apart."""
    chance, same = np.random.default_rng(seed), np.random.default_rng(9)
    basis, centres = same.normal(size=(16, DIMENSIONS)), same.normal(size=(2, DIMENSIONS))
    inner = chance.normal(size=(COUNT // 2, 16))
    found: Vectors = (inner @ basis + 9 * centres[seed]).astype(np.float32)
    return found


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqliteTable]:
    """A table whose first half, from `first.txt`, is far from its second, from `second.txt`.

    Every fourth document is in `fourth.txt` too, every hundredth of the second half has
    metadata.
    """
    path: Path = tmp_path_factory.mktemp("filter") / "jtv.db"
    halves = np.concatenate((clustered(0), clustered(1)))
    with table_of(path, halves[:0]) as table:
        for start in range(0, COUNT, 2000):
            part = halves[start : start + 2000]
            texts = range(start, start + len(part))
            table.add([of(number) for number in texts], part)
        yield table


def of(number: int) -> Document:
    text = f"text {number}"
    half = "first.txt" if number < COUNT // 2 else "second.txt"
    rare = {"rare": "yes"} if number >= COUNT // 2 and number % 100 == 0 else None
    where = [Occurrence(half, number, rare)]
    if number % 4 == 0:
        where.append(Occurrence("fourth.txt", number))
    return Document(text, text_hash(text), where)


def recall(table: SqliteTable, queries: Vectors, filter: Filter) -> tuple[float, str]:
    """Return how much of the ten nearest that fit is found, and how it was."""
    found = total = 0
    exact = table.search(queries, 10, filter=filter, exact=True).hits
    hits, explanation = table.search(queries, 10, filter=filter, explain=True)
    for nearest, some in zip(exact, hits, strict=True):
        found += len({hit.id for hit in nearest} & {hit.id for hit in some})
        total += len(nearest)
    return found / total, explanation


def test_the_index_is_used_where_much_fits(table: SqliteTable) -> None:
    for pattern in ("fourth.txt", "first.txt", "*"):
        share, said = recall(table, clustered(0)[:QUERIES], Filter(pattern))
        assert said.startswith("index: ")
        assert ", of those that match the filter" in said
        assert share >= 0.97


def test_few_are_compared_one_by_one(table: SqliteTable) -> None:
    filter = Filter("second.txt", (Condition("rare", "yes"),))
    share, said = recall(table, clustered(0)[:QUERIES], filter)
    assert said == f"exact: {COUNT // 200} of {COUNT:,} documents match the filter"
    assert share == 1


def test_all_that_fits_may_be_far_away(table: SqliteTable) -> None:
    """None of the nearest candidates of the index fit, nor any in all of the first half."""
    share, said = recall(table, clustered(0)[:3], Filter("second.txt"))
    assert said.startswith("index: ")
    assert said.endswith("; for 3 of 3 queries, all were compared")
    assert share == 1


def test_an_exact_search_reads_what_fits(table: SqliteTable) -> None:
    sent: list[str] = []
    query = clustered(0)[:1]
    table.documents.connection.set_trace_callback(sent.append)
    found = table.search(query, 5, exact=True, filter=Filter("*.txt"), explain=True)
    table.documents.connection.set_trace_callback(None)
    assert sum("vector" in statement for statement in sent) == 1, "each vector is read once"
    assert found.hits == table.search(query, 5, exact=True).hits
    assert found.explanation == "exact: requested, of those that match the filter"


def test_python_is_called_for_what_may_match_alone(
    table: SqliteTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call takes longer than all that SQLite does with an occurrence."""
    asked: list[str | None] = []

    def counting(filter: Filter) -> Callable[[str | None], bool]:
        test = metadata_test(filter)

        def counted(stored: str | None) -> bool:
            asked.append(stored)
            return test(stored)

        return counted

    monkeypatch.setattr(search, "metadata_test", counting)
    rare = Filter(where=(Condition("rare", "yes"),))
    never = (Condition("rare", "no"), Condition("rare", ("no", "3"), Operator.IN))
    for filter in (rare, *(Filter(where=(one,)) for one in never)):
        asked.clear()
        [hits] = table.search(clustered(0)[:1], 10, filter=filter).hits
        assert len(hits) == (10 if filter is rare else 0)
        assert len(asked) <= COUNT // 200 + 2 * len(hits)
        assert set(asked) <= {'{"rare":"yes"}'}


def test_an_interrupt_while_a_filter_is_asked_is_one(
    table: SqliteTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is most of the time that a filtered search takes."""

    def interrupted(*_: object) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(search, "metadata_test", lambda _: interrupted)
    with pytest.raises(KeyboardInterrupt):
        table.search(clustered(0)[:1], 1, filter=Filter(where=(Condition("rare", "yes"),)))
    monkeypatch.undo()
    assert table.search(clustered(0)[:1], 1).hits
