"""Varied hits: a few of each source, and those that differ most from one another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from jtv_cli.pipeline.ranking import keep_per_source, maximal_marginal_relevance
from jtv_cli.pipeline.search import SearchOptions, search
from jtv_cli.records import Filter, Hit, Occurrence
from tables import DIMENSIONS, document, vectors

if TYPE_CHECKING:
    from conftest import Jtv
    from jtv_cli.records import Vectors
    from jtv_cli.stores import Table


def hits_in(*sources: str | None) -> list[Hit]:
    return [Hit(number, "", number / 10, source) for number, source in enumerate(sources)]


def towards(*angles: float) -> Vectors:
    """Return unit vectors at these angles in a plane, in degrees."""
    radians = np.deg2rad(np.array(angles))
    plane = np.zeros((len(angles), DIMENSIONS), np.float32)
    plane[:, 0], plane[:, 1] = np.cos(radians), np.sin(radians)
    return plane


class TestKeepPerSource:
    def test_the_first_of_each_source_in_their_order(self) -> None:
        hits = hits_in("a", "a", None, "b", "a", None, "b")
        assert [hit.id for hit in keep_per_source(hits, 1)] == [0, 2, 3]
        assert [hit.id for hit in keep_per_source(hits, 2)] == [0, 1, 2, 3, 5, 6]
        assert keep_per_source([], 1) == []


class TestMaximalMarginalRelevance:
    def test_a_near_duplicate_makes_room(self) -> None:
        query, stored = towards(0)[0], towards(10, 11, -40, 90)
        picked = maximal_marginal_relevance(query, stored, hits_in(*"abcd"), 2)
        assert [hit.id for hit in picked] == [0, 2]

    def test_a_weight_of_one_is_relevance_alone(self) -> None:
        query, stored = towards(0)[0], towards(10, 11, -40, 90)
        picked = maximal_marginal_relevance(query, stored, hits_in(*"abcd"), 2, weight=1)
        assert [hit.id for hit in picked] == [0, 1]

    def test_as_by_definition(self) -> None:
        """Against the definition, written down in loops."""
        for seed in range(20):
            stored, query = vectors(30, seed), vectors(1, seed + 100)[0]
            unit = stored / np.linalg.norm(stored, axis=1, keepdims=True)
            relevance = unit @ (query / np.linalg.norm(query))
            order: list[int] = []
            while len(order) < 8:
                gains = {
                    n: relevance[n] - max((unit[n] @ unit[o] for o in order), default=0)
                    for n in range(30)
                    if n not in order
                }
                order.append(max(gains, key=lambda n: gains[n]))
            hits = hits_in(*map(str, range(30)))
            picked = maximal_marginal_relevance(query, stored, hits, 8)
            assert [hit.id for hit in picked] == order

    def test_fewer_than_k(self) -> None:
        assert maximal_marginal_relevance(towards(0)[0], towards(), [], 3) == []
        assert len(maximal_marginal_relevance(towards(0)[0], towards(1), hits_in("a"), 3)) == 1


def found(table: Table, query: Vectors | int, **options: object) -> list[str]:
    chosen = SearchOptions(**options)  # type: ignore[arg-type]
    return [hit.content for hit in search(query, table, options=chosen).hits]


@pytest.fixture
def files(table: Table) -> Table:
    """A hundred documents in a near file, and one each in three that are farther away."""
    near = [document(f"near {n}", Occurrence("near.txt", n)) for n in range(300)]
    far = [document(f"far {n}", Occurrence(f"far {n}.txt", 1)) for n in range(3)]
    table.add([*near, *far], towards(*np.linspace(0, 10, 300), 30, 40, -50))
    return table


class TestOnEachStore:
    @pytest.mark.parametrize("exact", [True, False])
    def test_one_per_source_fills_k(self, files: Table, exact: bool) -> None:
        query = towards(0)[0]
        expected = ["near 0", "far 0", "far 1", "far 2"]
        assert found(files, query, k=4, per_source=1, exact=exact) == expected
        assert found(files, query, k=9, per_source=1, exact=exact) == expected
        assert found(files, query, k=2, per_source=1, exact=exact) == expected[:2]
        assert found(files, query, k=4, per_source=2, exact=exact)[2:] == expected[1:3]

    def test_diverse(self, table: Table) -> None:
        stored = [document(name, Occurrence(name, 1)) for name in "abcd"]
        table.add(stored, towards(10, 11, -40, 90))
        query = towards(0)[0]
        assert found(table, query, k=2) == ["a", "b"]
        assert found(table, query, k=2, diverse=True) == ["a", "c"]
        assert found(table, query, k=2, diverse=True, filter=Filter("[bcd]")) == ["b", "c"]
        assert found(table, query, k=9, diverse=True)[:2] == ["a", "c"]

    def test_with_other_options(self, files: Table) -> None:
        query = towards(0)[0]
        near = found(files, query, k=4, per_source=1, filter=Filter("far*"), max_distance=0.3)
        assert near == ["far 0", "far 1"]
        assert found(files, 1, k=3, per_source=1) == ["near 1", "far 0", "far 1"]
        assert found(files, 1, k=3, diverse=True)[0] != "near 0"
        assert found(files, query, k=4, per_source=1, diverse=True)[0] == "near 0"


def test_the_options_of_search(sampled: Jtv) -> None:
    for name in ("one.txt", "two.txt"):
        sampled.write(name, "".join(f"penguins of {name} no {n}\n" for n in range(30)))
        sampled.ok("ingest", name)
    rows = sampled.ok("search", "penguins of", "--per-source", "2", "-k", "5").rows
    assert sorted(row[3] for row in rows[:4]) == ["one.txt", "one.txt", "two.txt", "two.txt"]
    assert len(rows) == 5
    queries = sampled.write("queries.txt", "penguins\ndatabase\n")
    one_each = sampled.ok("search", "--queries", str(queries), "--per-source", "1").rows
    assert len({(row[0], row[4]) for row in one_each}) == len(one_each) == 6
    assert len(sampled.ok("search", "penguins", "--diverse", "-k", "7").rows) == 7
    assert sampled("search", "x", "--per-source", "0").code == 2
