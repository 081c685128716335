"""`jtv sync`: make the table have of files, and folders, what is in them: no more, no less."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jtv_cli.cli import options
from jtv_cli.cli.arguments import first_few, require_name
from jtv_cli.cli.ingest import Outcome, ingest_into, reporting, say_guesses
from jtv_cli.cli.interrupts import if_interrupted
from jtv_cli.cli.session import Session
from jtv_cli.cli.survey import report_survey
from jtv_cli.errors import ExitCode, UsageError
from jtv_cli.records import Removed
from jtv_cli.render.units import format_removed
from jtv_cli.sources import ReadOptions, missing_files, open_sources, read_blocks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jtv_cli.pipeline import MarkedLines, Spool
    from jtv_cli.sources import Source
    from jtv_cli.stores import Store, Table


def sync(
    session: Session,
    files: options.Files,
    source: options.SyncedSource = None,
    glob: options.Globs = None,
    input: options.InputFormat = None,  # noqa: A002
    text_field: options.TextFields = None,
    paragraphs: options.Paragraphs = False,
    delimiter: options.Delimiter = None,
    no_header: options.NoHeader = False,
    concurrency: options.Concurrency = options.CONCURRENCY,
    max_wait: options.MaxWait = options.INGEST_SECONDS,
    max_tokens: options.MaxTokens = None,
    truncate: options.Truncate = False,
    dry_run: options.SyncDryRun = False,
    yes: options.Yes = False,
    json: options.Report = False,
) -> int:
    """Make the table have of each file what is in it now.

    What is new is embedded and stored first, as by `ingest`; then what was read in the
    file before and is there no more is removed, and documents with the last place where
    they were read. So is all that was read in files of a folder that are there no more and
    fit --glob. That is said and asked first; off a terminal it wants --yes. Where a record
    was skipped, or it was stopped, nothing is removed; the exit code is then 3.
    """
    from jtv_cli.pipeline import IngestOptions, RetryPolicy, Spool, count_marked

    require_name(source)
    read_options = ReadOptions(
        source, input, text_field or (), glob or (), paragraphs, delimiter, header=not no_header
    )
    with open_sources(files, read_options, session.console.note) as sources, Spool() as spool:
        _check_names(sources)
        if input is None:
            say_guesses(session, sources)
        blocks = spool.keeping(read_blocks(sources))

        def find_gone(table: Table) -> list[MarkedLines]:
            of_files = _missing_files(session, table, files, read_options, sources)
            return _lines_gone(table, sources, spool) + of_files

        if dry_run:
            return report_survey(
                session,
                blocks,
                truncate=truncate,
                json=json,
                removal=lambda table: count_marked(table, find_gone(table)),
            )
        ingest_options = IngestOptions(
            concurrency, RetryPolicy(max_wait), max_tokens, truncate=truncate
        )
        with session.store(writable=True) as store:
            table = session.open_table(store)
            with reporting(session, json=json) as outcome:
                outcome.removed = Removed()
                with if_interrupted("nothing is removed"):
                    ingest_into(session, store, table, sources, blocks, ingest_options, outcome)
                is_done = False
                if outcome.report.is_complete:
                    gone = find_gone(table)
                    is_done = _remove(session, store, table, gone, outcome, yes=yes)
                else:
                    session.console.error("nothing is removed, for not everything was read")
            session.sign_off(store, table.spec)
    return ExitCode.OK if is_done else ExitCode.IN_PART


def _lines_gone(table: Table, sources: Sequence[Source], spool: Spool) -> list[MarkedLines]:
    """Return what the table has of the sources, and they have no longer."""
    from jtv_cli import pipeline

    return [pipeline.mark_missing(table, each.name, spool.reads(each.name)) for each in sources]


def _missing_files(
    session: Session,
    table: Table,
    files: Sequence[str],
    read_options: ReadOptions,
    sources: Sequence[Source],
) -> list[MarkedLines]:
    """Return all that the table has of files that are gone from the folders, and name these."""
    from jtv_cli import pipeline

    if not read_options.globs:
        return []
    there = {each.name for each in sources}
    counts = table.sources()
    names = [each.source for each in counts if each.source and each.source not in there]
    if gone := missing_files(files, read_options, names):
        are = "file is" if len(gone) == 1 else "files are"
        session.console.note(f"{len(gone):,} {are} gone: {first_few(gone)}")
    return [pipeline.MarkedLines(name).mark(table.source_lines(name)) for name in gone]


def _remove(
    session: Session,
    store: Store,
    table: Table,
    gone: Sequence[MarkedLines],
    outcome: Outcome,
    *,
    yes: bool,
) -> bool:
    """Remove it and say so; return False where the user does not want it."""
    from jtv_cli import pipeline

    removed = pipeline.count_marked(table, gone)
    what = format_removed(removed)
    if removed.occurrences and not yes:
        try:
            session.confirm(
                "remove",
                f"{what} from table {table.spec.name} in {store.location}",
                otherwise="nothing is removed",
            )
        except UsageError as declined:
            session.console.error(declined.message, hint=declined.hint)
            return False

    def progress(so_far: Removed) -> None:
        outcome.removed = so_far

    with (
        session.console.status(f"removing {what}"),
        if_interrupted("the same command goes on from here"),
    ):
        removed = pipeline.remove_marked(table, gone, progress)
    if not outcome.json:
        session.console.report(f"{format_removed(removed)} removed")
    return True


def _check_names(sources: Sequence[Source]) -> None:
    """Raise UsageError unless each has a name of its own."""
    paths: dict[str, str] = {}
    for source in sources:
        if source.name is None:
            raise UsageError("standard input has no name to go by", hint="give it --source NAME")
        if there := paths.get(source.name):
            raise UsageError(f"{there} and {source.path} would both be the source {source.name}")
        paths[source.name] = source.path
