"""The vectors of queries, with the patience of somebody who waits for them."""

from __future__ import annotations

import time
from queue import Empty, SimpleQueue
from threading import TIMEOUT_MAX, Thread
from typing import TYPE_CHECKING

from jtv_cli.batching import batched_by_weight
from jtv_cli.errors import BatchTooLarge, ServiceDown, ServiceError, TextTooLong
from jtv_cli.pipeline.batches import estimated_tokens
from jtv_cli.pipeline.retry import Attempts, RetryPolicy
from jtv_cli.records import Embeddings, Purpose

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from jtv_cli.embedders import Embedder
    from jtv_cli.records import Answer, Hit, Vectors

# Queries that share one look at the table; their hits are held together.
_SEARCHED_AT_ONCE = 64


def embed_query(query: str, embedder: Embedder, *, max_wait: float) -> Vectors:
    """Return the query's vector, (dimensions,) float32.

    It is tried again for up to `max_wait` seconds, 0 being once.

    Raises the embedder's errors, and ServiceDown where the time is up.
    """
    vector: Vectors = embed_queries([query], embedder, max_wait=max_wait)[0]
    return vector


def embed_queries(queries: Sequence[str], embedder: Embedder, *, max_wait: float) -> Vectors:
    """Return the vectors, (n, dimensions) float32, of queries that are one batch.

    It is tried again as for one; a batch that is too large for the service is halved.
    """
    if embedder.model.is_offline:
        return embedder.embed(queries, Purpose.QUERY).vectors
    retry_policy, attempts = RetryPolicy(max_wait), Attempts(time.monotonic())
    while True:
        left = attempts.began + max_wait - time.monotonic() if max_wait else None
        try:
            return _within(left, queries, embedder).vectors
        except BatchTooLarge:
            if len(queries) == 1:
                raise
            return _in_halves(queries, embedder, max_wait)
        except TextTooLong as error:
            raise _too_long(queries, embedder) from error
        except ServiceError as error:
            pause = retry_policy.count_failure(error, attempts, time.monotonic())
            if pause is None:
                raise
        time.sleep(pause)


def answers(
    queries: Iterable[Sequence[str]],
    embedder: Embedder,
    search: Callable[[Vectors], Sequence[Sequence[Hit]]],
    *,
    max_wait: float,
) -> Iterator[list[Answer]]:
    """Yield queries with what is found for each, as many together as were searched together.

    `queries` has as many at a time as could be read without waiting; they are embedded in
    batches within the embedder's limit. `search` takes (m, dimensions) vectors.

    Raises as `embed_queries` does.
    """
    limit = embedder.batch_limit
    for texts in queries:
        for batch in batched_by_weight(texts, estimated_tokens, limit.tokens, limit.texts):
            vectors = embed_queries(batch, embedder, max_wait=max_wait)
            for start in range(0, len(batch), _SEARCHED_AT_ONCE):
                part = slice(start, start + _SEARCHED_AT_ONCE)
                yield list(zip(batch[part], search(vectors[part]), strict=True))


def _too_long(queries: Sequence[str], embedder: Embedder) -> TextTooLong:
    """Return the error in words for who searches: a service's own are for who embeds."""
    which = "the query is" if len(queries) == 1 else "one of these queries is"
    name, most = embedder.model.name, embedder.model.max_tokens
    message = f"{which} too long for model {name}, which takes {most:,} tokens"
    return TextTooLong(message, hint="shorten it")


def _in_halves(queries: Sequence[str], embedder: Embedder, max_wait: float) -> Vectors:
    import numpy as np

    middle = len(queries) // 2
    halves = (queries[:middle], queries[middle:])
    return np.concatenate([embed_queries(half, embedder, max_wait=max_wait) for half in halves])


def _within(seconds: float | None, queries: Sequence[str], embedder: Embedder) -> Embeddings:
    """Embed in a thread that is no longer waited for when its time is up."""
    answers: SimpleQueue[Embeddings | BaseException] = SimpleQueue()

    def ask() -> None:
        try:
            answers.put(embedder.embed(queries, Purpose.QUERY))
        except BaseException as error:
            answers.put(error)

    Thread(target=ask, daemon=True).start()
    left = None if seconds is None else min(max(seconds, 0.0), TIMEOUT_MAX)
    try:
        answer = answers.get(timeout=left)
    except Empty:
        message = "the embeddings service did not answer in time"
        raise ServiceDown(message, hint="run the same command again later") from None
    if isinstance(answer, BaseException):
        raise answer
    return answer
