"""Limits on memory: a process that may not use enough says so, with an exit code of its own."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from jtv_cli.errors import ExitCode

if TYPE_CHECKING:
    from conftest import Jtv

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs limits that are enforced")


def limited(kibibytes: int, option: str = "-v") -> list[str]:
    """Return a prefix that runs a command under a limit on memory."""
    return ["bash", "-c", f'ulimit {option} {kibibytes}; exec "$@"', "bash"]


@pytest.mark.parametrize("option", ["-v", "-d"])
@pytest.mark.parametrize("command", [["search", "X"], ["ingest", "-"], ["export", "--vectors"]])
def test_any_limit_is_enough_or_is_named(sampled: Jtv, command: list[str], option: str) -> None:
    """OpenBLAS would end the process with exit code 1, or interrupt it."""
    codes = set()
    for kibibytes in range(30_000, 330_000, 30_000):
        prefix = limited(kibibytes, option)
        result = sampled(*command, stdin="a new text\n", prefix=prefix)
        codes.add(result.code)
        if result.code != 0:
            assert result.code == ExitCode.MEMORY, (kibibytes, result.stderr)
            assert "jtv: error: not enough memory" in result.stderr
            assert "ulimit -v" in result.stderr
    assert codes == {0, ExitCode.MEMORY}


def test_a_command_without_vectors_needs_little(sampled: Jtv) -> None:
    assert sampled.ok("list", prefix=limited(80_000)).stdout.count("\n") == 34


def test_the_error_says_how_much_is_needed(sampled: Jtv) -> None:
    result = sampled("search", "X", prefix=limited(100_000))
    assert result.is_one_error
    assert "limited to 98 MiB" in result.error
    assert "ulimit -v 524288" in result.error
    sampled.ok("search", "X", prefix=limited(524_288))


def test_memory_that_runs_out_later_is_no_defect(sampled: Jtv) -> None:
    sampled.write("long.txt", b"word " * (12 << 20))
    result = sampled("ingest", "long.txt", prefix=limited(330_000))
    assert result.code == ExitCode.MEMORY, result.stderr
    assert "internal error" not in result.stderr
    assert "jtv: error: not enough memory" in result.stderr


def test_a_thread_that_cannot_be_started_is_no_defect(made: Jtv) -> None:
    script = (
        "import sys, threading\n"
        "from jtv_cli.__main__ import main\n"
        'def refuse(self): raise RuntimeError("can\'t start new thread")\n'
        "threading.Thread.start = refuse\n"
        "sys.argv[:2] = ['jtv']\n"
        "main()\n"
    )
    result = made("ingest", "-", stdin="a\n", prefix=[sys.executable, "-c", script])
    assert result.code == ExitCode.MEMORY, result.stderr
    assert result.error.startswith("jtv: error: the system refuses to start another thread\n")
