"""Requests to the embedder: how many at once, and what becomes of those that fail."""

from __future__ import annotations

import time
from collections import deque
from functools import partial
from threading import Thread
from typing import TYPE_CHECKING, Protocol

from jtv_cli.errors import BatchTooLarge, RateLimited, ServiceError, TextsRefused, TextTooLong
from jtv_cli.pipeline.batches import fitted, halves
from jtv_cli.pipeline.retry import Attempts
from jtv_cli.records import Purpose, Wait

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from queue import SimpleQueue

    from jtv_cli.embedders import Embedder
    from jtv_cli.pipeline.batches import Batch, NewText
    from jtv_cli.pipeline.options import IngestOptions
    from jtv_cli.records import Embeddings

    Call = Callable[[], None]

_TOO_LONG = "it is too long for the model"
# After so many answers, one more request at once is tried: where the service still has
# its limit, one request in so many is then refused, which costs no tokens.
_ANSWERS_BEFORE_ONE_MORE = 50


class Listener(Protocol):
    """Who hears what became of the batches."""

    def leave_out(self, batch: Batch, reason: str) -> None:
        """Hear that the one text of a batch cannot be embedded."""
        ...

    def take_answer(self, batch: Batch, embeddings: Embeddings) -> None:
        """Take the vectors of a batch."""
        ...

    def give_up(self, error: BaseException) -> None:
        """Hear that no batch will be sent any more, because of an error."""
        ...

    def stop(self, reason: str) -> None:
        """Hear that no batch will be sent any more, because it was asked to stop here."""
        ...

    def wait(self, wait: Wait) -> None:
        """Hear what is being waited for."""
        ...


