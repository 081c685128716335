"""How well the right file is found, by the way in which documents are read.

    python benchmarks/chunks.py [--model NAME ...]

On the long documents of benchmarks/data/answers: 72 questions, each with the one file that
answers it, in five languages. Of each file only the best hit counts. "whole" is a document as
one text, which the model may cut; "lines" is a text a line.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import tempfile
from pathlib import Path

from retrieval import HERE
from timing import JTV, machine

LONG = HERE / "data/answers/long"
QUESTIONS = HERE / "data/answers/long_questions.jsonl"
DEPTH = 10
WAYS = {
    "whole": ("--no-chunk",),
    "lines": ("--lines",),
    **{f"chunks of {size}": ("--chunk", str(size)) for size in (64, 128, 256, 512)},
}


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", action="append")
    models = parser.parse_args().model or ["static-v1", "hashing-v1"]
    questions = [json.loads(line) for line in QUESTIONS.read_text("utf-8").splitlines()]
    print(f"{machine()}; {len(questions)} questions")
    print("| model | read as | documents | recall@10 | nDCG@10 |\n|---|---|---|---|---|")
    for model in models:
        for name, options in WAYS.items():
            count, ranks = rank_files(model, options, questions)
            recall = sum(rank is not None for rank in ranks) / len(ranks)
            ndcg = sum(1 / math.log2(rank + 2) for rank in ranks if rank is not None) / len(ranks)
            print(f"| {model} | {name} | {count} | {recall:.3f} | {ndcg:.3f} |", flush=True)


def rank_files(
    model: str, options: tuple[str, ...], questions: list[dict[str, str]]
) -> tuple[int, list[int | None]]:
    """Return the number of documents, and the rank of each question's file, from 0."""
    with tempfile.TemporaryDirectory() as directory:
        database = ("--database", str(Path(directory, "t.db")))
        _jtv("init", "--model", model, *database)
        _jtv("ingest", str(LONG), *options, *database)
        count = _jtv("list", "--format", "text", *database).count("\n")
        queries = "".join(f"{question['question']}\n" for question in questions)
        search = ("search", "--queries", "-", "-k", str(DEPTH), "--per-source", "1", "--json")
        answers = [
            json.loads(line) for line in _jtv(*search, *database, stdin=queries).splitlines()
        ]
    found = [[hit["source"] for hit in answer["hits"]] for answer in answers]
    ranks: list[int | None] = []
    for sources, question in zip(found, questions, strict=True):
        places = [n for n, source in enumerate(sources) if source.endswith(question["file"])]
        ranks.append(places[0] if places else None)
    return count, ranks


def _jtv(*arguments: str, stdin: str = "") -> str:
    return subprocess.run(
        [JTV, *arguments], input=stdin, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


if __name__ == "__main__":
    main()
