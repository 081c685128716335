"""`jtv sync`: update the table to match files and directories."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from jtv_cli import config
from jtv_cli.cli import options
from jtv_cli.cli.arguments import choose_input, first_few, require_name
from jtv_cli.cli.ingest import (
    Outcome,
    confirm_new_files,
    ingest_into,
    make_cutter,
    open_changed,
    print_excluded,
    print_formats,
    recall,
    recall_files,
    record,
    remember_files,
    report_estimate,
    reporting,
)
from jtv_cli.cli.interrupts import if_interrupted
from jtv_cli.cli.session import RESUME, Session
from jtv_cli.errors import ExitCode, UsageError
from jtv_cli.records import Removed
from jtv_cli.render.units import format_removed
from jtv_cli.source_names import file_identity, shown_source
from jtv_cli.sources import (
    GitSettings,
    ReadOptions,
    Selection,
    missing_files,
    open_input,
    read_blocks,
)
from jtv_cli.sources.details import describe, in_words

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from jtv_cli.pipeline import MarkedLines, Recalled, Spool, TextCutter
    from jtv_cli.sources import Source
    from jtv_cli.stores import Store, Table


def sync(
    session: Session,
    files: options.Files,
    source: options.SyncedSource = None,
    include: options.Include = None,
    exclude: options.Exclude = None,
    no_ignore: options.NoIgnore = False,
    follow: options.Follow = False,
    checksum: options.Checksum = False,
    input: options.InputFormat = None,  # noqa: A002
    text_field: options.TextFields = None,
    paragraphs: options.Paragraphs = False,
    lines: options.Lines = False,
    chunk: options.Chunk = None,
    no_chunk: options.NoChunk = False,
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
    """Update the table to match the files: add what is new, remove what is gone.

    New texts are embedded and stored first, as `jtv ingest` does. Then the occurrences that
    are no longer in the files are removed, and with its last occurrence a document. The
    same goes for files that were deleted from a directory. jtv shows how
    much it removes and asks, or needs --yes. If a record was skipped or the run stopped
    early, nothing is removed and the exit code is 3.

    Examples:
      jtv sync notes.txt
      jtv sync docs --include '*.md' --dry-run

    """
    from jtv_cli.pipeline import IngestOptions, RetryPolicy, Spool, count_marked

    require_name(source)
    chosen = choose_input(input, lines=lines, paragraphs=paragraphs, chunk=chunk, whole=no_chunk)
    read_options = ReadOptions(
        source,
        chosen,
        text_field or (),
        Selection(
            include or (),
            exclude or (),
            not no_ignore,
            follow,
            GitSettings(*config.git_configuration()),
        ),
        paragraphs,
        delimiter,
        not no_header,
        chunk,
        no_chunk,
    )
    with open_input(files, read_options, session.console.warning) as given, Spool() as spool:
        cutter = make_cutter(read_options, truncate=truncate, remembers=True)
        # Files in directories are opened once the table says which of them have changed.
        sources = None if given.files and not dry_run else given.open_files()
        _check_names(sources or [])

        def find_gone(table: Table, sources: Sequence[Source]) -> list[MarkedLines]:
            there = {file.name for file in given.files}.union(each.name for each in sources)
            of_files = _missing_files(session, table, files, read_options, there)
            return _lines_gone(table, sources, spool, cutter) + of_files

        if dry_run:
            opened = sources or []
            return report_estimate(
                session,
                opened,
                spool.keeping(read_blocks(opened)),
                cutter,
                truncate=truncate,
                json=json,
                removal=lambda table: count_marked(table, find_gone(table, opened)),
            )
        with session.store(writable=True) as store:
            table = session.open_table(store)
            if sources is None:
                remembered = recall_files(
                    table, given, read_options, checksum=checksum, is_exact=True
                )
                confirm_new_files(session, table, given, remembered, yes=yes)
                sources = open_changed(given, remembered)
                _check_names(sources)
            blocks = spool.keeping(read_blocks(sources))
            ingest_options = IngestOptions(
                concurrency,
                RetryPolicy(max_wait),
                max_tokens,
                truncate=truncate,
                is_stream=any(source.stream.may_wait for source in sources),
            )
            recalled = recall(session, table, sources)
            if not yes:
                _confirm_rereading(session, store, table, recalled)
            record(session, table, recalled)
            print_formats(session, sources)
            with reporting(session, json=json) as outcome:
                outcome.removed = Removed()
                with if_interrupted("nothing was removed"):
                    ingest_into(
                        session, store, table, sources, blocks, ingest_options, cutter, outcome
                    )
                is_done = False
                left_out = sum(source.problem is not None for source in sources)
                if outcome.report.stopped is None and outcome.report.skipped == left_out:
                    gone = find_gone(table, sources)
                    is_done = _remove(session, store, table, gone, outcome, yes=yes)
                    remember_files(table, sources, read_options, cutter, outcome.report)
                else:
                    session.console.error("nothing was removed, because not all input was stored")
            print_excluded(session, given)
            session.sign_off(store, table.spec)
    return ExitCode.OK if is_done and not left_out else ExitCode.IN_PART


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
    from jtv_cli import pipeline

    read = [each for each in sources if not each.problem]
    reads = {each.name: spool.reads(each.name) for each in read}
    if cutter is not None:
        reads = {name: cutter.expand(each) for name, each in reads.items()}
    return [pipeline.mark_missing(table, name, each) for name, each in reads.items()]


def _missing_files(
    session: Session,
    table: Table,
    files: Sequence[str],
    read_options: ReadOptions,
    there: Container[str | None],
) -> list[MarkedLines]:
    """Return all that the table has of files that are gone from the directories.

    These files are listed. `there` are the names of files that are not gone. Names that the
    user chose are not those of files.
    """
    from jtv_cli import pipeline

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
    if left := [unclear[name] for name in missing_files(files, read_options, unclear)]:
        are = "1 source" if len(left) == 1 else f"{len(left):,} sources"
        session.console.warning(
            f"{are} of an earlier version may be gone, and nothing of that is removed:"
            f" {first_few(left)}",
            hint=f"delete what was read there with: jtv delete --source {shlex.quote(left[0])}",
        )
    if gone := missing_files(files, read_options, names):
        are = "1 file no longer exists" if len(gone) == 1 else f"{len(gone):,} files are gone"
        session.console.report(f"{are}: {first_few([shown_source(name) for name in gone])}")
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
    """Remove occurrences and report it; return False if the user declines."""
    from jtv_cli import pipeline

    removed = pipeline.count_marked(table, gone)
    what = format_removed(removed)
    if removed.occurrences and not yes:
        try:
            session.confirm(
                "remove",
                f"{what} from table {table.spec.name} in {store.location}",
                otherwise="nothing was removed",
            )
        except UsageError as declined:
            session.console.error(declined.message, hint=declined.hint)
            return False

    def progress(so_far: Removed) -> None:
        outcome.removed = so_far

    with (
        session.console.status(f"removing {what}"),
        if_interrupted(RESUME),
    ):
        removed = pipeline.remove_marked(table, gone, progress)
    if not outcome.json:
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
