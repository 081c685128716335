"""How long commands take to start, as multiples of `python -c pass` in the same run.

    python benchmarks/startup.py [--rounds 20]

Packages should be compiled, as pip compiles them.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from engines import Jtv
from timing import JTV, PASS, best_seconds, machine

TARGETS = {
    "jtv --version": ("at most 2.5", [JTV, "--version"]),
    "jtv --help": ("at most 7.5", [JTV, "--help"]),
    "jtv list, ten rows": ("at most 10", [JTV, "list", "--limit", "10"]),
    "jtv search, 1,000 rows": ("at most 18", [JTV, "search", "some words"]),
}


def main() -> None:
    """Measure, and print ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        engine = Jtv(Path(folder))
        engine.make(1000)
        commands = {
            name: [*command, *(["--database", str(engine.path)] if len(command) > 2 else [])]
            for name, (_, command) in TARGETS.items()
        }
        best = best_seconds({"pass": PASS, **commands}, arguments.rounds)
    print(f"{machine()}; best of {arguments.rounds} rounds")
    for name, (target, _) in TARGETS.items():
        print(f"{name:28}{best[name] / best['pass']:>8.1f} × python -c pass   ({target})")


if __name__ == "__main__":
    main()
