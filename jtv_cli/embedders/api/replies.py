"""Read a reply of an embeddings API: vectors, or an error with a hint."""

from __future__ import annotations

import re
import time
from base64 import b64decode
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.parse import urlsplit

import numpy as np
import orjson

from jtv_cli.embedders.models import JINA_KEYS_PAGE
from jtv_cli.errors import (
    BatchTooLarge,
    RateLimited,
    ServiceDown,
    ServiceError,
    ServiceRefused,
    TextsFailed,
    TextsRefused,
    TextTooLong,
    mask_secrets,
)
from jtv_cli.records import Embeddings, RerankScores

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from jtv_cli.embedders import Model
    from jtv_cli.records import Vectors

AGAIN = "run the same command again later"

LONGEST_WAIT = 120.0
"""Seconds of `Retry-After` that are believed: Jina's limits are limits per minute."""

# Characters of a service's own message that are shown.
_DETAIL = 300
# A run of so many characters of a text in a service's message is a quotation.
_QUOTATION = 12

# Lengths of vectors whose squares float32 can add up, with room to spare.
_SHORTEST, _LONGEST = 1e-15, 1e15
# More than any request costs; a larger count is ignored.
_MOST_TOKENS = 1 << 40


class Reply(NamedTuple):
    """A reply of the service at `place` (host and port), whatever its status."""

    place: str
    status: int
    headers: Mapping[str, str]
    body: bytes


def largest_reply(texts: int, dimensions: int) -> int:
    """Return the most bytes that a reply with vectors for so many texts can have.

    A number takes at most 40 bytes, as JSON on an indented line of its own. There is room
    for vectors longer than expected, so that they are refused for their length.
    """
    return (1 << 20) + texts * (1024 + 40 * max(dimensions, 8192))


def read_reply(reply: Reply, model: Model, texts: Sequence[str]) -> Embeddings:
    """Return the vectors that the reply has for the texts, in their order.

    They are (n, dimensions) float32 in C order, finite, and of a length that is neither
    zero nor out of float32's range; `tokens` is 0 where the service does not say.

    Raises BatchTooLarge, TextTooLong, RateLimited, ServiceDown or ServiceRefused, or one
    of their subclasses. No message has the texts in it, nor anything kept secret.
    """
    place = "JINA_API_BASE"
    payload, items, answer = _read(reply, texts, "data", "a vector for each text", place)
    try:
        rows = dict(_rows(items))
    except (KeyError, TypeError, ValueError):
        rows = {}
    if not _are_complete(rows, items, texts):
        raise TextsFailed(answer, hint=AGAIN)
    return Embeddings(_vectors(rows, model, reply.place), _tokens(payload))


def read_scores(reply: Reply, query: str, documents: Sequence[str]) -> RerankScores:
    """Return the relevance that a reply of a rerank API has for each of the documents.

    Raises RateLimited, ServiceDown or ServiceRefused, or one of their subclasses. No message
    has the query or the documents in it, nor anything kept secret.
    """
    place = "the base URL of the rerank API"
    payload, results, answer = _read(
        reply, [query, *documents], "results", "a score for each document", place
    )
    try:
        found = {_index(each["index"]): float(each["relevance_score"]) for each in results}
    except (KeyError, TypeError, ValueError):
        found = {}
    if not (_are_complete(found, results, documents) and all(map(isfinite, found.values()))):
        raise ServiceDown(answer, hint=AGAIN)
    return RerankScores([found[number] for number in range(len(documents))], _tokens(payload))


def _read(
    reply: Reply, texts: Sequence[str], name: str, wanted: str, place: str
) -> tuple[Mapping[str, Any], Sequence[Any], str]:
    """Return what a reply says, its list of that name, and a clause that names the answer.

    `place` is where the user has set the address of the service.

    Raises ServiceError if there is no such list.
    """
    try:
        payload = orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        payload = None
    if not 200 <= reply.status < 300:
        raise _refusal(reply, payload, texts)
    answer = _answer(reply, payload, texts, otherwise=f"without {wanted}")
    if _is_page(reply):
        raise ServiceRefused(answer, hint=f"check {place}")
    if payload is None:
        # Cut short, or a NaN among the numbers: servers write it, though JSON has none.
        raise TextsFailed(answer, hint=AGAIN)
    items = payload.get(name) if isinstance(payload, dict) else None
    if not isinstance(items, list):
        hint = f"check {place} and the model's name"
        raise _oversize(payload, answer) or ServiceRefused(answer, hint=hint)
    return payload, items, answer


