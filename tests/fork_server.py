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
import io
import json
import os
import pkgutil
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import jtv_cli
from jtv_cli.__main__ import main

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
        self._directory = tempfile.TemporaryDirectory(prefix="jtv-fork-")
        self._address = str(Path(self._directory.name) / "socket")
        self._process = subprocess.Popen(
            [sys.executable, __file__, self._address],
            env=os.environ | OWN_VARIABLES,
            stdin=subprocess.PIPE,  # its end tells the server to end
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        if not self._process.stdout.read(1):
            message = "the fork server did not start"
            raise RuntimeError(message)

    def can_run(self, variables: Mapping[str, str]) -> bool:
        """Return whether a process with these environment variables can be a fork."""
        return _fixed(variables) == _fixed(os.environ | {"PYTHONWARNINGS": "error"})

    def run(
        self,
        arguments: Sequence[str],
        variables: Mapping[str, str],
        directory: Path,
        stdin: bytes | None,
        timeout: float,
    ) -> tuple[int, bytes, bytes]:
        """Run a command, and return its exit code, or minus its signal, and what it wrote.

        Raise subprocess.TimeoutExpired if it has not ended after `timeout` seconds.
        """
        with contextlib.ExitStack() as ends, socket.socket(socket.AF_UNIX) as connection:
            input_, to_write = _pipe(ends)
            stdout, output = _pipe(ends)
            stderr, errors = _pipe(ends)
            if stdin is None:
                input_ = ends.enter_context(io.FileIO(os.devnull))
            connection.connect(self._address)
            theirs = (input_, output, errors)
            socket.send_fds(connection, [b"!"], [end.fileno() for end in theirs])
            request = [list(arguments), dict(variables), str(directory)]
            connection.sendall(json.dumps(request).encode())
            connection.shutdown(socket.SHUT_WR)
            for end in theirs:
                end.close()
            answers = connection.makefile("rb")
            pid = int(answers.readline())
            try:
                texts = _exchange(to_write, stdin or b"", (stdout, stderr), timeout)
                connection.settimeout(timeout)
                return int(answers.readline()), *texts
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired(list(arguments), timeout) from None


def _fixed(variables: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in variables.items() if name.startswith(FIXED)}


def _pipe(ends: contextlib.ExitStack) -> tuple[io.FileIO, io.FileIO]:
    """Open a pipe, and return the ends to read and to write, which `ends` closes."""
    reading, writing = os.pipe()
    return (
        ends.enter_context(io.FileIO(reading, "rb")),
        ends.enter_context(io.FileIO(writing, "wb")),
    )


def _exchange(
    to_write: io.FileIO, stdin: bytes, to_read: tuple[io.FileIO, io.FileIO], timeout: float
) -> tuple[bytes, bytes]:
    """Write what a process reads while reading what it writes on two streams, to their ends."""
    deadline = time.monotonic() + timeout
    texts = {stream.fileno(): bytearray() for stream in to_read}
    rest = memoryview(stdin)
    with selectors.DefaultSelector() as selector:
        for stream in to_read:
            selector.register(stream, selectors.EVENT_READ)
        if rest:
            os.set_blocking(to_write.fileno(), False)
            selector.register(to_write, selectors.EVENT_WRITE)
        else:
            to_write.close()
        while selector.get_map():
            ready = selector.select(deadline - time.monotonic())
            if not ready:
                raise TimeoutError
            for key, _ in ready:
                if key.fileobj is to_write:
                    try:
                        rest = rest[os.write(to_write.fileno(), rest[:CHUNK]) :]
                    except BrokenPipeError:
                        rest = rest[:0]
                    if not rest:
                        selector.unregister(to_write)
                        to_write.close()
                elif part := os.read(key.fd, CHUNK):
                    texts[key.fd] += part
                else:
                    selector.unregister(key.fd)
    first, second = texts.values()
    return bytes(first), bytes(second)


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
                for pid, code in _ended():
                    with clients.pop(pid) as client:
                        client.sendall(f"{code}\n".encode())
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


def _ended() -> list[tuple[int, int]]:
    """Return process ids and exit codes of the forks that have ended."""
    ended = []
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            ended.append((pid, os.waitstatus_to_exitcode(status)))
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
    serve(sys.argv[1])
