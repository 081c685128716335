"""`jtv ingest`: embed and store the lines of files."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from jtv_cli.cli import options
from jtv_cli.cli.interrupts import Interrupted
from jtv_cli.cli.session import Session
from jtv_cli.errors import ExitCode, UsageError
from jtv_cli.records import IngestReport
from jtv_cli.render.progress import ingest_progress
from jtv_cli.sources import open_sources, read_windows

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jtv_cli.embedders import Embedder
    from jtv_cli.sources import BadLine, Window
    from jtv_cli.stores import Table


def ingest(
    session: Session,
    files: options.Files,
    source: options.SourceName = None,
    json: options.Report = False,
) -> int:
    """Embed and store the lines of files, one document a line.

    A text that the table has already is neither embedded nor stored again: jtv
    notes that it was read here too. Lines that are not UTF-8 are left out and named,
    and the exit code is then 3. Interrupted, the same command goes on.
    """
    if source is not None and not source.strip():
        raise UsageError("--source is empty")
    with (
        open_sources(files, name=source) as sources,
        session.store(writable=True) as store,
    ):
        table = store.open(session.table_name)
        with session.talk.waiting("opening the embedder"):
            embedder = session.embedder(table.spec)
        session.note_connection(store, table)
        if session.settings.api_key.value:
            session.note_offline(table.spec)
        report = _Run(session, json=json).ingest(read_windows(sources), embedder, table)
        session.sign_off(store, table.spec)
    return ExitCode.IN_PART if report.skipped else ExitCode.OK


class _Run:
    """An ingest that says how far it came, however it ends."""

    def __init__(self, session: Session, *, json: bool) -> None:
        self._session = session
        self._json = json
        self._report = IngestReport()

    def ingest(self, windows: Iterable[Window], embedder: Embedder, table: Table) -> IngestReport:
        from jtv_cli import pipeline

        try:
            with ingest_progress(self._session.talk) as show:

                def progress(report: IngestReport) -> None:
                    self._report = report
                    show(report)

                pipeline.ingest(
                    windows, embedder, table, progress=progress, skipped=self._name_skipped
                )
        except Interrupted as interrupted:
            interrupted.detail = f"{_summary(self._report)}; the same command goes on from here"
            raise
        except BaseException:
            self._session.talk.report(_summary(self._report))
            raise
        if self._json:
            self._session.print_json(asdict(self._report))
        else:
            self._session.talk.report(_summary(self._report))
        return self._report

    def _name_skipped(self, line: BadLine) -> None:
        self._session.talk.error(f"{line.place}: {line.reason}, skipped")


def _summary(report: IngestReport) -> str:
    tokens = f", {report.tokens:,} tokens" if report.tokens else ""
    return (
        f"{report.stored:,} stored, {report.known:,} known, {report.empty:,} empty,"
        f" {report.skipped:,} skipped{tokens}"
    )
