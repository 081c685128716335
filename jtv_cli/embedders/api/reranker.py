"""Scores documents by their relevance to a query, with one request for each query."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jtv_cli.embedders.api.endpoint import check_key, parse_base
from jtv_cli.embedders.api.replies import read_scores
from jtv_cli.embedders.api.transport import Transport
from jtv_cli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

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
        if endpoint.is_jina:
            endpoint = endpoint._replace(other_url="")
        self.model = model
        self._transport = Transport(endpoint, key)

    def rerank(self, query: str, documents: Sequence[str]) -> RerankScores:
        """Return the relevance of each document to the query, from one request.

        Raises RateLimited, ServiceDown or ServiceRefused, or one of their subclasses.
        """
        import orjson

        fields: dict[str, Any] = {
            "model": self.model,
            "query": query,
            "documents": list(documents),
            "top_n": len(documents),
            "return_documents": False,
        }
        largest = _REPLY_BYTES + _BYTES_PER_CHARACTER * sum(map(len, documents))
        return self._transport.ask(
            orjson.dumps(fields), largest, lambda reply: read_scores(reply, query, documents)
        )
