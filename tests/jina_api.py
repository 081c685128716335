"""What Jina AI's API makes of a request, as far as is known, and stricter where that helps.

Stricter: a field that the model does not know is refused, where the real API ignores it.
Pure functions; `jina_server` puts them on a socket.
"""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from jtv_cli.embedders.models import MODELS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from jtv_cli.embedders import Model
    from jtv_cli.records import Vectors

JSON = {"Content-Type": "application/json"}
RETRIEVAL = frozenset({"retrieval.query", "retrieval.passage"})
CODE = frozenset(
    f"{task}.{side}"
    for task in ("nl2code", "qa", "code2code", "code2nl", "code2completion")
    for side in ("query", "passage")
)


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply as it goes out, or should: the last four fields are for faults.

    `sent` is how many bytes of the body go out before the connection is closed,
    `delay` the seconds before anything goes out, `raw` what goes out instead of
    an HTTP reply, and `pieces` what follows that, one after the other, perhaps for ever.
    """

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=lambda: JSON)
    sent: int | None = None
    delay: float = 0.0
    raw: bytes | None = None
    pieces: Iterable[bytes] = ()


@dataclass(frozen=True, slots=True)
class Family:
    """The fields and tasks that the models of a name know."""

    prefix: str
    fields: frozenset[str]
    tasks: frozenset[str] = frozenset()


COMMON = frozenset({"model", "input", "embedding_type", "truncate"})
FAMILIES = (
    Family("jina-embeddings-v2-", COMMON | {"normalized"}),
    Family(
        "jina-embeddings-v3",
        COMMON | {"task", "dimensions", "normalized", "late_chunking"},
        RETRIEVAL | {"text-matching", "classification", "separation"},
    ),
    Family(
        "jina-embeddings-v4",
        COMMON | {"task", "dimensions", "late_chunking"},
        RETRIEVAL | {"text-matching", "code.query", "code.passage"},
    ),
    Family(
        "jina-embeddings-v5-",
        COMMON | {"task", "dimensions", "normalized"},
        RETRIEVAL | {"text-matching", "clustering", "classification"},
    ),
    Family("jina-clip-v2", COMMON | {"dimensions", "normalized"}),
    Family("jina-code-embeddings-", COMMON | {"task", "dimensions"}, CODE),
)


class RefusedError(Exception):
    """The request is wrong; `reply` says how."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply


@dataclass(frozen=True, slots=True)
class Order:
    """A valid request: what to embed, and how to answer."""

    model: Model
    texts: list[str]
    dimensions: int
    as_base64: bool
    tokens: int


def error(status: int, detail: object, code: str | None = None) -> Reply:
    body = {"detail": detail, "request_id": "stand-in"} | ({"code": code} if code else {})
    return Reply(status, orjson.dumps(body))


def invalid(name: str, message: str, value: object) -> Reply:
    """A validation error; like the real one, it echoes what was sent."""
    problem = {"field": name, "message": message, "type": "value_error", "input": value}
    detail = f"[RID: stand-in] Validation error: {name}: {message}.. Check the API documentation"
    body = {"detail": detail, "request_id": "stand-in", "errors": [problem]}
    return Reply(422, orjson.dumps(body))


def token_limit(used: int, limit: int) -> Reply:
    detail = f"Token rate limit exceeded: {used:,}/{limit:,} tokens per minute."
    return error(429, detail, "RATE_TOKEN_LIMIT_EXCEEDED")


def request_limit(used: int, limit: int) -> Reply:
    detail = f"Request rate limit exceeded: {used:,}/{limit:,} requests per minute."
    return error(429, detail, "RATE_REQUEST_LIMIT_EXCEEDED")


def concurrency_limit(limit: int) -> Reply:
    detail = f"Concurrency limit exceeded: {limit}/{limit} concurrent requests."
    return error(429, detail, "RATE_CONCURRENCY_LIMIT_EXCEEDED")


def no_balance() -> Reply:
    return error(403, "Insufficient account balance.", "AUTHZ_INSUFFICIENT_BALANCE")


def too_long(model: Model) -> Reply:
    # The real API's number has the two tokens in it that it puts around a text.
    message = (
        f"Input text exceeds the model's maximum of {model.max_tokens + 2} tokens. "
        "Use 'truncate: true' to cut it"
    )
    code = "INPUT_TOKEN_LIMIT_EXCEEDED"
    return error(400, {"message": message, "request_id": "stand-in", "code": code})


def count_tokens(text: str) -> int:
    """Four characters to a token, as English has it."""
    return 1 + len(text) // 4


def read_order(body: object, max_items: int) -> Order:
    """Return what a request asks for; raises RefusedError where it is wrong."""
    if not isinstance(body, dict):
        raise RefusedError(invalid("body", "not a JSON object", body))
    model, family = _model(body.get("model"))
    for name in body.keys() - family.fields:
        raise RefusedError(invalid(name, f"{model.name} has no such field", body[name]))
    _check_options(body, family, model)
    texts = _texts(body.get("input"), max_items)
    tokens = [count_tokens(text) for text in texts]
    if max(tokens) > model.max_tokens and not body.get("truncate"):
        raise RefusedError(too_long(model))
    dimensions = body.get("dimensions", model.dimensions)
    return Order(model, texts, dimensions, body.get("embedding_type") == "base64", sum(tokens))