def _are_complete(
    found: Mapping[int, object], items: Sequence[object], texts: Sequence[str]
) -> bool:
    return len(items) == len(texts) and found.keys() == set(range(len(texts)))


def _rows(items: Sequence[Any]) -> Iterator[tuple[int, Vectors]]:
    """Yield the index and the vector of each item; items without an index are in order."""
    is_indexed = any("index" in item for item in items)
    for number, item in enumerate(items):
        yield _index(item["index"]) if is_indexed else number, _row(item["embedding"])


def _index(value: object) -> int:
    if type(value) is not int:
        raise TypeError
    return value


def _row(embedding: object) -> Vectors:
    """Return one embedding, base64 of little-endian float32 or a list of numbers.

    Raises ValueError for anything else.
    """
    if isinstance(embedding, str):
        return np.frombuffer(b64decode(embedding), dtype="<f4")
    if isinstance(embedding, list) and embedding and isinstance(embedding[0], list):
        raise ServiceRefused(
            "the service answered with nested vectors, such as one for each token",
            hint="set up the server to pool them (llama.cpp: --pooling mean)",
        )
    row = np.asarray(embedding)
    if row.ndim != 1 or row.dtype.kind not in "fiu":
        raise ValueError
    with np.errstate(over="ignore"):
        return row.astype(np.float32)


def _vectors(rows: Mapping[int, Vectors], model: Model, place: str) -> Vectors:
    size, *others = {len(row) for row in rows.values()}
    if others or not size:
        raise TextsFailed(f"{place} answered with vectors of unequal length or none", hint=AGAIN)
    if model.dimensions and size != model.dimensions:
        raise ServiceRefused(
            f"{place} answered with vectors of {size} dimensions, "
            f"but those of {model.name} have {model.dimensions}",
            hint=f"check JINA_API_BASE, and that {model.name} is served there",
        )
    vectors = np.empty((len(rows), size), dtype=np.float32)
    for index, row in rows.items():
        vectors[index] = row
    if not np.isfinite(vectors).all():
        raise TextsFailed(f"{place} answered with vectors that are not finite", hint=AGAIN)
    if not vectors.any(axis=1).all():
        raise TextsFailed(f"{place} answered with a vector that is all zero", hint=AGAIN)
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    if lengths.min() < _SHORTEST or lengths.max() > _LONGEST:
        message = f"{place} answered with a vector of which the length is out of range"
        raise TextsFailed(message, hint=AGAIN)
    return vectors


def _tokens(payload: Mapping[str, Any]) -> int:
    usage = payload.get("usage")
    tokens = usage.get("total_tokens") if isinstance(usage, dict) else None
    return tokens if type(tokens) is int and 0 < tokens <= _MOST_TOKENS else 0


_BUSY = re.compile("concurren|overloaded", re.IGNORECASE)
# Beside Jina's words: those of text-embeddings-inference, vLLM, Ollama, llama.cpp and infinity.
_TOO_LONG = re.compile(
    "INPUT_TOKEN_LIMIT_EXCEEDED|maximum of [0-9]+ tokens|less than [0-9]+ (tokens|characters)"
    "|maximum context length|exceeds the (available )?context (length|size)"
    "|is too large to process|should have at most [0-9]+ characters",
    re.IGNORECASE,
)
_FEWER = re.compile(
    "(at most|no more than|up to|a maximum of) (?P<items>[0-9]{1,7})"
    " (items|inputs|texts|requests|documents|strings)"
    "|((maximum allowed batch|largest allowed) size|should not be larger than)"
    " (?P<size>[0-9]{1,7})",
    re.IGNORECASE,
)
_TOO_MUCH = {400, 413, 422}
# Statuses that a server may answer because of one text.
_BY_TEXT = {400, 422, 500}
# Not implemented; HTTP version not supported.
_NEVER = {501, 505}
_PASSING = {408, 409, 425}

