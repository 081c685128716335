"""Interrupts: the signals that ask the process to stop, as an exception in the main thread."""

from __future__ import annotations

import signal
import sys
from _thread import interrupt_main
from contextlib import contextmanager
from threading import Timer
from typing import TYPE_CHECKING

from jtv_cli.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_SIGNALS = {
    "SIGINT": ("interrupted", ExitCode.INTERRUPTED),
    "SIGTERM": ("terminated", ExitCode.TERMINATED),
    "SIGHUP": ("terminated: the terminal was closed", ExitCode.TERMINATED),
}
_NUMBERS = {getattr(signal, name): of for name, of in _SIGNALS.items() if hasattr(signal, name)}

# Signals that raise Interrupted; after them, the next one kills the process.
_RAISING = 2
# Seconds after which an interrupt that could not be raised is tried again.
_SOON = 0.01


class Interrupted(BaseException):
    """The user or the system asks to stop. `detail` is what the command says about it."""

    def __init__(self, what: str, exit_code: ExitCode) -> None:
        super().__init__(what)
        self.what = what
        self.exit_code = exit_code
        self.detail = ""

    def __str__(self) -> str:
        return f"{self.what}: {self.detail}" if self.detail else self.what


@contextmanager
def if_interrupted(say: str) -> Iterator[None]:
    """Add a sentence to the message if an interrupt ends what follows."""
    try:
        yield
    except Interrupted as interrupted:
        interrupted.detail = "; ".join(filter(None, (interrupted.detail, say)))
        raise


def block_interrupts() -> None:
    """Keep signals pending from now on, because the process is about to exit.

    Raises Interrupted for a signal that came before.
    """
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, _NUMBERS)


def raise_interrupts() -> None:
    """Raise Interrupted in the main thread at the first two signals, and die of the third.

    The first asks a command to end in good order, which may take seconds, the second to end
    at once. A signal that the parent process ignores, as under nohup, stays ignored.

    Raises Interrupted if a signal is pending.
    """
    handler = _Handler()
    for number in _NUMBERS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)
    sys.unraisablehook = handler.on_unraisable
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _NUMBERS)


class _Handler:
    """Raises Interrupted for a signal, at once or as soon as that is safe."""

    def __init__(self) -> None:
        self._received: list[int] = []
        self._raised = 0
        self._is_trying_again = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if number in _NUMBERS and not self._is_trying_again:
            self._received.append(number)
            if len(self._received) == _RAISING:
                for each in _NUMBERS:
                    if signal.getsignal(each) is self:
                        signal.signal(each, signal.SIG_DFL)
        self._is_trying_again = False
        if self._raised == len(self._received):
            return
        if _is_importing(frame):
            self._try_again()
            return
        self._raised = len(self._received)
        raise Interrupted(*_NUMBERS[self._received[0]])

    def on_unraisable(self, dropped: sys.UnraisableHookArgs) -> None:
        """Raise an interrupt again that Python has dropped, in a destructor for one.

        Nothing else is shown: after an interrupt, an error of cleaning up is no news, and
        before one there is none that a user could do something about.
        """
        if isinstance(dropped.exc_value, Interrupted):
            self._raised -= 1
            self._try_again()
        elif not self._received:
            sys.__unraisablehook__(dropped)

    def _try_again(self) -> None:
        if hasattr(signal, "setitimer"):
            signal.signal(signal.SIGALRM, self)
            signal.setitimer(signal.ITIMER_REAL, _SOON)
        else:  # Windows
            timer = Timer(_SOON, self._simulate)
            timer.daemon = True
            timer.start()

    def _simulate(self) -> None:
        """Have the main thread call this handler once more, without another signal."""
        self._is_trying_again = True
        interrupt_main()


def _is_importing(frame: FrameType | None) -> bool:
    """Return whether the main thread is importing a module, at any depth of its stack."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
