"""Embeddings APIs over HTTP: Jina AI's, and servers of the same or of OpenAI's shape.

`endpoint` tells where the API is and whether a key may be sent there, `transport` sends
requests, `replies` reads what comes back, `embedder` and `reranker` tie them together. Only
`transport` needs `requests`, which is slow to import, so nothing is imported here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jtv_cli.embedders import Embedder, EmbedderOptions, Model


def open_embedder(model: Model, options: EmbedderOptions) -> Embedder:
    """Return the embedder of a model that a service runs."""
    from jtv_cli.embedders.api.embedder import ApiEmbedder

    return ApiEmbedder(model, options)
