"""The commands under one name."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated

import typer

from jtv_cli import __version__
from jtv_cli.cli.session import with_session

# It asks about all commands, and opens nothing.
_COMPLETION = "completion"

# Where each command's function is: only those that are asked for are imported.
_COMMANDS = {
    "init": "init.init",
    "ingest": "ingest.ingest",
    "search": "search.search",
    "list": "search.list_documents",
    "show": "show.show",
    "delete": "delete.delete",
    "sync": "sync.sync",
    "index status": "index.status",
    "index build": "index.build",
    "index drop": "index.drop",
    "index wait": "index.wait",
    "index check": "index.check",
    _COMPLETION: "completion.completion",
}
_GROUPS = {"index": "See to the index that makes searches fast."}


def make_app(first: str | None = None) -> typer.Typer:
    """Return all commands, or those alone that begin with the first word of a command line."""
    app = typer.Typer(
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(epilog="Settings, output formats and exit codes: see README.md.")(_root)
    groups: dict[str, typer.Typer] = {}
    asked = {
        name: place for name, place in _COMMANDS.items() if name.split()[0] == first != _COMPLETION
    }
    for full_name, place in (asked or _COMMANDS).items():
        group, _, name = full_name.rpartition(" ")
        if group and group not in groups:
            groups[group] = typer.Typer(rich_markup_mode=None, help=_GROUPS[group])
            app.add_typer(groups[group], name=group)
        module, _, function = place.partition(".")
        command = getattr(import_module(f"jtv_cli.cli.{module}"), function)
        if name != _COMPLETION:
            command = with_session(command)
        groups.get(group, app).command(name)(command)
    return app


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"jtv {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Semantic search from the shell: store lines of text, find them by meaning."""
