"""What a full-text index costs: the rate of `jtv ingest`, the file, and the time of a search.

    python benchmarks/full_text.py [--rows 10000 100000] [--model static-v1] [--rounds 5]
        [--ingests 2]

Texts are random words of the documents in data/answers, 8 to 20 each, as frequent as they are
there. Everything is whole processes; `alone` are searches within one process that have the model
and the file open, for the questions in data/answers.
"""

from __future__ import annotations

import argparse
import random
import resource
import statistics
import subprocess
import tempfile
import time
from contextlib import closing
from pathlib import Path

from jtv_cli.embedders import EmbedderOptions, open_embedder
from jtv_cli.embedders.models import find_model
from jtv_cli.pipeline.search import SearchOptions, search
from jtv_cli.records import SearchMode
from jtv_cli.stores.sqlite import SqliteStore
from retrieval import answers
from timing import JTV, best_seconds, machine

TABLE = "texts"
QUERY = "which train leaves from platform 4"
WAYS = {"vectors": (), "keyword": ("--keyword",), "hybrid": ("--hybrid",)}


def main() -> None:
    """Measure, and print rates and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--model", default="static-v1")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ingests", type=int, default=2)
    arguments = parser.parse_args()
    print(f"{machine()}; {arguments.model}, best of {arguments.rounds} rounds")
    for rows in arguments.rows:
        with tempfile.TemporaryDirectory() as directory:
            measure(Path(directory), rows, arguments)


def measure(directory: Path, rows: int, arguments: argparse.Namespace) -> None:
    """Print the costs for so many rows."""
    model = arguments.model
    lines = directory / "lines.txt"
    write_texts(lines, rows)
    print(f"\n{rows:,} documents, {lines.stat().st_size / rows:.0f} bytes each")
    plain, indexed = directory / "plain.db", directory / "indexed.db"
    # In turn, the fastest of each: another process may have slowed down one.
    seconds = {path: float("inf") for path in (plain, indexed)}
    cpu = seconds.copy()
    for _ in range(arguments.ingests):
        for path, options in ((plain, ()), (indexed, ("--full-text",))):
            path.unlink(missing_ok=True)
            run("init", "--model", model, *options, path=path)
            started, used = time.perf_counter(), cpu_seconds()
            run("ingest", str(lines), path=path)
            seconds[path] = min(seconds[path], time.perf_counter() - started)
            cpu[path] = min(cpu[path], cpu_seconds() - used)
    rates = {path: rows / spent for path, spent in seconds.items()}
    sizes = {path: path.stat().st_size for path in seconds}
    show("ingest, documents/s", f"{rates[plain]:,.0f}", f"{rates[indexed]:,.0f}")
    show("  share of the rate that is lost", "", f"{1 - rates[indexed] / rates[plain]:.0%}")
    show("  of documents/s of CPU time", "", f"{1 - cpu[plain] / cpu[indexed]:.0%}")
    show("file, MiB", *(f"{size / (1 << 20):,.1f}" for size in sizes.values()))
    show("  growth", "", f"{sizes[indexed] / sizes[plain] - 1:.1%}")
    commands = {
        name: (JTV, "search", "--database", str(indexed), "--table", TABLE, *options, QUERY)
        for name, options in WAYS.items()
    }
    best = best_seconds(commands, arguments.rounds)
    alone = seconds_alone(indexed, model)
    for name in ("keyword", "hybrid"):
        show(f"{name} search ÷ vector search", "", f"{best[name] / best['vectors']:.2f}")
        for of, which in (("median", statistics.median), ("mean", statistics.mean)):
            ratio = which(alone[name]) / which(alone["vectors"])
            show(f"  alone, {of}", "", f"{ratio:.2f}")
    medians = {name: statistics.median(spent) * 1000 for name, spent in alone.items()}
    show("alone, ms", *(f"{name} {spent:.1f}" for name, spent in medians.items()))


def write_texts(path: Path, rows: int) -> None:
    """Write distinct lines of random words."""
    texts = [text for labelled in answers().values() for text in labelled.documents]
    words = [word for text in texts for word in text.split()]
    rng = random.Random(0)
    with path.open("w", encoding="utf-8") as file:
        for number in range(rows):
            line = " ".join(rng.choices(words, k=rng.randint(8, 20)))
            file.write(f"{line} {number}\n")


def seconds_alone(path: Path, model: str) -> dict[str, list[float]]:
    """Return the seconds of a search for each question in each way, within this process.

    The ways take turns, and each search counts with the faster of two.
    """
    embedder = open_embedder(find_model(model), EmbedderOptions())
    modes = zip(WAYS, (SearchMode.VECTOR, SearchMode.KEYWORD, SearchMode.HYBRID), strict=True)
    ways = {name: SearchOptions(5, mode=mode) for name, mode in modes}
    spent: dict[str, list[float]] = {name: [] for name in ways}
    with closing(SqliteStore(path, writable=False)) as store:
        table = store.open(TABLE)
        for query in answers()["en"].queries:
            best = dict.fromkeys(ways, float("inf"))
            for _ in range(2):
                for name, options in ways.items():
                    started = time.perf_counter()
                    search(query, table, embedder, options)
                    best[name] = min(best[name], time.perf_counter() - started)
            for name, seconds in best.items():
                spent[name].append(seconds)
    return spent


def run(command: str, *arguments: str, path: Path) -> None:
    """Run jtv on a file."""
    options = ("--database", str(path), "--table", TABLE, "--quiet")
    subprocess.run([JTV, command, *options, *arguments], check=True)


def cpu_seconds() -> float:
    """Return the CPU time that finished processes have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def show(name: str, *values: str) -> None:
    """Print one line of the result: without the index, and with it."""
    print(f"{name:36}" + "".join(f"{value:>18}" for value in values), flush=True)


if __name__ == "__main__":
    main()
