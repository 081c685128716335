"""`jtv sync`: update the table to match files and directories."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, NamedTuple

from jtv_cli.cli import options
from jtv_cli.cli.arguments import Reading, Requests, first_few
from jtv_cli.cli.ingest import (
    IngestRun,
    make_cutter,
    open_changed,
    open_named,
    print_excluded,
    print_formats,
    recall,
    record,
    report_estimate,
)
from jtv_cli.cli.interrupts import if_interrupted
from jtv_cli.cli.session import RESUME, Session
from jtv_cli.cli.watch import Done, Since, watch_files
from jtv_cli.errors import ExitCode, UsageError
from jtv_cli.records import STDIN, Removed
from jtv_cli.render.units import format_removed
from jtv_cli.source_names import file_identity, shown_source
from jtv_cli.sources.details import describe, in_words
from jtv_cli.sources.directory import Selection
from jtv_cli.sources.open import missing_files, open_input, read_blocks

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from jtv_cli.pipeline.known_sources import Recalled
    from jtv_cli.pipeline.long_texts import TextCutter
    from jtv_cli.pipeline.removal import MarkedLines
    from jtv_cli.pipeline.spool import Spool
    from jtv_cli.sources.open import Input
    from jtv_cli.sources.source import ReadOptions, Source
    from jtv_cli.stores import Store, Table


def sync(
    session: Session,
    files: options.Files,
    source: options.SyncedSource = None,
    *,
    reading: Reading,
    requests: Requests,
    dry_run: options.SyncDryRun = False,
    watch: options.Watch = False,
    yes: options.Yes = False,
    json: options.Report = False,
) -> int:
    """Update the table to match the files: add what is new, remove what is gone.

    New texts are embedded and stored first, as `jtv ingest` does. Then the occurrences that
    are no longer in the files are removed, and with its last occurrence a document. The
    same goes for files that were deleted from a directory. jtv shows how
    much it removes and asks, or needs --yes. If a record was skipped or the run stopped
    early, nothing is removed and the exit code is 3.

    With --watch, do that again whenever files have changed, until it is interrupted, without
    asking. What a directory loses that becomes empty is kept, and so is more than half of its
    files at once, unless --yes is given: a disk may be missing.

    Examples:
      jtv sync notes.txt
      jtv sync docs --include '*.md' --dry-run
      jtv sync docs --watch

    """
    read_options = reading.read_options(source)
    if watch and (dry_run or STDIN in files):
        what = "--dry-run" if dry_run else "standard input"
        raise UsageError(f"--watch and {what} cannot be combined")
    if dry_run:
        return _estimate(session, files, read_options, truncate=requests.truncate, json=json)
    synchronize = _Synchronize(session, read_options, reading, requests, yes, json)
    if watch:
        selection = read_options.selection or Selection()
        return watch_files(
            session, files, selection, synchronize, max_tokens=requests.max_tokens, yes=yes
        )
    return synchronize(files, max_tokens=requests.max_tokens).exit_code


class _Synchronize(NamedTuple):
    """How files are synchronized."""

    session: Session
    read_options: ReadOptions
    reading: Reading
    requests: Requests
    yes: bool
    json: bool

    def __call__(
        self, files: Sequence[str], since: Since | None = None, *, max_tokens: int | None
    ) -> Done:
        """Ingest the files, and remove what is gone.

        With `since`, only what has changed since then, and with few words.
        """
        from jtv_cli.pipeline.spool import Spool

        session, read_options = self.session, self.read_options
        warn = session.console.warning if since is None else lambda _: None
        with open_input(files, read_options, warn) as given, Spool() as spool:
            sources = open_named(given)
            _check_names(sources or [])
            with session.store(writable=True) as store:
                table = session.open_table(store)
                if sources is None:
                    sources = open_changed(
                        session,
                        table,
                        given,
                        read_options,
                        self.reading,
                        yes=self.yes,
                        is_exact=True,
                        unchanged=since.unchanged if since else frozenset(),
                    )
                    _check_names(sources)
                run = self._replace(requests=self.requests._replace(max_tokens=max_tokens))
                return run._sync(store, table, given, sources, spool, since)

    def _sync(
        self,
        store: Store,
        table: Table,
        given: Input,
        sources: Sequence[Source],
        spool: Spool,
        since: Since | None,
    ) -> Done:
        session = self.session
        truncate = self.requests.truncate
        cutter = make_cutter(self.read_options, truncate=truncate, remembers=True)
        blocks = spool.keeping(read_blocks(sources))
        recalled = recall(session, table, sources)
        if not self.yes:
            _confirm_rereading(session, store, table, recalled)
        record(session, table, recalled)
        if since is None:
            print_formats(session, sources)
        gone: list[str] = []
        is_first = since is None
        with IngestRun(session, store, table, json=self.json, is_brief=not is_first) as run:
            run.removed = Removed()
            with if_interrupted("nothing was removed"):
                run.ingest(sources, blocks, self.requests.ingest_options(), cutter)
            is_done = False
            left_out = sum(source.problem is not None for source in sources)
            if run.report.stopped is None and run.report.skipped == left_out:
                there = _names(given, sources) | (since.kept if since else frozenset())
                files = _missing_files(
                    session, table, given.paths, self.read_options, there, is_first=is_first
                )
                gone = [each.source for each in files if each.source is not None]
                marked = _lines_gone(table, sources, spool, cutter) + files
                is_done = _remove(run, marked, yes=self.yes or not is_first)
                run.remember_files(sources, self.read_options, cutter)
            else:
                session.console.error("nothing was removed, because not all input was stored")
        if since is None:
            print_excluded(session, given)
            session.sign_off(store, table.spec)
        is_complete = is_done and not left_out
        kept = frozenset() if is_done else frozenset(gone)
        return Done(ExitCode.OK if is_complete else ExitCode.IN_PART, run.report, kept)


def _estimate(
    session: Session,
    files: Sequence[str],
    read_options: ReadOptions,
    *,
    truncate: bool,
    json: bool,
) -> int:
    """Print what would be added and removed."""
    from jtv_cli.pipeline.removal import count_marked
    from jtv_cli.pipeline.spool import Spool

    with open_input(files, read_options, session.console.warning) as given, Spool() as spool:
        cutter = make_cutter(read_options, truncate=truncate, remembers=True)
        sources = given.open_files()
        _check_names(sources)

        def count(table: Table) -> Removed:
            there = _names(given, sources)
            missing = _missing_files(session, table, files, read_options, there)
            return count_marked(table, _lines_gone(table, sources, spool, cutter) + missing)

        blocks = spool.keeping(read_blocks(sources))
        return report_estimate(
            session, sources, blocks, cutter, truncate=truncate, json=json, removal=count
        )


def _names(given: Input, sources: Sequence[Source]) -> frozenset[str | None]:
    """Return the names of the sources that there are."""
    return frozenset([*(file.name for file in given.files), *(source.name for source in sources)])


def _confirm_rereading(session: Session, store: Store, table: Table, recalled: Recalled) -> None:
    """Ask before paying for sources that are read in another way than before.

    Raises UsageError unless the user agrees.
    """
    if not recalled.changed:
        return
    names = {source.name for source, _ in recalled.changed}
    names.update(old for old, new in recalled.renamed if new in names)
    counts = [each for each in table.sources() if each.source in names]
    removed = Removed(
        sum(each.documents for each in counts), sum(each.occurrences for each in counts)
    )
    source, before = recalled.changed[0]
    what = f"{len(recalled.changed):,} files" if len(recalled.changed) > 1 else source.path
    if before is None:
        why = "most of which it no longer contains"
    else:
        why = f"now read {in_words(describe(source))} instead of {in_words(before)}"
    session.confirm(
        "replace",
        f"up to {format_removed(removed)} of {what}, {why},"
        f" in table {table.spec.name} in {store.location}",
        otherwise="nothing was read",
    )


def _lines_gone(
    table: Table, sources: Sequence[Source], spool: Spool, cutter: TextCutter | None
) -> list[MarkedLines]:
    """Return what the table has of the sources that they no longer contain."""
    from jtv_cli.pipeline.removal import mark_missing

    read = [each for each in sources if not each.problem]
    reads = {each.name: spool.reads(each.name) for each in read}
    if cutter is not None:
        reads = {name: cutter.expand(each) for name, each in reads.items()}
    return [mark_missing(table, name, each) for name, each in reads.items()]


def _missing_files(
    session: Session,
    table: Table,
    files: Sequence[str],
    read_options: ReadOptions,
    there: Container[str | None],
    *,
    is_first: bool = True,
) -> list[MarkedLines]:
    """Return all that the table has of files that are gone from the directories.

    These files are listed. `there` are the names of files that are not gone. Names that the
    user chose are not those of files.
    """
    from jtv_cli.pipeline.removal import MarkedLines

    if read_options.selection is None:
        return []
    names, unclear = [], {}
    for source, _, _, details in table.sources():
        if source is None or source in there or not (details or {}).get("file", True):
            continue
        if source.startswith("/"):
            names.append(source)
        elif details is None:
            unclear[file_identity(source)] = source
    left = [unclear[name] for name in missing_files(files, read_options, unclear)]
    if left and is_first:
        are = "1 source" if len(left) == 1 else f"{len(left):,} sources"
        session.console.warning(
            f"{are} of an earlier version may be gone, and nothing of that is removed:"
            f" {first_few(left)}",
            hint=f"delete what was read there with: jtv delete --source {shlex.quote(left[0])}",
        )
    if gone := missing_files(files, read_options, names):
        are = "1 file no longer exists" if len(gone) == 1 else f"{len(gone):,} files are gone"
        session.console.report(f"{are}: {first_few([shown_source(name) for name in gone])}")
    return [MarkedLines(name).mark(table.source_lines(name)) for name in gone]


def _remove(run: IngestRun, gone: Sequence[MarkedLines], *, yes: bool) -> bool:
    """Remove occurrences and report it; return False if the user declines."""
    from jtv_cli.pipeline.removal import count_marked, remove_marked

    session, table = run.session, run.table
    removed = count_marked(table, gone)
    what = format_removed(removed)
    if removed.occurrences and not yes:
        try:
            session.confirm(
                "remove",
                f"{what} from table {table.spec.name} in {run.store.location}",
                otherwise="nothing was removed",
            )
        except UsageError as declined:
            session.console.error(declined.message, hint=declined.hint)
            return False

    def progress(so_far: Removed) -> None:
        run.removed = so_far

    with (
        session.console.status(f"removing {what}"),
        if_interrupted(RESUME),
    ):
        removed = remove_marked(table, gone, progress)
    if not run.json and (removed.occurrences or not run.is_brief):
        session.console.report(f"Removed {format_removed(removed)}")
    return True


def _check_names(sources: Sequence[Source]) -> None:
    """Raise UsageError unless each source has a name of its own."""
    paths: dict[str, str] = {}
    for source in sources:
        if source.name is None:
            raise UsageError("standard input has no name", hint="add --source NAME")
        if there := paths.get(source.name):
            raise UsageError(
                f"{there} and {source.path} are the same source {shown_source(source.name)}",
                hint="name each file once",
            )
        paths[source.name] = source.path
