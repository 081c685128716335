"""What replies of embeddings APIs mean: vectors, or an error of ours, whatever they are."""

from __future__ import annotations

import random
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import numpy as np
import orjson
import pytest

import jina_api
from discretion import KEY, TEXTS, assert_discreet
from jtv_cli.embedders.api.replies import Reply, read_reply, seconds_to_reset
from jtv_cli.embedders.models import MODELS, TUTORIAL_MODEL
from jtv_cli.errors import (
    BatchTooLarge,
    RateLimited,
    ServiceDown,
    ServiceError,
    ServiceRefused,
    TextsFailed,
    TextsRefused,
    TextTooLong,
    register_secret,
)
from jtv_cli.records import Embeddings

V2 = MODELS[TUTORIAL_MODEL]
DETAIL = {"detail": "Something is wrong.", "request_id": "1"}
ITEMS = {"detail": "[RID: 1] Validation error: Each input list can contain at most 64 items.. See"}
ECHO = {"detail": f"Validation error: bad input '{TEXTS[0]}'", "errors": [{"input": TEXTS}]}


def reply_error(
    status: int, body: object, headers: dict[str, str] | None = None, texts: list[str] = TEXTS
) -> ServiceError:
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    reply = Reply("host:1", status, headers or {}, content)
    with pytest.raises(ServiceError) as caught:
        read_reply(reply, V2, texts)
    assert_discreet(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (401, DETAIL, ServiceRefused, "not accepted: host:1 answered 401: Something is wrong; ch"),
        (401, {}, ServiceRefused, "keys are at https://jina.ai/embeddings"),
        (402, {}, ServiceRefused, "no balance left"),
        (403, DETAIL, ServiceRefused, "the API key gives no access"),
        (
            403,
            orjson.loads(jina_api.no_balance().body),
            ServiceRefused,
            "top up at https://jina.ai",
        ),
        (404, {"detail": "Not Found"}, ServiceRefused, "404: Not Found; check JINA_API_BASE"),
        (405, {}, ServiceRefused, "JINA_API_BASE"),
        (407, {}, ServiceRefused, "proxy"),
        (400, orjson.loads(jina_api.too_long(V2).body), TextTooLong, "maximum of 8194 tokens"),
        (413, {"error": "`inputs` must have less than 512 tokens. Given: 600"}, TextTooLong, "512"),
        (400, {"error": {"message": "maximum context length is 8192"}}, TextTooLong, "8192"),
        (400, DETAIL, TextsRefused, "answered 400: Something is wrong"),
        (422, DETAIL, TextsRefused, "answered 422: Something is wrong"),
        (418, DETAIL, ServiceRefused, "answered 418: Something is wrong"),
        (422, ITEMS, BatchTooLarge, "at most 64 items"),
        (413, b"<html>nginx", BatchTooLarge, "answered 413 with a web page, not JSON"),
        (413, {}, BatchTooLarge, "answered 413"),
        (408, {}, ServiceDown, "answered 408"),
        (409, {}, ServiceDown, "answered 409"),
        (500, DETAIL, TextsFailed, "answered 500: Something is wrong"),
        (503, {}, ServiceDown, "answered 503"),
        (520, b"<html>Cloudflare", ServiceDown, "answered 520 with a web page, not JSON"),
        (525, b"", ServiceDown, "answered 525"),
        (999, b"", ServiceDown, "answered 999"),
        (101, b"", ServiceDown, "answered 101"),
        (404, b"<html>Not found", ServiceRefused, "404 with a web page, not JSON"),
        (403, b"blocked", ServiceRefused, "403 with something that is not JSON"),
        (200, b"\n <!doctype html>", ServiceRefused, "200 with a web page, not JSON; check JINA"),
        (200, b"OK", TextsFailed, "200 with something that is not JSON"),
        (200, b"", TextsFailed, "200 without a vector for each text"),
        (204, b"", TextsFailed, "204 without a vector for each text"),
        (200, {"error": {"message": "No such thing"}}, ServiceRefused, "200: No such thing"),
        (200, {"error": "Something"}, ServiceRefused, "200: Something; check JINA_API_BASE"),
        (200, {"embeddings": [[1.0]]}, ServiceRefused, "200 without a vector for each text"),
        (200, [[1.0]], ServiceRefused, "200 without a vector for each text"),
        (501, DETAIL, ServiceRefused, "answered 501: Something is wrong; check JINA_API_BASE"),
        (505, {}, ServiceRefused, "answered 505"),
        (429, {"error": {"code": "insufficient_quota"}}, ServiceRefused, "no balance left"),
        (422, {"detail": {"message": "In an object"}}, TextsRefused, ": In an object;"),
        (422, {"detail": [{"msg": "a", "input": TEXTS}, {"msg": "b"}]}, TextsRefused, ": a; b;"),
        (422, {"error": {"message": "As OpenAI"}}, TextsRefused, ": As OpenAI;"),
        (422, {"error": "As Ollama"}, TextsRefused, ": As Ollama;"),
        (422, {"object": "error", "message": "As vLLM"}, TextsRefused, ": As vLLM;"),
        (422, {"detail": "a\nb\tc  d"}, TextsRefused, ": a b c d;"),
        (422, {"detail": "x" * 10_000}, TextsRefused, "xxx…"),
        (422, ECHO, TextsRefused, "answered 422; check"),
        (422, {"detail": f"not {TEXTS[0][4:20]}"}, TextsRefused, "answered 422; check"),
        (422, {"detail": f"not '{TEXTS[1]}'"}, TextsRefused, "answered 422; check"),
        (422, {"detail": f"not {TEXTS[2]!r}"}, TextsRefused, "answered 422; check"),
        (500, {"detail": f"a bad key: {KEY}"}, TextsFailed, "a bad key: ***"),
        (500, {"detail": "x" * 290 + KEY}, TextsFailed, "xxx***"),
    ],
)
def test_replies_that_are_errors(
    status: int, body: object, kind: type[ServiceError], words: str
) -> None:
    register_secret(KEY)
    error = reply_error(status, body)
    assert type(error) is kind
    assert words in str(error)


