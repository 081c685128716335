"""A network whose delays are counted, not waited for: the round trips that follow one another.

with Network() as network:
    database = network.relay(host, port)
    api = network.relay(api_host, api_port)
    process = ... start a command that uses the two ports ...
    trips = network.count(process)

Every message takes half a round trip, whichever connection it is on, and all messages that are
under way at the same time take it together. The clock moves when the command can only wait: all of
its threads sleep, and all that the servers have to say has been said. So the count is the length
of the longest chain of messages that depend on one another, however fast the machine is.

A connection takes one round trip until what the client sends can leave, and the server's greeting
half a trip more. The end of a connection takes none.
"""

from __future__ import annotations

import socket
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from select import select
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess

_POLL_SECONDS = 0.005
_QUIET_SECONDS = 0.06
_CONNECT_HALVES = 2
_BLOCK = 1 << 20


@dataclass
class _Connection:
    client: socket.socket
    address: tuple[str, int]
    ready_at: int
    server: socket.socket | None = None
    up: bytes = b""
    down: bytes = b""
    is_waiting: bool = False
    """Whether the server has been sent something that it has not answered."""
    has_client: bool = True
    is_answered: bool = False
    """Whether the client has been given something since the server has."""

    def close(self) -> None:
        for end in (self.client, self.server):
            if end is not None:
                end.close()


class Network:
    """Relays connections, a half trip at a time; `halves` is the clock."""

    def __init__(self) -> None:
        self.halves = 0
        self._listeners: dict[socket.socket, tuple[str, int]] = {}
        self._connections: list[_Connection] = []

    def __enter__(self) -> Network:
        return self

    def __exit__(self, *_: object) -> None:
        for listener in self._listeners:
            listener.close()
        for connection in self._connections:
            connection.close()

    def relay(self, host: str, port: int) -> int:
        """Return a port of 127.0.0.1 that stands for this server."""
        listener = socket.create_server(("127.0.0.1", 0))
        self._listeners[listener] = (host, port)
        return int(listener.getsockname()[1])

    def count(self, process: subprocess.Popen[bytes], seconds: float = 60) -> float:
        """Relay until the process ends; return the round trips that it waited for."""
        self.halves, answered_at = 0, 0
        end = time.monotonic() + seconds
        quiet_since = time.monotonic()
        while process.poll() is None:
            assert time.monotonic() < end, "the command does not end"
            has_moved = self._receive()
            if has_moved or self._is_waiting or not _sleeps(process.pid):
                quiet_since = time.monotonic()
            elif time.monotonic() - quiet_since >= _QUIET_SECONDS and self._has_messages:
                self.halves += 1
                if self._deliver():
                    answered_at = self.halves
                quiet_since = time.monotonic()
        # What was sent last, a goodbye, was not waited for.
        return answered_at / 2

    @property
    def _is_waiting(self) -> bool:
        return any(each.is_waiting for each in self._connections)

    @property
    def _has_messages(self) -> bool:
        return any(each.server is None or each.up or each.down for each in self._connections)

    def _receive(self) -> bool:
        """Take what clients and servers send now; return whether there was anything."""
        clients = {each.client: each for each in self._connections if each.has_client}
        servers = {each.server: each for each in self._connections if each.server is not None}
        ready, _, _ = select([*self._listeners, *clients, *servers], [], [], _POLL_SECONDS)
        for end in ready:
            if end in self._listeners:
                client, _ = end.accept()
                ready_at = self.halves + _CONNECT_HALVES
                self._connections.append(_Connection(client, self._listeners[end], ready_at))
                continue
            is_client = end in clients
            connection = clients[end] if is_client else servers[end]
            data = b""
            with suppress(OSError):
                data = end.recv(_BLOCK)
            if not data:
                if connection in self._connections:
                    self._connections.remove(connection)
                connection.close()
            elif is_client:
                connection.up += data
            else:
                connection.is_waiting = False
                if connection.is_answered:
                    # More of the answer, which a busy server was slow to write: on its way, it
                    # would be right behind what came before it.
                    with suppress(OSError):
                        connection.client.sendall(data)
                else:
                    connection.down += data
        return bool(ready)

    def _deliver(self) -> bool:
        """Move everything half a trip on; return whether a client was given something."""
        has_answer = False
        for each in list(self._connections):
            with suppress(OSError):
                if each.server is None:
                    if self.halves >= each.ready_at:
                        each.server = socket.create_connection(each.address)
                        # A database greets; an HTTP server waits for a request.
                        readable, _, _ = select([each.server], [], [], 0 if each.up else 1)
                        if readable:
                            each.down += each.server.recv(_BLOCK)
                    continue
                if each.down:
                    data, each.down = each.down, b""
                    has_answer = each.is_answered = True
                    each.client.sendall(data)
                if each.up:
                    data, each.up = each.up, b""
                    each.is_waiting, each.is_answered = True, False
                    each.server.sendall(data)
        return has_answer


def _sleeps(process: int) -> bool:
    """Return whether all threads of a process, and of its children, wait for something."""
    for pid in _family(process):
        with suppress(OSError):
            for thread in Path(f"/proc/{pid}/task").iterdir():
                state = (thread / "stat").read_text().rpartition(")")[2].split()[0]
                if state not in "SZ":
                    return False
    return True


def _family(process: int) -> list[int]:
    family, new = [], deque([process])
    while new:
        pid = new.popleft()
        family.append(pid)
        with suppress(OSError):
            for thread in Path(f"/proc/{pid}/task").iterdir():
                new.extend(map(int, (thread / "children").read_text().split()))
    return family
