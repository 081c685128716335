"""Hits as rich tables for people, as wide as the terminal, with nothing cut off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jtv_cli.render.formats import fixed
from jtv_cli.render.visible import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import IO

    from jtv_cli.records import Hit, Occurrence, StoredDocument
    from jtv_cli.render.output import Output

# Rows of `list` come one at a time, so the widths are set before the ids are known.
_DISTANCE_WIDTH = 8
_ID_WIDTH = 7


def print_ranking(hits: Sequence[Hit], output: Output, *, colored: bool) -> None:
    """Print one table: rank, distance, id, text."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    table.add_column("rank", justify="right", no_wrap=True)
    table.add_column("distance", justify="right", no_wrap=True, style="cyan")
    table.add_column("id", justify="right", no_wrap=True)
    table.add_column("text", overflow="fold")
    for rank, hit in enumerate(hits, 1):
        table.add_row(str(rank), fixed(hit.distance), str(hit.id), _text(hit.content))
    _console(output, colored=colored).print(table)


def print_answer(query: str, hits: Sequence[Hit], output: Output, *, colored: bool) -> None:
    """Print a query and what was found, one below the other."""
    console = _console(output, colored=colored)
    console.print(Text(visible(query), style="bold", overflow="fold"))
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
    console.print(_row(("distance", "id", Text("text")), with_distance=with_distance, style="bold"))
    for hit in hits:
        cells = (fixed(hit.distance), str(hit.id), _text(hit.content))
        console.print(_row(cells, with_distance=with_distance))


def print_rows(
    columns: Sequence[str], rows: Iterable[Sequence[str]], output: Output, *, colored: bool
) -> None:
    """Print one table of texts; what is a number stands on the right."""
    rows = list(rows)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for number, name in enumerate(columns):
        is_number = all(row[number].isdecimal() for row in rows)
        table.add_column(name, justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(_text, row))
    _console(output, colored=colored).print(table)


def _row(cells: tuple[str, str, Text], *, with_distance: bool, style: str = "") -> Table:
    row = Table.grid(padding=(0, 2), expand=True)
    if with_distance:
        row.add_column(justify="right", width=_DISTANCE_WIDTH, style="cyan")
    row.add_column(justify="right", min_width=_ID_WIDTH, no_wrap=True)
    row.add_column(ratio=1, overflow="fold")
    row.add_row(*(cells if with_distance else cells[1:]), style=style)
    return row


def _place(occurrence: Occurrence) -> str:
    """Return a source and its line, and the metadata as JSON."""
    source = "standard input" if occurrence.source is None else occurrence.source
    place = source if occurrence.line is None else f"{source}:{occurrence.line}"
    if occurrence.metadata is None:
        return place
    import orjson

    return f"{place}  {orjson.dumps(occurrence.metadata).decode()}"


def _text(content: str) -> Text:
    return Text(visible(content))


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