def _model(name: object) -> tuple[Model, Family]:
    model = MODELS.get(name) if isinstance(name, str) else None
    if model is None or model.provider != "api":
        raise RefusedError(invalid("model", "there is no such model", name))
    return model, next(family for family in FAMILIES if model.name.startswith(family.prefix))


def _check_options(body: Mapping[str, Any], family: Family, model: Model) -> None:
    embedding_type = body.get("embedding_type", "float")
    if isinstance(embedding_type, list):
        raise RefusedError(error(500, "Internal Server Error"))
    if embedding_type not in ("float", "base64"):
        raise RefusedError(invalid("embedding_type", "not float or base64", embedding_type))
    if "task" in body and body["task"] not in family.tasks:
        raise RefusedError(invalid("task", f"not a task of {model.name}", body["task"]))
    for name in ("normalized", "late_chunking", "truncate"):
        if type(body.get(name, True)) is not bool:
            raise RefusedError(invalid(name, "not a boolean", body[name]))
    dimensions = body.get("dimensions", model.dimensions)
    if type(dimensions) is not int or not 1 <= dimensions <= model.dimensions:
        raise RefusedError(invalid("dimensions", f"not 1 to {model.dimensions}", dimensions))


def _texts(texts: object, max_items: int) -> list[str]:
    if not isinstance(texts, list) or not texts:
        raise RefusedError(invalid("input", "not a list with at least 1 item", texts))
    if len(texts) > max_items:
        message = f"Each input list can contain at most {max_items} items"
        raise RefusedError(invalid("input", message, texts))
    for index, text in enumerate(texts):
        if not isinstance(text, str) or not text:
            raise RefusedError(invalid(f"input.{index}", "not a string with content", text))
    return texts


def answer(order: Order) -> Reply:
    """Return the reply to a valid request, its items out of order."""
    vectors = embed(order.model, order.texts)[:, : order.dimensions]
    embeddings: list[Any] = (
        [b64encode(row).decode() for row in np.ascontiguousarray(vectors, "<f4")]
        if order.as_base64
        else vectors.tolist()
    )
    data = [
        {"object": "embedding", "index": index, "embedding": embedding}
        for index, embedding in enumerate(embeddings)
    ]
    # Odd indices first: not the order that was asked for, and the same every time.
    data = data[1::2] + data[::2]
    usage = {"total_tokens": order.tokens, "prompt_tokens": order.tokens}
    reply = {"model": order.model.name, "object": "list", "usage": usage, "data": data}
    return Reply(200, orjson.dumps(reply))


def embed(model: Model, texts: Sequence[str]) -> Vectors:
    """Return vectors (n, dimensions) in which texts with words in common are near.

    Each word adds 1 or -1 in sixteen places that its hash chooses, which makes two
    words as good as orthogonal; models have different spaces.
    """
    words = [re.findall(r"\w+", text.lower()) or [text] for text in texts]
    salt = model.name.encode()
    digests = b"".join(
        sha256(salt + word.encode()).digest() for of_text in words for word in of_text
    )
    draws = np.frombuffer(digests, "<u2").astype(np.int64).reshape(-1, 16)
    rows = np.repeat(np.arange(len(texts)), [len(of_text) for of_text in words])
    places = rows[:, None] * model.dimensions + (draws >> 1) % model.dimensions
    sums = np.bincount(
        places.ravel(),
        weights=1.0 - 2.0 * (draws & 1).ravel(),
        minlength=len(texts) * model.dimensions,
    ).reshape(len(texts), model.dimensions)
    sums[~sums.any(axis=1), 0] = 1.0
    vectors: Vectors = (sums / np.linalg.norm(sums, axis=1, keepdims=True)).astype(np.float32)
    return vectors


@dataclass(frozen=True, slots=True)
class RerankOrder:
    """A valid request to rerank."""

    query: str
    texts: list[str]
    top_n: int
    tokens: int


RERANK_FIELDS = {"model", "query", "documents", "top_n", "return_documents"}
MOST_RERANKED = 100


def read_rerank_order(body: object) -> RerankOrder:
    """Return what a request to rerank asks for; raises RefusedError where it is wrong."""
    if not isinstance(body, dict):
        raise RefusedError(invalid("body", "not a JSON object", body))
    for name in body.keys() - RERANK_FIELDS:
        raise RefusedError(invalid(name, "no such field", body[name]))
    if not str(body.get("model")).startswith("jina-reranker-"):
        raise RefusedError(invalid("model", "there is no such model", body.get("model")))
    query, texts = body.get("query"), _texts(body.get("documents"), MOST_RERANKED)
    if not isinstance(query, str) or not query:
        raise RefusedError(invalid("query", "not a string with content", query))
    top_n = body.get("top_n", len(texts))
    tokens = sum(count_tokens(query) + count_tokens(text) for text in texts)
    return RerankOrder(query, texts, min(top_n, len(texts)), tokens)


def rerank(order: RerankOrder) -> Reply:
    """Return the documents by the share of their words that the query has, best first."""
    wanted = set(re.findall(r"\w+", order.query.lower()))
    words = [re.findall(r"\w+", text.lower()) for text in order.texts]
    scores = [sum(word in wanted for word in some) / (1 + len(some)) for some in words]
    best = sorted(range(len(scores)), key=lambda number: -scores[number])[: order.top_n]
    results = [{"index": number, "relevance_score": scores[number]} for number in best]
    usage = {"total_tokens": order.tokens}
    return Reply(200, orjson.dumps({"results": results, "usage": usage}))
