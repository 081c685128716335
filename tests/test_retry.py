"""The retry policy, with no clock but the one given, and the retries of a query."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

from jtv_cli.embedders import BatchLimit
from jtv_cli.embedders.models import TUTORIAL_MODEL, find_model
from jtv_cli.errors import (
    RateLimited,
    ServiceDown,
    ServiceError,
    ServiceRefused,
    TextsFailed,
    TextsRefused,
)
from jtv_cli.pipeline.retry import Attempts, RetryPolicy
from jtv_cli.pipeline.search import embed_query
from jtv_cli.records import Embeddings, Purpose

if TYPE_CHECKING:
    from collections.abc import Sequence

DOWN = ServiceDown("down")
TOKENS = RateLimited("tokens", kind="rate")
AT_ONCE = RateLimited("at once", kind="concurrency")


def pauses(error: ServiceError, count: int) -> list[float | None]:
    attempts = Attempts(began=0.0)
    return [RetryPolicy(max_wait=1e9).count_failure(error, attempts, 0.0) for _ in range(count)]


def test_pauses_double_with_jitter_up_to_a_minute() -> None:
    for number, pause in enumerate(pauses(DOWN, 12)):
        most = min(60.0, 0.5 * 2**number)
        assert pause is not None
        assert most / 2 <= pause <= most
    assert len({tuple(pauses(DOWN, 3)) for _ in range(5)}) == 5


def test_a_limit_at_once_passes_soon() -> None:
    assert max(pause or 99 for pause in pauses(AT_ONCE, 12)) <= 5


def test_a_limit_a_minute_is_waited_out() -> None:
    assert pauses(TOKENS, 3) == [60.0, 60.0, 60.0]


@pytest.mark.parametrize("kind", ["rate", "concurrency"])
def test_what_the_service_says_is_done(kind: str) -> None:
    error = RateLimited("later", kind=kind, retry_after=7.5)  # type: ignore[arg-type]
    assert pauses(error, 2) == [7.5, 7.5]
    assert pauses(ServiceDown("later", retry_after=3.0), 1) == [3.0]


def test_at_once_is_not_for_ever() -> None:
    first, second, *_ = pauses(RateLimited("later", kind="rate", retry_after=0.0), 2)
    assert first == 0.0
    assert second


def test_a_refusal_is_final() -> None:
    assert pauses(ServiceRefused("no"), 1) == [None]


def test_no_pause_goes_beyond_max_wait() -> None:
    attempts = Attempts(began=100.0)
    retry_policy = RetryPolicy(max_wait=90.0)
    assert retry_policy.count_failure(TOKENS, attempts, 100.0) == 60.0
    assert retry_policy.count_failure(TOKENS, attempts, 160.0) is None
    assert RetryPolicy(max_wait=0.0).count_failure(DOWN, Attempts(began=5.0), 5.0) is None


class Moody:
    """An embedder that raises each of the errors, then answers, or never does."""

    model = find_model(TUTORIAL_MODEL)
    batch_limit = BatchLimit(1, 1)

    def __init__(self, *errors: ServiceError, hangs: bool = False) -> None:
        self.errors = list(errors)
        self.purposes: list[Purpose] = []
        self.released = threading.Event()
        if not hangs:
            self.released.set()

    def embed(self, texts: Sequence[str], purpose: Purpose) -> Embeddings:
        self.purposes.append(purpose)
        if self.errors:
            raise self.errors.pop(0)
        self.released.wait()
        return Embeddings(np.ones((len(texts), 768), np.float32))


def test_a_query_is_tried_again() -> None:
    embedder = Moody(ServiceDown("down"), RateLimited("x", kind="rate", retry_after=0.01))
    assert embed_query("x", embedder, max_wait=15).shape == (768,)
    assert embedder.purposes == [Purpose.QUERY] * 3


@pytest.mark.parametrize(
    ("error", "requests"), [(TextsFailed("500: no"), 2), (TextsRefused("400: no"), 1)]
)
def test_a_query_that_cannot_be_embedded_fails_at_once(error: ServiceError, requests: int) -> None:
    embedder = Moody(*[error] * 5)
    with pytest.raises(type(error)):
        embed_query("x", embedder, max_wait=900)
    assert len(embedder.purposes) == requests


@pytest.mark.parametrize("error", [DOWN, TOKENS, ServiceRefused("no")])
def test_a_query_without_retries_is_sent_once(error: ServiceError) -> None:
    embedder = Moody(error)
    with pytest.raises(type(error)):
        embed_query("x", embedder, max_wait=0)
    assert len(embedder.purposes) == 1


def test_a_query_is_not_awaited_beyond_max_wait() -> None:
    embedder = Moody(hangs=True)
    with pytest.raises(ServiceDown, match="did not answer in time"):
        embed_query("x", embedder, max_wait=0.1)
    embedder.released.set()
