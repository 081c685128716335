"""The built-in embedder `static-v1`: the shipped table, and what its vectors find."""

from __future__ import annotations

import hashlib
import math
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from jtv_cli.embedders import open_embedder
from jtv_cli.embedders.models import find_model
from jtv_cli.embedders.static import CUTTABLE, TABLE_FILE, open_table
from jtv_cli.embedders.wordpiece import WordPieces
from jtv_cli.records import Purpose

if TYPE_CHECKING:
    from conftest import Jtv
    from jtv_cli.records import Vectors

ROOT = Path(__file__).parent.parent
SAMPLE_TEXTS = (ROOT / "sample_texts.txt").read_text("utf-8").splitlines()
MODEL = find_model("static-v1")
WIDTH = 256
"""Dimensions of the part of meanings; those of feature hashing follow."""

TABLE_SHA256 = "a959fa2d58e799f8fd629142fa19f736950074bd89a3dff1337e3682a1c43b9b"


def embed(*texts: str, purpose: Purpose = Purpose.DOCUMENT) -> Vectors:
    return open_embedder(MODEL).embed(texts, purpose).vectors


def ranked(query: str, texts: list[str]) -> list[str]:
    similarities = embed(*texts) @ embed(query, purpose=Purpose.QUERY)[0]
    return [texts[index] for index in np.argsort(-similarities, kind="stable")]


# The table


def test_the_table_is_the_one_that_the_name_stands_for() -> None:
    assert hashlib.sha256(TABLE_FILE.read_bytes()).hexdigest() == TABLE_SHA256


def test_the_table_is_small_and_mapped_from_disk() -> None:
    assert TABLE_FILE.stat().st_size < 8_000_000
    table = open_table()
    assert len(table.pieces) == len(table.scales) == len(table.weights) == len(table.vectors)
    assert not table.vectors.flags.owndata
    assert np.isfinite(table.scales).all()
    assert table.vectors.any(axis=1).all()


def test_words_are_cut_into_the_longest_pieces() -> None:
    pieces = {"data": 0, "##base": 1, "##s": 2, "database": 3, "d": 4, "##b": 5}
    cut = WordPieces(pieces, CUTTABLE)
    assert cut["database"] == (3,)
    assert cut["databases"] == (3, 2)
    assert cut["dbs"] == (4, 5, 2)
    assert cut["zebra"] == cut["größe"] == cut["数据"] == cut["e4"] == cut[""] == ()
    assert cut["d" * 100] == ()


# The vectors


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\n\t",
        ".",
        "?!",
        "\x00",
        "\ud800",
        "\u0301",
        "\u200b",
        "😀",
        "☕️",
        "的",
        "a",
        "the",
    ],
)
def test_every_text_has_a_direction(text: str) -> None:
    vector = embed(text)
    assert np.isfinite(vector).all()
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)


def test_vectors_are_of_unit_length_and_cost_nothing() -> None:
    embeddings = open_embedder(MODEL).embed(SAMPLE_TEXTS, Purpose.DOCUMENT)
    assert embeddings.tokens == 0
    assert embeddings.vectors.dtype == np.float32
    assert embeddings.vectors.shape == (34, MODEL.dimensions)
    assert np.linalg.norm(embeddings.vectors, axis=1) == pytest.approx(1, abs=1e-6)
    assert embed().shape == (0, MODEL.dimensions)


def test_a_vector_depends_on_its_text_alone() -> None:
    texts = [
        *SAMPLE_TEXTS * 4,
        "long words " * 3000,
        "",
        "数据库" * 5000,
        "naïve café",
        *SAMPLE_TEXTS,
    ]
    together = embed(*texts)
    alone = np.concatenate([embed(text, purpose=Purpose.QUERY) for text in texts])
    assert together == pytest.approx(alone, abs=1e-6)


