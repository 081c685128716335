"""Show pages of the documentation on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markdown import Markdown, TableElement
from rich.table import Table

from jtv_cli.render.tables import open_console

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

    from jtv_cli.render.output import Output

# Longer lines are hard to read.
_WIDEST = 100


class _WholeTable(TableElement):
    """A table whose words are broken rather than cut where there is no room."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for table in super().__rich_console__(console, options):
            if isinstance(table, Table):
                for column in table.columns:
                    column.overflow = "fold"
            yield table


class _Page(Markdown):
    elements = Markdown.elements | {"table_open": _WholeTable}


def print_markdown(text: str, output: Output) -> None:
    """Print Markdown with headings, lists and tables as a terminal shows them."""
    page = _Page(text, code_theme="ansi_dark", hyperlinks=False)
    open_console(output, min(output.width, _WIDEST)).print(page)
