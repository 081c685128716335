"""`jtv models`, downloads from a stand-in for a hub, and the sentence model itself."""

from __future__ import annotations

import hashlib
import random
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import sentence_model
from jina_api import Reply
from jtv_cli.embedders import download, minilm
from jtv_cli.embedders.models import MODELS, find_model
from jtv_cli.embedders.weights import Download, File
from jtv_cli.embedders.wordpiece import WordPiece
from jtv_cli.errors import JtvError, ServiceDown, ServiceRefused, UsageError
from jtv_cli.records import Purpose
from model_hub import Hub

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Jtv
    from jina_http import Request

NAME = sentence_model.NAME
CONTENT = random.Random(5).randbytes(300_000)
SMALL = Download(
    "someone/model",
    "0123abc",
    "Apache-2.0",
    (
        File("vocab.txt", 5, hashlib.sha256(b"a\nb\nc").hexdigest()),
        File("model.safetensors", len(CONTENT), hashlib.sha256(CONTENT).hexdigest()),
    ),
)
PREFIX = "/someone/model/resolve/0123abc/"


@pytest.fixture
def hub() -> Iterator[Hub]:
    files = {f"{PREFIX}vocab.txt": b"a\nb\nc", f"{PREFIX}model.safetensors": CONTENT}
    with Hub(files) as hub:
        yield hub


def pull(hub: Hub | str, target: Path) -> list[tuple[str, int]]:
    seen: list[tuple[str, int]] = []
    url = hub if isinstance(hub, str) else hub.url
    download.pull(SMALL, target, hub=url, progress=lambda *step: seen.append(step))
    return seen


def pull_badly(hub: Hub | str, target: Path) -> JtvError:
    with pytest.raises(JtvError) as caught:
        pull(hub, target)
    assert caught.value.hint
    return caught.value


def is_there(target: Path) -> bool:
    return (target / "model.safetensors").exists()


