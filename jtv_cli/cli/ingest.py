"""`jtv ingest`: embed and store the texts of files; `--dry-run`: what that would cost."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from jtv_cli.cli import options
from jtv_cli.cli.arguments import Reading, Requests
from jtv_cli.cli.interrupts import Interrupted
from jtv_cli.cli.session import RESUME, Session
from jtv_cli.embedders import Model
from jtv_cli.embedders.models import PRICES_DATE, model_of
from jtv_cli.errors import ExitCode, JtvError, NoTable, OutputFailed, mask_secrets
from jtv_cli.records import STDIN, IngestReport, Removed
from jtv_cli.render.output import OutputClosed
from jtv_cli.render.progress import ingest_progress
from jtv_cli.render.units import format_count, format_removed, format_size, format_usd
from jtv_cli.sources.details import describe, in_words
from jtv_cli.sources.open import open_input, read_blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from jtv_cli.pipeline.known_sources import Recalled
    from jtv_cli.pipeline.long_texts import TextCutter
    from jtv_cli.pipeline.options import IngestOptions
    from jtv_cli.pipeline.reembedding import Block
    from jtv_cli.records import IngestEstimate
    from jtv_cli.sources.blocks import RecordBlock
    from jtv_cli.sources.directory import FoundFile
    from jtv_cli.sources.open import Input
    from jtv_cli.sources.source import ReadOptions, Source
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
    *,
    reading: Reading,
    requests: Requests,
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
    read_options = reading.read_options(source)
    with open_input(files, read_options, session.console.warning) as given:
        if dry_run:
            found = given.open_files()
            cutter = make_cutter(read_options, truncate=requests.truncate)
            blocks = read_blocks(found)
            truncate = requests.truncate
            return report_estimate(session, found, blocks, cutter, truncate=truncate, json=json)
        sources = open_named(given)
        with session.store(writable=True) as store:
            table = _table_if_any(session, store)
            if sources is None:
                sources = open_changed(session, table, given, read_options, reading, yes=yes)
            table = table or _open_or_create(session, store)
            record(session, table, recall(session, table, sources))
            print_formats(session, sources)
            with IngestRun(session, store, table, json=json) as run:
                cutter = make_cutter(read_options, truncate=requests.truncate)
                how = requests.ingest_options(strict=strict)
                run.ingest(sources, read_blocks(sources), how, cutter)
                if given.files:
                    run.remember_files(sources, read_options, cutter)
            print_excluded(session, given)
            session.sign_off(store, table.spec)
    return ExitCode.OK if run.report.is_complete else ExitCode.IN_PART


def _table_if_any(session: Session, store: Store) -> Table | None:
    try:
        return session.open_table(store)
    except NoTable:
        return None


def _open_or_create(session: Session, store: Store) -> Table:
    """Open the table. Create it if that is expected; raise NoTable if not."""
    if session.ingest_creates_table:
        from jtv_cli.cli.init import create_table

        create_table(session, store)
    return session.open_table(store)


def open_named(given: Input) -> list[Source] | None:
    """Open what is named, None if there are directories.

    Their files are opened once the table says which of them have changed.
    """
    return None if given.files else given.open_files()


def open_changed(
    session: Session,
    table: Table | None,
    given: Input,
    read_options: ReadOptions,
    reading: Reading,
    *,
    yes: bool,
    is_exact: bool = False,
    unchanged: frozenset[str] = frozenset(),
) -> list[Source]:
    """Open the files in directories that have changed, and return all sources.

    The names in `unchanged` are those of other files that need not be read. Without a table,
    all files are new.

    Raises UsageError if there are many new files, unless the user agrees.
    """
    from jtv_cli.pipeline.known_sources import Remembered, recall_files

    remembered = Remembered()
    if table is not None and read_options.name is None:
        remembered = recall_files(table, given.files, read_options, is_exact=is_exact)
    _confirm_new_files(
        session,
        table,
        [file for file in given.files if file.name not in remembered.stored],
        yes=yes,
    )
    if not reading.checksum:
        unchanged |= remembered.unchanged
    return given.open_files(unchanged, remembered.stored)


def make_cutter(
    read_options: ReadOptions, *, truncate: bool, remembers: bool = False
) -> TextCutter | None:
    """Return what cuts texts that are too long; None if the options have them left as they are."""
    from jtv_cli.pipeline.long_texts import TextCutter

    if truncate or read_options.whole:
        return None
    return TextCutter(read_options.chunk, remembers=remembers)


def _confirm_new_files(
    session: Session, table: Table | None, new: Sequence[FoundFile], *, yes: bool
) -> None:
    """Ask before many files of directories are ingested for the first time."""
    tokens = sum(file.status.st_size for file in new) // _BYTES_PER_TOKEN
    if yes or (len(new) <= _MANY_FILES and tokens <= _MANY_TOKENS):
        return
    model = _model(session, table)
    if len(new) <= _MANY_FILES and model.is_free:
        return
    directories: Counter[str] = Counter()
    for file in new:
        directories[str(Path(file.path).parent)] += file.status.st_size
    largest = [f"{name} ({format_size(size)})" for name, size in directories.most_common(3)]
    usd = None if model.price is None else tokens * model.price / 1e6
    session.confirm(
        "ingest",
        f"{format_count(len(new), 'new file')}, about {format_count(tokens, 'token')} with"
        f" {model.name} ({_cost(model, usd)}); the largest directories are {', '.join(largest)}",
        otherwise="nothing was read",
    )


def _model(session: Session, table: Table | None) -> Model:
    """Return the model of a table, or of the one that would be created."""
    return session.model_for_new_table() if table is None else model_of(table.spec)


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


class IngestRun:
    """An ingest into a table. In the end, even after an error, it is reported if that is as JSON.

    `report` is what was done so far, `removed` what `sync` has removed, and `facts` are what
    else the JSON says. A brief run says nothing if nothing has changed.
    """

    def __init__(
        self, session: Session, store: Store, table: Table, *, json: bool, is_brief: bool = False
    ) -> None:
        self.session = session
        self.store = store
        self.table = table
        self.json = json
        self.is_brief = is_brief
        self.report = IngestReport()
        self.removed: Removed | None = None
        self.facts: dict[str, object] = {}

    def __enter__(self) -> IngestRun:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if error is None:
            self._print_json()
            return
        if isinstance(error, JtvError):
            error.tokens = self.report.tokens
        why = error.what if isinstance(error, Interrupted) else mask_secrets(str(error))
        self.report = self.report._replace(stopped=why)
        # The error matters more than a stdout that cannot be written.
        with suppress(OutputClosed, OutputFailed):
            self._print_json()

    def ingest(
        self,
        sources: Sequence[Source],
        blocks: Iterable[RecordBlock],
        how: IngestOptions,
        cutter: TextCutter | None,
    ) -> None:
        """Embed and store the blocks of the sources, as `embed` does.

        Without any source, because no file has changed, only the summary is printed.
        """
        if not sources:
            self._print_summary()
            return
        sizes = [source.stream.size for source in sources]
        known = [size for size in sizes if size is not None]
        self.embed(
            blocks,
            how._replace(is_stream=any(source.stream.may_wait for source in sources)),
            cutter,
            size=sum(known) if len(known) == len(sizes) else None,
            is_typed=any(source.stream.is_typed for source in sources),
            can_resume=not any(source.path == STDIN for source in sources),
        )
        is_without_text = self.report.texts == self.report.empty and not self.report.stopped
        if self.session.console.is_terminal and is_without_text and not self.is_brief:
            self.session.console.report("The input has no text. How it is read: jtv ingest --help")

    def embed(
        self,
        blocks: Iterable[Block],
        how: IngestOptions,
        cutter: TextCutter | None = None,
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

        session, table = self.session, self.table
        with session.console.status("opening the embedder"):
            embedder = session.embedder(table.spec, truncate=how.truncate)
            # Fail before anything is paid for.
            table.require_writable()
        if not self.is_brief:
            session.note_connection(self.store, table)
            if session.settings.api_key.value and not session.settings.model.is_explicit:
                session.note_builtin(table.spec)
        price = embedder.model.price or 0.0
        try:
            with ingest_progress(
                session.console, size=size, price=price, is_typed=is_typed
            ) as observer:
                try:
                    ingestion.ingest(blocks, embedder, table, how, observer, cutter)
                finally:
                    self.report = observer.report
        except Interrupted as interrupted:
            lost = format_count(self.report.lost, "text") if self.report.lost else ""
            details = (
                _summary(self.report),
                lost and f"{lost} sent but not stored, which may have been charged",
                RESUME if can_resume else "",
            )
            interrupted.detail = "; ".join(filter(None, details))
            raise
        except BaseException:
            if self.report.texts or self.report.tokens:
                self._print_summary()
            raise
        if self.report.stopped:
            session.console.error(f"stopped before the end: {self.report.stopped}")
        self._print_summary()

    def remember_files(
        self, sources: Sequence[Source], read_options: ReadOptions, cutter: TextCutter | None
    ) -> None:
        """Record the states of the files that were read, if the run came to its end."""
        from jtv_cli.pipeline.known_sources import remember_files

        if self.report.stopped is None:
            for source in sources:
                source.texts_read += cutter.extra[source.name] if cutter else 0
            is_complete = self.report.skipped == sum(source.bad_read for source in sources)
            remember_files(self.table, sources, read_options, is_complete=is_complete)

    def _print_summary(self) -> None:
        if not self.json and self._is_news:
            self.session.console.report(_summary(self.report))

    def _print_json(self) -> None:
        if self.json and self._is_news:
            removed = {} if self.removed is None else {"removed": self.removed._asdict()}
            report = self.report._asdict()
            if not report["lost"]:
                del report["lost"]
            self.session.print_json(self.facts | report | removed)

    @property
    def _is_news(self) -> bool:
        """Whether there is something to say."""
        has_removed = self.removed is not None and self.removed.occurrences > 0
        return not self.is_brief or has_removed or bool(self.report.stored or self.report.skipped)


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
        table = _table_if_any(session, store)
        model = _model(session, table)
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
                on_skipped=session.console.skipped,
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
        f"About {format_count(survey.tokens, 'token')} with {model.name}:"
        f" {_rated_cost(model, survey.usd)}",
        f"About {format_size(survey.bytes)} in the store{storage}",
    ):
        session.console.report(line)


def confirm_estimate(session: Session, survey: IngestEstimate, model: Model) -> None:
    """Ask before very many tokens are paid for. Raises UsageError unless the user agrees."""
    if survey.tokens > _MANY_TOKENS and not model.is_free:
        session.confirm(
            "embed",
            f"{format_count(survey.to_embed, 'text')}, about"
            f" {format_count(survey.tokens, 'token')} with {model.name}"
            f" ({_cost(model, survey.usd)})",
            otherwise="nothing was embedded",
        )


def _rated_cost(model: Model, usd: float | None) -> str:
    """Return the cost with the price that it is computed from."""
    cost = _cost(model, usd)
    if usd is None or model.is_free:
        return cost
    return f"{cost}, at {model.price:g} USD per million tokens (prices of {PRICES_DATE})"


def _cost(model: Model, usd: float | None) -> str:
    if usd is None:
        return "price unknown"
    return "free" if model.is_free else format_usd(usd)
