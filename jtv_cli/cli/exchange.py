"""`jtv export` and `jtv import`: a table as a stream of JSON lines."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

from jtv_cli import config
from jtv_cli.cli import options
from jtv_cli.cli.session import Session
from jtv_cli.cli.transfer import Account, Target
from jtv_cli.errors import ExitCode, TableMismatch, UsageError
from jtv_cli.render.units import format_count
from jtv_cli.sources import open_lines
from jtv_cli.sources.source import LARGEST_RECORD
from jtv_cli.sources.stream import DamagedData

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from jtv_cli.records import TableSpec
    from jtv_cli.sources import Source
    from jtv_cli.sources.stream import Stream
    from jtv_cli.stores import Table
    from jtv_cli.transfer.export import ExportReader

# In bytes. An export has up to two bytes for each one of a text, and at most six.
_LARGEST_LINE = 4 * LARGEST_RECORD
# How often the moving line of an export changes.
_LINES = 500


def export(session: Session, vectors: options.WithVectors = False) -> int:
    """Write a whole table to stdout, as JSON lines.

    First a header, then a record for each document, with all its occurrences and, where
    asked, its vector; last a closing record, which proves that nothing is missing.
    """
    with session.store() as store:
        table = session.open_table(store)
        account = Account(session)
        with _moving(session) as progress:
            _write(session, table, account, progress, vectors=vectors)
    return ExitCode.IN_PART if account.skipped else ExitCode.OK


def import_table(
    session: Session,
    file: options.ExportFile,
    no_index: options.NoIndex = False,
    no_wait: options.NoWait = False,
    json: options.Report = False,
) -> int:
    """Store what `jtv export --vectors` wrote; nothing is embedded, nothing is paid for.

    It goes into the table that --table or JTV_TABLE names, else into one that is called
    as the exported one was. A table that is not there is made, as `jtv init` would. Texts
    that are there already only gain their occurrences: to import twice changes nothing.
    """
    from jtv_cli.transfer.export import ExportReader

    with open_lines(file) as source, session.store(writable=True) as store:
        reader = ExportReader(source.path, _lines(source))
        spec = _named(session, reader.spec, source.path)
        _require_model(session, spec, source.path)
        target = Target(session, store, spec)
        account = Account(session)
        stopped = _fill(session, target, reader, account, source.stream)
        if stopped:
            session.console.error(stopped)
        elif not no_index:
            target.index(wait=not no_wait)
        if json:
            record = {"store": store.location} | account.record(spec)
            session.print_json({**record, "stopped": stopped})
        else:
            session.console.report(str(account))
        with session.looking_at(store):
            table = store.open(spec.name)
        session.note_connection(store, table)
        session.sign_off(store, spec)
    return ExitCode.IN_PART if account.skipped or stopped else ExitCode.OK


def _write(
    session: Session,
    table: Table,
    account: Account,
    progress: Callable[[str], None],
    *,
    vectors: bool,
) -> None:
    from jtv_cli.transfer.export import export as export_lines

    with session.console.status("counting"):
        total = format_count(table.count(), "document")
    lines = export_lines(table, vectors=vectors, skipped=account.skip)
    for number, line in enumerate(lines):
        if number % _LINES == 0:
            progress(f"exporting: {number:,} of {total}")
        session.output.write_line(line.decode().removesuffix("\n"))


def _moving(session: Session) -> AbstractContextManager[Callable[[str], None]]:
    """Return what shows the progress of an export that goes into a file.

    Whoever reads a pipe may write to the terminal meanwhile.
    """
    if session.output.is_file:
        return session.console.status("exporting")
    return nullcontext(lambda _: None)


def _named(session: Session, spec: TableSpec, path: str) -> TableSpec:
    """Return the exported table's spec under the name that it is to have here."""
    if session.settings.table.source != "default":
        return spec._replace(name=session.table_name)
    config.check_table(config.Setting(spec.name, f"the table of {path}"))
    return spec


def _require_model(session: Session, spec: TableSpec, path: str) -> None:
    """Raise TableMismatch where --model names another model than the export's."""
    try:
        session.require_model(spec)
    except TableMismatch as mismatch:
        raise TableMismatch(
            f"{path} was made with model {spec.model}, not {session.settings.model.value}",
            hint="leave out --model",
        ) from mismatch


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


def _fill(
    session: Session, target: Target, reader: ExportReader, account: Account, stream: Stream
) -> str | None:
    """Store the documents, in a table that is made only once the first ones were read.

    Returns why it stopped before the end of the export, None if it did not. Raises
    UsageError where it stopped before anything was stored.
    """
    from itertools import chain

    from jtv_cli.transfer.copy import add_source_details, batches, store_documents

    def words() -> str:
        return f"{account}, {stream.consumed / stream.size:.0%}" if stream.size else str(account)

    with account, session.console.status("reading") as show:
        try:
            # What cuts them reads one ahead: the rest must come from it, not from the reader.
            parts = batches(reader.documents())
            first = next(parts, [])
            table = target.open()
            store_documents(
                chain(first, chain.from_iterable(parts)),
                table,
                progress=account.follow(show, words),
                skipped=account.skip,
            )
            add_source_details(reader.source_details, table)
        except UsageError as error:
            if account.is_empty:
                raise
            return str(error)
    return None
