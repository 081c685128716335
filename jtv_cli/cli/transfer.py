"""`jtv export`, `jtv import` and `jtv copy`: move a table with its vectors."""

from __future__ import annotations

from contextlib import ExitStack, nullcontext, suppress
from typing import TYPE_CHECKING

from jtv_cli import config
from jtv_cli.cli import options
from jtv_cli.cli.arguments import Conditions
from jtv_cli.cli.interrupts import Interrupted
from jtv_cli.cli.session import RESUME, Session
from jtv_cli.embedders.models import has_possible_vectors
from jtv_cli.errors import ExitCode, StoreError, TableMismatch, UsageError
from jtv_cli.records import TableSpec, Transferred
from jtv_cli.render.output import OutputClosed
from jtv_cli.render.units import format_count
from jtv_cli.sources.open import open_lines
from jtv_cli.sources.source import LARGEST_RECORD
from jtv_cli.sources.stream import DamagedData

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from jtv_cli.records import Filter, StoredDocument
    from jtv_cli.sources.source import Source
    from jtv_cli.sources.stream import Stream
    from jtv_cli.stores import Store, Table
    from jtv_cli.transfer.copy import Read
    from jtv_cli.transfer.export import ExportReader

# In bytes. An export usually needs one or two bytes for each byte of a text, at most six.
_LARGEST_LINE = 4 * LARGEST_RECORD
# Lines of an export between two updates of its progress.
_LINES = 500


def export(
    session: Session,
    vectors: options.WithVectors = False,
    source: options.SourceGlob = None,
    *,
    conditions: Conditions,
) -> int:
    """Write the table to stdout as JSON lines.

    The first line is a header. One line per document follows, with all its occurrences and,
    if requested, its vector. The last line proves that the export is complete. With a filter
    (see `jtv search`), only documents that match are written.

    Examples:
      jtv export --vectors > notes.jsonl
      jtv export --vectors | gzip > notes.jsonl.gz

    """
    from jtv_cli.transfer.export import export as export_lines

    filter_ = conditions.filter(source)
    with session.store() as store:
        table = session.open_table(store)
        counter = _Counter(session)
        some = None if filter_ is None else _reader(table, filter_)(vectors=vectors)
        lines = export_lines(table, vectors=vectors, skipped=counter.skip, documents=some)
        # If the reader closes the pipe, the exit code still says what was skipped.
        with suppress(OutputClosed), _export_progress(session) as progress:
            with session.console.status("counting"):
                total = format_count(table.count(), "document")
            for number, line in enumerate(lines):
                if number % _LINES == 0:
                    progress(f"exporting: {number:,} of {total}")
                session.output.write_line(line.decode().removesuffix("\n"))
    return ExitCode.IN_PART if counter.skipped else ExitCode.OK


def import_table(
    session: Session,
    file: options.ExportFile,
    no_index: options.NoIndex = False,
    no_wait: options.NoWait = False,
    json: options.Report = False,
) -> int:
    """Store the documents of an export that has vectors. Nothing is embedded again.

    The table is the one that --table or JTV_TABLE names, or has the name of the exported
    one. It is created if it does not exist. Texts that are already stored only gain their
    occurrences, so a second import changes nothing.

    Examples:
      jtv import notes.jsonl.gz
      jtv import notes.jsonl --table restored

    """
    from jtv_cli.transfer.export import ExportReader

    with open_lines(file) as source, session.store(writable=True) as store:
        reader = ExportReader(source.path, _lines(source))
        spec = _target_spec(session, reader.spec, source.path)
        target = Target(session, store, spec)
        counter = _Counter(session)
        stopped = _fill(session, target, reader, counter, source.stream)
        if stopped:
            session.console.error(stopped)
        elif not no_index:
            target.index(wait=not no_wait)
        if json:
            record = {"store": store.location} | counter.record(spec)
            session.print_json({**record, "stopped": stopped})
        else:
            session.console.report(str(counter))
        with session.looking_at(store):
            table = store.open(spec.name)
        session.note_connection(store, table)
        session.sign_off(store, spec)
    return ExitCode.IN_PART if counter.skipped or stopped else ExitCode.OK


