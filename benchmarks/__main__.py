"""All benchmarks, one after the other: `python -m benchmarks [--rows N ...]`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> None:
    """Run each; options are those of the benchmark of searches."""
    for name, options in (("startup", []), ("search", sys.argv[1:]), ("ingest", [])):
        print(f"\n{name}", flush=True)
        subprocess.run([sys.executable, HERE / f"{name}.py", *options], check=True)


if __name__ == "__main__":
    main()
