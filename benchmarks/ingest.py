"""Ingest on the embedded store against plain sqlite3, embedding apart, as ratios in one run.

    python benchmarks/ingest.py [--lines 100000]

Both read the same file, hash every line and store it with the same schema, unique
hash, batches and durability; vectors cost nothing, they are there already. Then both
read the unchanged file again. Memory is that of a process which does nothing else.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import platform
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from jtv_cli.cli import options
from jtv_cli.embedders import BatchLimit
from jtv_cli.embedders.models import HASHING_MODEL, find_model
from jtv_cli.pipeline.ingestion import ingest
from jtv_cli.pipeline.options import IngestOptions
from jtv_cli.pipeline.retry import RetryPolicy
from jtv_cli.records import Embeddings, TableSpec
from jtv_cli.sources.open import open_sources, read_blocks
from jtv_cli.stores.sqlite import SqliteStore
from jtv_cli.stores.sqlite.connection import connect, prepare, sign
from jtv_cli.stores.sqlite.schema import TABLE_STATEMENTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from jtv_cli.records import IngestReport, Purpose, Vectors

BATCH = 1024
DIMENSIONS = 768
WORDS = ("store", "rows", "vectors", "hashes", "one", "file", "with", "write", "ahead", "log")


@cache
def free_vectors() -> Vectors:
    """Return a batch of vectors, (BATCH, DIMENSIONS), made once and before anything is timed."""
    return np.random.default_rng(1).normal(size=(BATCH, DIMENSIONS)).astype(np.float32)


class FreeEmbedder:
    """Gives out the same vectors over and over, at no cost."""

    model = find_model(HASHING_MODEL)
    batch_limit = BatchLimit(BATCH, 1 << 30)

    def embed(self, texts: Sequence[str], purpose: Purpose) -> Embeddings:  # noqa: ARG002
        """Return what is there."""
        return Embeddings(free_vectors()[: len(texts)])


def write_lines(path: Path, count: int) -> None:
    """Write distinct lines of about eighty characters."""
    chance = np.random.default_rng(0)
    with path.open("w") as file:
        for number in range(count):
            words = " ".join(WORDS[i] for i in chance.integers(0, len(WORDS), 12))
            file.write(f"{number} {words}\n")


def ours(lines: Path, database: Path) -> IngestReport:
    """Ingest the file as `jtv ingest` does."""
    store = SqliteStore(database, writable=True)
    spec = TableSpec("documents", HASHING_MODEL, None, DIMENSIONS)
    store.apply(spec, store.plan(spec))
    with open_sources([str(lines)]) as sources:
        report = ingest(
            read_blocks(sources),
            FreeEmbedder(),
            store.open("documents"),
            IngestOptions(options.CONCURRENCY, RetryPolicy(options.INGEST_SECONDS)),
        )
    store.close()
    return report


def read_batches(lines: Path) -> Iterator[list[tuple[int, str, bytes]]]:
    """Yield (line, text, hash), a batch at a time."""
    batch = []
    with lines.open("rb") as file:
        for number, raw in enumerate(file, 1):
            text = raw.decode().strip()
            batch.append((number, text, hashlib.sha256(text.encode()).digest()))
            if len(batch) == BATCH:
                yield batch
                batch = []
    if batch:
        yield batch


def plain(lines: Path, database: Path) -> None:
    """Store the file with nothing but sqlite3."""
    database.touch()
    connection = connect(database, writable=True)
    prepare(connection)
    sign(connection)
    for statement in TABLE_STATEMENTS:
        connection.execute(statement.format(name="documents"))
    for batch in read_batches(lines):
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            "INSERT INTO documents (id, hash, vector, content) VALUES (?, ?, ?, ?)",
            [
                (number, key, vector.tobytes(), text)
                for (number, text, key), vector in zip(batch, free_vectors(), strict=False)
            ],
        )
        connection.executemany(
            "INSERT INTO documents_occurrences (source, line, document) VALUES (1, ?, ?)",
            [(number, number) for number, _, _ in batch],
        )
        connection.execute("COMMIT")
    connection.close()


def plain_again(lines: Path, database: Path) -> None:
    """Read the file, hash every line and look it up."""
    connection = connect(database, writable=True)
    found = read = 0
    for batch in read_batches(lines):
        read += len(batch)
        marks = ",".join("?" * len(batch))
        statement = f"SELECT hash FROM documents WHERE hash IN ({marks})"
        found += len(connection.execute(statement, [key for _, _, key in batch]).fetchall())
    connection.close()
    assert found == read


def seconds(action: Callable[[Path, Path], object], lines: Path, database: Path) -> float:
    """Return how long an action takes."""
    gc.collect()
    started = time.perf_counter()
    action(lines, database)
    return time.perf_counter() - started


def peak_memory(lines: Path, database: Path) -> float:
    """Return the peak of a process of its own that ingests the file, in MiB (Linux)."""
    command = [sys.executable, __file__, "--child", str(lines), str(database)]
    return int(subprocess.run(command, check=True, capture_output=True).stdout) / 1024


def child(lines: str, database: str) -> None:
    """Be that process. What getrusage says would count the parent's memory in."""
    ours(Path(lines), Path(database))
    status = Path("/proc/self/status").read_text()
    print(re.search(r"VmHWM:\s+(\d+) kB", status)[1])  # type: ignore[index]


def main() -> None:
    """Measure, and print ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(*arguments.child)
        return
    free_vectors()
    best = dict.fromkeys(("ours", "plain", "ours again", "plain again"), float("inf"))
    with tempfile.TemporaryDirectory() as folder:
        lines, few = Path(folder, "lines.txt"), Path(folder, "few.txt")
        write_lines(lines, arguments.lines)
        write_lines(few, arguments.lines // 5)
        for number in range(arguments.rounds):
            one, other = Path(folder, f"ours{number}.db"), Path(folder, f"plain{number}.db")
            for name, action, database in (
                ("plain", plain, other),
                ("ours", ours, one),
                ("plain again", plain_again, other),
                ("ours again", ours, one),
            ):
                best[name] = min(best[name], seconds(action, lines, database))
            one.unlink()
            other.unlink()
        memory = peak_memory(lines, Path(folder, "all.db"))
        memory_few = peak_memory(few, Path(folder, "few.db"))
    rounds = f"{arguments.lines:,} lines, best of {arguments.rounds} rounds"
    print(f"{rounds}, SQLite {sqlite3.sqlite_version}, Python {platform.python_version()}")
    for name, ratio, target in (
        ("rate, of plain sqlite3's", f"{best['plain'] / best['ours']:.0%}", "at least 60%"),
        (
            "unchanged again, × plain",
            f"{best['ours again'] / best['plain again']:.2f}",
            "at most 2",
        ),
        ("peak memory, MiB", f"{memory:.0f}", "under 80"),
        ("  × that of a fifth of the lines", f"{memory / memory_few:.2f}", "1: flat"),
    ):
        print(f"{name:36}{ratio:>8}   ({target})")


if __name__ == "__main__":
    main()
