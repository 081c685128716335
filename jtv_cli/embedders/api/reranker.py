"""Scores documents by their relevance to a query, with one request for each query."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from jtv_cli.embedders.api.endpoint import check_key, parse_base
from jtv_cli.embedders.api.replies import read_scores, seconds_to_reset
from jtv_cli.embedders.api.transport import Transport
from jtv_cli.errors import RateLimited, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jtv_cli.embedders.api.replies import Reply
    from jtv_cli.records import RerankScores

_REPLY_BYTES = 1 << 20
# A server may return the documents although it is asked not to, with each byte escaped.
_BYTES_PER_CHARACTER = 12
# The names of Jina AI's rerankers begin like this.
_JINA_PREFIXES = ("jina-reranker-", "jina-colbert-")


class ApiReranker:
    """Reranks over HTTP, through Jina AI's API or a server of the same shape.

    `api_base` is the API's root, its `/v1`, or the full `/rerank` or `/embeddings` URL;
    `name` is what errors call it. The key is treated as for embeddings.

    Raises UsageError if the base is not a plain http(s) URL, if Jina AI would be called
    without a key or has no such model, or if the key would travel unencrypted.
    """

    runs_in_process = False

    def __init__(
        self, model: str, *, api_base: str, api_key: str | None, name: str = "the API base"
    ) -> None:
        endpoint = parse_base(api_base, name, "rerank")
        if endpoint.is_jina and not model.startswith(_JINA_PREFIXES):
            raise UsageError(
                f'Jina AI has no reranker "{model}"',
                hint="name one such as jina-reranker-v3.5, or another --rerank-base;"
                " if it is part of the query, put the query before --rerank",
            )
        key = check_key(api_key, endpoint)
        self.model = model
        self._transport = Transport(endpoint, key)
        self._place = endpoint.place
        self._not_before = 0.0
        self._url = endpoint.url
        self._other_url = "" if endpoint.is_jina else endpoint.other_url

    def rerank(self, query: str, documents: Sequence[str]) -> RerankScores:
        """Return the relevance of each document to the query, from one request.

        Raises RateLimited, ServiceDown or ServiceRefused, or one of their subclasses.
        """
        import orjson

        wait = self._not_before - time.monotonic()
        if wait > 0:
            message = f"the rate limit that {self._place} states is used up"
            hint = "run the same command again in a minute"
            raise RateLimited(message, kind="rate", retry_after=wait, hint=hint)
        fields: dict[str, Any] = {
            "model": self.model,
            "query": query,
            "documents": list(documents),
            "top_n": len(documents),
            "return_documents": False,
        }
        characters = sum(map(len, documents))
        reply = self._post(orjson.dumps(fields), _REPLY_BYTES + _BYTES_PER_CHARACTER * characters)
        scores = read_scores(reply, query, documents)
        self._other_url = ""
        if (wait_for_reset := seconds_to_reset(reply.headers, scores.tokens)) is not None:
            self._not_before = time.monotonic() + wait_for_reset
        return scores

    def _post(self, body: bytes, largest: int) -> Reply:
        """Send a request; until one was answered with scores, to the other URL too."""
        reply = self._transport.post(self._url, body, largest)
        if reply.status == HTTPStatus.NOT_FOUND and self._other_url:
            other = self._transport.post(self._other_url, body, largest)
            if other.status != HTTPStatus.NOT_FOUND:
                self._url = self._other_url
                return other
        return reply
