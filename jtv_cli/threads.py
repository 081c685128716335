"""Threads: waiting for what another one does, but not for longer than a time."""

from __future__ import annotations

from queue import Empty, SimpleQueue
from threading import TIMEOUT_MAX, Thread
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Item = TypeVar("Item")


def get_within(seconds: float, queue: SimpleQueue[Item]) -> Item:
    """Return the next item of a queue that one thread reads. Raises Empty if the time is up.

    Before Python 3.13, `get(timeout=…)` may wait for ever: a first step takes the queue's lock,
    and if the time is up when it is done, the second gets a negative timeout, which means none.
    A queue that was found empty just before needs one step only.
    """
    try:
        return queue.get_nowait()
    except Empty:
        return queue.get(timeout=min(max(seconds, 0.0), TIMEOUT_MAX))


def run_within(seconds: float, function: Callable[[], Item]) -> Item:
    """Return what a function returns, or raise what it raises. Raises Empty if the time is up.

    It runs in a daemon thread, which is abandoned then: the process does not wait for it when
    it ends.
    """
    results: SimpleQueue[tuple[Item] | BaseException] = SimpleQueue()

    def run() -> None:
        try:
            results.put((function(),))
        except BaseException as error:
            results.put(error)

    Thread(target=run, daemon=True).start()
    result = get_within(seconds, results)
    if isinstance(result, BaseException):
        raise result
    return result[0]
