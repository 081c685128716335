"""What `jtv sync --watch` costs while nothing happens, and how soon a saved file is found.

python benchmarks/watch.py [--files N] [--seconds S]

Prints the share of a core that an idle watch takes, with the events of the system and without
(polling), and the seconds from saving a file until a search would find it, with an embedder in the
same process.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

JTV = Path(sys.executable).with_name("jtv")
_SAVES = 5
# A module of this name that cannot be imported hides the installed one.
_HIDDEN = "raise ImportError"


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=60.0)
    options = parser.parse_args()
    print("| way | files | idle, share of a core | saved to stored |")
    print("|---|---|---|---|")
    for has_events in (True, False):
        with tempfile.TemporaryDirectory() as directory:
            share, seconds = measure(Path(directory), options, has_events=has_events)
        way = "events" if has_events else "polling"
        print(f"| {way} | {options.files:,} | {share:.2%} | {seconds:.1f} s |")


def measure(home: Path, options: argparse.Namespace, *, has_events: bool) -> tuple[float, float]:
    """Return the share of a core that an idle watch takes, and the median delay of a save."""
    notes = home / "notes"
    for number in range(options.files):
        path = notes / f"{number % 100}" / f"{number}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# Note {number}\n\nText of note {number}.\n")
        os.utime(path, (1e9, 1e9))
    env = os.environ | {"HOME": str(home), "JTV_DATABASE": str(home / "jtv.db")}
    if not has_events:
        (home / "hidden").mkdir()
        (home / "hidden/watchfiles.py").write_text(_HIDDEN)
        env["PYTHONPATH"] = f"{home / 'hidden'}:{env.get('PYTHONPATH', '')}"
    run = [str(JTV), "init", "--model", "hashing-v1", "--quiet"]
    subprocess.run(run, env=env, check=True)
    command = [str(JTV), "sync", str(notes), "--watch", "--yes", "--json"]
    process = subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    try:
        assert json.loads(process.stdout.readline())["stored"] == options.files
        time.sleep(10)  # the first look after the events have begun
        before = cpu_seconds(process.pid)
        time.sleep(options.seconds)
        share = (cpu_seconds(process.pid) - before) / options.seconds
        delays = []
        for number in range(_SAVES):
            began = time.monotonic()
            (notes / "new.md").write_text(f"Version {number}.\n")
            assert json.loads(process.stdout.readline())["stored"] == 1
            delays.append(time.monotonic() - began)
            time.sleep(5)
    finally:
        process.terminate()
        process.wait()
    return share, sorted(delays)[_SAVES // 2]


def cpu_seconds(process: int) -> float:
    """Return the processor time that a process has taken so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
