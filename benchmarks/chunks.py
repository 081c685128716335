"""How well the right file is found, by the way in which documents are read.

    python benchmarks/chunks.py [--model NAME ...]

On the long documents of benchmarks/data/answers: 72 questions, each with the one file that
answers it, in five languages. Of each file only the best hit counts. "whole" is a document as
one text, which the model may cut; "lines" is a text a line. Some chunks are embedded with more in
front, as jtv does not: the path of their headings, the title, or the end of the chunk before.

The second table is of the hits as a search prints them: how many files the first five are of, and
how often one is of the right file, with all hits and with one a file.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval import HERE
from timing import JTV, machine

if TYPE_CHECKING:
    from collections.abc import Sequence

LONG = HERE / "data/answers/long"
QUESTIONS = HERE / "data/answers/long_questions.jsonl"
DEPTH = 10
BELOW = {"below headings": "heading", "below the title": "title"}
OVERLAPPING = {f"overlapping by {percent}%": percent / 100 for percent in (10, 20)}
WAYS = {
    "whole": ("--no-chunk",),
    "lines": ("--lines",),
    **{f"chunks of {size}": ("--chunk", str(size)) for size in (64, 128, 256, 512)},
    **{
        f"chunks of {size} {name}": ("--chunk", str(size))
        for size in (64, 256)
        for name in (*BELOW, *OVERLAPPING)
    },
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
            with tempfile.TemporaryDirectory() as directory:
                database = ("--database", str(Path(directory, "t.db")))
                fill(LONG, model, options, database)
                if has_more(name):
                    below = ("--database", str(Path(directory, "below.db")))
                    put_in_front(model, name, database, below)
                    database = below
                count = jtv("list", "--format", "text", "-0", *database).count("\0")
                found = _files(questions, DEPTH, ("--per-source", "1"), database)
            ranks = [files.index(right) if right in files else None for files, right in found]
            recall = sum(rank is not None for rank in ranks) / len(ranks)
            ndcg = sum(1 / math.log2(rank + 2) for rank in ranks if rank is not None) / len(ranks)
            print(f"| {model} | {name} | {count} | {recall:.3f} | {ndcg:.3f} |", flush=True)
    print("\n| model | hits | files in the first 5 | right file in 5 | right file first |")
    print("|---|---|---|---|---|")
    for model in models:
        with tempfile.TemporaryDirectory() as directory:
            database = ("--database", str(Path(directory, "t.db")))
            fill(LONG, model, (), database)
            for name, options in (("all", ()), ("one a file", ("--per-source", "1"))):
                found = _files(questions, 5, options, database)
                distinct = sum(len(set(files)) for files, _ in found) / len(found)
                within = sum(right in files for files, right in found) / len(found)
                first = sum(files[0] == right for files, right in found) / len(found)
                print(f"| {model} | {name} | {distinct:.1f} | {within:.3f} | {first:.3f} |")


def has_more(way: str) -> bool:
    """Return whether a way to read documents puts something in front of each chunk."""
    return way.endswith((*BELOW, *OVERLAPPING))


def fill(documents: Path, model: str, options: Sequence[str], database: Sequence[str]) -> None:
    """Ingest a directory into a new table."""
    jtv("init", "--model", model, *database)
    jtv("ingest", str(documents), *options, *database)


def put_in_front(model: str, way: str, chunks: Sequence[str], database: Sequence[str]) -> None:
    """Ingest the chunks of a table into a new one, with more in front of each."""
    records = [json.loads(line) for line in jtv("list", "--json", *chunks).splitlines()]
    share = next((share for name, share in OVERLAPPING.items() if way.endswith(name)), 0)
    field = next((field for name, field in BELOW.items() if way.endswith(name)), "")
    jtv("init", "--model", model, *database)
    for source in {each["source"] for each in records}:
        lines, end = [], ""
        for each in records:
            if each["source"] == source:
                above = end if share else (each["metadata"] or {}).get(field, "")
                lines.append(json.dumps(each | {"text": f"{above}\n\n{each['content']}"}))
                end = each["content"][-int(share * len(each["content"])) :] if share else ""
        name = ("--source", str(source), "--input", "jsonl")
        jtv("ingest", "-", *name, *database, stdin="\n".join(lines))


def find(
    queries: Sequence[str], depth: int, options: Sequence[str], database: Sequence[str]
) -> list[list[dict[str, Any]]]:
    """Return the hits of each query, the best first."""
    search = ("search", "--queries", "-", "-k", str(depth), "--json", *options, *database)
    found = jtv(*search, stdin="".join(f"{query}\n" for query in queries)).splitlines()
    return [json.loads(line)["hits"] for line in found]


def _files(
    questions: Sequence[dict[str, str]], depth: int, options: Sequence[str], database: Sequence[str]
) -> list[tuple[list[str], str]]:
    """Return the files of each question's hits, the best first, and the right one."""
    found = find([question["question"] for question in questions], depth, options, database)
    return [
        ([_file(hit["source"]) for hit in hits], question["file"])
        for hits, question in zip(found, questions, strict=True)
    ]


def _file(source: str) -> str:
    return "/".join(source.split("/")[-2:])


def jtv(*arguments: str, stdin: str = "") -> str:
    """Run a command of jtv and return what it prints."""
    return subprocess.run(
        [JTV, *arguments, "--quiet"], input=stdin, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


if __name__ == "__main__":
    main()
