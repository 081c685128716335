"""`jtv help TOPIC`: the documentation's pages."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import jtv_cli
from jtv_cli import config
from jtv_cli.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from jtv_cli.cli.session import Streams

_LIST = "topics"
# What a terminal cannot follow or show.
_PAGE_LINK = re.compile(r"\[([^\]]+)\]\(([a-z]+)\.md[^)]*\)")
_PICTURE = re.compile(r"^!\[.*\n", re.MULTILINE)
# Other names of pages.
_ALIASES = {"exit-codes": "output", "environment": "settings"}


def print_topic(
    context: typer.Context,
    topic: Annotated[
        str, typer.Argument(metavar="[COMMAND|TOPIC]", help="A command, a page, or 'topics'.")
    ] = _LIST,
) -> int:
    """Show the help of a command, or a page of the documentation.

    'jtv help topics' lists the pages. Off a terminal, a page is printed as Markdown.

    Examples:
      jtv help search
      jtv help settings

    """
    streams: Streams = context.obj
    pages = _pages()
    topic = _ALIASES.get(topic, topic)
    if topic == _LIST:
        for name, page in pages.items():
            title = page.read_text("utf-8").partition("\n")[0].lstrip("# ")
            streams.output.write_fields((f"jtv help {name}", title), (25,))
    elif topic in pages:
        text = pages[topic].read_text("utf-8")
        if streams.output.is_terminal:
            from jtv_cli.render.markdown import print_markdown

            streams.output.colored = config.wants_color()
            text = _PICTURE.sub("", _PAGE_LINK.sub(r"\1 (`jtv help \2`)", text))
            print_markdown(text, streams.output)
        else:
            streams.output.write(text)
    else:
        raise UsageError(
            f'no command or topic "{topic}"', hint="see: jtv --help, or: jtv help topics"
        )
    return ExitCode.OK


def _pages() -> dict[str, Path]:
    """Return the documentation's pages by name: inside an installed package, or beside it."""
    package = Path(jtv_cli.__file__).parent
    folders = (package / "docs", package.parent / "docs")
    found = next((sorted(folder.glob("*.md")) for folder in folders if folder.is_dir()), [])
    return {page.stem: page for page in found}
