"""Give HTML the form that the library of the extra `files` reads whole.

It drops, without a word, what is more than about 60 elements deep, and parts of tables that lack
end tags, which HTML allows.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from selectolax.lexbor import LexborNode

_MOST_DEPTH = 48
# The parser takes time in proportion to the square of the depth. Of a deeper page, only the
# paragraphs, items and cells are left.
_MOST_PARSED_DEPTH = 5000
# Of these, a line ends where one is taken away.
_BLOCKS = frozenset(
    re.findall(
        r"\w+",
        "address article aside blockquote center dd details dir div dl dt fieldset figcaption"
        " figure footer form h1 h2 h3 h4 h5 h6 header hr li main menu nav ol p pre section summary"
        " table td th tr ul",
    )
)
# Elements without an end, or whose next one ends them, do not add up.
_SCRIPT = re.compile(r"<(script|style)\b.*?(?:</\1\s*>|\Z)", re.IGNORECASE | re.DOTALL)
_NESTING = re.compile(
    r"<(?P<end>/?)(?!(?:area|base|br|col|embed|hr|img|input|link|meta|param|source|track|wbr"
    r"|caption|dd|dt|li|option|p|tbody|td|tfoot|th|thead|title|tr)\b)[a-z][^<>]*>?",
    re.IGNORECASE,
)


def title_and_body(html: str) -> tuple[str, str]:
    """Return the title of a page, and the page with all end tags and no deep nesting."""
    from selectolax.lexbor import LexborHTMLParser

    if _depth(html) > _MOST_PARSED_DEPTH:
        html = _NESTING.sub(" ", _SCRIPT.sub(" ", html))
    page = LexborHTMLParser(html)
    found = page.css_first("head > title")  # an image has one too
    title = " ".join(found.text().split()) if found else ""
    # The entries of the head would be taken for a heading of the text.
    if page.head is not None:
        page.head.decompose()
    # The innermost first: to move what is in an element takes time in proportion to it.
    for node in reversed(list(_below(page.body, _MOST_DEPTH))):
        node.insert_before(page.create_node("br") if node.tag in _BLOCKS else " ")
        node.unwrap()
    return title, page.html or ""


def _depth(html: str) -> int:
    """Return how many elements are open at most, or more."""
    depth = deepest = 0
    for tag in _NESTING.finditer(html):
        depth += -1 if tag["end"] else 1
        deepest = max(deepest, depth)
    return deepest


def _below(root: LexborNode | None, most: int) -> Iterator[LexborNode]:
    """Yield the elements that are more than so deep, in the order of the page."""
    node, depth = root, 0
    while node is not None:
        if depth > most and node.is_element_node:
            yield node
        if node.first_child is not None:
            node, depth = node.first_child, depth + 1
            continue
        while node is not None and node.next is None:
            node, depth = node.parent, depth - 1
        node = node.next if node is not None else None