@pytest.mark.parametrize(
    ("text", "first", "ramp"),
    [
        ("Go", [0.0655281, -0.0564549, 0.1229911, 0.4752465], -0.050045),
        (
            "TiDB is an open-source MySQL-compatible database.",
            [-0.1665862, 0.1182806, 0.0147601, 0.0772258],
            -0.250226,
        ),
        (
            "the quick brown foxes of São Paulo, 1984",
            [-0.0805486, -0.1207729, 0.0866923, 0.0000000],
            -0.811712,
        ),
        ("Der Hund schläft im Garten.", [0.0000000, -0.0000000, 0.0000000, 0.0000000], -0.755322),
        ("数据库 and SQL", [-0.1347595, 0.1085505, -0.0469572, 0.1049628], -0.017909),
        ("हिन्दी और العربية", [0.0000000, 0.0000000, 0.0000000, 0.0000000], 0.008926),
        ("xkcd_927::parse(0x1F)", [-0.0120695, 0.0053221, 0.0014266, 0.0000000], 0.109458),
    ],
)
def test_vectors_are_the_same_everywhere(text: str, first: list[float], ramp: float) -> None:
    vector = embed(text)[0]
    chosen = [*vector[:3], vector[WIDTH + 20]]
    assert chosen == pytest.approx(first, abs=1e-6)
    assert float(vector @ np.linspace(-1, 1, MODEL.dimensions)) == pytest.approx(ramp, abs=1e-5)


@pytest.mark.parametrize(
    "text",
    [
        "TiDB是一个开源的分布式数据库。",
        "私は東京に住んでいます。",
        "한국어",
        "Это предложение на русском.",
    ],
)
def test_other_scripts_are_left_to_feature_hashing(text: str) -> None:
    vector = embed(text)[0]
    assert not vector[:WIDTH].any()
    hashed = open_embedder(find_model("hashing-v1")).embed([text], Purpose.DOCUMENT).vectors[0]
    assert vector[WIDTH:] == pytest.approx(hashed, abs=1e-6)


def test_meaning_takes_half_of_an_english_text() -> None:
    vector = embed("The cat is sleeping in the kitchen.")[0]
    assert float(vector[:WIDTH] @ vector[:WIDTH]) == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize(
    "piece", ["lorem ipsum dolor ", "the sea and the sky ", "数据库", "x", " "]
)
def test_a_text_of_megabytes_takes_little_memory(piece: str) -> None:
    embedder = open_embedder(MODEL)
    text = piece * math.ceil(2_000_000 / len(piece.encode()))
    tracemalloc.start()
    try:
        vector = embedder.embed([text], Purpose.DOCUMENT).vectors
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    assert peak < 12 << 20


# What finds what


@pytest.mark.parametrize(
    ("query", "beginning"),
    [
        ("What is TiDB?", "TiDB is"),
        ("composer who lost his hearing", "Ludwig van Beethoven"),
        ("tallest peak in the Himalayas", "Mount Everest"),
        ("elefant", "Elephants"),
        ("mountian", "Mount Everest"),
        ("programing langauge", "Python"),
    ],
)
def test_finds_the_right_sample_text_first(query: str, beginning: str) -> None:
    assert ranked(query, SAMPLE_TEXTS)[0].startswith(beginning)


def test_something_to_eat_is_food() -> None:
    food = ("Bread", "Risotto", "Guacamole", "Chocolate", "Vitamin C, found in oranges and peppers")
    hits = ranked("something to eat", SAMPLE_TEXTS)
    assert hits[0].startswith(food)
    assert ranked("food", SAMPLE_TEXTS)[2].startswith(food)


def test_finds_paraphrases_that_share_no_content_word() -> None:
    lines = (ROOT / "benchmarks" / "data" / "paraphrases.tsv").read_text("utf-8").splitlines()
    places = []
    for line in lines:
        query, beginning = line.split("\t")
        hits = [text.startswith(beginning) for text in ranked(query, SAMPLE_TEXTS)]
        places.append(hits.index(True))
    assert len(places) == 40
    assert sum(place == 0 for place in places) >= 28
    assert sum(place < 3 for place in places) >= 36


def test_the_first_search_without_a_key_finds_meaning(jtv: Jtv) -> None:
    jtv.ok("init")
    jtv.ok("ingest", str(ROOT / "sample_texts.txt"))
    found = jtv.ok("search", "a composer who lost his hearing", "--k", "1").rows[0][2]
    assert found.startswith("Ludwig van Beethoven")
    assert jtv.ok("search", "What is TiDB?", "--k", "1").rows[0][2].startswith("TiDB")
