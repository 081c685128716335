"""The contract of embedders, and how to open one."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple, Protocol

from jtv_cli.records import Purpose, Recipe

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from jtv_cli.records import Embeddings, RerankScores


class Model(NamedTuple):
    """A model and its abilities.

    `provider` is the module of this package that opens it. `dimensions` is the length of
    its vectors, `smaller` lists the lengths to which it can shorten them, `max_tokens` is
    the length of its longest text. `price` is in USD per million tokens, None where it is
    not known. `task` is the family of tasks that jtv uses, which embeds documents and
    queries differently; None where the model makes no such difference.

    Models of one `space` (by default their own name) make the same vectors, so that a
    table of one can be searched with another.
    """

    name: str
    provider: str
    dimensions: int
    max_tokens: int
    price: float | None = None
    task: str | None = None
    smaller: tuple[int, ...] = ()
    is_builtin: bool = False
    """Whether it is part of jtv: nothing to download, no service to ask."""
    runs_in_process: bool = False
    """Whether it computes in this process, so that it needs no network and no retries."""
    languages: str = "many"
    license: str = ""
    same_space_as: str = ""
    recipe: Recipe = Recipe()
    """What else decides its vectors."""
    prefers_hybrid: bool = False
    """Whether searches also use the full-text index of a table that has one, by default.

    It is set where `benchmarks/quality.py` finds hybrid searches better by more than 0.01
    nDCG@10, and worse by no more than that in any language.
    """

    @property
    def is_free(self) -> bool:
        """Whether using it costs nothing."""
        return self.price == 0

    @property
    def space(self) -> str:
        """What its vectors can be compared with: those of models of the same space."""
        return self.same_space_as or self.name


DEFAULT_RERANKER = "jina-reranker-v3.5"

MOST_AT_ONCE = 64
"""How many threads may call one embedder at the same time."""


class BatchLimit(NamedTuple):
    """The most that one call of `Embedder.embed` should be given."""

    texts: int
    tokens: int


class Embedder(Protocol):
    """Turns texts into vectors."""

    model: Model
    batch_limit: BatchLimit

    def embed(self, texts: Sequence[str], purpose: Purpose) -> Embeddings:
        """Return one vector for each text, in their order.

        The vectors are (n, dimensions) float32, finite and not all zero. Nothing is
        retried.

        Raises BatchTooLarge, TextTooLong, RateLimited, ServiceDown or ServiceRefused, or
        one of their subclasses.
        """
        ...


class Reranker(Protocol):
    """Scores documents by their relevance to a query. Nothing is retried."""

    model: str
    runs_in_process: bool
    """Whether it computes in this process, so that it needs no network and no retries."""

    def rerank(self, query: str, documents: Sequence[str]) -> RerankScores:
        """Return the relevance of each document to the query.

        Raises ServiceError if it cannot.
        """
        ...


class EmbedderOptions(NamedTuple):
    """What an embedder may need beside its model.

    `api_base` and `api_key` are of the service that runs the model; `truncate` cuts texts
    that are too long for the model. `models_directory` is where weights are kept.
    """

    api_base: str = ""
    api_key: str | None = None
    truncate: bool = False
    models_directory: Path | None = None


def open_embedder(model: Model, options: EmbedderOptions | None = None) -> Embedder:
    """Return the embedder of a model, from the module that its row in `models` names.

    Raises UsageError if the model cannot be used here: without a key that its service
    needs, say.
    """
    provider = import_module(f"jtv_cli.embedders.{model.provider}")
    embedder: Embedder = provider.open_embedder(model, options or EmbedderOptions())
    if model.recipe.query_prefix or model.recipe.document_prefix:
        return _PrefixedEmbedder(embedder)
    return embedder


class _PrefixedEmbedder:
    """Puts the prefixes of the model's recipe before queries and documents."""

    def __init__(self, embedder: Embedder) -> None:
        self.model = embedder.model
        self.batch_limit = embedder.batch_limit
        self._embedder = embedder

    def embed(self, texts: Sequence[str], purpose: Purpose) -> Embeddings:
        """Return the vectors of the texts, each with its prefix."""
        recipe = self.model.recipe
        prefix = recipe.query_prefix if purpose is Purpose.QUERY else recipe.document_prefix
        return self._embedder.embed([prefix + text for text in texts], purpose)
