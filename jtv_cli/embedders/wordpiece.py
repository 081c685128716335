"""BERT's tokenizer for lower-cased text: words, then the pieces of a vocabulary.

It yields the same ids as the `tokenizers` library does for `bert-base-uncased` and its
kin, apart from the names of special tokens in a text, which are words like others here.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_LONGEST_WORD = 100  # of characters; BERT takes a longer one for unknown
_MOST_CACHED = 1 << 17

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


class WordPiece:
    """Turns texts into ids of a vocabulary, a file with one piece on each line."""

    def __init__(self, vocabulary: Path) -> None:
        lines = vocabulary.read_text("utf-8").split("\n")
        self._ids = {piece: number for number, piece in enumerate(lines) if piece}
        self._cache: dict[str, tuple[int, ...]] = {}
        self.cls, self.sep = self._ids["[CLS]"], self._ids["[SEP]"]
        self._unknown = (self._ids["[UNK]"],)

    def ids(self, text: str, most: int) -> list[int]:
        """Return the first ids of a text, about `most` at most, without special tokens."""
        ids: list[int] = []
        cache = self._cache
        for word in _words(text):
            pieces = cache.get(word)
            if pieces is None:
                if len(cache) >= _MOST_CACHED:
                    cache.clear()
                pieces = cache[word] = self._cut(word)
            ids += pieces
            if len(ids) >= most:
                break
        return ids[:most]

    def _cut(self, word: str) -> tuple[int, ...]:
        """Return the longest piece that the word begins with, then the longest that goes on."""
        known = self._ids
        if len(word) > _LONGEST_WORD:
            return self._unknown
        ids = []
        start = 0
        while start < len(word):
            for end in range(len(word), start, -1):
                piece = known.get(word[start:end] if start == 0 else f"##{word[start:end]}")
                if piece is not None:
                    ids.append(piece)
                    start = end
                    break
            else:
                return self._unknown
        return tuple(ids)


def _words(text: str) -> list[str]:
    if text.isascii():
        return _ASCII_WORDS.findall(_ASCII_CONTROLS.sub("", text).lower())
    return unicodedata.normalize("NFD", text).translate(_SEPARATED).split()
