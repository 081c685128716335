"""How far a long piece of work has come, and what it would be."""

from __future__ import annotations

from typing import NamedTuple


class IngestReport(NamedTuple):
    """How far an ingest has come.

    Counted are the texts of the input: `stored` are new to the table, `known`
    were in it (or earlier in the input) already, `empty` had nothing but white
    space, `skipped` could not be read or embedded. `stopped` says why it ended before
    the input did, None if it did not.
    """

    stored: int = 0
    known: int = 0
    empty: int = 0
    skipped: int = 0
    tokens: int = 0
    seconds: float = 0.0
    stopped: str | None = None

    @property
    def texts(self) -> int:
        """The texts that are dealt with."""
        return self.stored + self.known + self.empty + self.skipped

    @property
    def is_complete(self) -> bool:
        """Whether nothing was left out of what there was to read."""
        return not self.skipped and self.stopped is None


class Wait(NamedTuple):
    """What an ingest is waiting for, until when on `time.monotonic`'s clock, perhaps infinity."""

    until: float
    reason: str


class IngestProgress(NamedTuple):
    """An ingest under way: the texts and the bytes of the input that were read so far."""

    report: IngestReport
    texts: int = 0
    bytes: int = 0
    wait: Wait | None = None


class Survey(NamedTuple):
    """What an ingest would do.

    Of all `texts` of the input, `known` are in the table, or earlier in the input,
    already; `tokens`, `usd` and `bytes` in the store are estimates for those `to_embed`.
    """

    texts: int
    known: int
    empty: int
    skipped: int
    to_embed: int
    tokens: int
    usd: float
    bytes: int


class Transferred(NamedTuple):
    """How far documents have come on their way into a table, with their vectors.

    `stored` are new to it, `known` were in it already; `occurrences` are those that were
    news, of either.
    """

    stored: int = 0
    known: int = 0
    occurrences: int = 0
