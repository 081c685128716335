"""The scheduler of requests, without threads and without a clock but the one given."""

from __future__ import annotations

import random
from collections import Counter
from math import inf
from typing import TYPE_CHECKING

import numpy as np
import pytest

from jtv_cli.embedders import BatchLimit
from jtv_cli.errors import (
    BatchTooLarge,
    RateLimited,
    ServiceDown,
    ServiceError,
    ServiceRefused,
    TextsFailed,
    TextsRefused,
    TextTooLong,
)
from jtv_cli.pipeline.batches import Group, NewText, cut_group
from jtv_cli.pipeline.options import IngestOptions
from jtv_cli.pipeline.retry import RetryPolicy
from jtv_cli.pipeline.scheduler import BatchScheduler, Decision, GiveUp, Retry, Skip
from jtv_cli.records import Document, Occurrence

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Reply = Callable[[Sequence[str]], BaseException | None]

    from jtv_cli.pipeline.batches import Batch

LONGEST = 1000


def new_text(number: int, tokens: int = 1) -> NewText:
    occurrences = [Occurrence("a.txt", number)]
    return NewText(Document(f"text {number}", b"", occurrences), occurrences, ["a.txt"], tokens)


def texts_of(batch: Batch) -> list[str]:
    return [new.document.text for new in batch.texts]


class Service:
    """Answers the requests of a scheduler, one after another, as long as it has any.

    `reply` gets the texts of a request, and returns the error that it ends with, or None.
    """

    def __init__(
        self,
        scheduler: BatchScheduler,
        reply: Reply,
        *,
        chance: random.Random | None = None,
    ) -> None:
        self.scheduler = scheduler
        self.reply = reply
        self.chance = chance or random.Random(0)
        self.now = 0.0
        self.requests: list[list[str]] = []
        self.answered: Counter[str] = Counter()
        self.skipped: list[str] = []
        self.waits: list[float] = []
        self.error: BaseException | None = None
        self.peak = 0

    def run(self) -> None:
        """Go on until there is nothing to send, or the scheduler gives up."""
        while True:
            self.carry_out(self.scheduler.on_time(self.now))
            for batch in self.scheduler.next_requests(self.now):
                self.requests.append(texts_of(batch))
                assert len(batch.rows) <= self.scheduler.limit.texts
                assert len(batch.rows) == 1 or batch.tokens <= self.scheduler.limit.tokens
            self.peak = max(self.peak, len(self.scheduler.in_flight))
            if self.scheduler.in_flight:
                self.answer(self.chance.choice(self.scheduler.in_flight))
            elif (until := self.scheduler.next_time()) == inf or self.scheduler.is_exhausted:
                return
            else:
                self.now = max(self.now, until)

    def answer(self, batch: Batch) -> None:
        self.now += 0.1
        texts = texts_of(batch)
        if error := self.reply(texts):
            self.carry_out(self.scheduler.on_failed(batch, error, self.now))
        else:
            self.answered.update(texts)
            self.carry_out(self.scheduler.on_answered(batch, batch.tokens))

    def carry_out(self, decisions: Sequence[Decision]) -> None:
        for decision in decisions:
            match decision:
                case Skip(batch, _):
                    self.skipped += texts_of(batch)
                case Retry(wait):
                    self.waits.append(wait.until - self.now)
                case GiveUp(error):
                    self.error = self.error or error
                    self.scheduler.close()


def scheduler_of(
    group: Group,
    limit: BatchLimit,
    *,
    concurrency: int = 1,
    max_wait: float = 900.0,
    max_tokens: int | None = None,
) -> BatchScheduler:
    options = IngestOptions(concurrency, RetryPolicy(max_wait), max_tokens)
    scheduler = BatchScheduler(limit, options)
    scheduler.add(cut_group(group, limit, LONGEST))
    return scheduler


def serve(count: int, reply: Reply, **options: float) -> Service:
    """Serve so many texts in one batch."""
    group = Group([new_text(number) for number in range(count)])
    service = Service(scheduler_of(group, BatchLimit(count, 32_000), **options), reply)  # type: ignore[arg-type]
    service.run()
    return service


def failing(error: Callable[[], BaseException], *bad: int) -> Reply:
    """Return a reply that is an error where one of the bad texts is among those of a request."""
    wrong = {f"text {number}" for number in bad}
    return lambda texts: error() if wrong & set(texts) else None


def test_after_a_limit_concurrency_grows_back() -> None:
    refusals = 8

    def reply(_: Sequence[str]) -> BaseException | None:
        nonlocal refusals
        refusals -= 1
        return RateLimited("too many", kind="concurrency") if refusals >= 0 else None

    group = Group([new_text(number) for number in range(3000)])
    scheduler = scheduler_of(group, BatchLimit(1, 1000), concurrency=8, max_wait=1e9)
    service = Service(scheduler, reply)

    def send_and_answer_all() -> int:
        service.now = max(service.now, scheduler.next_time())
        sent = scheduler.next_requests(service.now)
        for batch in sent:
            service.answer(batch)
        return len(sent)

    assert send_and_answer_all() == 8
    service.now += 100  # beyond all pauses
    rounds = [send_and_answer_all() for _ in range(300)]
    assert (rounds[0], rounds[-1]) == (1, 8)
    assert rounds == sorted(rounds)
    assert rounds.index(2) >= 50
    refusals = 1
    assert send_and_answer_all() == 8
    service.now += 100
    assert send_and_answer_all() == 7
    assert set(service.answered.values()) == {1}


