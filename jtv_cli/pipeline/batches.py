"""Texts in batches, and batches in groups.

Groups follow the input's order; within a group, texts are batched by length.
"""

from __future__ import annotations

import string
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from jtv_cli.batching import batched_by_weight

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from jtv_cli.embedders import BatchLimit
    from jtv_cli.pipeline.retry import Attempts
    from jtv_cli.records import Document, Occurrence, Vectors

# Bytes that may be one of several in a token: all others count as one token each.
_SPARSE = (string.ascii_letters + " ").encode()
_ASCII = bytes(range(128))


def estimated_tokens(text: str, most: int | None = None) -> int:
    """Return a text's tokens: an estimate that few tokenizers exceed, and at most `most`.

    Three letters or spaces of ASCII are a token (English has four or five to one), and
    so is every digit and mark of punctuation, of which code is full. Of all other
    scripts two bytes are one: a CJK character, of three, is seldom more than one token.
    """
    encoded = text.encode()
    dense = len(encoded.translate(None, _SPARSE))
    letters = (len(encoded) - dense) // 3
    others = 0 if text.isascii() else len(encoded.translate(None, _ASCII))
    estimate = 1 + letters + dense - others // 2
    return estimate if most is None else min(estimate, most)


class NewText(NamedTuple):
    """A text that the table does not have: `paths` are where its `occurrences` were read."""

    document: Document
    occurrences: list[Occurrence]
    paths: list[str]
    tokens: int

    @property
    def place(self) -> str:
        """Where it was read first, as file:line."""
        return f"{self.paths[0]}:{self.occurrences[0].line}"


class Group:
    """Texts that follow one another in the input, and those of their vectors that are there.

    `unresolved` counts the texts that are still to be embedded or left out, `stored`
    those that are in the table.
    """

    def __init__(self, texts: Sequence[NewText]) -> None:
        self.texts = texts
        self.unresolved = len(texts)
        self.stored = 0
        self.parts: list[tuple[Sequence[int], Vectors]] = []

    @property
    def is_stored(self) -> bool:
        """Whether all that was answered is in the table."""
        return self.stored == sum(len(rows) for rows, _ in self.parts)

    def answer(self, rows: Sequence[int], vectors: Vectors) -> None:
        """Take vectors (len(rows), dimensions) for the texts of these rows, which ascend."""
        self.parts.append((rows, vectors))
        self.unresolved -= len(rows)

    def answered(self, most: int) -> tuple[list[Document], Vectors]:
        """Return the next documents to store, in the order of the input, and their vectors.

        There must be some.
        """
        import numpy as np

        if len(self.parts) > 1:
            places = np.concatenate([rows for rows, _ in self.parts])
            order = np.argsort(places)
            joined = np.concatenate([vectors for _, vectors in self.parts])
            self.parts = [(places[order].tolist(), joined[order])]
        [(rows, vectors)] = self.parts
        part = slice(self.stored, self.stored + most)
        return [self.texts[row].document for row in rows[part]], vectors[part]


@dataclass(slots=True, eq=False)
class Batch:
    """Texts of one group for one request, and how often it was tried.

    `not_before` is when it may be sent, on `time.monotonic`'s clock.
    """

    group: Group
    rows: list[int]
    tokens: int
    not_before: float = 0.0
    attempts: Attempts | None = None

    @property
    def texts(self) -> list[NewText]:
        """The texts."""
        return [self.group.texts[row] for row in self.rows]


def cut_group(group: Group, limit: BatchLimit, longest: int) -> list[Batch]:
    """Cut a group into batches of texts of similar length, each within the limit.

    A text that may have more tokens than the `longest` the model takes stands alone,
    so that others are not refused with it; these keep their order, to be named in it.
    """
    rows = sorted(
        range(len(group.texts)), key=lambda row: min(group.texts[row].tokens, longest + 1)
    )
    return _batches(group, rows, limit, longest)


def halves(batch: Batch) -> list[Batch]:
    """Cut a batch of several texts in two: the shorter texts, and the longer."""
    rows = sorted(batch.rows, key=lambda row: batch.group.texts[row].tokens)
    middle = len(rows) // 2
    return [_batch(batch.group, rows[:middle]), _batch(batch.group, rows[middle:])]


def fitted(batch: Batch, limit: BatchLimit) -> list[Batch]:
    """Cut a batch, if it must be, into such as are within the limit."""
    if len(batch.rows) <= limit.texts and (len(batch.rows) == 1 or batch.tokens <= limit.tokens):
        return [batch]
    rows = sorted(batch.rows, key=lambda row: batch.group.texts[row].tokens)
    return _batches(batch.group, rows, limit, limit.tokens)


def _batches(group: Group, rows: Iterable[int], limit: BatchLimit, longest: int) -> list[Batch]:
    def weight(row: int) -> int:
        tokens = group.texts[row].tokens
        return tokens if tokens <= longest else limit.tokens  # leaves no room for others

    parts = batched_by_weight(rows, weight, limit.tokens, limit.texts)
    return [_batch(group, part) for part in parts]


def _batch(group: Group, rows: Iterable[int]) -> Batch:
    ordered = sorted(rows)
    return Batch(group, ordered, sum(group.texts[row].tokens for row in ordered))
