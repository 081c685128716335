"""Filtered searches of the embedded store, as multiples of the same search without a filter.

    python benchmarks/filters.py [--rows 1000000] [--folder DIR] [--write]

The vectors are those of benchmarks/search.py, a thousand documents a source, each with metadata
of five fields. A file that --folder has from before is used again.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from engines import DIMENSIONS, K, batches
from jtv_cli.embedders.models import HASHING_MODEL
from jtv_cli.records import Document, Filter, Occurrence, TableSpec, find_spec
from jtv_cli.stores.filters import parse_condition
from jtv_cli.stores.sqlite import SqliteStore
from jtv_cli.text import text_hash
from timing import JTV, best_seconds, machine

if TYPE_CHECKING:
    from jtv_cli.stores import Table

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
BEGIN, END = "<!-- filters: begin -->\n", "<!-- filters: end -->"
TABLE = "jinaai_tidb_demo_documents"
WHERE = ("lang=en", "year >= 2010", "year >= 2025", "tag=t5", "author=a77", "tag in (t1, t2, t3)")
SOURCES = ("part/5.jsonl", "part/7?.jsonl", "part/7??.jsonl")
ROUNDS = 5


def document(number: int) -> Document:
    """Return one of the documents, by its number."""
    text = f"{number} {'words ' * 12}"
    metadata = {
        "title": f"document {number}",
        "year": 1900 + number * 7919 % 126,
        "lang": ("en", "de", "fr", "ja")[number % 4],
        "tag": f"t{number * 7919 % 1000}",
        "author": f"a{number * 31 % 10000}",
    }
    where = Occurrence(f"part/{number // 1000}.jsonl", number % 1000 + 1, metadata)
    return Document(text, text_hash(text), [where])


def make(path: Path, rows: int) -> None:
    """Store the documents, unless the file has them."""
    store = SqliteStore(path, writable=True)
    if find_spec(store.tables(), TABLE) is None:
        spec = TableSpec(TABLE, HASHING_MODEL, None, DIMENSIONS)
        store.apply(spec, store.plan(spec))
        table = store.open(TABLE)
        for start, vectors in batches(rows):
            table.add([document(start + number) for number in range(len(vectors))], vectors)
    store.close()


def measure(path: Path, table: Table) -> list[str]:
    """Return the lines of a table: documents that match, the search alone, and the process."""
    query = (next(batches(1))[1][0] + np.float32(0.01))[None]
    options: dict[str, list[str]] = {"no filter": []} | {
        f"`--where '{one}'`": ["--where", one] for one in WHERE
    }
    options |= {f"`--source '{one}'`": ["--source", one] for one in SOURCES}
    filters: dict[str, Filter | None] = {
        name: Filter(where=(parse_condition(words[1]),)) if "where" in name else Filter(words[1])
        for name, words in options.items()
        if words
    }
    alone: dict[str, float] = dict.fromkeys(options, float("inf"))
    for _ in range(ROUNDS):
        for name in options:
            started = time.perf_counter()
            table.search(query, K, filter=filters.get(name))
            alone[name] = min(alone[name], time.perf_counter() - started)
    command = [JTV, "search", "some words", "-k", str(K), "--database", str(path)]
    whole = best_seconds({name: [*command, *more] for name, more in options.items()}, ROUNDS)
    lines = ["| filter | the search alone | the whole process |", "|---|---|---|"]
    for name in options:
        ratios = alone[name] / alone["no filter"], whole[name] / whole["no filter"]
        lines.append(f"| {name} | {ratios[0]:.1f} | {ratios[1]:.1f} |")
    return lines


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="where the file is, or goes to stay")
    parser.add_argument("--write", action="store_true", help="write the table to docs/")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        path = (arguments.folder or Path(temporary)) / f"filters-{arguments.rows}.db"
        make(path, arguments.rows)
        store = SqliteStore(path, writable=False)
        report = "\n".join(measure(path, store.open(TABLE)))
        store.close()
    print(f"{machine()}; {arguments.rows:,} documents; best of {ROUNDS} rounds\n{report}")
    if arguments.write:
        before, rest = PAGE.read_text("utf-8").split(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}{report}\n{END}{rest.split(END)[1]}", "utf-8")


if __name__ == "__main__":
    main()
