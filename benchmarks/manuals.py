"""How well a passage deep inside a long manual is found, by the way in which manuals are read.

    python benchmarks/manuals.py [--model NAME ...] [--directory DIR]

On 109 manuals of free software and 142 questions (benchmarks/data/manuals/README.md). The first
run downloads the manuals as source distributions, with pip. They, and the tables that are filled
from them, stay in DIR.

A file is found if it is among the first ten, of each of which only the best hit counts. A passage
is found if one of the first ten hits has a line of the answer. Brackets are 95% intervals, by
2,000 samples of the questions with replacement. "whole" is a manual as one text; "cut at" is its
beginning, with four characters for a token, which is what a model of that limit reads of it;
"lines" is a text a line. All vectors are compared, without the index.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import chunks
from retrieval import HERE
from timing import machine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DATA = HERE / "data/manuals"
FILES = (DATA / "files.txt").read_text().split()
CACHE = Path.home() / ".cache/jtv-benchmarks/manuals"
POSITIONS = ("first", "middle", "last")
LIMITS = {f"whole, cut at {tokens:,} tokens": tokens for tokens in (256, 8192)}
CHARACTERS = 4  # of English, in a token
WAYS = {
    **dict.fromkeys(LIMITS, chunks.WAYS["whole"]),
    **{name: ways for name, ways in chunks.WAYS.items() if not name.startswith("chunks of 64 ")},
}
WHOLE = ("whole", *LIMITS)
DEFAULT = "chunks of 256"
VECTORS = ("--no-hybrid", "--exact")
SAMPLES = 2000


class Found(NamedTuple):
    """For each question: the ranks of the right file and of the passage, from 0, if found.

    `files` is how many files the hits are of.
    """

    file: list[int | None]
    passage: list[int | None]
    files: list[int]


def main() -> None:
    """Download the manuals, fill the tables, measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", action="append")
    parser.add_argument("--directory", type=Path, default=CACHE)
    options = parser.parse_args()
    models = options.model or ["static-v1", "hashing-v1"]
    download(options.directory)
    lines = (DATA / "questions.jsonl").read_text("utf-8").splitlines()
    questions = [json.loads(line) for line in lines]
    print(f"{machine()}; {len(questions)} questions")
    for model in models:
        _print_ways(model, questions, options.directory)
        _print_searches(model, questions, options.directory)


def download(directory: Path) -> None:
    """Put the manuals into a directory, unless they are there."""
    manuals = directory / "manuals"
    if all((manuals / name).is_file() for name in FILES):
        return
    archives = directory / "archives"
    archives.mkdir(parents=True, exist_ok=True)
    for line in (DATA / "requirements.txt").read_text().splitlines():
        # One at a time, so that what builds one of them may be another that comes as a wheel.
        requirement = directory / "requirement.txt"
        requirement.write_text(line)
        project = line.partition("=")[0]
        pip = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes")
        source = ("--no-binary", project, "-r", str(requirement), "-d", str(archives))
        subprocess.run([*pip, *source], check=True)
    for path in archives.glob("*.tar.gz"):
        project = path.name.rpartition("-")[0].lower().replace("_", "-")
        with tarfile.open(path) as archive:
            top = archive.getnames()[0].split("/")[0]
            for name in FILES:
                if name.startswith(f"{project}/"):
                    member = archive.extractfile(f"{top}/{name.partition('/')[2]}")
                    assert member is not None
                    (manuals / name).parent.mkdir(parents=True, exist_ok=True)
                    (manuals / name).write_bytes(member.read())


def _table(model: str, way: str, directory: Path) -> tuple[str, str]:
    """Return the options that name the table for a way to read manuals; fill it once."""
    path = directory / "tables" / f"{model}-{re.sub(r'[ ,]+', '-', way)}.db"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        part = path.with_suffix(".part")
        for each in path.parent.glob(f"{part.name}*"):
            each.unlink()
        database = ("--database", str(part))
        if chunks.has_more(way):
            chunks.put_in_front(model, way, _table(model, DEFAULT, directory), database)
        else:
            documents = directory / "manuals"
            if way in LIMITS:
                documents = _cut(documents, LIMITS[way] * CHARACTERS, directory / path.stem)
            chunks.fill(documents, model, WAYS[way], database)
        part.rename(path)
    return "--database", str(path)


def _cut(manuals: Path, size: int, directory: Path) -> Path:
    """Write the first characters of each manual to a directory, and return it."""
    for name in FILES:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text((manuals / name).read_text("utf-8")[:size], "utf-8")
    return directory


