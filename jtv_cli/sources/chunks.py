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
    from collections.abc import Iterator, Sequence

    from semantic_text_splitter import MarkdownSplitter, TextSplitter

DEFAULT_SIZE = 256
"""The target size of a chunk in estimated tokens: see "Chunks" in docs/documents.md."""

# Of an edited text, the number of characters in a token changes a little. Rounding it down to
# a power of the fourth root of 2 keeps the size in characters, and with it the cuts.
_STEPS = 4
# Characters after a possible cut that decide how it ranks among others.
_RANKED_BY = 16
# The library is given no more characters at a time; its time grows faster than its input.
_MOST_CHARACTERS = 1 << 16


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
_UNINDENTED_LINE = re.compile(r"\n(?=[^\s)\]}])")
_LINE = re.compile(r"\n")
_PLACES = {
    Kind.MARKDOWN: (_PARAGRAPH, _INDENTED_PARAGRAPH, _MARKDOWN_ITEM, _NESTED_ITEM),
    Kind.RST: (_PARAGRAPH, _INDENTED_PARAGRAPH, _MARKDOWN_ITEM, _NESTED_ITEM),
    Kind.TEXT: (_PARAGRAPH, _INDENTED_PARAGRAPH, _MARKDOWN_ITEM),
    Kind.CODE: (_PARAGRAPH, _INDENTED_PARAGRAPH, _UNINDENTED_LINE, _LINE),
}
_FENCE = re.compile(
    r"^[ \t]*(`{3,}|~{3,})[^\n]*\n(?s:.*?)(?:^[ \t]*\1[`~]*[ \t\r]*$|\Z)", re.MULTILINE
)
_BLANK_LINES = re.compile(r"(?:[ \t\r]*\n)+")


def cut(text: str, size: int, kind: Kind = Kind.TEXT, *, uncut: int = 0) -> list[tuple[int, str]]:
    """Cut a text into chunks of at most `size` estimated tokens.

    Return the offset in characters of each chunk and the chunk, without blank lines around it.
    Together, the chunks have everything but white space of the text. The first `uncut`
    characters, such as a heading, are not a chunk by themselves.
    """
    return [
        (start, text[start:end])
        for span in _spans(text, size, kind, uncut)
        if (trimmed := _trimmed(text, *span))
        for start, end in [trimmed]
    ]


def rank(text: str, offset: int) -> int:
    """Return how a cut at an offset ranks among others: the lowest is taken first.

    It is a hash of the characters that follow.
    """
    return crc32(text[offset : offset + _RANKED_BY].encode("utf-8", "surrogatepass"))


def _spans(text: str, size: int, kind: Kind, uncut: int) -> Iterator[tuple[int, int]]:
    """Yield the start and the end of each chunk, with the white space around it."""
    if len(text) < size and text.isascii():  # no text has more tokens than that
        yield 0, len(text)
        return
    tokens = estimated_tokens(text)
    if tokens <= size:
        yield 0, len(text)
        return
    step = floor(_STEPS * log2(len(text) / tokens))
    capacity = max(1, int(size * 2 ** (step / _STEPS)))
    fences = [match.span() for match in _FENCE.finditer(text)] if kind is Kind.MARKDOWN else []
    levels = [_offsets(pattern, text, fences) for pattern in _PLACES[kind]]
    if fences:  # what is too long for a chunk although it is a fence
        levels += [[match.end() for match in each.finditer(text)] for each in _PLACES[Kind.CODE]]
    if uncut:
        uncut = len(text) - len(text[uncut:].lstrip())  # the blank lines below a heading, too
        levels = [each[bisect_right(each, uncut) :] for each in levels]
    yield from _split(text, (0, len(text)), capacity, levels, (kind, uncut))


def _offsets(
    pattern: re.Pattern[str], text: str, fences: Sequence[tuple[int, int]]
) -> Sequence[int]:
    """Return the offsets at which a pattern allows a cut, none of them within a fence."""
    found = [match.end() for match in pattern.finditer(text)]
    if not fences:
        return found
    starts = [start for start, _ in fences]
    return [
        offset
        for offset in found
        if not (at := bisect_left(starts, offset)) or offset >= fences[at - 1][1]
    ]


def _split(
    text: str,
    span: tuple[int, int],
    capacity: int,
    levels: Sequence[Sequence[int]],
    options: tuple[Kind, int],
    level: int = 0,
) -> Iterator[tuple[int, int]]:
    """Yield the parts of a span that are within the capacity, in characters.

    A span that is too long is divided at the best offset in its middle half, or at the one
    nearest to it; its parts in the same way. This is the shape of a treap: an edit that does
    not change an offset's rank leaves the divisions as they are.
    """
    start, end = span
    if end - start <= capacity:
        yield span
        return
    while level < len(levels):
        offsets = levels[level]
        first, last = bisect_right(offsets, start), bisect_left(offsets, end)
        if first < last:
            break
        level += 1
    else:
        yield from _split_by_library(text, span, capacity, *options)
        return
    # A multiple, so that a span that is a little longer has the same middle.
    quarter = max(1, (end - start) // capacity) * capacity // 4
    low = bisect_left(offsets, start + quarter, first, last)
    high = bisect_right(offsets, end - quarter, first, last)
    if low < high:
        at = min(offsets[low:high], key=lambda offset: (rank(text, offset), offset))
    else:
        middle = (start + end) // 2
        at = min(offsets[first:last], key=lambda offset: (abs(offset - middle), offset))
    yield from _split(text, (start, at), capacity, levels, options, level)
    yield from _split(text, (at, end), capacity, levels, options, level)


def _split_by_library(
    text: str, span: tuple[int, int], capacity: int, kind: Kind, uncut: int
) -> Iterator[tuple[int, int]]:
    """Yield the parts of a span without any place to cut it: at sentences, words, letters."""
    splitter = _splitter(capacity, is_markdown=kind is Kind.MARKDOWN)
    first, end = span
    start = max(first, uncut)
    while start < end:
        part = text[start : min(end, start + _MOST_CHARACTERS)]
        found = splitter.chunk_indices(part)
        if start + len(part) < end and len(found) > 1:
            found.pop()  # it goes on in the next part
            after = found[-1][0] + len(found[-1][1])
        else:
            after = len(part)
        for offset, chunk in found:
            yield min(first, start + offset), start + offset + len(chunk)
            first = end
        start += after


@lru_cache(16)
def _splitter(capacity: int, *, is_markdown: bool) -> MarkdownSplitter | TextSplitter:
    from semantic_text_splitter import MarkdownSplitter, TextSplitter

    return MarkdownSplitter(capacity) if is_markdown else TextSplitter(capacity)


def _trimmed(text: str, start: int, end: int) -> tuple[int, int] | None:
    """Return a span without blank lines at its start and white space at its end, if any is left."""
    end = start + len(text[start:end].rstrip())
    if blank := _BLANK_LINES.match(text, start, end):
        start = blank.end()
    return (start, end) if start < end else None
