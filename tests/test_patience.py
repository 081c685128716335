"""How long, and how often, a request is tried: no clock but the one given."""

from __future__ import annotations

import pytest

from jtv_cli.errors import RateLimited, ServiceDown, ServiceError, ServiceRefused
from jtv_cli.pipeline.patience import Patience, Trials

DOWN = ServiceDown("down")
TOKENS = RateLimited("tokens", kind="rate")
AT_ONCE = RateLimited("at once", kind="concurrency")


def pauses(error: ServiceError, count: int) -> list[float | None]:
    trials = Trials(began=0.0)
    return [Patience(max_wait=1e9).pause(error, trials, 0.0) for _ in range(count)]


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


def test_patience_ends_rather_than_wait_in_vain() -> None:
    trials = Trials(began=100.0)
    patience = Patience(max_wait=90.0)
    assert patience.pause(TOKENS, trials, 100.0) == 60.0
    assert patience.pause(TOKENS, trials, 160.0) is None
    assert Patience(max_wait=0.0).pause(DOWN, Trials(began=5.0), 5.0) is None
