"""Groups of new texts, and the batches of a group that are embedded by one request each.

Groups keep the order of the input. Within a group, a batch has texts of similar length,
because a service pads the texts of a request to the longest of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from jtv_cli.batching import batched_by_weight
from jtv_cli.pipeline.retry import Attempts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from jtv_cli.embedders import BatchLimit
    from jtv_cli.records import Document, Occurrence, Vectors


class NewText(NamedTuple):
    """A text that the table does not have.

    `occurrences` are those of its document and grow while it is embedded; `places` are what
    messages call the places where it was read, as file:line.
    """

    document: Document
    occurrences: list[Occurrence]
    places: list[str]
    tokens: int

    @property
    def place(self) -> str:
        """Where it was read first, as file:line."""
        return self.places[0]


class Group:
    """Consecutive texts of the input, and the vectors of those that are not stored yet.

    `unresolved` counts the texts that are neither answered nor skipped, `text_bytes` the
    UTF-8 bytes of all. `has_failed` says that some of them could not be stored.
    """

    def __init__(self, texts: Sequence[NewText]) -> None:
        self.texts = texts
        self.unresolved = len(texts)
        self.text_bytes = sum(len(new.document.text.encode()) for new in texts)
        self.has_failed = False
        self._answers: list[tuple[Sequence[int], Vectors]] = []

    @property
    def unstored(self) -> int:
        """The number of texts that are answered and not stored yet."""
        return sum(len(rows) for rows, _ in self._answers)

    def add_answer(self, rows: Sequence[int], vectors: Vectors) -> None:
        """Add the vectors, (len(rows), dimensions) float32, of the texts of ascending rows."""
        self._answers.append((rows, vectors))
        self.unresolved -= len(rows)

    def skip(self, row: int) -> NewText:
        """Return the text of a row that will have no vector."""
        self.unresolved -= 1
        return self.texts[row]

    def take_answers(self, most: int) -> tuple[list[Document], Vectors]:
        """Remove and return up to `most` answered documents, in order, and their vectors.

        There must be some.
        """
        import numpy as np

        if len(self._answers) > 1:
            unordered = np.concatenate([rows for rows, _ in self._answers])
            order = np.argsort(unordered)
            joined = np.concatenate([vectors for _, vectors in self._answers])
            self._answers = [(unordered[order].tolist(), joined[order])]
        [(rows, vectors)] = self._answers
        self._answers = [(rows[most:], vectors[most:])] if len(rows) > most else []
        return [self.texts[row].document for row in rows[:most]], vectors[:most]


@dataclass(slots=True, eq=False)
class Batch:
    """Texts of one group for one request, and what became of that request so far.

    Times are those of `time.monotonic`. `not_before` is when it may be sent, `sent_at` when
    it was sent last. `failed_at` is when it, or the batch that it was split off from, first
    failed for a reason that may be one of its texts. `twin` is the other half of that batch.
    `is_checked` says that the service is known to have worked between that failure and the
    time it is sent.
    """

    group: Group
    rows: list[int]
    tokens: int
    not_before: float = -inf
    sent_at: float = -inf
    attempts: Attempts = field(default_factory=Attempts)
    failed_at: float = inf
    twin: Batch | None = None
    is_answered: bool = False
    is_checked: bool = False

    @property
    def texts(self) -> list[NewText]:
        """The texts."""
        return [self.group.texts[row] for row in self.rows]


def cut_group(group: Group, limit: BatchLimit, longest: int) -> list[Batch]:
    """Cut a group into batches of texts of similar length, each within the limit.

    A text that may have more tokens than the `longest` the model takes is a batch of its
    own, so that no other text is rejected with it. Such texts keep the order of the input,
    in which they are then named.
    """
    rows = sorted(
        range(len(group.texts)), key=lambda row: min(group.texts[row].tokens, longest + 1)
    )
    return _cut(group, rows, limit, longest)


def halves(batch: Batch) -> list[Batch]:
    """Split a batch of several texts into the shorter texts and the longer ones."""
    rows = sorted(batch.rows, key=lambda row: batch.group.texts[row].tokens)
    middle = len(rows) // 2
    return [_batch(batch.group, rows[:middle]), _batch(batch.group, rows[middle:])]


def cut_to_fit(batch: Batch, limit: BatchLimit) -> list[Batch]:
    """Return the batch or, if it exceeds the limit, one that does not and one with the rest."""
    if len(batch.rows) <= limit.texts and (len(batch.rows) == 1 or batch.tokens <= limit.tokens):
        return [batch]
    rows = sorted(batch.rows, key=lambda row: batch.group.texts[row].tokens)
    first, *others = _cut(batch.group, rows, limit, limit.tokens)
    rest = _batch(batch.group, chain.from_iterable(other.rows for other in others))
    return [first, rest]


def _cut(group: Group, rows: Iterable[int], limit: BatchLimit, longest: int) -> list[Batch]:
    def weight(row: int) -> int:
        tokens = group.texts[row].tokens
        return tokens if tokens <= longest else limit.tokens  # leaves no room for others

    parts = batched_by_weight(rows, weight, limit.tokens, limit.texts)
    return [_batch(group, part) for part in parts]


def _batch(group: Group, rows: Iterable[int]) -> Batch:
    ordered = sorted(rows)
    return Batch(group, ordered, sum(group.texts[row].tokens for row in ordered))
