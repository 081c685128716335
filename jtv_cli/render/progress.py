"""The moving line of an ingest on a terminal."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jtv_cli.records import IngestReport
    from jtv_cli.render.talk import Talk


@contextmanager
def ingest_progress(talk: Talk) -> Iterator[Callable[[IngestReport], None]]:
    """Show how far an ingest has come, on a terminal; elsewhere, show nothing."""
    if not talk.shows_progress:
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    console = Console(stderr=True)
    with talk.moving(), Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("reading")

        def show(report: IngestReport) -> None:
            progress.update(task, description=f"{report.stored:,} stored, {report.known:,} known")

        yield show
