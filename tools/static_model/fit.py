"""Fit a vector for every piece of the vocabulary, so that sums of them stand for sentences."""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse

from jtv_cli.embedders.hashing import word_blocks
from jtv_cli.embedders.static import CUTTABLE, FULL_WEIGHT
from jtv_cli.embedders.wordpiece import WordPieces

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

Indices = npt.NDArray[np.intp]
Vectors = npt.NDArray[np.float32]

WIDTH = 256
"""Of the teacher's 384 dimensions, the first principal ones."""

ROWS = 29_000
"""Pieces in the table, which is WIDTH + 5 bytes each."""


STEPS = 2500
"""Of the fit, each on a batch of texts and one of pairs."""

NORM_POWER = 0.8
"""What the lengths of the fitted vectors are raised to, chosen on the tasks of `held_out`.

The fit makes frequent words shorter than a search wants them, which has hashing beside it.
"""

KNOWN = 2
"""In how many texts a word occurs at least that counts as known."""


class Vocabulary(NamedTuple):
    """Pieces, in the order of their rows, and in how many texts each word occurs."""

    names: list[str]
    frequencies: Counter[str]


def choose_vocabulary(original: Path, texts: Sequence[str]) -> Vocabulary:
    """Return the teacher's English pieces, and the most frequent words that it lacks.

    Pieces of words that never occur in the texts leave room for words that do.
    """
    frequencies = Counter(word for text in texts for word in set(words_of(text)))
    names = [n for n in original.read_text("utf-8").split() if re.fullmatch(r"(##)?[a-z]+", n)]
    cut = WordPieces({name: row for row, name in enumerate(names)}, CUTTABLE)
    used = Counter(row for word in frequencies for row in cut[word])
    names = [
        name
        for row, name in enumerate(names)
        if used[row] > 1 or len(name.removeprefix("##")) == 1 or not name.startswith("##")
    ]
    cut = WordPieces({name: row for row, name in enumerate(names)}, CUTTABLE)
    lacking = [
        w
        for w, _ in sorted(frequencies.items(), key=lambda item: (-item[1], item[0]))
        if len(cut[w]) > 1 and re.fullmatch("[a-z]{3,}", w)
    ]
    return Vocabulary(names + lacking[: ROWS - len(names)], frequencies)


def words_of(text: str) -> list[str]:
    """Return the words that the embedder sees."""
    return [word for words, _ in word_blocks([text]) for word in words]


def incidence(texts: Iterable[str], cut: WordPieces, width: int) -> scipy.sparse.csr_matrix:
    """Return how often each text has each piece, (texts, pieces)."""
    ids: list[int] = []
    ends = [0]
    for text in texts:
        for word in words_of(text):
            ids += cut[word]
        ends.append(len(ids))
    ones = np.ones(len(ids), np.float32)
    matrix = scipy.sparse.csr_matrix((ones, ids, ends), shape=(len(ends) - 1, width))
    matrix.sum_duplicates()
    return matrix


def lexical_weights(
    vocabulary: Vocabulary, texts: int, power: float = 1.5
) -> npt.NDArray[np.uint8]:
    """Return each word's weight in feature hashing: its inverse document frequency.

    Words that are not known have 0. `power` was chosen on the tasks of `held_out`.
    """
    weights = np.zeros(len(vocabulary.names), np.uint8)
    for row, name in enumerate(vocabulary.names):
        count = vocabulary.frequencies[name]
        if count >= KNOWN:
            rarity = math.log(texts / count) / math.log(texts / 2)
            weights[row] = max(1, round(FULL_WEIGHT * rarity**power))
    return weights


class Targets(NamedTuple):
    """The teacher's space, cut to its principal dimensions."""

    mean: Vectors
    axes: Vectors

    def project(self, vectors: Vectors) -> Vectors:
        """Return unit vectors of WIDTH dimensions."""
        cut = (vectors - self.mean) @ self.axes
        unit: Vectors = cut / np.maximum(np.linalg.norm(cut, axis=1, keepdims=True), 1e-9)
        return unit


def principal(vectors: Vectors) -> Targets:
    """Return the mean and the principal axes of the teacher's vectors."""
    mean = vectors.mean(0)
    _, axes = np.linalg.eigh(np.cov((vectors - mean).T))
    return Targets(mean, axes[:, ::-1][:, :WIDTH].astype(np.float32))


def start(vocabulary: Vocabulary, words: Vectors, targets: Targets, texts: int) -> Vectors:
    """Return Model2Vec's table: each piece as the teacher sees it alone, rare ones longer."""
    table = (words - words.mean(0)) @ targets.axes
    shares = np.array([vocabulary.frequencies[n] + 1 for n in vocabulary.names]) / texts
    table *= (1e-3 / (1e-3 + shares))[:, None]
    scaled: Vectors = (table / np.abs(table).std() / 20).astype(np.float32)
    return scaled


