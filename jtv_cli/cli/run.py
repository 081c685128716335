"""Run a command line: find its command, call it, and turn what it raises into an exit code.

To add a command, write its function in a module of this package and add a row to _COMMANDS.
"""

from __future__ import annotations

import inspect
import io
import os
import re
import shlex
import sys
from contextlib import redirect_stdout
from importlib import import_module
from typing import TYPE_CHECKING, Annotated

import typer

from jtv_cli import __version__, config
from jtv_cli.cli.help_layout import GroupedCommand, RootGroup
from jtv_cli.cli.interrupts import Interrupted, block_interrupts, raise_interrupts
from jtv_cli.cli.memory import guard_numpy, out_of_memory
from jtv_cli.cli.session import Streams, with_session
from jtv_cli.embedders import DEFAULT_RERANKER
from jtv_cli.errors import ExitCode, JtvError, OutputFailed
from jtv_cli.render.console import Console, EscapingStream
from jtv_cli.render.output import Output, OutputClosed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_SEARCH = "search"
_COMPLETION = "completion"
_HELP = "help"

# Headings in the texts of --help.
_HEADING = re.compile(
    r"(?m)^ *(Usage|Common options|More|Example|See also|Documentation):|^ *[A-Z][\w ,]*:$"
)
# What Typer says of a number, most of which have no upper limit that a user would meet.
_OUT_OF_RANGE = re.compile(
    r"(-?\d+) is not in the range (\d+)<=x<=(2147483647|9223372036854775807)"
)
# The names of most rerankers; any other can be given as --rerank=MODEL.
_RERANKER = re.compile(r"(?!-)\S*rerank\S*|jina-colbert-\S+|onnx:.+", re.IGNORECASE)

# Each command's function, as "module.function" in this package, and its line in `jtv --help`.
_COMMANDS = {
    "init": ("init.init", "Create the table and its index."),
    "ingest": ("ingest.ingest", "Embed and store the texts of files."),
    "search": ("search.search", "Find the documents nearest to a query."),
    "list": ("search.list_documents", "List documents, with their distance to a query."),
    "show": ("search.show", "Show documents in full, with all their occurrences."),
    "duplicates": ("duplicates.duplicates", "Find documents that are almost the same."),
    "delete": ("delete.delete", "Delete documents."),
    "sync": ("sync.sync", "Update the table to match files: add new texts, remove old ones."),
    "info": ("tables.info", "Show the model, size, index and sources of the table."),
    "tables list": ("tables.list_tables", "List the tables of the store."),
    "tables rename": ("tables.rename", "Rename a table, or put it in place of another."),
    "doctor": ("doctor.doctor", "Check settings, database, table and API."),
    "export": ("transfer.export", "Write the table to stdout as JSON lines."),
    "import": ("transfer.import_table", "Store the documents of an export."),
    "copy": ("transfer.copy", "Copy the table from one store to another."),
    "reembed": ("reembed.reembed", "Embed the table with another model, into a new one."),
    "mcp": ("mcp.mcp", "Serve the table to agents (Model Context Protocol)."),
    "index status": ("index.status", "Show the state of the index."),
    "index build": ("index.build", "Build or rebuild the index."),
    "index wait": ("index.wait", "Wait until the index is built."),
    "index check": ("index.check", "Measure the recall and the speed of the index."),
    "index drop": ("index.drop", "Drop the index."),
    "models list": ("models.list_models", "List models, and whether they can be used now."),
    "models pull": ("models.pull", "Download a model, to run it on this machine."),
    "models path": ("models.path", "Print the directory of downloaded models."),
    "models remove": ("models.remove", "Delete a downloaded model."),
    _COMPLETION: ("completion.completion", "Print a shell completion script."),
    _HELP: ("help.print_topic", "Show the help of a command, or a page of the documentation."),
}
_GROUPS = {
    "index": "Manage the index, which speeds up searches.",
    "models": "List models, and download those that run on this machine.",
    "tables": "List the tables of the store, or rename one.",
}
# The command that the name of a group alone runs.
_DEFAULTS = {"models": "list", "tables": "list"}
# `jtv help models` shows the page, which has more than the group's help.
_PAGE_NAMED_AS_GROUP = ["models"]
_ALIASES = {"ls": "list", "rm": "delete"}
# Commands that need no settings and no store, and so have none of the shared options.
_WITHOUT_SESSION = (_COMPLETION, _HELP)
# Shared options that make no sense for a command.
_ALL_BUT_TABLE = ("database", "model", "api_base", "no_key")
_WITHOUT = {
    "copy": _ALL_BUT_TABLE,
    "models list": ("database", "table", "model"),
    "reembed": ("model",),
    "models pull": ("table", *_ALL_BUT_TABLE),
    "models path": ("table", *_ALL_BUT_TABLE),
    "models remove": ("table", *_ALL_BUT_TABLE),
    "tables list": ("model",),
    "tables rename": ("table", "model", "api_base", "no_key"),
}
# Shared options that are followed by a value.
_WITH_VALUE = ("--database", "--table", "--model", "--api-base", "--color")

