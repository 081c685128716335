"""How the caller of a long operation learns what happens meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from jtv_cli.records import IngestProgress


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
