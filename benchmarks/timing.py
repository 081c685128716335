"""What the benchmarks share: a machine's name, and processes timed in turn."""

from __future__ import annotations

import os
import platform
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PASS = (sys.executable, "-c", "pass")
JTV = str(Path(sys.executable).with_name("jtv"))


def machine() -> str:
    """Return what this ran on."""
    model = platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    return (
        f"{os.cpu_count()} × {model}, {platform.system()}, Python {platform.python_version()},"
        f" SQLite {sqlite3.sqlite_version}, numpy {np.__version__}"
    )


def best_seconds(commands: Mapping[str, Sequence[str]], rounds: int) -> dict[str, float]:
    """Return the shortest time of each command, all of them run in turn, again and again."""
    best = dict.fromkeys(commands, float("inf"))
    for _ in range(rounds):
        for name, command in commands.items():
            started = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            best[name] = min(best[name], time.perf_counter() - started)
    return best
