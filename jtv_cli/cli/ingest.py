"""`jtv ingest`: embed and store what is in files."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from jtv_cli.cli import options
from jtv_cli.cli.arguments import require_name
from jtv_cli.cli.interrupts import Interrupted
from jtv_cli.cli.session import Session
from jtv_cli.cli.survey import report_survey
from jtv_cli.errors import ExitCode, OutputFailed, mask_secrets
from jtv_cli.records import STDIN, IngestReport, Removed
from jtv_cli.render.output import OutputClosed
from jtv_cli.render.progress import ingest_progress
from jtv_cli.render.units import format_count
from jtv_cli.sources import ReadOptions, open_sources, read_blocks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from jtv_cli.embedders import Embedder
    from jtv_cli.pipeline import IngestOptions, Recalled
    from jtv_cli.sources import RecordBlock, Source
    from jtv_cli.stores import Store, Table


def ingest(
    session: Session,
    files: options.Files,
    source: options.SourceName = None,
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
    strict: options.Strict = False,
    dry_run: options.DryRun = False,
    json: options.Report = False,
) -> int:
    """Embed and store the texts of files, one document for each line or record.

    A text that is already stored is not embedded again; only the new place is recorded.
    Records that are not UTF-8, not JSON, or too long for the model are skipped and named;
    the exit code is then 3. Failed requests are retried. The same command resumes after an
    interrupt.
    """
    require_name(source)
    read_options = ReadOptions(
        source, input, text_field or (), glob or (), paragraphs, delimiter, header=not no_header
    )
    with open_sources(files, read_options, session.console.warning) as sources:
        if input is None:
            say_guesses(session, sources)
        blocks = read_blocks(sources)
        if dry_run:
            return report_survey(session, sources, blocks, truncate=truncate, json=json)
        from jtv_cli.pipeline import IngestOptions, RetryPolicy

        ingest_options = IngestOptions(
            concurrency, RetryPolicy(max_wait), max_tokens, strict, truncate
        )
        with session.store(writable=True) as store:
            table = session.open_table(store)
            record(session, table, recall(session, table, sources))
            with reporting(session, json=json) as outcome:
                ingest_into(session, store, table, sources, blocks, ingest_options, outcome)
            session.sign_off(store, table.spec)
    return ExitCode.OK if outcome.report.is_complete else ExitCode.IN_PART


def recall(session: Session, table: Table, sources: Sequence[Source]) -> Recalled:
    """Return what the table remembers of the sources.

    Raises UsageError if they would be read in another way and the options do not say so.
    """
    from jtv_cli import pipeline

    with session.console.status("looking up the sources"):
        return pipeline.recall_sources(table, sources)


def record(session: Session, table: Table, recalled: Recalled) -> None:
    """Record how sources are read, and rename those that earlier versions stored."""
    if renamed := len(recalled.renamed):
        session.console.note(
            f"{format_count(renamed, 'source')} of an earlier version now"
            f" {'has its' if renamed == 1 else 'have their'} full path"
        )
    recalled.record(table)


class Outcome:
    """What was done so far; `removed` is for `sync` alone, `json` says how it will be said."""

    def __init__(self, *, json: bool) -> None:
        self.json = json
        self.report = IngestReport()
        self.removed: Removed | None = None

    def print(self, session: Session) -> None:
        """Print it on stdout, if it is to be JSON."""
        if self.json:
            removed = {} if self.removed is None else {"removed": self.removed._asdict()}
            report = self.report._asdict()
            if not report["lost"]:
                del report["lost"]
            session.print_json(report | removed)


@contextmanager
def reporting(session: Session, *, json: bool) -> Iterator[Outcome]:
    """Yield what to note the outcome in; as JSON it is printed, whatever ends what follows."""
    outcome = Outcome(json=json)
    try:
        yield outcome
    except BaseException as error:
        why = error.what if isinstance(error, Interrupted) else mask_secrets(str(error))
        outcome.report = outcome.report._replace(stopped=why)
        # That stdout is gone too is no news beside it.
        with suppress(OutputClosed, OutputFailed):
            outcome.print(session)
        raise
    outcome.print(session)


def ingest_into(
    session: Session,
    store: Store,
    table: Table,
    sources: Sequence[Source],
    blocks: Iterable[RecordBlock],
    ingest_options: IngestOptions,
    outcome: Outcome,
) -> None:
    """Embed and store; say how far it is and, unless JSON will, what was done in the end."""
    with session.console.status("opening the embedder"):
        embedder = session.embedder(table.spec, truncate=ingest_options.truncate)
        # Before anything is paid for.
        table.require_writable()
    session.note_connection(store, table)
    if session.settings.api_key.value:
        session.note_builtin(table.spec)
    try:
        _ingest(session, sources, blocks, embedder, table, ingest_options, outcome)
    except Interrupted as interrupted:
        interrupted.detail = _summary(outcome.report)
        if lost := outcome.report.lost:
            interrupted.detail += (
                f"; {format_count(lost, 'text')} sent but not stored, which may have been charged"
            )
        if not any(source.path == STDIN for source in sources):
            interrupted.detail += "; the same command goes on from here"
        raise
    except BaseException:
        _say(session, outcome)
        raise
    if outcome.report.stopped:
        session.console.error(f"stopped before the end: {outcome.report.stopped}")
    _say(session, outcome)
    report = outcome.report
    if session.console.is_terminal and report.texts == report.empty and not report.stopped:
        session.console.report("The input has no text. How it is read: jtv ingest --help")


def _ingest(
    session: Session,
    sources: Sequence[Source],
    blocks: Iterable[RecordBlock],
    embedder: Embedder,
    table: Table,
    ingest_options: IngestOptions,
    outcome: Outcome,
) -> None:
    from jtv_cli import pipeline

    price = embedder.model.price or 0.0
    is_typed = any(source.stream.is_typed for source in sources)
    with ingest_progress(
        session.console, size=_bytes(sources), price=price, is_typed=is_typed
    ) as observer:
        try:
            pipeline.ingest(blocks, embedder, table, ingest_options, observer)
        finally:
            outcome.report = observer.report


def say_guesses(session: Session, sources: Sequence[Source]) -> None:
    """Print in which format files are read, and which fields have the text."""
    kinds: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for source in sources:
        if source.format.has_fields and not source.problem:
            kinds.setdefault((source.format.value, source.text_fields), []).append(source.path)
    for (form, fields), paths in kinds.items():
        what = paths[0] if len(paths) == 1 else f"{len(paths):,} files"
        name = "field" if len(fields) == 1 else "fields"
        text = f", the text from {name} {' and '.join(fields)}" if fields else ""
        session.console.note(f"reading {what} as {form}{text}")


def _bytes(sources: Sequence[Source]) -> int | None:
    sizes = [source.stream.size for source in sources]
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None


def _say(session: Session, outcome: Outcome) -> None:
    if not outcome.json:
        session.console.report(_summary(outcome.report))


def _summary(report: IngestReport) -> str:
    empty = f", {format_count(report.empty, 'empty line')}" if report.empty else ""
    return (
        f"Stored {format_count(report.stored, 'new document')} ({report.known:,} already stored,"
        f" {report.skipped:,} skipped{empty}) in {report.seconds:,.1f} s,"
        f" {format_count(report.tokens, 'token')}"
    )
