"""The index of the embedded store: what it finds, and that it agrees with the rows."""

from __future__ import annotations

import random
import sqlite3
import subprocess
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pytest

from jtv_cli.config import DEFAULT_TABLE
from jtv_cli.errors import StoreError
from jtv_cli.records import Document, IndexState, Occurrence, TableSpec
from jtv_cli.stores.sqlite import SqliteStore
from jtv_cli.stores.sqlite.index import SEGMENT, Index
from jtv_cli.text import text_hash
from tables import add, delete, recall, table_of
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Jtv
    from jtv_cli.records import Hit, Vectors
    from jtv_cli.stores.sqlite.table import SqliteTable

    OpenTable = Callable[[], SqliteTable]

pytestmark = pytest.mark.usefixtures("same_rotations")

DIMENSIONS = 64
SPEC = TableSpec("documents", "model", None, DIMENSIONS)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jtv.db"


@pytest.fixture
def open_table(path: Path) -> Iterator[OpenTable]:
    """Opens the same table anew each time, as another process would."""
    stores: list[SqliteStore] = []

    def open_it() -> SqliteTable:
        stores.append(store := SqliteStore(path, writable=True))
        store.apply(SPEC, store.plan(SPEC))
        return store.open(SPEC.name)

    yield open_it
    for store in stores:
        store.close()


@pytest.fixture
def table(open_table: OpenTable) -> SqliteTable:
    return open_table()


def vectors(count: int, seed: int = 0) -> Vectors:
    """Return clustered vectors of low rank, far from the origin, as those of texts are."""
    chance = np.random.default_rng(seed)
    same = np.random.default_rng(99)
    centres, basis = same.normal(size=(40, 16)), same.normal(size=(16, DIMENSIONS))
    inner = centres[chance.integers(0, 40, count)] + 0.5 * chance.normal(size=(count, 16))
    return (inner @ basis + 3 * same.normal(size=DIMENSIONS)).astype(np.float32)


def fill(table: SqliteTable, count: int, prefix: str = "text") -> Vectors:
    stored = vectors(count, seed=len(prefix))
    add(table, stored, prefix)
    return stored


def ids(hits: list[Hit]) -> list[int]:
    return [hit.id for hit in hits]


def noise(count: int, dimensions: int) -> Vectors:
    """Return vectors that have nothing to do with each other, as those of no text are."""
    return np.random.default_rng(0).normal(size=(count, dimensions)).astype(np.float32)


def explained(
    table: SqliteTable, query: Vectors | None = None, k: int = 10, *, exact: bool = False
) -> str:
    queries = vectors(1) if query is None else query
    return table.search(queries, k, exact=exact, explain=True).explanation


