"""`jtv duplicates`: pairs of documents that are almost the same."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import numpy as np
import pytest

from jtv_cli.pipeline.duplicates import find_duplicates
from tables import DIMENSIONS, document, documents, table_of, vectors

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Jtv
    from jtv_cli.records import Pair, Vectors
    from jtv_cli.stores import Table


def groups(count: int, size: int, seed: int = 0, dimensions: int = DIMENSIONS) -> Vectors:
    """Return so many groups of near-identical vectors, each of that size."""
    chance = np.random.default_rng(seed)
    centers = np.repeat(chance.normal(size=(count, dimensions)), size, axis=0)
    lengths = chance.uniform(0.5, 2, size=(count * size, 1))
    noise = 0.05 * chance.normal(size=centers.shape)
    found: Vectors = ((centers + noise) * lengths).astype(np.float32)
    return found


def expected(stored: Vectors, most: float) -> dict[tuple[int, int], float]:
    """Return the distance of each pair that is near enough, by brute force."""
    unit = stored.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    distances = 1 - unit @ unit.T
    near = np.argwhere(np.triu(distances <= most, 1)).tolist()
    return {(one + 1, other + 1): float(distances[one, other]) for one, other in near}


def by_ids(pairs: list[Pair]) -> dict[tuple[int, int], float]:
    return {(pair.first.id, pair.second.id): pair.distance for pair in pairs}


@pytest.mark.parametrize("exact", [True, False, None])
def test_as_by_brute_force(table: Table, exact: bool | None) -> None:
    stored = groups(20, 5)
    table.add(documents(100), stored)
    for most in (0.0, 0.01, 0.05, 0.3):
        pairs = list(find_duplicates(table, most, exact=exact))
        assert by_ids(pairs) == pytest.approx(expected(stored, most), abs=1e-5)
        assert [pair.first.id for pair in pairs] == sorted(pair.first.id for pair in pairs)
    assert pairs[0].first.content == "text 1"
    assert pairs[0].first.source == "text.txt"
    assert pairs[0].second.distance is None


@pytest.mark.parametrize("exact", [True, False])
def test_more_of_a_kind_than_are_asked_for_at_first(table: Table, exact: bool) -> None:
    table.add(documents(100), np.repeat(vectors(1), 100, axis=0))
    pairs = list(find_duplicates(table, 0.0, exact=exact))
    assert len(pairs) == 100 * 99 / 2
    assert max(pair.distance for pair in pairs) < 1e-6


def test_nothing(table: Table) -> None:
    assert list(find_duplicates(table, 2)) == []
    table.add([document("one")], vectors(1))
    assert list(find_duplicates(table, 2)) == []


def test_by_the_index(tmp_path: Path) -> None:
    stored = groups(1100, 2, dimensions=64)
    with table_of(tmp_path / "jtv.db", stored) as table:
        found = by_ids(list(find_duplicates(table, 0.05, exact=False)))
        wanted = expected(stored, 0.05)
        assert len(wanted) > 1045
        assert len(found.keys() & wanted.keys()) >= 0.99 * len(wanted)
        assert by_ids(list(find_duplicates(table, 0.05))).keys() == wanted.keys()


def test_formats(on_each_store: Jtv) -> None:
    text = "the quick brown fox jumps over the lazy dog\n"
    on_each_store.write("a.txt", f"{text}something else entirely\n{text.upper()}")
    on_each_store.ok("init")
    on_each_store.ok("ingest", "a.txt")
    [[first, distance, second, content, source, line]] = on_each_store.ok("duplicates").rows
    assert (first, second, source, line) == ("1", "3", "a.txt", "3")
    assert content == text.upper().strip()
    assert float(distance) <= 0.05
    [record] = on_each_store.ok("duplicates", "--json").records
    assert list(record) == ["distance", "first", "second"]
    assert (record["first"]["id"], record["second"]["id"]) == (1, 3)
    header, row = csv.reader(io.StringIO(on_each_store.ok("duplicates", "-f", "csv").stdout))
    assert header[:3] == ["duplicate_of", "distance", "id"]
    assert row[0] == "1"
    drawn = on_each_store.ok("duplicates", "-f", "table").stdout
    assert "distance 0.0" in drawn
    assert "a.txt:3" in drawn
    assert len(on_each_store.ok("duplicates", "--max-distance", "2").rows) == 3
    assert len(on_each_store.ok("duplicates", "--max-distance", "2", "--limit", "2").rows) == 2


def test_none_is_exit_1(sampled: Jtv) -> None:
    result = sampled("duplicates", "--max-distance", "0")
    assert (result.code, result.stdout, result.stderr) == (1, "", "")
    assert sampled("duplicates", "--max-distance", "3").code == 2
