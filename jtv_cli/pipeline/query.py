"""A query's vector, with the patience of somebody who waits for it."""

from __future__ import annotations

import time
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING

from jtv_cli.errors import ServiceDown, ServiceError
from jtv_cli.pipeline.patience import Patience, Trials
from jtv_cli.records import Embeddings, Purpose

if TYPE_CHECKING:
    from jtv_cli.embedders import Embedder
    from jtv_cli.records import Vectors

QUERY_MAX_WAIT = 15.0
"""Seconds to wait for a query's vector, unless told otherwise."""


def embed_query(query: str, embedder: Embedder, *, max_wait: float = QUERY_MAX_WAIT) -> Vectors:
    """Return the query's vector, (dimensions,) float32.

    It is tried again for up to `max_wait` seconds, 0 being once.

    Raises the embedder's errors, and ServiceDown where the time is up.
    """
    if embedder.model.is_offline:
        return _first(embedder.embed([query], Purpose.QUERY))
    patience, trials = Patience(max_wait), Trials(time.monotonic())
    while True:
        left = trials.began + max_wait - time.monotonic() if max_wait else None
        try:
            return _first(_within(left, query, embedder))
        except ServiceError as error:
            pause = patience.pause(error, trials, time.monotonic())
            if pause is None:
                raise
        time.sleep(pause)


def _within(seconds: float | None, query: str, embedder: Embedder) -> Embeddings:
    """Embed in a thread that is left alone when its time is up."""
    answers: SimpleQueue[Embeddings | BaseException] = SimpleQueue()

    def ask() -> None:
        try:
            answers.put(embedder.embed([query], Purpose.QUERY))
        except BaseException as error:
            answers.put(error)

    Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=seconds)
    except Empty:
        message = "the embeddings service did not answer in time"
        raise ServiceDown(message, hint="run the same command again later") from None
    if isinstance(answer, BaseException):
        raise answer
    return answer


def _first(embeddings: Embeddings) -> Vectors:
    vector: Vectors = embeddings.vectors[0]
    return vector
