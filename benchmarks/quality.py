"""How well each embedder and each way to search find what a query asks for, and how fast.

    python benchmarks/quality.py [DIRECTORY] [--models DIRECTORY] [--rounds 10] [--write]
        [--reranker onnx:DIR]

On the project's own sets in benchmarks/data, and on public ones: DIRECTORY may hold
Cranfield (`cran/docs`, `cran/qry`, `cran/rel`) and XQuAD (`xquad/LANGUAGE.json`), which do
not come with the project. Documents are searched in an embedded store, with jtv's own
functions; with `--reranker`, the nearest 50 are also reranked. `--write` puts the tables of the set
`data/answers` into docs/searching.md.

The cold start is a new process that embeds one query, as a multiple of `python -c pass`;
`--rounds 0` leaves the speeds out. Set OMP_NUM_THREADS=1 to have lines per second on one
thread from every embedder.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from jtv_cli import config, model_choice
from jtv_cli.embedders import EmbedderOptions, open_embedder
from jtv_cli.embedders.models import MODELS
from jtv_cli.embedders.weights import is_pulled
from jtv_cli.pipeline.rerank import Reranking
from jtv_cli.pipeline.search import SearchOptions, search_many
from jtv_cli.records import Document, IndexState, Occurrence, Purpose, SearchMode, TableSpec
from jtv_cli.stores.sqlite import SqliteStore
from jtv_cli.text import text_hash
from retrieval import HERE, answers, paraphrases, public_sets
from timing import PASS, best_seconds, machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from jtv_cli.embedders import Embedder
    from jtv_cli.records import Vectors
    from jtv_cli.stores import Table
    from retrieval import RetrievalSet

DEPTH = 10
PAGE = HERE.parent / "docs" / "searching.md"
PROSE = ("paraphrase", "negation", "fact")
BEGIN, END = "<!-- begin quality -->\n", "<!-- end quality -->"

WAYS = {
    "vectors": SearchOptions(DEPTH, mode=SearchMode.VECTOR),
    "exact": SearchOptions(DEPTH, exact=True, mode=SearchMode.VECTOR),
    "keyword": SearchOptions(DEPTH, mode=SearchMode.KEYWORD),
    "hybrid": SearchOptions(DEPTH, mode=SearchMode.HYBRID),
}

COLD = """
from pathlib import Path
from jtv_cli.embedders import EmbedderOptions, open_embedder
from jtv_cli.embedders.models import find_model
from jtv_cli.records import Purpose
options = EmbedderOptions(models_directory=Path({models!r}))
open_embedder(find_model({name!r}), options).embed(["who wrote the song"], Purpose.QUERY)
"""


class Quality(NamedTuple):
    """The quality of the hits of one query, or its means over several."""

    ndcg: float
    recall: float
    mrr: float


class Measured(NamedTuple):
    """The quality of the hits of each query of a set, by embedder and way to search."""

    labelled: RetrievalSet
    found: dict[tuple[str, str], list[Quality]]


def main() -> None:
    """Measure, and print a table for each set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path, nargs="?")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--models", type=Path, help="what `jtv models path` prints")
    parser.add_argument("--write", action="store_true", help="write the tables to docs/")
    parser.add_argument("--reranker", help="as for `jtv search --rerank`: onnx:DIR")
    arguments = parser.parse_args()
    if arguments.reranker:
        settings = config.load_settings(config.Flags(), from_environment=False)
        reranker = model_choice.open_reranker(settings, arguments.reranker)
        WAYS["reranked"] = WAYS["vectors"]._replace(reranking=Reranking(reranker))
    options = EmbedderOptions(models_directory=arguments.models)
    embedders = {
        name: open_embedder(model, options)
        for name, model in MODELS.items()
        if model.is_builtin or is_pulled(name, arguments.models)
    }
    print(machine())
    if arguments.rounds:
        _print_costs(embedders, str(arguments.models or ""), arguments.rounds)
    own = {name: measure(embedders, labelled) for name, labelled in answers().items()}
    report = _report(own)
    print(report, flush=True)
    if arguments.write:
        before, rest = PAGE.read_text("utf-8").split(BEGIN)
        PAGE.write_text(before + BEGIN + report + END + rest.split(END)[1], "utf-8")
    others = {"paraphrases": paraphrases()}
    if arguments.directory:
        others |= public_sets(arguments.directory)
    for name, labelled in others.items():
        print(f"\n{name}: {len(labelled.documents)} documents, {len(labelled.queries)} queries\n")
        measured = {name: measure(embedders, labelled)}
        print(_overall(measured), flush=True)


def measure(embedders: Mapping[str, Embedder], labelled: RetrievalSet) -> Measured:
    """Return how well each embedder answers a set's queries, in each way to search."""
    found = {}
    for name, embedder in embedders.items():
        with filled_table(embedder, labelled.documents) as (table, places):
            for way, options in WAYS.items():
                # Without an index, every search by vectors is exact.
                if options.exact and table.index_status().state is not IndexState.READY:
                    continue
                groups = search_many([labelled.queries], table, embedder, options)
                results = [result for group in groups for _, result in group]
                found[name, way] = [
                    quality([places[hit.id] for hit in result.hits], relevant)
                    for result, relevant in zip(results, labelled.relevant, strict=True)
                ]
    return Measured(labelled, found)