class TestDownload:
    def test_all_files_come(self, hub: Hub, tmp_path: Path) -> None:
        target = tmp_path / "models/small"
        steps = pull(f"{hub.url}/", target)
        assert (target / "model.safetensors").read_bytes() == CONTENT
        assert steps[0] == ("vocab.txt", 5)
        assert steps[-1] == ("model.safetensors", len(CONTENT))
        assert sorted(path.name for path in target.iterdir()) == ["model.safetensors", "vocab.txt"]
        assert "authorization" not in hub.requests[0].headers
        assert pull(hub, target) == []
        assert len(hub.requests) == 2

    @pytest.mark.parametrize("takes_ranges", [True, False])
    def test_one_that_is_cut_off_is_resumed(
        self, hub: Hub, tmp_path: Path, takes_ranges: bool
    ) -> None:
        def cut(request: Request, reply: Reply) -> Reply:
            if request.path.endswith("safetensors") and len(hub.requests) < 3:
                return Reply(reply.status, reply.body, reply.headers, sent=100_000)
            if not takes_ranges:
                return Reply(200, hub.files[request.path], {})
            return reply

        hub.change = cut
        error = pull_badly(hub, tmp_path)
        assert isinstance(error, ServiceDown)
        assert "cut off" in error.message
        assert not is_there(tmp_path)
        kept = (tmp_path / "model.safetensors.part").stat().st_size
        assert 0 < kept <= 100_000
        pull(hub, tmp_path)
        assert (tmp_path / "model.safetensors").read_bytes() == CONTENT
        assert hub.requests[-1].headers["range"] == f"bytes={kept}-"

    def test_another_part_than_asked_for(self, hub: Hub, tmp_path: Path) -> None:
        (tmp_path / "model.safetensors.part").write_bytes(CONTENT[:1000])
        headers = {"Content-Range": "bytes 0-299999/300000"}
        hub.change = lambda _, reply: Reply(206, reply.body, headers)
        assert isinstance(pull_badly(hub, tmp_path), ServiceRefused)
        hub.change = lambda _, reply: reply
        pull(hub, tmp_path)

    @pytest.mark.parametrize("content", [CONTENT[:-1] + b"x", CONTENT + b"x", CONTENT[::-1]])
    def test_what_is_not_the_file(self, hub: Hub, tmp_path: Path, content: bytes) -> None:
        hub.files[f"{PREFIX}model.safetensors"] = content
        error = pull_badly(hub, tmp_path)
        assert isinstance(error, ServiceRefused)
        assert "SHA-256" in error.message or "larger" in error.message
        assert not is_there(tmp_path)
        # What was kept of it does not spoil the next try.
        hub.files[f"{PREFIX}model.safetensors"] = CONTENT
        pull(hub, tmp_path)

    def test_a_damaged_start_is_found_out(self, hub: Hub, tmp_path: Path) -> None:
        (tmp_path / "model.safetensors.part").write_bytes(b"x" * 1000)
        assert "SHA-256" in pull_badly(hub, tmp_path).message
        pull(hub, tmp_path)

    def test_a_file_that_is_damaged_later_is_got_again(self, hub: Hub, tmp_path: Path) -> None:
        pull(hub, tmp_path)
        (tmp_path / "model.safetensors").write_bytes(CONTENT[::-1])
        pull(hub, tmp_path)
        assert (tmp_path / "model.safetensors").read_bytes() == CONTENT

    @pytest.mark.parametrize(
        ("status", "kind"),
        [(404, ServiceRefused), (401, ServiceRefused), (503, ServiceDown), (429, ServiceDown)],
    )
    def test_an_error(self, hub: Hub, tmp_path: Path, status: int, kind: type[JtvError]) -> None:
        hub.change = lambda *_: Reply(status, b"no", {})
        error = pull_badly(hub, tmp_path)
        assert type(error) is kind
        assert f"answered {status}" in error.message
        assert not is_there(tmp_path)

    def test_a_redirect_to_another_host(self, hub: Hub, tmp_path: Path) -> None:
        with Hub({"/blob": CONTENT}) as other:

            def redirect(request: Request, reply: Reply) -> Reply:
                if request.path.endswith("safetensors"):
                    return Reply(302, b"", {"Location": f"{other.url}/blob?signed=1"})
                return reply

            other.files["/blob?signed=1"] = CONTENT
            hub.change = redirect
            pull(hub, tmp_path)
            assert len(other.requests) == 1
        assert is_there(tmp_path)

    @pytest.mark.parametrize(
        ("location", "says"),
        [
            ("http://192.0.2.1/blob", "without https"),
            ("file:///etc/passwd", "without https"),
            (f"{PREFIX}vocab.txt", "too often"),
        ],
    )
    def test_a_redirect_that_is_not_followed(
        self, hub: Hub, tmp_path: Path, location: str, says: str
    ) -> None:
        hub.change = lambda *_: Reply(307, b"", {"Location": location})
        assert says in pull_badly(hub, tmp_path).message

    @pytest.mark.parametrize(
        "url",
        ["", "hub", "http://192.0.2.1", "https://u:p@h", "https://h?x", "ftp://h", "https://"],
    )
    def test_a_hub_that_cannot_be(self, tmp_path: Path, url: str) -> None:
        assert isinstance(pull_badly(url, tmp_path), UsageError)

    def test_nobody_there(self, tmp_path: Path) -> None:
        with Hub({}) as hub:
            pass
        assert isinstance(pull_badly(hub, tmp_path), ServiceDown)

    def test_a_directory_that_cannot_be_written(self, hub: Hub, tmp_path: Path) -> None:
        (tmp_path / "models").write_text("a file")
        error = pull_badly(hub, tmp_path / "models/small")
        assert isinstance(error, UsageError)
        assert "JTV_MODELS" in str(error.hint)


