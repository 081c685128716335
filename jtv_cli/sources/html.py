"""Give HTML the form that the library of the extra `files` reads whole.

It drops, without a word, what is more than about 60 elements deep, and takes each paragraph
without an end tag, which HTML allows, for one within the paragraph before.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import islice

# Pages in which no more elements are open are left as they are.
_USUAL_DEPTH = 20
_MOST_DEPTH = 48
_LOOKED_AT = 256
# The limit on a quoted value bounds the time that one without an end takes.
_TAG = re.compile(
    r"<!--.*?(?:-->|\Z)|<(?P<raw>script|style|textarea|title)\b.*?(?:</(?P=raw)\s*>|\Z)"
    r"|<(?P<end>/?)(?P<name>[a-z][a-z0-9:-]*)"
    r"(?:[^\"'<>]|\"[^\"]{0,65536}\"|'[^']{0,65536}')*?(?P<empty>/?)>",
    re.IGNORECASE | re.DOTALL,
)
_names = re.compile(r"\w+").findall
_VOID = frozenset(_names("area base br col embed hr img input link meta param source track wbr"))
_BLOCKS = frozenset(
    _names(
        "address article aside blockquote center details dir div dl fieldset figcaption figure"
        " footer form h1 h2 h3 h4 h5 h6 header hr main menu nav ol p pre section summary table ul"
    )
)
_CELLS = frozenset(("td", "th", "caption"))
# The start tags that end an open element: its names, and what it would have to be outside of.
_ENDS = {
    **dict.fromkeys(_BLOCKS, (frozenset(("p",)), _CELLS | {"table", "button"})),
    "li": (frozenset(("li",)), frozenset(("ul", "ol", "menu"))),
    **dict.fromkeys(("dt", "dd"), (frozenset(("dt", "dd")), frozenset(("dl",)))),
    **dict.fromkeys(("td", "th"), (_CELLS, frozenset(("tr", "table")))),
    "tr": (frozenset(("tr",)), frozenset(("table",))),
    "option": (frozenset(("option",)), frozenset(("select",))),
}
_LIMITS = frozenset(name for names, _ in _ENDS.values() for name in names) - {"p"}
_TABLE = frozenset(("table", "tbody", "thead", "tfoot", "tr", "td", "th", "caption"))


def flattened(html: str) -> str:
    """Return a page with all end tags and without tags that are nested too deeply.

    A page that needs neither is returned as it is.
    """
    return _rewritten(html) if _open_elements(html) > _USUAL_DEPTH else html


def _open_elements(html: str) -> int:
    """Return the largest number of elements that are open, those left out that others end."""
    depth = deepest = 0
    for tag in _TAG.finditer(html):
        name = (tag["name"] or "br").lower()
        if name in _VOID or name in _LIMITS or tag["empty"]:
            continue
        depth = max(0, depth - 1) if tag["end"] else depth + 1
        deepest = max(deepest, depth)
    return deepest


def _rewritten(html: str) -> str:
    page = _Page()
    at = 0
    for tag in _TAG.finditer(html):
        page.written.append(html[at : tag.start()])
        at = tag.end()
        name = (tag["name"] or "").lower()
        if tag["end"]:
            page.close(frozenset((name,)), frozenset(("table",)) if name in _TABLE else _CELLS)
        elif name:
            page.open(name, tag[0], is_empty=bool(tag["empty"]) or name in _VOID)
    page.written.append(html[at:])
    return "".join(page.written)


class _Page:
    """What was written of a page, and the elements that are open in it."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self._open: list[tuple[str, bool]] = []  # the name, and whether its tag was written
        self._counts: Counter[str] = Counter()

    def open(self, name: str, tag: str, *, is_empty: bool) -> None:
        """Take a start tag."""
        if name in _ENDS:
            self.close(*_ENDS[name])
        is_written = name in _VOID or len(self._open) < _MOST_DEPTH
        if is_written:
            self.written.append(tag)
        elif self.written[-2:] != ["<br>", ""]:
            self.written.append("<br>" if name in _BLOCKS else " ")
        if not is_empty:
            self._open.append((name, is_written))
            self._counts[name] += 1

    def close(self, names: frozenset[str], limits: frozenset[str]) -> None:
        """Close the innermost of the elements named, with all within it, if no limit is within."""
        if not any(self._counts[name] for name in names):
            return
        for depth, (name, _) in enumerate(islice(reversed(self._open), _LOOKED_AT), 1):
            if name in names:
                for inner, is_written in reversed(self._open[-depth:]):
                    self._counts[inner] -= 1
                    self.written.append(f"</{inner}>" if is_written else " ")
                del self._open[-depth:]
                return
            if name in limits:
                return
