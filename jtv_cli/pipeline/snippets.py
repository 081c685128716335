"""Snippets: the passages of a long text that are nearest to a query."""

from __future__ import annotations

import re
from bisect import bisect_left
from typing import TYPE_CHECKING

from jtv_cli.embedders import open_embedder
from jtv_cli.embedders.models import STATIC_MODEL, find_model
from jtv_cli.records import Purpose

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jtv_cli.records import Hit

ELLIPSIS = "…"

_SEPARATOR = f" {ELLIPSIS} "
# Ends of lines and of sentences; those of Chinese and Japanese have no space behind them.
_ENDS = re.compile(r"\n+|(?<=[.!?;:])\s+|(?<=[。！？；])")
_PARAGRAPH = re.compile(r"\n\s*\n")
# A snippet has about five passages, from different paragraphs where there are any, unless
# they would be shorter than this: the best passage is not always the one with the answer.
_PASSAGES = 5
_SHORTEST = 25
_HEADING = re.compile(r"^#{1,6} +(.*)$", re.MULTILINE)
# How much the similarity of the Markdown heading above a passage counts beside its own.
_HEADING_WEIGHT = 0.5
# Beyond these characters of a text, nothing is looked for.
_MOST_TEXT = 1 << 17


def with_snippets(hits: Sequence[Hit], query: str, length: int) -> list[Hit]:
    """Return the hits with texts of at most `length` characters, cut around what is relevant.

    A text that is short enough stays as it is. Of others, the passages nearest to the query
    are kept in their order, with an ellipsis where something is left out. Passages are
    compared by the built-in model, whatever the table's model is: nothing is sent anywhere.
    """
    if all(len(hit.content) <= length for hit in hits):
        return list(hits)
    embedder = open_embedder(find_model(STATIC_MODEL))
    [wanted] = embedder.embed([query], Purpose.QUERY).vectors
    snippets = []
    for hit in hits:
        text = hit.content
        if len(text) > length:
            passages = _passages(text[:_MOST_TEXT], max(_SHORTEST, length // _PASSAGES))
            texts = [text[start:end] for start, end in passages]
            similarities = embedder.embed(texts, Purpose.DOCUMENT).vectors @ wanted
            if headings := _headings(text, passages):
                above = embedder.embed(headings, Purpose.DOCUMENT).vectors @ wanted
                similarities = similarities + _HEADING_WEIGHT * above
            ranked = sorted(range(len(texts)), key=similarities.__getitem__, reverse=True)
            text = _joined(text, [passages[i] for i in _spread(text, passages, ranked)], length)
        snippets.append(hit._replace(content=text))
    return snippets


def _headings(text: str, passages: Sequence[tuple[int, int]]) -> list[str]:
    """Return the Markdown heading above each passage, an empty list if there are none."""
    found = [(match.start(), match[1]) for match in _HEADING.finditer(text)]
    if not found:
        return []
    starts = [start for start, _ in found]
    return [found[max(0, bisect_left(starts, start) - 1)][1] for start, _ in passages]


def _passages(text: str, most: int) -> list[tuple[int, int]]:
    """Return the first and last offsets of sentences, or of parts of about so many characters.

    Headings are left out if there is anything else.
    """
    passages = []
    start = 0
    for end, after in [*((m.start(), m.end()) for m in _ENDS.finditer(text)), (len(text), 0)]:
        if text[start:end].strip() and not text.startswith("#", start):
            while end - start > most + _SHORTEST:
                space = text.rfind(" ", start + most // 2, start + most)
                cut = space if space > 0 else start + most
                passages.append((start, cut))
                start = cut
            passages.append((start, end))
        start = after
    return passages or [(0, most)]


def _spread(text: str, passages: Sequence[tuple[int, int]], ranked: Sequence[int]) -> list[int]:
    """Return the passages in the order to take them: the best of each paragraph first."""
    breaks = [match.start() for match in _PARAGRAPH.finditer(text)]
    seen: set[int] = set()
    best: list[int] = []
    others: list[int] = []
    for index in ranked:
        paragraph = bisect_left(breaks, passages[index][0])
        (others if paragraph in seen else best).append(index)
        seen.add(paragraph)
    return best + others


def _joined(text: str, passages: Sequence[tuple[int, int]], length: int) -> str:
    """Return as many of the passages as fit, in the order of the text."""
    chosen: list[tuple[int, int]] = []
    left = length
    for start, end in passages:
        needed = end - start + len(_SEPARATOR)
        if needed <= left or not chosen:
            chosen.append((start, end))
            left -= needed
    shown = ""
    position = 0
    for start, end in sorted(chosen):
        gap = text[position:start].strip()
        shown += (_SEPARATOR if gap else " ") + " ".join(text[start:end].split())
        position = end
    shown += f" {ELLIPSIS}" if text[position:].strip() else ""
    return shown.strip()[:length]