@pytest.mark.parametrize(
    ("status", "words", "limit"),
    [
        (422, ITEMS["detail"], 64),
        (413, "batch size 100 > maximum allowed batch size 32", 32),
        (400, "input length is larger than the largest allowed size 2048", 2048),
        (413, "length limit exceeded", None),
        (413, f"at most {'9' * 5000} items", None),
        (400, "batch size is invalid, it should not be larger than 10.: input.contents", 10),
        (400, "* BatchEmbedContentsRequest.requests: at most 20 requests can be in one batch", 20),
    ],
)
def test_how_many_texts_would_do(status: int, words: str, limit: int | None) -> None:
    error = reply_error(status, {"error": words})
    assert isinstance(error, BatchTooLarge)
    assert error.limit == limit


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [
        (None, None),
        ("7", 7),
        ("0", 0),
        ("1.5", 1.5),
        ("3600", 120),
        ("9" * 400, 120),
        ("Tue, 01 Jan 2019 00:00:00 GMT", 0),
        ("Fri, 01 Jan 2100 00:00:00 GMT", 120),
        ("Fri, 01 Jan 2100 00:00:00 -0000", 120),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("soon", None),
        ("", None),
        ("Mon, 99 Foo 99999 99:99:99 GMT", None),
        ("٣", None),
    ],
)
def test_how_long_to_wait(retry_after: str | None, seconds: float | None) -> None:
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    error = reply_error(429, orjson.loads(jina_api.token_limit(101_274, 100_000).body), headers)
    assert isinstance(error, RateLimited)
    assert error.kind == "rate"
    assert error.retry_after == seconds


@pytest.mark.parametrize(
    ("status", "body"),
    [
        # llama.cpp
        (
            500,
            {
                "error": {
                    "code": 500,
                    "message": "input (600 tokens) is too large to process. increase the physical"
                    " batch size (current batch size: 512)",
                    "type": "server_error",
                }
            },
        ),
        (400, {"error": "request (600 tokens) exceeds the available context size (512 tokens)"}),
        # Ollama
        (400, {"error": "the input length exceeds the context length"}),
        # infinity
        (422, {"detail": [{"msg": "String should have at most 122880 characters"}]}),
        # a server that answers everything with 200
        (200, {"error": {"message": "This model's maximum context length is 512 tokens"}}),
    ],
)
def test_a_text_that_is_too_long(status: int, body: object) -> None:
    assert type(reply_error(status, body)) is TextTooLong


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, {"error": "failed to encode response: json: unsupported value: NaN"}),  # Ollama
        (200, {"data": [{"index": 0, "embedding": None}]}),  # text-embeddings-inference
        (200, {"data": [{"index": 0, "embedding": [0.0] * 768}]}),
        (200, {"data": [{"index": 0, "embedding": [None] * 768}]}),
        (200, {"data": [{"index": 0, "embedding": [1e30] * 768}]}),
        (200, {"data": [{"index": 0, "embedding": [1e-30] * 768}]}),
        (200, {"data": [{"index": 0, "embedding": [1e-46] * 768}]}),
        (200, {"data": [{"index": 0, "embedding": [1e39] * 768}]}),
        (200, {"data": [{"index": 0, "embedding": "%%"}]}),
        (200, {"data": []}),
    ],
)
def test_a_failure_that_one_text_may_cause(status: int, body: object) -> None:
    error = reply_error(status, body, texts=["hibiscus"])
    assert type(error) is TextsFailed
    assert "host:1 answered" in error.message


