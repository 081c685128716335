"""A stand-in for Jina AI's API, over real HTTP.

    with JinaServer() as server:
        ... server.url, server.key ...
        server.misbehave(web_page(502), times=2)
        assert server.bill == ["a text that was paid for"]

By hand: python tests/jina_server.py --port 8000 --key jina_k --latency 0.2
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from jina_api import (
    Order,
    RefusedError,
    Reply,
    RerankOrder,
    answer,
    concurrency_limit,
    error,
    read_order,
    read_rerank_order,
    request_limit,
    rerank,
    token_limit,
)
from jina_http import Request, Server
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from ssl import SSLContext

    from jina_faults import Fault

RERANK = "/v1/rerank"
KEY = "jina_a-key-for-the-stand-in"


class _Window:
    """What was used up within the last minute, against a limit."""

    def __init__(self) -> None:
        self._uses: deque[tuple[float, int]] = deque()
        self._sum = 0

    def excess(self, amount: int, limit: int | None, minute: float) -> int | None:
        """Use the amount up, or return what it would come to if that is over the limit."""
        now = time.monotonic()
        while self._uses and self._uses[0][0] <= now - minute:
            self._sum -= self._uses.popleft()[1]
        if limit is not None and self._sum + amount > limit:
            return self._sum + amount
        self._uses.append((now, amount))
        self._sum += amount
        return None


class JinaServer:
    """The stand-in; the limits may be changed while it runs.

    `key` None lets everybody in, as compatible servers do; with `tls` it speaks https.
    `latency` is how long each answer takes, `minute` how long a minute is, both in
    seconds. `concurrent`, `tokens_a_minute` and `requests_a_minute` are the limits of
    the key, None for none.

    It remembers the `requests` that arrived, the texts and `tokens` that were paid for
    (the texts are the `bill`), and at its `peak` how many requests were there at once.
    """

    def __init__(
        self,
        *,
        key: str | None = KEY,
        port: int = 0,
        tls: SSLContext | None = None,
        latency: float = 0.0,
        max_items: int = 512,
        concurrent: int | None = None,
        tokens_a_minute: int | None = None,
        requests_a_minute: int | None = None,
        minute: float = 60.0,
    ) -> None:
        self.key = key
        self.latency = latency
        self.max_items = max_items
        self.concurrent = concurrent
        self.tokens_a_minute = tokens_a_minute
        self.requests_a_minute = requests_a_minute
        self.minute = minute
        self.requests: list[Request] = []
        self.bill: list[str] = []
        self.tokens = 0
        self.peak = 0
        self._active = 0
        self._faults: list[_Planned] = []
        self._token_window = _Window()
        self._request_window = _Window()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._http = Server(port, tls, self.respond)
        self.url = self._http.url

    def __enter__(self) -> JinaServer:
        self._http.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._http.stop()

    def misbehave(
        self,
        *faults: Fault,
        times: int | None = 1,
        when: Callable[[Request], bool] = lambda _: True,
    ) -> None:
        """Have each fault in turn spoil so many of the requests for which `when` is true.

        `times` None is for ever. What is no longer answered with 200 is not paid for.
        """
        with self._lock:
            self._faults += [_Planned(fault, times, when) for fault in faults]

    def behave(self) -> None:
        """Forget the faults that are still to come."""
        with self._lock:
            self._faults.clear()

    def settle(self) -> None:
        """Wait until no request is being answered."""
        wait_until(lambda: not self._active)

    def respond(self, request: Request) -> Reply:
        """Return the reply to a request, once it is time to send it."""
        with self._lock:
            self.requests.append(request)
            self._active += 1
            self.peak = max(self.peak, self._active)
            is_one_too_many = self.concurrent is not None and self._active > self.concurrent
            fault = self._next_fault(request)
        try:
            reply = self._reply(request, fault, is_one_too_many=is_one_too_many)
            self._stopping.wait(reply.delay)
            return reply
        finally:
            # Before the reply is sent: a client that has it may send its next request.
            with self._lock:
                self._active -= 1

    def _next_fault(self, request: Request) -> Fault | None:
        for planned in self._faults:
            if planned.when(request):
                if planned.times is not None:
                    planned.times -= 1
                    if not planned.times:
                        self._faults.remove(planned)
                return planned.fault
        return None

    def _reply(self, request: Request, fault: Fault | None, *, is_one_too_many: bool) -> Reply:
        order: Order | RerankOrder | None = None
        try:
            self._check_access(request)
            if is_one_too_many:
                raise RefusedError(concurrency_limit(self.concurrent or 0))
            if request.path == RERANK:
                order = read_rerank_order(request.body)
            else:
                order = read_order(request.body, self.max_items)
            self._check_rates(order.tokens)
            self._stopping.wait(self.latency)
            reply = rerank(order) if isinstance(order, RerankOrder) else answer(order)
        except RefusedError as refused:
            reply = refused.reply
        if fault:
            reply = fault(reply)
        if order and reply.status == HTTPStatus.OK and reply.raw is None:
            with self._lock:
                self.bill += order.texts
                self.tokens += order.tokens
        return reply

    def _check_access(self, request: Request) -> None:
        if request.path not in ("/v1/embeddings", RERANK):
            raise RefusedError(error(404, "Not Found"))
        if request.method != "POST":
            raise RefusedError(error(405, "Method Not Allowed"))
        if self.key is not None and request.headers.get("authorization") != f"Bearer {self.key}":
            raise RefusedError(error(401, "Unauthorized", "AUTHN_INVALID_API_KEY"))

    def _check_rates(self, tokens: int) -> None:
        with self._lock:
            limit = self.requests_a_minute
            if used := self._request_window.excess(1, limit, self.minute):
                raise RefusedError(request_limit(used, limit or 0))
            limit = self.tokens_a_minute
            if used := self._token_window.excess(tokens, limit, self.minute):
                raise RefusedError(token_limit(used, limit or 0))


@dataclass(slots=True)
class _Planned:
    fault: Fault
    times: int | None
    when: Callable[[Request], bool]


def main() -> None:
    parser = argparse.ArgumentParser(description="A stand-in for Jina AI's API.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--key", default=KEY)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds for each answer")
    parser.add_argument("--concurrent", type=int, help="requests at once")
    parser.add_argument("--tokens-a-minute", type=int)
    parser.add_argument("--requests-a-minute", type=int)
    with JinaServer(**vars(parser.parse_args())) as server:
        sys.stdout.write(f"export JINA_API_BASE={server.url} JINA_API_KEY={server.key}\n")
        sys.stdout.flush()
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
