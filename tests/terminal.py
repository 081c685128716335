"""A terminal, for the tests: a pty that jtv runs on."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import re
import select
import struct
import termios
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from conftest import Jtv


def open_terminal(columns: int) -> tuple[int, int]:
    """Return both ends of a pty: what a person sees and types, and what programs are given."""
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    return controller, terminal


def visible_lines(screen: str) -> list[str]:
    """Return what is left on a screen, without what was erased again."""
    return [re.sub("^.*\r\x1b\\[2K", "", line).rstrip() for line in screen.split("\n")]


class Terminal:
    """Runs a command with all its streams on a pty, unless an option names another."""

    def __init__(
        self,
        jtv: Jtv,
        *arguments: str,
        columns: int = 100,
        env: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        self._controller, terminal = open_terminal(columns)
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), terminal) | options
        variables = {"TERM": "xterm-256color"} | dict(env or {})
        self.process = jtv.start(*arguments, env=variables, **streams)
        os.close(terminal)
        self.screen = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._controller)

    @property
    def lines(self) -> list[str]:
        """What is left on the screen, without what was erased again."""
        return visible_lines(self.screen)

    @property
    def messages(self) -> list[str]:
        """The lines, with messages that were wrapped in one piece again."""
        return "\n".join(self.lines).replace("\n  ", " ").split("\n")

    def type(self, keys: str) -> None:
        os.write(self._controller, keys.encode())

    def wait_for(self, text: str, seconds: float = 30) -> None:
        """Read until the text has appeared."""
        deadline = time.monotonic() + seconds
        while text not in self.screen:
            assert time.monotonic() < deadline, f"{text!r} did not appear in {self.screen!r}"
            assert self._read(), f"{text!r} did not appear in {self.screen!r}"

    def wait(self, seconds: float = 30) -> int:
        """Read until the command has ended and return its exit code."""
        deadline = time.monotonic() + seconds
        while self._read():
            assert time.monotonic() < deadline, self.screen
        return self.process.wait(timeout=seconds)

    def _read(self) -> bool:
        """Take what has appeared; False once the other side is closed."""
        ready, _, _ = select.select([self._controller], [], [], 0.2)
        if not ready:
            return self.process.poll() is None
        try:
            data = os.read(self._controller, 65536)
        except OSError:
            return False
        self.screen += self._decoder.decode(data).replace("\r\n", "\n")
        return bool(data)