def copy(
    session: Session,
    source: options.From,
    target: options.To,
    only: options.SourceGlob = None,
    *,
    conditions: Conditions,
    no_index: options.NoIndex = False,
    no_wait: options.NoWait = False,
    json: options.Report = False,
) -> int:
    """Copy the table with its vectors from one store to another. Nothing is embedded again.

    The table is created if it does not exist, and its index is built in the end. Documents
    that are already in the target are not sent again; to resume after an interrupt, run the
    same command again. In the end, jtv verifies that every document has arrived. With a filter
    (see `jtv search`), only documents that match are copied.

    Examples:
      jtv copy --from embedded --to tidb
      jtv copy --from notes.db --to backup.db --table notes

    """
    filter_ = conditions.filter(only)
    origin, destination = _two_stores(session, source, target)
    with ExitStack() as stack:
        from_store = stack.enter_context(session.store(origin))
        to_store = stack.enter_context(session.store(destination, writable=True))
        table = session.open_table(from_store)
        spec = table.spec
        target_table = Target(session, to_store, spec)
        counter = _Counter(session)
        _copy(session, table, target_table.open(), counter, filter_)
        if not no_index:
            target_table.index(wait=not no_wait)
        for store in (from_store, to_store):
            for note in store.notes:
                session.console.report(note)
        stores = {"from": from_store.location, "to": to_store.location}
        if json:
            session.print_json(stores | counter.record(spec))
        else:
            which = "every other document" if counter.skipped else "every document"
            which += " that matches" if filter_ else ""
            session.console.report(f"{counter}. Verified: {which} is in the copy")
        paths = [config.short_path(location) for location in stores.values()]
        session.console.report(
            f"table {spec.name} (model {spec.model}) from {paths[0]} to {paths[1]}"
        )
    return ExitCode.IN_PART if counter.skipped else ExitCode.OK


class Target:
    """The table to fill. It is created if it does not exist, and its index is built in the end.

    Raises TableMismatch if the table has another model, StoreError if it must be converted
    first.
    """

    def __init__(self, session: Session, store: Store, spec: TableSpec) -> None:
        self._session = session
        self._store = store
        self._spec = spec
        with session.looking_at(store):
            self._changes = store.plan(spec, index=False)
        if any(change.needs_confirmation for change in self._changes):
            raise StoreError(
                f"table {spec.name} in {store.location} is not a jtv table yet",
                hint="convert it with: jtv init (which shows the changes first)",
            )

    def open(self) -> Table:
        """Create the table if it does not exist, and open it."""
        with self._session.console.status("creating the table") as progress:
            self._store.apply(self._spec, self._changes, progress=progress)
            return self._store.open(self._spec.name)

    def index(self, *, wait: bool) -> None:
        """Build the index if there is none, now that the table has documents."""
        with self._session.console.status("building the index") as progress:
            changes = self._store.plan(self._spec)
            self._store.apply(self._spec, changes, wait=wait, progress=progress)


class _Counter:
    """Counts documents, and prints the counts even if an error ends the command."""

    def __init__(self, session: Session) -> None:
        self.done = Transferred()
        self.skipped = 0
        self._session = session

    @property
    def is_empty(self) -> bool:
        """Whether nothing was stored."""
        return not (self.done.stored or self.done.occurrences)

    def record(self, spec: TableSpec) -> dict[str, object]:
        """Return the table and the counts for a JSON report."""
        named = {"table": spec.name, "model": spec.model}
        return {**named, **self.done._asdict(), "skipped": self.skipped}

    def following(
        self, show: Callable[[str], None], status: Callable[[], str]
    ) -> Callable[[Transferred], None]:
        """Return a callback that keeps the counts and shows the status."""

        def on_progress(done: Transferred) -> None:
            self.done = done
            show(status())

        return on_progress

    def skip(self, document: StoredDocument, reason: str) -> None:
        """Count a document that is skipped, and print why."""
        self.skipped += 1
        self._session.console.skipped(f"document {document.id}", reason)

    def __str__(self) -> str:
        return (
            f"Stored {format_count(self.done.stored, 'new document')} ({self.done.known:,} already"
            f" stored, {self.skipped:,} skipped),"
            f" {format_count(self.done.occurrences, 'new occurrence')}"
        )

    def __enter__(self) -> _Counter:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, Interrupted):
            error.detail = f"{self}; {RESUME}"
        elif error is not None and not self.is_empty:
            self._session.console.report(str(self))


