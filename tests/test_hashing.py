"""The built-in offline embedder finds what shares words, or parts of words, with a question."""

from __future__ import annotations

import math
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from jtv_cli.embedders.hashing import HashingEmbedder
from jtv_cli.embedders.models import HASHING_MODEL, find_model
from jtv_cli.records import Purpose

if TYPE_CHECKING:
    from jtv_cli.records import Vectors

SAMPLE_TEXTS = (Path(__file__).parent.parent / "sample_texts.txt").read_text("utf-8").splitlines()

QUESTIONS = {
    "What is TiDB?": "TiDB is",
    "Who offers embeddings and a reranker?": "Jina AI",
    "Which planet is the biggest?": "Jupiter",
    "How long does sunlight take to reach us?": "Light from the Sun",
    "Who was the first man on the Moon?": "In July 1969",
    "Why does bread rise?": "Bread rises",
    "What is in guacamole?": "Guacamole",
    "What is chocolate made from?": "Chocolate",
    "How many hearts does an octopus have?": "An octopus",
    "Can penguins fly?": "Penguins",
    "How do bees communicate?": "Honeybees",
    "When did the Berlin Wall fall?": "The Berlin Wall",
    "Who invented printing?": "Johannes Gutenberg",
    "What is the highest mountain in the world?": "Mount Everest",
    "Which rivers flow into the Black Sea?": "The Danube",
    "What is the capital of Australia?": "Canberra",
    "How many keys does a piano have?": "A standard piano",
    "How long is a marathon?": "A marathon",
    "Why should I wash my hands?": "Washing",
    "Where does the name Python come from?": "Python",
}
"""What a user would ask of the sample texts, and how the line with the answer begins."""


def embed(*texts: str, purpose: Purpose = Purpose.DOCUMENT) -> Vectors:
    return HashingEmbedder(find_model(HASHING_MODEL)).embed(texts, purpose).vectors


def distance(one: str, other: str) -> float:
    vectors = embed(one, other)
    return 1 - float(vectors[0] @ vectors[1])


def ranked(query: str, texts: list[str]) -> list[str]:
    similarities = embed(*texts) @ embed(query, purpose=Purpose.QUERY)[0]
    return [texts[index] for index in np.argsort(-similarities, kind="stable")]


# The contract


def test_answers_with_unit_vectors_in_order_and_costs_nothing() -> None:
    embedder = HashingEmbedder(find_model(HASHING_MODEL))
    embeddings = embedder.embed(SAMPLE_TEXTS, Purpose.DOCUMENT)
    assert embeddings.tokens == 0
    assert embeddings.vectors.dtype == np.float32
    assert embeddings.vectors.shape == (len(SAMPLE_TEXTS), embedder.model.dimensions)
    assert np.linalg.norm(embeddings.vectors, axis=1) == pytest.approx(1, abs=1e-6)
    assert np.array_equal(embeddings.vectors[7], embed(SAMPLE_TEXTS[7])[0])


def test_no_texts_have_no_vectors() -> None:
    assert embed().shape == (0, 768)


@pytest.mark.parametrize(
    "text",
    ["", " ", "\n\t", ".", "?!", "—…—", "\x00", "\ud800", "\u0301", "\u200b", "😀", "☕️", "的"],
)
def test_every_text_has_a_direction(text: str) -> None:
    assert np.linalg.norm(embed(text)) == pytest.approx(1, abs=1e-6)


def test_a_text_whose_features_cancel_out_has_a_direction() -> None:
    one, other = embed("ᔷ", "ⶬ")
    assert one == pytest.approx(-other, abs=1e-6), "chosen to be opposites"
    assert np.linalg.norm(embed("ᔷ ⶬ")) == pytest.approx(1, abs=1e-6)


def test_texts_of_nothing_but_marks_differ() -> None:
    assert all(distance("!!!", marks) > 0.5 for marks in ("???", "...", "😀", "", "—"))


def test_a_vector_depends_on_its_text_alone() -> None:
    texts = [*SAMPLE_TEXTS * 8, "long " * 9000, "", "数据库" * 9000, *SAMPLE_TEXTS]
    together = embed(*texts)
    alone = np.concatenate([embed(text, purpose=Purpose.QUERY) for text in texts])
    assert together == pytest.approx(alone, abs=1e-6)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Go", {20: 0.6721001, 115: 0.33605, 374: 0.4752465, 383: -0.4577036}),
        ("数据", {67: 0.5, 738: 0.5, 759: 0.7071068}),
        ("?!", {176: 0.33605, 321: -0.6721001, 511: 0.4577036, 656: -0.4752465}),
    ],
)
def test_vectors_are_the_same_everywhere(text: str, expected: dict[int, float]) -> None:
    vector = np.zeros(768)
    vector[list(expected)] = list(expected.values())
    assert embed(text)[0] == pytest.approx(vector, abs=1e-6)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("TiDB is an open-source MySQL-compatible database.", 0.5942853),
        ("Ĳsselmeer, Straße & CAFÉ: ﬁne ½ Ⅷ", -0.1765355),
        ("ﾊﾟｿｺﾝで检索する", 1.0126417),
        ("हिन्दी और العربية, ภาษาไทย", 0.3048897),
        ("한국어 👩‍🚀 ☕️ №5", 0.8718472),
    ],
)
def test_longer_texts_are_the_same_everywhere(text: str, expected: float) -> None:
    ramp = np.linspace(-1, 1, 768)
    assert float(embed(text)[0] @ ramp) == pytest.approx(expected, abs=1e-5)


