"""Searches against the number of rows: whole processes, and the search alone.

    pip install -r benchmarks/requirements.txt
    python benchmarks/search.py [--rows 10000 100000 1000000] [--plot search.svg]

Every engine stores the same vectors, made here, and finds the ten nearest, again and
again in turn; what is not installed is left out, and so is what would take a minute.
Times of whole processes are multiples of `python -c pass`, those of searches alone of
one pass over a float32 matrix in memory, in one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from engines import DIMENSIONS, ENGINES, Floor, Jtv, K, batches
from plot import plot
from timing import PASS, best_seconds, machine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from engines import Engine

TARGETS = {10_000: 18, 100_000: 20, 1_000_000: 32}
ALONE_TARGETS = {100_000: 2, 1_000_000: 1}
TOO_SLOW = 60.0


def main() -> None:
    """Measure, print ratios, and draw them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--folder", help="where the files go, for a while")
    parser.add_argument("--plot", type=Path, help="an SVG file to write")
    parser.add_argument("--alone", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.alone:
        alone(arguments.alone, arguments.rounds)
        return
    engines = [engine for engine in ENGINES if engine.is_installed()]
    lines: dict[str, list[tuple[float, float]]] = {}
    seconds: dict[str, float] = {}
    print(f"{machine()}; best of {arguments.rounds} rounds")
    for rows in arguments.rows:
        fast = [e for e in engines if seconds.get(e.name, 0) * 10 < TOO_SLOW]
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            seconds = measure(rows, fast, Path(folder), arguments.rounds)
        for engine in fast:
            ratio = seconds[engine.name] / seconds["pass"]
            lines.setdefault(engine.name, []).append((rows, ratio))
    if arguments.plot:
        title, up = "One search, whole process", "times python -c pass"
        arguments.plot.write_text(
            plot(title, machine(), f"rows of {DIMENSIONS} dimensions", up, lines)
        )


def measure(
    rows: int, engines: Sequence[type[Engine]], folder: Path, rounds: int
) -> dict[str, float]:
    """Print the ratios for so many rows; return the seconds of each engine."""
    query = folder / "query.f4"
    (next(batches(1))[1][0] + np.float32(0.01)).tofile(query)
    made = [engine(folder) for engine in engines]
    for engine in made:
        engine.make(rows)
    commands = {engine.name: engine.command(query) for engine in made}
    slow = {"llm similar"} & set(commands)
    best = best_seconds(
        {"pass": PASS, **{n: c for n, c in commands.items() if n not in slow}}, rounds
    )
    best |= best_seconds({name: commands[name] for name in slow}, min(2, rounds))
    print(f"\n{rows:,} rows: whole process")
    for name in commands:
        target = f"   (at most {TARGETS[rows]})" if name == "jtv" and rows in TARGETS else ""
        print(
            f"  {name:20}{best[name] / best['pass']:>8.1f} × python -c pass"
            f"{best[name] / best['jtv']:>9.1f} × jtv{target}"
        )
    print_alone(rows, folder, rounds)
    return best


def print_alone(rows: int, folder: Path, rounds: int) -> None:
    """Print what the search alone takes, of time, memory and file."""
    command = [sys.executable, __file__, "--alone", str(folder), "--rounds", str(rounds)]
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    result = subprocess.run(command, check=True, capture_output=True, env=environment)
    found = json.loads(result.stdout)
    target = f"   (at most {ALONE_TARGETS[rows]})" if rows in ALONE_TARGETS else ""
    print(f"  search alone        {found['ratio']:>8.2f} × a pass over float32{target}")
    print(f"  file                {found['file']:>8.3f} × rows without index   (at most 1.1)")
    print(f"  anonymous memory    {anonymous_memory(folder):>8.0f} MiB   (at most 120)")


def alone(folder: Path, rounds: int) -> None:
    """Compare a search and a pass over a matrix, in this process, and print that as JSON."""
    from jtv_cli.stores.sqlite import SqliteStore

    matrix = np.fromfile(Floor(folder).path, np.float32).reshape(-1, DIMENSIONS)
    query = np.fromfile(folder / "query.f4", np.float32)
    path = Jtv(folder).path
    store = SqliteStore(path, writable=False)
    table = store.open(store.tables()[0].name)
    codes = 0
    if table.index.live():
        lengths = "SELECT sum(length(codes) + coalesce(length(ids), 0)) FROM jtv_segments"
        [codes] = table.documents.execute(lengths).fetchone()
    best = [float("inf")] * 2
    for _ in range(3 * rounds):
        actions: tuple[Callable[[], object], ...] = (
            lambda: table.search(query[None], K),
            lambda: np.argpartition(-(matrix @ query), K)[:K],
        )
        for number, action in enumerate(actions):
            started = time.perf_counter()
            action()
            best[number] = min(best[number], time.perf_counter() - started)
    size = path.stat().st_size
    print(json.dumps({"ratio": best[0] / best[1], "file": size / (size - codes)}))


def anonymous_memory(folder: Path) -> float:
    """Return the peak of a process that searches, without mapped files, in MiB (Linux)."""
    program = (
        "import pathlib, re, sys\n"
        "from jtv_cli.cli.run import run\n"
        "run(sys.argv[2:])\n"
        "print(pathlib.Path('/proc/self/status').read_text(), file=sys.__stderr__)"
    )
    command = [sys.executable, "-c", program, *Jtv(folder).command(folder)]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    peak, files = (
        int(re.search(rf"{name}:\s+(\d+) kB", result.stderr)[1])  # type: ignore[index]
        for name in ("VmHWM", "RssFile")
    )
    return (peak - files) / 1024


if __name__ == "__main__":
    main()
