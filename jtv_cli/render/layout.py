"""Fold texts into lines of a terminal, in time that is linear in their length."""

from __future__ import annotations

import os
import re
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING

from jtv_cli.render.escape import escape

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import TextIO

ELLIPSIS = "…"

_TAB = "    "
_INDENT = 2
_JOINER = "\u200d"
# From here on, a character may take no cell or two. All below take one, once escaped.
_FIRST_UNEVEN = "\u0300"
# Prose is wrapped at 60 characters or more, and the last word of a line may be long.
_SHORTEST_WRAPPED = 45
# What begins a line that does not continue the one before: indentation, an item of a list, a row
# of a table, a quotation, a heading, a fence, a directive.
_NEW_LINE = re.compile(r"\s|[|#><@$:]|[-+*•]\s|\d+[.)]\s|```|~~~")
# A line that is not prose: a heading, a row, code.
_NOT_PROSE = re.compile(r"[|#@$]|.* = |.*[{}\[;|\\=(]\s*$")


def terminal_width(stream: TextIO | None) -> int:
    """Return the cells of a line of a terminal, 80 for what is none or does not say."""
    try:
        columns = os.get_terminal_size(stream.fileno()).columns if stream else 0
    except (OSError, ValueError):
        columns = 0
    return columns or 80


def displayed(text: str) -> str:
    """Return a stored text as a terminal shows it: safe, its newlines as they are."""
    plain = text.replace("\r\n", "\n").replace("\t", _TAB)
    return escape(plain, keep_sequences=True, keep_newlines=True)


def unwrapped(text: str) -> str:
    """Return a text without blank lines, and with lines of prose that were wrapped joined.

    An excerpt is narrower than what was written. Lists, tables, and code stay as they are.
    """
    parts: list[str] = []
    is_wrapped = False
    for line in text.split("\n"):
        if not line.strip():
            is_wrapped = False
            continue
        parts += (" " if is_wrapped and not _NEW_LINE.match(line) else "\n", line)
        is_wrapped = len(line) >= _SHORTEST_WRAPPED and not _NOT_PROSE.match(line)
    return "".join(parts[1:])


def cell_width(text: str) -> int:
    """Return how many cells of a terminal a text takes, at most."""
    if _is_even(text):
        return len(text)
    return sum(map(_CELLS.__getitem__, text))


def cut(text: str, width: int, ellipsis: str = ELLIPSIS) -> str:
    """Return the text, or as much of it as fits into so many cells with the ellipsis."""
    if _fitting(text, width) == len(text):
        return text
    return text[: _fitting(text, width - len(ellipsis))] + ellipsis


def fold(text: str, width: int) -> Iterator[str]:
    """Yield the lines of a text, each of at most so many cells, broken between words.

    A word that is longer than a line is broken where the line ends.
    """
    width = max(width, 2)  # A character may take two cells.
    for line in text.split("\n"):
        yield from _folded(line, width) if len(line) * 2 > width else [line]


def hang(message: str, width: int, indent: int = _INDENT) -> str:
    """Return a message of one line with a hanging indent, broken between words.

    A word that is longer than a line, such as a path or a URL, stays in one piece, so that
    it can be copied.
    """
    if cell_width(message) <= width:
        return message
    lines, cells = [], width + 1
    for word in message.split(" "):
        taken = cell_width(word)
        if cells + 1 + taken > width:
            lines.append(word)
            cells = taken + (indent if len(lines) > 1 else 0)
        else:
            lines[-1] += f" {word}"
            cells += 1 + taken
    return f"\n{' ' * indent}".join(lines)


def excerpt(
    lines: Iterable[str], most: int, width: int, pattern: re.Pattern[str] | None = None
) -> list[str]:
    """Return at most so many of the lines: those in which the pattern finds most, else the first.

    An ellipsis stands where lines are left out. Beyond the first thousand lines,
    nothing is looked for.
    """
    lines = iter(lines)
    seen = list(islice(lines, most + 1))
    if len(seen) <= most:
        return seen
    start = 0
    if pattern is not None:
        seen += islice(lines, 1000)
        start = _best_start(seen, most, pattern)
    chosen = seen[start : start + most]
    if start:
        chosen[0] = _opened(chosen[0].lstrip(), width)
    if start + most < len(seen) or next(lines, None) is not None:
        chosen[-1] = _closed(chosen[-1].rstrip(), width)
    return chosen


