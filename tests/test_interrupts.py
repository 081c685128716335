"""Stopped at any moment: what was answered is stored, and the same command goes on."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, nullcontext, suppress
from dataclasses import replace
from threading import Event, Thread
from typing import TYPE_CHECKING

import pytest

import jina_faults
from terminal import Terminal
from waiting import send, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Jtv
    from jina_server import JinaServer

LINES = "".join(f"line {number} of the file\n" for number in range(3000))


def of_any_length(chance: random.Random, count: int) -> list[str]:
    """Return so many distinct lines."""
    return [f"{number} {'word ' * chance.randrange(60)}".strip() for number in range(count)]


def at_any_time(chance: random.Random, longest: float) -> jina_faults.Fault:
    """Answer after up to so many seconds, each time after others."""
    return lambda reply: replace(reply, delay=chance.uniform(0, longest))


@pytest.fixture
def ready(keyed: Jtv) -> Jtv:
    keyed.ok("init")
    keyed.write("lines.txt", LINES)
    return keyed


@pytest.mark.parametrize(
    ("sent", "code", "says"),
    [
        (signal.SIGINT, 130, "interrupted"),
        (signal.SIGTERM, 143, "terminated"),
        (signal.SIGHUP, 143, "terminated"),
    ],
)
def test_an_answer_on_its_way_is_waited_for_and_stored(
    ready: Jtv, api: JinaServer, sent: signal.Signals, code: int, says: str
) -> None:
    api.latency = 1.0
    process = ready.start("ingest", "lines.txt", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_until(lambda: len(api.requests) == 2)
    process.send_signal(sent)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == code
    reading, notice, said = stderr.decode().splitlines()
    assert reading == "Reading lines.txt by lines"
    assert "waiting for 2 requests in flight" in notice
    assert re.fullmatch(
        f"jtv: {says}{': the terminal was closed' if sent is signal.SIGHUP else ''}:"
        r" Stored 1,024 new documents \(0 already stored, 0 skipped\) in [0-9.]+ s,"
        f" {api.tokens:,} tokens; run the same command to resume",
        said,
    )
    api.latency = 0.0
    assert "1,976 stored, 1,024 known" in ready.ok("ingest", "lines.txt").counts
    assert sorted(api.bill) == sorted(LINES.splitlines())


def test_an_interrupted_one_is_reported_as_json(ready: Jtv, api: JinaServer) -> None:
    api.latency = 1.0
    process = ready.start(
        "ingest", "lines.txt", "--json", stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    wait_until(lambda: len(api.requests) == 2)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"\njtv: interrupted: Stored 1,024 new " in stderr
    report = json.loads(stdout)
    assert (report["stored"], report["tokens"]) == (1024, api.tokens)
    assert report["stopped"] == "interrupted"
    assert report["seconds"] >= 1.0


def test_a_report_that_cannot_be_printed_is_refused_before_anything_is_paid(
    ready: Jtv, api: JinaServer
) -> None:
    closed = ["sh", "-c", 'exec "$@" >&-', "sh"]
    assert ready("ingest", "lines.txt", "--json", prefix=closed).code == 74
    assert not api.bill
    api.misbehave(jina_faults.answer(401), times=None)
    assert ready("ingest", "lines.txt", prefix=closed).code == 4
    api.behave()
    assert ready("ingest", "lines.txt", prefix=closed).code == 0


def test_standard_input_is_not_there_again(ready: Jtv, api: JinaServer) -> None:
    process = ready.start("ingest", "lines.txt", "-", stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_until(lambda: api.requests)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    said = stderr.decode().splitlines()[-1]
    assert re.fullmatch(r"jtv: interrupted: .* in [0-9.]+ s, [0-9,]+ tokens", said)


def read_until(process: subprocess.Popen[bytes], what: bytes) -> bytes:
    """Read stderr up to the line that has it in it."""
    assert process.stderr
    read = b""
    for line in process.stderr:
        read += line
        if what in line:
            return read
    pytest.fail(f"{what!r} is not in {read!r}")


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_second_signal_ends_it_at_once_and_says_what_is_lost(
    ready: Jtv, api: JinaServer, second: signal.Signals
) -> None:
    ready.write("lines.txt", "".join(f"line {number}\n" for number in range(700)))
    api.misbehave(jina_faults.hang(600), times=None, when=lambda request: len(request.texts) < 200)
    process = ready.start(
        *("ingest", "lines.txt", "--json", "--concurrency", "1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    # The second request is sent when the first is answered.
    wait_until(lambda: len(api.requests) == 2)
    process.send_signal(signal.SIGINT)
    read_until(process, b"waiting for 1 request in flight; interrupt again to stop at once")
    assert process.poll() is None
    process.send_signal(second)
    stdout, stderr = process.communicate(timeout=20)
    assert process.returncode == 130
    assert b"188 texts sent but not stored, which may have been charged" in stderr
    report = json.loads(stdout)
    assert (report["stored"], report["lost"]) == (512, 188)
    assert contents(ready) == {f"line {number}" for number in range(512)}


@pytest.mark.parametrize("in_a_hurry", [True, False])
def test_a_third_signal_always_kills(ready: Jtv, api: JinaServer, in_a_hurry: bool) -> None:
    """Even if the database does not let go of it."""
    ready.ok("ingest", "-", stdin="stored\n")
    api.requests.clear()
    api.misbehave(jina_faults.hang(0.5), jina_faults.hang(600))
    with closing(sqlite3.connect(ready.database, isolation_level=None)) as other:
        process = ready.start(
            *("ingest", "lines.txt", "--concurrency", "1"), stderr=subprocess.PIPE
        )
        wait_until(lambda: len(api.requests) == 1)
        other.execute("BEGIN IMMEDIATE")
        wait_until(lambda: len(api.requests) == 2)
        process.send_signal(signal.SIGTERM)
        if not in_a_hurry:
            read_until(process, b"waiting until what was answered is stored")
        while process.poll() is None:
            time.sleep(0.05)
            process.send_signal(signal.SIGTERM)
        process.communicate(timeout=10)
        assert process.returncode == -signal.SIGTERM
        other.execute("ROLLBACK")


def test_a_signal_while_nothing_is_in_flight_ends_it_at_once(ready: Jtv, api: JinaServer) -> None:
    slow_down = jina_faults.answer(429, {"detail": "Slow down"}, {"Retry-After": "100"})
    api.misbehave(slow_down, times=None)
    process = ready.start("ingest", "lines.txt", "--concurrency", "1", stderr=subprocess.PIPE)
    read_until(process, b"waiting 100 s")
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 130
    assert b"in flight" not in stderr


def test_the_store_is_not_closed_while_it_is_used(ready: Jtv, api: JinaServer) -> None:
    """Another process is writing; what is answered meanwhile is stored when it is done."""
    ready.ok("ingest", "-", "--source", "before", stdin="known\n")
    api.latency = 2.0
    with closing(sqlite3.connect(ready.database, isolation_level=None)) as other:
        process = ready.start(
            *("ingest", "-", "--concurrency", "1"), stdin=subprocess.PIPE, stderr=subprocess.PIPE
        )
        send(process.stdin, "".join(LINES.splitlines(keepends=True)[:512]).encode())
        wait_until(lambda: len(api.requests) == 2)
        other.execute("BEGIN IMMEDIATE")
        send(process.stdin, b"known\n")
        process.send_signal(signal.SIGINT)
        read_until(process, b"waiting until what was answered is stored")
        assert process.poll() is None
        other.execute("ROLLBACK")
        _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130, stderr
    assert "Stored 512 new " in stderr.decode()


def refuse(jtv: Jtv, text: str) -> None:
    """Have the database refuse a text."""
    with closing(sqlite3.connect(jtv.database)) as database:
        database.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON jinaai_tidb_demo_documents"
            f" WHEN NEW.content = '{text}' BEGIN SELECT RAISE(ABORT, 'no such text here'); END"
        )


def test_what_the_store_says_comes_before_the_interrupt(ready: Jtv, api: JinaServer) -> None:
    refuse(ready, "line 0 of the file")
    api.latency = 1.0
    process = ready.start("ingest", "lines.txt", stderr=subprocess.PIPE)
    wait_until(lambda: api.requests)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 5
    assert b"no such text here" in stderr


def test_a_text_that_the_store_refuses_keeps_no_other_group_from_it(
    ready: Jtv, api: JinaServer
) -> None:
    refuse(ready, "line 0 of the file")
    api.latency = 0.3
    result = ready("ingest", "lines.txt")
    assert result.code == 5
    assert "no such text here" in result.error
    others = len(api.bill) - 512
    assert others > 512
    assert f"Stored {others:,} new" in result.stderr


def test_a_text_that_the_store_refuses_keeps_no_other_batches_of_its_group_from_it(
    ready: Jtv, api: JinaServer
) -> None:
    refuse(ready, "line 0 of the file")
    result = ready("ingest", "lines.txt", "--json", "--concurrency", "6")
    assert result.code == 5
    [report] = result.records
    assert report["lost"] == 512
    assert report["stored"] == len(api.bill) - 512 == len(LINES.splitlines()) - 512
    assert len(contents(ready)) == report["stored"]


# No other thread gets on between the end of the ingest and the signal.
SIGNAL_AT_THE_END = """
import os, signal, sys
from jtv_cli.__main__ import main
from jtv_cli.pipeline.ingestion import _Run

