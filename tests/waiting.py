"""Waiting, in tests, for what says nothing when it happens."""

from __future__ import annotations

import fcntl
import struct
import termios
import time
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def wait_until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait until a condition is true; fail where it does not become so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def send(pipe: IO[bytes] | None, data: bytes) -> None:
    """Write to a process's input, and wait until it has taken it all."""
    assert pipe
    pipe.write(data)
    pipe.flush()
    wait_until(lambda: not struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, b"\0" * 4))[0])
