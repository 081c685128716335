"""Signals at any moment of the start: an exit code that says so, and no traceback."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Jtv

MOMENTS = 200

# Runs a command once to count the audit events of its start, imports for the most part, and
# once more: at each of the moments that are spread over them, a fork gets a signal and goes on.
AT_EVENTS = """
import json, os, signal, sys

_, moments, *arguments = sys.argv
moments = int(moments)
exit = os._exit

def run(hook, report):
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    def report_and_exit(code):
        report()
        exit(code)
    os._exit = report_and_exit
    sys.argv = ["jtv", *arguments]
    from jtv_cli.__main__ import main
    sys.addaudithook(hook)
    main()

def read_and_wait(reader):
    said = b""
    while block := os.read(reader, 65536):
        said += block
    os.close(reader)
    return os.waitstatus_to_exitcode(os.wait()[1]), said.decode()

def count():
    seen = 0
    def hook(event, args):
        nonlocal seen
        seen += 1
    reader, writer = os.pipe()
    if not os.fork():
        run(hook, lambda: os.write(writer, str(seen).encode()))
    os.close(writer)
    return int(read_and_wait(reader)[1])

def interrupt(numbers):
    seen, is_busy, runs, out = 0, False, [], os.dup(1)
    def hook(event, args):
        nonlocal seen, is_busy
        if is_busy:
            return
        seen += 1
        if seen not in numbers:
            return
        is_busy = True
        reader, writer = os.pipe()
        if not os.fork():
            os.dup2(writer, 2)
            os.close(writer)
            os.close(reader)
            os._exit = exit
            os.kill(os.getpid(), numbers[seen])
            return
        os.close(writer)
        runs.append([seen, numbers[seen], *read_and_wait(reader)])
        is_busy = False
    run(hook, lambda: os.write(out, json.dumps(runs).encode()))

total = count()
signals = (signal.SIGINT, signal.SIGTERM)
interrupt({1 + n * total // moments: signals[n % 2] for n in range(moments)})
"""


@pytest.mark.parametrize("command", [["list", "--json"]], ids=" ".join)
def test_at_many_moments_of_the_start(sampled: Jtv, command: list[str]) -> None:
    program = [sys.executable, "-c", AT_EVENTS, str(MOMENTS), *command]
    process = subprocess.run(
        program,
        cwd=sampled.folder / "work",
        env=sampled.variables(),
        capture_output=True,
        timeout=300,
        check=True,
    )
    runs = json.loads(process.stdout)
    assert len(runs) == MOMENTS
    for moment, number, code, said in runs:
        # The interpreter's own handler of SIGINT is there from the start.
        expected = {0, 128 + number}
        assert code in expected, (moment, number, code, said)
        assert "Traceback" not in said, said
        assert "ignored in" not in said, said
    assert sum(code != 0 for _, _, code, _ in runs) > MOMENTS / 2


# Tells when Python itself has started: before, a signal is not jtv's to handle.
READY = """
import sys
from jtv_cli.__main__ import main
sys.stdout.write("ready\\n")
sys.stdout.flush()
sys.argv[:2] = ["jtv"]
main()
"""


@pytest.mark.parametrize("seed", range(12))
def test_at_any_time(sampled: Jtv, seed: int) -> None:
    """Where native code is initialized, too."""
    chance = random.Random(seed)
    process = sampled.start(
        *chance.choice([("search", "x", "--json"), ("list", "--json")]),
        prefix=[sys.executable, "-c", READY],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout
    assert process.stdout.readline() == b"ready\n"
    time.sleep(chance.uniform(0, 0.4))
    sent = chance.choice([signal.SIGINT, signal.SIGTERM])
    process.send_signal(sent)
    _, stderr = process.communicate(timeout=30)
    # Before signals are blocked, SIGTERM kills; a shell calls that 143 as well.
    assert process.returncode in (0, 128 + sent, -sent), stderr
    assert b"Traceback" not in stderr


# orjson's native initialization imports modules of Python, and crashes if one raises.
IN_NATIVE_CODE = """
import signal, sys
from jtv_cli.cli.interrupts import Interrupted, raise_interrupts

def hook(event, arguments):
    if event == "import" and arguments[0] == "json" and "orjson" in sys.modules:
        signal.raise_signal(signal.SIGTERM)

for name in [name for name in sys.modules if name.partition(".")[0] == "json"]:
    del sys.modules[name]
raise_interrupts()
sys.addaudithook(hook)
try:
    import orjson
    signal.pause()
except Interrupted as interrupted:
    print(interrupted, orjson.dumps([1]))
"""


def test_while_native_code_is_initialized() -> None:
    process = subprocess.run(
        [sys.executable, "-c", IN_NATIVE_CODE], capture_output=True, timeout=60, check=False
    )
    assert (process.returncode, process.stdout) == (0, b"terminated b'[1]'\n"), process.stderr
