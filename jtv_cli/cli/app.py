"""The commands under one name."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Annotated

import typer

from jtv_cli import __version__
from jtv_cli.cli.session import with_session

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# It asks about all commands, and opens nothing.
_COMPLETION = "completion"

# Where each command's function is, and its line in the list of all commands.
_COMMANDS = {
    "init": ("init.init", "Make the table and its index."),
    "ingest": ("ingest.ingest", "Embed and store what is in files."),
    "search": ("search.search", "Find the documents nearest to a query."),
    "list": ("search.list_documents", "Show every document, and its distance to a query."),
    "show": ("show.show", "Show documents whole, and where they were read."),
    "delete": ("delete.delete", "Delete documents."),
    "sync": ("sync.sync", "Make the table have of each file what is in it now."),
    "info": ("info.info", "Show what a table is, and what is in it."),
    "tables": ("info.tables", "Show all tables that the store holds."),
    "doctor": ("doctor.doctor", "Check settings, database, table and API."),
    "export": ("exchange.export", "Write a whole table to stdout, as JSON lines."),
    "import": ("exchange.import_table", "Store what `jtv export --vectors` wrote."),
    "copy": ("copy.copy", "Copy a whole table from one store to another."),
    "index status": ("index.status", "Show how far the index is."),
    "index build": ("index.build", "Build the index, anew where there is one."),
    "index drop": ("index.drop", "Remove the index."),
    "index wait": ("index.wait", "Wait until the index is built."),
    "index check": ("index.check", "Measure what the index finds, and how fast."),
    "models list": ("models.list_models", "List models, and whether they can be used now."),
    "models pull": ("models.pull", "Download a model, to run it on this machine."),
    "models path": ("models.path", "Print the directory of downloaded models."),
    "models remove": ("models.remove", "Delete a downloaded model."),
    _COMPLETION: ("completion.completion", "Print the script that has a shell complete jtv."),
}
# The shared options that a command does without.
_MODELS = ("database", "table", "model")
_WITHOUT = {
    "models list": _MODELS,
    "models pull": (*_MODELS, "api_base", "no_key"),
    "models path": (*_MODELS, "api_base", "no_key"),
    "models remove": (*_MODELS, "api_base", "no_key"),
    "copy": ("database", "model", "api_base", "no_key"),
    "tables": ("model",),
}
_GROUPS = {
    "index": "Manage the index, which makes searches fast.",
    "models": "List models, and download those that run on this machine.",
}
# The command of a group that is run where none is named.
_DEFAULTS = {"models": "list"}


def make_app(first: str = _COMPLETION) -> typer.Typer:
    """Return the commands that a command line with this first word may reach.

    Those are all for `completion`. Where the word is no command there is their list to
    show, or to look for what was meant, and none of them is imported.
    """
    app = typer.Typer(
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(epilog="Settings, output formats and exit codes: see README.md.")(_root)
    groups: dict[str, typer.Typer] = {}
    asked = [name for name in _COMMANDS if first in (_COMPLETION, name.split()[0])]
    for full_name in asked or _COMMANDS:
        place, line = _COMMANDS[full_name]
        group, _, name = full_name.rpartition(" ")
        if group and group not in groups:
            groups[group] = typer.Typer(rich_markup_mode=None, help=_GROUPS[group])
            app.add_typer(groups[group], name=group)
        command = _load(full_name, place) if asked else _only_listed
        settings = {"allow_extra_args": name == _COMPLETION}
        groups.get(group, app).command(name, short_help=line, context_settings=settings)(command)
    return app


def with_default(words: Sequence[str]) -> list[str]:
    """Return a command line with the default command of a group put in, if it names none."""
    first, *rest = words
    takes_default = first in _DEFAULTS and (
        not rest or (rest[0].startswith("-") and rest[0] not in ("-h", "--help"))
    )
    return [first, _DEFAULTS[first], *rest] if takes_default else list(words)


def command_path(words: Sequence[str]) -> str:
    """Return what a command line is a call of: a command, a group of them, else jtv itself."""
    names = (" ".join(words[:2]), *words[:1])
    known = (f"jtv {name}" for name in names if name in _COMMANDS or name in _GROUPS)
    return next(known, "jtv")


def _load(name: str, place: str) -> Callable[..., int]:
    """Import a command, and give it what all have in common."""
    module, _, function = place.partition(".")
    command: Callable[..., int] = getattr(import_module(f"jtv_cli.cli.{module}"), function)
    if name == _COMPLETION:
        return command
    return with_session(command, without=_WITHOUT.get(name, ()))


def _only_listed() -> None:
    """Stand for a command whose name and line are all that is asked for."""


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
