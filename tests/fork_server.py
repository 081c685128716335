"""Runs commands in forks of a process that has imported jtv once.

Importing is most of what a short command costs, and the tests run thousands of them. A fork
is a process of its own all the same: it has its own streams, environment, directory and
exit code. What happens while Python starts is tested with processes that are started anew:
`Jtv.start` does that, and `--fresh` has every command do so.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import inspect
import io
import json
import os
import pkgutil
import select
import selectors
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import jtv_cli
from jtv_cli.__main__ import main

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

IMPORTED = (
    *("concurrent.futures", "dotenv", "http.client", "numpy", "orjson", "platformdirs"),
    *("pymysql", "requests", "rich.cells", "rich.console", "rich.table", "rich.text"),
    *("semantic_text_splitter", "sqlalchemy", "sqlalchemy.dialects.mysql.pymysql"),
    *("sqlite3", "tidb_vector.sqlalchemy", "truststore", "typer"),
)
"""What commands import while they run."""

NOT_IMPORTED = ("jtv_cli.mcp_server", "jtv_cli.embedders.minilm_onnx")
"""Modules that need an extra."""

FIXED = ("LC_", "LANG", "PYTHON", "LD_", "OMP_", "OPENBLAS_", "MALLOC_", "TZ")
"""Beginnings of variables that count when Python starts or a library is loaded."""

OWN_VARIABLES = {"PYTHONWARNINGS": "error", "OPENBLAS_NUM_THREADS": "1"}
"""A process of one thread is safe to fork."""

CHUNK = 1 << 16


class ForkServer:
    """A process to fork, which ends with the process that started it."""

    def __init__(self) -> None:
        # An address of Linux that is no file.
        self.address = f"\0jtv fork server of {os.getpid()}"
        self.seconds = 0.0  # processor time of the forks whose end was waited for
        self._process = subprocess.Popen(
            [sys.executable, __file__, self.address.removeprefix("\0")],
            env=os.environ | OWN_VARIABLES,
            stdin=subprocess.PIPE,  # its end tells the server to end
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        if not self._process.stdout.read(1):
            message = "the fork server did not start"
            raise RuntimeError(message)

    def can_run(self, variables: Mapping[str, str], options: Iterable[str]) -> bool:
        """Return whether a process with these variables and options of Popen can be a fork."""
        return {*options} <= {"cwd", "stdin", "stdout", "stderr"} and (
            _fixed(variables) == _fixed(os.environ | {"PYTHONWARNINGS": "error"})
        )

    def start(self, command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        """Start a command; the options are those that `can_run` allows, and `env`."""
        return _Fork(self, command, **options)


CLIENT = """#!{python} -IS
import json, os, signal, socket, sys

