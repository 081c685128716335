"""How many requests are sent at once, with an embedder that answers while it is asked."""

from __future__ import annotations

from collections import Counter
from queue import SimpleQueue
from typing import TYPE_CHECKING

import numpy as np

from jtv_cli.embedders import BatchLimit
from jtv_cli.embedders.models import OFFLINE_MODEL, find_model
from jtv_cli.errors import RateLimited
from jtv_cli.pipeline import IngestOptions, RetryPolicy
from jtv_cli.pipeline.batches import Group, NewText, cut_group
from jtv_cli.pipeline.dispatcher import Dispatcher
from jtv_cli.records import Document, Embeddings, Occurrence
from jtv_cli.text import text_hash

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jtv_cli.pipeline.batches import Batch
    from jtv_cli.records import Purpose, Wait

LIMIT = BatchLimit(1, 1000)


class Limited:
    """An embedder that says, to so many requests, that they are too many at once."""

    model = find_model(OFFLINE_MODEL)
    batch_limit = LIMIT

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals

    def embed(self, texts: Sequence[str], _purpose: Purpose) -> Embeddings:
        if self.refusals:
            self.refusals -= 1
            raise RateLimited("too many at once", kind="concurrency")
        return Embeddings(np.ones((len(texts), self.model.dimensions), np.float32))


class Answered:
    """Counts how often each text was answered."""

    def __init__(self) -> None:
        self.texts: Counter[str] = Counter()

    def take_answer(self, batch: Batch, _embeddings: Embeddings) -> None:
        self.texts.update(new.document.text for new in batch.texts)

    def wait(self, wait: Wait) -> None: ...

    def leave_out(self, _batch: Batch, reason: str) -> None:
        raise AssertionError(reason)

    def stop(self, reason: str) -> None:
        raise AssertionError(reason)

    def give_up(self, error: BaseException) -> None:
        raise error


def new_text(text: str) -> NewText:
    occurrence = Occurrence("a.txt", 1)
    return NewText(Document(text, text_hash(text), [occurrence]), [occurrence], ["a.txt"], 1)


def test_after_a_hiccup_requests_at_once_become_more_again() -> None:
    calls: SimpleQueue[Callable[[], None]] = SimpleQueue()
    listener = Answered()
    embedder = Limited(refusals=8)
    dispatcher = Dispatcher(embedder, IngestOptions(8, RetryPolicy(1e9)), listener, calls)
    group = Group([new_text(f"text {number}") for number in range(3000)])
    dispatcher.add(cut_group(group, LIMIT, 1000))

    def at_once() -> int:
        dispatcher.send()
        sent = calls.qsize()
        for _ in range(sent):
            calls.get()()
        return sent

    assert at_once() == 8
    rounds = [at_once() for _ in range(300)]
    assert (rounds[0], rounds[-1]) == (1, 8)
    assert rounds == sorted(rounds)
    assert rounds.index(2) >= 50
    embedder.refusals = 1
    assert [at_once(), at_once()] == [8, 7]
    assert set(listener.texts.values()) == {1}