class Dispatcher:
    """Sends batches, no more at once than it may, and sends those that fail again or in halves.

    It belongs to one thread. Those that make requests put what to do with the outcome
    into `calls`, for that one to do. `limit`, of one batch, shrinks as the service says so.
    """

    def __init__(
        self,
        embedder: Embedder,
        ingest_options: IngestOptions,
        listener: Listener,
        calls: SimpleQueue[Call],
    ) -> None:
        self.limit = embedder.batch_limit
        if ingest_options.max_tokens is not None:
            tokens = min(self.limit.tokens, ingest_options.max_tokens)
            self.limit = self.limit._replace(tokens=tokens)
        self.is_closed = False
        self._embedder = embedder
        self._terms = ingest_options
        self._listener = listener
        self._calls = calls
        self._ready: deque[Batch] = deque()
        self._sent: list[Batch] = []
        self._at_once = ingest_options.concurrency
        self._answered_since = 0
        self._not_before = 0.0
        self._spent = 0

    @property
    def is_idle(self) -> bool:
        """Whether no answer is on its way."""
        return not self._sent

    def add(self, batches: list[Batch]) -> None:
        """Take batches to be sent after those it has."""
        self._ready += batches

    def close(self) -> None:
        """Send nothing any more."""
        self.is_closed = True

    def send(self) -> None:
        """Send what may be sent now."""
        while len(self._sent) < self._at_once and not self.is_closed:
            batch = self._next()
            if batch is None or self._must_save(batch):
                return
            self._ready.remove(batch)
            batch, *rest = fitted(batch, self.limit)
            self._ready.extendleft(reversed(rest))
            batch.attempts = batch.attempts or Attempts(time.monotonic())
            if self._embedder.model.is_offline:
                self._request(batch)
            else:
                # A daemon, for a request that does not return must not keep the process.
                Thread(target=self._request, args=(batch,), daemon=True).start()
            self._sent.append(batch)

    def seconds_to_next(self) -> float | None:
        """Return the seconds until a waiting batch may be sent.

        None if only an answer can change that.
        """
        if self.is_closed or not self._ready or len(self._sent) >= self._at_once:
            return None
        if (batch := self._next()) is not None and not self._can_afford(batch):
            return None
        first = max(self._not_before, min(batch.not_before for batch in self._ready))
        return max(0.0, first - time.monotonic())

    def _next(self) -> Batch | None:
        now = time.monotonic()
        if now < self._not_before:
            return None
        return next((batch for batch in self._ready if batch.not_before <= now), None)

    def _must_save(self, batch: Batch) -> bool:
        """Return whether the batch cannot be afforded now, and stop if it never can."""
        if self._can_afford(batch):
            return False
        # Estimates are high: what is on its way may turn out to leave enough.
        if not self._sent:
            self._listener.stop(f"the next batch would pass --max-tokens {self._terms.max_tokens}")
        return True

    def _can_afford(self, batch: Batch) -> bool:
        most = self._terms.max_tokens
        on_their_way = sum(sent.tokens for sent in self._sent)
        return most is None or self._spent + on_their_way + batch.tokens <= most

    def _request(self, batch: Batch) -> None:
        """Embed a batch and leave the outcome among the calls."""
        try:
            texts = [new.document.text for new in batch.texts]
            embeddings = self._embedder.embed(texts, Purpose.DOCUMENT)
        except BaseException as error:
            self._calls.put(partial(self._failed, batch, error))
        else:
            self._calls.put(partial(self._answered, batch, embeddings))

    def _answered(self, batch: Batch, embeddings: Embeddings) -> None:
        self._sent.remove(batch)
        # A service that does not say what it counted is taken to have counted as we do.
        self._spent += embeddings.tokens or batch.tokens
        self._answered_since += 1
        if self._answered_since == _ANSWERS_BEFORE_ONE_MORE:
            self._set_at_once(self._at_once + 1)
        self._listener.take_answer(batch, embeddings)

    def _failed(self, batch: Batch, error: BaseException) -> None:
        self._sent.remove(batch)
        if isinstance(error, BatchTooLarge | TextTooLong):
            self._send_less(batch, error)
        elif isinstance(error, ServiceError):
            self._send_later(batch, error)
        else:
            self._listener.give_up(error)

    def _send_less(self, batch: Batch, error: BatchTooLarge | TextTooLong) -> None:
        if len(batch.rows) == 1:
            reason = error.message if isinstance(error, BatchTooLarge) else _TOO_LONG
            self._listener.leave_out(batch, reason)
            return
        if isinstance(error, BatchTooLarge):
            self._remember(batch, error.limit)
        self._ready.extendleft(reversed(halves(batch)))

    def _remember(self, batch: Batch, said: int | None) -> None:
        """Keep later batches as small as the service wants them."""
        if said and said < len(batch.rows):
            self.limit = self.limit._replace(texts=min(self.limit.texts, said))
        else:
            tokens = min(self.limit.tokens, max(batch.tokens // 2, 1))
            self.limit = self.limit._replace(tokens=tokens)

    def _send_later(self, batch: Batch, error: ServiceError) -> None:
        now = time.monotonic()
        pause = self._terms.retry_policy.count_failure(error, batch.attempts or Attempts(now), now)
        if pause is None:
            if isinstance(error, TextsRefused):
                error.message += f" (the texts of {_places(batch.texts)})"
            self._listener.give_up(error)
            return
        batch.not_before = now + pause
        self._ready.appendleft(batch)
        if isinstance(error, RateLimited) and error.kind == "concurrency":
            self._set_at_once(self._at_once - 1)
        elif isinstance(error, RateLimited):
            # The limit is the key's: what else is sent would only meet it too.
            self._not_before = max(self._not_before, batch.not_before)
        self._listener.wait(Wait(batch.not_before, error.message))

    def _set_at_once(self, wanted: int) -> None:
        """Send so many at once from now on, as far as that can be."""
        self._at_once = min(max(wanted, 1), self._terms.concurrency)
        self._answered_since = 0


def _places(texts: Sequence[NewText]) -> str:
    """Return where texts were read, from the first to the last of them."""
    return texts[0].place if len(texts) == 1 else f"{texts[0].place} to {texts[-1].place}"
