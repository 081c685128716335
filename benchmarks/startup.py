"""How long commands take to start, as multiples of `python -c pass` in the same run.

    python benchmarks/startup.py [--rounds 20] [--tidb]

Packages should be compiled, as pip compiles them. `--tidb` measures a TiDB on this machine, that of
the tests or JTV_TEST_TIDB_URL, with the sample texts in it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from engines import Jtv
from timing import JTV, PASS, best_seconds, machine

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TEXTS = Path(__file__).parent.parent / "sample_texts.txt"
TARGETS = {
    "jtv --version": ("at most 2.5", [JTV, "--version"]),
    "jtv --help": ("at most 7.5", [JTV, "--help"]),
    "jtv list, ten rows": ("at most 10", [JTV, "list", "--limit", "10"]),
    "jtv search, 1,000 rows": ("at most 18", [JTV, "search", "some words"]),
}
ON_TIDB = {
    "import SQLAlchemy's dialect": (
        "for comparison",
        [sys.executable, "-c", "import sqlalchemy.dialects.mysql.pymysql"],
    ),
    "jtv list on TiDB": ("at most 20", [JTV, "list", "--limit", "10"]),
    "jtv search on TiDB": ("at most 26", [JTV, "search", "some words"]),
}


def measure_tidb(rounds: int) -> None:
    """Measure commands on TiDB, and print ratios."""
    from tidb import database

    with database() as url:
        place = ["--database", url]
        for command in (["init", "--model", "hashing-v1"], ["ingest", str(TEXTS)]):
            subprocess.run([JTV, *command, *place], check=True, stderr=subprocess.DEVNULL)
        commands = {
            name: [*command, *(place if command[0] == JTV else [])]
            for name, (_, command) in ON_TIDB.items()
        }
        report(ON_TIDB, best_seconds({"pass": PASS, **commands}, rounds), rounds)


def report(
    targets: Mapping[str, tuple[str, Sequence[str]]], best: Mapping[str, float], rounds: int
) -> None:
    """Print ratios."""
    print(f"{machine()}; best of {rounds} rounds")
    for name, (target, _) in targets.items():
        print(f"{name:28}{best[name] / best['pass']:>8.1f} × python -c pass   ({target})")


def main() -> None:
    """Measure, and print ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--tidb", action="store_true", help="measure commands on TiDB")
    arguments = parser.parse_args()
    if arguments.tidb:
        measure_tidb(arguments.rounds)
        return
    with tempfile.TemporaryDirectory() as folder:
        engine = Jtv(Path(folder))
        engine.make(1000)
        commands = {
            name: [*command, *(["--database", str(engine.path)] if len(command) > 2 else [])]
            for name, (_, command) in TARGETS.items()
        }
        best = best_seconds({"pass": PASS, **commands}, arguments.rounds)
    report(TARGETS, best, arguments.rounds)


if __name__ == "__main__":
    main()
