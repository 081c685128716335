"""What every store must do to search for words, or to say that it cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jtv_cli.errors import ExitCode, NoFullText
from jtv_cli.records import Filter, IndexState, Occurrence
from tables import document, make, vectors

if TYPE_CHECKING:
    from jtv_cli.stores import Store, Table


@pytest.fixture
def filled(table: Table) -> Table:
    table.add(
        [
            document(f"word {number}", Occurrence(f"{number % 2}.txt", number))
            for number in range(9)
        ],
        vectors(9),
    )
    return table


@pytest.fixture
def indexed(filled: Table) -> Table:
    try:
        filled.build_full_text()
    except NoFullText as error:
        pytest.skip(error.message)
    return filled


def test_a_table_without_the_index(filled: Table, store: Store) -> None:
    assert filled.full_text_status().state is IndexState.NONE
    assert not filled.drop_full_text()
    for given in (None, vectors(1)):
        with pytest.raises(NoFullText, match="full-text index") as raised:
            filled.search_text(["word"], 5, vectors=given)
        assert raised.value.exit_code is ExitCode.USAGE
        assert raised.value.hint
    store.drop(filled.spec.name)
    make(store)


def test_the_best_in_order(indexed: Table) -> None:
    results = indexed.search_text(["word 7", "nothing", ""], 5)
    assert results.hits[0][0].content == "word 7"
    assert len(results.hits[0]) == 5
    assert results.hits[1:] == [[], []]
    assert all(hit.distance is None for hit in results.hits[0])
    assert results.explanation == ""
    assert indexed.search_text(["word"], 5, explain=True).explanation
    assert indexed.search_text([], 5).hits == []


def test_filters_come_before_the_best(indexed: Table) -> None:
    [hits] = indexed.search_text(["word 7"], 3, filter=Filter("0.txt")).hits
    assert [hit.source for hit in hits] == ["0.txt"] * 3
    [hits] = indexed.search_text(["word 7"], 5, filter=Filter("none.txt")).hits
    assert hits == []


def test_distances(indexed: Table) -> None:
    query = vectors(9)[7:8]
    nearest = {hit.id: hit.distance for hit in indexed.search(query, 9, exact=True).hits[0]}
    [hits] = indexed.search_text(["word"], 9, vectors=query).hits
    assert {hit.id: hit.distance for hit in hits} == pytest.approx(nearest, abs=1e-5)
    [near] = indexed.search_text(["word"], 9, vectors=query, max_distance=0.5).hits
    assert {hit.id for hit in near} == {hit.id for hit in hits if (hit.distance or 0.0) <= 0.5}


def test_it_follows_the_documents(indexed: Table, store: Store) -> None:
    indexed.delete([hit.id for hit in indexed.search_text(["7"], 1).hits[0]])
    assert indexed.search_text(["7"], 5).hits == [[]]
    indexed.add([document("another text")], vectors(1, seed=1))
    assert indexed.search_text(["another"], 5).hits[0][0].content == "another text"
    assert indexed.full_text_status().state is IndexState.READY
    store.drop(indexed.spec.name)
    make(store)
