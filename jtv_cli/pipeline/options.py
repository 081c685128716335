"""The options of an ingest."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from jtv_cli.pipeline.retry import RetryPolicy


class IngestOptions(NamedTuple):
    """What an ingest may do.

    `concurrency` is the number of requests in flight, `max_tokens` what all of them may
    cost, None for no limit. `strict` stops at the first record that would be skipped.
    `truncate` says that the embedder was opened to cut texts that are too long. `is_stream`
    says that the input cannot be read again: an interrupt then ends the input, and what was
    read of it is embedded and stored before the run ends.
    """

    concurrency: int
    retry_policy: RetryPolicy
    max_tokens: int | None = None
    strict: bool = False
    truncate: bool = False
    is_stream: bool = False
