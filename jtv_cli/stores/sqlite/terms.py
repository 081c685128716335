r"""The terms of a text, for a full-text index with FTS5's tokenizer unicode61.

That tokenizer splits texts at everything but letters, digits and marks. It makes one word of a
whole sentence of Chinese or Japanese, and the same word, "c", of C, C++ and C#. So texts are
prepared here, before they are indexed and before they are searched for:

- Scripts without spaces between words are cut into pairs of characters: 東京都 becomes 東京, 京都
  and 都, the last one so that every character begins a term.
- Of words with symbols in them, such as `foo_bar`, `AX-2231` and `C++`, a second term is added in
  which characters of a private use area, which are letters to unicode61, stand for the symbols.

Only characters in fixed ranges are treated so: what a version of Python knows about Unicode must
not matter, because a document is removed from the index by its terms.
"""

from __future__ import annotations

import re
import unicodedata
from operator import add
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# Thai and Lao, Burmese, Khmer, kana, Han and hangul.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf"
    "\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]+"
)
_SYMBOLS = "-_.&+#"
_WITH_SYMBOLS = re.compile(
    f"(?<![A-Za-z0-9])[A-Za-z0-9]+(?:(?:[{_SYMBOLS}]+[A-Za-z0-9]+)+[+#]*|[+#]+)"
)
_DOT_IN_WORD = re.compile(r"\.[A-Za-z0-9]")
_AS_LETTERS = str.maketrans({symbol: chr(0xE000 + at) for at, symbol in enumerate(_SYMBOLS)})
# What separates the words of a query: white space, control characters and ASCII punctuation.
_SEPARATORS = re.compile(r"[\x00-/:-@\[-`{-\x7f\s]+")
_MOST_TERMS = 100  # of a query; FTS5 limits the depth of an expression to 256


def indexed_text(text: str) -> str:
    """Return what FTS5 is given to index a text."""
    if not text.isascii():
        text = _UNSPACED.sub(_pairs_and_last, _normalized(text))
    if not _may_have_symbols(text):
        return text
    # Most words are letters alone: to look at the others takes a tenth of the time.
    others = " ".join([word for word in text.split() if not word.isalnum()])
    joined = _WITH_SYMBOLS.findall(others)
    return f"{text} {' '.join(joined).translate(_AS_LETTERS)}" if joined else text


def query_terms(query: str) -> list[str]:
    """Return the terms of a query, each once, quoted for FTS5: none of them is an operator."""
    query = _normalized(query)
    terms: list[str] = []

    def take(run: re.Match[str]) -> str:
        # A single character may begin any pair.
        terms.extend([f'"{run[0]}"*'] if len(run[0]) == 1 else map(_quoted, _pairs(run[0])))
        return " "

    words = _SEPARATORS.split(_UNSPACED.sub(take, query))
    joined = (word.translate(_AS_LETTERS) for word in _WITH_SYMBOLS.findall(query))
    terms.extend(_quoted(word) for word in (*joined, *words) if word)
    return list(dict.fromkeys(terms))[:_MOST_TERMS]


def _may_have_symbols(text: str) -> bool:
    """Return False if no word of a text has symbols in it, which is true of most texts.

    Searching for one character after the other is much faster than a regular expression.
    """
    # Texts are full of dots that end a sentence.
    return (
        "-" in text
        or "_" in text
        or "+" in text
        or "#" in text
        or "&" in text
        or _DOT_IN_WORD.search(text) is not None
    )


def _normalized(text: str) -> str:
    """Return the text with half and full width characters as the usual ones."""
    is_normalized = text.isascii() or unicodedata.is_normalized("NFKC", text)
    return text if is_normalized else unicodedata.normalize("NFKC", text)


def _pairs(run: str) -> Iterator[str]:
    return map(add, run, run[1:])


def _pairs_and_last(run: re.Match[str]) -> str:
    return f" {' '.join(_pairs(run[0]))} {run[0][-1]} "


def _quoted(word: str) -> str:
    return f'"{word.lower()}"'
