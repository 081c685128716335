"""BERT's tokenizer for lower-cased text: words, then the pieces of a vocabulary.

It yields the same ids as the `tokenizers` library does for `bert-base-uncased` and its
kin, apart from the names of special tokens in a text, which are words like others here.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_MOST_CACHED = 1 << 17
"""Words whose pieces are remembered: some 20 MB."""

_CUTTABLE = re.compile("(?s).{1,100}")
"""BERT takes longer words for unknown."""

_ASCII_WORDS = re.compile(r"[a-z0-9]+|[!-/:-@\[-`{-~]")
_ASCII_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_CJK = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B920, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)


class _Separated(dict[int, str]):
    """A table for `str.translate`, filled as needed.

    It lower-cases letters, drops accents and control characters, and puts spaces around
    punctuation and Chinese characters, each of which is a word.
    """

    def __missing__(self, code: int) -> str:
        letter = chr(code)
        category = unicodedata.category(letter)
        if (letter.isspace() and category != "Cc") or letter in "\t\n\r":
            result = " "
        elif category in ("Cc", "Cf", "Co", "Cs", "Mn") or code == 0xFFFD:
            result = ""
        elif category[0] == "P" or _is_ascii_mark(code) or _is_cjk(code):
            result = f" {letter} "
        else:
            result = letter.lower()
        return self.setdefault(code, result)


def _is_ascii_mark(code: int) -> bool:
    return 0x20 < code < 0x7F and not chr(code).isalnum()


def _is_cjk(code: int) -> bool:
    return any(first <= code <= last for first, last in _CJK)


_SEPARATED = _Separated()


class WordPieces(dict[str, tuple[int, ...]]):
    """The ids of each word's pieces, looked up once and remembered.

    A word of the vocabulary is one piece. Another is cut if it is `cuttable`: into the longest
    piece that it begins with, then the longest that goes on, which the vocabulary marks with
    "##". A word that cannot be cut up is `unknown`.
    """

    def __init__(
        self, ids: Mapping[str, int], cuttable: re.Pattern[str], unknown: tuple[int, ...] = ()
    ) -> None:
        super().__init__()
        self._ids = ids
        self._cuttable = cuttable
        self._unknown = unknown

    def __missing__(self, word: str) -> tuple[int, ...]:
        if len(self) >= _MOST_CACHED:
            self.clear()
        return self.setdefault(word, self._cut(word))

    def _cut(self, word: str) -> tuple[int, ...]:
        if (whole := self._ids.get(word)) is not None:
            return (whole,)
        if not self._cuttable.fullmatch(word):
            return self._unknown
        pieces = []
        start = 0
        while start < len(word):
            for end in range(len(word), start, -1):
                piece = word[start:end] if start == 0 else f"##{word[start:end]}"
                if (number := self._ids.get(piece)) is not None:
                    pieces.append(number)
                    start = end
                    break
            else:
                return self._unknown
        return tuple(pieces)


class WordPiece:
    """Turns texts into ids of a vocabulary, a file with one piece on each line."""

    def __init__(self, vocabulary: Path) -> None:
        lines = vocabulary.read_text("utf-8").split("\n")
        ids = {piece: number for number, piece in enumerate(lines) if piece}
        self.cls, self.sep = ids["[CLS]"], ids["[SEP]"]
        self._pieces = WordPieces(ids, _CUTTABLE, unknown=(ids["[UNK]"],))

    def ids(self, text: str, most: int) -> list[int]:
        """Return the first ids of a text, at most `most`, without special tokens."""
        ids: list[int] = []
        for word in _words(text):
            ids += self._pieces[word]
            if len(ids) >= most:
                break
        return ids[:most]


def _words(text: str) -> list[str]:
    if text.isascii():
        return _ASCII_WORDS.findall(_ASCII_CONTROLS.sub("", text).lower())
    return unicodedata.normalize("NFD", text).translate(_SEPARATED).split()
