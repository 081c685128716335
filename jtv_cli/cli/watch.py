"""`jtv sync --watch`: synchronize files whenever they change."""

from __future__ import annotations

import shlex
import time
from math import inf
from typing import TYPE_CHECKING, NamedTuple, Protocol

from jtv_cli.cli.arguments import first_few
from jtv_cli.cli.interrupts import if_interrupted
from jtv_cli.errors import ExitCode, JtvError, NoTable, TableDropped, TableMismatch, UsageError
from jtv_cli.render.units import format_count
from jtv_cli.source_names import possible_paths
from jtv_cli.sources.directory import is_gone
from jtv_cli.sources.watching import Look, Watcher

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jtv_cli.cli.session import Session
    from jtv_cli.records import IngestReport
    from jtv_cli.sources.directory import Selection

# Between two attempts after a failure.
_SHORTEST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 300.0
# So many files may be deleted at once, even if they are most of a directory.
_FEW_FILES = 10


class Since(NamedTuple):
    """What was synchronized before.

    `unchanged` are the names of files that need not be read again, `kept` those of files that
    are gone, and nothing of which is to be removed.
    """

    unchanged: frozenset[str]
    kept: frozenset[str]


class Done(NamedTuple):
    """How a run ended. `kept` are the files that are gone, of which nothing was removed."""

    exit_code: ExitCode
    report: IngestReport
    kept: frozenset[str]


class Synchronize(Protocol):
    """Updates the table to match files: all that is in them or, with `since`, what has changed.

    It uses no more than `max_tokens`, None for no limit.
    """

    def __call__(
        self, files: Sequence[str], since: Since | None = None, *, max_tokens: int | None
    ) -> Done:
        """Raise JtvError if it fails."""
        ...


def watch_files(
    session: Session,
    files: Sequence[str],
    selection: Selection,
    synchronize: Synchronize,
    *,
    max_tokens: int | None,
    yes: bool,
) -> int:
    """Synchronize the files, and again whenever they have changed.

    A failure after the first run is a message, and what has changed is tried again. Return the
    exit code of the run that has used up `max_tokens`, or whose report nobody reads.
    """
    watcher = Watcher(files, selection, session.console.warning)
    handled = look = watcher.look()
    done = synchronize(files, max_tokens=max_tokens)
    if done.report.stopped is not None:
        return done.exit_code
    session.console.report(f"Watching {first_few(files)}")
    kept, left = done.kept, _tokens_left(max_tokens, done.report.tokens)
    until, pause = inf, _SHORTEST_PAUSE_SECONDS
    with if_interrupted("stopped watching"):
        # With --json, reports are read as they come.
        while not (done.report.is_out_of_tokens or session.output.is_closed):
            before, look = look, watcher.wait(look, until)
            kept = (kept | _lost(session, before, look, yes=yes)) - look.files().keys()
            marks = handled.files()
            unchanged = (name for name, mark in look.files().items() if marks.get(name) == mark)
            since = Since(frozenset(unchanged), kept)
            try:
                if changed := _changed(files, handled, look):
                    done = synchronize(changed, since, max_tokens=left)
                    left = _tokens_left(left, done.report.tokens)
            except UsageError as error:
                # Nothing but another change of the files can help.
                session.console.warning(error.message, hint=error.hint)
                until = inf
            except JtvError as error:
                if _is_final(error):
                    raise
                left = _tokens_left(left, error.tokens)
                what = f"{error.message}; trying again in {pause:g} s"
                session.console.warning(what, hint=error.hint)
                until = time.monotonic() + pause
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            else:
                until, pause = inf, _SHORTEST_PAUSE_SECONDS
                # Otherwise a file could not be read, as if it had been a UsageError.
                if done.report.stopped is None:
                    handled = look
    return done.exit_code


def _is_final(error: JtvError) -> bool:
    """Return whether there is no table that could be updated."""
    is_mismatch = isinstance(error, TableMismatch) and not isinstance(error, TableDropped)
    return is_mismatch or isinstance(error, NoTable)


def _tokens_left(left: int | None, used: int) -> int | None:
    return None if left is None else max(0, left - used)


def _lost(session: Session, before: Look, look: Look, *, yes: bool) -> frozenset[str]:
    """Return the files that are gone and of which nothing is to be removed, and print why.

    A disk that is no longer mounted looks like a directory without files.
    """
    console = session.console
    for path in before.named.keys() - look.named.keys():
        console.warning(f"{path} is gone: the table keeps its documents")
    lost: set[str] = set()
    for path, files in before.found.items():
        left = look.found.get(path, {})
        missing = files.keys() - left.keys()
        gone = {name for name in missing if all(map(is_gone, possible_paths(name)))}
        is_much = len(gone) > _FEW_FILES and 2 * len(gone) > len(files) and not yes
        if not gone or (left and not is_much):
            continue
        lost |= gone
        if left:
            what = f"{len(gone):,} of {format_count(len(files), 'file')} in {path} are gone at once"
        else:
            what = f"there is no file left in {path}"
        console.warning(
            f"{what}: the table keeps their documents",
            hint=f"if it is not a mistake, run: jtv sync {shlex.quote(path)}" if left else None,
        )
    return frozenset(lost)


def _changed(files: Sequence[str], handled: Look, look: Look) -> list[str]:
    """Return the named files that have changed, and the directories in which something has."""
    return [
        path
        for path in files
        if (path in look.named and look.named[path] != handled.named.get(path))
        or (look.found.get(path) and look.found[path] != handled.found.get(path))
    ]
