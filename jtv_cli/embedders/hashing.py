"""Signed feature hashing: lexical, not semantic. The model `hashing-v1`, and half of `static-v1`.

Every feature of a text, a word or an n-gram of its characters, is hashed to a dimension
and a sign, and adds its weight there. Texts that share features point the same way;
features that collide by chance cancel out on average. Character n-grams let inflections,
typos and languages without spaces find each other.

A model's name stands for exactly its vectors, so a change to any of them needs a new
name. All weights are binary fractions, so that sums are exact, in any order and on any
machine.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import repeat
from typing import TYPE_CHECKING

import numpy as np

from jtv_cli.embedders import BatchLimit
from jtv_cli.records import Embeddings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from jtv_cli.embedders import EmbedderOptions, Model
    from jtv_cli.records import Purpose, Vectors

    Hashes = npt.NDArray[np.uint64]
    Indices = npt.NDArray[np.intp]
    Weights = npt.NDArray[np.float64]
    Features = tuple[Hashes, Indices, Weights]
    """Of each feature its hash, the index of the word it is of, and its weight."""

_BLOCK = 1 << 13
"""Characters worked on at once: enough for numpy's speed, few enough for little memory."""

_DENSE = 0x2E80
"""The first code point of the East Asian scripts, where one or two characters make a
word and spaces are rare."""

_PICTOGRAPHS = 0x2600
"""The first code point of the emoji: symbols before it mostly draw arrows and boxes."""

_PARTS = ((True, 1, 1.0), (True, 2, 2.0), (True, 3, 2.0), (False, 3, 0.75), (False, 4, 0.75))
"""Of a dense script or not, number of characters, weight; a whole word weighs 1."""

_LONGEST = 16
"""Longer words are compounds, or whole sentences of a script without spaces."""

_BEGINNING, _ENDING = 2.0, 0.5
"""What weights are multiplied by: most languages inflect a word at its end."""

_COMMON_WORDS = """
a about after all also am an and any are as at be because been being both but by can could d did do
does doing each explain find for from get give had happen happens has have having he her here him
his how i if in into is it its just let like ll m many me mean means more most much must my no nor
not of off on only or other our out over own please re s same shall she should show so some such t
tell than that the their them then there these they this those through to too under until up upon
us use used using ve very was we were what when where which while who whom whose why will with work
works would you your
"""
_COMMON_WEIGHTS = dict.fromkeys(_COMMON_WORDS.split(), 0.125)
"""English words that say little of what a text, or a question, is about."""

_RUNS = re.compile(f"[{chr(_DENSE)}-\U0010ffff]+|[^ {chr(_DENSE)}-\U0010ffff]+")
_ASCII_WORDS = re.compile("[a-z0-9]+")
_VARIATIONS = re.compile("[\u0300-\u036f\ufe00-\ufe0f]+")
"""Accents and variation selectors: a searcher often leaves them out."""


def open_embedder(model: Model, options: EmbedderOptions) -> HashingEmbedder:  # noqa: ARG001
    """Return the embedder."""
    return HashingEmbedder(model)


class HashingEmbedder:
    """Embeds by signed feature hashing: without network, key or cost.

    A text has the same vector as a document and as a query, and with every Python
    whose Unicode knows its characters (Python 3.10 knows those of Unicode 13).
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        # The tokens, some megabytes of text, bound the memory that long lines take.
        self.batch_limit = BatchLimit(texts=1024, tokens=1 << 20)

    def embed(self, texts: Sequence[str], purpose: Purpose) -> Embeddings:  # noqa: ARG002
        """Return the texts' unit vectors, in their order; an empty text has one, too."""
        sums = np.zeros((len(texts), self.model.dimensions), np.float32)
        for words, rows in word_blocks(texts):
            block = sums[rows[0] : rows[-1] + 1]
            block += feature_sums(words, word_weights(words), np.array(rows) - rows[0], block.shape)
        return Embeddings(directions(sums))


def word_blocks(texts: Sequence[str]) -> Iterator[tuple[list[str], list[int]]]:
    """Yield words, and the row of each in `texts`, for about `_BLOCK` characters at a time.

    A text counts as 32 characters at least, since its row of sums takes memory too.
    A very long one is cut, even within a word: among its thousands that hardly shows.
    """
    words: list[str] = []
    rows: list[int] = []
    size = 0
    for row, text in enumerate(texts):
        for start in range(0, len(text) or 1, _BLOCK):
            found = _words(text[start : start + _BLOCK])
            words += found
            rows += [row] * len(found)
            size += max(32, min(_BLOCK, len(text) - start))
            if size >= _BLOCK:
                yield words, rows
                words, rows, size = [], [], 0
    if words:
        yield words, rows


def _words(text: str) -> list[str]:
    """Return one word at least: punctuation counts where there is nothing else."""
    folded = _folded(text)
    if folded.isascii():  # The same words as below, in a third of the time.
        return _ASCII_WORDS.findall(folded) or folded.split() or [""]
    return _RUNS.findall(folded.translate(_WORDS_ONLY)) or folded.split() or [""]


