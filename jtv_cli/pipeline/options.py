"""On what terms an ingest runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from jtv_cli.pipeline.retry import RetryPolicy


class IngestOptions(NamedTuple):
    """What the user grants an ingest.

    `concurrency` is the number of requests at once, `max_tokens` what they may cost
    altogether, None for no limit; `strict` ends it at the first bad record. `truncate`
    says that the embedder was asked to have texts cut that are too long.
    """

    concurrency: int
    retry_policy: RetryPolicy
    max_tokens: int | None = None
    strict: bool = False
    truncate: bool = False
