"""`jtv ingest`: embed and store the texts of files; `--dry-run`: what that would cost."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from jtv_cli import config
from jtv_cli.cli import options
from jtv_cli.cli.arguments import choose_input, require_name
from jtv_cli.cli.interrupts import Interrupted
from jtv_cli.cli.session import RESUME, Session
from jtv_cli.embedders import Model
from jtv_cli.embedders.models import PRICES_DATE, model_of
from jtv_cli.errors import ExitCode, NoTable, OutputFailed, mask_secrets
from jtv_cli.records import STDIN, IngestReport, Removed
from jtv_cli.render.output import OutputClosed
from jtv_cli.render.progress import ingest_progress
from jtv_cli.render.units import format_count, format_removed, format_size, format_usd
from jtv_cli.sources.details import describe, in_words
from jtv_cli.sources.directory import Selection
from jtv_cli.sources.open import open_input, read_blocks
from jtv_cli.sources.repository import GitSettings
from jtv_cli.sources.source import ReadOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from jtv_cli.pipeline.known_sources import Recalled
    from jtv_cli.pipeline.long_texts import TextCutter
    from jtv_cli.pipeline.options import IngestOptions
    from jtv_cli.pipeline.reembedding import Block
    from jtv_cli.pipeline.unchanged import Remembered
    from jtv_cli.records import IngestEstimate
    from jtv_cli.sources.blocks import RecordBlock
    from jtv_cli.sources.open import Input
    from jtv_cli.sources.source import Source
    from jtv_cli.stores import Store, Table

_MANY_FILES = 1000
_MANY_TOKENS = 1_000_000
# An estimate that few texts exceed, as that of a dry run; the files are not read for it.
_BYTES_PER_TOKEN = 3

_FREE_STORAGE = "TiDB Cloud Starter has 5 GiB for free"


def ingest(
    session: Session,
    files: options.Files,
    source: options.SourceName = None,
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
    strict: options.Strict = False,
    dry_run: options.DryRun = False,
    yes: options.Yes = False,
    json: options.Report = False,
) -> int:
    """Embed and store the texts of files.

    Markdown, text with paragraphs and source code are cut into chunks at headings, blank lines
    and sentences. Other plain text is read line by line, and JSON, CSV and the like record by
    record.

    A text that is already stored is not embedded again; it only gains an occurrence.
    A text that is too long for the model is cut into chunks as well; --no-chunk skips it.
    Records that cannot be read or stored are skipped and named, and the exit code is then 3.
    Failed requests are retried. To resume after an interrupt, run the same command again.

    In a directory, files whose modification time and size have not changed since they were
    ingested are not read. jtv asks, or needs --yes, before it ingests more than 1,000 new
    files, or more than 1,000,000 tokens of them with a paid model.

    In an embedded store, the default table is created if it does not exist.

    Examples:
      jtv ingest notes.txt
      jtv ingest docs --include '*.md'

    """
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
    with open_input(files, read_options, session.console.warning) as given:
        # Files in directories are opened once the table says which of them have changed.
        sources = None if given.files and not dry_run else given.open_files()
        if dry_run:
            sources = sources or []
            blocks = read_blocks(sources)
            cutter = make_cutter(read_options, truncate=truncate)
            return report_estimate(session, sources, blocks, cutter, truncate=truncate, json=json)
        from jtv_cli.pipeline.options import IngestOptions
        from jtv_cli.pipeline.retry import RetryPolicy

        with session.store(writable=True) as store:
            table = None
            if sources is None:
                table = _table_if_any(session, store)
                remembered = recall_files(table, given, read_options, checksum=checksum)
                confirm_new_files(session, table, given, remembered, yes=yes)
                sources = open_changed(given, remembered)
            ingest_options = IngestOptions(
                concurrency,
                RetryPolicy(max_wait),
                max_tokens,
                strict,
                truncate,
                is_stream=any(source.stream.may_wait for source in sources),
            )
            table = table or _open_or_create(session, store)
            recalled = recall(session, table, sources)
            record(session, table, recalled)
            print_formats(session, sources)
            with reporting(session, json=json) as outcome:
                blocks = read_blocks(sources)
                cutter = make_cutter(read_options, truncate=truncate)
                ingest_into(session, store, table, sources, blocks, ingest_options, cutter, outcome)
                if given.files:
                    remember_files(table, sources, read_options, cutter, outcome.report)
            print_excluded(session, given)
            session.sign_off(store, table.spec)
    return ExitCode.OK if outcome.report.is_complete else ExitCode.IN_PART


def _open_or_create(session: Session, store: Store) -> Table:
    """Open the table. Create it if that is expected; raise NoTable if not."""
    try:
        return session.open_table(store)
    except NoTable:
        if not session.ingest_creates_table:
            raise
    from jtv_cli.cli.init import create_table

    create_table(session, store)
    return session.open_table(store)


def _table_if_any(session: Session, store: Store) -> Table | None:
    try:
        return session.open_table(store)
    except NoTable:
        return None


def open_changed(given: Input, remembered: Remembered) -> list[Source]:
    """Open the files in directories that have changed, and return all sources."""
    return given.open_files(remembered.unchanged, remembered.stored)


def recall_files(
    table: Table | None,
    given: Input,
    read_options: ReadOptions,
    *,
    checksum: bool,
    is_exact: bool = False,
) -> Remembered:
    """Return what the table remembers of the files in directories; nothing without a table."""
    from jtv_cli.pipeline.unchanged import Remembered, recall_files

    if table is None or read_options.name is not None:
        return Remembered()
    remembered = recall_files(table, given.files, read_options, is_exact=is_exact)
    return remembered._replace(unchanged=frozenset()) if checksum else remembered


def make_cutter(
    read_options: ReadOptions, *, truncate: bool, remembers: bool = False
) -> TextCutter | None:
    """Return what cuts texts that are too long; None if the options have them left as they are."""
    from jtv_cli.pipeline.long_texts import TextCutter

    if truncate or read_options.whole:
        return None
    return TextCutter(read_options.chunk, remembers=remembers)


def remember_files(
    table: Table,
    sources: Sequence[Source],
    read_options: ReadOptions,
    cutter: TextCutter | None,
    report: IngestReport,
) -> None:
    """Record the states of the files that were read, if the ingest came to its end."""
    from jtv_cli.pipeline import unchanged

    if report.stopped is None:
        for source in sources:
            source.texts_read += cutter.extra[source.name] if cutter else 0
        is_complete = report.skipped == sum(source.bad_read for source in sources)
        unchanged.remember_files(table, sources, read_options, is_complete=is_complete)


def confirm_new_files(
    session: Session, table: Table | None, given: Input, remembered: Remembered, *, yes: bool
) -> None:
    """Ask before many files of directories are ingested for the first time.

    Raises UsageError unless the user agrees.
    """
    new = [file for file in given.files if file.name not in remembered.stored]
    tokens = sum(file.status.st_size for file in new) // _BYTES_PER_TOKEN
    if yes or (len(new) <= _MANY_FILES and tokens <= _MANY_TOKENS):
        return
    model = session.model_for_new_table() if table is None else model_of(table.spec)
    if len(new) <= _MANY_FILES and model.is_free:
        return
    directories: Counter[str] = Counter()
    for file in new:
        directories[str(Path(file.path).parent)] += file.status.st_size
    largest = [f"{name} ({format_size(size)})" for name, size in directories.most_common(3)]
    usd = None if model.price is None else tokens * model.price / 1e6
    cost = "free" if model.is_free else "price unknown" if usd is None else format_usd(usd)
    session.confirm(
        "ingest",
        f"{format_count(len(new), 'new file')}, about {format_count(tokens, 'token')} with"
        f" {model.name} ({cost}); the largest directories are {', '.join(largest)}",
        otherwise="nothing was read",
    )


def recall(session: Session, table: Table, sources: Sequence[Source]) -> Recalled:
    """Return what the table remembers of the sources.

    Raises UsageError if they would be read in another way and the options do not say so.
    """
    from jtv_cli.pipeline.known_sources import recall_sources

    with session.console.status("looking up the sources"):
        return recall_sources(table, sources)


def record(session: Session, table: Table, recalled: Recalled) -> None:
    """Record how sources are read, and rename those that earlier versions stored."""
    if renamed := len(recalled.renamed):
        session.console.report(
            f"{format_count(renamed, 'source')} of an earlier version now"
            f" {'has its' if renamed == 1 else 'have their'} full path"
        )
    recalled.record(table)


class Outcome:
    """The report of a command so far. With `json` it is JSON.

    `removed` is what `sync` has removed, `facts` are what else the JSON says. A brief one says
    nothing if nothing has changed.
    """

    def __init__(self, *, json: bool, is_brief: bool = False) -> None:
        self.json = json
        self.is_brief = is_brief
        self.report = IngestReport()
        self.removed: Removed | None = None
        self.facts: dict[str, object] = {}

    @property
    def is_news(self) -> bool:
        """Whether there is something to say."""
        has_removed = self.removed is not None and self.removed.occurrences > 0
        report = self.report
        return not self.is_brief or has_removed or bool(report.stored or report.skipped)

    def print(self, session: Session) -> None:
        """Print the report on stdout if it is JSON."""
        if self.json and self.is_news:
            removed = {} if self.removed is None else {"removed": self.removed._asdict()}
            report = self.report._asdict()
            if not report["lost"]:
                del report["lost"]
            session.print_json(self.facts | report | removed)


@contextmanager
def reporting(session: Session, *, json: bool, is_brief: bool = False) -> Iterator[Outcome]:
    """Yield an empty outcome; in the end, even after an error, print it if it is JSON."""
    outcome = Outcome(json=json, is_brief=is_brief)
    try:
        yield outcome
    except BaseException as error:
        why = error.what if isinstance(error, Interrupted) else mask_secrets(str(error))
        outcome.report = outcome.report._replace(stopped=why)
        # The error matters more than a stdout that cannot be written.
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
    cutter: TextCutter | None,
    outcome: Outcome,
) -> None:
    """Embed and store the blocks; print progress and, unless the report is JSON, a summary.

    Without any source, because no file has changed, only the summary is printed.
    """
    if not sources:
        _print_summary(session, outcome)
        return
    embed_into(
        session,
        store,
        table,
        blocks,
        ingest_options,
        cutter,
        outcome,
        size=_bytes(sources),
        is_typed=any(source.stream.is_typed for source in sources),
        can_resume=not any(source.path == STDIN for source in sources),
    )
    report = outcome.report
    is_without_text = report.texts == report.empty and not report.stopped
    if session.console.is_terminal and is_without_text and not outcome.is_brief:
        session.console.report("The input has no text. How it is read: jtv ingest --help")


def embed_into(
    session: Session,
    store: Store,
    table: Table,
    blocks: Iterable[Block],
    ingest_options: IngestOptions,
    cutter: TextCutter | None,
    outcome: Outcome,
    *,
    size: int | None,
    is_typed: bool = False,
    can_resume: bool = True,
) -> None:
    """Embed and store the blocks; print progress and, unless the report is JSON, a summary.

    `size` is that of the whole input, as the `end` of blocks counts it, None if it is not
    known.
    """
    from jtv_cli.pipeline import ingestion

    with session.console.status("opening the embedder"):
        embedder = session.embedder(table.spec, truncate=ingest_options.truncate)
        # Fail before anything is paid for.
        table.require_writable()
    if not outcome.is_brief:
        session.note_connection(store, table)
        if session.settings.api_key.value and not session.demands_model:
            session.note_builtin(table.spec)
    price = embedder.model.price or 0.0
    try:
        with ingest_progress(
            session.console, size=size, price=price, is_typed=is_typed
        ) as observer:
            try:
                ingestion.ingest(blocks, embedder, table, ingest_options, observer, cutter)
            finally:
                outcome.report = observer.report
    except Interrupted as interrupted:
        interrupted.detail = _summary(outcome.report)
        if lost := outcome.report.lost:
            interrupted.detail += (
                f"; {format_count(lost, 'text')} sent but not stored, which may have been charged"
            )
        if can_resume:
            interrupted.detail += f"; {RESUME}"
        raise
    except BaseException:
        if outcome.report.texts or outcome.report.tokens:
            _print_summary(session, outcome)
        raise
    if outcome.report.stopped:
        session.console.error(f"stopped before the end: {outcome.report.stopped}")
    _print_summary(session, outcome)


def print_formats(session: Session, sources: Sequence[Source]) -> None:
    """Print the formats that were detected, and the fields that have the text."""
    kinds: dict[str, list[str]] = {}
    for source in sources:
        if source.problem or source.options.format is not None:
            continue
        if source.format.has_fields:
            name = "field" if len(source.text_fields) == 1 else "fields"
            fields = " and ".join(f'"{field}"' for field in source.text_fields)
            form = f"as {source.format.value}"
            form += f" with text from {name} {fields}" if fields else ""
        elif source.format.is_document or source.is_guess or source.is_kept:
            form = in_words(describe(source)) + (", as before" if source.is_kept else "")
        else:
            continue
        kinds.setdefault(form, []).append(source.path)
    for form, paths in kinds.items():
        what = paths[0] if len(paths) == 1 else f"{len(paths):,} files"
        session.console.report(f"Reading {what} {form}")


def print_excluded(session: Session, given: Input) -> None:
    """Print how many files and directories were not read, and why."""
    counts = [f"{count:,} {why}" for why, count in given.excluded.items() if count]
    if given.unchanged:
        session.console.report(f"{format_count(given.unchanged, 'file')} unchanged, not read")
    if counts:
        total = given.excluded.total()
        what = "file or directory" if total == 1 else "files and directories"
        session.console.report(f"Excluded {total:,} {what}: {', '.join(counts)}")


def _bytes(sources: Sequence[Source]) -> int | None:
    sizes = [source.stream.size for source in sources]
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None


def _print_summary(session: Session, outcome: Outcome) -> None:
    if not outcome.json and outcome.is_news:
        session.console.report(_summary(outcome.report))


def _summary(report: IngestReport) -> str:
    empty = f", {format_count(report.empty, 'empty line')}" if report.empty else ""
    return (
        f"Stored {format_count(report.stored, 'new document')} ({report.known:,} already stored,"
        f" {report.skipped:,} skipped{empty}) in {report.seconds:,.1f} s,"
        f" {format_count(report.tokens, 'token')}"
    )


def report_estimate(
    session: Session,
    sources: Sequence[Source],
    blocks: Iterable[RecordBlock],
    cutter: TextCutter | None,
    *,
    truncate: bool,
    json: bool,
    removal: Callable[[Table], Removed] | None = None,
) -> int:
    """Print what an ingest would do. A table that does not exist yet counts as empty.

    `removal` returns what `sync` would remove afterwards if nothing is skipped.
    """
    from jtv_cli.pipeline.estimation import estimate

    with session.store() as store:
        table, model = _open_for_estimate(session, store)
        if table is not None:
            recall(session, table, sources)
        print_formats(session, sources)
        with session.console.status("reading"):
            survey = estimate(
                blocks,
                table,
                model,
                truncate=truncate,
                cutter=cutter,
                on_skipped=session.name_skipped,
            )
            removed = Removed()
            left_out = sum(source.problem is not None for source in sources)
            if removal is not None and table is not None and survey.skipped == left_out:
                removed = removal(table)
    if json:
        record = estimate_record(survey, model)
        session.print_json(record if removal is None else record | {"removed": removed._asdict()})
    else:
        print_estimate(session, survey, model)
        if removal is not None:
            session.console.report(f"Would remove {format_removed(removed)}")
    return ExitCode.IN_PART if survey.skipped else ExitCode.OK


def _open_for_estimate(session: Session, store: Store) -> tuple[Table | None, Model]:
    try:
        table = session.open_table(store)
    except NoTable:
        return None, session.model_for_new_table()
    return table, model_of(table.spec)


def estimate_record(survey: IngestEstimate, model: Model) -> dict[str, object]:
    """Return an estimate for a JSON report."""
    return {"model": model.name, "prices": PRICES_DATE, **survey._asdict()}


def print_estimate(
    session: Session, survey: IngestEstimate, model: Model, *, verb: str = "Would embed"
) -> None:
    """Print what an ingest embeds, about what that costs, and the space that it takes."""
    others = [
        f"{survey.known - survey.duplicates:,} already stored",
        *([format_count(survey.duplicates, "duplicate")] if survey.duplicates else []),
        f"{survey.skipped:,} skipped",
        *([format_count(survey.empty, "empty line")] if survey.empty else []),
    ]
    storage = "" if session.database.is_embedded else f" ({_FREE_STORAGE})"
    for line in (
        f"{verb} {survey.to_embed:,} of {format_count(survey.texts, 'text')} ({', '.join(others)})",
        f"About {format_count(survey.tokens, 'token')} with {model.name}: {_cost(survey, model)}",
        f"About {format_size(survey.bytes)} in the store{storage}",
    ):
        session.console.report(line)


def confirm_estimate(session: Session, survey: IngestEstimate, model: Model) -> None:
    """Ask before very many tokens are paid for. Raises UsageError unless the user agrees."""
    if survey.tokens > _MANY_TOKENS and not model.is_free:
        cost = "price unknown" if survey.usd is None else format_usd(survey.usd)
        session.confirm(
            "embed",
            f"{format_count(survey.to_embed, 'text')}, about"
            f" {format_count(survey.tokens, 'token')} with {model.name} ({cost})",
            otherwise="nothing was embedded",
        )


def _cost(survey: IngestEstimate, model: Model) -> str:
    if survey.usd is None:
        return "price unknown"
    if model.is_free:
        return "free"
    return (
        f"{format_usd(survey.usd)}, at {model.price:g} USD per million tokens"
        f" (prices of {PRICES_DATE})"
    )