def _opened(line: str, width: int) -> str:
    """Return the line behind an ellipsis, without its first word where that takes its room."""
    if cell_width(line) >= width:
        line = line.partition(" ")[2] or line[1:]
    return cut(ELLIPSIS + line, width)


def _closed(line: str, width: int) -> str:
    """Return the line before an ellipsis, without its last word where that takes its room."""
    if cell_width(line) + 2 > width:
        line = line.rpartition(" ")[0] or line
    return cut(f"{line} {ELLIPSIS}", width)


def _best_start(lines: Sequence[str], most: int, pattern: re.Pattern[str]) -> int:
    """Return the first of those lines that have the most different matches among them.

    A line before the first match is kept, as context.
    """
    found = [{match[0].casefold() for match in pattern.finditer(line)} for line in lines]
    if not any(found):
        return 0
    starts = [number for number, matches in enumerate(found) if matches]
    best = max(starts, key=lambda start: len(set().union(*found[start : start + most - 1])))
    return max(0, min(best - 1, len(lines) - most))


def _folded(line: str, width: int) -> Iterator[str]:
    if not _is_even(line):
        yield from _folded_uneven(line, width)
        return
    for match in _line_of(width).finditer(line):
        yield match[0].rstrip(" ")


@lru_cache
def _line_of(width: int) -> re.Pattern[str]:
    """Return what matches a line of words and the spaces behind it, else a part of a word."""
    return re.compile(rf".{{0,{width - 1}}}[^ ](?= |$) *|.{{1,{width}}}")


def _folded_uneven(line: str, width: int) -> Iterator[str]:
    start = at = cells = 0  # Of the line to come: its beginning, its end so far, its cells.
    for word in line.split(" "):
        taken = cell_width(word)
        if cells + taken > width:
            if line[start:at].strip():
                yield line[start:at].rstrip(" ")
                start, cells = at, 0
            if taken > width - cells:
                for end in _breaks(line, start, at + len(word), width):
                    yield line[start:end]
                    start = end
                taken, cells = cell_width(line[start : at + len(word)]), 0
        at += len(word) + 1
        cells += taken + 1
    yield line[start:].rstrip(" ")


def _breaks(line: str, start: int, end: int, width: int) -> Iterator[int]:
    """Yield where a part of a line is broken that is longer than a line may be."""
    cells = 0
    for at in range(start, end):
        cells += _CELLS[line[at]]
        if cells > width:
            start = _cluster_start(line, start, at)
            yield start
            cells = cell_width(line[start : at + 1])


def _cluster_start(text: str, start: int, at: int) -> int:
    """Return the beginning of the sequence that a character is in, if that is after the start."""
    end = at
    while end > start + 1 and (text[end - 1] == _JOINER or not _CELLS[text[end]]):
        end -= 1
    return end if end > start + 1 else max(at, start + 1)


def _fitting(text: str, width: int) -> int:
    """Return how many characters fit into so many cells."""
    if _is_even(text):
        return min(len(text), width)
    for at, character in enumerate(text):
        width -= _CELLS[character]
        if width < 0:
            return _cluster_start(text, 0, at)
    return len(text)


def _is_even(text: str) -> bool:
    """Return whether each character takes one cell."""
    return text.isascii() or max(text) < _FIRST_UNEVEN


class _Cells(dict[str, int]):
    """The cells that each character takes, computed when it is first met."""

    def __missing__(self, character: str) -> int:
        from unicodedata import category, east_asian_width

        cells = 2 if east_asian_width(character) in {"W", "F"} else 1
        if category(character) in {"Mn", "Me", "Cf"}:
            cells = 0
        self[character] = cells
        return cells


_CELLS = _Cells()
