"""Models in ONNX's format from a directory: tiny ones, of each pooling, made here."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("tokenizers")

import onnx_models
from jtv_cli.embedders import onnx as onnx_embedder
from jtv_cli.embedders import open_embedder
from jtv_cli.embedders.onnx import describe
from jtv_cli.errors import TextTooLong, UsageError
from jtv_cli.records import Purpose

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from conftest import Jtv

TEXTS = ["cat dog", "bread flour river", "river", ""]


def ids(text: str) -> list[int]:
    return [1, *(onnx_models.WORDS.index(word) for word in text.split()), 2]


def expected(pooling: str, texts: Sequence[str] = TEXTS, seed: int = 1) -> Any:
    table = onnx_models.vectors_of_words(seed)
    rows = [table[ids(text)] for text in texts]
    pooled = {
        "mean": [row.mean(axis=0) for row in rows],
        "cls": [row[0] for row in rows],
        "none": [row[0] for row in rows],
        "last": [row[-1] for row in rows],
    }[pooling]
    return np.array(pooled)


def unit(vectors: Any) -> Any:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("pooling", ["mean", "cls", "last", "none"])
@pytest.mark.parametrize("normalize", [True, False])
def test_each_pooling(tmp_path: Path, pooling: str, normalize: bool) -> None:
    directory = onnx_models.write(
        tmp_path / "m", pooling=pooling, normalize=normalize, is_pooled=pooling == "none"
    )
    vectors = open_embedder(describe(directory)).embed(TEXTS, Purpose.DOCUMENT).vectors
    wanted = expected(pooling)
    assert vectors == pytest.approx(unit(wanted) if normalize else wanted, abs=1e-5)
    assert vectors.dtype == np.float32


def test_all_inputs_are_given(tmp_path: Path) -> None:
    inputs = ("input_ids", "attention_mask", "token_type_ids", "position_ids")
    directory = onnx_models.write(tmp_path, inputs=inputs, pooling="mean")
    vectors = open_embedder(describe(directory)).embed(TEXTS, Purpose.DOCUMENT).vectors
    assert vectors == pytest.approx(unit(expected("mean")), abs=1e-5)


def test_prefixes_and_fewer_dimensions(tmp_path: Path) -> None:
    prefixes = {"query_prefix": "query : ", "document_prefix": "text : "}
    record: dict[str, Any] = {"pooling": "mean", "dimensions": 8, **prefixes}
    directory = onnx_models.write(tmp_path, **record)
    embedder = open_embedder(describe(directory))
    for purpose, prefix in ((Purpose.QUERY, "query"), (Purpose.DOCUMENT, "text")):
        wanted = expected("mean", [f"{prefix} : cat"])[:, :8]
        assert embedder.embed(["cat"], purpose).vectors == pytest.approx(unit(wanted), abs=1e-5)


def test_a_text_that_is_too_long(tmp_path: Path) -> None:
    from jtv_cli.embedders import EmbedderOptions

    directory = onnx_models.write(tmp_path, pooling="mean", max_tokens=4)
    long = ["cat", "cat dog river bread"]
    with pytest.raises(TextTooLong):
        open_embedder(describe(directory)).embed(long, Purpose.DOCUMENT)
    options = EmbedderOptions(truncate=True)
    vectors = open_embedder(describe(directory), options).embed(long, Purpose.DOCUMENT).vectors
    assert vectors[1] == pytest.approx(unit(expected("mean", ["cat dog"]))[0], abs=1e-5)


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ("{", "not JSON"),
        ("[]", "no JSON object"),
        ("{}", "'pooling' is missing"),
        ('{"pooling": "max"}', "'pooling'"),
        ('{"pooling": "mean", "dimensions": "8"}', "'dimensions'"),
        ('{"pooling": "mean", "dimensions": true}', "'dimensions'"),
        ('{"pooling": "mean", "query_prefix": 1}', "'query_prefix'"),
        ('{"pooling": "mean", "polling": 1}', "no field 'polling'"),
        (None, "cannot read"),
    ],
)
def test_a_record_that_cannot_be(tmp_path: Path, record: str | None, says: str) -> None:
    directory = onnx_models.write(tmp_path, pooling="mean")
    (directory / "jtv.json").unlink()
    if record is not None:
        (directory / "jtv.json").write_text(record)
    with pytest.raises(UsageError, match=says) as caught:
        describe(directory)
    assert "jtv.json" in str(caught.value.hint)


def test_files_that_are_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = onnx_models.write(tmp_path, pooling="mean")
    (directory / "model.onnx").write_bytes(b"no model")
    with pytest.raises(UsageError, match="cannot be opened"):
        open_embedder(describe(directory))
    (directory / "model.onnx").unlink()
    with pytest.raises(UsageError, match=r"there is no model.onnx"):
        describe(directory)
    directory = onnx_models.write(tmp_path / "b", pooling="mean", inputs=("input_ids", "pixels"))
    with pytest.raises(UsageError, match="pixels"):
        open_embedder(describe(directory))
    directory = onnx_models.write(tmp_path / "c", pooling="none")
    with pytest.raises(UsageError, match="no output"):
        open_embedder(describe(directory))
    monkeypatch.setattr(onnx_embedder, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match="need ONNX Runtime") as caught:
        describe(directory)
    assert "jtv-cli[local]" in str(caught.value.hint)


class TestCommands:
    @pytest.fixture
    def directory(self, jtv: Jtv) -> Path:
        return onnx_models.write(
            jtv.folder / "work/m", name="tiny", pooling="mean", query_prefix="query : "
        )

    def test_a_table_remembers_where_its_model_is(self, jtv: Jtv, directory: Path) -> None:
        made = jtv.ok("init", "--model", "onnx:m", "--json").records[0]
        assert (made["model"], made["dimensions"]) == ("tiny", 48)
        jtv.ok("ingest", "-", stdin="cat dog\nbread flour\nriver\n")
        elsewhere = {"cwd": jtv.folder / "home"}
        assert jtv.ok("search", "flour", "-k", "1", **elsewhere).rows[0][2] == "bread flour"
        directory.rename(jtv.folder / "work/moved")
        result = jtv("search", "flour")
        assert result.code == 2
        assert "--model onnx:DIR" in result.stderr
        found = jtv.ok("search", "flour", "-k", "1", "--model", "onnx:moved")
        assert found.rows[0][2] == "bread flour"

    def test_other_weights_are_refused(self, jtv: Jtv, directory: Path) -> None:
        jtv.ok("init", "--model", "onnx:m")
        jtv.ok("ingest", "-", stdin="cat dog\n")
        onnx_models.write(directory, seed=2, name="tiny", pooling="mean", query_prefix="query : ")
        for command in (["search", "cat"], ["ingest", "-"], ["search", "cat", "--model", "onnx:m"]):
            result = jtv(*command, stdin="river\n")
            assert result.code == 5
            assert "is not the one that the table was created with" in result.stderr

    @pytest.mark.usefixtures("directory")
    def test_another_pooling_is_refused(self, jtv: Jtv) -> None:
        jtv.ok("init", "--model", "onnx:m")
        onnx_models.write(jtv.folder / "work/cls", name="tiny", pooling="cls")
        result = jtv("search", "cat", "--model", "onnx:cls")
        assert result.code == 5
        assert "pooling 'mean'" in result.stderr
        assert "pooling 'cls'" in result.stderr

    def test_a_text_that_is_too_long_is_left_out(self, jtv: Jtv) -> None:
        onnx_models.write(jtv.folder / "work/short", pooling="mean", max_tokens=20)
        jtv.ok("init", "--model", "onnx:short")
        lines = ["cat", "dog " * 30, "river"]
        result = jtv("ingest", "-", "--lines", "--no-chunk", stdin="\n".join(lines))
        assert result.code == 3
        assert "-:2: it is too long for the model" in result.stderr
        assert [row[2] for row in jtv.ok("list").rows] == ["cat", "river"]
        jtv.ok("ingest", "-", "--truncate", stdin="\n".join(lines))
        assert len(jtv.ok("list").rows) == 3


class TestTheSameModelFromTheApi:
    """A table of the API's v2 is searched with the weights on this machine, and the other way."""

    NAME = "jina-embeddings-v2-base-en"

    def write(self, jtv: Jtv, seed: int) -> None:
        onnx_models.write(
            jtv.folder / f"work/{seed}", seed=seed, name=self.NAME, pooling="mean", normalize=True
        )

    def test_it_is_taken_if_it_makes_the_same_vectors(
        self, jtv: Jtv, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(onnx_models, "DIMENSIONS", 768)
        for seed in (1, 2):
            self.write(jtv, seed)
        # Its own export, under the API's recipe, stands for what the API has made.
        jtv.ok("init", "--model", "onnx:1")
        jtv.ok("ingest", "-", stdin="cat dog\nbread flour\n")
        header, *lines, _ = jtv.ok("export", "--vectors").stdout.splitlines()
        record = {name: value for name, value in json.loads(header).items() if name != "recipe"}
        exported = "".join(f"{line}\n" for line in (json.dumps(record), *lines))
        digest = sha256(exported.encode()).hexdigest()
        exported += json.dumps({"documents": len(lines), "sha256": digest}) + "\n"
        made = ["--table", "made_by_the_api"]
        jtv.ok("import", "-", *made, stdin=exported)
        result = jtv("search", "flour", *made)
        assert result.code == 2
        assert "API key" in result.stderr
        found = jtv.ok("search", "flour", "-k", "1", *made, "--model", "onnx:1")
        assert found.rows[0][2] == "bread flour"
        jtv.ok("ingest", "-", *made, "--model", "onnx:1", stdin="river\n")
        result = jtv("search", "flour", *made, "--model", "onnx:2")
        assert result.code == 5
        assert self.NAME in result.stderr
        assert "onnx:2" in result.stderr

    def test_the_other_way_round(self, keyed: Jtv, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(onnx_models, "DIMENSIONS", 768)
        self.write(keyed, 1)
        keyed.ok("init", "--model", "onnx:1")
        keyed.ok("ingest", "-", stdin="cat dog\n")
        # The stand-in's vectors are not those of the tiny model.
        result = keyed("search", "cat", "--model", self.NAME)
        assert result.code == 5
        assert "makes other vectors" in " ".join(result.stderr.split())