def loop_and_signal(run, loop=_Run.loop):
    loop(run)
    os.kill(os.getpid(), signal.SIGINT)

_Run.loop = loop_and_signal
sys.setswitchinterval(10)
sys.argv[:2] = ["jtv"]
main()
"""


def test_a_signal_as_the_ingest_ends_finds_it_ended(jtv: Jtv) -> None:
    jtv.ok("init")
    process = jtv.start(
        *("ingest", "-", "--source", "x"),
        prefix=[sys.executable, "-c", SIGNAL_AT_THE_END],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        _, stderr = process.communicate(b"one\ntwo\n", timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130, stderr
    assert b"interrupted: Stored 2 new" in stderr
    assert b"waiting" not in stderr


def test_waiting_for_input_can_be_interrupted(ready: Jtv) -> None:
    process = ready.start("ingest", "-", stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    send(process.stdin, b"one line, and then nothing")
    process.send_signal(signal.SIGINT)
    process.wait(timeout=10)
    assert process.returncode == 130
    process.communicate()


class TestStream:
    """An interrupt while a pipe is read, as of `tail -f`: what was read is not there again."""

    @pytest.mark.parametrize(
        ("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)]
    )
    def test_what_was_read_is_stored_first(
        self, ready: Jtv, api: JinaServer, sent: signal.Signals, code: int
    ) -> None:
        process = ready.start("ingest", "-", stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        send(process.stdin, b"one\ntwo\none\nan unfinished line")
        process.send_signal(sent)
        # The writer is still there, so that the last line is never complete.
        assert process.stderr
        notice, said = process.stderr.read().decode().splitlines()
        process.communicate(timeout=30)
        assert process.returncode == code
        assert notice == (
            "storing 2 texts already read; interrupt again to stop at once and lose them"
        )
        assert "Stored 2 new documents (1 already stored" in said
        assert contents(ready) == {"one", "two"} == set(api.bill)

    def test_nothing_more_is_read(self, ready: Jtv, api: JinaServer) -> None:
        api.latency = 0.5
        process = ready.start("ingest", "-", stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        send(process.stdin, b"one\n")
        process.send_signal(signal.SIGINT)
        said = read_until(process, b"already read")
        assert b"storing 1 text already read; interrupt again" in said
        with suppress(BrokenPipeError):
            send(process.stdin, b"two\n")
        process.communicate(timeout=30)
        assert process.returncode == 130
        assert contents(ready) == {"one"} == set(api.bill)

    def test_a_second_signal_ends_it_at_once(self, ready: Jtv, api: JinaServer) -> None:
        api.misbehave(jina_faults.hang(60), times=None)
        process = ready.start("ingest", "-", stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        send(process.stdin, b"one\n")
        process.send_signal(signal.SIGINT)
        read_until(process, b"already read")
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=30)
        assert process.returncode == 130
        assert b"Stored 0 new documents" in stderr

    def test_a_service_that_fails_is_not_waited_for(self, ready: Jtv, api: JinaServer) -> None:
        api.misbehave(jina_faults.answer(503), times=None)
        process = ready.start("ingest", "-", stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        send(process.stdin, b"one\n")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        assert process.returncode == 130

    def test_a_model_of_this_machine(self, made: Jtv) -> None:
        process = made.start("ingest", "-", stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        send(process.stdin, b"one\ntwo\n")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        assert process.returncode == 130
        assert contents(made) == {"one", "two"}


@pytest.mark.parametrize("ending", [b"", b"\n"])
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_within_a_line_of_60_mb(
    made: Jtv, tmp_path: Path, sent: signal.Signals, ending: bytes
) -> None:
    """While it is read, joined, hashed or embedded: nothing of it keeps the process."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    process = made.start("ingest", str(fifo), stderr=subprocess.PIPE)
    with fifo.open("wb") as pipe:
        send(pipe, b"60 MB word " * (60_000_000 // 11) + ending)
        process.send_signal(sent)
        began = time.monotonic()
        process.wait(timeout=60)
    took = time.monotonic() - began
    _, stderr = process.communicate()
    assert process.returncode == 128 + sent
    assert b"database" not in stderr
    assert took < 5


def test_control_c_on_a_terminal(ready: Jtv, api: JinaServer) -> None:
    api.latency = 0.5
    with Terminal(ready, "ingest", "lines.txt", start_new_session=True) as terminal:
        wait_until(lambda: len(api.requests) == 2)
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.wait() == 130
    [said] = [line for line in terminal.lines if "interrupted:" in line]
    assert "Stored 1,024 new" in said
    assert "Traceback" not in terminal.screen


def test_a_search_is_interrupted_in_one_line(ready: Jtv, api: JinaServer) -> None:
    api.misbehave(jina_faults.hang(60))
    process = ready.start("search", "x", stderr=subprocess.PIPE)
    wait_until(lambda: api.requests)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=10)
    assert (process.returncode, stderr) == (130, b"jtv: interrupted\n")


def test_an_ignored_signal_stays_ignored(ready: Jtv, api: JinaServer) -> None:
    api.latency = 0.3
    process = ready.start(
        "ingest", "lines.txt", "--quiet", prefix=["nohup"], stderr=subprocess.DEVNULL
    )
    wait_until(lambda: len(api.requests) == 2)
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=30) == 0