class TestCommands:
    def test_from_nothing_to_a_search(self, jtv: Jtv, real_hub: Hub) -> None:
        env = {"HF_ENDPOINT": real_hub.url}
        result = jtv("init", "--model", NAME)
        assert result.code == 2
        assert f"jtv models pull {NAME}" in result.stderr
        assert "static-v1" in jtv.ok("init", "--table", "before").stderr
        said = jtv.ok("models", "pull", NAME, env=env).stderr
        assert "86.9 MiB, license Apache-2.0" in said
        where = jtv.data_folder / "models" / NAME
        assert jtv.ok("models", "path", NAME).stdout == f"{where}\n"
        # New tables without a key use it from now on.
        assert NAME in jtv.ok("init").stderr
        jtv.ok("ingest", "-", stdin="The river rises in spring.\nBread is baked from flour.\n")
        assert jtv.ok("search", "something to eat", "-k", "1").rows[0][2].startswith("Bread")
        assert len(real_hub.requests) == 2
        jtv.ok("models", "pull", NAME, env=env)
        assert len(real_hub.requests) == 2
        assert jtv("models", "remove", NAME).code == 2
        jtv.ok("models", "remove", NAME, "--yes")
        assert not where.exists()
        result = jtv("search", "something to eat")
        assert result.code == 2
        assert f"jtv models pull {NAME}" in result.stderr
        assert "static-v1" in jtv.ok("init", "--table", "after").stderr

    def test_a_search_loads_only_what_it_uses(self, jtv: Jtv, models: Path) -> None:
        jtv.environment["JTV_MODELS"] = str(models)
        jtv.ok("init")
        jtv.ok("ingest", "-", stdin="bread\nriver\n")
        program = (
            "import os, sys\n"
            "from jtv_cli.__main__ import main\n"
            "sys.argv[:2] = ['jtv']\n"
            "os._exit = sys.exit\n"
            "try:\n    main()\n"
            "except SystemExit:\n    pass\n"
            "sys.stderr.write('LOADED ' + ' '.join(sys.modules))"
        )
        result = jtv("search", "flour", prefix=[sys.executable, "-c", program])
        loaded = set(result.stderr.rpartition("LOADED ")[2].split())
        assert "jtv_cli.embedders.minilm" in loaded
        heavy = {"requests", "urllib3", "onnxruntime", "tokenizers", "sqlalchemy", "rich", "orjson"}
        assert not loaded & (heavy | {"jtv_cli.embedders.static", "jtv_cli.embedders.hashing"})

    def test_doctor_tries_the_model(self, jtv: Jtv, models: Path) -> None:
        env = {"JTV_MODELS": str(models)}
        jtv.ok("init", env=env)
        assert f"{NAME} replied in" in jtv.ok("doctor", env=env).stdout
        result = jtv("doctor")
        assert result.code == 2
        assert f"jtv models pull {NAME}" in result.stdout

    def test_an_interrupted_download_is_resumed(self, jtv: Jtv, real_hub: Hub) -> None:
        real_hub.change = lambda _, reply: (
            Reply(reply.status, reply.body, reply.headers, sent=50_000_000)
            if len(reply.body) > 60_000_000
            else reply
        )
        env = {"HF_ENDPOINT": real_hub.url}
        result = jtv("models", "pull", NAME, env=env)
        assert result.code == 4
        assert "run the same command again to resume" in result.stderr
        jtv.ok("models", "pull", NAME, env=env)
        assert real_hub.requests[-1].headers["range"].startswith("bytes=")

    def test_ctrl_c(self, jtv: Jtv, real_hub: Hub) -> None:
        real_hub.change = lambda _, reply: Reply(200, reply.body, delay=30)
        process = jtv.start(
            *("models", "pull", NAME), env={"HF_ENDPOINT": real_hub.url}, stderr=subprocess.PIPE
        )
        assert process.stderr is not None
        process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        process.stderr.close()

    def test_the_list(self, jtv: Jtv, models: Path) -> None:
        rows = {row[0]: row for row in jtv.ok("models").rows}
        assert list(rows) == list(MODELS)
        assert rows["hashing-v1"][1:3] == ["built in", "768"]
        assert rows[NAME][6] == f"download it: jtv models pull {NAME}"
        assert rows["jina-embeddings-v3"][6] == "set JINA_API_KEY"
        env = {"JTV_MODELS": str(models), "JINA_API_KEY": "jina_x"}
        records = {
            record["model"]: record for record in jtv.ok("models", "--json", env=env).records
        }
        assert all(record["ready"] for record in records.values())
        assert records["jina-embeddings-v3"]["smaller_dimensions"][0] == 32
        assert records["hashing-v1"]["usd_per_million_tokens"] == 0

    def test_the_speed(self, jtv: Jtv) -> None:
        records = jtv.ok("models", "--measure", "--json").records
        speeds = {record["model"]: record["lines_per_second"] for record in records}
        assert speeds["hashing-v1"] > 100
        assert speeds[NAME] is None
        assert speeds["jina-embeddings-v3"] is None

    def test_a_directory_of_ones_own(self, jtv: Jtv, models: Path) -> None:
        jtv.write(".env", "JTV_MODELS=weights\n")
        shutil.copytree(models / NAME, jtv.folder / "work/weights" / NAME)
        assert jtv.ok("models", "path").stdout == f"{jtv.folder / 'work/weights'}\n"
        assert NAME in jtv.ok("init").stderr

    @pytest.mark.parametrize("name", ["hashing-v1", "unknown"])
    @pytest.mark.parametrize("command", ["pull", "path", "remove"])
    def test_what_cannot_be_downloaded(self, jtv: Jtv, command: str, name: str) -> None:
        result = jtv("models", command, name)
        assert result.code == 2
        assert f"models to download: {NAME}" in result.stderr


