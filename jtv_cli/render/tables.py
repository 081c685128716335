"""Draw hits, documents and lists for people: as wide as the terminal, with colors and links.

On a terminal, a text longer than a few lines is cut to an excerpt; elsewhere it is whole.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.style import Style
from rich.table import Table
from rich.text import Text

from jtv_cli.render.escape import escape
from jtv_cli.render.formats import format_distance
from jtv_cli.render.layout import cell_width, cut, displayed, excerpt, fold

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import IO

    from rich.console import JustifyMethod

    from jtv_cli.records import Hit, Occurrence, StoredDocument
    from jtv_cli.render.output import Output

# `list` prints rows as they come, so the widths are set before the ids are known.
_LISTED: Sequence[tuple[str, int]] = (("distance", 8), ("id", 7))
# All in cells: between the columns of a list, between those of a table, and beside these.
_GAP = 2
_BETWEEN = 3
_EDGES = 2
# Rather than leave less than half a line or so many to the text, columns before it are left
# out, the first first.
_LEAST_TEXT = 12
# In less, numbers and their headings are broken.
_NARROW = 40
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
_PLAIN = Style()

# Words that are no help in telling one English text from another.
_STOP_WORDS = (
    "a an and any are as at be by can did do does for from had has have how i in is it its of on"
    " or our that the their there these this to was we were what when where which who why will"
    " with you your"
)
_PREFIX_LETTERS = 4
# Han, kana and hangul have no spaces between words: pairs of letters stand for them.
_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af]+")


class _Screen(NamedTuple):
    """Where to draw, and what is highlighted there."""

    output: Output
    console: Console
    pattern: re.Pattern[str] | None = None

    @property
    def width(self) -> int:
        return self.console.width

    def text(self, content: str, width: int) -> list[Text]:
        """Return a text as lines, on a terminal an excerpt with the query's words highlighted."""
        if not self.output.is_terminal:
            return [Text(line) for line in fold(displayed(content), width)]
        start = content[:_EXCERPT_SOURCE]
        most = max(_EXCERPT_LINES, -(-_EXCERPT_CELLS // width))
        lines = excerpt(fold(displayed(start), width), most, width, self.pattern)
        if len(start) < len(content):
            lines[-1] = cut(lines[-1] + content[len(start) :][:width], width)
        return [self.highlighted(line) for line in lines]

    def highlighted(self, line: str) -> Text:
        text = Text(line)
        if self.pattern is not None:
            for match in self.pattern.finditer(line):
                text.stylize(_MATCH, *match.span())
        return text

    def location(self, hit: Hit, width: int) -> list[Text]:
        """Return `file:line` as lines that are links; none for standard input without a name."""
        if hit.source is None:
            return []
        style = _LOCATION + self.link(hit.source)
        return [Text(line, style) for line in fold(_location(hit.source, hit.line), width)]

    def link(self, source: str | None) -> Style:
        """Return the style of a link to a source, if it is a file and the terminal has links."""
        url = _file_url(source) if source and self.output.links else None
        return Style(link=url) if url else _PLAIN


def print_hits(hits: Sequence[Hit], output: Output, *, query: str = "") -> None:
    """Print one table: rank, distance, id, text and, beside or below it, where it was read."""
    _print_hits(hits, _screen(output, query))


def print_answer(query: str, hits: Sequence[Hit], output: Output) -> None:
    """Print a query and its hits, one below the other."""
    screen = _screen(output, query)
    for line in fold(escape(query, keep_sequences=True), screen.width):
        screen.console.print(Text(line, _HEADER))
    if hits:
        _print_hits(hits, screen)
    else:
        screen.console.print(Text("nothing found\n"))


def _print_hits(hits: Sequence[Hit], screen: _Screen) -> None:
    names = ("rank", "distance", "id")
    rows = [
        (str(rank), format_distance(hit.distance), str(hit.id)) for rank, hit in enumerate(hits, 1)
    ]
    widths = [max(map(len, column)) + _BETWEEN for column in zip(names, *rows, strict=True)]
    room = screen.width - _EDGES
    start = _left_out(widths, room)
    room -= sum(widths[start:])
    longest = max(cell_width(_location(hit.source, hit.line)) for hit in hits)
    beside = longest if _fits_beside(screen, room, longest + _BETWEEN) else 0
    room -= beside + _BETWEEN if beside else 0
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style=_HEADER)
    for name in names[start:]:
        table.add_column(name, justify="right", no_wrap=True)
    if beside:
        table.add_column("read in", no_wrap=True)
    table.add_column("text", no_wrap=True)
    for row, hit in zip(rows, hits, strict=True):
        lines = screen.text(hit.content, room)
        location = screen.location(hit, beside or room)
        cells = [_joined(location), _joined(lines)] if beside else [_joined(lines + location)]
        table.add_row(*row[start:], *cells)
    screen.console.print(table)


def print_documents(documents: Iterable[StoredDocument], output: Output) -> None:
    """Print each document whole, and above it everything that is known of where it was read."""
    screen = _screen(output)
    for number, document in enumerate(documents):
        block = Table.grid(padding=(0, _GAP), expand=True)
        block.add_column(style=_HEADER, no_wrap=True)
        block.add_column(ratio=1, overflow="fold")
        block.add_row("id", str(document.id))
        for occurrence in document.occurrences:
            place = escape(_occurrence(occurrence), keep_sequences=True)
            block.add_row("read in", Text(place, screen.link(occurrence.source)))
        screen.console.print(*([""] if number else []), block)
        output.write("\n")
        for line in fold(displayed(document.text), screen.width):
            output.write(line + "\n")


def print_list(hits: Iterable[Hit], output: Output, *, query: str | None = None) -> None:
    """Print a row for each hit as it comes: distance, where there is a query, id, text."""
    screen = _screen(output, query or "")
    columns = _LISTED[1:] if query is None else _LISTED
    columns = columns[_left_out([width + _GAP for _, width in columns], screen.width) :]
    room = screen.width - sum(width + _GAP for _, width in columns)
    beside = room // 4 if _fits_beside(screen, room, room // 4 + _GAP) else 0
    room -= beside + _GAP if beside else 0

    def row(
        cells: Sequence[str], lines: Sequence[Text], location: Sequence[Text], style: Style = _PLAIN
    ) -> None:
        blocks = [
            *(
                (width, [Text(cell.rjust(width), style)])
                for (_, width), cell in zip(columns, cells, strict=True)
            ),
            *([(beside, location)] if beside else []),
            (0, [*lines, *(() if beside else location)]),
        ]
        screen.console.print(_side_by_side(blocks))

    names = [name for name, _ in columns]
    heading = [Text("read in", _HEADER)] if beside else []
    row(names, [Text("text", _HEADER)], heading, _HEADER)
    for hit in hits:
        cells = [format_distance(hit.distance), str(hit.id)][-len(columns) :] if columns else []
        row(cells, screen.text(hit.content, room), screen.location(hit, beside or room))


def print_rows(columns: Sequence[str], rows: Iterable[Sequence[str]], output: Output) -> None:
    """Print one table of texts; a column of numbers is aligned right."""
    console = _screen(output).console
    rows = list(rows)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style=_HEADER)
    for number, name in enumerate(columns):
        is_number = all(row[number].isdecimal() for row in rows)
        justify: JustifyMethod = "right" if is_number else "left"
        is_whole = is_number and console.width >= _NARROW
        table.add_column(name, justify=justify, no_wrap=is_whole, overflow="fold")
    for row in rows:
        table.add_row(*(Text(escape(cell, keep_sequences=True)) for cell in row))
    console.print(table)