def test_vectors_without_an_index_are_in_order() -> None:
    rows = [[float(number)] * 768 for number in range(1, 5)]
    items: list[dict[str, Any]] = [{"embedding": row} for row in rows]
    body = {"data": items}
    vectors = read_reply(Reply("host:1", 200, {}, orjson.dumps(body)), V2, TEXTS).vectors
    assert np.array_equal(vectors, np.array(rows, np.float32))
    items[1]["index"] = 1
    assert type(reply_error(200, body)) is TextsFailed


def test_nested_vectors_are_refused() -> None:
    rows = [{"index": number, "embedding": [[1.0] * 768]} for number in range(4)]
    error = reply_error(200, {"data": rows})
    assert type(error) is ServiceRefused
    assert "pooling" in str(error)


def test_part_of_the_key_is_masked_too() -> None:
    register_secret(KEY)
    for part in (KEY[:-1], KEY[1:], KEY[3:14], KEY[-8:], f"{KEY[:9]}…{KEY[-9:]}"):
        error = reply_error(401, {"detail": f"bad key '{part}'"})
        assert KEY[4:9] not in str(error)
        assert KEY[-8:] not in str(error)
        assert "bad key '***" in str(error)


def test_a_date_to_wait_for() -> None:
    moment = datetime.now(timezone.utc) + timedelta(seconds=60)
    error = reply_error(429, {}, {"Retry-After": format_datetime(moment, usegmt=True)})
    assert isinstance(error, RateLimited)
    assert error.retry_after == pytest.approx(60, abs=5)


@pytest.mark.parametrize(("remaining", "seconds"), [("99", 7), ("100", None), ("", None)])
def test_a_limit_with_less_left_than_a_request_costs(remaining: str, seconds: float | None) -> None:
    headers = {"X-RateLimit-Remaining-Tokens": remaining, "X-RateLimit-Reset-Tokens": "7"}
    assert seconds_to_reset(headers, tokens=100) == seconds


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"X-RateLimit-Remaining-Requests": "0"}, None),
        ({"X-RateLimit-Remaining-Requests": "0", "X-RateLimit-Reset-Requests": "7"}, 7),
        ({"X-RateLimit-Remaining-Requests": "5", "X-RateLimit-Reset-Requests": "7"}, None),
        ({"X-RateLimit-Remaining-Tokens": "0", "X-RateLimit-Reset-Tokens": "1m2.5s"}, 62.5),
        ({"X-RateLimit-Remaining-Tokens": "0", "X-RateLimit-Reset-Tokens": "250ms"}, 0.25),
        ({"X-RateLimit-Remaining-Tokens": "0", "X-RateLimit-Reset-Tokens": "6h"}, 120),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "4000000000"}, 120),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1700000000"}, 0),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "soon"}, None),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "9" * 400}, None),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "-1"}, None),
    ],
)
def test_limits_that_headers_state(headers: dict[str, str], seconds: float | None) -> None:
    assert seconds_to_reset(headers) == seconds
    error = reply_error(429, {}, headers)
    assert isinstance(error, RateLimited)
    assert error.retry_after == seconds
    error = reply_error(429, {}, {**headers, "Retry-After": "3"})
    assert isinstance(error, RateLimited)
    assert error.retry_after == 3


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"code": "RATE_CONCURRENCY_LIMIT_EXCEEDED"}, "concurrency"),
        ({"detail": {"code": "RATE_CONCURRENCY_LIMIT_EXCEEDED"}}, "concurrency"),
        ({"error": "Model is overloaded"}, "concurrency"),
        ({"code": "RATE_TOKEN_LIMIT_EXCEEDED", "detail": "Ask for more concurrency"}, "rate"),
        ({"code": "RATE_REQUEST_LIMIT_EXCEEDED"}, "rate"),
        (b"<html>error 1015", "rate"),
        ({}, "rate"),
    ],
)
def test_which_limit_is_reached(body: object, kind: str) -> None:
    error = reply_error(429, body)
    assert isinstance(error, RateLimited)
    assert error.kind == kind


