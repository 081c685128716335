"""Hits as rich tables for people, as wide as the terminal, with nothing cut off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jtv_cli.render.escape import escape
from jtv_cli.render.formats import format_distance

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import IO

    from rich.console import JustifyMethod

    from jtv_cli.records import Hit, Occurrence, StoredDocument
    from jtv_cli.render.output import Output

# Rows of `list` come one at a time, so the widths are set before the ids are known.
_LISTED: Sequence[tuple[str, int, str]] = (("distance", 8, "cyan"), ("id", 7, ""))
# All in cells: between the columns of `list`, between those of a table, and beside these.
_GAP = 2
_BETWEEN = 3
_EDGES = 2
# Rather than leave fewer to the text, columns before it are left out, the first first.
_LEAST_TEXT = 12
# In less, even numbers and their headings are broken.
_NARROW = 40


def print_ranking(hits: Sequence[Hit], output: Output, *, colored: bool) -> None:
    """Print one table: rank, distance, id, text."""
    console = _console(output, colored=colored)
    names = ("rank", "distance", "id")
    rows = [
        (str(rank), format_distance(hit.distance), str(hit.id)) for rank, hit in enumerate(hits, 1)
    ]
    widths = [max(map(len, column)) + _BETWEEN for column in zip(names, *rows, strict=True)]
    start = _left_out(widths, console.width - _EDGES)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for name in names[start:]:
        color = "cyan" if name == "distance" else None
        table.add_column(name, justify="right", no_wrap=True, style=color)
    table.add_column("text", overflow="fold")
    for row, hit in zip(rows, hits, strict=True):
        table.add_row(*row[start:], _text(hit.content))
    console.print(table)


def print_answer(query: str, hits: Sequence[Hit], output: Output, *, colored: bool) -> None:
    """Print a query and what was found, one below the other."""
    console = _console(output, colored=colored)
    console.print(Text(escape(query, keep_sequences=True), style="bold", overflow="fold"))
    if hits:
        print_ranking(hits, output, colored=colored)
    else:
        console.print(Text("nothing found\n"))


def print_documents(documents: Iterable[StoredDocument], output: Output, *, colored: bool) -> None:
    """Print each document whole, and below it everything that is known of where it was read."""
    console = _console(output, colored=colored)
    for number, document in enumerate(documents):
        block = Table.grid(padding=(0, 2), expand=True)
        block.add_column(style="bold", no_wrap=True)
        block.add_column(ratio=1, overflow="fold")
        block.add_row("id", str(document.id))
        block.add_row("text", _text(document.text))
        for occurrence in document.occurrences:
            block.add_row("read in", _text(_place(occurrence)))
        console.print(*([""] if number else []), block)


def print_list(hits: Iterable[Hit], output: Output, *, with_distance: bool, colored: bool) -> None:
    """Print a row for each hit as it comes: distance, where there is a query, id, text."""
    console = _console(output, colored=colored)
    columns = _LISTED if with_distance else _LISTED[1:]
    columns = columns[_left_out([width + _GAP for _, width, _ in columns], console.width) :]

    def show(cells: Sequence[str], text: Text, style: str = "") -> None:
        row = Table.grid(padding=(0, _GAP), expand=True)
        for _, width, color in columns:
            row.add_column(justify="right", min_width=width, no_wrap=True, style=color)
        row.add_column(ratio=1, overflow="fold")
        row.add_row(*cells[len(cells) - len(columns) :], text, style=style)
        console.print(row)

    show([name for name, _, _ in columns], Text("text"), "bold")
    for hit in hits:
        show((format_distance(hit.distance), str(hit.id)), _text(hit.content))


def print_rows(
    columns: Sequence[str], rows: Iterable[Sequence[str]], output: Output, *, colored: bool
) -> None:
    """Print one table of texts; what is a number stands on the right."""
    console = _console(output, colored=colored)
    rows = list(rows)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for number, name in enumerate(columns):
        is_number = all(row[number].isdecimal() for row in rows)
        justify: JustifyMethod = "right" if is_number else "left"
        is_whole = is_number and console.width >= _NARROW
        table.add_column(name, justify=justify, no_wrap=is_whole, overflow="fold")
    for row in rows:
        table.add_row(*map(_text, row))
    console.print(table)


def _left_out(widths: Sequence[int], room: int) -> int:
    """Return how many of the columns before the text, with their gaps, leave it too little room."""
    starts = range(len(widths))
    return next((n for n in starts if sum(widths[n:]) <= room - _LEAST_TEXT), len(widths))


def _place(occurrence: Occurrence) -> str:
    """Return a source and its line, and the metadata as JSON."""
    source = "standard input" if occurrence.source is None else occurrence.source
    place = source if occurrence.line is None else f"{source}:{occurrence.line}"
    if occurrence.metadata is None:
        return place
    import orjson

    return f"{place}  {orjson.dumps(occurrence.metadata).decode()}"


def _text(content: str) -> Text:
    return Text(escape(content, keep_sequences=True))


def _console(output: Output, *, colored: bool) -> Console:
    stream: IO[str] = output  # type: ignore[assignment]  # it writes and flushes: all that rich needs
    return Console(
        file=stream,
        force_terminal=output.is_terminal or colored,
        color_system="auto" if colored else None,
        no_color=not colored,
        markup=False,
        highlight=False,
        emoji=False,
    )
