"""The full-text index of the embedded store, and searches for words."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from jtv_cli.embedders import EmbedderOptions, open_embedder
from jtv_cli.embedders.models import find_model
from jtv_cli.errors import StoreError
from jtv_cli.pipeline.search import search
from jtv_cli.records import Filter, IndexState, Occurrence, Purpose
from jtv_cli.stores.sqlite import SqliteStore, terms
from jtv_cli.stores.sqlite.connection import translated
from jtv_cli.stores.sqlite.full_text import BATCH
from jtv_cli.stores.sqlite.terms import indexed_text, query_terms
from jtv_cli.text import text_hash
from tables import SPEC, document, make, vectors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Jtv
    from jtv_cli.stores.sqlite.table import SqliteTable

TEXTS = [
    "AI is short for artificial intelligence.",
    "C++ has templates, and C# has generics. C has neither.",
    "E0425 means that a name cannot be found.",
    "Call foo_bar before you use the connection.",
    "東京都の天気は晴れです。",
    "我喜欢吃饺子和面条",
    "The runners were running in the park.",
    "Ein Café in Zürich schließt.",
    "Part AX-2231-B is a seal.",
    "हिन्दी में लिखा हुआ",
]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    with closing(SqliteStore(tmp_path / "texts.db", writable=True)) as store:
        yield store


@pytest.fixture
def table(store: SqliteStore) -> SqliteTable:
    make(store)
    table = store.open(SPEC.name)
    table.build_full_text()
    return table


def found(table: SqliteTable, query: str, k: int = 10) -> list[str]:
    [hits] = table.search_text([query], k).hits
    return [hit.content for hit in hits]


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("ai", TEXTS[0]),
        ("C++", TEXTS[1]),
        ("c#", TEXTS[1]),
        ("e0425", TEXTS[2]),
        ("foo_bar", TEXTS[3]),
        ("foo", TEXTS[3]),
        ("東京", TEXTS[4]),
        ("天気", TEXTS[4]),
        ("都", TEXTS[4]),
        ("饺子", TEXTS[5]),
        ("run", TEXTS[6]),
        ("cafe", TEXTS[7]),
        ("ZURICH", TEXTS[7]),
        ("AX-2231-B", TEXTS[8]),
        ("2231", TEXTS[8]),
        ("ＡＸ-2231", TEXTS[8]),
        ("हिन्दी", TEXTS[9]),
    ],
)
def test_what_is_found_first(table: SqliteTable, query: str, text: str) -> None:
    table.add([document(text) for text in TEXTS], vectors(len(TEXTS)))
    assert found(table, query)[0] == text


@pytest.mark.parametrize(
    "query",
    ['"', "a AND", "NEAR(", "terms:x", "*", "-", "(", "x\0y", "", " ", '" OR "', "{a b}: c", "^x"],
)
def test_a_query_has_no_syntax(table: SqliteTable, query: str) -> None:
    table.add([document(text) for text in TEXTS], vectors(len(TEXTS)))
    table.search_text([query], 5)


def test_a_long_query(table: SqliteTable) -> None:
    table.add([document(text) for text in TEXTS], vectors(len(TEXTS)))
    found(table, " ".join(f"word{number}" for number in range(1000)))


def test_terms() -> None:
    assert query_terms("C++ c++") == ['"c\ue004\ue004"', '"c"']
    assert indexed_text("plain words, no symbols.") == "plain words, no symbols."
    assert indexed_text("東京都").split() == ["東京", "京都", "都"]


def random_text(rng: random.Random) -> str:
    words = ["alpha", "beta", "foo_bar", "C++", "東京都", "naïve", "x-1", "running", "42"]
    return " ".join(rng.choices(words, k=rng.randint(1, 6))) + f" {rng.random()}"


def rebuilt(table: SqliteTable) -> list[tuple[object, ...]]:
    """Return the terms that an index made anew from the rows would have."""
    with closing(sqlite3.connect(":memory:")) as fresh:
        fresh.execute(
            "CREATE VIRTUAL TABLE f USING fts5(t, content='', tokenize="
            "'porter unicode61 remove_diacritics 2 categories ''L* N* Co Mn Mc''')"
        )
        rows = [(one.id, indexed_text(one.text)) for one in table.read()]
        fresh.executemany("INSERT INTO f (rowid, t) VALUES (?, ?)", rows)
        fresh.execute("CREATE VIRTUAL TABLE v USING fts5vocab(f, instance)")
        return sorted(fresh.execute("SELECT term, doc, offset FROM v"))


def terms_of(table: SqliteTable) -> list[tuple[object, ...]]:
    connection = table.documents.connection
    connection.execute(
        f"CREATE VIRTUAL TABLE IF NOT EXISTS temp.v USING fts5vocab"
        f"(main, {SPEC.name}_full_text, instance)"
    )
    return sorted(connection.execute("SELECT term, doc, offset FROM temp.v"))


@pytest.mark.parametrize("seed", range(4))
def test_it_is_in_step_with_the_rows_after_random_operations(
    table: SqliteTable, tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    with closing(SqliteStore(tmp_path / "texts.db", writable=True)) as other_store:
        tables = [table, other_store.open(SPEC.name)]
        for _ in range(40):
            one, action = rng.choice(tables), rng.randrange(5)
            stored = [each.id for each in one.read()]
            if action < 2 or not stored:
                texts = [random_text(rng) for _ in range(rng.randint(1, 30))] * rng.randint(1, 2)
                known = [each.text for each in one.read()][:3]
                one.add(
                    [
                        document(text, Occurrence("a.txt", n))
                        for n, text in enumerate(texts + known)
                    ],
                    vectors(len(texts) + len(known)),
                )
            elif action == 2:
                one.delete(rng.sample(stored, min(len(stored), 7)))
            elif action == 3:
                lines = list(one.source_lines("a.txt"))
                one.remove("a.txt", rng.sample(lines, min(len(lines), 5)))
            elif rng.random() < 0.3:
                one.drop_full_text()
                one.build_full_text()
        assert terms_of(table) == rebuilt(table)
        assert table.full_text_status().pending == 0


def test_a_build_is_resumed_and_writes_go_on(store: SqliteStore) -> None:
    make(store)
    table = store.open(SPEC.name)
    count = 2 * BATCH + 100
    table.add([document(f"text {n}") for n in range(count)], vectors(count))
    steps: list[str] = []

    def stop(step: str) -> None:
        steps.append(step)
        if len(steps) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        table.build_full_text(progress=stop)
    status = table.full_text_status()
    assert (status.state, status.indexed) == (IndexState.BUILDING, BATCH)
    # What is added meanwhile is not indexed before what is missing.
    table.add([document("the newest")], vectors(1, seed=1))
    assert table.full_text_status().indexed == 2 * BATCH
    table.delete([1, count])
    table.build_full_text()
    assert table.full_text_status() == (IndexState.READY, count - 1, 0, "FTS5")
    assert terms_of(table) == rebuilt(table)
    assert found(table, "newest") == ["the newest"]


def test_documents_that_an_older_version_added_and_deleted(table: SqliteTable) -> None:
    table.add([document("first one"), document("second one")], vectors(2))
    connection = table.documents.connection
    connection.execute(f"DELETE FROM {SPEC.name} WHERE id = 1")
    connection.execute(
        f"INSERT INTO {SPEC.name} (hash, vector, content) VALUES (?, ?, 'third one')",
        (text_hash("third one"), vectors(1).tobytes()),
    )
    connection.execute("UPDATE jtv_tables SET documents = 2")
    assert found(table, "one") == ["second one"]
    assert table.full_text_status().pending == 1
    table.add([document("fourth one")], vectors(1))
    assert sorted(found(table, "one")) == ["fourth one", "second one", "third one"]


def test_the_index_of_a_table_that_was_dropped_is_not_taken_over(store: SqliteStore) -> None:
    make(store)
    table = store.open(SPEC.name)
    table.build_full_text()
    table.add([document("old words")], vectors(1))
    # As a version without full-text indexes drops a table.
    table.drop_full_text = lambda: False  # type: ignore[method-assign]
    connection = table.documents.connection
    for name in (f"{SPEC.name}_occurrences", f"{SPEC.name}_sources", SPEC.name):
        connection.execute(f"DROP TABLE {name}")
    connection.execute("DELETE FROM jtv_tables")
    make(store)
    table = store.open(SPEC.name)
    table.add([document("new words")], vectors(1))
    assert table.full_text_status().state is IndexState.NONE
    table.build_full_text()
    assert found(table, "words") == ["new words"]
    store.drop(SPEC.name)
    assert (
        connection.execute("SELECT name FROM sqlite_master WHERE name LIKE '%full%'").fetchall()
        == []
    )


def test_common_words_do_not_select_documents(table: SqliteTable) -> None:
    count = 2_100
    texts = [f"the common word {n}" for n in range(count)] + ["the rare word"]
    table.add([document(text) for text in texts], vectors(count + 1))
    assert found(table, "the rare") == ["the rare word"]
    assert len(found(table, "the common", 7)) == 7


def test_the_rarest_words_select_documents(table: SqliteTable) -> None:
    """No more than 2,000 documents are ranked, unless fewer than k are found among them."""
    texts = [f"alpha {n}" for n in range(1_500)] + [f"beta {n}" for n in range(1_000)]
    texts += [f"gamma {n}" for n in range(900)] + ["alpha beta gamma"]
    places = [Occurrence(text.split()[0]) for text in texts]
    table.add([document(text, at) for text, at in zip(texts, places, strict=True)], vectors(3_401))

    def ranked(query: str) -> int:
        match = table.documents.full_text.match(query_terms(query), table.count())
        assert match is not None
        assert match.most > 0
        statement = f"SELECT count(*) FROM {SPEC.name}_full_text('{match.expression}')"
        return int(table.documents.execute(statement).fetchone()[0])

    assert ranked("alpha") == 1_501
    assert ranked("gamma beta") == 1_901
    assert ranked("alpha beta gamma") == 1_901
    assert "alpha beta gamma" in found(table, "alpha beta gamma", 1_901)
    assert len(found(table, "alpha beta gamma", 1_902)) == 1_902
    assert len(found(table, "alpha beta gamma", 5_000)) == len(texts)
    [hits] = table.search_text(["alpha beta gamma"], 5, filter=Filter("alpha")).hits
    assert len(hits) == 5


def test_words_without_symbols_are_told_fast() -> None:
    rng = random.Random(3)
    for _ in range(20_000):
        text = "".join(rng.choices("aZ9 .-_&+#é漢", k=rng.randint(1, 8)))
        assert terms._may_have_symbols(text) or not terms._WITH_SYMBOLS.search(text), text


def test_distances_and_filters(table: SqliteTable) -> None:
    stored = vectors(60)
    table.add([document(f"word {n}", Occurrence(f"{n % 3}.txt", n)) for n in range(60)], stored)
    query = stored[7][None]
    [hits] = table.search_text(["word 7"], 60, vectors=query).hits
    assert hits[0].content == "word 7"
    assert hits[0].distance == pytest.approx(0, abs=1e-6)
    distances = {hit.id: hit.distance for hit in table.search(query, 60).hits[0]}
    assert {hit.id: hit.distance for hit in hits} == distances
    [near] = table.search_text(["word"], 5, vectors=query, max_distance=0.6).hits
    assert len(near) == 5
    assert all(hit.distance is not None and hit.distance <= 0.6 for hit in near)
    [some] = table.search_text(["word"], 20, filter=Filter("2.txt")).hits
    assert {hit.source for hit in some} == {"2.txt"}
    assert len(some) == 20


class TestCommands:
    @pytest.fixture
    def sampled_with_index(self, sampled: Jtv) -> Jtv:
        sampled.ok("index", "build", "--full-text")
        return sampled

    def test_a_table_without_the_index(self, sampled: Jtv) -> None:
        for option in ("--hybrid", "--keyword"):
            result = sampled("search", option, "x")
            assert result.code == 2
            assert "has no full-text index\nhint: create it with: jtv index build --full-text" in (
                result.error
            )

    def test_hybrid(self, sampled_with_index: Jtv) -> None:
        records = sampled_with_index.ok("search", "--hybrid", "TiDB", "--json").records
        assert "TiDB" in records[0]["content"]
        assert records[0]["keyword_rank"] == 1
        assert all({"score", "vector_rank", "keyword_rank"} <= record.keys() for record in records)
        assert all(record["distance"] is not None for record in records)
        scores = [record["score"] for record in records]
        assert scores == sorted(scores, reverse=True)
        plain = sampled_with_index.ok("search", "TiDB", "--json").records
        assert not {"score", "vector_rank", "keyword_rank"} & plain[0].keys()

    def test_keyword_needs_no_embedder(self, sampled_with_index: Jtv) -> None:
        result = sampled_with_index.ok("search", "--keyword", "TiDB", "--explain")
        assert result.rows[0][0] == "-"
        assert "TiDB" in result.rows[0][2]
        assert "full-text index" in result.stderr
        assert sampled_with_index("search", "--keyword", "zzzz").code == 1

    def test_the_default_of_a_model(
        self, table: SqliteTable, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Only of a model that prefers it, and of a table that has the index."""
        embedder = open_embedder(find_model("hashing-v1"), EmbedderOptions())
        width = embedder.model.dimensions
        monkeypatch.setattr(table, "spec", table.spec._replace(dimensions=width))
        monkeypatch.setattr(table.documents, "spec", table.spec)
        text = document("some text")
        table.add([text], embedder.embed([text.text], Purpose.DOCUMENT).vectors)

        def score() -> float | None:
            return search("text", table, embedder).hits[0].score

        assert score() is None
        monkeypatch.setattr(embedder, "model", embedder.model._replace(prefers_hybrid=True))
        assert score() is not None
        assert search(1, table).hits == []
        table.drop_full_text()
        assert score() is None

    def test_many_queries(self, sampled_with_index: Jtv) -> None:
        for option in ("--keyword", "--hybrid"):
            arguments = ("search", option, "--queries", "-")
            result = sampled_with_index.ok(*arguments, stdin="TiDB\noctopus\n")
            assert {row[0] for row in result.rows} == {"TiDB", "octopus"}

    @pytest.mark.parametrize(
        "options",
        [
            ("--keyword", "--hybrid"),
            ("--keyword", "--max-distance", "1"),
            ("--keyword", "--exact"),
            ("--keyword", "--diverse"),
        ],
    )
    def test_options_that_have_no_meaning_together(
        self, sampled_with_index: Jtv, options: tuple[str, ...]
    ) -> None:
        result = sampled_with_index("search", *options, "x")
        assert result.code == 2
        assert "cannot be combined" in result.error

    def test_init_and_status(self, jtv: Jtv) -> None:
        jtv.ok("init", "--full-text")
        jtv.ok("ingest", "-", stdin="one\ntwo\n")
        assert "full text: ready: 2 of 2 documents indexed" in jtv.ok("index", "status").stdout
        [status] = jtv.ok("index", "status", "--json").records
        assert status["full_text"]["state"] == "ready"
        assert ["full text", "ready"] in jtv.ok("info").rows
        assert "full text" in jtv.ok("doctor", "--no-api").stdout
        assert "Dropped the full-text index" in jtv.ok("index", "drop", "--full-text").stderr
        assert "no full-text index" in jtv.ok("index", "drop", "--full-text").stderr
        jtv.ok("init", "--drop", "--yes")


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("no such module: fts5", "has no FTS5"),
        ("error in tokenizer constructor", "is too old"),
    ],
)
def test_an_sqlite_that_cannot_index_texts(message: str, words: str) -> None:
    with pytest.raises(StoreError, match=words) as raised, translated("notes.db"):
        raise sqlite3.OperationalError(message)
    assert "notes.db" in raised.value.message
    assert raised.value.hint


def test_the_table_of_hits_on_a_terminal(sampled: Jtv) -> None:
    sampled.ok("index", "build", "--full-text")
    hybrid = sampled.ok("search", "--hybrid", "TiDB", "-f", "table").stdout
    assert hybrid.split("text")[0].split() == ["score", "vector", "keyword", "distance", "id"]
    keyword = sampled.ok("search", "--keyword", "TiDB", "-f", "table").stdout
    assert keyword.split("text")[0].split() == ["rank", "score", "id"]