def build(
    vocabulary: Vocabulary,
    words: Vectors,
    corpus: Sequence[str],
    taught: Vectors,
    pairs: Sequence[tuple[str, str]],
    held_out: set[str],
) -> Vectors:
    """Return the fitted table, (pieces, WIDTH).

    `words` are the teacher's vectors of the vocabulary, `taught` those of the first texts of
    the corpus, `pairs` texts that belong together. The texts in `held_out` are not fitted to.
    """
    cut = WordPieces({name: row for row, name in enumerate(vocabulary.names)}, CUTTABLE)
    width = len(vocabulary.names)
    targets = principal(taught)
    counts = incidence(corpus[: len(taught)], cut, width)
    left, right = (incidence([pair[side] for pair in pairs], cut, width) for side in (0, 1))
    full = counts.getnnz(1) > 0
    full &= np.array([text not in held_out for text in corpus[: len(taught)]])
    both = (left.getnnz(1) > 0) & (right.getnnz(1) > 0)
    data = Batches(counts[full], targets.project(taught)[full], left[both], right[both])
    table = fit(start(vocabulary, words, targets, len(corpus)), data, steps=STEPS)
    lengths = np.linalg.norm(table, axis=1, keepdims=True)
    tempered: Vectors = table * lengths ** (NORM_POWER - 1)
    return tempered


class Batches(NamedTuple):
    """What the table is fitted to.

    `counts` has the pieces of texts, (texts, pieces), and `goals` the teacher's vectors of
    them; `left` and `right` the pieces of texts that belong together, row by row.
    """

    counts: scipy.sparse.csr_matrix
    goals: Vectors
    left: scipy.sparse.csr_matrix
    right: scipy.sparse.csr_matrix


def fit(
    table: Vectors,
    data: Batches,
    *,
    steps: int,
    teacher: float = 1.0,
    relations: float = 1.0,
    pairs: float = 0.2,
    temperature: float = 0.05,
    batch: int = 512,
    rate: float = 0.002,
) -> Vectors:
    """Return the table after steps of Adam, each on a batch of texts and one of pairs.

    The loss is the sum of: `teacher` times the cosine distance to the teacher's vector;
    `relations` times the cross entropy between the teacher's and the table's similarities
    within the batch; `pairs` times the cross entropy of choosing the other text of a pair
    among all of the batch.
    """
    rng = np.random.default_rng(0)
    table = table.copy()
    first, second = np.zeros_like(table), np.zeros_like(table)
    texts = _endless(rng, len(data.goals), batch)
    couples = _endless(rng, data.left.shape[0], batch)
    change = np.zeros_like(table)
    for step in range(steps):
        if teacher or relations:
            chosen = next(texts)
            sums = _Sums(data.counts[chosen], table)
            goals = data.goals[chosen]
            gradient = -teacher * goals
            wanted = _softmax(goals @ goals.T / temperature)
            likeness = _softmax(sums.unit @ goals.T / temperature) - wanted
            gradient += relations * (likeness @ goals)
            sums.add_gradient(change, gradient)
        if pairs:
            chosen = next(couples)
            left, right = (_Sums(side[chosen], table) for side in (data.left, data.right))
            scores = left.unit @ right.unit.T / temperature
            both = _softmax(scores, others=False) + _softmax(scores.T, others=False).T
            both[np.diag_indices(batch)] -= 2
            left.add_gradient(change, pairs * (both @ right.unit))
            right.add_gradient(change, pairs * (both.T @ left.unit))
        # Only the rows of this step's pieces: the others are most of the table.
        rows = np.flatnonzero(change.any(1))
        first[rows] = 0.9 * first[rows] + 0.1 * change[rows]
        second[rows] = 0.99 * second[rows] + 0.01 * change[rows] ** 2
        slower = rate * (1 - step / steps) + 1e-5
        table[rows] -= slower * first[rows] / (np.sqrt(second[rows]) + 1e-8)
        change[rows] = 0
    return table


class _Sums:
    """Unit vectors of texts, and the way back from their gradients to the table's."""

    def __init__(self, counts: scipy.sparse.csr_matrix, table: Vectors) -> None:
        sums = counts @ table
        self._counts = counts
        self._lengths = np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-6)
        self.unit: Vectors = sums / self._lengths

    def add_gradient(self, change: Vectors, gradient: Vectors) -> None:
        along = (gradient * self.unit).sum(1, keepdims=True)
        gradient = (gradient - along * self.unit) / self._lengths
        turned = self._counts.T.tocsr()
        rows = np.flatnonzero(np.diff(turned.indptr))
        change[rows] += (turned[rows] @ gradient) / len(gradient)


def _endless(rng: np.random.Generator, count: int, batch: int) -> Iterator[Indices]:
    while True:
        order = rng.permutation(count)
        for start in range(0, count - batch + 1, batch):
            yield order[start : start + batch]


def _softmax(scores: Vectors, *, others: bool = True) -> Vectors:
    """Return each row's shares; `others` leaves out the text itself, on the diagonal."""
    scores = scores.copy()
    if others:
        np.fill_diagonal(scores, -np.inf)
    powers = np.exp(scores - scores.max(1, keepdims=True))
    shares: Vectors = powers / powers.sum(1, keepdims=True)
    return shares