def measure(
    questions: Sequence[dict[str, Any]], search: Sequence[str], database: Sequence[str]
) -> Found:
    """Search for every question; the ranks are those of hits as they are printed."""
    queries = [question["question"] for question in questions]
    found = chunks.find(queries, chunks.DEPTH, search, database)
    ranks = Found([], [], [])
    for question, hits in zip(questions, found, strict=True):
        files = [next(f for f in FILES if hit["source"].endswith(f"/{f}")) for hit in hits]
        right = [rank for rank, file in enumerate(files) if file == question["file"]]
        with_answer = [rank for rank in right if _has_answer(hits[rank], question)]
        ranks.file.append(min(right, default=None))
        ranks.passage.append(min(with_answer, default=None))
        ranks.files.append(len(set(files)))
    return ranks


def _has_answer(hit: dict[str, Any], question: dict[str, Any]) -> bool:
    # Chunks below their headings were stored as records, with their lines as metadata.
    lines = {**hit, **(hit["metadata"] or {})}
    first = lines["line"]
    last = lines["end_line"] or first
    return bool(first <= question["end_line"] and last >= question["line"])


def _print_ways(model: str, questions: Sequence[dict[str, Any]], directory: Path) -> None:
    print(
        f"\n{model}\n\n| read as | documents | file: recall@10 | nDCG@10 | passage: recall@10"
        f" | nDCG@10 | file: {' | '.join(POSITIONS)} |\n|{'---|' * 9}"
    )
    files: dict[str, Found] = {}
    passages: dict[str, Found] = {}
    for way in WAYS:
        database = _table(model, way, directory)
        count = chunks.jtv("list", "--format", "text", "-0", *database).count("\0")
        files[way] = measure(questions, (*VECTORS, "--per-source", "1"), database)
        passages[way] = measure(questions, VECTORS, database)
        recalls = _recalls(files[way].file)
        cells = [_interval(recalls), _interval(_gains(files[way].file))]
        cells += (
            ["–", "–"]  # every hit of a whole manual has every line of it
            if way in WHOLE
            else [_interval(scores(passages[way].passage)) for scores in (_recalls, _gains)]
        )
        for position in POSITIONS:
            of_position = [
                recall
                for recall, question in zip(recalls, questions, strict=True)
                if question["position"] == position
            ]
            cells.append(f"{np.mean(of_position):.3f}")
        print(f"| {way} | {count:,} | {' | '.join(cells)} |", flush=True)
    print("\n| difference | file: recall@10 | nDCG@10 | passage: nDCG@10 |\n|---|---|---|---|")
    for first, second in (
        *((DEFAULT, way) for way in (*WHOLE, "lines")),
        *((way, DEFAULT) for way in WAYS if way not in (*WHOLE, "lines", DEFAULT)),
    ):
        cells = [
            _difference(_recalls, files[first].file, files[second].file),
            _difference(_gains, files[first].file, files[second].file),
            "–"
            if second in WHOLE
            else _difference(_gains, passages[first].passage, passages[second].passage),
        ]
        print(f"| {first} − {second} | {' | '.join(cells)} |")


def _print_searches(model: str, questions: Sequence[dict[str, Any]], directory: Path) -> None:
    database = _table(model, DEFAULT, directory)
    chunks.jtv("index", "build", "--full-text", *database)
    print(
        "\n| search | hits | files in 10 | right file in 10 | right file first | passage in 10"
        f" | passage: nDCG@10 |\n|{'---|' * 7}"
    )
    for name, search in (
        ("vectors", VECTORS),
        ("hybrid", ("--hybrid",)),
        ("keyword", ("--keyword",)),
    ):
        for hits, options in (("all", ()), ("one a file", ("--per-source", "1"))):
            found = measure(questions, (*search, *options), database)
            first = [float(rank == 0) for rank in found.file]
            scores = (_recalls(found.file), first, _recalls(found.passage), _gains(found.passage))
            cells = [f"{np.mean(found.files):.1f}", *map(_interval, scores)]
            print(f"| {name} | {hits} | {' | '.join(cells)} |", flush=True)


def _recalls(ranks: Sequence[int | None]) -> list[float]:
    return [float(rank is not None) for rank in ranks]


def _gains(ranks: Sequence[int | None]) -> list[float]:
    return [0.0 if rank is None else 1 / math.log2(rank + 2) for rank in ranks]


def _difference(
    scores: Callable[[Sequence[int | None]], list[float]],
    first: Sequence[int | None],
    second: Sequence[int | None],
) -> str:
    pairs = zip(scores(first), scores(second), strict=True)
    return _interval([one - other for one, other in pairs], "+.3f")


def _interval(scores: Sequence[float], form: str = ".3f") -> str:
    """Return the mean and its 95% interval, by sampling with replacement."""
    values = np.array(scores)
    chosen = np.random.default_rng(1).integers(len(values), size=(SAMPLES, len(values)))
    low, high = np.percentile(values[chosen].mean(axis=1), (2.5, 97.5))
    return f"{values.mean():{form}} [{low:{form}}, {high:{form}}]"


if __name__ == "__main__":
    main()
