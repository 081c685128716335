"""The commands under one name."""

from __future__ import annotations

from typing import Annotated

import typer

from jtv_cli import __version__
from jtv_cli.cli import index
from jtv_cli.cli.copy import copy
from jtv_cli.cli.doctor import doctor
from jtv_cli.cli.exchange import export, import_table
from jtv_cli.cli.info import info, tables
from jtv_cli.cli.ingest import ingest
from jtv_cli.cli.init import init
from jtv_cli.cli.search import list_documents, search
from jtv_cli.cli.session import with_session

app = typer.Typer(
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"jtv {__version__}")
        raise typer.Exit


@app.callback(epilog="Settings, output formats and exit codes: see README.md.")
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Semantic search from the shell: store lines of text, find them by meaning."""


app.command()(with_session(init))
app.command()(with_session(ingest))
app.command()(with_session(search))
app.command("list")(with_session(list_documents))
app.command()(with_session(info))
app.command()(with_session(tables))
app.command()(with_session(doctor))
app.command()(with_session(export))
app.command("import")(with_session(import_table))
app.command()(with_session(copy, without=("database", "model", "api_base")))

_index = typer.Typer(rich_markup_mode=None)
for command in (index.status, index.build, index.drop, index.wait, index.check):
    _index.command()(with_session(command))
app.add_typer(_index, name="index", help="See to the index that makes searches fast.")
