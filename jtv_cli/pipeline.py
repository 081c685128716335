"""The data's way: lines → known? → batches → embedder → table, and query → hits."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING

from jtv_cli.records import Document, IngestReport, Occurrence, Place, Purpose, text_hash

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from jtv_cli.embedders import BatchLimit, Embedder
    from jtv_cli.records import Added, Vectors
    from jtv_cli.sources import BadLine, Window
    from jtv_cli.stores import Table

# How long an interrupt waits for the answer that is being paid for.
_GRACE_SECONDS = 3.0


def embed_query(query: str, embedder: Embedder) -> Vectors:
    """Return the query's vector, (dimensions,) float32."""
    vector: Vectors = embedder.embed([query], Purpose.QUERY).vectors[0]
    return vector


def ingest(
    windows: Iterable[Window],
    embedder: Embedder,
    table: Table,
    *,
    progress: Callable[[IngestReport], None],
    skipped: Callable[[BadLine], None],
) -> IngestReport:
    """Embed and store the texts that the table does not have; note where the others were read.

    Each batch is one request and one transaction. `progress` hears of every step,
    `skipped` of every line left out. Interrupted, it stores what is answered
    within three seconds, tells `progress`, and lets the interrupt go on.
    """
    run = _Ingest(embedder, table, progress, skipped)
    for batch in _batches(run.new_documents(windows), embedder.batch_limit):
        run.store(batch)
    return run.report


@dataclass(slots=True)
class _Ingest:
    """One run: what it has done, and where the texts that are not stored yet were read."""

    embedder: Embedder
    table: Table
    progress: Callable[[IngestReport], None]
    skipped: Callable[[BadLine], None]
    report: IngestReport = field(default_factory=IngestReport)
    waiting: dict[bytes, list[Occurrence]] = field(default_factory=dict)

    def new_documents(self, windows: Iterable[Window]) -> Iterator[Document]:
        """Yield the texts that the table does not have; note where the others were read."""
        for window in windows:
            for line in window.bad:
                self.skipped(line)
            self._count(skipped=len(window.bad), empty=window.empty)
            yield from self._sort(window)

    def _sort(self, window: Window) -> list[Document]:
        hashes = [text_hash(text) for _, text in window.texts]
        ids = self.table.known(hashes)
        known: list[Place] = []
        new: list[Document] = []
        for key, (line, text) in zip(hashes, window.texts, strict=True):
            if key in ids:
                known.append(Place(line, ids[key]))
            elif key in self.waiting:
                self.waiting[key].append(Occurrence(window.source, line))
            else:
                self.waiting[key] = places = [Occurrence(window.source, line)]
                new.append(Document(text, key, places))
        self.table.add_occurrences(window.source, known)
        self._count(known=len(hashes) - len(new))
        return new

    def store(self, batch: list[Document]) -> None:
        """Embed and store one batch."""
        payment = _Payment(self.embedder, self.table, batch)
        try:
            payment.start()
            payment.wait()
        except BaseException:
            payment.finish(_GRACE_SECONDS)
            self._count_stored(payment)
            raise
        self._count_stored(payment)
        if payment.error is not None:
            raise payment.error
        for document in batch:
            del self.waiting[document.hash]

    def _count_stored(self, payment: _Payment) -> None:
        if payment.added is not None:
            stored = payment.added.documents
            known = len(payment.documents) - stored
            self._count(stored=stored, known=known, tokens=payment.tokens)

    def _count(self, **more: int) -> None:
        totals = {name: getattr(self.report, name) + count for name, count in more.items()}
        self.report = replace(self.report, **totals)
        self.progress(self.report)


class _Payment:
    """A batch being embedded and then stored, by a thread of its own.

    Interrupts only ever strike the main thread, so nothing comes between an answer
    that was paid for and its transaction.
    """

    def __init__(self, embedder: Embedder, table: Table, documents: list[Document]) -> None:
        self.documents = documents
        self.tokens = 0
        self.added: Added | None = None
        self.error: BaseException | None = None
        self._embedder = embedder
        self._table = table
        self._storing = Lock()
        self._answered = Event()
        self._done = Event()
        self._started = False
        self._given_up = False

    def start(self) -> None:
        """Begin to pay."""
        self._started = True
        # A daemon, for a request that does not return must not keep the process.
        Thread(target=self._run, daemon=True).start()

    def wait(self) -> None:
        """Wait until it is stored, or has failed."""
        # Not by joining the thread: before Python 3.13, a join that was interrupted
        # takes a running thread for ended.
        self._done.wait()

    def finish(self, seconds: float) -> None:
        """Wait so long for the answer, and for as long as it takes to store it."""
        if self._started:
            self._answered.wait(seconds)
        with self._storing:
            self._given_up = True

    def _run(self) -> None:
        try:
            texts = [document.text for document in self.documents]
            embeddings = self._embedder.embed(texts, Purpose.DOCUMENT)
            with self._storing:
                self._answered.set()
                if not self._given_up:
                    self.tokens = embeddings.tokens
                    self.added = self._table.add(self.documents, embeddings.vectors)
        except BaseException as error:
            self.error = error
        finally:
            self._answered.set()
            self._done.set()


def _batches(documents: Iterable[Document], limit: BatchLimit) -> Iterator[list[Document]]:
    batch: list[Document] = []
    tokens = 0
    for document in documents:
        more = _estimated_tokens(document.text)
        if batch and (len(batch) == limit.texts or tokens + more > limit.tokens):
            yield batch
            batch, tokens = [], 0
        batch.append(document)
        tokens += more
    if batch:
        yield batch


def _estimated_tokens(text: str) -> int:
    """Return no less than most tokenizers count: English has four or five letters a token."""
    return len(text) // 3 + 1 if text.isascii() else len(text)
