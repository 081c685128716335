"""Draw hits, documents and lists for people: as wide as the terminal, with colors and links.

On a terminal, a text longer than a few lines is cut to an excerpt; elsewhere it is whole.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rich.color import ColorSystem
from rich.style import Style

from jtv_cli.render.escape import escape
from jtv_cli.render.layout import cell_width, displayed, excerpt, fold, unwrapped
from jtv_cli.render.units import format_distance, format_score, format_value
from jtv_cli.source_names import shown_source

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import IO

    from rich.console import Console, JustifyMethod

    from jtv_cli.records import Hit, Occurrence, Pair, StoredDocument
    from jtv_cli.render.output import Output

# `list` prints rows as they come, so the width is set before the ids are known.
_ID_CELLS = 7
_DISTANCE_CELLS = 8
_SCORE_CELLS = 6
_GAP = 2  # cells between columns
# Rather than leave less than half a line or so many to the text, columns before it are left
# out, the first first.
_LEAST_TEXT = 12
# In less, numbers and their headings are broken.
_NARROW = 40
_LEAST_FOR_NAMES = 60
# From this width on, the location has a column of its own if the text keeps that much.
_WIDE = 120
_ENOUGH_TEXT = 48
# An excerpt has so many lines, or on a narrow terminal so many cells.
_EXCERPT_LINES = 4
_EXCERPT_CELLS = 320
# Of a text beyond this, in characters, only the beginning is searched for an excerpt.
_EXCERPT_SOURCE = 200_000

# These stand out on dark and on light terminals alike.
_HEADER = Style(bold=True)
_MATCH = Style(bold=True, color="magenta")
_LOCATION = Style(dim=True)
_COLORS = ColorSystem.STANDARD
_TEXT = Style(italic=False)  # in which matches are highlighted

# Words that are no help in telling one English text from another.
_STOP_WORDS = (
    "a an and any are as at be by can did do does for from had has have how i in is it its of on"
    " or our that the their there these this to was we were what when where which who why will"
    " with you your"
)
_PREFIX_LETTERS = 4
_MOST_WORDS = 50  # of a query, are highlighted
# Han, kana and hangul have no spaces between words: pairs of letters stand for them.
_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af]+")


_Part = tuple[str, "Style | None"]
"""A part of a line and its style, None for plain text."""


class _Screen(NamedTuple):
    """Where to draw, and what is highlighted in texts there."""

    output: Output
    width: int
    pattern: re.Pattern[str] | None = None

    def text(self, content: str, width: int) -> list[_Part]:
        """Return a text as lines, on a terminal an excerpt around the query's words."""
        if not self.output.is_terminal:
            return [(line, _TEXT) for line in fold(displayed(content), width)]
        start = content[:_EXCERPT_SOURCE]
        most = max(_EXCERPT_LINES, -(-_EXCERPT_CELLS // width))
        lines = excerpt(fold(unwrapped(displayed(start)), width), most, width, self.pattern)
        return [(line, _TEXT) for line in lines]

    def location(self, hit: Hit, width: int) -> list[_Part]:
        """Return `file:line` as lines that are links, and the heading below.

        Standard input without a name has no location.
        """
        heading = escape(hit.heading or "", keep_sequences=True) if hit.end_line else ""
        below = _parts(heading, width, _LOCATION)
        if not hit.source:
            return below
        link = self.link(hit.source)
        return _parts(_location(hit), width, _LOCATION + link if link else _LOCATION) + below

    def link(self, source: str | None) -> Style | None:
        """Return the style of a link to a source that is a file, if the terminal has links."""
        url = _file_url(source) if source and self.output.shows_links else None
        return Style(link=url) if url else None

    def print_line(self, *parts: _Part) -> None:
        """Print the parts, which are escaped already, one behind the other."""
        if self.output.colored:
            line = "".join(
                text if style is None else self._styled(text, style) for text, style in parts
            )
        else:
            line = "".join(text for text, _ in parts)
        self.output.write(line.rstrip(" ") + "\n")

    def _styled(self, text: str, style: Style) -> str:
        if style is not _TEXT:
            return style.render(text, color_system=_COLORS)
        if self.pattern is None:
            return text
        return self.pattern.sub(lambda match: _MATCH.render(match[0], color_system=_COLORS), text)


class _Grid:
    """Prints rows: columns of numbers, then the text, and beside or below it the location.

    `location` is the width of a location, in cells. It stands beside the text where there
    is room for both.
    """

    def __init__(self, screen: _Screen, columns: Sequence[tuple[str, int]], location: int) -> None:
        self._screen = screen
        widths = [width + _GAP for _, width in columns]
        self._columns = columns[_left_out(widths, screen.width) :]
        room = screen.width - sum(width + _GAP for _, width in self._columns)
        is_beside = screen.width >= _WIDE and room - location - _GAP >= _ENOUGH_TEXT
        self._beside = location if is_beside else 0
        self._room = room - location - _GAP if is_beside else room

    def print_header(self) -> None:
        """Print the names of the columns, and a rule below them."""
        names = [name.rjust(width) for name, width in self._columns]
        location = [("read in", _HEADER)] if self._beside else []
        self._print(names, [("text", _HEADER)], location, _HEADER)
        self._screen.print_line(("─" * self._screen.width, None))

    def print_hit(self, hit: Hit, rank: int = 0) -> None:
        """Print one hit; an excerpt of its text, if that is for a terminal."""
        values = {
            "rank": rank,
            "score": format_score(hit.score),
            "vector": format_value(hit.vector_rank),
            "keyword": format_value(hit.keyword_rank),
            "distance": format_distance(hit.distance),
            "id": hit.id,
        }
        cells = [f"{values[name]:>{width}}" for name, width in self._columns]
        lines = self._screen.text(hit.content, self._room)
        location = self._screen.location(hit, self._beside or self._room)
        self._print(cells, lines, location)

    def _print(
        self,
        cells: Sequence[str],
        lines: Sequence[_Part],
        location: Sequence[_Part],
        style: Style | None = None,
    ) -> None:
        first = "".join(cell + " " * _GAP for cell in cells)
        places = location if self._beside else ()
        parts = lines if self._beside else (*lines, *location)
        room = self._beside + _GAP if self._beside else 0
        begin = first
        for place, part in zip_longest(places, parts, fillvalue=("", None)):
            padding = " " * (room - cell_width(place[0]))
            self._screen.print_line((begin, style), place, (padding, None), part)
            begin = " " * len(first)


def print_hits(hits: Sequence[Hit], output: Output, *, query: str = "") -> None:
    """Print one table: rank, distance, id, text and, beside or below it, where it was read."""
    _print_hits(hits, _screen(output, query))


def print_answer(query: str, hits: Sequence[Hit], output: Output) -> None:
    """Print a query and its hits, one below the other."""
    screen = _screen(output, query)
    for line in fold(escape(query, keep_sequences=True), screen.width):
        screen.print_line((line, _HEADER))
    if hits:
        _print_hits(hits, screen)
    else:
        screen.print_line(("nothing found", None))
    screen.print_line()


def _print_hits(hits: Sequence[Hit], screen: _Screen) -> None:
    longest_id = max(len(str(hit.id)) for hit in hits)
    columns = [("rank", 4), *_scored(hits), ("id", max(2, longest_id))]
    location = max(cell_width(_location(hit)) for hit in hits)
    grid = _Grid(screen, columns, location)
    grid.print_header()
    for rank, hit in enumerate(hits, 1):
        grid.print_hit(hit, rank)


def _scored(hits: Sequence[Hit]) -> list[tuple[str, int]]:
    """Return the columns that say why the hits are in this order: those that have values."""
    columns = []
    if any(hit.score is not None for hit in hits):
        columns.append(("score", _SCORE_CELLS))
    if any(hit.vector_rank or hit.keyword_rank for hit in hits):
        columns += [("vector", 6), ("keyword", 7)]
    if not columns or any(hit.distance is not None for hit in hits):
        columns.append(("distance", _DISTANCE_CELLS))
    return columns


def print_documents(documents: Iterable[StoredDocument], output: Output) -> None:
    """Print each document whole, and above it everything that is known of where it was read."""
    screen = _screen(output)
    for number, document in enumerate(documents):
        if number:
            screen.print_line()
        screen.print_line(("id       ", _HEADER), (str(document.id), None))
        for occurrence in document.occurrences:
            screen.print_line(("read in  ", _HEADER), *_occurrence(screen, occurrence))
        screen.print_line()
        output.write("\n".join(fold(displayed(document.text), screen.width)) + "\n")


def print_pairs(pairs: Iterable[Pair], output: Output) -> None:
    """Print pairs of documents as they come: their distance, then a row for each."""
    screen = _screen(output)
    for number, pair in enumerate(pairs):
        if number:
            screen.print_line()
        screen.print_line((f"distance {format_distance(pair.distance)}", _HEADER))
        location = max(cell_width(_location(hit)) for hit in pair[:2])
        grid = _Grid(screen, (("id", _ID_CELLS),), location)
        for hit in (pair.first, pair.second):
            grid.print_hit(hit)


def print_list(hits: Iterable[Hit], output: Output, *, query: str | None = None) -> None:
    """Print a row for each hit as it comes: distance, where there is a query, id, text."""
    screen = _screen(output, query or "")
    columns = (("distance", _DISTANCE_CELLS), ("id", _ID_CELLS))
    grid = _Grid(screen, columns[1:] if query is None else columns, screen.width // 4)
    grid.print_header()
    for hit in hits:
        grid.print_hit(hit)


def print_rows(columns: Sequence[str], rows: Iterable[Sequence[str]], output: Output) -> None:
    """Print one table of texts; a column of numbers is aligned right."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    console = open_console(output, output.width)
    rows = list(rows)
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), header_style=_HEADER)
    for number, name in enumerate(columns):
        is_number = all(row[number].isdecimal() for row in rows)
        justify: JustifyMethod = "right" if is_number else "left"
        # A name is broken only where it would take the room of the other columns.
        is_name = number == 0 and all(len(row[0]) <= console.width * 2 // 5 for row in rows)
        is_whole = (is_number and console.width >= _NARROW) or (
            is_name and console.width >= _LEAST_FOR_NAMES
        )
        table.add_column(name, justify=justify, no_wrap=is_whole, overflow="fold")
    for row in rows:
        table.add_row(*(Text(escape(cell, keep_sequences=True)) for cell in row))
    console.print(table)


def open_console(output: Output, width: int) -> Console:
    """Return a console of rich that writes to an output."""
    from rich.console import Console

    stream: IO[str] = output  # type: ignore[assignment]  # it writes and flushes: all that rich needs
    return Console(
        file=stream,
        width=width,
        force_terminal=output.is_terminal or output.colored,
        color_system="auto" if output.colored else None,
        no_color=not output.colored,
    )


def _left_out(widths: Sequence[int], room: int) -> int:
    """Return how many of the columns before the text, with their gaps, leave it too little room."""
    starts = range(len(widths))
    least = max(_LEAST_TEXT, room // 2)
    return next((n for n in starts if sum(widths[n:]) <= room - least), len(widths))


def _parts(text: str, width: int, style: Style) -> list[_Part]:
    return [(part, style) for part in fold(text, width)] if text else []


def _location(place: Hit | Occurrence) -> str:
    """Return `file:line`, `file:first-last` for a chunk of several lines, or the page of a PDF."""
    if place.source is None:
        return ""
    name = escape(shown_source(place.source), keep_sequences=True)
    if place.line is None:
        return name
    page = (place.metadata or {}).get("page") if place.end_line else None
    if isinstance(page, int) and name.lower().endswith((".pdf", ".pdf.gz")):
        return f"{name}, page {page}"
    if place.end_line is None or place.end_line <= place.line:
        return f"{name}:{place.line}"
    return f"{name}:{place.line}-{place.end_line}"


def _occurrence(screen: _Screen, occurrence: Occurrence) -> list[_Part]:
    """Return a source and its line, and the metadata as JSON."""
    name, metadata = occurrence.source, occurrence.metadata
    location = _location(occurrence._replace(source=name or "standard input"))
    place = (location, screen.link(name))
    if metadata is None:
        return [place]
    import orjson

    return [place, ("  " + escape(orjson.dumps(metadata).decode(), keep_sequences=True), None)]


@lru_cache
def _file_url(source: str) -> str | None:
    """Return the URL of a source that is a file, for OSC 8 links."""
    try:
        path = Path(source)
        return path.absolute().as_uri() if path.is_file() else None
    except (OSError, ValueError):
        return None


def _query_pattern(query: str) -> re.Pattern[str] | None:
    """Return what matches the words of a query that tell texts apart, None where it has none.

    Longer words match the beginnings of others, as "search" does that of "searching", and
    "pods" matches "pod".
    """
    words = dict.fromkeys(re.findall(r"\w+", query.casefold()))
    telling = [word for word in words if word not in _STOP_WORDS.split()] or list(words)
    parts = []
    for word in telling[:_MOST_WORDS]:
        if _UNSPACED.search(word):
            runs = _UNSPACED.findall(word)
            parts += [run[at : at + 2] for run in runs for at in range(max(1, len(run) - 1))]
        else:
            end = "" if len(word) >= _PREFIX_LETTERS else r"\b"
            parts.append(rf"\b{re.escape(word)}{end}")
            if len(word) >= _PREFIX_LETTERS and word.endswith("s"):
                parts.append(rf"\b{re.escape(word[:-1])}\b")
    return re.compile("|".join(parts), re.IGNORECASE) if parts else None


def _screen(output: Output, query: str = "") -> _Screen:
    return _Screen(output, output.width, _query_pattern(query))