_TOP_UP = (
    "the account has no balance left",
    f"top up at {JINA_KEYS_PAGE}, then run the same command again",
)
_ADDRESS = ("no such address or model", "check JINA_API_BASE and the model's name")
# What is wrong, and what to do about it.
_REFUSALS = {
    401: (
        "the API key is missing or not accepted",
        f"check JINA_API_KEY; Jina AI's keys are at {JINA_KEYS_PAGE}",
    ),
    402: _TOP_UP,
    403: ("the API key gives no access", f"check JINA_API_KEY and its balance at {JINA_KEYS_PAGE}"),
    404: _ADDRESS,
    405: _ADDRESS,
    407: ("the proxy needs a password", "check HTTP_PROXY"),
}
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_MOMENTS = 1e9  # a larger number is a moment, not a duration
_FEWER_HINT = "send fewer texts at a time"
_REFUSAL = ("the request was refused", "check the model's name and JINA_API_BASE")


def _refusal(reply: Reply, payload: object, texts: Sequence[str]) -> ServiceError:
    """Return the error for a reply whose status is not 2xx."""
    status, code, said = reply.status, _code(payload), _message(payload)
    answer = _answer(reply, payload, texts)
    if 300 <= status < 400:
        hint = "set JINA_API_BASE to the URL of the API"
        return ServiceRefused(
            f"{answer}, a redirect{_target(reply)}, which is not followed", hint=hint
        )
    if status == 429 and code == "insufficient_quota":  # OpenAI's, which no wait ends
        return ServiceRefused(f"{_TOP_UP[0]}: {answer}", hint="top up the account")
    if status == 429:
        return _rate_limited(answer, reply, code or said)
    if status in _TOO_MUCH | _BY_TEXT and (oversize := _oversize(payload, answer)):
        return oversize
    if status == 413:
        return BatchTooLarge(f"too much for one request: {answer}", hint=_FEWER_HINT)
    if status in _NEVER:
        return ServiceRefused(answer, hint="check JINA_API_BASE")
    if status == 500:
        return TextsFailed(answer, retry_after=_retry_after(reply), hint=AGAIN)
    if status > 500 or status < 200 or status in _PASSING:
        return ServiceDown(answer, retry_after=_retry_after(reply), hint=AGAIN)
    what, hint = _REFUSALS.get(status, _REFUSAL)
    if code == "AUTHZ_INSUFFICIENT_BALANCE":
        what, hint = _TOP_UP
    kind = TextsRefused if status in _BY_TEXT else ServiceRefused
    return kind(f"{what}: {answer}", hint=hint)


def _oversize(payload: object, answer: str) -> ServiceError | None:
    """Return TextTooLong or BatchTooLarge if the reply says that a limit was exceeded."""
    said = f"{_code(payload)} {_message(payload)}"
    if _TOO_LONG.search(said):
        return TextTooLong(f"a text is too long for the model: {answer}", hint="split it")
    if fewer := _FEWER.search(said):
        limit = int(fewer["items"] or fewer["size"])
        return BatchTooLarge(f"too much for one request: {answer}", limit=limit, hint=_FEWER_HINT)
    return None


def _rate_limited(answer: str, reply: Reply, said: str) -> RateLimited:
    kind: Literal["concurrency", "rate"] = "concurrency" if _BUSY.search(said) else "rate"
    wait = _retry_after(reply)
    if wait is None:
        wait = seconds_to_reset(reply.headers)
    hint = "run the same command again in a minute"
    return RateLimited(f"a limit is reached: {answer}", kind=kind, retry_after=wait, hint=hint)


def seconds_to_reset(headers: Mapping[str, str], tokens: int = 0) -> float | None:
    """Return the seconds until an exhausted limit is reset, None if the headers state none.

    A service may state its limits on requests and on tokens as `X-RateLimit-Remaining-…` and
    `X-RateLimit-Reset-…`: a number of seconds, a moment in seconds since 1970, or a duration
    such as 6m0s. A limit is also exhausted if fewer tokens remain than this request cost,
    because the next one is likely to cost as much.
    """
    waits = [
        wait
        for kind, needed in (("", 1), ("-Requests", 1), ("-Tokens", max(tokens, 1)))
        if re.fullmatch("[0-9]{1,18}", left := headers.get(f"X-RateLimit-Remaining{kind}", ""))
        and int(left) < needed
        and (wait := _duration(headers.get(f"X-RateLimit-Reset{kind}", ""))) is not None
    ]
    return min(max(waits), LONGEST_WAIT) if waits else None