@pytest.mark.parametrize(
    "usage",
    [
        b"null",
        b"[]",
        b'"7"',
        b"{}",
        b'{"total_tokens": "7"}',
        b'{"total_tokens": -1}',
        b'{"total_tokens": true}',
        b'{"total_tokens": 1.5}',
        b'{"total_tokens": 1180591620717411303424}',
        b'{"total_tokens": 18446744073709551615}',
    ],
)
def test_usage_that_says_nothing(usage: bytes) -> None:
    data = orjson.dumps([{"index": 0, "embedding": [1.0] * 768}])
    reply = Reply("host:1", 200, {}, b'{"data": %b, "usage": %b}' % (data, usage))
    assert read_reply(reply, V2, ["a"]).tokens == 0


def test_any_reply_is_vectors_or_an_error_of_ours() -> None:
    dice = random.Random(1)
    right = orjson.loads(jina_api.answer(jina_api.Order(V2, TEXTS, 768, True, 9)).body)
    for _ in range(3000):
        body = random_body(dice, right)
        status = dice.choice([200, 200, 200, dice.randint(100, 999)])
        headers = {"Retry-After": random_text(dice), "Location": random_text(dice)}
        reply = Reply("host:1", status, dict(dice.sample(list(headers.items()), 1)), body)
        outcome = outcome_of(reply)
        if isinstance(outcome, Embeddings):
            assert outcome.vectors.shape == (4, 768)
            assert np.isfinite(outcome.vectors).all()
        else:
            assert "\n" not in str(outcome)
            assert len(str(outcome)) < 1000


def outcome_of(reply: Reply) -> Embeddings | ServiceError:
    try:
        return read_reply(reply, V2, TEXTS)
    except ServiceError as error:
        return error


@pytest.mark.parametrize("body", [b"[" * 5000, b"[" * 1000 + b"]" * 1000, b'{"data":' * 1000])
@pytest.mark.parametrize("status", [200, 422])
def test_nesting(status: int, body: bytes) -> None:
    reply_error(status, body)
    nested: Any = "deep"
    for name in ("error", "detail", "message") * 30:
        nested = [{name: nested}]
    reply_error(status, nested)
    reply_error(status, {"data": [{"index": 0, "embedding": nested}]}, texts=["hibiscus"])


def random_body(dice: random.Random, right: dict[str, Any]) -> bytes:
    kind = dice.randrange(3)
    if kind == 0:
        return dice.randbytes(dice.randint(0, 200))
    if kind == 1:
        return orjson.dumps(random_json(dice, 4))
    payload = orjson.loads(orjson.dumps(right))
    spoil(dice, payload)
    return orjson.dumps(payload)


def spoil(dice: random.Random, payload: dict[str, Any]) -> None:
    place = dice.choice(["payload", "item", "number"])
    item = dice.choice(payload["data"])
    if place == "payload":
        payload[dice.choice(["data", "usage"])] = random_json(dice, 3)
    elif place == "item":
        item[dice.choice(["index", "embedding"])] = random_json(dice, 3)
    else:
        item["embedding"] = [0.5] * 768
        item["embedding"][dice.randrange(768)] = random_json(dice, 1)


def random_json(dice: random.Random, depth: int) -> object:
    names = ["data", "detail", "error", "message", "msg", "code", "index", "embedding", "usage"]
    leaves = [None, True, 0, 1, -1, 2**63, -(2**63), 1.5, 1e308, 1e-320, "", "AAAA", "%%"]
    kind = dice.randrange(3) if depth else 2
    if kind == 0:
        return [random_json(dice, depth - 1) for _ in range(dice.randint(0, 5))]
    if kind == 1:
        return {name: random_json(dice, depth - 1) for name in dice.sample(names, 4)}
    return dice.choice([*leaves, random_text(dice)])


def random_text(dice: random.Random) -> str:
    alphabet = "http://[]@:?#%0aAZ9=+ ,-\r\n\t\x00é€١"
    return "".join(dice.choices(alphabet, k=dice.randint(0, 40)))