class TestOneBadText:
    @pytest.mark.parametrize("error", [TextsFailed, TextsRefused])
    def test_it_is_found_and_skipped(self, error: type[TextsFailed]) -> None:
        service = serve(64, failing(lambda: error("500: no"), 37))
        assert service.error is None
        assert service.skipped == ["text 37"]
        assert service.answered == Counter(f"text {n}" for n in range(64) if n != 37)
        assert len(service.requests) <= 14

    def test_what_is_refused_is_not_sent_again(self) -> None:
        service = serve(8, failing(lambda: TextsRefused("400: no"), 3))
        assert max(Counter(map(tuple, service.requests)).values()) == 1
        assert service.waits == []

    def test_several_are_found(self) -> None:
        service = serve(64, failing(lambda: TextsFailed("NaN"), 0, 1, 40, 63))
        assert sorted(service.skipped) == ["text 0", "text 1", "text 40", "text 63"]
        assert len(service.answered) == 60

    @pytest.mark.parametrize("error", [TextsFailed, TextsRefused])
    def test_alone_it_is_told_from_a_service_that_fails(self, error: type[TextsFailed]) -> None:
        service = serve(1, failing(lambda: error("no"), 0))
        assert (service.error, service.skipped) == (None, ["text 0"])
        assert list(service.answered) == ["test"]

    def test_a_failure_that_passes_skips_nothing(self) -> None:
        left = 2

        def reply(_: Sequence[str]) -> BaseException | None:
            nonlocal left
            left -= 1
            return TextsFailed("500") if left >= 0 else None

        service = serve(64, reply)
        assert (service.error, service.skipped) == (None, [])
        assert service.answered == Counter(f"text {n}" for n in range(64))


class TestAServiceThatFails:
    def test_every_text_is_refused(self) -> None:
        service = serve(512, lambda _: TextsRefused("400: no such field", hint="x"))
        assert service.skipped == []
        assert str(service.error) == "400: no such field; x"
        assert len(service.requests) < 25

    def test_an_outage_is_retried_until_it_is_over(self) -> None:
        group = Group([new_text(number) for number in range(512)])
        service = Service(
            scheduler_of(group, BatchLimit(512, 32_000)),
            lambda _: TextsFailed("500") if service.now < 300 else None,
        )
        service.run()
        assert (service.error, service.skipped) == (None, [])
        assert set(service.answered) >= {f"text {number}" for number in range(512)}
        assert len(service.requests) < 250

    def test_an_outage_that_does_not_end(self) -> None:
        service = serve(512, lambda _: TextsFailed("500"), max_wait=60)
        assert isinstance(service.error, TextsFailed)
        assert service.skipped == []
        # Each of the ten parts, and then the probe, may be sent a last time just before the
        # end. One after another, they are answered in 0.1 s.
        assert service.now <= 60 + 11 * 0.1

    @pytest.mark.parametrize(
        "error", [ServiceDown("down"), RateLimited("slow", kind="rate"), ServiceRefused("key")]
    )
    def test_others_are_never_split(self, error: BaseException) -> None:
        service = serve(512, lambda _: error, max_wait=30)
        assert service.error is error
        assert {len(texts) for texts in service.requests} == {512}


