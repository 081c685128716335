"""All benchmarks, one after the other: `python -m benchmarks [--rows N ...]`.

Without options, searches are measured up to a million rows, and README's plot is drawn anew.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> None:
    """Run each; options are those of the benchmark of searches."""
    rows = [str(10**power) for power in (3, 4, 5, 6)]
    options = {"search": sys.argv[1:] or ["--rows", *rows, "--plot", str(HERE / "search.svg")]}
    for name in (
        *("startup", "search", "filters", "full_text", "ingest", "documents", "scale", "tidb"),
        "network",
    ):
        print(f"\n{name}", flush=True)
        subprocess.run([sys.executable, HERE / f"{name}.py", *options.get(name, [])], check=True)


if __name__ == "__main__":
    main()
