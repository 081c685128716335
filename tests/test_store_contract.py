"""What every store must do, run over each kind of store there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from jtv_cli.errors import NoTable, StoreError, TableMismatch
from jtv_cli.records import (
    Added,
    Filter,
    Hit,
    Occurrence,
    Recipe,
    SearchResults,
    SourceLine,
    TableSpec,
)
from jtv_cli.text import text_hash
from tables import DIMENSIONS, READS, SPEC, document, documents, make, vectors

if TYPE_CHECKING:
    import numpy.typing as npt

    from conftest import OpenStore
    from jtv_cli.records import Vectors
    from jtv_cli.stores import Store, Table


def exact_distances(stored: Vectors, query: Vectors) -> npt.NDArray[np.float64]:
    wide, q = stored.astype(np.float64), query.astype(np.float64)
    cosines: npt.NDArray[np.float64] = wide @ q / (np.linalg.norm(wide, axis=1) * np.linalg.norm(q))
    return 1 - cosines


class TestMaking:
    def test_a_store_starts_empty(self, store: Store) -> None:
        assert store.tables() == []
        with pytest.raises(NoTable, match="documents"):
            store.open("documents")

    def test_a_plan_is_said_before_it_is_done_and_done_once(self, store: Store) -> None:
        changes = store.plan(SPEC, index=False)
        assert changes
        assert all(change.description for change in changes)
        assert store.tables() == []
        store.apply(SPEC, changes)
        assert store.plan(SPEC, index=False) == []
        store.apply(SPEC, changes)
        assert len(store.tables()) == 1

    def test_a_table_remembers_what_it_is(self, store: Store, open_one: OpenStore) -> None:
        made = make(store).spec
        assert made.identity
        assert (made.name, made.model, made.task) == ("documents", "model-a", "retrieval")
        assert (made.dimensions, made.metric) == (DIMENSIONS, "cosine")
        assert open_one().open("documents").spec == made

    def test_a_table_remembers_its_recipe(self, store: Store, open_one: OpenStore) -> None:
        recipe = Recipe(
            provider="api",
            revision="1.5",
            query_prefix="Frage: 'ü'\n",
            document_prefix='"Text": ',
            pooling="mean",
            is_normalized=False,
            fingerprint="AAECAw==",
            location="/models/größe",
        )
        spec = SPEC._replace(recipe=recipe)
        assert make(store, spec).spec.recipe == recipe
        assert open_one().open("documents").spec.recipe == recipe
        assert store.plan(spec, index=False) == []
        # Where a model is, and what its vectors look like, decides nothing.
        elsewhere = recipe._replace(fingerprint="", location="")
        assert store.plan(spec._replace(recipe=elsewhere), index=False) == []

    def test_names_differ_by_more_than_case(self, store: Store) -> None:
        make(store)
        assert store.open("DOCUMENTS").spec.name == "documents"

    @pytest.mark.parametrize(
        "other",
        [
            TableSpec("documents", "model-b", "retrieval", DIMENSIONS),
            TableSpec("documents", "model-a", None, DIMENSIONS),
            TableSpec("documents", "model-a", "retrieval", DIMENSIONS * 2),
            SPEC._replace(recipe=Recipe(provider="api")),
            SPEC._replace(recipe=Recipe(revision="2")),
            SPEC._replace(recipe=Recipe(document_prefix="Document: ")),
            SPEC._replace(recipe=Recipe(query_prefix="Query: ")),
            SPEC._replace(recipe=Recipe(pooling="cls")),
            SPEC._replace(recipe=Recipe(is_normalized=False)),
        ],
    )
    def test_another_model_is_refused_and_both_are_named(
        self, store: Store, other: TableSpec
    ) -> None:
        make(store)
        with pytest.raises(TableMismatch, match=f"model-a.*{other.model}"):
            store.plan(other)

    def test_tables_are_apart(self, store: Store) -> None:
        one, two = make(store), make(store, TableSpec("others", "model-b", None, DIMENSIONS))
        one.add(documents(3), vectors(3))
        assert (one.count(), two.count()) == (3, 0)
        assert two.known([text_hash("text 1")]) == {}
        assert [spec.name for spec in store.tables()] == ["documents", "others"]

    def test_dropping_takes_one_table_and_all_of_it(self, store: Store) -> None:
        one, two = make(store), make(store, TableSpec("others", "model-b", None, DIMENSIONS))
        one.add(documents(3), vectors(3))
        two.add(documents(2), vectors(2))
        store.drop("documents")
        assert [spec.name for spec in store.tables()] == ["others"]
        assert two.count() == 2
        again = make(store)
        assert again.count() == 0
        assert list(again.scan()) == []
        with pytest.raises(NoTable):
            store.drop("nothing")

    def test_a_table_made_anew_is_not_the_one_that_was_opened(
        self, store: Store, open_one: OpenStore
    ) -> None:
        opened = make(store)
        other = open_one()
        other.drop("documents")
        make(other)
        with pytest.raises(TableMismatch, match="dropped"):
            opened.add(documents(1), vectors(1))
        with pytest.raises(TableMismatch, match="dropped"):
            opened.add_occurrences("file.txt", [SourceLine(1, 1)])
        assert other.open("documents").count() == 0

    @pytest.mark.parametrize("read", READS, ids=READS.keys())
    def test_a_table_that_was_dropped_is_not_read(
        self, store: Store, open_one: OpenStore, read: str
    ) -> None:
        opened = make(store)
        opened.add(documents(3), vectors(3))
        READS[read](opened)
        open_one().drop("documents")
        with pytest.raises(TableMismatch, match="dropped while"):
            READS[read](opened)


class TestAdding:
    def test_what_was_added_is_known_and_counted(self, table: Table) -> None:
        assert table.add(documents(3), vectors(3)) == Added(documents=3, occurrences=3)
        hashes = [text_hash(text) for text in ("text 1", "text 3", "text 4")]
        known = table.known(hashes)
        assert set(known) == set(hashes[:2])
        assert table.count() == 3

    def test_more_hashes_than_a_statement_takes(self, table: Table) -> None:
        many = documents(2500)
        table.add(many, vectors(2500))
        assert len(table.known([one.hash for one in many])) == 2500
        assert table.known([]) == {}

    def test_ids_are_in_the_order_of_the_input(self, table: Table) -> None:
        table.add(documents(3, "b"), vectors(3))
        table.add(documents(3, "a"), vectors(3))
        hits = list(table.scan())
        assert [hit.content for hit in hits] == ["b 1", "b 2", "b 3", "a 1", "a 2", "a 3"]
        assert [hit.id for hit in hits] == sorted({hit.id for hit in hits})

    def test_a_text_is_stored_once(self, table: Table) -> None:
        table.add([document("same", Occurrence("one.txt", 1))], vectors(1))
        added = table.add(
            [document("same", Occurrence("two.txt", 2)), document("new")], vectors(2, seed=1)
        )
        assert added == Added(documents=1, occurrences=2)
        assert table.count() == 2
        first, second = table.scan()
        assert (first.content, first.source, first.line) == ("same", "one.txt", 1)
        assert second.content == "new"
        [[nearest]] = table.search(vectors(1), 1).hits
        assert nearest.content == "same"

    def test_an_occurrence_is_noted_once(self, table: Table) -> None:
        table.add([document("text", Occurrence("a.txt", 1), Occurrence("a.txt", 9))], vectors(1))
        [number] = table.known([text_hash("text")]).values()
        assert table.add_occurrences("a.txt", [SourceLine(9, number), SourceLine(10, number)]) == 1
        assert table.add_occurrences("a.txt", [SourceLine(9, number), SourceLine(10, number)]) == 0
        assert table.add_occurrences("b.txt", []) == 0

    def test_metadata_that_changed_is_noted_in_its_place(self, table: Table) -> None:
        table.add([document("text", Occurrence("a.csv", 2, {"author": "Ada"}))], vectors(1))
        [number] = table.known([text_hash("text")]).values()
        for author, news in (("Ada", 0), ("Grace", 1), ("Grace", 0)):
            place = SourceLine(2, number, {"author": author})
            assert table.add_occurrences("a.csv", [place]) == news
        assert [hit.metadata for hit in table.scan()] == [{"author": "Grace"}]
        assert table.count() == 1

    def test_places_far_apart_and_without_a_line(self, table: Table) -> None:
        table.add(documents(3), vectors(3))
        one, two, three = (hit.id for hit in table.scan())
        far = [
            SourceLine(9_000_000, two),
            SourceLine(3, three),
            SourceLine(0, one),
            SourceLine(0, two),
        ]
        for news in (4, 0):
            assert table.add_occurrences("a.txt", far) == news
        assert (
            table.add_occurrences("a.txt", [*far, SourceLine(3, one), SourceLine(3, two, {"a": 1})])
            == 2
        )
        assert table.add_occurrences("a.txt", [*far[:2], SourceLine(0, two, {"a": 1})]) == 1
        assert sorted(place[:2] for place in table.source_lines("a.txt")) == [
            *((0, one), (0, two), (3, one), (3, two), (3, three), (9_000_000, two))
        ]

    def test_very_many_places_at_once(self, table: Table) -> None:
        """A few thousand are what TiDB takes in one transaction; some change, some are new."""
        table.add([document("text", Occurrence("a.csv", 1, {"author": "Ada"}))], vectors(1))
        [number] = table.known([text_hash("text")]).values()
        for author, count, news in (("Ada", 10_000, 9_999), ("Eve", 20_000, 20_000)):
            places = [SourceLine(line, number, {"author": author}) for line in range(1, count + 1)]
            assert table.add_occurrences("a.csv", places) == news
        [stored] = table.get([number])
        assert [where.line for where in stored.occurrences] == list(range(1, 20_001))
        assert {(where.metadata or {})["author"] for where in stored.occurrences} == {"Eve"}

    def test_stdin_is_not_a_source_like_another(self, table: Table) -> None:
        table.add([document("text", Occurrence(None, 1))], vectors(1))
        [number] = table.known([text_hash("text")]).values()
        assert table.add_occurrences("a.txt", [SourceLine(1, number)]) == 1
        assert table.add_occurrences(None, [SourceLine(1, number)]) == 0

    def test_an_occurrence_may_have_no_source_and_metadata(self, table: Table) -> None:
        metadata = {"author": "Ada", "tags": ["a", 1, None]}
        table.add([document("text", Occurrence(None, None, metadata))], vectors(1))
        assert list(table.scan()) == [Hit(1, "text", None, None, None, metadata)]

    def test_an_occurrence_of_a_deleted_document_is_refused(self, table: Table) -> None:
        with pytest.raises(StoreError, match="deleted"):
            table.add_occurrences("a.txt", [SourceLine(1, 4711)])

    @pytest.mark.parametrize(
        "text",
        [
            "emoji 🦣🏽",
            "漢字かな交じり文",
            "[bold]not markup[/bold]",
            "tab\tand\x00nul",
            "x" * 2_000_000,
        ],
        ids=["emoji", "cjk", "markup", "controls", "long"],
    )
    def test_any_text_comes_back_as_it_was(self, table: Table, text: str) -> None:
        table.add([document(text)], vectors(1))
        assert [hit.content for hit in table.scan()] == [text]
        assert text_hash(text) in table.known([text_hash(text)])

    @pytest.mark.parametrize(
        "bad",
        [0.0, np.nan, np.inf, 1e-25, 1e25],
        ids=["zero", "nan", "infinite", "next to zero", "next to infinite"],
    )
    def test_a_vector_without_a_distance_is_refused(self, table: Table, bad: float) -> None:
        poisoned = vectors(3)
        poisoned[1] = bad
        with pytest.raises(StoreError, match="zero or not finite"):
            table.add(documents(3), poisoned)
        assert table.count() == 0

    def test_vectors_of_another_length_are_refused(self, table: Table) -> None:
        with pytest.raises(StoreError, match="shape"):
            table.add(documents(2), np.ones((2, DIMENSIONS + 1), np.float32))

    def test_two_open_stores_see_each_other(self, table: Table, open_one: OpenStore) -> None:
        other = open_one().open("documents")
        table.add(documents(2), vectors(2))
        assert other.count() == 2
        other.add(documents(3), vectors(3))
        assert table.count() == 3


class TestFinding:
    def test_the_nearest_in_order_with_exact_distances(self, table: Table) -> None:
        stored, queries = vectors(1000), vectors(3, seed=7)
        table.add(documents(1000), stored)
        for query, hits in zip(queries, table.search(queries, 10).hits, strict=True):
            distances = exact_distances(stored, query)
            order = np.argsort(distances)[:10]
            assert [hit.content for hit in hits] == [f"text {number + 1}" for number in order]
            found = [hit.distance or 0 for hit in hits]
            np.testing.assert_allclose(found, distances[order], atol=1e-5)

    def test_lengths_of_vectors_do_not_matter(self, table: Table) -> None:
        stored = vectors(20)
        table.add(documents(20), stored * np.arange(1, 21, dtype=np.float32)[:, None])
        [hits] = table.search(stored[4:5] * 1000, 1).hits
        assert hits[0].content == "text 5"
        assert hits[0].distance == pytest.approx(0, abs=1e-6)

    def test_distances_stay_between_0_and_2(self, table: Table) -> None:
        stored = vectors(50)
        table.add(documents(100), np.concatenate((stored, -stored)))
        [hits] = table.search(stored[:1], 100).hits
        distances = [hit.distance for hit in hits if hit.distance is not None]
        assert len(distances) == 100
        assert 0 <= min(distances) < 1e-6
        assert 2 - 1e-6 < max(distances) <= 2

    def test_fewer_than_k(self, table: Table) -> None:
        assert table.search(vectors(2), 5).hits == [[], []]
        table.add(documents(3), vectors(3))
        assert [len(hits) for hits in table.search(vectors(2), 5).hits] == [3, 3]

    def test_no_queries(self, table: Table) -> None:
        """Of a table that is large enough for the embedded store's index, too."""
        table.add(documents(2500), vectors(2500))
        for filter in (None, Filter("*")):
            for exact in (True, False):
                none = vectors(0)
                found = table.search(none, 5, exact=exact, filter=filter, explain=True)
                assert found == SearchResults([], "")

    def test_max_distance_cuts(self, table: Table) -> None:
        stored = vectors(100)
        table.add(documents(100), stored)
        distances = np.sort(exact_distances(stored, stored[0]))
        cut = float(distances[10:12].mean())
        [hits] = table.search(stored[:1], 50, max_distance=cut).hits
        assert len(hits) == 11
        assert table.search(-stored[:1] - 5, 5, max_distance=0.0).hits == [[]]

    def test_a_hit_shows_its_first_occurrence(self, table: Table) -> None:
        where = (Occurrence("b.txt", 7), Occurrence("b.txt", 3), Occurrence("a.txt", 1))
        table.add([document("text", *where)], vectors(1))
        [[hit]] = table.search(vectors(1), 1).hits
        assert (hit.source, hit.line) == ("b.txt", 3)

    def test_a_source_with_a_name_stands_before_standard_input(self, table: Table) -> None:
        table.add([document("text", Occurrence(None, 1)), document("x")], vectors(2))
        [number] = table.known([text_hash("text")]).values()
        [[hit]] = table.search(vectors(1), 1).hits
        assert (hit.source, hit.line) == (None, 1)
        table.add_occurrences("b.txt", [SourceLine(5, number), SourceLine(4, number)])
        [[hit]] = table.search(vectors(1), 1).hits
        assert (hit.source, hit.line) == ("b.txt", 4)
        assert next(table.scan()).source == "b.txt"
        [stored] = table.get([number])
        assert [where.source for where in stored.occurrences] == ["b.txt", "b.txt", None]
        [[hit]] = table.search(vectors(1), 1, filter=Filter("-")).hits
        assert (hit.source, hit.line) == (None, 1)