def _left_out(widths: Sequence[int], room: int) -> int:
    """Return how many of the columns before the text, with their gaps, leave it too little room."""
    starts = range(len(widths))
    least = max(_LEAST_TEXT, room // 2)
    return next((n for n in starts if sum(widths[n:]) <= room - least), len(widths))


def _fits_beside(screen: _Screen, room: int, width: int) -> bool:
    return screen.width >= _WIDE and room - width >= _ENOUGH_TEXT


def _joined(lines: Sequence[Text]) -> Text:
    return Text("\n", end="").join(lines)


def _side_by_side(blocks: Sequence[tuple[int, Sequence[Text]]]) -> Text:
    """Return the lines of blocks beside one another, each padded to its width but the last."""
    height = max(len(lines) for _, lines in blocks)
    joined = []
    for number in range(height):
        line = Text()
        for width, lines in blocks:
            cell = lines[number] if number < len(lines) else Text()
            line.append_text(cell)
            if width:
                line.append(" " * (width + _GAP - cell_width(cell.plain)))
        joined.append(line)
    return _joined(joined)


def _location(source: str | None, line: int | None) -> str:
    if source is None:
        return ""
    name = escape(source, keep_sequences=True)
    return name if line is None else f"{name}:{line}"


def _occurrence(occurrence: Occurrence) -> str:
    """Return a source and its line, and the metadata as JSON."""
    place = _location(occurrence.source, occurrence.line) or "standard input"
    if occurrence.source is None and occurrence.line is not None:
        place += f":{occurrence.line}"
    if occurrence.metadata is None:
        return place
    import orjson

    return f"{place}  {orjson.dumps(occurrence.metadata).decode()}"


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

    Longer words match the beginnings of others, as "search" does that of "searching".
    """
    words = dict.fromkeys(re.findall(r"\w+", query.casefold()))
    telling = [word for word in words if word not in _STOP_WORDS.split()] or list(words)
    parts = []
    for word in telling:
        if _UNSPACED.search(word):
            runs = _UNSPACED.findall(word)
            parts += [run[at : at + 2] for run in runs for at in range(max(1, len(run) - 1))]
        else:
            end = "" if len(word) >= _PREFIX_LETTERS else r"\b"
            parts.append(rf"\b{re.escape(word)}{end}")
    return re.compile("|".join(parts), re.IGNORECASE) if parts else None


def _screen(output: Output, query: str = "") -> _Screen:
    stream: IO[str] = output  # type: ignore[assignment]  # it writes and flushes: all that rich needs
    console = Console(
        file=stream,
        width=output.width,
        force_terminal=output.is_terminal or output.colored,
        color_system="auto" if output.colored else None,
        no_color=not output.colored,
        markup=False,
        highlight=False,
        emoji=False,
    )
    is_highlighted = output.colored or output.is_terminal
    return _Screen(output, console, _query_pattern(query) if is_highlighted else None)
