"""Show pages of the documentation on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markdown import CodeBlock, Markdown, TableElement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text
from rich.theme import Theme

from jtv_cli.render.tables import open_console

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

    from jtv_cli.render.output import Output

# Longer lines are hard to read.
_WIDEST = 100
# Rich's own styles put code on black, and headings in colors that light terminals hardly show.
_THEME = Theme(
    {
        "markdown.code": "bold",
        "markdown.h1": "bold",
        "markdown.h2": "bold underline",
        "markdown.h3": "bold",
        "markdown.h4": "bold",
        "markdown.item.bullet": "none",
        "markdown.item.number": "none",
        "markdown.table.header": "bold",
        "markdown.table.border": "none",
    }
)


class _WholeTable(TableElement):
    """A table whose words are broken rather than cut where there is no room."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for table in super().__rich_console__(console, options):
            if isinstance(table, Table):
                for column in table.columns:
                    column.overflow = "fold"
            yield table


class _PlainCode(CodeBlock):
    """A block of code, indented and as it is: it is there to be copied."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Padding(Text(str(self.text).rstrip(), overflow="fold"), (0, 0, 0, 4))


class _Page(Markdown):
    elements = Markdown.elements | {
        "code_block": _PlainCode,
        "fence": _PlainCode,
        "table_open": _WholeTable,
    }


def print_markdown(text: str, output: Output) -> None:
    """Print Markdown with headings, lists and tables as a terminal shows them."""
    console = open_console(output, min(output.width, _WIDEST))
    with console.use_theme(_THEME):
        console.print(_Page(text, hyperlinks=False))
