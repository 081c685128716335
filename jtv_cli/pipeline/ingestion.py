"""The ingest: read, deduplicate, embed and store, all at the same time.

Four kinds of threads put events into one queue: a reader, one thread for each request in
flight, one that stores, and the main thread, which only waits and passes on interrupts. The
event loop, in a thread of its own, takes one event after the other and does all the rest. The
table is used by one thread at a time: the event loop or, while it stores, that one. What works in
this process runs in the event loop too, because threads would only take the interpreter from each
other: storing in a local file, and an embedder, unless the texts are huge.
"""

from __future__ import annotations

import time
from contextlib import suppress
from functools import partial
from itertools import takewhile
from math import inf
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import TYPE_CHECKING, NamedTuple

from jtv_cli.errors import ServiceError, StoreError, UsageError
from jtv_cli.pipeline.batches import Batch, Group, cut_group
from jtv_cli.pipeline.deduplication import Deduplicator
from jtv_cli.pipeline.long_texts import TextCutter, fitted
from jtv_cli.pipeline.observer import IngestStats, NullObserver, Observer
from jtv_cli.pipeline.scheduler import BatchScheduler, Decision, GiveUp, Retry, Skip
from jtv_cli.records import OUT_OF_TOKENS, Purpose
from jtv_cli.threads import get_within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from jtv_cli.embedders import Embedder
    from jtv_cli.pipeline.batches import NewText
    from jtv_cli.pipeline.options import IngestOptions
    from jtv_cli.pipeline.reembedding import Block
    from jtv_cli.records import Added, Document, Embeddings, IngestReport, Vectors
    from jtv_cli.stores import Table

# Texts are embedded, though they are few, if there is no more input for so many seconds, or if
# the first of them was read so long ago: somebody writes into a pipe now and then.
_IDLE_SECONDS = 2.0
_LONGEST_GATHERING_SECONDS = 10.0
# After an interrupt, a block that was read is awaited for so many seconds.
_LATE_SECONDS = 0.2
# An interrupted run that has been busy for so many seconds says what it is waiting for.
_BUSY_SECONDS = 1.0
# An interrupt must not have to wait until a model in this process is done with so many characters.
_LONG_COMPUTATION = 1 << 20
# In a database that is far away, so many texts are stored at once, and so many may be read and not
# stored, or two groups if these are more: an embedder that takes few texts at a time must not wait
# until each few are stored.
_MOST_UNSTORED = 1024
# What a store keeps for each document beside text and vector, rounded up: hash, ids,
# occurrence and unique index.
BYTES_PER_DOCUMENT = 200


class RecordsRead(NamedTuple):
    """The reader read some records of the input."""

    block: Block


class InputEnded(NamedTuple):
    """There is nothing left to read or, with an error, nothing that can be read."""

    error: BaseException | None = None


class Embedded(NamedTuple):
    """A request was answered."""

    batch: Batch
    embeddings: Embeddings


class RequestFailed(NamedTuple):
    """A request raised an error."""

    batch: Batch
    error: BaseException


class StoringEnded(NamedTuple):
    """Documents were stored, or could not be."""


class StopRequested(NamedTuple):
    """The user or the system asks to stop; `at_once` means without the answers in flight."""

    at_once: bool = False


Event = RecordsRead | InputEnded | Embedded | RequestFailed | StoringEnded | StopRequested


def ingest(
    blocks: Iterable[Block],
    embedder: Embedder,
    table: Table,
    options: IngestOptions,
    observer: Observer | None = None,
    cutter: TextCutter | None = None,
) -> IngestReport:
    """Embed and store the texts that the table does not have, and note where others were read.

    Texts are stored in the order of the input, in groups of `options.concurrency` batches.
    At most two groups, or 1,024 texts, are read and not stored: so much may be paid for and
    lost if the process is killed. However else the run ends, all that was answered is stored
    first.

    An exception in the calling thread, such as a signal handler raises, interrupts the run:
    nothing more is sent, and the answers in flight are awaited for as long as a request
    may take. With `options.is_stream`, what was already read is sent first. A second one
    ends the run without them. The exception is then raised again, or an error of the table
    in its place.

    With a `cutter`, chunks are stored in the place of each text that is too long; without one,
    such a text is skipped.

    The observer is called from the thread of the event loop, and in the end, or when an
    interrupt takes long, from the calling one.

    An error of reading ends the input. What was read before is stored, and the report says
    what stopped the run; if nothing was read, the error is raised.

    Raises the errors of reading, of the embedder (after the retries that the options
    allow) and of the table.
    """
    stats = IngestStats(observer or NullObserver())
    run = _Run(embedder, table, options, stats, cutter)
    try:
        _run_in_threads(run, blocks)
    except BaseException:
        if not isinstance(run.error, ServiceError | None):
            raise run.error from None
        raise
    finally:
        stats.end()
    if run.error is not None:
        raise run.error
    if run.unreadable is not None and stats.report.stopped is None:
        if not (stats.report.stored or stats.report.known):
            raise run.unreadable
        stats.set_stopped(str(run.unreadable))
    return stats.report