# What finds what


def test_finds_the_answers_among_the_sample_texts() -> None:
    first = {question: ranked(question, SAMPLE_TEXTS)[0] for question in QUESTIONS}
    right = [question for question in QUESTIONS if first[question].startswith(QUESTIONS[question])]
    assert "What is TiDB?" in right
    assert len(right) >= 18, [first[question] for question in QUESTIONS if question not in right]


@pytest.mark.parametrize(
    ("query", "beginning"),
    [
        ("elefant", "Elephants"),
        ("mountian", "Mount Everest"),
        ("pianoo", "A standard piano"),
        ("programing langauge", "Python"),
        ("swimmer", "Penguins"),
        ("symphonies", "Ludwig"),
        ("preventing infection", "Washing"),
    ],
)
def test_typos_and_inflections_find_the_word(query: str, beginning: str) -> None:
    assert ranked(query, SAMPLE_TEXTS)[0].startswith(beginning)


def test_inflections_are_near() -> None:
    assert distance("database", "databases") < 0.4
    assert distance("Datenbank", "Datenbanken") < 0.4
    assert distance("database", "bakery") > 0.8


@pytest.mark.parametrize(
    ("query", "text", "others"),
    [
        ("数据库", "TiDB是一个开源的分布式数据库。", ["今天天气很好。", "数学是科学的语言。"]),
        ("東京", "私は東京に住んでいます。", ["猫は魚が好きです。", "京都は古い都です。"]),
        ("データ", "表のデータを検索する。", ["雪が降っています。", "ターミナルを開く。"]),
        ("학교", "나는 학교에서 공부한다.", ["오늘은 날씨가 좋다.", "고양이는 생선을 좋아한다."]),
        ("ฐานข้อมูล", "ฉันใช้ฐานข้อมูลทุกวัน", ["วันนี้อากาศดีมาก", "แมวชอบกินปลา"]),
        ("🍕", "Friday is 🍕 day", ["Friday is 🍣 day", "Friday is payday"]),
    ],
)
def test_finds_parts_of_texts_without_spaces(query: str, text: str, others: list[str]) -> None:
    assert ranked(query, [*others, text])[0] == text
    assert distance(query, text) < 0.8


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("TiDB", "tidb"),
        ("ＴｉＤＢ　ｃｌｏｕｄ", "TiDB cloud"),
        ("STRASSE", "Straße"),
        ("ﾃﾞｰﾀ", "データ"),
        ("Ünïcödé Café", "unicode cafe"),
        ("co\u00adoperate", "cooperate"),
        ("open-source, (database)!", "open source database"),
    ],
)
def test_case_width_accents_and_marks_make_no_difference(one: str, other: str) -> None:
    assert distance(one, other) == pytest.approx(0, abs=1e-6)


def test_unrelated_texts_are_far() -> None:
    vectors = embed(*SAMPLE_TEXTS)
    distances = 1 - (vectors @ vectors.T)[np.triu_indices(len(vectors), 1)]
    assert float(np.median(distances)) == pytest.approx(1, abs=0.05)
    assert distance("The quick brown fox", "Quarterly revenue exceeded expectations") > 0.9


def test_common_words_weigh_little() -> None:
    question = "What is the use of a vector?"
    assert ranked(question, ["What is the use of it all?", "vector search"])[0] == "vector search"


def test_a_short_line_does_not_win_over_one_that_has_all_words() -> None:
    full = "The event loop of asyncio runs tasks and callbacks."
    assert (
        ranked("asyncio event loop", ["event", "loop", "the loop", "Any event?", full])[0] == full
    )


def test_a_repeated_word_does_not_drown_the_others() -> None:
    assert distance("buffalo " * 50 + "grazing", "buffalo grazing") < 0.5


# Long texts


@pytest.mark.parametrize("piece", ["lorem ipsum dolor ", "数据库", "x", " ", "-"])
def test_a_text_of_megabytes_takes_little_memory(piece: str) -> None:
    text = piece * math.ceil(2_000_000 / len(piece.encode()))
    tracemalloc.start()
    try:
        vector = embed(text)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    assert peak < 8 << 20


def test_a_full_batch_takes_little_memory() -> None:
    texts = (SAMPLE_TEXTS * 40)[:1024]
    tracemalloc.start()
    try:
        embed(*texts)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 12 << 20


def test_finds_a_word_in_a_long_text() -> None:
    padding = " ".join(SAMPLE_TEXTS[2:])
    long = f"{padding} {'xylophone ' * 30} {padding}"
    assert ranked("xylophone", [*SAMPLE_TEXTS, long])[0] == long