class TestLimits:
    def test_a_stated_limit_is_final(self) -> None:
        group = Group([new_text(number) for number in range(2000)])
        scheduler = scheduler_of(group, BatchLimit(512, 32_000))
        service = Service(
            scheduler,
            lambda texts: BatchTooLarge("413", limit=10) if len(texts) > 10 else None,
        )
        service.run()
        assert [len(texts) > 10 for texts in service.requests].count(True) == 1
        assert len(service.answered) == 2000

    def test_after_stray_refusals_it_grows_back(self) -> None:
        """Two of them once made 4,438 requests of what had been 23."""
        group = Group([new_text(number, 60 if number else 2) for number in range(12_000)])
        scheduler = scheduler_of(group, BatchLimit(512, 32_000))
        scheduler.add(cut_group(Group([new_text(-1), new_text(-2)]), BatchLimit(2, 9), LONGEST))
        stray = 2

        def reply(texts: Sequence[str]) -> BaseException | None:
            nonlocal stray
            if stray and len(texts) <= 2:
                stray -= 1
                return BatchTooLarge("413")
            return None

        scheduler._pending.rotate(1)  # the small one first
        service = Service(scheduler, reply)
        service.run()
        assert scheduler.limit.tokens > 16_000
        assert len(service.requests) < 120

    def test_more_texts_than_a_service_takes_without_saying_so(self) -> None:
        service = serve(2000, lambda texts: TextsFailed("500") if len(texts) > 8 else None)
        assert (service.error, service.skipped) == (None, [])
        assert service.answered == Counter(f"text {n}" for n in range(2000))

    def test_that_number_is_remembered(self) -> None:
        scheduler = scheduler_of(Group([]), BatchLimit(32, 32_000))
        service = Service(scheduler, lambda texts: TextsFailed("500") if len(texts) > 8 else None)
        for start in range(0, 2000, 64):
            group = Group([new_text(number) for number in range(start, start + 64)])
            scheduler.add(cut_group(group, scheduler.limit, LONGEST))
            service.run()
        assert len(service.answered) == 32 * 64
        assert len(service.requests) < 1.5 * 2000 / 8

    def test_tokens_are_never_exceeded(self) -> None:
        group = Group([new_text(number, 10) for number in range(100)])
        service = Service(
            scheduler_of(group, BatchLimit(7, 1000), concurrency=4, max_tokens=300),
            lambda _: None,
        )
        service.run()
        assert service.scheduler.is_exhausted
        assert 230 < 10 * len(service.answered) <= 300

    @pytest.mark.parametrize(("max_wait", "ends"), [(5.0, 5.0), (0.0, 300.0)])
    def test_a_request_has_a_deadline(self, max_wait: float, ends: float) -> None:
        scheduler = scheduler_of(Group([new_text(1)]), BatchLimit(1, 1000), max_wait=max_wait)
        [batch] = scheduler.next_requests(100.0)
        assert scheduler.next_time() == 100 + ends
        assert scheduler.on_time(100 + ends - 0.1) == []
        [decision] = scheduler.on_time(100 + ends)
        assert isinstance(decision, GiveUp)
        assert f"within {ends:g} s" in str(decision.error)
        assert scheduler.unanswered_texts == 1
        assert scheduler.on_answered(batch, 1) == []
        assert scheduler.unanswered_texts == 0


@pytest.mark.parametrize("seed", range(20))
def test_answers_that_come_while_a_group_is_stored_join_it(seed: int) -> None:
    """Late ones once shifted the others, so that some were never stored."""
    chance = random.Random(seed)
    count = chance.randrange(1, 200)
    group = Group([new_text(number) for number in range(count)])
    left = list(range(count))
    chance.shuffle(left)
    stored: list[tuple[str, float]] = []
    while left or group.unstored:
        if left and (not group.unstored or chance.random() < 0.5):
            many = chance.randrange(1, 40)
            rows, left = sorted(left[:many]), left[many:]
            group.add_answer(rows, np.array(rows, np.float32)[:, None])
        else:
            before = group.unstored
            documents, vectors = group.take_answers(chance.randrange(1, 60))
            assert before - group.unstored == len(documents) == len(vectors)
            texts = [document.text for document in documents]
            stored += zip(texts, vectors[:, 0].tolist(), strict=True)
    assert group.unresolved == 0
    assert sorted(stored) == sorted((f"text {number}", float(number)) for number in range(count))


@pytest.mark.parametrize("seed", range(150))
def test_every_text_ends_once_whatever_happens(seed: int) -> None:
    chance = random.Random(seed)
    count = chance.choice([1, 2, 7, 40, 300])
    limit = BatchLimit(chance.choice([1, 3, 64, 512]), chance.choice([20, 300, 32_000]))
    concurrency = chance.choice([1, 2, 8])
    group = Group([new_text(n, chance.choice([1, 5, 60])) for n in range(count)])
    bad = set(chance.sample(range(count), chance.choice([0, 0, 1, min(3, count)])))
    wrong = {f"text {number}" for number in bad}
    of_a_bad_text: type[ServiceError] = chance.choice([TextsFailed, TextsRefused, TextTooLong])
    most = chance.choice([inf, inf, 5, 50])
    passing: list[Callable[[], BaseException]] = [
        lambda: ServiceDown("down"),
        lambda: TextsFailed("500"),
        lambda: BatchTooLarge("413"),
        lambda: RateLimited("slow", kind="concurrency"),
        lambda: RateLimited("slow", kind="rate", retry_after=1.0),
    ]
    share = chance.choice([0.0, 0.0, 0.1])
    in_a_row = 0

    def reply(texts: Sequence[str]) -> BaseException | None:
        nonlocal in_a_row
        # A failure that passes does so after one attempt.
        if len(texts) > 1 and not in_a_row and chance.random() < share:
            in_a_row = 1
            return chance.choice(passing)()
        in_a_row = 0
        if wrong & set(texts):
            return of_a_bad_text("bad")
        return BatchTooLarge("413") if len(texts) > most else None

    scheduler = scheduler_of(group, limit, concurrency=concurrency)
    service = Service(scheduler, reply, chance=chance)
    service.run()
    assert service.error is None
    assert service.peak <= concurrency
    assert sorted(service.skipped) == sorted(wrong)
    del service.answered["test"]
    assert service.answered == Counter(f"text {n}" for n in range(count) if n not in bad)