class TestListing:
    def test_in_order_of_id_in_short_reads(self, table: Table) -> None:
        table.add(documents(300), vectors(300))
        hits = list(table.scan())
        assert [hit.content for hit in hits] == [f"text {number}" for number in range(1, 301)]
        assert hits[0] == Hit(hits[0].id, "text 1", None, "text.txt", 1, None)

    @pytest.mark.parametrize("limit", [0, 1, 128, 150, 1000])
    def test_limit_and_after(self, table: Table, limit: int) -> None:
        table.add(documents(300), vectors(300))
        everything = list(table.scan())
        start = everything[99].id
        assert list(table.scan(after=start, limit=limit)) == everything[100 : 100 + limit]

    def test_with_distances(self, table: Table) -> None:
        stored, query = vectors(300), vectors(1, seed=7)[0]
        table.add(documents(300), stored)
        found = [hit.distance or 0 for hit in table.scan(query)]
        np.testing.assert_allclose(found, exact_distances(stored, query), atol=1e-5)

    @pytest.mark.parametrize("limit", [None, 0, 1, 150])
    def test_by_distance(self, table: Table, limit: int | None) -> None:
        stored, query = vectors(300), vectors(1, seed=7)[0]
        table.add(documents(300), stored)
        order = np.argsort(exact_distances(stored, query))[:limit]
        hits = list(table.rank(query, limit=limit))
        assert [hit.content for hit in hits] == [f"text {number + 1}" for number in order]
        assert [hit.distance for hit in hits] == sorted(hit.distance or 0 for hit in hits)

    def test_writing_goes_on_while_a_list_is_read(self, table: Table, open_one: OpenStore) -> None:
        table.add(documents(300), vectors(300))
        reading = table.scan()
        next(reading)
        other = open_one().open("documents")
        other.add(documents(10, "more"), vectors(10, seed=1))
        # Whether what is added meanwhile is listed depends on the last read.
        assert len(list(reading)) in (299, 309)

    def test_an_empty_table(self, table: Table) -> None:
        query = vectors(1)[0]
        assert list(table.scan()) == list(table.scan(query)) == list(table.rank(query)) == []