_MORE_HELP = "Documentation: jtv help topics"
_ROOT_EPILOG = """\
Example: jtv ingest notes.txt && jtv search "what to cook with spinach"
See also: jtv COMMAND --help, jtv help topics, jtv help agents, jtv --version"""

# Typer exports this one of its usage errors and, before 0.28, not the base of them all.
_TyperUsageError: type[typer.BadParameter] = typer.BadParameter.__base__  # type: ignore[assignment]


def run(arguments: Sequence[str], *, is_starting: bool = False) -> int:
    """Run a command line and return the exit code.

    `is_starting` says that a line on the terminal shows that jtv starts.
    """
    columns = config.terminal_columns()
    streams = Streams(
        Output(sys.stdout, columns=columns, has_links=config.has_terminal_links()),
        Console(
            sys.stderr,
            columns=columns,
            dumb=config.is_dumb_terminal(),
            is_starting=is_starting,
        ),
    )
    sys.stderr = EscapingStream(streams.console)
    try:
        try:
            code = _guarded(arguments, streams)
        except Interrupted as interrupted:
            streams.console.interrupted(str(interrupted))
            code = interrupted.exit_code
        try:
            streams.output.flush()
        except (OutputClosed, OutputFailed):
            _discard_stdout()
        block_interrupts()
    except Interrupted as interrupted:  # while the process was about to exit anyway
        code = interrupted.exit_code
    return code


def _guarded(arguments: Sequence[str], streams: Streams) -> int:
    console = streams.console
    words = normalize(arguments)
    try:
        raise_interrupts()
        guard_numpy()
        code = _dispatch(words, streams)
    except OutputClosed:  # a reader like `head` has seen enough
        return ExitCode.OK
    except JtvError as error:
        console.error(error.message, hint=error.hint)
        return error.exit_code
    except _TyperUsageError as error:
        message, hint = _usage_error(error, words)
        console.error(message, hint=hint)
        return ExitCode.USAGE
    except Exception as error:
        if lack := out_of_memory(error):
            console.error(lack.message, hint=lack.hint)
            return lack.exit_code
        console.error(
            f"internal error: {type(error).__name__}: {error}",
            hint="run the command again with --debug and report the output as a bug",
        )
        return ExitCode.DEFECT
    try:
        streams.output.flush()
    except OutputClosed:  # nobody reads the report, but the code still says how it went
        return code
    except OutputFailed as error:
        console.error(error.message, hint=error.hint)
        return error.exit_code
    return code


def _dispatch(words: Sequence[str], streams: Streams) -> int:
    """Run the command; what Typer itself prints, which is help, is written as data."""
    if sorted(words) == ["--json", "--version"]:
        streams.console.end_start()
        streams.output.write(f"{_version_record()}\n")
        return ExitCode.OK
    command = typer.main.get_command(make_app(words[0]))
    streams.console.end_start()
    printed = io.StringIO()
    with redirect_stdout(printed):
        code = command.main(list(words), "jtv", standalone_mode=False, obj=streams)
    if text := printed.getvalue():
        if streams.output.is_terminal and config.wants_color():
            text = _HEADING.sub("\x1b[1m\\g<0>\x1b[0m", text)
        streams.output.write(text)
    return int(code or ExitCode.OK)


def normalize(arguments: Sequence[str]) -> list[str]:
    """Return the command line as Typer takes it: the command first, under its own name."""
    words = list(arguments) or ["--help"]
    if words[0].startswith("-") and words[0] not in ("--help", "-h", "--version"):
        words = _options_last(words)
    words[0] = _ALIASES.get(words[0], words[0])
    if words[0] == _HELP:
        words[1:2] = [_ALIASES.get(word, word) for word in words[1:2]]
        is_command = command_path(words[1:]) != "jtv" and words[1:] != _PAGE_NAMED_AS_GROUP
        if len(words) == 1 or is_command:
            return [*words[1:], "--help"]
    elif words[0] == _SEARCH:
        return _with_reranker(words)
    elif words[0] in _DEFAULTS and _names_no_command(words[1:]):
        words.insert(1, _DEFAULTS[words[0]])
    return words


def _with_reranker(words: list[str]) -> list[str]:
    """Return the words with a value for --rerank, which Typer cannot take without one.

    The word behind it is the model only if it looks like one: it may be the query's.
    """
    end = words.index("--") if "--" in words else len(words)
    default = f"--rerank={DEFAULT_RERANKER}"
    complete = [
        default if word == "--rerank" and not _RERANKER.fullmatch(following) else word
        for word, following in zip(words[:end], [*words[1:end], ""], strict=True)
    ]
    return complete + words[end:]


def _names_no_command(words: Sequence[str]) -> bool:
    return not words or (words[0].startswith("-") and words[0] not in ("-h", "--help"))


def _options_last(words: list[str]) -> list[str]:
    """Move options that stand before the command behind it, if there is a command."""
    start = 0
    while start < len(words) and words[start].startswith("-"):
        start += 2 if words[start] in _WITH_VALUE else 1
    rest = words[start:]
    path = command_path([_ALIASES.get(word, word) for word in rest[:1]] + rest[1:])
    length = path.count(" ")
    return rest[:length] + words[:start] + rest[length:] if length else words


