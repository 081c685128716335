"""What every command needs: settings, the store, an embedder, stdout and stderr."""

from __future__ import annotations

import inspect
import re
import shlex
import sys
from contextlib import closing, contextmanager, suppress
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, NamedTuple, ParamSpec, get_type_hints

import typer

from jtv_cli import config, model_choice
from jtv_cli.cli import options
from jtv_cli.embedders.models import (
    HASHING_MODEL,
    JINA_KEYS_PAGE,
    SENTENCE_MODEL,
    STATIC_MODEL,
    TUTORIAL_MODEL,
    spec_for,
)
from jtv_cli.errors import NoTable, UsageError
from jtv_cli.records import IndexState, TableSpec
from jtv_cli.render.console import Console
from jtv_cli.render.output import Output, OutputClosed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from contextlib import AbstractContextManager

    from jtv_cli.embedders import Embedder, Model
    from jtv_cli.records import IndexStatus
    from jtv_cli.stores import Store, Table

P = ParamSpec("P")

RESUME = "run the same command to resume"

# A command in a hint that takes --database and --table.
_COMMAND = re.compile(r"\bjtv (?!copy|completion|help|models)((?:index |tables )?[a-z]+)\b")


class Streams(NamedTuple):
    """The process's own streams, opened by `run` and passed to the command."""

    output: Output
    console: Console


class Session(NamedTuple):
    """One run of a command."""

    settings: config.Settings
    output: Output
    console: Console

    @property
    def database(self) -> config.Database:
        """The store that the settings name. Raises UsageError if they name none."""
        return config.find_database(self.settings)

    @property
    def table_name(self) -> str:
        """The table that the settings name."""
        return self.settings.table.value or ""

    @property
    def ingest_creates_table(self) -> bool:
        """Whether `ingest` may create the table: the default one, in a file that jtv chose.

        Any other table or store may be a typing error.
        """
        database = self.database
        is_expected = database.is_default or Path(database.location).exists()
        return database.is_embedded and is_expected and self.settings.table.source == "default"

    @contextmanager
    def store(
        self, database: config.Database | None = None, *, writable: bool = False
    ) -> Iterator[Store]:
        """Open a store, by default the one that the settings name, and close it in the end."""
        from jtv_cli.stores import open_store

        database = database or self.database
        with self.console.status("opening the store"):
            store = open_store(
                database.location,
                writable=writable,
                make_folder=database.is_default,
                notice=self.console.report,
            )
        with closing(store):
            yield store

    def open_table(self, store: Store) -> Table:
        """Open the table that the settings name.

        Raises TableMismatch if --model names another model than the table's.
        """
        try:
            with self.looking_at(store):
                table = store.open(self.table_name)
        except NoTable as error:
            if self.ingest_creates_table and store.location == self.database.location:
                error.hint = "create it and store a file in it with: jtv ingest FILE"
            raise
        self.require_model(table.spec)
        model_choice.require_near(self.settings, table)
        return table

    def looking_at(self, store: Store) -> AbstractContextManager[object]:
        """Show on a terminal that the store is being read."""
        return self.console.status(f"reading {store.location}")

    def model_for_new_table(self, options: model_choice.VectorOptions | None = None) -> Model:
        """Return the model that the settings name, or the default for a new table."""
        return model_choice.model_for_new_table(
            self.settings, is_embedded=self.database.is_embedded, options=options
        )

    def embedder(self, spec: TableSpec, *, truncate: bool = False) -> Embedder:
        """Open the embedder to use with a table.

        `truncate` cuts texts that are too long for the model.

        Raises UsageError if the API key is missing or the API base cannot be used.
        """
        model = model_choice.model_for_table(self.settings, spec)
        return model_choice.open_model(self.settings, model, truncate=truncate)

    def require_model(self, spec: TableSpec) -> None:
        """Raise TableMismatch if --model names another model than the table's."""
        model_choice.require_model(self.settings, spec)

    def new_spec(self, model: Model) -> TableSpec:
        """Return the spec of a new table with this model."""
        return spec_for(self.table_name, model)

    def note_builtin(self, spec: TableSpec) -> None:
        """Print what a built-in model is good for, and what is better."""
        if spec.model == STATIC_MODEL:
            strength = "finds meaning in English, and shared words in any language"
        elif spec.model == HASHING_MODEL:
            strength = "matches words, not meaning"
        else:
            return
        if self.settings.api_key.value:
            self.console.warning(
                f"table {spec.name} does not use your API key: its model {spec.model} {strength}",
                hint=f"recreate it with: jtv init --drop --model {TUTORIAL_MODEL}",
            )
        else:
            self.console.report(f"{spec.model} works offline and {strength}")
            self.console.report(
                f"For better results, run: jtv models pull {SENTENCE_MODEL}, or set JINA_API_KEY"
                f" ({JINA_KEYS_PAGE}). Then create another table."
            )

    def note_connection(self, store: Store, table: Table, index: IndexStatus | None = None) -> None:
        """Print what a writer should know about the connection and the index.

        `index` is the state of the index if it was just read.
        """
        for note in store.notes:
            self.console.report(note)
        if self.database.is_embedded:
            return
        if index is None:
            with self.looking_at(store):
                index = table.index_status()
        if index.state is IndexState.NONE:
            self.console.warning(
                f"table {table.spec.name} has no vector index: searches are full scans",
                hint="see why: jtv index status",
            )

    def confirm(self, verb: str, what: str, *, otherwise: str) -> None:
        """Ask on a terminal whether to go on: `confirm("delete", "34 documents", …)`.

        Raises UsageError for any answer but yes, and if there is nobody to ask.
        """
        if not (self.console.is_terminal and sys.stdin is not None and sys.stdin.isatty()):
            raise UsageError(f"this {verb}s {what}", hint="add --yes to confirm")
        if not self.console.ask(f"{verb.capitalize()} {what}?", sys.stdin):
            raise UsageError(f"canceled, {otherwise}")

    def print_json(self, record: Mapping[str, object]) -> None:
        """Print a report as one JSON object on a line of stdout, at once.

        A closed pipe is no reason to stop: the exit code still says how the command ended.
        """
        import orjson

        with suppress(OutputClosed):
            self.output.write_line(orjson.dumps(record).decode())
            self.output.flush()

    def sign_off(self, store: Store, spec: TableSpec) -> None:
        """Print where a command wrote, which setting named that place, and the model."""
        source = "" if self.database.source == "default" else f" ({self.database.source})"
        location = config.short_path(store.location)
        self.console.report(f"table {spec.name} (model {spec.model}) in {location}{source}")


