"""The retry policy: whether a failed request is sent again, and when."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from math import inf
from queue import Empty
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from jtv_cli.errors import RateLimited, ServiceDown, ServiceError, TextsFailed
from jtv_cli.threads import run_within

if TYPE_CHECKING:
    from collections.abc import Callable

    Result = TypeVar("Result")

LONGEST_REQUEST = 300.0
"""Seconds after which a request without retries is given up: more than any embedder takes."""

# Seconds before the second attempt; each further pause is twice as long, up to the longest.
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 60.0
# A limit on concurrent requests passes as soon as one of them is answered.
_LONGEST_CONCURRENCY_PAUSE = 5.0


@dataclass(slots=True)
class Attempts:
    """The attempts of one request: when the first began, and how many have failed."""

    began: float = inf
    failed: int = 0


class RetryPolicy(NamedTuple):
    """How long a request is retried: `max_wait` seconds from its first attempt on.

    `minute` is how many seconds to wait for a limit per minute if the service does not say
    when it ends.
    """

    max_wait: float
    minute: float = 60.0

    def count_failure(self, error: ServiceError, attempts: Attempts, now: float) -> float | None:
        """Count a failed attempt and return the seconds until the next, None for no more.

        Times are those of `time.monotonic`.
        """
        pause = self._pause(error, attempts.failed)
        attempts.failed += 1
        if pause is None or now + pause > attempts.began + self.max_wait:
            return None
        return pause

    def _pause(self, error: ServiceError, failed: int) -> float | None:
        if isinstance(error, RateLimited) and error.kind == "concurrency":
            return max(error.retry_after or 0.0, _backoff(failed, _LONGEST_CONCURRENCY_PAUSE))
        if not isinstance(error, RateLimited | ServiceDown):
            return None
        if error.retry_after is not None:
            # A service that says "now" each time is believed only the first time.
            return max(error.retry_after, _backoff(failed, _LONGEST_PAUSE) if failed else 0.0)
        if isinstance(error, RateLimited):
            return self.minute
        return _backoff(failed, _LONGEST_PAUSE)


def _backoff(failed: int, longest: float) -> float:
    """Return a random pause, which doubles with each failure: half of it to all of it."""
    return random.uniform(0.5, 1.0) * min(longest, _FIRST_PAUSE * 2.0 ** min(failed, 16))


def call_with_retries(
    request: Callable[[], Result], service: str, max_wait: float, *, is_divisible: bool = False
) -> Result:
    """Return what a request returns, and retry it for up to `max_wait` seconds; 0 disables that.

    An attempt runs in a daemon thread, which is abandoned when the time is up. If the request
    `is_divisible`, an error that one of its texts may cause is raised when it comes twice.

    Raises the errors of the request, and ServiceDown, which names the service, without an answer.
    """
    policy, attempts = RetryPolicy(max_wait), Attempts(time.monotonic())
    while True:
        left = attempts.began + max_wait - time.monotonic() if max_wait else LONGEST_REQUEST
        try:
            return run_within(left, request)
        except Empty:
            message = f"the {service} service did not answer in time"
            raise ServiceDown(message, hint="run the same command again later") from None
        except ServiceError as error:
            is_lasting = is_divisible and isinstance(error, TextsFailed) and attempts.failed > 0
            pause = policy.count_failure(error, attempts, time.monotonic())
            if pause is None or is_lasting:
                raise
        time.sleep(pause)
