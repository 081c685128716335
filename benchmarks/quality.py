"""How well each embedder that runs on this machine finds what a query means, and how fast.

    python benchmarks/quality.py [DIRECTORY] [--models DIRECTORY] [--rounds 10]

On the project's own sets in benchmarks/data, and on public ones: DIRECTORY may hold
Cranfield (`cran/docs`, `cran/qry`, `cran/rel`) and XQuAD (`xquad/LANGUAGE.json`), which do
not come with the project. Search is exact, by cosine. The cold start is a new process that
embeds one query, as a multiple of `python -c pass`. Set OMP_NUM_THREADS=1 to have lines
per second on one thread from every embedder.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from jtv_cli.embedders import EmbedderOptions, open_embedder
from jtv_cli.embedders.models import MODELS
from jtv_cli.embedders.weights import is_pulled
from jtv_cli.records import Purpose
from retrieval import answers, paraphrases, public_sets
from timing import PASS, best_seconds, machine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jtv_cli.embedders import Embedder
    from jtv_cli.records import Vectors
    from retrieval import RetrievalSet

DEPTH = 10

COLD = """
from pathlib import Path
from jtv_cli.embedders import EmbedderOptions, open_embedder
from jtv_cli.embedders.models import find_model
from jtv_cli.records import Purpose
options = EmbedderOptions(models_directory=Path({models!r}))
open_embedder(find_model({name!r}), options).embed(["who wrote the song"], Purpose.QUERY)
"""


class Quality(NamedTuple):
    """Means over the queries of a set.

    `first` and `third` are the shares of queries with a relevant document as the first hit,
    or among the first three.
    """

    ndcg: float
    recall: float
    mrr: float
    first: float
    third: float


def main() -> None:
    """Measure, and print a table for each set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path, nargs="?")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--models", type=Path, help="what `jtv models path` prints")
    arguments = parser.parse_args()
    sets = {"paraphrases": paraphrases(), **answers()}
    if arguments.directory:
        sets |= public_sets(arguments.directory)
    options = EmbedderOptions(models_directory=arguments.models)
    embedders = {
        name: open_embedder(model, options)
        for name, model in MODELS.items()
        if model.is_builtin or is_pulled(name, arguments.models)
    }
    print(machine())
    _print_costs(embedders, str(arguments.models or ""), arguments.rounds)
    for name, labelled in sets.items():
        print(f"\n{name}: {len(labelled.documents)} documents, {len(labelled.queries)} queries")
        print(f"{'':20}{'nDCG@10':>9}{'recall@10':>11}{'MRR@10':>9}{'first':>8}{'in 3':>8}")
        for model, embedder in embedders.items():
            quality = measure(embedder, labelled)
            print(
                f"{model:20}{quality.ndcg:>9.4f}{quality.recall:>11.4f}{quality.mrr:>9.4f}"
                f"{quality.first:>8.3f}{quality.third:>8.3f}",
                flush=True,
            )


def measure(embedder: Embedder, labelled: RetrievalSet) -> Quality:
    """Return how well an embedder answers a set's queries; equal similarities keep order."""
    queries = embed(embedder, labelled.queries, Purpose.QUERY)
    documents = embed(embedder, labelled.documents, Purpose.DOCUMENT)
    ranks = np.argsort(-(queries @ documents.T), axis=1, kind="stable")[:, :DEPTH]
    discounts = 1 / np.log2(np.arange(DEPTH) + 2)
    scores = []
    for found, relevant in zip(ranks.tolist(), labelled.relevant, strict=True):
        gains = np.array([hit in relevant for hit in found])
        ideal = discounts[: len(relevant)].sum()
        first = int(np.argmax(gains)) + 1 if gains.any() else 0
        scores.append(
            (
                (gains * discounts[: len(found)]).sum() / ideal,
                gains.sum() / len(relevant),
                1 / first if first else 0.0,
                float(first == 1),
                float(1 <= first <= 3),
            )
        )
    return Quality(*(float(mean) for mean in np.mean(scores, axis=0)))


def embed(embedder: Embedder, texts: Sequence[str], purpose: Purpose) -> Vectors:
    """Return the texts' vectors, embedded in batches as `jtv ingest` makes them."""
    size = embedder.batch_limit.texts
    return np.concatenate(
        [
            embedder.embed(texts[start : start + size], purpose).vectors
            for start in range(0, len(texts), size)
        ]
    )


def _print_costs(embedders: dict[str, Embedder], models: str, rounds: int) -> None:
    commands = {
        name: (sys.executable, "-c", COLD.format(name=name, models=models)) for name in embedders
    }
    best = best_seconds({"pass": PASS, **commands}, rounds)
    lines = paraphrases().documents * 300
    print(f"{'':20}{'dimensions':>12}{'cold start':>12}{'lines/s':>10}")
    for name, embedder in embedders.items():
        seconds = min(_seconds(embedder, lines) for _ in range(max(1, rounds // 3)))
        print(
            f"{name:20}{embedder.model.dimensions:>12}{best[name] / best['pass']:>10.1f} ×"
            f"{len(lines) / seconds:>10,.0f}"
        )


def _seconds(embedder: Embedder, lines: Sequence[str]) -> float:
    started = time.perf_counter()
    embed(embedder, lines, Purpose.DOCUMENT)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