@pytest.fixture(scope="module")
def embedder(models: Path) -> minilm.MiniLmEmbedder:
    return minilm.MiniLmEmbedder(find_model(NAME), models / NAME)


def embed(embedder: minilm.MiniLmEmbedder, texts: list[str]) -> Any:
    return embedder.embed(texts, Purpose.DOCUMENT).vectors


SENTENCES = [
    "A man is eating food.",
    "A man is eating a piece of bread.",
    "The girl is carrying a baby.",
    "",
    "Größe, naïve café — 東京 is the capital of 日本. 🙂 x=y_z[0]",
    "word " * 120,
]


class TestSentenceModel:
    def test_the_same_vectors_as_everywhere(self, embedder: minilm.MiniLmEmbedder) -> None:
        """The cosines are those that sentence-transformers computes."""
        one, two, other, *_ = embed(embedder, SENTENCES)
        assert one @ two == pytest.approx(0.7553, abs=5e-4)
        assert one @ other < 0.1

    def test_vectors_are_unit_vectors(self, embedder: minilm.MiniLmEmbedder) -> None:
        vectors = embed(embedder, SENTENCES)
        assert vectors.dtype == np.float32
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)

    def test_batches_do_not_matter(self, embedder: minilm.MiniLmEmbedder) -> None:
        together = embed(embedder, SENTENCES)
        alone = np.concatenate([embed(embedder, [text]) for text in SENTENCES])
        assert together == pytest.approx(alone, abs=1e-5)

    def test_a_long_text_is_the_mean_of_its_windows(self, embedder: minilm.MiniLmEmbedder) -> None:
        parts = ["cat " * 254, "database " * 254, "river " * 100]
        sizes = np.array([256, 256, 102])
        expected = (embed(embedder, parts) * sizes[:, None]).sum(axis=0)
        vector = embed(embedder, ["".join(parts)])[0]
        assert vector == pytest.approx(expected / np.linalg.norm(expected), abs=1e-5)

    def test_a_text_without_end(self, embedder: minilm.MiniLmEmbedder) -> None:
        assert np.isfinite(embed(embedder, ["words " * 1_000_000])).all()

    def test_onnx_runtime_computes_the_same(
        self, embedder: minilm.MiniLmEmbedder, models: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pytest.importorskip("onnxruntime")
        monkeypatch.setattr(minilm, "_ONNX_FROM", 1)
        faster = minilm.MiniLmEmbedder(find_model(NAME), models / NAME)
        vectors = embed(faster, SENTENCES)
        assert faster._onnx is not None
        monkeypatch.undo()
        assert vectors == pytest.approx(embed(embedder, SENTENCES), abs=1e-5)


def test_word_pieces_are_those_of_the_tokenizers_library(models: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    theirs = tokenizers.Tokenizer.from_file(str(models / NAME / "tokenizer.json"))
    theirs.no_truncation()
    theirs.no_padding()
    ours = WordPiece(models / NAME / "vocab.txt")
    dice = random.Random(1)
    alphabets = [
        "abc XYZ,.-_'\"\t",
        "äöüßéñçÅøİıΣσς",
        "日本語 中文한국어",
        "😀️€™½ﬁ Ⅷ",
        "\x00\x7f\u200b\ufeff�",
    ]
    texts = [*SENTENCES, "x" * 101, "[CL S]", "don't", "U.S.A. 3.14"]
    for _ in range(2000):
        alphabet = "".join(dice.sample(alphabets, 2)) + " "
        texts.append("".join(dice.choices(alphabet, k=dice.randint(1, 30))))
    for text in texts:
        assert ours.ids(text, 1 << 30) == theirs.encode(text, add_special_tokens=False).ids, text