def with_session(
    function: Callable[Concatenate[Session, P], int], *, without: Collection[str] = ()
) -> Callable[..., int]:
    """Return a command that has the shared options beside those of its own function.

    Typer reads the options from the signature. There, a parameter that is a group of options,
    such as `arguments.Reading`, is replaced by them, and the shared options are added, apart
    from those named in `without`.
    """
    _, *own = inspect.signature(function, eval_str=True).parameters.values()
    groups = {p.name: p.annotation for p in own if _is_group(p)}
    every = inspect.signature(_open_session, eval_str=True).parameters
    shared = {name: option for name, option in every.items() if name not in without}

    def command(**arguments: Any) -> int:  # noqa: ANN401
        session = _open_session(**{name: arguments.pop(name) for name in shared})
        if arguments.get("json"):
            session.output.require_open()
        for name, group in groups.items():
            arguments[name] = group(*(arguments.pop(field) for field in group._fields))
        return function(session, **arguments)  # type: ignore[call-arg]

    command.__name__, command.__doc__ = function.__name__, function.__doc__
    flat = chain(*map(_options_of, own), shared.values())
    keyword_only = [option.replace(kind=option.KEYWORD_ONLY) for option in flat]
    command.__signature__ = inspect.Signature(keyword_only)  # type: ignore[attr-defined]
    return command


def _is_group(parameter: inspect.Parameter) -> bool:
    """Return whether it is a named tuple of options."""
    return hasattr(parameter.annotation, "_fields")


def _options_of(parameter: inspect.Parameter) -> list[inspect.Parameter]:
    """Return the options of a group, and a parameter that is none as it is."""
    if not _is_group(parameter):
        return [parameter]
    options = inspect.signature(parameter.annotation).parameters
    types = get_type_hints(parameter.annotation, include_extras=True)
    return [options[name].replace(annotation=kind) for name, kind in types.items()]


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
    streams.console.complete_hint = partial(repeat_options, flags=flags)
    return Session(config.load_settings(flags), streams.output, streams.console)


def repeat_options(hint: str, flags: config.Flags) -> str:
    """Return a hint whose commands have the options that this call was given.

    `jtv init` becomes `jtv init --table tickets` in a call with `--table tickets`.
    """
    given = {"--database": flags.database, "--table": flags.table}
    of_new_table = {"--model": flags.model, "--api-base": flags.api_base}

    def repeated(command: re.Match[str]) -> str:
        options = given | (of_new_table if command[1] == "init" else {})
        if command[1].startswith("tables"):
            options = {"--database": flags.database}
        words = [
            f"{name} {shlex.quote(value)}"
            for name, value in options.items()
            if value is not None and name not in hint
        ]
        if command[1] == "init" and flags.no_key:
            words.append("--no-key")
        return " ".join((command[0], *words))

    return _COMMAND.sub(repeated, hint)


def _takes_color(stream: Output | Console, color: options.Color) -> bool:
    if color is options.Color.AUTO:
        return stream.is_terminal and config.wants_color()
    return color is options.Color.ALWAYS
