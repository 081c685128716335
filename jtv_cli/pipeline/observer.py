"""How the caller of an ingest learns what happens meanwhile."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from jtv_cli.records import IngestProgress, IngestReport

if TYPE_CHECKING:
    from jtv_cli.records import Wait


class Observer(Protocol):
    """Receives the progress and the notices of an ingest, from one thread at a time."""

    def on_progress(self, progress: IngestProgress) -> None:
        """Receive the state after a step; the last call is the end, however the run ends."""
        ...

    def on_notice(self, message: str) -> None:
        """Receive a sentence that the user should see when it happens."""
        ...

    def on_skipped(self, place: str, reason: str) -> None:
        """Receive where a skipped text was read, as file:line, and why it was skipped."""
        ...


class NullObserver:
    """Ignores everything."""

    def on_progress(self, progress: IngestProgress) -> None:
        """Ignore it."""

    def on_notice(self, message: str) -> None:
        """Ignore it."""

    def on_skipped(self, place: str, reason: str) -> None:
        """Ignore it."""


class IngestStats:
    """Counts what an ingest does, and tells an observer after every step."""

    def __init__(self, observer: Observer) -> None:
        self.observer = observer
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
        self.observer.on_progress(self._state)