class Locks:
    """Another process that holds the write lock of an embedded store, now and then."""

    def __init__(self, jtv: Jtv, chance: random.Random) -> None:
        self._jtv = jtv
        self._chance = chance
        self._ended = Event()
        self._thread = Thread(target=self._hold)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _hold(self) -> None:
        with closing(sqlite3.connect(self._jtv.database, isolation_level=None)) as other:
            while not self._ended.wait(self._chance.uniform(0, 0.1)):
                other.execute("BEGIN IMMEDIATE")
                self._ended.wait(self._chance.uniform(0, 0.2))
                other.execute("ROLLBACK")


@pytest.mark.parametrize("seed", range(8))
def test_all_that_was_answered_is_stored(
    keyed: Jtv, api: JinaServer, user_store: str, seed: int
) -> None:
    """Answers come late, in any order, while others write: none of it loses a text."""
    keyed.ok("init")
    chance = random.Random(seed)
    lines = of_any_length(chance, 900)
    keyed.write("lines.txt", "\n".join(lines))
    api.max_items = chance.choice([20, 64, 512])
    api.misbehave(at_any_time(chance, 0.3), times=None)
    concurrency = str(chance.choice([2, 5, 16]))
    with Locks(keyed, chance) if user_store == "embedded" else nullcontext():
        process = keyed.start(
            *("ingest", "lines.txt", "--json", "--concurrency", concurrency),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        many = chance.randrange(len(lines))
        wait_until(lambda: len(api.bill) >= many or process.poll() is not None)
        process.send_signal(chance.choice([signal.SIGINT, signal.SIGTERM]))
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode in (0, 130, 143), stderr
    report = json.loads(stdout)
    assert (report["stored"], report["tokens"]) == (len(api.bill), api.tokens)
    assert "lost" not in report
    assert contents(keyed) == set(api.bill)
    api.behave()
    keyed.ok("ingest", "lines.txt")
    assert sorted(api.bill) == sorted(lines)


@pytest.mark.parametrize("seed", range(4))
def test_what_a_second_signal_loses_is_counted(keyed: Jtv, api: JinaServer, seed: int) -> None:
    keyed.ok("init")
    chance = random.Random(seed)
    lines = of_any_length(chance, 900)
    keyed.write("lines.txt", "\n".join(lines))
    api.max_items = 64
    api.misbehave(at_any_time(chance, 1.0), times=None)
    with Locks(keyed, chance):
        process = keyed.start(
            *("ingest", "lines.txt", "--json", "--concurrency", "8"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        wait_until(lambda: len(api.bill) >= 200)
        process.send_signal(signal.SIGINT)
        said = read_until(process, b"in flight")
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, said + stderr
    report = json.loads(stdout)
    stored = contents(keyed)
    assert len(stored) == report["stored"]
    assert stored <= set(api.bill)
    api.settle()
    lost = report.get("lost", 0)  # none, if the answers came before the signal
    assert len(set(api.bill) - stored) <= lost
    assert (b"sent but not stored" in stderr) == bool(lost)


@pytest.mark.parametrize("seed", range(12))
def test_killed_at_any_moment_it_goes_on(
    keyed: Jtv, api: JinaServer, user_store: str, seed: int
) -> None:
    """What is stored is never paid for again; with a signal, all that was answered is stored.

    With `kill -9`, what is paid for and lost is what was read and not stored: two groups.
    """
    keyed.ok("init")
    chance = random.Random(seed)
    lines = of_any_length(chance, 3000) if seed % 2 else LINES.splitlines()
    keyed.write("lines.txt", "\n".join(lines))
    api.misbehave(at_any_time(chance, chance.choice([0.0, 0.2])), times=None)
    concurrency = chance.choice([1, 2, 3])
    command = ["ingest", "lines.txt", "--quiet", "--concurrency", str(concurrency)]
    stored: set[str] = set()
    for _ in range(4):
        paid = len(api.bill)
        process = keyed.start(*command, stderr=subprocess.DEVNULL)
        time.sleep(chance.uniform(0.2, 0.7))
        sent = chance.choice([signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
        process.send_signal(sent)
        process.wait(timeout=30)
        api.settle()
        assert stored.isdisjoint(api.bill[paid:])
        before, stored = stored, contents(keyed)
        lost = set(api.bill[paid:]) - stored
        assert before <= stored
        assert len(lost) <= (2 * concurrency * 512 if sent is signal.SIGKILL else 0)
    paid = len(api.bill)
    keyed.ok(*command)
    assert contents(keyed) == set(lines)
    assert stored.isdisjoint(api.bill[paid:])
    if user_store == "embedded":
        assert_sound(keyed)


def contents(jtv: Jtv) -> set[str]:
    return {row[2] for row in jtv.ok("list").rows}


@pytest.mark.parametrize("seed", range(6))
def test_init_killed_at_any_moment_leaves_what_init_finishes(jtv: Jtv, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(5):
        process = jtv.start("init", "--quiet", stderr=subprocess.DEVNULL)
        time.sleep(chance.uniform(0.05, 0.25))
        process.kill()
        process.wait()
    jtv.ok("init")
    jtv.ok("ingest", "-", stdin="a\n")
    assert_sound(jtv)


def assert_sound(jtv: Jtv) -> None:
    """The file is whole, and the counter and every occurrence agree with the rows."""
    import sqlite3

    connection = sqlite3.connect(jtv.database)
    table = "jinaai_tidb_demo_documents"
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    [counted] = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    assert connection.execute("SELECT documents FROM jtv_tables").fetchone() == (counted,)
    [placed] = connection.execute(
        f"SELECT count(DISTINCT document) FROM {table}_occurrences"
    ).fetchone()
    assert placed == counted
    connection.close()


def test_an_interrupt_that_python_drops_comes_again() -> None:
    """It drops what is raised in an import's locks and in a generator that is thrown away."""
    script = """if True:
        import signal, threading
        from jtv_cli.cli.interrupts import Interrupted, raise_interrupts

        class Tidy:
            def __del__(self):
                signal.raise_signal(signal.SIGTERM)

        raise_interrupts()
        try:
            Tidy()
            threading.Event().wait()
        except Interrupted as interrupted:
            print(interrupted)
    """
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, timeout=60, check=True
    )
    assert (result.stdout, result.stderr) == (b"terminated\n", b"")
