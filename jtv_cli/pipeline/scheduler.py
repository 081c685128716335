"""The scheduler of requests: which batch is sent when, and what becomes of one that fails.

It starts no thread and reads no clock: the event loop asks it what to send, tells it what
came back, and carries out what it returns.
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from jtv_cli.embedders import BatchLimit
from jtv_cli.errors import (
    BatchTooLarge,
    RateLimited,
    ServiceDown,
    ServiceError,
    TextsFailed,
    TextsRefused,
    TextTooLong,
)
from jtv_cli.pipeline.batches import Batch, Group, NewText, cut_to_fit, halves
from jtv_cli.pipeline.retry import LONGEST_REQUEST
from jtv_cli.records import Document, Occurrence, Wait

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jtv_cli.pipeline.options import IngestOptions

_TOO_LONG = "it is too long for the model"
# After so many answers one more concurrent request is tried: if the service still has its
# limit, one request in so many is then refused, which costs no tokens.
_ANSWERS_PER_CONCURRENCY_STEP = 50
# After so many answers a lowered batch limit grows by a step: this part of the full limit.
_ANSWERS_PER_LIMIT_STEP = 8
_TOKEN_STEPS = 16
_TEXT_STEPS = 64
# After so many answers a number of texts that has failed is tried again. A batch with one
# text too many fails like one with a bad text, which takes several requests to find out.
_ANSWERS_AT_MOST_TEXTS = 64
# What is embedded to find out whether the service works at all; it costs a token or two.
_PROBE_TEXT = "test"


class Skip(NamedTuple):
    """The one text of a batch cannot be embedded; if it `is_too_long`, its chunks may be."""

    batch: Batch
    reason: str
    is_too_long: bool = False


class GiveUp(NamedTuple):
    """Nothing more should be sent, because of an error."""

    error: BaseException


class Retry(NamedTuple):
    """A batch will be sent again, after a pause."""

    wait: Wait


Decision = Skip | GiveUp | Retry


class BatchScheduler:
    """Decides which batches are sent, within the limits of the user and of the service.

    `limit` is that of one request. It shrinks when the service finds a batch too large, and
    grows back as requests are answered.

    A request that fails for a reason that may be one of its texts is *suspect*: the same
    one twice, or once if the service rejects it. Once the service has answered a later
    request, so that it is known to work, a suspect batch is split in halves, down to the
    text that fails again and is skipped. If nothing else is left to send, the smallest
    suspect batch is split, and in the end a probe is sent.

    All times are those of `time.monotonic`.
    """

    def __init__(self, limit: BatchLimit, options: IngestOptions) -> None:
        most = limit.tokens if options.max_tokens is None else options.max_tokens
        self.limit = limit._replace(tokens=min(limit.tokens, most))
        self.in_flight: list[Batch] = []
        self._overdue: list[Batch] = []
        self.is_closed = False
        self._full_limit = self.limit
        self._options = options
        self._pending: deque[Batch] = deque()
        self._suspects: dict[Batch, TextsFailed | TextsRefused] = {}
        self._concurrency = options.concurrency
        self._answers_at_concurrency = 0
        self._answers_at_limit = 0
        self._most_texts = self.limit.texts
        self._answers_at_most_texts = 0
        self._paused_until = -inf
        self._spent = 0
        self._is_short = False
        self._works_since = -inf

    @property
    def unanswered_texts(self) -> int:
        """The number of texts that were sent and neither answered nor refused."""
        return sum(len(batch.rows) for batch in (*self.in_flight, *self._overdue))

    def is_waiting(self, now: float) -> bool:
        """Return whether batches wait for their next attempt, or for a limit to pass."""
        return self._paused_until > now or any(batch.not_before > now for batch in self._pending)

    def add(self, batches: Iterable[Batch]) -> None:
        """Add batches, to be sent after those that are pending."""
        self._pending += batches

    def close(self) -> None:
        """Send nothing more."""
        self.is_closed = True

    def next_requests(self, now: float) -> list[Batch]:
        """Return the batches to send now; they are in flight from then on."""
        requests: list[Batch] = []
        self._is_short = False
        while not self.is_closed and len(self.in_flight) < self._concurrency:
            if not self._pending and not self.in_flight and self._suspects:
                self._examine_smallest_suspect()
            if (batch := self._next(now)) is None:
                break
            first, *rest = cut_to_fit(batch, self.limit)
            if not self._can_afford(first):
                self._is_short = True
                break
            self._pending.remove(batch)
            self._pending.extendleft(reversed(rest))
            first.attempts.began = min(first.attempts.began, now)
            first.sent_at = now
            self.in_flight.append(first)
            requests.append(first)
        return requests

    @property
    def is_exhausted(self) -> bool:
        """Whether the batch that should be sent next costs more tokens than are left."""
        # Estimates are high: the answers in flight may turn out to leave enough.
        return self._is_short and not self.in_flight

    def next_time(self) -> float:
        """Return when a batch may be sent or is overdue; infinity if only an event changes that."""
        times = [self._deadline(batch) for batch in self.in_flight]
        can_send = not (self.is_closed or self._is_short)
        if can_send and self._pending and len(self.in_flight) < self._concurrency:
            first = min(batch.not_before for batch in self._pending)
            times.append(max(self._paused_until, first))
        return min(times, default=inf)

    def on_answered(self, batch: Batch, tokens: int) -> list[Decision]:
        """Return what follows from an answer that cost so many tokens, 0 if that is unknown."""
        self._remove(batch)
        self._spent += tokens or batch.tokens
        self._works_since = max(self._works_since, batch.sent_at)
        self._answers_at_concurrency += 1
        if self._answers_at_concurrency == _ANSWERS_PER_CONCURRENCY_STEP:
            self._set_concurrency(self._concurrency + 1)
        self._answers_at_limit += 1
        self._answers_at_most_texts += 1
        if self._answers_at_limit == _ANSWERS_PER_LIMIT_STEP:
            self._raise_limit()
        batch.is_answered = True
        if batch.twin is not None and batch.twin.is_answered:
            # Neither half has a bad text, so the whole was too large.
            self._lower_texts(len(batch.rows), len(batch.twin.rows))
        return self._settle_suspects()

    def on_failed(self, batch: Batch, error: BaseException, now: float) -> list[Decision]:
        """Return what follows from a request that raised an error."""
        self._remove(batch)
        match error:
            case BatchTooLarge() | TextTooLong() | TextsFailed() | TextsRefused() if (
                batch.group.texts[0] is _PROBE
            ):
                return self._retry_suspects(now)
            case BatchTooLarge() | TextTooLong():
                return self._send_less(batch, error)
            case TextsFailed() | TextsRefused():
                return self._suspect(batch, error, now)
            case ServiceError():
                return [self._retry(batch, error, now)]
        return [GiveUp(error)]

    def on_time(self, now: float) -> list[Decision]:
        """Return what follows from the time: the run ends if a request is overdue."""
        overdue = [batch for batch in self.in_flight if self._deadline(batch) <= now]
        if not overdue:
            return []
        for batch in overdue:
            self.in_flight.remove(batch)
        self._overdue += overdue
        seconds = self._options.retry_policy.max_wait or LONGEST_REQUEST
        message = f"the embeddings service did not answer within {seconds:g} s"
        return [GiveUp(ServiceDown(message, hint="run the same command again later"))]

    def _remove(self, batch: Batch) -> None:
        (self.in_flight if batch in self.in_flight else self._overdue).remove(batch)

    def _deadline(self, batch: Batch) -> float:
        max_wait = self._options.retry_policy.max_wait
        return batch.attempts.began + max_wait if max_wait else batch.sent_at + LONGEST_REQUEST

    def _next(self, now: float) -> Batch | None:
        if now < self._paused_until:
            return None
        return next((batch for batch in self._pending if batch.not_before <= now), None)

    def _can_afford(self, batch: Batch) -> bool:
        most = self._options.max_tokens
        in_flight = sum(sent.tokens for sent in self.in_flight)
        return most is None or self._spent + in_flight + batch.tokens <= most

    def _retry(self, batch: Batch, error: ServiceError, now: float) -> Retry | GiveUp:
        """Send a batch again after a pause, unless it has been retried for long enough."""
        pause = self._options.retry_policy.count_failure(error, batch.attempts, now)
        if pause is None:
            return GiveUp(error)
        batch.not_before = now + pause
        self._pending.appendleft(batch)
        if isinstance(error, RateLimited) and error.kind == "concurrency":
            self._set_concurrency(self._concurrency - 1)
        elif isinstance(error, RateLimited):
            # The limit applies to the API key, so pause all requests, not only this one.
            self._paused_until = max(self._paused_until, batch.not_before)
        return Retry(Wait(batch.not_before, error.message))

    def _set_concurrency(self, wanted: int) -> None:
        self._concurrency = min(max(wanted, 1), self._options.concurrency)
        self._answers_at_concurrency = 0

    # Batches that are too large

    def _send_less(self, batch: Batch, error: BatchTooLarge | TextTooLong) -> list[Decision]:
        if len(batch.rows) == 1:
            reason = error.message if isinstance(error, BatchTooLarge) else _TOO_LONG
            return [Skip(batch, reason, is_too_long=True)]
        if isinstance(error, BatchTooLarge):
            self._lower_limit(batch, error.limit)
        self._pending.extendleft(reversed(halves(batch)))
        return []

    def _lower_limit(self, batch: Batch, stated: int | None) -> None:
        """Keep later batches as small as the service wants them.

        A limit that the service states is final. One that is only inferred grows back:
        the refusal may have been a passing one.
        """
        self._answers_at_limit = 0
        if stated and stated < len(batch.rows):
            self._full_limit = self._full_limit._replace(texts=min(self._full_limit.texts, stated))
            self.limit = self.limit._replace(texts=min(self.limit.texts, stated))
        else:
            tokens = min(self.limit.tokens, max(batch.tokens // 2, 1))
            self.limit = self.limit._replace(tokens=tokens)

    def _raise_limit(self) -> None:
        self._answers_at_limit = 0
        full = self._full_limit
        if self._answers_at_most_texts >= _ANSWERS_AT_MOST_TEXTS:
            self._most_texts = full.texts
        texts = self.limit.texts + max(full.texts // _TEXT_STEPS, 1)
        tokens = self.limit.tokens + max(full.tokens // _TOKEN_STEPS, 1)
        self.limit = BatchLimit(min(texts, full.texts, self._most_texts), min(tokens, full.tokens))

    def _lower_texts(self, answered: int, others: int) -> None:
        """Keep batches below a number of texts that failed together, though not apart."""
        self._most_texts = answered + others - 1
        self._answers_at_most_texts = self._answers_at_limit = 0
        texts = min(self.limit.texts, max(answered, others))
        self.limit = self.limit._replace(texts=texts)

    # Failures that one of the texts may cause

    def _suspect(
        self, batch: Batch, error: TextsFailed | TextsRefused, now: float
    ) -> list[Decision]:
        if batch.failed_at == inf:
            batch.failed_at = now
            decision = self._retry(batch, error, now)
            if isinstance(decision, Retry):
                return [decision]
        self._suspects[batch] = error
        return self._settle_suspects()

    def _settle_suspects(self) -> list[Decision]:
        """Split or skip each suspect since whose failure the service has proved to work."""
        skipped: list[Decision] = []
        for batch, error in list(self._suspects.items()):
            if batch.failed_at > self._works_since:
                continue
            del self._suspects[batch]
            if len(batch.rows) > 1:
                self._split(batch, is_checked=True)
            elif not batch.is_checked:
                # Perhaps the service failed, and worked again by the time it answered.
                batch.is_checked = True
                self._pending.appendleft(batch)
            else:
                skipped.append(Skip(batch, error.message))
        return skipped

    def _split(self, batch: Batch, *, is_checked: bool) -> None:
        """Replace a suspect batch by its halves, which are suspect as soon as they fail."""
        first, second = halves(batch)
        first.twin, second.twin = second, first
        for half in (second, first):
            half.failed_at, half.is_checked = batch.failed_at, is_checked
            if not is_checked:
                # Unless the service is known to work, they are attempts of the same request.
                half.attempts = batch.attempts
            self._pending.appendleft(half)

    def _examine_smallest_suspect(self) -> None:
        """With nothing else to send, find out whether the texts or the service are at fault."""
        smallest = min(self._suspects, key=lambda batch: len(batch.rows))
        if len(smallest.rows) > 1:
            del self._suspects[smallest]
            self._split(smallest, is_checked=False)
        else:
            self._pending.append(Batch(Group([_PROBE]), [0], _PROBE.tokens))

    def _retry_suspects(self, now: float) -> list[Decision]:
        """Send the suspects again, unchanged, after a failed probe: the service is at fault."""
        suspects, self._suspects = self._suspects, {}
        for batch in suspects:
            batch.failed_at, batch.is_checked = inf, False
        return [self._retry(batch, error, now) for batch, error in suspects.items()]


_PROBE = NewText(Document(_PROBE_TEXT, b"", ()), [Occurrence()], ["probe"], tokens=1)
