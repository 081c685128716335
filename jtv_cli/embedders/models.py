"""What each model can do: the only place that knows.

Sizes, limits and prices are those of Jina AI's published model pages and API
description, read in September 2026.
"""

from __future__ import annotations

from typing import NamedTuple

from jtv_cli.errors import UsageError
from jtv_cli.records import Purpose


class Model(NamedTuple):
    """A model's abilities.

    `dimensions` is the length of its vectors, `max_tokens` of its longest text,
    `price` is in USD for a million tokens. `task` is the family of tasks that jtv
    uses, whose two sides embed a document and a query; None where the model makes
    no difference. `normalized` says whether the API takes that field, `is_offline` whether
    the model is built in and asks no service.
    """

    name: str
    dimensions: int
    max_tokens: int
    price: float
    task: str | None = None
    normalized: bool = True
    is_offline: bool = False

    def task_for(self, purpose: Purpose) -> str | None:
        """Return the API's name of the task that serves this purpose, or None."""
        if self.task is None:
            return None
        return f"{self.task}.{'query' if purpose is Purpose.QUERY else 'passage'}"


JINA_KEYS_PAGE = "https://jina.ai/embeddings"
"""Where Jina AI gives keys and takes money."""

PRICES_DATE = "September 2026"
"""When the prices were read."""

TUTORIAL_MODEL = "jina-embeddings-v2-base-en"
OFFLINE_MODEL = "hashing-v1"

MODELS = {
    model.name: model
    for model in (
        Model(TUTORIAL_MODEL, 768, 8192, 0.05),
        Model("jina-embeddings-v2-base-zh", 768, 8192, 0.05),
        Model("jina-embeddings-v2-base-de", 768, 8192, 0.05),
        Model("jina-embeddings-v2-base-es", 768, 8192, 0.05),
        Model("jina-embeddings-v2-base-code", 768, 8192, 0.05),
        Model("jina-embeddings-v3", 1024, 8192, 0.05, task="retrieval"),
        Model("jina-embeddings-v4", 2048, 32768, 0.05, task="retrieval", normalized=False),
        Model("jina-embeddings-v5-text-small", 1024, 32768, 0.05, task="retrieval"),
        Model("jina-embeddings-v5-text-nano", 768, 8192, 0.02, task="retrieval"),
        Model("jina-code-embeddings-0.5b", 896, 32768, 0.05, task="nl2code", normalized=False),
        Model("jina-code-embeddings-1.5b", 1536, 32768, 0.05, task="nl2code", normalized=False),
        Model(OFFLINE_MODEL, 768, 1 << 30, 0.0, is_offline=True),
    )
}


def find_model(name: str) -> Model:
    """Return the model of that name.

    Raises UsageError, with the names there are, for any other.
    """
    try:
        return MODELS[name]
    except KeyError:
        hint = f"choose one of: {', '.join(MODELS)}"
        raise UsageError(f"there is no model {name}", hint=hint) from None
