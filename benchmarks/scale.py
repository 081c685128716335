"""Ingest at scale: requests at once, a million lines, and `llm embed-multi`, as ratios.

    python benchmarks/scale.py [--lines 1000000]

An API stand-in of fixed latency runs as a process of its own; its vectors are all the
same, so that its work is nearly nothing. Everything is stored on the embedded store.

    concurrency   lines/s ÷ (concurrency × batch ÷ latency), at 1, 2 and 8
    a million     peak memory; the time of the second half ÷ that of the first
    llm           lines/s ÷ those of `llm embed-multi --store`, 100,000 lines, and the
                  unchanged file again, where `llm` is installed; both embed at no cost
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from base64 import b64encode
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ingest import ours, write_lines
from jtv_cli.embedders import EmbedderOptions, open_embedder
from jtv_cli.embedders.models import TUTORIAL_MODEL, find_model
from jtv_cli.pipeline import ingestion
from jtv_cli.pipeline.observer import NullObserver
from jtv_cli.pipeline.options import IngestOptions
from jtv_cli.pipeline.retry import RetryPolicy
from jtv_cli.records import TableSpec
from jtv_cli.sources.open import open_sources, read_blocks
from jtv_cli.stores.sqlite import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jtv_cli.records import IngestProgress

TESTS = str(Path(__file__).parent.parent / "tests")
BATCH = 512
LATENCY = 1.0
ROUNDS = 6
LLM_LINES = 100_000

LLM = """
import sys, time
import llm, llm.cli
from llm.plugins import pm

class Free(llm.EmbeddingModel):
    model_id = "free"
    def embed_batch(self, items):
        return ([0.5] * 768 for _ in items)

class Plugin:
    @llm.hookimpl
    def register_embedding_models(self, register):
        register(Free())

pm.register(Plugin())
lines, database = sys.argv[1:]
for _ in range(2):
    started = time.perf_counter()
    llm.cli.cli(
        ["embed-multi", "docs", lines, "--format", "csv", "--store", "-m", "free", "-d", database],
        standalone_mode=False,
    )
    print("SECONDS", time.perf_counter() - started)
"""


def serve(latency: float) -> None:
    """Be the API: answer every request after the latency, all vectors being the same."""
    sys.path.insert(0, TESTS)
    from jina_api import Reply
    from jina_http import Request, Server

    vector = b64encode(bytes([0, 0, 0, 63]) * find_model(TUTORIAL_MODEL).dimensions).decode()

    @cache
    def body(count: int) -> bytes:
        data = [{"index": index, "embedding": vector} for index in range(count)]
        return json.dumps({"data": data, "usage": {"total_tokens": count}}).encode()

    def respond(request: Request) -> Reply:
        time.sleep(latency)
        return Reply(200, body(len(request.texts)))

    body(BATCH)
    server = Server(0, None, respond)
    server.start()
    print(server.url, flush=True)
    threading.Event().wait()


class Steps(NullObserver):
    """Notes how many texts are stored at which time."""

    def __init__(self) -> None:
        self.steps: list[tuple[float, int]] = [(time.perf_counter(), 0)]

    def on_progress(self, progress: IngestProgress) -> None:
        """Note it."""
        self.steps.append((time.perf_counter(), progress.report.stored))


def ingest(url: str, lines: Path, database: Path, concurrency: int) -> Iterator[float]:
    """Ingest a file and yield the times at which it began, was half stored, and stored."""
    store = SqliteStore(database, writable=True)
    model = find_model(TUTORIAL_MODEL)
    spec = TableSpec("documents", model.name, model.task, model.dimensions)
    store.apply(spec, store.plan(spec))
    embedder = open_embedder(model, EmbedderOptions(api_base=url, api_key="jina_none"))
    steps = Steps()
    with open_sources([str(lines)]) as sources:
        report = ingestion.ingest(
            read_blocks(sources),
            embedder,
            store.open("documents"),
            IngestOptions(concurrency, RetryPolicy(0.0)),
            steps,
        )
    store.close()
    for share in (0.0, 0.5, 1.0):
        yield next(at for at, stored in steps.steps if stored >= share * report.stored)


def child(url: str, lines: str, database: str, concurrency: str) -> None:
    """Ingest in a process of its own, and print the times and the peak memory in MiB."""
    times = list(ingest(url, Path(lines), Path(database), int(concurrency)))
    status = Path("/proc/self/status").read_text()
    print(*times, int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024)  # type: ignore[index]


def run(url: str, lines: Path, database: Path, concurrency: int) -> list[float]:
    """Run `child` and return what it prints."""
    arguments = [url, str(lines), str(database), str(concurrency)]
    command = [sys.executable, __file__, "--child", *arguments]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return [float(number) for number in output.split()]


class Api:
    """The stand-in, while it runs."""

    def __init__(self, latency: float) -> None:
        command = [sys.executable, __file__, "--serve", str(latency)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout
        self.url = self._process.stdout.readline().strip()

    def __enter__(self) -> str:
        return self.url

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


def show(name: str, value: str, target: str) -> None:
    """Print one line of the result."""
    print(f"{name:44}{value:>9}   ({target})", flush=True)


def measure_concurrency(folder: Path) -> None:
    """Print the share of what the latency allows."""
    with Api(LATENCY) as url:
        for concurrency in (1, 2, 8):
            count = concurrency * BATCH * ROUNDS
            lines = folder / "lines.txt"
            write_lines(lines, count)
            began, _, ended, _ = run(url, lines, folder / f"{concurrency}.db", concurrency)
            share = count / (ended - began) / (concurrency * BATCH / LATENCY)
            show(f"of concurrency × batch ÷ latency, at {concurrency}", f"{share:.0%}", "90%")


def measure_many(folder: Path, count: int) -> None:
    """Print memory and linearity."""
    lines = folder / "many.txt"
    write_lines(lines, count)
    with Api(0.0) as url:
        began, half, ended, memory = run(url, lines, folder / "many.db", 2)
    show(f"{count:,} lines: peak memory, MiB", f"{memory:.0f}", "under 180")
    show("  second half ÷ first half", f"{(ended - half) / (half - began):.2f}", "at most 1.2")
    show("  lines/s", f"{count / (ended - began):,.0f}", "no target")


def measure_llm(folder: Path) -> None:
    """Print how many times faster than `llm embed-multi`."""
    lines, table = folder / "some.txt", folder / "some.csv"
    write_lines(lines, LLM_LINES)
    rows = (f"{number},{line}" for number, line in enumerate(lines.open()))
    table.write_text("id,text\n" + "".join(rows))
    own = []
    for _ in range(2):
        started = time.perf_counter()
        ours(lines, folder / "some.db")
        own.append(time.perf_counter() - started)
    command = [sys.executable, "-c", LLM, str(table), str(folder / "llm.db")]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    theirs = [float(seconds) for seconds in re.findall(r"SECONDS ([0-9.]+)", output)]
    show("times the rate of llm embed-multi", f"{theirs[0] / own[0]:.1f}", "at least 15")
    show("  the unchanged file again", f"{theirs[1] / own[1]:.1f}", "at least 100")


def main() -> None:
    """Measure, and print ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--serve", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve is not None:
        serve(arguments.serve)
    elif arguments.child:
        child(*arguments.child)
    else:
        with tempfile.TemporaryDirectory() as folder:
            measure_concurrency(Path(folder))
            if find_spec("llm"):
                measure_llm(Path(folder))
            measure_many(Path(folder), arguments.lines)


if __name__ == "__main__":
    main()
