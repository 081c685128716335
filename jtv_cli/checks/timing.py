"""Checks of something that may never answer."""

from __future__ import annotations

from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, NamedTuple

from jtv_cli.errors import ExitCode, JtvError
from jtv_cli.records import Check, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Answers = SimpleQueue["Finding | Exception | None"]


class Look(NamedTuple):
    """A part of what doctor checks, such as the database; each check may take so many `seconds`.

    `exit_code` is what a failure has the process end with.
    """

    name: str
    exit_code: ExitCode
    seconds: float
    checks: Callable[[], Iterator[Check]]


class Finding(NamedTuple):
    """A check, and the exit code that it asks for if it failed."""

    check: Check
    exit_code: ExitCode


def findings(look: Look) -> Iterator[Finding]:
    """Yield what a look finds, as it comes; a check that takes too long fails, and ends it."""
    answers: Answers = SimpleQueue()
    # A daemon, for what never answers must not keep the process.
    Thread(target=_run, args=(look, answers), daemon=True).start()
    while True:
        try:
            answer = answers.get(timeout=look.seconds)
        except Empty:
            detail = f"no answer within {look.seconds:g} seconds"
            yield Finding(Check(look.name, Outcome.FAILED, detail), look.exit_code)
            return
        if answer is None:
            return
        if isinstance(answer, Exception):
            raise answer
        yield answer


def _run(look: Look, answers: Answers) -> None:
    try:
        for check in look.checks():
            answers.put(Finding(check, look.exit_code))
    except JtvError as error:
        answers.put(Finding(Check(look.name, Outcome.FAILED, str(error)), error.exit_code))
    except Exception as error:
        answers.put(error)
    answers.put(None)