def segments(path: Path) -> list[tuple[int, int, int]]:
    """Return generation, last id and number of documents of each segment."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(
            "SELECT generation, last, documents FROM jtv_segments ORDER BY generation, last"
        )
        return rows.fetchall()


def assert_agrees(path: Path, name: str = SPEC.name) -> None:
    """Assert that every document up to where the index ends has its code, and the right one."""
    with closing(SqliteStore(path, writable=False)) as store:
        table = store.open(name)
        numbers, stored = (
            np.concatenate(part) for part in zip(*table.documents.vectors(), strict=True)
        )
        assert table.count() == len(numbers)
        live = table.index.live()
        covered = numbers <= (live.last if live else 0)
        assert numbers.size - np.count_nonzero(covered) < SEGMENT
        if live is None:
            return
        parts = list(table.index.segments(live))
        coded = np.concatenate([ids for ids, _ in parts])
        assert (np.diff(coded) > 0).all()
        at = np.searchsorted(coded, numbers[covered])
        assert (coded[at] == numbers[covered]).all()
        codes = np.concatenate([codes for _, codes in parts], axis=1)[:, at]
        expected = table.index.encoder(live).encode(stored[covered])
        # A coordinate that is almost 0 may fall either way.
        assert np.bitwise_count(codes ^ expected).sum(axis=0).max() <= 2


class TestGrowing:
    def test_a_small_table_has_no_index(self, table: SqliteTable) -> None:
        fill(table, SEGMENT - 1)
        made = table.documents.execute("SELECT name FROM sqlite_master").fetchall()
        assert not any(name.startswith(("jtv_i", "jtv_s")) for (name,) in made)
        assert explained(table) == "exact: a small table needs no index"
        assert table.index_status().state is IndexState.NONE

    def test_a_segment_at_a_time(self, table: SqliteTable, path: Path) -> None:
        fill(table, 2 * SEGMENT + 100)
        assert [row[1:] for row in segments(path)] == [(SEGMENT, SEGMENT), (2 * SEGMENT, SEGMENT)]
        status = table.index_status()
        assert status.state is IndexState.READY
        assert (status.indexed, status.pending) == (2 * SEGMENT, 100)
        assert explained(table) == f"index: 512 candidates of {2 * SEGMENT + 100:,} documents"
        assert_agrees(path)

    def test_one_document_more_rewrites_nothing_and_is_found(
        self, table: SqliteTable, path: Path
    ) -> None:
        fill(table, 2 * SEGMENT)
        before = segments(path), table.documents.connection.total_changes
        alone = -vectors(1, seed=5)
        table.add([Document("alone", text_hash("alone"), [Occurrence()])], alone)
        assert segments(path) == before[0]
        assert table.documents.connection.total_changes - before[1] == 3  # row, counter, occurrence
        [[nearest]] = table.search(alone, 1).hits
        assert nearest.content == "alone"

    def test_ids_that_were_skipped(self, table: SqliteTable, path: Path) -> None:
        """Of texts that another process stored a moment earlier, the ids are lost."""
        texts = [f"text {number}" for number in range(3000)]
        documents = [Document(text, text_hash(text), [Occurrence()]) for text in texts]
        stored = vectors(3000)
        table.add(documents[::3], stored[::3])
        table.add(documents, stored)
        assert table.count() == 3000
        assert_agrees(path)
        assert recall(table, stored[:20]) >= 0.99

    def test_a_file_from_before_is_searched_exactly_and_indexed_when_written(
        self, table: SqliteTable, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as before:
            before.setattr(Index, "extend", lambda _: False)
            fill(table, 3 * SEGMENT)
        assert explained(table) == "exact: no index; create one with: jtv index build"
        assert table.index_status().pending == 3 * SEGMENT
        fill(table, 1, "more")
        assert table.index_status().pending == 1
        assert_agrees(path)

    def test_dropping_the_table_takes_its_index(self, table: SqliteTable, path: Path) -> None:
        fill(table, SEGMENT)
        store = SqliteStore(path, writable=True)
        store.drop(SPEC.name)
        store.close()
        assert segments(path) == []


class TestFinding:
    def test_the_same_as_an_exact_search(self, table: SqliteTable) -> None:
        stored = fill(table, 5000)
        queries = stored[::250] + 0.1
        for query, hits in zip(queries, table.search(queries, 10).hits, strict=True):
            assert ids(hits) == ids(table.search(query[None], 10).hits[0])
        assert recall(table, queries) >= 0.99

    @pytest.mark.parametrize("k", [1, 50, 200])
    def test_any_k(self, table: SqliteTable, k: int) -> None:
        stored = fill(table, 12_000)
        assert explained(table, k=k).startswith("index")
        assert recall(table, stored[::1200], k) >= 0.99

    def test_a_k_so_large_that_an_exact_search_is_faster(self, table: SqliteTable) -> None:
        fill(table, 5000)
        assert explained(table, k=1000) == "exact: for 1,000 of 5,000 documents that is faster"
        assert len(table.search(vectors(1), 6000).hits[0]) == 5000

    def test_exact_is_exact(self, table: SqliteTable) -> None:
        fill(table, 5000)
        assert explained(table, exact=True) == "exact: requested"

    def test_max_distance(self, table: SqliteTable) -> None:
        stored = fill(table, 5000)
        [hits] = table.search(stored[:1], 10, exact=True).hits
        cut = hits[4].distance
        [near] = table.search(stored[:1], 10, max_distance=cut).hits
        assert ids(near) == ids(hits[:5])

    def test_all_vectors_the_same(self, table: SqliteTable) -> None:
        """However many are as near as the last candidate, no more are looked at."""
        same = np.ones((5000, DIMENSIONS), np.float32)
        texts = [str(number) for number in range(5000)]
        table.add([Document(text, text_hash(text), [Occurrence()]) for text in texts], same)
        [hits] = table.search(same[:1], 10).hits
        assert len(hits) == 10
        assert table.check_index(50).recall == 1

    def test_vectors_of_few_dimensions_are_compared_exactly(self, path: Path) -> None:
        stored = noise(2 * SEGMENT, 3)
        with table_of(path, stored) as table:
            assert explained(table, stored[:1]).startswith("exact: ")
            table.build_index()
            assert table.index_status().state is IndexState.NONE
            assert recall(table, stored[:20]) == 1

    def test_where_many_are_about_as_near_more_are_compared(self, path: Path) -> None:
        """Half of the documents are as near as the tenth, but for a little noise."""
        stored = noise(20 * SEGMENT, 96)
        stored[::2, 0] += 8
        query = np.zeros((1, 96), np.float32)
        query[0, 0] = 1
        with table_of(path, stored) as table:
            assert recall(table, query) >= 0.9
            assert explained(table, query).count(", expanded to ")


class TestDeleted:
    def test_what_was_deleted_is_not_found(self, table: SqliteTable) -> None:
        stored = fill(table, 10_000)
        delete(table, "id % 2")
        queries = stored[::1000]
        assert all(hit.id % 2 == 0 for hits in table.search(queries, 10).hits for hit in hits)
        assert recall(table, queries) >= 0.99
        status = table.index_status()
        assert "codes of deleted documents" in status.detail
        assert status.indexed + status.pending == 5000

    def test_all_that_was_near(self, table: SqliteTable) -> None:
        """More candidates are taken where the first are all gone."""
        stored = fill(table, 10_000)
        query = stored[:1]
        near = table.search(query, 2000, exact=True).hits[0]
        delete(table, f"id IN ({','.join(str(hit.id) for hit in near)})")
        assert recall(table, query) == 1
        assert explained(table).startswith("index")

    def test_ids_are_not_given_again(self, table: SqliteTable, path: Path) -> None:
        fill(table, 2 * SEGMENT)
        delete(table, f"id > {SEGMENT - 100}")
        fill(table, 2 * SEGMENT, "more")
        assert table.documents.newest() == 4 * SEGMENT
        assert_agrees(path)

    def test_everything(self, table: SqliteTable) -> None:
        fill(table, 2 * SEGMENT)
        delete(table, "id")
        assert table.search(vectors(1), 10).hits == [[]]
        table.build_index()
        assert table.search(vectors(1), 10).hits == [[]]
        stored = fill(table, 3 * SEGMENT, "more")
        assert table.index_status().indexed == 3 * SEGMENT
        assert recall(table, stored[:20]) >= 0.99


class TestBuilding:
    def test_anew(self, table: SqliteTable, path: Path) -> None:
        fill(table, 10_000)
        delete(table, "id % 2")
        [(old, *_), *_] = segments(path)
        heard: list[str] = []
        table.build_index(progress=heard.append)
        assert heard[0] == "building the index: 0 of 10,000"
        assert len(heard) == 3
        assert old not in {generation for generation, *_ in segments(path)}
        assert "deleted" not in table.index_status().detail
        assert_agrees(path)

    def test_others_write_and_search_meanwhile(
        self, table: SqliteTable, open_table: OpenTable, path: Path
    ) -> None:
        stored = fill(table, 3 * SEGMENT)
        other = open_table()
        counts = iter(range(100))

        def write(_: str) -> None:
            assert recall(other, stored[:1]) == 1
            if (number := next(counts)) < 2:
                fill(other, SEGMENT, f"while building {number}")

        table.build_index(progress=write)
        assert len({generation for generation, *_ in segments(path)}) == 1
        assert table.index_status().indexed == 5 * SEGMENT
        assert_agrees(path)

    def test_one_that_was_broken_off_changes_nothing(self, table: SqliteTable, path: Path) -> None:
        fill(table, 3 * SEGMENT)
        live = table.index.live()
        heard: list[str] = []

        def stop(message: str) -> None:
            heard.append(message)
            if len(heard) == 2:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            table.build_index(progress=stop)
        assert table.index.live() == live
        table.build_index()
        assert len({generation for generation, *_ in segments(path)}) == 1
        assert_agrees(path)

    def test_of_two_at_once_the_later_wins(
        self, table: SqliteTable, open_table: OpenTable, path: Path
    ) -> None:
        fill(table, 3 * SEGMENT)
        heard: list[str] = []

        def build_another(message: str) -> None:
            heard.append(message)
            if len(heard) == 2:
                open_table().build_index()

        with pytest.raises(StoreError, match="built by another process"):
            table.build_index(progress=build_another)
        assert_agrees(path)

    def test_a_small_table_gets_none(self, table: SqliteTable) -> None:
        fill(table, 10)
        table.build_index()
        assert table.index.live() is None

    def test_dropping(self, table: SqliteTable, path: Path) -> None:
        fill(table, SEGMENT)
        assert table.drop_index()
        assert not table.drop_index()
        assert segments(path) == []
        assert explained(table) == "exact: no index; create one with: jtv index build"
        table.build_index()
        assert table.index_status().indexed == SEGMENT


class TestChecking:
    def test_a_good_index(self, table: SqliteTable) -> None:
        fill(table, 5000)
        found = table.check_index(50)
        assert found.queries == 50
        assert found.recall >= 0.99
        assert found.candidates == 512
        assert 10 <= (found.needed or 0) <= 512
        assert min(found.index_seconds, found.exact_seconds) > 0
        assert "are enough" in found.verdict
        assert explained(table).startswith("index: 512 candidates")

    def test_where_more_are_needed_it_keeps_the_number(self, path: Path) -> None:
        stored = noise(4 * SEGMENT, 384)
        with table_of(path, stored) as table:
            before = recall(table, stored[::100])
            found = table.check_index(100)
            assert before < 0.98
            assert found.recall < 0.99
            assert 512 < (found.needed or 0) < 2000
            assert found.verdict == f"from now on {found.needed:,} candidates are rescored"
            kept = f"index: {found.needed:,} candidates"
            assert explained(table, stored[:1]).startswith(kept)
            assert recall(table, stored[::100]) > max(before, 0.98)
            assert table.check_index(100).verdict == f"good: {found.needed:,} candidates are enough"
            few = table.check_index(5)
            assert few.recall >= 0.99 or "too few" in few.verdict
            assert explained(table, stored[:1]).startswith(kept)
            table.build_index()
            assert explained(table, stored[:1]).startswith(kept)

    def test_what_it_keeps_holds_for_an_index_that_is_built_meanwhile(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stored = noise(4 * SEGMENT, 384)
        with (
            table_of(path, stored) as table,
            closing(SqliteStore(path, writable=True)) as store,
        ):
            other = store.open(SPEC.name)
            keep = table.index.keep

            def build_first(candidates: int | None) -> None:
                table.documents.connection.rollback()
                other.build_index()
                table.documents.execute("BEGIN IMMEDIATE")
                keep(candidates)

            monkeypatch.setattr(table.index, "keep", build_first)
            needed = table.check_index(100).needed
            assert explained(other, stored[:1]).startswith(f"index: {needed:,} candidates")

    def test_where_no_number_will_do_the_table_is_searched_exactly(self, path: Path) -> None:
        stored = noise(3 * SEGMENT, 1024)
        with table_of(path, stored) as table:
            assert "searched exactly" in table.check_index(100).verdict
            assert explained(table, stored[:1]).startswith("exact: jtv index check found")
            assert table.index_status().detail == explained(table, stored[:1])
            assert recall(table, stored[::300]) == 1

    def test_equal_vectors_are_all_as_good(self, path: Path) -> None:
        """Of 500 that are as near, an index finds ten as good as any search does."""
        stored = np.repeat(noise(12, DIMENSIONS), 500, axis=0)
        with table_of(path, stored) as table:
            found = table.check_index(50)
            assert (found.queries, found.recall) == (50, 1)
            assert "are enough" in found.verdict
            assert recall(table, stored[::500]) == 1

    def test_of_few_documents_among_many_ids(self, table: SqliteTable) -> None:
        fill(table, 4 * SEGMENT)
        delete(table, f"id BETWEEN 100 AND {4 * SEGMENT - 100}")
        assert table.check_index(150).queries == 150

    def test_of_what_is_left(self, table: SqliteTable) -> None:
        fill(table, 2 * SEGMENT)
        delete(table, "id NOT BETWEEN 3000 AND 3020")
        assert table.check_index(50).recall == 1
        delete(table, "id")
        with pytest.raises(StoreError, match="no index to check"):
            table.check_index(50)

    def test_one_that_is_only_begun(self, table: SqliteTable, open_table: OpenTable) -> None:
        fill(table, 2 * SEGMENT)
        table.drop_index()

        def stop(_: str) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            table.build_index(progress=stop)
        other = open_table()
        with pytest.raises(StoreError, match="no index to check"):
            other.check_index(50)
        assert explained(other) == "exact: no index; create one with: jtv index build"
        assert other.index_status().state is IndexState.NONE

    def test_no_index(self, table: SqliteTable) -> None:
        with pytest.raises(StoreError, match="no index to check"):
            table.check_index(50)


class TestAtAnyMoment:
    """What happens to the process, or what another one does, never parts index and rows."""

    LINES = 12_000

    @pytest.fixture
    def lines(self, jtv: Jtv) -> list[str]:
        texts = [f"line {number} of a file" for number in range(self.LINES)]
        jtv.write("lines.txt", "\n".join(texts))
        jtv.ok("init")
        return texts

    def assert_complete(self, jtv: Jtv, lines: list[str]) -> None:
        assert_agrees(jtv.database, DEFAULT_TABLE)
        assert sorted(jtv.ok("list", "--format", "text").stdout.splitlines()) == sorted(lines)
        assert jtv.ok("search", lines[77], "-k", "1").rows[0][2] == lines[77]

    def has_stored(self, table: SqliteTable, count: int) -> bool:
        return table.count() >= count

    def test_killed_while_documents_are_added(self, jtv: Jtv, lines: list[str]) -> None:
        stops = sorted(random.Random(1).sample(range(self.LINES * 3 // 4), 5))
        with closing(SqliteStore(jtv.database, writable=False)) as store:
            table = store.open(DEFAULT_TABLE)
            for stop in stops:
                process = jtv.start("ingest", "lines.txt", stderr=subprocess.DEVNULL)
                wait_until(partial(self.has_stored, table, stop))
                process.kill()
                process.wait()
                assert table.count() >= stop
                assert_agrees(jtv.database, DEFAULT_TABLE)
        jtv.ok("ingest", "lines.txt")
        self.assert_complete(jtv, lines)

    def test_killed_while_the_index_is_built(self, jtv: Jtv, lines: list[str]) -> None:
        jtv.ok("ingest", "lines.txt")
        for rounds in range(5):
            before = {generation for generation, *_ in segments(jtv.database)}
            process = jtv.start("index", "build", stderr=subprocess.DEVNULL)

            def has_begun(before: set[int] = before, enough: int = rounds + 1) -> bool:
                new = [row for row in segments(jtv.database) if row[0] not in before]
                return len(new) >= enough

            wait_until(has_begun)
            process.kill()
            process.wait()
            assert_agrees(jtv.database, DEFAULT_TABLE)
        jtv.ok("index", "build")
        assert len({generation for generation, *_ in segments(jtv.database)}) == 1
        self.assert_complete(jtv, lines)

    def test_two_writers_and_a_builder_at_once(self, jtv: Jtv, lines: list[str]) -> None:
        jtv.write("others.txt", "\n".join([*lines[::-2], *(f"{line} too" for line in lines)]))
        writers = [
            jtv.start("ingest", name, stderr=subprocess.DEVNULL)
            for name in ("lines.txt", "others.txt")
        ]
        while any(writer.poll() is None for writer in writers):
            built = jtv("index", "build")
            assert built.code == 0 or "try again" in built.error, built.stderr
        assert [writer.returncode for writer in writers] == [0, 0]
        self.assert_complete(jtv, [*lines, *(f"{line} too" for line in lines)])