def _run_in_threads(run: _Run, blocks: Iterable[Block]) -> None:
    """Start the reader and the event loop, and wait for the end; interrupts stop the run."""
    try:
        # Daemons: a read or a request that never returns must not keep the process.
        Thread(target=run.loop, daemon=True).start()
        Thread(target=_read, args=(blocks, run), daemon=True).start()
        run.wait()
    except BaseException:
        try:
            run.stop()
        except BaseException:
            run.stop(at_once=True)
        raise


def _read(blocks: Iterable[Block], run: _Run) -> None:
    """Read the input, the next block when the event loop has dealt with the last."""
    try:
        for block in blocks:
            run.events.put(RecordsRead(block))
            if not run.wanted.get():
                return
    except BaseException as error:
        run.events.put(InputEnded(error))
    else:
        run.events.put(InputEnded())


class _Storing(NamedTuple):
    """Documents of some groups that are being stored since some time of `time.monotonic`.

    `result` will be what was added, or the error.
    """

    groups: Sequence[Group]
    documents: Sequence[Document]
    since: float
    result: SimpleQueue[Added | BaseException]


class _Run:
    """One run of the event loop.

    `wanted` tells the reader whether to go on, once for every block. Once the run has
    ended, `error` is what ended it, and `unreadable` is what ended the input.
    """

    def __init__(
        self,
        embedder: Embedder,
        table: Table,
        options: IngestOptions,
        stats: IngestStats,
        cutter: TextCutter | None,
    ) -> None:
        self.events: SimpleQueue[Event] = SimpleQueue()
        self.wanted: SimpleQueue[bool] = SimpleQueue()
        self.error: BaseException | None = None
        self.unreadable: UsageError | None = None
        self._embedder = embedder
        self._table = table
        self._options = options
        self._stats = stats
        self._observer = stats.observer
        self._cutter = cutter
        self._in_process = embedder.model.runs_in_process
        if self._in_process:
            options = options._replace(concurrency=1)
        texts = embedder.batch_limit.texts
        self._most_groups = 1 if self._in_process else 2
        self._most_stored = texts
        if table.is_remote:
            self._most_groups = max(2, _MOST_UNSTORED // (texts * options.concurrency))
            self._most_stored = _MOST_UNSTORED
        self._scheduler = BatchScheduler(embedder.batch_limit, options)
        self._deduplicator = Deduplicator(
            table,
            concurrency=options.concurrency,
            longest=embedder.model.max_tokens if options.truncate else None,
        )
        self._groups: list[Group] = []
        self._held_back: Group | None = None
        self._storing: _Storing | None = None
        self._block: Block | None = None
        self._last_read = self._gathering_since = time.monotonic()
        self._busy_since: float | None = None
        self._input_ended = False
        self._ends_at_once = False
        self._is_draining = False
        # Of the main thread: whether it has yet to say what it waits for.
        self._is_stopping = False
        # Whoever acquires it first decides whether the event loop runs.
        self._start = Lock()
        self._has_ended = False
        self._end: SimpleQueue[None] = SimpleQueue()

    def wait(self) -> None:
        """Wait until the run has ended. For the main thread.

        A signal handler may raise at any moment of it, and one can wait again all the same.
        An Event would not do: a signal within its Python code may leave its lock locked.
        """
        while not self._has_ended:
            with suppress(Empty):
                get_within(_BUSY_SECONDS, self._end)
            busy_since = self._busy_since
            is_busy = busy_since is not None and time.monotonic() - busy_since >= _BUSY_SECONDS
            if self._is_stopping and is_busy:
                self._is_stopping = False
                self._observer.on_notice("waiting until what was answered is stored")

    def stop(self, *, at_once: bool = False) -> None:
        """Have the run end, and wait until it has: only then may the table be closed.

        For the main thread, which a signal may have interrupted before the event loop began.
        """
        if self._start.acquire(blocking=False):
            return
        self.events.put(StopRequested(at_once))
        self._is_stopping = True
        self.wait()

    def loop(self) -> None:
        """Handle events until the work is done, then store all that was answered."""
        if not self._start.acquire(blocking=False):  # the run was stopped before it began
            return
        try:
            while not self._is_finished():
                try:
                    self._read_ahead()
                    self._send_requests()
                    has_stored = self._store_next()
                    if not self._is_finished():
                        self._handle(self._next_event(wait=not has_stored))
                except BaseException as error:
                    self._give_up(error)
            self._store_rest()
        finally:
            self.wanted.put(False)
            self._has_ended = True
            self._end.put(None)

    def _is_finished(self) -> bool:
        if self._scheduler.is_closed:
            return self._ends_at_once or not self._scheduler.in_flight
        is_read = self._input_ended and self._block is None and self._deduplicator.is_empty
        return is_read and self._held_back is None and not self._groups

    @property
    def _can_add(self) -> bool:
        """Whether the table may be used now, and there is room for another group."""
        is_free = self._storing is None and not self._scheduler.is_closed
        return is_free and len(self._groups) < self._most_groups

    def _read_ahead(self) -> None:
        """Take in what was read, until there are groups enough to be embedded."""
        while self._can_add:
            if self._held_back is not None and self._groups:
                return
            group = self._held_back or self._next_group()
            if group is None:
                return
            self._held_back = None
            self._add_group(group)

    def _next_group(self) -> Group | None:
        """Return the next group of new texts; None if too few were read."""
        if self._block is not None and not self._deduplicator.is_full:
            self._take_in(self._block)
        is_idle = self._idle_at() <= time.monotonic()
        unfinished = self._input_ended or self._deduplicator.is_full or is_idle
        texts = self._deduplicator.next_group(unfinished=unfinished)
        if texts is None:
            return None
        self._gathering_since = time.monotonic()
        return Group(texts)

    def _idle_at(self) -> float:
        """Return when the texts that were read are embedded, though they are few."""
        if self._block is not None:
            return inf
        longest = self._gathering_since + _LONGEST_GATHERING_SECONDS
        return min(self._last_read + _IDLE_SECONDS, longest)

    def _take_in(self, block: Block) -> None:
        """Sort the records of the block that was read into stored, new, empty and bad ones."""
        self._finish_storing()
        self._block = None
        block = fitted(block, self._cutter, self._table, self._embedder.model)
        if block.bad and self._options.strict:
            block = block.to_first_bad()
            [(place, _)] = block.bad_places()
            self._stats.set_stopped(f"--strict, at {place}")
            self._input_ended = True
        if self._deduplicator.is_empty:
            self._gathering_since = time.monotonic()
        known = self._deduplicator.add(block, self._scheduler.limit)
        self._stats.count_read(len(block.texts) + block.empty + len(block.bad), block.end)
        self._stats.count(known=known, empty=block.empty, skipped=len(block.bad))
        for place, reason in block.bad_places():
            self._observer.on_skipped(place, reason)
        self._last_read = time.monotonic()
        self.wanted.put(not self._input_ended)

    def _add_group(self, group: Group) -> None:
        """Schedule the requests of a group, or hold it back until the others are stored.

        That is if there is no room for it besides them. Raises StoreError if there is none
        even for it alone, before anything of it is paid for.
        """
        groups = [*self._groups, group]
        texts = sum(len(each.texts) for each in groups)
        per_document = 4 * self._table.spec.dimensions + BYTES_PER_DOCUMENT
        try:
            self._table.reserve(sum(each.text_bytes for each in groups) + texts * per_document)
        except StoreError:
            if not self._groups:
                raise
            self._held_back = group
            return
        self._groups = groups
        limit, longest = self._scheduler.limit, self._embedder.model.max_tokens
        self._scheduler.add(cut_group(group, limit, longest))

    def _send_requests(self) -> None:
        """Send what may be sent now, each request in a thread of its own."""
        now = time.monotonic()
        self._carry_out(self._scheduler.on_time(now))
        for batch in self._scheduler.next_requests(now):
            if self._in_process and _characters(batch.texts) < _LONG_COMPUTATION:
                self._handle(self._embed(batch))
            else:
                _run_in_thread(partial(self._request, batch))
        if self._scheduler.is_exhausted:
            self._stop(f"{OUT_OF_TOKENS} {self._options.max_tokens}")

    def _request(self, batch: Batch) -> None:
        self.events.put(self._embed(batch))

    def _embed(self, batch: Batch) -> Embedded | RequestFailed:
        """Embed a batch, and return what becomes of that as an event."""
        try:
            texts = [new.document.text for new in batch.texts]
            return Embedded(batch, self._embedder.embed(texts, Purpose.DOCUMENT))
        except BaseException as error:
            return RequestFailed(batch, error)

    def _next_event(self, *, wait: bool) -> Event | None:
        """Return the next event; None when there is something else to do first."""
        until = self._scheduler.next_time()
        if self._can_add and self._held_back is None and not self._deduplicator.is_empty:
            until = min(until, self._idle_at())
        seconds = until - time.monotonic() if wait else 0.0
        self._busy_since = self._storing.since if self._storing is not None else None
        try:
            return get_within(seconds, self.events)
        except Empty:
            return None
        finally:
            self._busy_since = time.monotonic()

    def _handle(self, event: Event | None) -> None:
        match event:
            case RecordsRead(block):
                if not self._input_ended:
                    self._block = block
            case InputEnded(error):
                self._input_ended = True
                if isinstance(error, UsageError):
                    self.unreadable = error
                elif error is not None:
                    self._give_up(error)
            case Embedded(batch, embeddings):
                batch.group.add_answer(batch.rows, embeddings.vectors)
                self._stats.count(tokens=embeddings.tokens)
                self._carry_out(self._scheduler.on_answered(batch, embeddings.tokens))
            case RequestFailed(batch, error):
                self._carry_out(self._scheduler.on_failed(batch, error, time.monotonic()))
            case StoringEnded():
                self._finish_storing()
            case StopRequested(at_once):
                self._interrupt(at_once=at_once)

    def _carry_out(self, decisions: Sequence[Decision]) -> None:
        for decision in decisions:
            match decision:
                case Skip(batch, reason, is_too_long):
                    if not (is_too_long and self._cut(batch)):
                        self._skip(batch, reason)
                case Retry(wait):
                    if self._is_draining:
                        # Nobody waits minutes for a service after an interrupt.
                        self._scheduler.close()
                    self._stats.set_wait(wait)
                case GiveUp(error):
                    self._give_up(error)

    def _skip(self, batch: Batch, reason: str) -> None:
        """Skip the one text of a batch, wherever it was read."""
        new = batch.group.skip(batch.rows[0])
        self._deduplicator.forget([new.document])
        # Every occurrence but the first was counted as known when it was read.
        self._stats.count(skipped=len(new.places), known=1 - len(new.places))
        for place in new.places:
            self._observer.on_skipped(place, reason)
        if self._options.strict:
            self._stop(f"--strict, at {new.place}")

    def _cut(self, batch: Batch) -> bool:
        """Replace the one text of a batch by its chunks; return False if that is impossible."""
        self._finish_storing()
        new = batch.group.texts[batch.rows[0]]
        blocks = self._cutter.cut_refused(new) if self._cutter is not None else []
        if not blocks:
            return False
        batch.group.skip(batch.rows[0])
        self._deduplicator.forget([new.document])
        chunks = sum(len(block.texts) for block in blocks)
        known = sum(self._deduplicator.add(block, self._scheduler.limit) for block in blocks)
        self._stats.count_read(chunks - len(blocks))
        # Every occurrence but the first was counted as known when it was read.
        self._stats.count(known=known + 1 - len(blocks))
        return True

    def _give_up(self, error: BaseException) -> None:
        """Stop because of an error; one of the store matters more than one of the service."""
        if self.error is None or (
            isinstance(error, StoreError) and isinstance(self.error, ServiceError)
        ):
            self.error = error
        self._scheduler.close()

    def _stop(self, reason: str) -> None:
        self._stats.set_stopped(reason)
        self._scheduler.close()

    def _interrupt(self, *, at_once: bool) -> None:
        """Send nothing more, and wait for the answers in flight unless it is to end at once.

        What is computed in this process is not paid for, so it is not awaited.
        """
        is_sending = not (self._scheduler.is_closed or self._scheduler.is_waiting(time.monotonic()))
        if self._options.is_stream and is_sending and not at_once and self._drain():
            return
        self._scheduler.close()
        self._ends_at_once = at_once = self._ends_at_once or at_once or self._in_process
        requests = len(self._scheduler.in_flight)
        if requests and not at_once:
            what = "1 request" if requests == 1 else f"{requests} requests"
            its = "its answer" if requests == 1 else "their answers"
            self._observer.on_notice(
                f"waiting for {what} in flight; interrupt again to stop at once and lose {its}"
            )

    def _drain(self) -> bool:
        """End the input, and have the run end once all that was read of it is stored.

        Return whether that is worth the wait: it is not if a model in this process would
        compute for long.
        """
        # The reader may have read something that it has not passed on yet.
        until = time.monotonic() + _LATE_SECONDS
        with suppress(Empty):
            while self._block is None and not (self._input_ended or self._scheduler.is_closed):
                self._handle(get_within(until - time.monotonic(), self.events))
        if self._scheduler.is_closed:
            return False
        self._input_ended = True
        if self._block is not None:
            self._take_in(self._block)
        unstored = self._deduplicator.unstored
        if self._in_process and _characters(unstored) >= _LONG_COMPUTATION:
            return False
        self._is_draining = True
        if texts := len(unstored):
            what, they = ("1 text", "it") if texts == 1 else (f"{texts:,} texts", "them")
            self._observer.on_notice(
                f"storing {what} already read; interrupt again to stop at once and lose {they}"
            )
        return True

    def _store_next(self) -> bool:
        """Begin to store what is resolved of the first groups.

        Returns whether something has changed, so that there may be more to do.
        """
        if self._storing is not None or self.error is not None:
            return False
        count = len(self._groups)
        self._remove_stored()
        resolved = list(takewhile(lambda group: not group.unresolved, self._groups))
        if resolved:
            self._store(resolved)
        return self._storing is None and len(self._groups) < count

    def _remove_stored(self) -> None:
        """Remove the first groups, as long as nothing of them is left to be stored."""
        while self._groups and not (self._groups[0].unresolved or self._groups[0].unstored):
            del self._groups[0]

    def _store_rest(self) -> None:
        """At the end, store what was answered of all groups, and count what is lost."""
        while not self.events.empty():
            try:
                self._handle(self.events.get())
            except BaseException as error:
                self._give_up(error)
        while self._groups:
            try:
                self._finish_storing()
                if self._groups and self._groups[0].unstored:
                    self._store(self._groups[:1])
                elif self._groups:
                    del self._groups[0]
            except BaseException as error:
                self._give_up(error)
        if not self._in_process:
            self._stats.count(lost=self._scheduler.unanswered_texts)

    def _store(self, groups: Sequence[Group]) -> None:
        """Begin to store answered texts of groups: with more, transactions would be larger."""
        import numpy as np

        used: list[Group] = []
        documents: list[Document] = []
        parts: list[Vectors] = []
        for group in groups:
            left = self._most_stored - len(documents)
            if left and group.unstored:
                some, vectors = group.take_answers(left)
                used.append(group)
                documents += some
                parts.append(vectors)
        vectors = parts[0] if len(parts) == 1 else np.concatenate(parts)
        self._storing = storing = _Storing(used, documents, time.monotonic(), SimpleQueue())
        if self._table.is_remote:
            _run_in_thread(partial(self._add, storing, vectors))
        else:
            self._add(storing, vectors)
            self._finish_storing()

    def _add(self, storing: _Storing, vectors: Vectors) -> None:
        try:
            storing.result.put(self._table.add(storing.documents, vectors))
        except BaseException as error:
            storing.result.put(error)
        self.events.put(StoringEnded())

    def _finish_storing(self) -> None:
        """Wait until nothing is being stored: only then may the table be used."""
        storing, self._storing = self._storing, None
        if storing is None:
            return
        result, documents = storing.result.get(), storing.documents
        if isinstance(result, BaseException):
            # If one document was refused, the others may be stored all the same.
            lost = len(documents)
            for group in storing.groups:
                if group.has_failed:
                    self._groups.remove(group)
                    lost += group.unstored
                group.has_failed = True
            self._stats.count(lost=lost)
            raise result
        self._deduplicator.forget(documents)
        self._stats.count(stored=result.documents, known=len(documents) - result.documents)
        self._remove_stored()


def _run_in_thread(function: Callable[[], None]) -> None:
    """Call a function in a thread of its own or, if no more can be started, in this one."""
    try:
        Thread(target=function, daemon=True).start()
    except RuntimeError:
        function()


def _characters(texts: Iterable[NewText]) -> int:
    return sum(len(new.document.text) for new in texts)
