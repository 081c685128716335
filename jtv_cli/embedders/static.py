"""The built-in embedder `static-v1`: word meanings from a table, joined with feature hashing.

The table holds a vector for every piece of an English vocabulary. It was fitted so that
the sum of a text's vectors points where the sentence model all-MiniLM-L6-v2 would put the
text; see docs/embedders.md. That is the first part of a vector. The second part is feature
hashing, which tells rare words, identifiers and other languages apart. The less of a text
the vocabulary covers, the more of the vector's length goes to the second part.

The model's name stands for exactly these vectors: whatever changes one of them needs a new
name, the table included.
"""

from __future__ import annotations

import re
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from jtv_cli.embedders import BatchLimit
from jtv_cli.embedders.hashing import directions, feature_sums, word_blocks, word_weights
from jtv_cli.embedders.wordpiece import WordPieces
from jtv_cli.records import Embeddings

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from jtv_cli.embedders import EmbedderOptions, Model
    from jtv_cli.records import Purpose, Vectors

    Indices = npt.NDArray[np.intp]
    Weights = npt.NDArray[np.float64]

TABLE_FILE = Path(__file__).with_name("static_v1.bin")
"""The table that `tools/build_static_model.py` made."""

MEANING_SHARE = 0.5
"""The share of a vector's squared length that meaning takes in a text of known words."""

UNCOVERED, COVERED = 0.3, 0.8
"""Shares of a text's characters that known words make up: up to the first, meaning takes
nothing, from the second on all of its share, and in proportion between them."""

FULL_WEIGHT = 64
"""The weight in hashing of a word that the vocabulary lacks; known ones weigh less, the
more common they are."""

CUTTABLE = re.compile("[a-z]{1,32}")
"""Longer words are identifiers or hashes, whose pieces mean nothing, and words with digits are
told apart by feature hashing alone."""


class Table(NamedTuple):
    """The vocabulary and, for each of its pieces, a vector and a weight.

    `vectors` is int8, (pieces, width); a row times its `scales` is the piece's vector.
    `weights` are 64ths, for words in feature hashing; 0 marks what is no whole word.
    """

    pieces: dict[str, int]
    scales: npt.NDArray[np.float32]
    weights: npt.NDArray[np.uint8]
    vectors: npt.NDArray[np.int8]


def open_table(path: Path = TABLE_FILE) -> Table:
    """Map a table file into memory.

    It begins with the number of pieces, their vectors' width and the length of the
    vocabulary in bytes, as little-endian 32-bit integers. After that come the vocabulary,
    one piece per line, the scales as float32, the weights, and the vectors.
    """
    data = np.memmap(path, np.uint8, mode="r")
    count, width, length = (int(number) for number in data[:12].view("<u4"))
    ends = np.cumsum([12, length, 4 * count, count, count * width])
    pieces, scales, weights, vectors = (
        np.asarray(data[start:end]) for start, end in pairwise(ends)
    )
    names = pieces.tobytes().decode("ascii").split("\n")
    return Table(
        dict(zip(names, range(count), strict=True)),
        scales.view("<f4"),
        weights,
        vectors.view(np.int8).reshape(count, width),
    )


def open_embedder(model: Model, options: EmbedderOptions) -> StaticEmbedder:  # noqa: ARG001
    """Return the embedder."""
    return StaticEmbedder(model)


class StaticEmbedder:
    """Embeds by a table of word vectors and feature hashing: no network, key or cost.

    A text has the same vector as a document and as a query, on every platform within 1e-6.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.batch_limit = BatchLimit(texts=1024, tokens=1 << 20)
        self._table = open_table()
        self._words = WordPieces(self._table.pieces, CUTTABLE)

    def embed(self, texts: Sequence[str], purpose: Purpose) -> Embeddings:  # noqa: ARG002
        """Return the texts' unit vectors, in their order; an empty text has one, too."""
        width = self._table.vectors.shape[1]
        vectors = np.zeros((len(texts), self.model.dimensions), np.float32)
        meanings, features = vectors[:, :width], vectors[:, width:]
        known, letters = np.zeros((2, len(texts)))
        for words, owners in word_blocks(texts):
            block = slice(owners[0], owners[-1] + 1)
            rows = np.array(owners) - owners[0]
            pieces = _Pieces(self._table, [self._words[word] for word in words])
            lengths = np.fromiter(map(len, words), np.float64, len(words))
            count = block.stop - block.start
            block_known = np.bincount(rows, lengths * pieces.is_known, count)
            block_letters = np.bincount(rows, lengths, count)
            known[block] += block_known
            letters[block] += block_letters
            weights = word_weights(words)
            english = _coverage(block_known, block_letters)[rows]
            weights += english * (pieces.weights - weights)
            weights = np.rint(weights * FULL_WEIGHT) / FULL_WEIGHT
            features[block] += feature_sums(words, weights, rows, features[block].shape)
            pieces.add_meanings(meanings[block], rows)
        lengths = np.linalg.norm(meanings, axis=1)
        shares = MEANING_SHARE * _coverage(known, letters) * (lengths > 0)
        meanings *= (np.sqrt(shares) / np.maximum(lengths, 1e-12))[:, None]
        features[:] = directions(features) * np.sqrt(1 - shares)[:, None]
        return Embeddings(vectors)


def _coverage(known: npt.ArrayLike, letters: npt.ArrayLike) -> Weights:
    """Return how much texts with so many letters in known words are taken for English."""
    shares: Weights = np.divide(known, np.maximum(letters, 1))
    return np.clip((shares - UNCOVERED) / (COVERED - UNCOVERED), 0, 1)


class _Pieces:
    """The pieces of a block's words.

    `is_known` says which words are in the vocabulary, `weights` what each weighs in
    feature hashing in an English text.
    """

    def __init__(self, table: Table, pieces: Sequence[tuple[int, ...]]) -> None:
        self._table = table
        self._counts = np.fromiter(map(len, pieces), np.intp, len(pieces))
        self._ids = np.fromiter(chain.from_iterable(pieces), np.intp)
        whole = self._counts == 1
        weights = np.zeros(len(pieces), np.uint8)
        weights[whole] = table.weights[self._ids[np.repeat(whole, self._counts)]]
        self.is_known = weights > 0
        self.weights = np.where(self.is_known, weights / FULL_WEIGHT, 1.0)

    def add_meanings(self, block: Vectors, rows: Indices) -> None:
        """Add the vectors of all pieces to the block, each to the row of its word."""
        if not self._ids.size:
            return
        vectors = np.multiply(
            self._table.vectors[self._ids], self._table.scales[self._ids, None], dtype=np.float32
        )
        owners = np.repeat(rows, self._counts)
        starts = np.flatnonzero(np.diff(owners, prepend=-1))
        block[owners[starts]] += np.add.reduceat(vectors, starts, axis=0)
