"""What it costs to cut documents into chunks, and the rate of a directory of many.

    python benchmarks/documents.py [--files 10000] [--model NAME]

A directory of Markdown files is ingested whole, then the chunks that this stored are ingested
from one file of JSON lines: the same documents, cut already. The two take turns, into new tables.
Times are CPU time of the process and its threads, and the wall clock. Then the directory is
ingested again, which reads nothing, and with --checksum, which reads everything.

The same notes in one large file are ingested in turn with its chunks as JSON lines, and with
--lines, which stores each line as a document: the same bytes.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from timing import JTV, machine

WORDS = [f"word{number}" for number in range(5000)]


class Cost(NamedTuple):
    """The seconds that a command took."""

    cpu: float
    wall: float


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--model", default="hashing-v1")
    options = parser.parse_args()
    print(f"{machine()}; {options.files:,} files, {options.model}")
    with tempfile.TemporaryDirectory() as directory:
        top = Path(directory)
        write_files(top / "notes", options.files)
        table = ("--database", str(top / "t.db"))
        startup = statistics.median(run("--version").wall for _ in range(5))
        files: list[Cost] = []
        lines: list[Cost] = []
        for _ in range(options.runs):
            files.append(_ingest(top, options.model, str(top / "notes"), "--yes"))
            records = subprocess.run(
                [JTV, "list", "--json", *table], check=True, capture_output=True, text=True
            ).stdout
            again = run("ingest", str(top / "notes"), *table)
            checksum = run("ingest", str(top / "notes"), "--checksum", *table)
            chunks = records.count("\n")
            _write_records(top / "chunks.jsonl", records)
            lines.append(_ingest(top, options.model, str(top / "chunks.jsonl")))
        print("| | CPU, s | wall, s | chunks/s, wall |\n|---|---|---|---|")
        for name, costs in (("a directory, cut", files), ("the chunks as JSON lines", lines)):
            cpu, wall = (statistics.median(each) for each in zip(*costs, strict=True))
            print(f"| {name} | {cpu:.2f} | {wall:.2f} | {chunks / wall:,.0f} |")
        ratio = statistics.median(a.cpu / b.cpu for a, b in zip(files, lines, strict=True))
        print(f"CPU time, directory / lines: {ratio:.2f}")
        unchanged = again.wall - startup
        print(f"unchanged: {unchanged:.2f} s over start-up; --checksum {checksum.wall:.2f} s")
        _measure_one_file(top, options.model, options.runs)


def _measure_one_file(top: Path, model: str, runs: int) -> None:
    """Ingest all notes from one file, and print the CPU time as ratios."""
    notes = top / "all.md"
    with notes.open("w") as file:
        for path in sorted((top / "notes").rglob("*.md")):
            file.write(path.read_text() + "\n")
    _ingest(top, model, str(notes))
    stored = [JTV, "list", "--json", "--database", str(top / "t.db")]
    records = subprocess.run(stored, check=True, capture_output=True, text=True).stdout
    _write_records(top / "all.jsonl", records)
    to_records: list[float] = []
    to_lines: list[float] = []
    for _ in range(runs):
        cut = _ingest(top, model, str(notes)).cpu
        to_records.append(cut / _ingest(top, model, str(top / "all.jsonl")).cpu)
        to_lines.append(cut / _ingest(top, model, str(notes), "--lines").cpu)
    for name, ratios in (("its chunks as JSON lines", to_records), ("--lines", to_lines)):
        every = " ".join(f"{each:.2f}" for each in ratios)
        print(f"CPU time, one file / {name}: {statistics.median(ratios):.2f} ({every})")


def _write_records(path: Path, records: str) -> None:
    """Write the documents that `jtv list --json` printed, with their metadata."""
    with path.open("w") as file:
        for line in records.splitlines():
            each = json.loads(line)
            file.write(json.dumps({"text": each["content"], **each["metadata"]}) + "\n")


def write_files(directory: Path, count: int) -> None:
    """Write Markdown files of about 2 kB each, modified long ago."""
    chosen = random.Random(1)
    for number in range(count):
        path = directory / f"{number % 100:02}" / f"{number}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        sections = [
            f"## Section {part} of {number}\n\n" + "\n\n".join(_paragraph(chosen) for _ in range(2))
            for part in range(4)
        ]
        path.write_text(f"# Note {number}\n\n" + "\n\n".join(sections) + "\n")
        os.utime(path, (10**9, 10**9))


def _paragraph(chosen: random.Random) -> str:
    sentences = (" ".join(chosen.choices(WORDS, k=10)).capitalize() + "." for _ in range(3))
    return " ".join(sentences)


def _ingest(top: Path, model: str, *arguments: str) -> Cost:
    """Ingest into a new table."""
    for path in top.glob("t.db*"):
        path.unlink()
    table = ("--database", str(top / "t.db"))
    run("init", "--model", model, *table)
    return run("ingest", *arguments, *table)


def run(*arguments: str) -> Cost:
    """Run a command of jtv."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [JTV, *arguments], check=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    user, system = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
    return Cost(user + system, wall)


if __name__ == "__main__":
    main()
