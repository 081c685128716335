"""Waiting for other threads: a wait has an end, whatever its time."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Barrier, Event, Thread

import pytest

import jtv_cli
from jtv_cli.threads import get_within, run_together, run_within


def test_a_wait_ends_when_its_time_is_up() -> None:
    # With `get(timeout=…)` alone, Python 3.10 to 3.12 wait for ever here, sooner or later.
    def wait_often() -> None:
        for _ in range(20_000):
            queue: SimpleQueue[int] = SimpleQueue()
            queue.put(1)
            assert get_within(0, queue) == 1
            for seconds in (1e-6, 2e-6, 1e-5):
                with suppress(Empty):
                    get_within(seconds, queue)

    thread = Thread(target=wait_often, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()


def test_an_item_that_comes_later_is_returned() -> None:
    queue: SimpleQueue[int] = SimpleQueue()

    def put() -> None:
        time.sleep(0.05)
        queue.put(7)

    Thread(target=put, daemon=True).start()
    assert get_within(30, queue) == 7
    with pytest.raises(Empty):
        get_within(-1, queue)


def test_a_function_that_takes_too_long_is_abandoned() -> None:
    assert run_within(30, lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        run_within(30, lambda: 1 / 0)
    with pytest.raises(Empty):
        run_within(0.01, lambda: time.sleep(1))


def test_functions_run_at_the_same_time() -> None:
    meeting = Barrier(3, timeout=30)

    def meet(number: int) -> int:
        meeting.wait()
        return number

    assert run_together([partial(meet, number) for number in range(3)]) == [0, 1, 2]
    assert run_together([]) == []


def test_an_error_is_raised_when_all_have_ended() -> None:
    ended: list[int] = []
    waited = Event()

    def end_late() -> None:
        waited.wait(30)
        ended.append(1)

    def fail() -> None:
        waited.set()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_together([fail, end_late])
    assert ended == [1]


def test_no_other_module_waits_for_a_queue_with_a_time() -> None:
    package = Path(jtv_cli.__file__).parent
    with_time = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if re.search(r"\.get\(\s*timeout=", path.read_text())
    }
    assert with_time == {"threads.py"}
