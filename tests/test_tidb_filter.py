"""Filters on a table of TiDB that has a vector index."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from jtv_cli.records import Document, Filter, Occurrence
from jtv_cli.stores import open_store
from tables import SPEC, document, vectors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jtv_cli.records import Hit
    from jtv_cli.stores import Table

COUNT = 500


@pytest.fixture
def table(tiflash_tidb: str) -> Iterator[Table]:
    """A table with an index: every second document in `even`, every hundredth in `rare`."""
    store = open_store(tiflash_tidb, writable=True)
    store.apply(SPEC, store.plan(SPEC))
    table = store.open(SPEC.name)
    table.add([nth(number) for number in range(COUNT)], vectors(COUNT))
    yield table
    store.close()


def nth(number: int) -> Document:
    where = [Occurrence("all", number)]
    where += [Occurrence("even", number)] * (number % 2 == 0)
    where += [Occurrence("rare", number)] * (number % 100 == 0)
    return document(str(number), *where)


def search(table: Table, source: str, **options: float) -> tuple[list[list[Hit]], str]:
    queries = vectors(3, seed=7)
    return table.search(queries, 10, filter=Filter(source), explain=True, **options)  # type: ignore[arg-type]


def expected(step: int) -> list[list[str]]:
    stored = vectors(COUNT)
    unit = stored / np.linalg.norm(stored, axis=1, keepdims=True)
    nearest = [np.argsort(-(unit @ query)).tolist() for query in vectors(3, seed=7)]
    return [[str(one) for one in order if one % step == 0][:10] for order in nearest]


def texts(found: list[list[Hit]]) -> list[list[str]]:
    return [[hit.content for hit in hits] for hits in found]


def test_where_enough_of_the_nearest_fit_the_index_answers(table: Table) -> None:
    hits, said = search(table, "even")
    assert texts(hits) == expected(2)
    assert said == "the vector index was used"
    assert {hit.source for some in hits for hit in some} == {"even"}


def test_where_too_few_fit_all_that_fit_are_compared(table: Table) -> None:
    hits, said = search(table, "rare")
    assert texts(hits) == expected(100)
    assert said == ("the vector index was used; for 3 of 3 queries, all were compared")


def test_the_index_answers_where_the_rest_is_too_far(table: Table) -> None:
    hits, said = search(table, "rare", max_distance=0.05)
    assert texts(hits) == [[], [], []]
    assert said == "the vector index was used"


def test_an_exact_search(table: Table) -> None:
    hits, said = search(table, "even", exact=True)
    assert texts(hits) == expected(2)
    assert said.startswith("no index was used: --exact compares all vectors")
