"""The embedders' contract, and the way to open one."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jtv_cli.embedders.models import Model
    from jtv_cli.records import Embeddings, Purpose


MOST_AT_ONCE = 64
"""How many threads may call one embedder at the same time."""


class BatchLimit(NamedTuple):
    """How much one call of `Embedder.embed` should be given at most."""

    texts: int
    tokens: int


class Embedder(Protocol):
    """What turns texts into vectors."""

    model: Model
    batch_limit: BatchLimit

    def embed(self, texts: Sequence[str], purpose: Purpose) -> Embeddings:
        """Return one vector for each text, in their order.

        The vectors are (n, dimensions) float32, finite and not all zero. It never
        tries again by itself.

        Raises BatchTooLarge, TextTooLong, RateLimited, ServiceDown or ServiceRefused.
        """
        ...


def open_embedder(
    model: Model, *, api_base: str = "", api_key: str | None = None, truncate: bool = False
) -> Embedder:
    """Return the embedder for a model; one that is offline needs no API.

    `truncate` has the API cut texts that are too long for the model.

    Raises UsageError where the API would be called without a key it needs, or a
    key would travel unprotected.
    """
    if model.is_offline:
        from jtv_cli.embedders.hashing import HashingEmbedder

        return HashingEmbedder(model)
    from jtv_cli.embedders.jina.embedder import JinaEmbedder

    return JinaEmbedder(model, api_base=api_base, api_key=api_key, truncate=truncate)
