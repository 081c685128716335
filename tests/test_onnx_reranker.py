"""`jtv search --rerank onnx:DIR`, with tiny cross-encoders; the extra `local` and onnx."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pytest

import onnx_models

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Jtv
    from jtv_cli.embedders.onnx_reranker import OnnxReranker

pytest.importorskip("onnxruntime")
pytest.importorskip("tokenizers")
pytest.importorskip("onnx")

TEXTS = ["river flour", "cat dog", "cat", "dog dog dog cat", "bread", "flour"]


def expected(query: str, text: str) -> float:
    """Return what the tiny model is defined to return."""
    table = onnx_models.vectors_of_words(1)

    def ids(words: str) -> list[int]:
        return [onnx_models.WORDS.index(word) for word in words.split()]

    of_query = table[[1, *ids(query), 2]].sum(axis=0)
    logit = float((of_query * table[[*ids(text), 2]].mean(axis=0)).mean())
    return float(1 / (1 + np.exp(-logit)))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return onnx_models.write_cross_encoder(tmp_path / "cross")


def opened(directory: Path) -> OnnxReranker:
    from jtv_cli.embedders.onnx_reranker import OnnxReranker

    return OnnxReranker(directory)


def test_the_score_of_each_pair(directory: Path) -> None:
    for query in ("cat", "flour river"):
        scores = opened(directory).rerank(query, TEXTS).scores
        assert scores == pytest.approx([expected(query, text) for text in TEXTS], abs=1e-6)


def test_a_long_text_counts_with_its_best_window(directory: Path) -> None:
    """Of windows of 28 tokens, with 7 in common with the one before."""
    words = ["bread"] * 100
    words[70:98] = ["cat"] * 28
    text = " ".join(words)
    [score] = opened(directory).rerank("cat", [text]).scores
    windows = [words[start : start + 28] for start in range(0, 94, 21)]
    best = max(expected("cat", " ".join(window)) for window in windows)
    assert score == pytest.approx(best, abs=1e-6)
    assert score > expected("cat", " ".join(words[:28])) + 0.1


def test_a_long_query_is_cut(directory: Path) -> None:
    [score] = opened(directory).rerank("cat " * 500, ["dog cat"]).scores
    assert score == pytest.approx(expected("cat " * 16, "dog cat"), abs=1e-6)


def test_of_any_length(directory: Path) -> None:
    reranker = opened(directory)
    for query, text in product(range(1, 40, 3), range(0, 80, 3)):
        [score] = reranker.rerank("cat " * query, ["dog " * text or " "]).scores
        assert 0 <= score <= 1


def test_the_longest_text_that_is_stated(directory: Path) -> None:
    import tokenizers

    text = "bread " * 30 + "cat " * 30
    whole = expected("cat", text)

    def is_whole() -> bool:
        [score] = opened(directory).rerank("cat", [text]).scores
        return abs(score - whole) < 1e-6

    onnx_models.write_cross_encoder(directory, most=600)
    config, tokenizer = directory / "tokenizer_config.json", directory / "tokenizer.json"
    for said in ('{"model_max_length": 1e30}', "{}", "[]", "{", '{"model_max_length": "x"}'):
        config.write_text(said)
        assert is_whole()
    limited = tokenizers.Tokenizer.from_file(str(tokenizer))
    limited.enable_truncation(20)
    limited.save(str(tokenizer))
    assert not is_whole()
    config.unlink()
    assert not is_whole()
    config.write_text('{"model_max_length": 100}')
    assert is_whole()


class TestCommands:
    @pytest.fixture
    def filled(self, jtv: Jtv) -> Jtv:
        jtv.write("texts.txt", "\n".join(TEXTS))
        jtv.ok("init", "--model", "hashing-v1", "--full-text")
        jtv.ok("ingest", "texts.txt")
        return jtv

    @pytest.mark.parametrize("more", [(), ("--hybrid",), ("--keyword",)])
    def test_the_order_is_that_of_the_scores(
        self, filled: Jtv, directory: Path, more: tuple[str, ...]
    ) -> None:
        model = f"onnx:{directory}"
        result = filled.ok("search", "dog", "cat", "--rerank", model, *more, "--json", "--explain")
        assert f"reranked by onnx:{directory}" in result.stderr.replace("\n", "")
        records = result.records
        assert len(records) >= 3
        scores = [record["score"] for record in records]
        assert scores == sorted(scores, reverse=True)
        assert scores == pytest.approx([expected("dog cat", r["content"]) for r in records])

    def test_many_queries(self, filled: Jtv, directory: Path) -> None:
        filled.write("queries.txt", "cat\nflour\n")
        model = f"--rerank=onnx:{directory}"
        result = filled.ok("search", "--queries", "queries.txt", model, "--json")
        assert [record["hits"][0]["content"] for record in result.records] == ["cat", "flour"]

    def test_a_model_that_fails(self, filled: Jtv, directory: Path) -> None:
        """It has room for fewer tokens than its tokenizer states."""
        (directory / "tokenizer_config.json").write_text('{"model_max_length": 64}')
        words = ("search", "cat " * 60, "--json")
        plain = filled(*words)
        result = filled(*words, "--rerank", f"onnx:{directory}")
        assert (result.code, result.records) == (0, plain.records)
        assert "warning: the hits are not reranked: the model in" in result.stderr
        strict = filled(*words, "--rerank", f"onnx:{directory}", "--strict")
        assert (strict.code, strict.stdout) == (4, "")
        assert strict.is_one_error

    def test_what_is_no_cross_encoder(self, filled: Jtv, tmp_path: Path) -> None:
        two = onnx_models.write_cross_encoder(tmp_path / "two", scores=2)
        embedder = onnx_models.write(tmp_path / "embedder", pooling="mean")
        (tmp_path / "empty").mkdir()
        for path, said in (
            (two, "does not return one score"),
            (embedder, "does not return one score"),
            (tmp_path / "empty", "no model.onnx"),
            (tmp_path / "missing", "no model.onnx"),
        ):
            result = filled("search", "cat", "--rerank", f"onnx:{path}")
            assert (result.code, result.stdout) == (2, "")
            assert said in result.stderr
            assert result.is_one_error

    def test_a_base_has_no_meaning(self, filled: Jtv, directory: Path) -> None:
        base = ("--rerank-base", "http://localhost:1")
        result = filled("search", "cat", "--rerank", f"onnx:{directory}", *base)
        assert result.code == 2
        assert "--rerank-base and onnx:DIR cannot be combined" in result.stderr
