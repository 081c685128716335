"""The stand-in is as strict as the API, or tests against it would prove nothing."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import requests

import jina_server
from jina_api import embed
from jina_faults import answer, cut, hang, no_usage, raw, web_page
from jina_server import JinaServer
from jtv_cli.embedders.models import MODELS

if TYPE_CHECKING:
    from collections.abc import Iterator

V2 = "jina-embeddings-v2-base-en"
V3 = "jina-embeddings-v3"
V4 = "jina-embeddings-v4"
V5 = "jina-embeddings-v5-text-nano"
CODE = "jina-code-embeddings-0.5b"


@pytest.fixture
def server() -> Iterator[JinaServer]:
    with JinaServer() as server:
        yield server


def post(server: JinaServer, body: object, *, key: str | None = None) -> requests.Response:
    headers = {"Authorization": f"Bearer {key or server.key}"}
    return requests.post(f"{server.url}/v1/embeddings", json=body, headers=headers, timeout=10)


def order(**fields: Any) -> dict[str, Any]:
    return {"model": V2, "input": ["one text"], **fields}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"normalized": True, "embedding_type": "base64", "truncate": True},
        {"model": V3, "task": "separation", "late_chunking": True, "dimensions": 32},
        {"model": V4, "task": "code.query", "dimensions": 2048},
        {"model": V5, "task": "retrieval.query", "normalized": False},
        {"model": CODE, "task": "nl2code.passage", "dimensions": 896},
        {"input": ["x" * 40_000], "truncate": True},
    ],
)
def test_what_the_api_takes(server: JinaServer, fields: dict[str, Any]) -> None:
    body = order(**fields)
    reply = post(server, body)
    assert reply.status_code == 200, reply.text
    assert server.bill == body["input"]
    assert reply.json()["usage"]["total_tokens"] == server.tokens


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"model": "jina-embeddings-v1"}, 422, "no such model"),
        ({"model": "hashing-v1"}, 422, "no such model"),
        ({"model": 3}, 422, "no such model"),
        ({"task": "retrieval.query"}, 422, "no such field"),
        ({"dimensions": 64}, 422, "no such field"),
        ({"encoding_format": "base64"}, 422, "no such field"),
        ({"model": V4, "normalized": True}, 422, "no such field"),
        ({"model": CODE, "normalized": True}, 422, "no such field"),
        ({"model": V3, "task": "clustering"}, 422, "not a task"),
        ({"model": V5, "task": "retrieval"}, 422, "not a task"),
        ({"model": CODE, "task": "retrieval.query"}, 422, "not a task"),
        ({"model": V5, "dimensions": 769}, 422, "not 1 to 768"),
        ({"model": V5, "dimensions": "64"}, 422, "not 1 to 768"),
        ({"normalized": "yes"}, 422, "not a boolean"),
        ({"embedding_type": ["base64"]}, 500, "Internal"),
        ({"embedding_type": "int8"}, 422, "not float"),
        ({"input": []}, 422, "at least 1 item"),
        ({"input": "a string"}, 422, "at least 1 item"),
        ({"input": ["a", ""]}, 422, "input.1"),
        ({"input": ["a", 7]}, 422, "input.1"),
        ({"input": ["a"] * 513}, 422, "can contain at most 512 items.."),
        ({"input": ["a", "x" * 40_000]}, 400, "maximum of 8194 tokens"),
    ],
)
def test_what_the_api_refuses(
    server: JinaServer, fields: dict[str, Any], status: int, words: str
) -> None:
    reply = post(server, order(**fields))
    assert reply.status_code == status
    assert words in str(reply.json()["detail"])
    assert server.bill == []
    assert len(server.requests) == 1


@pytest.mark.parametrize("body", [None, [], "text", 1])
def test_a_body_that_is_no_object(server: JinaServer, body: object) -> None:
    assert post(server, body).status_code == 422


def test_who_and_where(server: JinaServer) -> None:
    assert post(server, order(), key="another").status_code == 401
    assert requests.post(f"{server.url}/embeddings", timeout=10).status_code == 404
    assert requests.get(f"{server.url}/v1/embeddings", timeout=10).status_code == 405


def test_similar_texts_are_near_and_models_apart() -> None:
    texts = ["the cat sat on the mat", "A cat, on the mat!", "prices of stock in Tokyo", "?!"]
    vectors = embed(MODELS[V2], texts)
    assert vectors.shape == (4, 768)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1)
    near, far = vectors[0] @ vectors[1], vectors[0] @ vectors[2]
    assert near > 0.5 > 0.2 > far
    assert np.array_equal(vectors, embed(MODELS[V2], texts))
    assert abs(np.sum(vectors[0] * embed(MODELS[V5], texts)[0])) < 0.2


def test_items_are_out_of_order(server: JinaServer) -> None:
    data = post(server, order(input=["a", "b", "c"])).json()["data"]
    assert [item["index"] for item in data] == [1, 0, 2]


def test_faults_come_in_turn_and_spoilt_answers_are_free(server: JinaServer) -> None:
    server.misbehave(web_page(502), no_usage, times=2)
    server.misbehave(answer(418), times=None, when=lambda request: "poison" in request.texts)
    texts = ["poison"], ["a"], ["b"], ["c"], ["d"], ["e"], ["poison"]
    replies = [post(server, order(input=text)) for text in texts]
    assert [reply.status_code for reply in replies] == [502, 502, 200, 200, 200, 200, 418]
    assert ["usage" in reply.text for reply in replies[2:6]] == [False, False, True, True]
    assert server.bill == ["b", "c", "d", "e"]
    server.behave()
    assert post(server, order(input=["poison"])).status_code == 200


def test_a_reply_that_is_cut_short_was_paid_for(server: JinaServer) -> None:
    server.misbehave(cut, raw(b""))
    for _ in range(2):
        with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
            post(server, order())
    assert server.bill == ["one text"]


def test_limits_of_a_minute() -> None:
    with JinaServer(tokens_a_minute=7, requests_a_minute=3, minute=0.5) as server:
        replies = [post(server, order(input=["abcdefgh"])) for _ in range(4)]
        assert [reply.status_code for reply in replies] == [200, 200, 429, 429]
        assert "9/7 tokens" in replies[2].json()["detail"]
        assert "4/3 requests" in replies[3].json()["detail"]
        time.sleep(0.6)
        assert post(server, order()).status_code == 200


def test_limit_of_concurrent_requests() -> None:
    with JinaServer(concurrent=2, latency=0.2) as server, ThreadPoolExecutor(3) as pool:
        replies = list(pool.map(lambda _: post(server, order()), range(3)))
        assert sorted(reply.status_code for reply in replies) == [200, 200, 429]
        assert server.peak == 3
        refused = next(reply for reply in replies if reply.status_code == 429)
        assert refused.json()["code"] == "RATE_CONCURRENCY_LIMIT_EXCEEDED"


def test_it_stops_at_once_even_while_an_answer_hangs() -> None:
    with JinaServer() as server, requests.Session() as session:
        server.misbehave(hang(60))
        with pytest.raises(requests.ReadTimeout):
            session.post(
                f"{server.url}/v1/embeddings",
                json=order(),
                headers={"Authorization": f"Bearer {server.key}"},
                timeout=0.1,
            )
        started = time.monotonic()
    assert time.monotonic() - started < 30


def test_connections_are_kept(server: JinaServer) -> None:
    connection = HTTPConnection(urlsplit(server.url).netloc)
    connection.connect()
    socket = connection.sock
    for _ in range(3):
        connection.request("GET", "/v1/embeddings")
        assert connection.getresponse().read()
        assert connection.sock is socket
    connection.close()


def test_by_hand() -> None:
    command = [sys.executable, str(Path(jina_server.__file__)), "--key", "jina_by-hand"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        base, key = process.stdout.readline().split()[1:]
        url = f"{base.removeprefix('JINA_API_BASE=')}/v1/embeddings"
        headers = {"Authorization": f"Bearer {key.removeprefix('JINA_API_KEY=')}"}
        assert requests.post(url, json=order(), headers=headers, timeout=10).status_code == 200
        process.terminate()
