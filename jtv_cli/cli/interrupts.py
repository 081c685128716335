"""Signals that ask the process to stop, as an exception."""

from __future__ import annotations

import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from jtv_cli.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

_SIGNALS = {
    "SIGINT": ("interrupted", ExitCode.INTERRUPTED),
    "SIGTERM": ("terminated", ExitCode.TERMINATED),
    "SIGHUP": ("terminated: the terminal was closed", ExitCode.TERMINATED),
}

_SOON = 0.01  # seconds


class Interrupted(BaseException):
    """The user or the system asks to stop. `detail` is what the command has to say to that."""

    def __init__(self, what: str, exit_code: ExitCode) -> None:
        super().__init__(what)
        self.what = what
        self.exit_code = exit_code
        self.detail = ""

    def __str__(self) -> str:
        return f"{self.what}: {self.detail}" if self.detail else self.what


@contextmanager
def if_interrupted(say: str) -> Iterator[None]:
    """Have this said too, when what follows is interrupted."""
    try:
        yield
    except Interrupted as interrupted:
        interrupted.detail = "; ".join(filter(None, (interrupted.detail, say)))
        raise


def raise_interrupts() -> None:
    """Have the first signal raise Interrupted in the main thread, and later ones do nothing.

    After the first, the command is putting away what was paid for, which takes
    seconds and must not be broken off. A signal that the parent process had ignored,
    nohup for one, stays ignored.
    """
    for name, (what, exit_code) in _SIGNALS.items():
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _raiser(what, exit_code))


def _raiser(what: str, exit_code: ExitCode) -> Callable[[int, FrameType | None], None]:
    def handle(_number: int, _frame: FrameType | None) -> None:
        for name in _SIGNALS:
            if number := getattr(signal, name, None):
                signal.signal(number, signal.SIG_IGN)
        sys.unraisablehook = again
        raise Interrupted(what, exit_code)

    def again(dropped: sys.UnraisableHookArgs) -> None:
        """Raise it a little later, where Python has dropped it: in an import, or in tidying up.

        What tidying up has to say after an interrupt is not for the user.
        """
        if isinstance(dropped.exc_value, Interrupted):
            signal.signal(signal.SIGALRM, handle)
            signal.setitimer(signal.ITIMER_REAL, _SOON)

    return handle