def _folded(text: str) -> str:
    """Return the text without differences of case, width, ligature or accent."""
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", text).casefold()
    return unicodedata.normalize("NFKC", _VARIATIONS.sub("", decomposed))


class _WordsOnly(dict[int, str]):
    """A table for `str.translate`, filled as needed: blanks what belongs to no word.

    Soft hyphens and other format characters go without leaving a gap.
    """

    def __missing__(self, code: int) -> str:
        category = unicodedata.category(chr(code))
        in_word = category[0] in "LMN" or (category == "So" and code >= _PICTOGRAPHS)
        gap = "" if category == "Cf" else " "
        return self.setdefault(code, chr(code) if in_word else gap)


_WORDS_ONLY = _WordsOnly()


def word_weights(words: Sequence[str]) -> Weights:
    """Return the words' weights in `hashing-v1`: little for common English ones, else 1."""
    weights = map(_COMMON_WEIGHTS.get, words, repeat(1.0))
    return np.fromiter(weights, np.float64, len(words))


def feature_sums(
    words: list[str], weights: Weights, rows: Indices, shape: tuple[int, ...]
) -> Vectors:
    """Return the sums of the words' features, of shape (rows, dimensions).

    `weights` and `rows` hold the weight and the row of each word. The weights are
    multiples of 1/64 at least, so that the sums are exact.
    """
    line = _Line(words, weights)
    features = [line.whole_words(), *line.parts()]
    hashes, owners, weights = (np.concatenate(column) for column in zip(*features, strict=True))
    hashes = _mixed(hashes)
    dimensions = ((hashes >> 32) * shape[1]) >> 32
    cells = rows[owners] * shape[1] + dimensions.astype(np.intp)
    signed = np.where(hashes & 1, weights, -weights)
    sums = np.bincount(cells, signed, minlength=shape[0] * shape[1])
    return sums.reshape(shape).astype(np.float32)


class _Line:
    """Words in one line of code points, with a space before and after each.

    `starts` and `ends` are the positions of the spaces around each word, `word_at`
    is the index of the word at each position, or after the space at it.
    """

    def __init__(self, words: list[str], weights: Weights) -> None:
        line = f" {' '.join(words)} ".encode("utf-32-le", "surrogatepass")
        self.codes = np.frombuffer(line, "<u4").astype(np.uint64)
        self.spaces = self.codes == ord(" ")
        bounds = np.flatnonzero(self.spaces)
        self.starts, self.ends = bounds[:-1], bounds[1:]
        self.word_at = np.cumsum(self.spaces[:-1]) - 1
        self.positions = np.arange(len(self.word_at))
        self.dense = self.codes[self.starts + 1] >= _DENSE
        self.weights = weights
        lengths = np.clip(self.ends - self.starts - 1, 1, _LONGEST)
        # A long word has more parts than a short one, but is not that much more telling.
        damping = np.where(self.dense, 1, np.rint(32 / np.sqrt(lengths)) / 16)
        self.part_weights = self.weights * damping

    def whole_words(self) -> Features:
        """Return the words as features, without runs of a dense script: those are no words."""
        places = (self.positions - self.starts[self.word_at]).astype(np.uint64)
        letters = _mixed(self.codes[:-1] + (places << 32))
        words = np.flatnonzero(~self.dense)
        return np.add.reduceat(letters, self.starts)[words], words, self.weights[words]

    def parts(self) -> Iterator[Features]:
        """Yield the parts of words, of each kind in `_PARTS`.

        A part may take in the space before or after its word, and so tell beginnings
        and endings apart; not in a dense script, where runs end anywhere.
        """
        dense = self.dense[self.word_at]
        to_end = self.ends[self.word_at] - self.positions
        longest = np.where(dense, to_end * ~self.spaces[:-1], to_end + 1)
        hashes = {1: self.codes}
        for length in range(2, 5):
            hashes[length] = _mixed(hashes[length - 1][:-1]) + self.codes[length - 1 :]
        for is_dense, length, weight in _PARTS:
            at = np.flatnonzero((dense == is_dense) & (longest >= length))
            words = self.word_at[at]
            weights = self.part_weights[words] * weight
            weights[self.spaces[at]] *= _BEGINNING
            weights[self.spaces[at + length - 1]] *= _ENDING
            yield hashes[length][at], words, weights


def _mixed(hashes: Hashes) -> Hashes:
    """Return the hashes with every bit depending on all (the last steps of SplitMix64)."""
    mixed: Hashes = hashes ^ (hashes >> np.uint64(30))
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed


def directions(sums: Vectors) -> Vectors:
    """Return the unit vectors of the sums' square roots, with the sums' signs.

    The roots keep a repeated word from drowning the others. Where all features
    cancelled out, any direction must do.
    """
    sums[~sums.any(axis=1), 0] = 1
    shares = np.abs(sums)
    shares /= shares.sum(axis=1, keepdims=True)
    return np.copysign(np.sqrt(shares, out=shares), sums, out=shares)