@contextmanager
def filled_table(
    embedder: Embedder, texts: Sequence[str]
) -> Iterator[tuple[Table, Mapping[int, int]]]:
    """Yield a table of an embedded store with the texts, and the index of each id's text."""
    spec = TableSpec("documents", embedder.model.name, None, embedder.model.dimensions)
    with (
        tempfile.TemporaryDirectory() as directory,
        closing(SqliteStore(Path(directory) / "quality.db", writable=True)) as store,
    ):
        store.apply(spec, store.plan(spec))
        table = store.open(spec.name)
        table.build_full_text()
        documents = [Document(text, text_hash(text), [Occurrence()]) for text in texts]
        table.add(documents, embed(embedder, texts, Purpose.DOCUMENT))
        ids = table.known([document.hash for document in documents])
        places = {ids[document.hash]: place for place, document in enumerate(documents)}
        yield table, places


def quality(found: Sequence[int], relevant: set[int]) -> Quality:
    """Return the quality of a query's hits."""
    discounts = 1 / np.log2(np.arange(DEPTH) + 2)
    gains = np.array([hit in relevant for hit in found], float)
    first = int(gains.argmax()) + 1 if gains.any() else 0
    return Quality(
        float((gains * discounts[: len(found)]).sum() / discounts[: len(relevant)].sum()),
        float(gains.sum() / len(relevant)),
        1 / first if first else 0.0,
    )


def mean(some: Iterable[Quality]) -> Quality:
    """Return the means over several queries."""
    return Quality(*(float(value) for value in np.mean(list(some), axis=0)))


def embed(embedder: Embedder, texts: Sequence[str], purpose: Purpose) -> Vectors:
    """Return the texts' vectors, embedded in batches as `jtv ingest` makes them."""
    size = embedder.batch_limit.texts
    return np.concatenate(
        [
            embedder.embed(texts[start : start + size], purpose).vectors
            for start in range(0, len(texts), size)
        ]
    )


def _report(sets: Mapping[str, Measured]) -> str:
    """Return tables of all questions, by language, and by kind of question."""
    documents = sum(len(one.labelled.documents) for one in sets.values())
    queries = sum(len(one.labelled.queries) for one in sets.values())
    by_language = _by(sets, lambda language, _: language)
    by_kind = _by(sets, lambda _, kind: kind)
    prose: Groups = {}
    for key, groups in _by(sets, lambda language, kind: language if kind in PROSE else "").items():
        some = {language: found for language, found in groups.items() if language}
        prose[key] = {"all": [one for found in some.values() for one in found], **some}
    return (
        f"{queries} questions about {documents} documents, each asked among the documents of its"
        f" own language. Sets of this size have no vector index: all vectors are compared.\n\n"
        f"{_overall(sets)}\n"
        f"nDCG@10 by language:\n\n{_table(by_language, 'ndcg')}\n"
        "nDCG@10 of prose (paraphrases, negations, and facts) by language:\n\n"
        f"{_table(prose, 'ndcg')}\n"
        f"nDCG@10 by kind of question:\n\n{_table(by_kind, 'ndcg')}\n"
        f"MRR@10 by kind of question:\n\n{_table(by_kind, 'mrr')}"
    )


Groups = dict[tuple[str, str], dict[str, list[Quality]]]


def _by(sets: Mapping[str, Measured], group: Callable[[str, str], str]) -> Groups:
    """Return the qualities by embedder and way, then by what `group` calls set and kind."""
    groups: Groups = defaultdict(lambda: defaultdict(list))
    for name, (labelled, found) in sets.items():
        kinds = labelled.kinds or [""] * len(labelled.queries)
        for key, qualities in found.items():
            for kind, one in zip(kinds, qualities, strict=True):
                groups[key][group(name, kind)].append(one)
    return groups


def _overall(sets: Mapping[str, Measured]) -> str:
    """Return a table of all questions, and of identifiers and prose if a set has kinds."""
    by_kind = _by(sets, lambda _, kind: "prose" if kind in PROSE else kind)
    names = ["nDCG@10", "recall@10", "MRR@10"]
    has_kinds = any(labelled.kinds for labelled, _ in sets.values())
    if has_kinds:
        names += ["identifiers, MRR@10", "prose, nDCG@10"]
    lines = [f"| model | search | {' | '.join(names)} |", "|---" * (len(names) + 2) + "|"]
    for (model, way), groups in by_kind.items():
        values = [*mean(one for some in groups.values() for one in some)]
        if has_kinds:
            values += [mean(groups["identifier"]).mrr, mean(groups["prose"]).ndcg]
        cells = (f"{value:.3f}" for value in values)
        lines.append(f"| {model} | {way} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _table(groups: Groups, field: str) -> str:
    names = list(next(iter(groups.values())))
    lines = [f"| model | search | {' | '.join(names)} |", "|---" * (len(names) + 2) + "|"]
    for (model, way), of_name in groups.items():
        cells = (f"{getattr(mean(of_name[name]), field):.3f}" for name in names)
        lines.append(f"| {model} | {way} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


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
    print()


def _seconds(embedder: Embedder, lines: Sequence[str]) -> float:
    started = time.perf_counter()
    embed(embedder, lines, Purpose.DOCUMENT)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
