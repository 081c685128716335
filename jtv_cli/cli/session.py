"""What every command needs: settings, the store, an embedder, and someone to talk to."""

from __future__ import annotations

import inspect
import sys
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, Concatenate, NamedTuple, ParamSpec

import typer

from jtv_cli import config
from jtv_cli.cli import choice, options
from jtv_cli.embedders.models import (
    JINA_KEYS_PAGE,
    OFFLINE_MODEL,
    TUTORIAL_MODEL,
    Model,
    spec_for,
)
from jtv_cli.errors import UsageError
from jtv_cli.records import IndexState, TableSpec
from jtv_cli.render.console import Console
from jtv_cli.render.output import Output

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from contextlib import AbstractContextManager

    from jtv_cli.embedders import Embedder
    from jtv_cli.stores import Store, Table

P = ParamSpec("P")


class Streams(NamedTuple):
    """The process's own streams, made by `run` and handed to the command."""

    output: Output
    console: Console


class Session(NamedTuple):
    """One command's run."""

    settings: config.Settings
    output: Output
    console: Console
    color: options.Color

    @property
    def database(self) -> config.Database:
        """The store that the settings name. Raises UsageError where they name none."""
        return config.find_database(self.settings)

    @property
    def table_name(self) -> str:
        """The table that the settings name."""
        return self.settings.table.value or ""

    @property
    def demands_model(self) -> bool:
        """Whether the command line names a model, which the table must then have."""
        return self.settings.model.source == "--model"

    @contextmanager
    def store(self, *, writable: bool = False) -> Iterator[Store]:
        """Open the store that the settings name, and close it."""
        with self.open_store(self.database, writable=writable) as store:
            yield store

    @contextmanager
    def open_store(self, database: config.Database, *, writable: bool = False) -> Iterator[Store]:
        """Open a store, and close it."""
        from jtv_cli.stores import open_store

        with self.console.status("opening the store"):
            store = open_store(
                database.location,
                writable=writable,
                make_folder=database.is_default,
                notice=self.console.note,
            )
        with closing(store):
            yield store

    def open_table(self, store: Store) -> Table:
        """Open the table that the settings name.

        Raises TableMismatch where --model names another model than the table's.
        """
        with self.looking_at(store):
            table = store.open(self.table_name)
        self.require_model(table.spec)
        choice.require_near(self.settings, table)
        return table

    def looking_at(self, store: Store) -> AbstractContextManager[object]:
        """On a terminal, show that the store is being asked for something, while it is."""
        return self.console.status(f"looking at {store.location}")

    def model_for_new_table(self, options: choice.VectorOptions | None = None) -> Model:
        """Return the model that the settings name, else the default (see `choice`)."""
        return choice.model_for_new_table(
            self.settings, is_embedded=self.database.is_embedded, options=options
        )

    def embedder(self, spec: TableSpec, *, truncate: bool = False) -> Embedder:
        """Open the embedder to use with a table.

        `truncate` has it cut texts that are too long for the model.

        Raises UsageError where the API key is missing, or the API base cannot be used.
        """
        model = choice.model_for_table(self.settings, spec)
        return choice.open_model(self.settings, model, truncate=truncate)

    def open_model(self, model: Model) -> Embedder:
        """Open the embedder of a model."""
        return choice.open_model(self.settings, model)

    def require_model(self, spec: TableSpec) -> None:
        """Raise TableMismatch where --model names another model than the table's."""
        choice.require_model(self.settings, spec)

    def new_spec(self, model: Model) -> TableSpec:
        """Return what the table would be with a model."""
        return spec_for(self.table_name, model)

    def note_offline(self, spec: TableSpec) -> None:
        """Say that the offline model matches words only, and what to do for meaning."""
        if spec.model != OFFLINE_MODEL:
            return
        if self.settings.api_key.value:
            self.console.warning(
                f"table {spec.name} was made offline and matches words, not meaning; your API key"
                f" is not used: make it anew with jtv init --drop --model {TUTORIAL_MODEL},"
                " or another with --table NAME"
            )
        else:
            self.console.note(
                f"{OFFLINE_MODEL} works offline and matches words, not meaning;"
                f" for meaning set JINA_API_KEY ({JINA_KEYS_PAGE}) and make another table"
            )

    def note_connection(self, store: Store, table: Table) -> None:
        """Say what someone who writes should know of the way to the store, and of its index."""
        for note in store.notes:
            self.console.note(note)
        if self.database.is_embedded:
            return
        with self.looking_at(store):
            index = table.index_status()
        if index.state is IndexState.NONE:
            self.console.warning(
                f"table {table.spec.name} has no vector index: searches are full scans"
            )

    def confirm(self, what: str, *, otherwise: str) -> None:
        """Raise UsageError unless the user, on a terminal, says yes to what would be done."""
        if not (self.console.is_terminal and sys.stdin is not None and sys.stdin.isatty()):
            raise UsageError(f"this would {what}", hint="if you mean it, add --yes")
        if not self.console.ask(f"{what[0].upper()}{what[1:]}?", sys.stdin):
            raise UsageError(otherwise)

    def name_skipped(self, place: str, reason: str) -> None:
        """Say which record was left out."""
        self.console.skipped(f"{place}: {reason}, skipped")

    def print_json(self, record: Mapping[str, object]) -> None:
        """Print a report as one JSON object on a line of stdout."""
        import orjson

        self.output.write_line(orjson.dumps(record).decode())

    def sign_off(self, store: Store, spec: TableSpec) -> None:
        """Print where a command wrote, which setting named that place, and the model."""
        source = "" if self.database.source == "default" else f" ({self.database.source})"
        location = config.short_path(store.location)
        self.console.report(f"table {spec.name} (model {spec.model}) in {location}{source}")


def with_session(
    function: Callable[Concatenate[Session, P], int], *, without: Collection[str] = ()
) -> Callable[..., int]:
    """Turn a function of a session and its own options into a command with the shared options.

    Typer reads a command's options from its signature, so the shared ones, all but those
    it does `without`, are written into it here, once, rather than into every command.
    """
    every = inspect.signature(_open_session, eval_str=True).parameters
    shared = {name: option for name, option in every.items() if name not in without}
    _, *own = inspect.signature(function, eval_str=True).parameters.values()

    def command(**arguments: Any) -> int:  # noqa: ANN401
        session = _open_session(**{name: arguments.pop(name) for name in shared})
        return function(session, **arguments)  # type: ignore[call-arg]

    command.__name__, command.__doc__ = function.__name__, function.__doc__
    keyword_only = [p.replace(kind=p.KEYWORD_ONLY) for p in (*own, *shared.values())]
    command.__signature__ = inspect.Signature(keyword_only)  # type: ignore[attr-defined]
    return command


def _open_session(
    context: typer.Context,
    database: options.Database = None,
    table: options.Table = None,
    model: options.Model = None,
    api_base: options.ApiBase = None,
    no_key: options.NoKey = False,
    color: options.Colors = options.Color.AUTO,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> Session:
    streams: Streams = context.obj
    streams.console.quiet, streams.console.debug = quiet, debug
    for stream in streams:
        stream.colored = _takes_color(stream, color)
    flags = config.Flags(database, table, model, api_base, no_key)
    return Session(config.load_settings(flags), streams.output, streams.console, color)


def _takes_color(stream: Output | Console, color: options.Color) -> bool:
    if color is options.Color.AUTO:
        return stream.is_terminal and config.wants_color()
    return color is options.Color.ALWAYS