command = [{script!r}, *sys.argv[1:]]
if any(word.startswith("/dev/fd/") for word in command):
    os.execv(command[0], command)
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
socket.send_fds(server, [b"!"], [0, 1, 2])
server.sendall(json.dumps([command, dict(os.environ), os.getcwd()]).encode())
server.shutdown(socket.SHUT_WR)
answers = server.makefile("rb")
pid = int(answers.readline())
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, _: os.kill(pid, number))
code = os.waitstatus_to_exitcode(int(answers.readline().split()[0]))
os._exit(code if code >= 0 else 128 - code)
"""
"""A program for shells that has the fork server run `script`, and ends as that does."""


class _Fork(subprocess.Popen[bytes]):
    """A process that another process forks.

    Of Popen, this replaces what starts a process and what waits for it, which no public
    method does.
    """

    def __init__(self, parent: ForkServer, command: list[str], **options: Any) -> None:
        self._parent = parent
        self._server = socket.socket(socket.AF_UNIX)
        self._server.connect(parent.address)
        super().__init__(command, **options)

    def _execute_child(self, *arguments: Any) -> None:
        parameters = inspect.signature(super()._execute_child).parameters  # type: ignore[misc]
        given = dict(zip(parameters, arguments, strict=True))
        pipes = [given[name] for name in PIPES]
        ends = [given[name] for name in ("p2cread", "c2pwrite", "errwrite")]
        files = [own if end == -1 else end for own, end in enumerate(ends)]
        socket.send_fds(self._server, [b"!"], files)
        request = given["args"], given["env"], str(given["cwd"])
        self._server.sendall(json.dumps(request).encode())
        self._server.shutdown(socket.SHUT_WR)
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]
        self._answers = self._server.makefile("rb")
        self.pid = int(self._answers.readline())
        self._child_created = True

    def _internal_poll(self, *_: Any, **__: Any) -> int | None:
        if self.returncode is None:
            pid, status = self._try_wait(os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def _try_wait(self, flags: int) -> tuple[int, int]:
        """Return the process id and the status, or 0 twice if it runs, as waitpid does."""
        if flags & os.WNOHANG and not select.select([self._server], [], [], 0)[0]:
            return 0, 0
        with self._server, self._answers:
            status, seconds = self._answers.readline().split()
        self._parent.seconds += float(seconds)
        return self.pid, int(status)


PIPES = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")


def _fixed(variables: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in variables.items() if name.startswith(FIXED)}


def serve(address: str) -> None:
    """Fork for every request on a socket, until stdin ends."""
    _import_everything()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    wakes, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    clients: dict[int, socket.socket] = {}
    with socket.socket(socket.AF_UNIX) as listener, selectors.DefaultSelector() as selector:
        listener.bind(address)
        listener.listen(64)
        for file in (0, listener.fileno(), wakes):
            selector.register(file, selectors.EVENT_READ)
        os.write(1, b"!")
        while 0 not in (ready := {key.fd for key, _ in selector.select()}):
            if wakes in ready:
                os.read(wakes, CHUNK)
                for pid, status, seconds in _ended():
                    with clients.pop(pid) as client, contextlib.suppress(OSError):
                        client.sendall(f"{status} {seconds}\n".encode())
            if listener.fileno() in ready:
                client, _ = listener.accept()
                _, files, *_ = socket.recv_fds(client, 1, 3)
                request = json.loads(client.makefile("rb").read())
                pid = os.fork()
                if pid == 0:
                    os.closerange(3, min(files))
                    os.closerange(max(files) + 1, max(files) + 1024)
                    _become(files, *request)
                for file in files:
                    os.close(file)
                clients[pid] = client
                client.sendall(f"{pid}\n".encode())


def _import_everything() -> None:
    """Import what commands import, and have no fork copy it."""
    for name in IMPORTED:
        importlib.import_module(name)
    for module in pkgutil.walk_packages(jtv_cli.__path__, "jtv_cli."):
        if module.name not in NOT_IMPORTED:
            importlib.import_module(module.name)
    gc.collect()
    gc.freeze()


def _ended() -> list[tuple[int, int, float]]:
    """Return the process ids, statuses and processor seconds of the forks that have ended."""
    ended = []
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status, used = os.wait4(-1, os.WNOHANG)
            if pid == 0:
                break
            ended.append((pid, status, used.ru_utime + used.ru_stime))
    return ended


def _become(
    files: list[int], arguments: list[str], variables: dict[str, str], directory: str
) -> None:
    """Be the process that a shell would have started."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for target, file in enumerate(files):
        os.dup2(file, target)
        os.close(file)
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(variables)
    encoding = sys.stdout.encoding
    streams = [io.FileIO(file, "rb" if file == 0 else "wb", closefd=False) for file in range(3)]
    sys.stdin = io.TextIOWrapper(io.BufferedReader(streams[0]), encoding, sys.stdin.errors)
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(streams[1]), encoding, sys.stdout.errors)
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(streams[2]), encoding, "backslashreplace", line_buffering=True
    )
    sys.argv = arguments
    code = 1
    try:
        main()  # returns after --version only
        code = 0
    except Exception:
        sys.excepthook(*sys.exc_info())
    os._exit(code)


if __name__ == "__main__":
    serve(f"\0{sys.argv[1]}")