def make_app(first: str = _COMPLETION) -> typer.Typer:
    """Return the commands that a command line with this first word can reach.

    `completion` reaches all of them. If the word is no command, the app only lists them, for
    `--help` and for suggestions, and imports none.
    """
    app = typer.Typer(
        cls=RootGroup,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(epilog=_ROOT_EPILOG)(_root)
    groups: dict[str, typer.Typer] = {}
    asked = [name for name in _COMMANDS if first in (_COMPLETION, name.split()[0])]
    for full_name in asked or _COMMANDS:
        place, line = _COMMANDS[full_name]
        group, _, name = full_name.rpartition(" ")
        if group and group not in groups:
            groups[group] = typer.Typer(rich_markup_mode=None, help=_GROUPS[group])
            app.add_typer(groups[group], name=group)
        command = _load(full_name, place) if asked else _only_listed
        text, epilog = _help_texts(command)
        groups.get(group, app).command(
            name,
            cls=GroupedCommand,
            help=text,
            epilog=epilog,
            short_help=line,
            context_settings={"allow_extra_args": name == _COMPLETION},
        )(command)
    return app


def command_path(words: Sequence[str]) -> str:
    """Return what a command line calls: a command, a group of commands, or jtv itself."""
    names = (" ".join(words[:2]), *words[:1])
    known = (f"jtv {name}" for name in names if name in _COMMANDS or name in _GROUPS)
    return next(known, "jtv")


def _load(name: str, place: str) -> Callable[..., int]:
    """Import a command and add the shared options."""
    module, _, function = place.partition(".")
    command: Callable[..., int] = getattr(import_module(f"jtv_cli.cli.{module}"), function)
    if name in _WITHOUT_SESSION:
        return command
    return with_session(command, without=_WITHOUT.get(name, ()))


def _help_texts(command: Callable[..., object]) -> tuple[str, str]:
    """Return a command's help and epilog: its docstring, cut before the examples."""
    text, heading, examples = (inspect.getdoc(command) or "").partition("\nExamples:\n")
    # Lines after \b are not wrapped.
    shown = [f"\b{heading}{examples}"] if examples else []
    return text.strip(), "\n\n".join((*shown, _MORE_HELP))


def _only_listed() -> None:
    """Stand for a command of which only the name and the line are needed."""


def _usage_error(error: typer.BadParameter, words: Sequence[str]) -> tuple[str, str]:
    """Return the message and the hint of a usage error that Typer found."""
    path = command_path(words)
    # Typer lists choices on lines of their own.
    message = " ".join(error.format_message().split()).rstrip(".")
    message, _, options = message.partition(" (Possible options: ")
    message = message.replace("is not a valid int range", "is not a whole number")
    if (found := _OUT_OF_RANGE.search(message)) and int(found[1]) < int(found[2]):
        message = _OUT_OF_RANGE.sub(r"\1 is less than \2", message)
    message, _, similar = message.partition(". Did you mean ")
    suggested = options.rstrip(")") or similar.rstrip("?").replace("'", "")
    option = getattr(error, "option_name", None)
    hint = f"see: {path} --help"
    if suggested:
        hint = f"did you mean '{suggested}'? Otherwise {hint}"
    elif path in ("jtv search", "jtv list") and (query := _query_like_option(error, words)):
        hint = f'to search for text that begins with "-", write: {path} -- {query}; or {hint}'
    elif option and path.removeprefix("jtv ") in ("jtv", *_GROUPS) and len(words) > 1:
        hint = f"put options after the command; {hint}"
    return message[0].lower() + message[1:], hint


def _query_like_option(error: typer.BadParameter, words: Sequence[str]) -> str:
    """Return the word that was taken for an option and may be meant as a query, else "".

    That is an option that does not exist, or letters behind a short one: `-foo` is
    `--format oo`.
    """
    option = getattr(error, "option_name", None)
    parameter = getattr(error, "param", None)
    short = tuple(name for name in getattr(parameter, "opts", ()) if not name.startswith("--"))
    for word in words:
        is_cluster = len(word) > 2 and word[0] == "-" != word[1]
        if word == option or (is_cluster and word.startswith(short)):
            return shlex.quote(word)
        if option and is_cluster and len(option) == 2 and option[1] in word:
            return shlex.quote(word)
    return shlex.quote(option) if option else ""


def _version_record() -> str:
    """Return what a bug report needs to say about the installation, as JSON."""
    import json
    import platform
    import sqlite3
    from importlib.util import find_spec

    extras = {
        "files": "kreuzberg",
        "local": "onnxruntime",
        "mcp": "mcp",
        "socks": "socks",
        "watch": "watchfiles",
    }
    record = {
        "version": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "sqlite": sqlite3.sqlite_version,
        "extras": [extra for extra, module in extras.items() if find_spec(module)],
    }
    return json.dumps(record)


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
    """Search text by meaning: store lines and files, then find what is near a query."""


def _discard_stdout() -> None:
    """Discard what is still buffered, so that the interpreter does not try to write it again."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
