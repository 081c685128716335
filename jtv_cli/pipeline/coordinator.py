"""The one thread of an ingest that decides, and that touches the table."""

from __future__ import annotations

import time
from collections import deque
from contextlib import suppress
from functools import partial
from math import inf
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from jtv_cli.errors import ServiceError, StoreError
from jtv_cli.pipeline.batches import Group, cut_group
from jtv_cli.pipeline.dispatcher import Dispatcher
from jtv_cli.pipeline.intake import Intake
from jtv_cli.records import Wait

if TYPE_CHECKING:
    from collections.abc import Callable

    from jtv_cli.embedders import Embedder
    from jtv_cli.errors import UsageError
    from jtv_cli.pipeline.batches import Batch
    from jtv_cli.pipeline.dispatcher import Call
    from jtv_cli.pipeline.options import IngestOptions
    from jtv_cli.pipeline.stats import IngestStats
    from jtv_cli.records import Embeddings
    from jtv_cli.sources import RecordBlock
    from jtv_cli.stores import Table

# How long an interrupt waits for the answers that are being paid for.
_GRACE_SECONDS = 3.0


class Coordinator:
    """Runs, one after another, the calls that other threads put into `calls`.

    It puts into `wanted` whether the reader should go on, for every window it has
    dealt with. Once it has ended, `error` is what ended it, and `unreadable` what ended
    the input.
    """

    def __init__(
        self,
        embedder: Embedder,
        table: Table,
        ingest_options: IngestOptions,
        stats: IngestStats,
        skipped: Callable[[str, str], None],
    ) -> None:
        self.calls: SimpleQueue[Call] = SimpleQueue()
        self.wanted: SimpleQueue[bool] = SimpleQueue()
        self.error: BaseException | None = None
        self.unreadable: UsageError | None = None
        self._table = table
        self._stats = stats
        self._skipped = skipped
        self._is_strict = ingest_options.strict
        self._model = embedder.model
        self._texts_at_once = embedder.batch_limit.texts
        # Work done in this process is not sped up by doing something else meanwhile:
        # threads would only take the interpreter from each other.
        offline = embedder.model.is_offline
        self._groups_at_once = 1 if offline else 2
        self._intake = Intake(
            table,
            concurrency=1 if offline else ingest_options.concurrency,
            longest=embedder.model.max_tokens if ingest_options.truncate else None,
        )
        self._dispatcher = Dispatcher(embedder, ingest_options, self, self.calls)
        self._windows: deque[RecordBlock] = deque()
        self._groups: deque[Group] = deque()
        self._refused: set[Group] = set()
        self._input_ended = False
        self._deadline: float | None = None
        self._has_ended = False
        self._end: SimpleQueue[None] = SimpleQueue()

    def run(self) -> None:
        """Work until there is nothing left to do, then store all that was answered."""
        try:
            while not self._is_finished():
                self._try(self._step)
            self._store_rest()
        finally:
            self.wanted.put(False)
            self._has_ended = True
            self._end.put(None)

    def wait_for_end(self, seconds: float | None = None) -> bool:
        """Wait until it has ended, or for so long; return whether it has. For the main thread.

        A signal may raise at any moment of it, even when the end was taken from the
        queue already, and one can wait again all the same. Not so with an Event: a
        signal within its Python code may leave its lock locked for ever.
        """
        if not self._has_ended:
            with suppress(Empty):
                self._end.get(timeout=seconds)
        return self._has_ended

    def interrupt(self) -> None:
        """Have it end, and wait until it has: only then may the table be closed.

        It waits a few seconds for the answers on their way, and as long as it takes for
        the database. For the main thread, when signals are ignored.
        """
        self.calls.put(self._begin_grace)
        if not self.wait_for_end(_GRACE_SECONDS + 1):
            self._stats.wait(Wait(inf, "interrupted, but the database is not done yet"))
            self.wait_for_end()

    def take_window(self, window: RecordBlock) -> None:
        """Hear what was read."""
        if not self._input_ended:
            self._windows.append(window)

    def end_input(self, unreadable: UsageError | None = None) -> None:
        """Hear that all was read, or all up to what cannot be."""
        self.unreadable = unreadable
        self._input_ended = True

    def take_answer(self, batch: Batch, embeddings: Embeddings) -> None:
        """Keep the vectors until it is the turn of their group."""
        batch.group.answer(batch.rows, embeddings.vectors)
        self._stats.count(tokens=embeddings.tokens)

    def leave_out(self, batch: Batch, reason: str) -> None:
        """Skip a text, everywhere it was read."""
        [new] = batch.texts
        batch.group.unresolved -= 1
        self._intake.forget([new.document])
        # Each occurrence but the first was counted as known when it was read.
        self._stats.count(skipped=len(new.paths), known=1 - len(new.paths))
        for path, occurrence in zip(new.paths, new.occurrences, strict=True):
            self._skipped(f"{path}:{occurrence.line}", reason)
        if self._is_strict:
            self.stop(f"--strict, at {new.place}")

    def give_up(self, error: BaseException) -> None:
        """End, because of an error; one of the store is kept in place of one of the service."""
        if self.error is None or (
            isinstance(error, StoreError) and isinstance(self.error, ServiceError)
        ):
            self.error = error
        self._dispatcher.close()

    def stop(self, reason: str) -> None:
        """End, because that was asked for."""
        self._stats.stop(reason)
        self._dispatcher.close()

    def wait(self, wait: Wait) -> None:
        """Pass on what is being waited for."""
        self._stats.wait(wait)

    def _try(self, action: Callable[[], None]) -> None:
        try:
            action()
        except BaseException as error:
            self.give_up(error)

    def _begin_grace(self) -> None:
        self._dispatcher.close()
        self._deadline = time.monotonic() + _GRACE_SECONDS

    def _is_finished(self) -> bool:
        if not self._dispatcher.is_closed:
            is_empty = not self._windows and not self._groups and self._intake.is_empty
            return self._input_ended and is_empty
        is_late = self._deadline is not None and time.monotonic() >= self._deadline
        return self._dispatcher.is_idle or is_late

    def _step(self) -> None:
        """Find work for the dispatcher, store what is complete, and answer the next call."""
        self._feed()
        self._dispatcher.send()
        has_stored = self._store_in_turn()
        if self._is_finished():
            return
        try:
            call = self.calls.get(timeout=0 if has_stored else self._seconds_to_next())
        except Empty:
            return
        call()

    def _seconds_to_next(self) -> float | None:
        if self._deadline is not None:
            return max(0.0, self._deadline - time.monotonic())
        return self._dispatcher.seconds_to_next()

    def _feed(self) -> None:
        """Hand groups to the dispatcher, reading for them as much as it takes."""
        while not self._dispatcher.is_closed and len(self._groups) < self._groups_at_once:
            if self._intake.groups:
                group = Group(self._intake.groups.popleft())
                self._groups.append(group)
                self._dispatcher.add(
                    cut_group(group, self._dispatcher.limit, self._model.max_tokens)
                )
            elif self._windows:
                self._take(self._windows.popleft())
            elif not (self._input_ended and self._intake.finish()):
                return

    def _take(self, window: RecordBlock) -> None:
        window = window.within(self._table.most_bytes)
        if window.bad and self._is_strict:
            window = window.to_first_bad()
            [(place, _)] = window.bad_places()
            self._stats.stop(f"--strict, at {place}")
            self._input_ended = True
            self._windows.clear()
        known = self._intake.take(window, self._dispatcher.limit)
        self._stats.read(len(window.texts) + window.empty + len(window.bad), window.end)
        self._stats.count(known=known, empty=window.empty, skipped=len(window.bad))
        for place, reason in window.bad_places():
            self._skipped(place, reason)
        self.wanted.put(not self._input_ended)

    def _store_in_turn(self) -> bool:
        """Store a part of the first group, if that is complete; return whether there was any."""
        if self.error is not None or not self._groups or self._groups[0].unresolved:
            return False
        if not self._groups[0].is_stored:
            self._store_part(self._groups[0])
        if self._groups[0].is_stored:
            self._groups.popleft()
        return True

    def _store_rest(self) -> None:
        """At the end, store what is answered of all groups, and what is answered meanwhile.

        If the table refuses one group, the others are stored all the same.
        """
        while True:
            while not self.calls.empty():
                self._try(self.calls.get())
            rest = (g for g in self._groups if not (g.is_stored or g in self._refused))
            if (group := next(rest, None)) is None:
                return
            self._try(partial(self._store_part, group))

    def _store_part(self, group: Group) -> None:
        """Store as many of a group's answered texts as a batch has at most.

        With more at once, other calls would wait longer, and transactions be larger.
        """
        documents, vectors = group.answered(self._texts_at_once)
        try:
            added = self._table.add(documents, vectors)
        except BaseException:
            self._refused.add(group)
            raise
        group.stored += len(documents)
        self._intake.forget(documents)
        self._stats.count(stored=added.documents, known=len(documents) - added.documents)
