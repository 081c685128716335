"""Threads: waiting for what another one does, but not for longer than a time."""

from __future__ import annotations

from queue import Empty, SimpleQueue
from threading import TIMEOUT_MAX, Thread
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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
    return _result(get_within(seconds, _started(function)))


def run_together(functions: Sequence[Callable[[], Item]]) -> list[Item]:
    """Return what functions return, each run in a daemon thread of its own.

    All of them end first, even if one raises an error, which is raised then. An exception in
    the calling thread, such as a signal handler raises, abandons them.
    """
    if len(functions) == 1:
        return [functions[0]()]
    queues = [_started(function) for function in functions]
    return [_result(result) for result in [queue.get() for queue in queues]]


def _started(function: Callable[[], Item]) -> SimpleQueue[tuple[Item] | BaseException]:
    """Start a daemon thread, and return the queue that will have the function's result."""
    results: SimpleQueue[tuple[Item] | BaseException] = SimpleQueue()

    def run() -> None:
        try:
            results.put((function(),))
        except BaseException as error:
            results.put(error)

    Thread(target=run, daemon=True).start()
    return results


def _result(result: tuple[Item] | BaseException) -> Item:
    if isinstance(result, BaseException):
        raise result
    return result[0]
