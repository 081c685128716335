"""Cut texts into chunks of a target size, at their own structure.

Where a text is cut depends on the text near the cut alone, so that an edit changes the chunks
around it and leaves all others, which are stored already, as they are.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from enum import Enum
from functools import lru_cache
from math import floor, log2
from typing import TYPE_CHECKING
from zlib import crc32

from jtv_cli.text import estimated_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from semantic_text_splitter import MarkdownSplitter, TextSplitter

DEFAULT_SIZE = 256
"""The target size of a chunk in estimated tokens: see "Chunks" in docs/documents.md."""

# Of an edited text, the number of characters in a token changes a little. Rounding it down to
# a power of the fourth root of 2 keeps the size in characters, and with it the cuts.
_STEPS = 4
# Characters after a possible cut that decide how it ranks among others.
_RANKED_BY = 16
# The library is given so many chunks at a time, or less: where it finds no sentences, its time
# grows with the square of what it is given.
_CHUNKS_IN_WINDOW = 8


class Kind(Enum):
    """What a text is, which decides where it may be cut."""

    MARKDOWN = "markdown"
    RST = "rst"
    TEXT = "text"
    CODE = "code"


# Where a text may be cut, the best first. All match up to the start of a line.
_PARAGRAPH = re.compile(r"\n[ \t\r]*\n(?=[^\s])")
_INDENTED_PARAGRAPH = re.compile(r"\n[ \t\r]*\n(?=[^\n])")
_MARKDOWN_ITEM = re.compile(r"\n(?=(?:[-*+|>]|\d{1,9}[.)])[ \t])")
_NESTED_ITEM = re.compile(r"\n(?=[ \t]*(?:[-*+|>]|\d{1,9}[.)])[ \t])")
_MAN_PARAGRAPH = re.compile(r"\n(?=\.(?:[IT]?P|PP|LP|sp)\b)")
_UNINDENTED_LINE = re.compile(r"\n(?=[^\s)\]}])")
_LINE = re.compile(r"\n")
_PLACES: dict[Kind, tuple[re.Pattern[str], ...]] = {
    Kind.MARKDOWN: (_PARAGRAPH, _INDENTED_PARAGRAPH, _MARKDOWN_ITEM, _NESTED_ITEM),
    Kind.RST: (_PARAGRAPH, _INDENTED_PARAGRAPH, _MARKDOWN_ITEM, _NESTED_ITEM),
    Kind.TEXT: (_PARAGRAPH, _INDENTED_PARAGRAPH, _MAN_PARAGRAPH, _MARKDOWN_ITEM),
    Kind.CODE: (_PARAGRAPH, _INDENTED_PARAGRAPH, _UNINDENTED_LINE, _LINE),
}
# Where a text without any of these may be divided into windows.
_SENTENCE_END = re.compile(r"[.!?][\"')\]]*\s+|[。！？][」』”）]*")
_WORD_END = re.compile(r"\s+|[、，；]")
_FENCE = re.compile(
    r"^[ \t]*(`{3,}(?!`)|~{3,}(?!~))[^\n]*\n(?s:.*?)(?:^[ \t]*\1[`~]*[ \t\r]*$|\Z)", re.MULTILINE
)
_SPACE = re.compile(r"\s*")
_BLANK_LINES = re.compile(r"(?:[ \t\r]*\n)+")


def cut(text: str, size: int, kind: Kind = Kind.TEXT, *, uncut: int = 0) -> list[tuple[int, str]]:
    """Cut a text into chunks of at most `size` estimated tokens.

    Return the offset in characters of each chunk and the chunk, without blank lines around it.
    Together, the chunks have everything but white space of the text. The first `uncut`
    characters, such as a heading, are not a chunk by themselves.
    """
    chunks: list[tuple[int, str]] = []
    for start, end in _spans(text, size, kind, uncut):
        chunk = text[start:end].rstrip()
        blank = _BLANK_LINES.match(chunk) if chunk[:1].isspace() else None
        offset = blank.end() if blank else 0
        if offset < len(chunk):
            chunks.append((start + offset, chunk[offset:]))
    return chunks


def rank(text: str, offset: int) -> int:
    """Return how a cut at an offset ranks among others: the lowest is taken first.

    It is a hash of the characters that follow.
    """
    return crc32(text[offset : offset + _RANKED_BY].encode("utf-8", "surrogatepass"))


def _spans(text: str, size: int, kind: Kind, uncut: int) -> list[tuple[int, int]]:
    """Return the start and the end of each chunk, with the white space around it."""
    if len(text) < size and text.isascii():  # no text has more tokens than that
        return [(0, len(text))]
    tokens = estimated_tokens(text)
    if tokens <= size:
        return [(0, len(text))]
    step = floor(_STEPS * log2(len(text) / tokens))
    capacity = max(1, int(size * 2 ** (step / _STEPS)))
    spans: list[tuple[int, int]] = []
    _Cutter(text, capacity, kind, uncut).split(0, len(text), 0, spans)
    return spans


class _Cutter:
    """Divides a text into spans that are within a capacity, in characters."""

    def __init__(self, text: str, capacity: int, kind: Kind, uncut: int) -> None:
        self._text = text
        self._capacity = capacity
        self._is_markdown = kind is Kind.MARKDOWN
        self._fences: list[tuple[int, int]] = []
        if self._is_markdown and ("```" in text or "~~~" in text):
            self._fences = [match.span() for match in _FENCE.finditer(text)]
        self._patterns = _PLACES[kind]
        if self._fences:  # what is too long for a chunk although it is a fence
            self._patterns += _PLACES[Kind.CODE]
        # The blank lines below a heading are not cut off either.
        self._uncut = _SPACE.match(text, uncut).end() if uncut else 0  # type: ignore[union-attr]
        if self._uncut == len(text):  # nothing is below it
            self._uncut = 0
        self._levels: list[Sequence[int]] = []

    def split(self, start: int, end: int, level: int, spans: list[tuple[int, int]]) -> None:
        """Append the parts of a span to `spans`.

        A span that is too long is divided at the best offset in its middle half, or at the one
        nearest to it; its parts in the same way. This is the shape of a treap: an edit that does
        not change an offset's rank leaves the divisions as they are.
        """
        if end - start <= self._capacity:
            spans.append((start, end))
            return
        while level < len(self._patterns):
            offsets = self._offsets(level)
            first, last = bisect_right(offsets, start), bisect_left(offsets, end)
            if first < last:
                break
            level += 1
        else:
            self._split_by_library(start, end, spans)
            return
        at = offsets[first] if last - first == 1 else self._best(offsets[first:last], start, end)
        self.split(start, at, level, spans)
        self.split(at, end, level, spans)

    def _best(self, offsets: Sequence[int], start: int, end: int) -> int:
        # A multiple, so that a span that is a little longer has the same middle.
        quarter = max(1, (end - start) // self._capacity) * self._capacity // 4
        low = bisect_left(offsets, start + quarter)
        high = bisect_right(offsets, end - quarter)
        if low < high:
            return min(offsets[low:high], key=lambda offset: (*self._order(offset), offset))
        middle = (start + end) // 2
        return min(offsets, key=lambda offset: (abs(offset - middle), offset))

    def _order(self, offset: int) -> tuple[bool, int]:
        """Return how a cut ranks among others; below a line that ends with a colon, it comes last.

        What such a line announces, an example or the body of a directive, stays with it.
        """
        return self._text.endswith(":\n\n", 0, offset), rank(self._text, offset)

    def _offsets(self, level: int) -> Sequence[int]:
        """Return the offsets at which a pattern allows a cut.

        Only the patterns of code allow it within a fence.
        """
        for pattern in self._patterns[len(self._levels) : level + 1]:
            found = [match.end() for match in pattern.finditer(self._text, self._uncut)]
            if self._fences and len(self._levels) < len(self._patterns) - len(_PLACES[Kind.CODE]):
                starts = [start for start, _ in self._fences]
                found = [
                    offset
                    for offset in found
                    if not (at := bisect_left(starts, offset)) or offset >= self._fences[at - 1][1]
                ]
            self._levels.append(found)
        return self._levels[level]

    def _split_by_library(self, start: int, end: int, spans: list[tuple[int, int]]) -> None:
        """Append the parts of a span without any offset: cut at sentences, words, letters."""
        splitter = _splitter(self._capacity, is_markdown=self._is_markdown)
        first = start
        start = max(start, self._uncut)
        while start < end:
            stop = self._end_of_window(start, end)
            window = self._text[start : stop or start + self._capacity * _CHUNKS_IN_WINDOW // 2]
            found = splitter.chunk_indices(window)
            if stop is None and len(found) > 1:
                found.pop()  # it goes on in the next window
                stop = start + found[-1][0] + len(found[-1][1])
            for offset, chunk in found:
                spans.append((min(first, start + offset), start + offset + len(chunk)))
                first = end
            start = stop or start + len(window)

    def _end_of_window(self, start: int, end: int) -> int | None:
        """Return where to divide a span before the library cuts it, None where nothing suggests it.

        That is at the best sentence in the second half of a window, or the best word.
        """
        largest = self._capacity * _CHUNKS_IN_WINDOW
        if end - start <= largest:
            return end
        half, last = start + largest // 2, start + largest
        for pattern in (_SENTENCE_END, _WORD_END):
            offsets = [match.end() for match in pattern.finditer(self._text, half, last)]
            if offsets:
                return min(offsets, key=lambda offset: (rank(self._text, offset), offset))
        return None


@lru_cache(16)
def _splitter(capacity: int, *, is_markdown: bool) -> MarkdownSplitter | TextSplitter:
    from semantic_text_splitter import MarkdownSplitter, TextSplitter

    return MarkdownSplitter(capacity) if is_markdown else TextSplitter(capacity)
