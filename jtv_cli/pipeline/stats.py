"""The counters of an ingest, reported to an observer after every step."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from jtv_cli.records import IngestProgress, IngestReport

if TYPE_CHECKING:
    from jtv_cli.pipeline.observer import Observer
    from jtv_cli.records import Wait


class IngestStats:
    """Counts what an ingest does."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._state = IngestProgress(IngestReport())
        self._began = time.monotonic()

    @property
    def report(self) -> IngestReport:
        """What was counted so far."""
        return self._state.report

    def count(self, **more: int) -> None:
        """Add to fields of the report."""
        report = self._state.report
        totals = {name: getattr(report, name) + count for name, count in more.items()}
        self._update(report=report._replace(**totals))

    def count_read(self, texts: int, end: int | None = None) -> None:
        """Count texts that were read, up to a byte of the whole input; None is as far as before."""
        end = self._state.bytes if end is None else end
        self._update(texts=self._state.texts + texts, bytes=end)

    def set_stopped(self, reason: str) -> None:
        """Note why the run ends before the input does."""
        self._update(report=self._state.report._replace(stopped=reason))

    def set_wait(self, wait: Wait) -> None:
        """Note what is being waited for."""
        self._update(wait=wait)

    def end(self) -> None:
        """Report the last state, with the time that has passed since the last step."""
        self._update()

    def _update(self, **changes: object) -> None:
        state = self._state._replace(**changes)  # type: ignore[arg-type]
        seconds = time.monotonic() - self._began
        self._state = state._replace(report=state.report._replace(seconds=seconds))
        self._observer.on_progress(self._state)
