"""The one place that catches: what a command raises becomes one line and an exit code."""

from __future__ import annotations

import io
import os
import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING

import typer

from jtv_cli import config
from jtv_cli.cli.app import command_path, make_app, with_default
from jtv_cli.cli.interrupts import Interrupted, block_interrupts, raise_interrupts
from jtv_cli.cli.session import Streams
from jtv_cli.errors import ExitCode, JtvError, OutputFailed
from jtv_cli.render.console import Console, EscapingStream
from jtv_cli.render.output import Output, OutputClosed

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    try:
        raise_interrupts()
        code = _dispatch(arguments, streams)
        streams.output.flush()
    except OutputClosed:
        return ExitCode.OK
    except JtvError as error:
        console.error(error.message, hint=error.hint)
        return error.exit_code
    except _TyperUsageError as error:
        # Typer lists choices on lines of their own.
        message = " ".join(error.format_message().split())
        console.error(message.rstrip("."), hint=f"see: {command_path(arguments)} --help")
        return ExitCode.USAGE
    except Exception as error:
        console.error(
            f"internal error: {type(error).__name__}: {error}",
            hint="run the command again with --debug and report the output as a bug",
        )
        return ExitCode.DEFECT
    return code


def _dispatch(arguments: Sequence[str], streams: Streams) -> int:
    """Run the command; what Typer itself prints, help, goes the way of all data."""
    words = with_default(arguments or ["--help"])
    command = typer.main.get_command(make_app(words[0]))
    streams.console.end_start()
    printed = io.StringIO()
    with redirect_stdout(printed):
        code = command.main(words, "jtv", standalone_mode=False, obj=streams)
    streams.output.write(printed.getvalue())
    return int(code or ExitCode.OK)


def _discard_stdout() -> None:
    """Send what is still buffered nowhere, so that the interpreter does not try it again."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
