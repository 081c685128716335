"""The HTTP under the stand-in: HTTP/1.1 with connections that are kept, and no log."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import SHUT_RDWR, socket
from socketserver import TCPServer
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from ssl import SSLContext

    from jina_api import Reply


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it arrived from `client`, host and port.

    `headers` has names in lower case, `body` is what the JSON says, None where it is none.
    """

    client: tuple[str, int]
    method: str
    path: str
    headers: Mapping[str, str]
    body: Any

    @property
    def texts(self) -> list[str]:
        texts = self.body.get("input") if isinstance(self.body, dict) else None
        return texts if isinstance(texts, list) else []


class Server(ThreadingHTTPServer):
    """Serves on 127.0.0.1 what `respond` says; over https where there is a `tls`."""

    # All threads are waited for at the end: none may hold a socket after that.
    daemon_threads = False
    request_queue_size = 128

    def __init__(
        self, port: int, tls: SSLContext | None, respond: Callable[[Request], Reply]
    ) -> None:
        self.respond = respond
        self.connections: set[socket] = set()
        self.is_closing = False
        super().__init__(("127.0.0.1", port), _Handler)
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_side=True)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.server_address[1]}"

    def server_bind(self) -> None:
        # HTTPServer's own asks the name server for this machine's name, which may take seconds.
        TCPServer.server_bind(self)

    def start(self) -> None:
        # Polled often, so that a test's server is gone as soon as the test is.
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self.shutdown()
        self.is_closing = True
        for connection in tuple(self.connections):
            with suppress(OSError):
                connection.shutdown(SHUT_RDWR)
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.server.connections.add(self.connection)
        if self.server.is_closing:
            with suppress(OSError):
                self.connection.shutdown(SHUT_RDWR)

    def handle(self) -> None:
        # A client that goes away in the middle is what some tests are about.
        with suppress(OSError):
            super().handle()

    def finish(self) -> None:
        self.server.connections.discard(self.connection)
        super().finish()

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            body = orjson.loads(content)
        except orjson.JSONDecodeError:
            body = None
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.client_address[:2], self.command, self.path, headers, body)
        self._send(self.server.respond(request))

    do_GET = do_CONNECT = do_POST  # noqa: N815

    def _send(self, reply: Reply) -> None:
        if reply.raw is not None:
            self.close_connection = True
            self.wfile.write(reply.raw)
            for piece in reply.pieces:
                self.wfile.write(piece)
            return
        headers = {"Content-Length": str(len(reply.body)), **reply.headers}
        lines = [f"HTTP/1.1 {reply.status} {self.responses.get(reply.status, ('',))[0]}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        content = reply.body[: reply.sent]
        if headers["Content-Length"] != str(len(content)):
            self.close_connection = True
        self.wfile.write("\r\n".join([*lines, "", ""]).encode("latin-1") + content)

    def log_message(self, *_: object) -> None:
        pass
