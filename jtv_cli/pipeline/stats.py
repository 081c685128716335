"""How far an ingest has come, counted as it goes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from jtv_cli.records import IngestProgress, IngestReport

if TYPE_CHECKING:
    from collections.abc import Callable

    from jtv_cli.records import Wait


class IngestStats:
    """Adds up, and tells `progress` after every step."""

    def __init__(self, progress: Callable[[IngestProgress], None]) -> None:
        self._progress = progress
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
        self._tell(report=report._replace(**totals))

    def read(self, texts: int, end: int) -> None:
        """Note that so many more texts were read, up to a byte of the whole input."""
        self._tell(texts=self._state.texts + texts, bytes=end)

    def stop(self, reason: str) -> None:
        """Note why it ends before the input does."""
        self._tell(report=self._state.report._replace(stopped=reason))

    def wait(self, wait: Wait) -> None:
        """Note what is being waited for."""
        self._tell(wait=wait)

    def end(self) -> None:
        """Note the end: the time that passed since the last step counts too."""
        self._tell()

    def _tell(self, **changes: object) -> None:
        state = self._state._replace(**changes)  # type: ignore[arg-type]
        seconds = time.monotonic() - self._began
        self._state = state._replace(report=state.report._replace(seconds=seconds))
        self._progress(self._state)
