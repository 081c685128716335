"""The test suite itself: plain `pytest` needs no Go."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_tests_on_tidb_are_skipped_unless_asked_for() -> None:
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "tests/test_tidb_search.py",
        ],
        cwd=ROOT,
        env=os.environ | {"PATH": "/usr/bin:/bin", "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert " skipped" in run.stdout
    assert " passed" not in run.stdout