def _reader(table: Table, filter: Filter) -> Read:
    """Return what reads the documents that match, as `Table.read` reads all."""
    from jtv_cli.pipeline.matching import read_matching

    def read(*, vectors: bool = False) -> Iterator[StoredDocument]:
        matching = read_matching(table, filter, vectors=vectors)
        return (document for document, _ in matching)

    return read


def _export_progress(session: Session) -> AbstractContextManager[Callable[[str], None]]:
    """Return the status line of an export to a file.

    There is none for a pipe, because the program that reads it may use the terminal.
    """
    if session.output.is_file:
        return session.console.status("exporting")
    return nullcontext(lambda _: None)


def _lines(source: Source) -> Iterator[bytes]:
    try:
        for start, lines, is_too_large in source.lines(_LARGEST_LINE):
            if is_too_large:
                raise UsageError(
                    f"{source.path}:{start}: the line is too large", hint="export the table again"
                )
            yield from lines
    except DamagedData as damaged:
        raise UsageError(f"{source.path}: {damaged}", hint="export the table again") from damaged


def _target_spec(session: Session, spec: TableSpec, path: str) -> TableSpec:
    """Return the exported table's spec, with the name that it gets here.

    Raises UsageError for a table that nothing could ever be searched in, and TableMismatch if
    --model names another model than the export's.
    """
    if session.settings.table.source == "default":
        config.check_table(config.Setting(spec.name, f"the table of {path}"))
    else:
        spec = spec._replace(name=session.table_name)
    if not has_possible_vectors(spec):
        raise UsageError(
            f"{path}:1: model {spec.model} has no vectors of {spec.dimensions} dimensions",
            hint="export the table again",
        )
    try:
        session.require_model(spec)
    except TableMismatch as mismatch:
        raise TableMismatch(
            f"{path} was created with model {spec.model}, not {session.settings.model.value}",
            hint="run the command without --model",
        ) from mismatch
    return spec


def _fill(
    session: Session, target: Target, reader: ExportReader, counter: _Counter, stream: Stream
) -> str | None:
    """Store the documents in a table that is created once the first ones have been read.

    Return why it stopped before the end of the export, or None. Raises UsageError if it
    stopped before anything was stored.
    """
    from itertools import chain

    from jtv_cli.transfer.copy import add_source_details, batches, store_documents

    def status() -> str:
        done = f"importing: {counter.done.stored + counter.done.known:,} documents"
        return f"{done}, {stream.consumed / stream.size:.0%}" if stream.size else done

    with counter, session.console.status("reading") as show:
        try:
            # `batches` reads one document ahead, so the rest has to come from it as well.
            parts = batches(reader.documents())
            first = next(parts, [])
            table = target.open()
            store_documents(
                chain(first, chain.from_iterable(parts)),
                table,
                progress=counter.following(show, status),
                skipped=counter.skip,
            )
            add_source_details(reader.source_details, table)
        except UsageError as error:
            if counter.is_empty:
                raise
            return str(error)
    return None


def _two_stores(
    session: Session, source: str, target: str
) -> tuple[config.Database, config.Database]:
    """Return both stores. Raises UsageError if they are the same."""
    from jtv_cli.stores import is_same_store

    one, other = (
        config.find_database(session.settings, config.flagged(value, flag))
        for value, flag in ((source, "--from"), (target, "--to"))
    )
    try:
        is_same = is_same_store(one.location, other.location)
    except OSError as error:  # the working directory was deleted, for example
        raise UsageError(
            f"cannot compare {one.location} and {other.location}: {error.strerror}",
            hint="name both by their absolute paths",
        ) from error
    if is_same:
        raise UsageError("--from and --to name the same store", hint="name two stores")
    return one, other


def _copy(
    session: Session,
    source: Table,
    target: Table,
    counter: _Counter,
    filter_: Filter | None = None,
) -> None:
    from jtv_cli.transfer.copy import copy as copy_table

    def status() -> str:
        return f"copying: {counter.done.stored + counter.done.known:,} of {total}"

    with counter, session.console.status("reading") as show:
        total = format_count(source.count(), "document")
        missing = copy_table(
            source,
            target,
            progress=counter.following(show, status),
            skipped=counter.skip,
            verifying=lambda count: show(f"verifying: {count:,} of {total}"),
            read=None if filter_ is None else _reader(source, filter_),
        )
        if missing:
            raise StoreError(
                f"{missing:,} of {total} are missing in the copy: another process deletes them",
                hint="run the same command again",
            )