def _duration(text: str) -> float | None:
    if re.fullmatch(r"[0-9]{1,12}(\.[0-9]*)?", text):
        seconds = float(text)
        return max(seconds - time.time(), 0.0) if seconds > _MOMENTS else seconds
    if not re.fullmatch(r"([0-9]{1,12}(\.[0-9]*)?(h|ms|m|s))+", text):
        return None
    parts = re.findall(r"([0-9.]+)(h|ms|m|s)", text)
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def _retry_after(reply: Reply) -> float | None:
    """Return the seconds to wait, which are sent as a number or a date; None without either."""
    retry_after = reply.headers.get("Retry-After", "")
    if re.fullmatch(r"[0-9]+(\.[0-9]*)?", retry_after):
        wait = float(retry_after)
    else:
        try:
            until = parsedate_to_datetime(retry_after)
            if until.tzinfo is None:
                until = until.replace(tzinfo=timezone.utc)
            wait = (until - datetime.now(timezone.utc)).total_seconds()
        except (IndexError, OverflowError, TypeError, ValueError):
            return None
    return min(max(wait, 0.0), LONGEST_WAIT)


def _answer(reply: Reply, payload: object, texts: Sequence[str], *, otherwise: str = "") -> str:
    """Return a clause that names the service and its answer; `otherwise` if it has no message."""
    answered = f"{reply.place} answered {reply.status}"
    if _is_page(reply):
        return f"{answered} with a web page, not JSON"
    if payload is None and reply.body:
        return f"{answered} with something that is not JSON"
    # Other words follow its last sentence.
    said = mask_secrets(" ".join(_message(payload).split())).rstrip(".")
    said = said if len(said) <= _DETAIL else f"{said[:_DETAIL]}…"
    if said and not _quotes(said, texts):
        return f"{answered}: {said}"
    return f"{answered} {otherwise}".rstrip()


def _is_page(reply: Reply) -> bool:
    content_type = reply.headers.get("Content-Type", "").lower()
    return content_type.startswith("text/html") or reply.body.lstrip().startswith(b"<")


def _quotes(said: str, texts: Sequence[str]) -> bool:
    """Return whether a message of the service quotes one of the texts."""
    everything = "\n".join(texts)
    pieces = (said[start : start + _QUOTATION] for start in range(len(said) - _QUOTATION + 1))
    return any(piece in everything for piece in pieces) or any(
        text in said for text in texts if 3 < len(text) < _QUOTATION
    )


def _target(reply: Reply) -> str:
    """Return the target of a redirect, without query, user and fragment."""
    try:
        parts = urlsplit(reply.headers.get("Location", ""))
        host = f"{parts.hostname}:{parts.port}" if parts.port else parts.hostname
    except ValueError:
        return ""
    return mask_secrets(f" to {parts.scheme}://{host}{parts.path}")[:_DETAIL] if host else ""


def _code(payload: object) -> str:
    """Return the code of an error, "" if it has none."""
    if not isinstance(payload, dict):
        return ""
    holders = (payload, payload.get("detail"), payload.get("error"))
    codes = (holder.get("code") for holder in holders if isinstance(holder, dict))
    return next((code for code in codes if isinstance(code, str)), "")


def _message(part: object, depth: int = 4) -> str:
    """Return the message of an error: `detail` (Jina AI, FastAPI) or `error` (OpenAI).

    Other fields are ignored: `input` has the texts. `depth` bounds the nesting.
    """
    if isinstance(part, str):
        return part
    if isinstance(part, list) and depth:
        return "; ".join(filter(None, (_message(item, depth - 1) for item in part[:3])))
    if isinstance(part, dict) and depth:
        names = ("detail", "error", "message", "msg")
        said = (_message(part.get(name), depth - 1) for name in names)
        return next(filter(None, said), "")
    return ""
