"""Documents at the same distance: the smaller id comes first, in every store and on every path."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from jtv_cli.records import Document, Filter, Occurrence
from jtv_cli.stores.sqlite.index import SEGMENT
from jtv_cli.text import text_hash
from tables import DIMENSIONS, document, table_of, vectors

if TYPE_CHECKING:
    from pathlib import Path

    from jtv_cli.records import Vectors
    from jtv_cli.stores import Table


def stored(count: int, seed: int) -> Vectors:
    """Few different vectors, many times each, in an order that is none."""
    chance = np.random.default_rng(seed)
    different = chance.normal(size=(7, DIMENSIONS)).astype(np.float32)
    return different[chance.integers(0, 7, count)]


@pytest.mark.parametrize("exact", [False, True], ids=["", "exact"])
@pytest.mark.parametrize("filter", [None, Filter("even"), Filter("all")], ids=str)
def test_any_number_of_them_is_the_beginning_of_all(
    table: Table, filter: Filter | None, exact: bool
) -> None:
    count = 333
    where = [Occurrence("all", number) for number in range(1, count + 1)]
    documents = [
        document(f"text {number}", place, *([Occurrence("even", number)] * (number % 2 == 0)))
        for number, place in enumerate(where, 1)
    ]
    some = stored(count, seed=1)
    for start, end in ((0, 5), (5, 140), (140, 141), (141, count)):
        table.add(documents[start:end], some[start:end])
    query = vectors(1, seed=9)
    [everything] = table.search(query, count, filter=filter, exact=exact).hits
    assert [(hit.distance, hit.id) for hit in everything] == sorted(
        (hit.distance, hit.id) for hit in everything
    )
    assert len({hit.distance for hit in everything}) == 7
    for k in (1, 2, 3, 4, 5, 8, 50, 100, 200):
        [hits] = table.search(query, k, filter=filter, exact=exact).hits
        assert hits == everything[:k]
    if filter is None:
        ids = [hit.id for hit in everything]
        assert [hit.id for hit in table.rank(query[0])] == ids
        assert [hit.id for hit in table.rank(query[0], limit=60)] == ids[:60]


def test_of_one_that_shares_nothing_with_the_query(table: Table) -> None:
    axes = np.eye(DIMENSIONS, dtype=np.float32)
    table.add([document(f"text {number}") for number in range(8)], axes[[1, 2, 3, 0, 4, 5, 6, 7]])
    for k in (1, 3, 4, 5, 8):
        [hits] = table.search(axes[:1], k).hits
        assert [hit.content for hit in hits] == [
            f"text {number}" for number in (3, 0, 1, 2, 4, 5, 6, 7)
        ][:k]


def test_through_the_index_of_the_embedded_store(tmp_path: Path) -> None:
    chance = np.random.default_rng(3)
    near = chance.normal(size=64)
    some = chance.normal(size=(3 * SEGMENT, 64)).astype(np.float32)
    # Ties among the nearest, in the index and beyond its end, each in a block of its own.
    equal = (near + 0.1 * chance.normal(size=64)).astype(np.float32)
    some[chance.choice(len(some), 40, replace=False)] = equal
    with table_of(tmp_path / "jtv.db", some) as table:
        texts = [Document(f"late {n}", text_hash(f"late {n}"), [Occurrence()]) for n in range(9)]
        table.add(texts, np.repeat(equal[None], 9, axis=0))
        query = near[None].astype(np.float32)
        found = table.search(query, 60, exact=True).hits[0]
        assert len({hit.distance for hit in found[:49]}) == 1
        for k in (1, 3, 10, 45, 49):
            hits, explanation = table.search(query, k, explain=True)
            assert explanation.startswith("index: ")
            assert hits[0] == found[:k]
        many = np.concatenate((query, vectors_like(query, 20)))
        assert table.search(many, 10).hits[0] == found[:10]


def vectors_like(query: Vectors, count: int) -> Vectors:
    noise = np.random.default_rng(5).normal(size=(count, query.shape[1]))
    return (query + 0.01 * noise).astype(np.float32)
