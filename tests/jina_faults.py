"""Ways in which a service goes wrong, for `JinaServer.misbehave`.

A fault gets the right reply and returns the wrong one.
"""

from __future__ import annotations

import gzip
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import orjson

from jina_api import JSON, Reply

Fault = Callable[[Reply], Reply]

PAGE = b"<!DOCTYPE html><html><body><h1>Bad gateway</h1></body></html>"


def instead(reply: Reply) -> Fault:
    """Answer with this reply, e.g. one of `jina_api`'s errors."""
    return lambda _: reply


def answer(status: int, body: object = b"", headers: dict[str, str] | None = None) -> Fault:
    """Answer with this status; a body that is not bytes becomes JSON."""
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    return instead(Reply(status, content, JSON | (headers or {})))


def web_page(status: int) -> Fault:
    return answer(status, PAGE, {"Content-Type": "text/html; charset=utf-8"})


def redirect(location: str, status: int = 307) -> Fault:
    return answer(status, headers={"Location": location})


def raw(data: bytes) -> Fault:
    """Send these bytes and no HTTP reply; with none, the connection is dropped."""
    return lambda reply: replace(reply, raw=data)


def dripping(head: bytes, piece: bytes, pause: float = 0.02) -> Fault:
    """Send these bytes and no HTTP reply, then a piece again and again, for ever."""

    def pieces() -> Iterator[bytes]:
        while True:
            time.sleep(pause)
            yield piece

    return lambda reply: replace(reply, raw=head, pieces=pieces())


def bomb(reply: Reply) -> Reply:
    """Answer with 256 MiB of white space, packed into next to nothing."""
    packed = gzip.compress(b" " * (1 << 28))
    return answer(200, packed, {"Content-Encoding": "gzip"})(reply)


def hang(seconds: float) -> Fault:
    """Answer, but only after so many seconds."""
    return lambda reply: replace(reply, delay=seconds)


def cut(reply: Reply) -> Reply:
    """Close the connection in the middle of the body."""
    return replace(reply, sent=len(reply.body) // 2)


def short_length(reply: Reply) -> Reply:
    """Announce half of the body, so that the other half is not read."""
    length = {"Content-Length": str(len(reply.body) // 2)}
    return replace(reply, headers={**reply.headers, **length})


def broken_packing(reply: Reply) -> Reply:
    """Say that the body is compressed, which it is not."""
    return replace(reply, headers={**reply.headers, "Content-Encoding": "gzip"})


def edited(change: Callable[[dict[str, Any]], None]) -> Fault:
    """Change the JSON of the right reply in place; errors are left as they are."""

    def fault(reply: Reply) -> Reply:
        if reply.status != 200:
            return reply
        payload = orjson.loads(reply.body)
        change(payload)
        return replace(reply, body=orjson.dumps(payload))

    return fault


def wrong_dimension(dimensions: int) -> Fault:
    """Answer with vectors of so many dimensions."""

    def change(payload: dict[str, Any]) -> None:
        for item in payload["data"]:
            item["embedding"] = b64encode(np.ones(dimensions, "<f4").tobytes()).decode()

    return edited(change)


def filled(value: float) -> Fault:
    """Answer with one vector that has this value in all places, e.g. 0 or NaN."""

    def change(payload: dict[str, Any]) -> None:
        item = payload["data"][-1]
        if isinstance(item["embedding"], str):
            size = len(item["embedding"]) * 3 // 4 // 4
            item["embedding"] = b64encode(np.full(size, value, "<f4").tobytes()).decode()
        else:
            item["embedding"] = [value] * len(item["embedding"])

    return edited(change)


@edited
def garbled(payload: dict[str, Any]) -> None:
    """Answer with an embedding that is not base64."""
    payload["data"][0]["embedding"] = "%%%"


@edited
def duplicate_index(payload: dict[str, Any]) -> None:
    """Answer with one index twice, another not at all."""
    payload["data"][0]["index"] = payload["data"][-1]["index"]


@edited
def missing_item(payload: dict[str, Any]) -> None:
    """Answer with one embedding too few."""
    del payload["data"][0]


@edited
def no_usage(payload: dict[str, Any]) -> None:
    """Answer without saying how many tokens it was: right, but not what Jina does."""
    del payload["usage"]
