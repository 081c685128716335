"""Rerank hits: score the best of them with a model that reads query and text together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jtv_cli.errors import BatchTooLarge, ServiceError
from jtv_cli.pipeline.retry import call_with_retries
from jtv_cli.text import estimated_tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jtv_cli.embedders import Reranker
    from jtv_cli.records import Hit

CANDIDATES = 50
"""How many hits are reranked by default."""

MOST_CANDIDATES = 100
"""About as many documents as Jina AI's API takes in one request."""

# The tokens of a request: a third of those of a free key in a minute. Texts are cut to an equal
# share of them, which is more than most documents have.
_REQUEST_TOKENS = 32_000
_LEAST_TOKENS = 64
# Many queries wait until a limit per minute is reset.
_RATE_LIMIT_WAIT = 130.0


class Reranking:
    """Reranks the hits of one query after the other, with one request for each.

    The best `candidates` hits of a query are reranked. A failed request is retried for up to
    `max_wait` seconds, if there `are_many` queries for longer: until a limit per minute is reset.
    0 disables retries. If one fails in the end, `on_failure` is called with the error, and the
    hits of this query and of all later ones keep their order. With `strict`, the error is raised
    instead.
    """

    def __init__(
        self,
        reranker: Reranker,
        *,
        candidates: int = CANDIDATES,
        max_wait: float = 15.0,
        are_many: bool = False,
        strict: bool = False,
        on_failure: Callable[[ServiceError], None] = lambda _: None,
    ) -> None:
        self.candidates = candidates
        self.tokens = 0
        self._reranker = reranker
        self._max_wait = max(max_wait, _RATE_LIMIT_WAIT) if are_many and max_wait else max_wait
        self._strict = strict
        self._on_failure = on_failure
        self._has_failed = False

    @property
    def explanation(self) -> str:
        """What was done, in words, with the tokens so far."""
        if self._has_failed:
            return "reranking failed"
        tokens = f", {self.tokens:,} tokens" if self.tokens else ""
        return f"up to {self.candidates:,} hits reranked by {self._reranker.model}{tokens}"

    def rerank(self, query: str, hits: Sequence[Hit]) -> list[Hit]:
        """Return the hits, the most relevant first, with their scores.

        Hits beyond the candidates follow in their order. Hits of equal scores keep theirs.
        """
        if not hits or self._has_failed:
            return list(hits)
        some, others = hits[: self.candidates], hits[self.candidates :]
        # The query counts with each of them.
        share = max(_REQUEST_TOKENS // len(some) - estimated_tokens(query), _LEAST_TOKENS)
        try:
            scores = self._scores(query, [_cut(hit.content, share) for hit in some])
        except ServiceError as error:
            if isinstance(error, BatchTooLarge):
                error.hint = f"rerank fewer than {len(some)} hits: --candidates N"
            if self._strict:
                raise
            self._has_failed = True
            self._on_failure(error)
            return list(hits)
        scored = [hit._replace(score=score) for hit, score in zip(some, scores, strict=True)]
        return [*sorted(scored, key=lambda hit: -(hit.score or 0.0)), *others]

    def _scores(self, query: str, texts: Sequence[str]) -> Sequence[float]:
        if self._reranker.runs_in_process:
            return self._reranker.rerank(query, texts).scores
        found = call_with_retries(
            lambda: self._reranker.rerank(query, texts), "rerank", self._max_wait
        )
        self.tokens += found.tokens
        return found.scores


def _cut(text: str, tokens: int) -> str:
    """Return the beginning of a text, of about so many tokens at most."""
    while (estimate := estimated_tokens(text)) > tokens:
        text = text[: min(len(text) - 1, len(text) * tokens // estimate)]
    # The service refuses an empty text.
    return text or " "
