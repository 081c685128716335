"""A way to a TiDB that reads along, and breaks at a given statement.

with Proxy(url) as proxy:
    proxy.on("^COMMIT", lose=True)
    ... jtv with TIDB_DATABASE_URL=proxy.url ...
    assert "ADD VECTOR INDEX" in proxy.statements[-1]
"""

from __future__ import annotations

import re
import socket
from contextlib import suppress
from dataclasses import dataclass
from threading import Thread
from typing import TYPE_CHECKING

from tidb_cluster import Cluster

if TYPE_CHECKING:
    from collections.abc import Callable

_QUERY = b"\x00\x03"  # the first packet of an exchange, and the command in it
# jtv sends the settings of a session with its first statement.
_SETTINGS = re.compile("SET NAMES [^;]*; ")


@dataclass
class _Plan:
    words: str
    action: Callable[[], object]
    after: bool
    lose: bool
    times: int | None


class Proxy:
    """Passes on what clients and a TiDB without TLS say to each other.

    `statements` are those that clients have sent, without the settings of their sessions.
    """

    def __init__(self, url: str) -> None:
        server = Cluster(url)
        self._address = (server.host, server.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = url.replace(f":{server.port}/", f":{self._listener.getsockname()[1]}/")
        self.statements: list[str] = []
        self._plans: list[_Plan] = []
        self._exchanges: list[_Exchange] = []

    def __enter__(self) -> Proxy:
        Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        # Closing alone would not wake the thread that listens.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def on(
        self,
        words: str,
        action: Callable[[], object] = lambda: None,
        *,
        after: bool = False,
        lose: bool = False,
        times: int | None = 1,
    ) -> None:
        """Do this when a statement with these words, a pattern, comes by, so many times, or always.

        It is done before the server hears the statement, or `after` it has answered.
        With `lose`, the connection is closed then, without passing on the one or the other.
        """
        self._plans.append(_Plan(words, action, after, lose, times))

    def cut(self, words: str) -> None:
        """Close the connections whose last statement has these words."""
        for exchange in self._exchanges:
            if words in exchange.last:
                exchange.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError), socket.create_connection(self._address) as server:
            exchange = _Exchange(self, client, server)
            self._exchanges.append(exchange)
            exchange.run()

    def take_plan(self, statement: str) -> _Plan | None:
        """Note a statement and return what is to be done about it."""
        self.statements.append(statement)
        for plan in self._plans:
            if re.search(plan.words, statement) and plan.times != 0:
                plan.times = None if plan.times is None else plan.times - 1
                return plan
        return None


class _Exchange:
    """One connection."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._waiting: _Plan | None = None
        self.last = ""

    def run(self) -> None:
        answers = Thread(target=self._pass_answers, daemon=True)
        answers.start()
        with suppress(OSError):
            self._pass_statements()
        self.close()
        answers.join()

    def _pass_statements(self) -> None:
        buffer = b""
        while data := self._client.recv(1 << 16):
            buffer += data
            while len(buffer) >= 4 and len(buffer) >= (
                end := 4 + int.from_bytes(buffer[:3], "little")
            ):
                packet, buffer = buffer[:end], buffer[end:]
                if packet[3:5] == _QUERY:
                    self.last = _SETTINGS.sub("", packet[5:].decode("utf-8", "replace"), count=1)
                    plan = self._proxy.take_plan(self.last)
                    if plan is not None and plan.after:
                        self._waiting = plan
                    elif plan is not None and self._do(plan):
                        return
                self._server.sendall(packet)

    def _pass_answers(self) -> None:
        with suppress(OSError):
            while data := self._server.recv(1 << 16):
                plan, self._waiting = self._waiting, None
                if plan is not None and self._do(plan):
                    break
                self._client.sendall(data)
        self.close()

    def _do(self, plan: _Plan) -> bool:
        """Do what is planned; return whether the connection ends so."""
        plan.action()
        return plan.lose

    def close(self) -> None:
        for end in (self._client, self._server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
