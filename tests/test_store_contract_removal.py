"""What every store must do to read documents whole, and to remove them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest

from jtv_cli.errors import TableMismatch
from jtv_cli.records import Added, Occurrence, Removed, SourceCount, SourceLine, TableSpec
from jtv_cli.text import text_hash
from tables import DIMENSIONS, SPEC, document, documents, make, vectors

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import OpenStore
    from jtv_cli.stores import Store, Table


def ids(table: Table, *texts: str) -> list[int]:
    known = table.known([text_hash(text) for text in texts])
    return [known[text_hash(text)] for text in texts]


def texts(table: Table) -> list[str]:
    return [hit.content for hit in table.scan()]


@pytest.fixture
def shared(table: Table) -> Table:
    """A table with `both` in two files, `one` in one, `twice` in two lines, `piped` from stdin."""
    table.add(
        [
            document("both", Occurrence("a.txt", 1), Occurrence("b.txt", 1)),
            document("one", Occurrence("a.txt", 2)),
            document("twice", Occurrence("b.txt", 2), Occurrence("b.txt", 3)),
            document("piped", Occurrence(None, 1)),
        ],
        vectors(4),
    )
    return table


class TestReading:
    def test_a_document_is_there_whole(self, table: Table) -> None:
        metadata = {"author": "Ada", "tags": ["a", 1, None]}
        where = (
            Occurrence("b.txt", 7, metadata),
            Occurrence("b.txt", 9),
            Occurrence("a.txt", 1),
            Occurrence(None, None),
        )
        stored = vectors(2)
        table.add([document("text", *where), document("漢字 🦣")], stored)
        first, second = table.get(ids(table, "text", "漢字 🦣"), vectors=True)
        assert (first.text, first.hash) == ("text", text_hash("text"))
        assert first.occurrences == list(where)
        assert (second.text, second.occurrences) == ("漢字 🦣", [Occurrence("file.txt", 1)])
        found = np.array([first.vector, second.vector])
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, stored)

    def test_any_float_comes_back_as_it_was(self, table: Table) -> None:
        bits = np.random.default_rng(5).integers(0, 2**32, 20 * DIMENSIONS, np.uint32)
        odd = bits.view(np.float32).reshape(-1, DIMENSIONS)
        odd = np.where(np.isfinite(odd) & (abs(odd) < 1e18), odd, np.float32(1)).astype(np.float32)
        odd[0, 0] = np.float32(1e-45)
        table.add(documents(20), odd)
        found = np.array([one.vector for one in table.read(vectors=True)])
        np.testing.assert_array_equal(found, odd)

    def test_by_id_in_the_order_asked_for(self, table: Table) -> None:
        table.add(documents(1200), vectors(1200))
        numbers = [hit.id for hit in table.scan()]
        wanted = [numbers[700], 10**30, numbers[3], -1, numbers[1100], numbers[3]]
        found = table.get(wanted)
        assert [one.text for one in found] == ["text 701", "text 4", "text 1101", "text 4"]
        assert {one.vector for one in found} == {None}
        assert len(table.get(numbers)) == 1200
        assert table.get([]) == []

    def test_all_by_id_in_short_reads(self, table: Table, open_one: OpenStore) -> None:
        table.add(documents(1200), vectors(1200))
        reading = table.read()
        first = next(reading)
        other = open_one().open("documents")
        other.add(documents(10, "more"), vectors(10, seed=1))
        assert [one.text for one in reading][-2:] == ["more 9", "more 10"]
        found = list(table.read(vectors=True))
        assert len(found) == 1210
        assert found[0] == first._replace(vector=found[0].vector)
        assert found[1].occurrences == [Occurrence("text.txt", 2)]
        assert found[1].vector is not None
        np.testing.assert_array_equal(found[1].vector, vectors(1200)[1])


class TestSources:
    def test_with_counts_by_name(self, shared: Table) -> None:
        assert shared.sources() == [
            SourceCount(None, 1, 1),
            SourceCount("a.txt", 2, 2),
            SourceCount("b.txt", 3, 2),
        ]

    def test_none_at_first(self, table: Table) -> None:
        assert table.sources() == []
        assert list(table.source_lines("a.txt")) == list(table.source_lines(None)) == []

    def test_places_by_line(self, shared: Table) -> None:
        both, one, twice, piped = ids(shared, "both", "one", "twice", "piped")
        assert list(shared.source_lines("b.txt")) == [
            SourceLine(1, both),
            SourceLine(2, twice),
            SourceLine(3, twice),
        ]
        assert list(shared.source_lines("a.txt")) == [SourceLine(1, both), SourceLine(2, one)]
        assert list(shared.source_lines(None)) == [SourceLine(1, piped)]
        assert list(shared.source_lines("A.TXT")) == []

    @pytest.mark.parametrize("line", [None, 3], ids=["no line", "one line"])
    def test_more_places_than_one_read_takes(
        self, table: Table, line: int | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("jtv_cli.stores.sqlite.table._LINES", 7)
        monkeypatch.setattr("jtv_cli.stores.tidb.table._OCCURRENCES", 7)
        table.add(
            [
                document(f"text {number}", Occurrence("a", number // 10), Occurrence("a", line))
                for number in range(50)
            ],
            vectors(50),
        )
        places = list(table.source_lines("a"))
        assert len(places) == len(set(places)) == 90
        assert places == sorted(places, key=lambda place: (place.line, place.document))
        assert table.remove("a", places) == Removed(50, len(places))

    def test_a_text_that_is_everywhere(self, table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
        """One transaction of TiDB does not take all of its occurrences."""
        monkeypatch.setattr("jtv_cli.stores.tidb.statements._OCCURRENCES_BYTES", 15_000)
        monkeypatch.setattr("jtv_cli.stores.tidb.statements._TRANSACTION_BYTES", 50_000)
        where = [Occurrence("a.txt", line, {"line": line}) for line in range(1, 1001)]
        few = documents(3)
        added = table.add([few[0], document("}", *where), *few[1:]], vectors(4))
        assert added == Added(4, 1003)
        [found] = table.get(ids(table, "}"), vectors=True)
        assert found.occurrences == where
        assert found.vector is not None
        np.testing.assert_array_equal(found.vector, vectors(4)[1])

    def test_size(self, shared: Table) -> None:
        assert shared.size() is None or (shared.size() or 0) > 0


class TestDeleting:
    def test_documents_go_with_all_their_occurrences(self, shared: Table) -> None:
        assert shared.delete([*ids(shared, "both", "twice"), 4711, 10**30]) == Removed(2, 4)
        assert texts(shared) == ["one", "piped"]
        assert shared.count() == 2
        assert shared.known([text_hash("both")]) == {}
        assert shared.sources() == [SourceCount(None, 1, 1), SourceCount("a.txt", 1, 1)]
        [hits] = shared.search(vectors(1), 10).hits
        assert {hit.content for hit in hits} == {"one", "piped"}

    def test_nothing_and_twice(self, shared: Table) -> None:
        [one] = ids(shared, "one")
        assert shared.delete([]) == Removed(0, 0)
        assert shared.delete([one, one]) == Removed(1, 1)
        assert shared.delete([one]) == Removed(0, 0)

    def test_many_at_once(self, table: Table) -> None:
        table.add(documents(2500), vectors(2500))
        numbers = [hit.id for hit in table.scan()]
        assert table.delete(numbers[:2300][::-1]) == Removed(2300, 2300)
        assert [hit.id for hit in table.scan()] == numbers[2300:]
        assert table.count() == 200

    def test_an_id_is_never_given_again(self, shared: Table) -> None:
        before = ids(shared, "both", "one", "twice", "piped")
        shared.delete(before)
        assert shared.count() == 0
        shared.add(documents(2), vectors(2))
        assert min(ids(shared, "text 1", "text 2")) > max(before)

    def test_a_text_may_come_back(self, shared: Table) -> None:
        shared.delete(ids(shared, "both"))
        shared.add([document("both", Occurrence("c.txt", 5))], vectors(1, seed=3))
        [both] = shared.get(ids(shared, "both"), vectors=True)
        assert both.occurrences == [Occurrence("c.txt", 5)]
        assert both.vector is not None
        np.testing.assert_array_equal(both.vector, vectors(1, seed=3)[0])

    def test_tables_are_apart(self, shared: Table, store: Store) -> None:
        other = make(store, TableSpec("others", "model-b", None, DIMENSIONS))
        other.add(documents(4), vectors(4))
        other.delete([hit.id for hit in other.scan()])
        assert (other.count(), shared.count()) == (0, 4)
        assert len(shared.sources()) == 3


class TestTogether:
    """Several processes at once."""

    def test_no_document_outlives_its_last_occurrence(
        self, table: Table, open_one: OpenStore
    ) -> None:
        table.add(
            [
                document(f"text {n}", Occurrence("a.txt", n + 1), Occurrence("b.txt", n + 1))
                for n in range(60)
            ],
            vectors(60),
        )
        total = together(
            lambda: remove_all(open_one().open("documents"), "a.txt"),
            lambda: remove_all(open_one().open("documents"), "b.txt"),
        )
        assert total == [60, 60]
        assert table.count() == 0
        assert texts(table) == []

    def test_no_occurrence_outlives_its_document(self, table: Table, open_one: OpenStore) -> None:
        batch = documents(10)
        table.add(batch, vectors(10))

        def add() -> int:
            other = open_one().open("documents")
            return sum(other.add(batch[::-1], vectors(10)).documents for _ in range(10))

        def delete() -> int:
            other = open_one().open("documents")
            known = (other.known([one.hash for one in batch]).values() for _ in range(10))
            return sum(other.delete(list(numbers)).documents for numbers in known)

        added, deleted = together(add, delete)
        assert table.count() == len(texts(table)) == 10 + added - deleted
        found = table.sources()
        assert [(count.documents, count.occurrences) for count in found] in (
            [],
            [(table.count(), table.count())],
        )


def together(*works: Callable[[], int]) -> list[int]:
    with ThreadPoolExecutor() as threads:
        return [future.result() for future in [threads.submit(work) for work in works]]


def remove_all(table: Table, source: str) -> int:
    """Remove all that is noted of a source, a little at a time, and return how much that was."""
    places = list(table.source_lines(source))
    parts = (places[start : start + 3] for start in range(0, len(places), 3))
    return sum(table.remove(source, part).occurrences for part in parts)


class TestRemoving:
    def test_a_document_goes_with_its_last_occurrence(self, shared: Table) -> None:
        places = list(shared.source_lines("b.txt"))
        assert shared.remove("b.txt", places[:2]) == Removed(0, 2)
        assert texts(shared) == ["both", "one", "twice", "piped"]
        assert shared.remove("b.txt", places) == Removed(1, 1)
        assert texts(shared) == ["both", "one", "piped"]
        assert shared.count() == 3
        assert [count.source for count in shared.sources()] == [None, "a.txt"]
        assert shared.remove("a.txt", list(shared.source_lines("a.txt"))) == Removed(2, 2)
        assert texts(shared) == ["piped"]
        assert shared.remove(None, list(shared.source_lines(None))) == Removed(1, 1)
        assert shared.count() == 0

    def test_what_is_not_there(self, shared: Table) -> None:
        [one, piped] = ids(shared, "one", "piped")
        assert shared.remove("a.txt", []) == Removed(0, 0)
        elsewhere = [SourceLine(9, one), SourceLine(2, piped), SourceLine(2, 4711)]
        assert shared.remove("a.txt", elsewhere) == Removed(0, 0)
        assert shared.remove("none.txt", [SourceLine(2, one)]) == Removed(0, 0)
        assert shared.remove(None, [SourceLine(2, one)]) == Removed(0, 0)
        assert shared.count() == 4

    def test_a_document_that_never_had_an_occurrence_stays(self, table: Table) -> None:
        table.add([document("kept")._replace(occurrences=()), document("one")], vectors(2))
        kept, one = ids(table, "kept", "one")
        assert table.get([kept])[0].occurrences == []
        assert table.remove("file.txt", [SourceLine(1, kept), SourceLine(1, one)]) == Removed(1, 1)
        assert texts(table) == ["kept"]
        assert table.delete([kept]) == Removed(1, 0)

    def test_an_occurrence_with_no_line(self, table: Table) -> None:
        table.add([document("text", Occurrence("a.txt"))], vectors(1))
        places = list(table.source_lines("a.txt"))
        assert [place.line for place in places] == [0]
        assert table.remove("a.txt", places) == Removed(1, 1)

    def test_many_at_once(self, table: Table) -> None:
        table.add(documents(2500), vectors(2500))
        places = list(table.source_lines("text.txt"))
        assert table.remove("text.txt", places[:2300]) == Removed(2300, 2300)
        assert list(table.source_lines("text.txt")) == places[2300:]

    def test_a_table_made_anew_is_left_alone(self, store: Store, open_one: OpenStore) -> None:
        opened = make(store)
        opened.add(documents(1), vectors(1))
        [place] = opened.source_lines("text.txt")
        other = open_one()
        other.drop("documents")
        make(other, SPEC).add(documents(1), vectors(1))
        with pytest.raises(TableMismatch, match="dropped"):
            opened.delete([place.document])
        with pytest.raises(TableMismatch, match="dropped"):
            opened.remove("text.txt", [place])
        assert other.open("documents").count() == 1
