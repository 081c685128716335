"""Embeds texts with one request for each batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from jtv_cli.embedders import BatchLimit
from jtv_cli.embedders.api.endpoint import check_key, parse_base
from jtv_cli.embedders.api.replies import largest_reply, read_reply
from jtv_cli.embedders.api.transport import Transport
from jtv_cli.errors import UsageError
from jtv_cli.records import Embeddings, Purpose

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jtv_cli.embedders import EmbedderOptions, Model

# 512 texts are the most the API takes in one request; 32,000 tokens are a
# third of a free key's 100,000 a minute, so that its two concurrent requests fit
# into one minute and a batch sent twice does not use it up.
_JINA_LIMIT = BatchLimit(texts=512, tokens=32_000)
# 32 texts are what text-embeddings-inference takes unless told otherwise.
_COMPATIBLE_LIMIT = BatchLimit(texts=32, tokens=32_000)

# Jina AI's models whose vectors are unit vectors anyway, and that refuse the field.
_NEVER_NORMALIZED = ("jina-embeddings-v4", "jina-code-embeddings-")


class ApiEmbedder:
    """Embeds texts over HTTP; threads may share one.

    The base is the API's root, its `/v1`, or the full `/embeddings` URL. Jina AI's own
    hosts, and this machine if a key is given, so that it stands in for them, get all the
    fields that Jina AI's model accepts; other servers get those that every server knows.

    Raises UsageError if the base is not a plain http(s) URL, Jina AI would be called
    without a key, or the key would travel unencrypted or cannot be sent at all.
    """

    def __init__(self, model: Model, options: EmbedderOptions) -> None:
        endpoint = parse_base(options.api_base)
        key = check_key(options.api_key, endpoint)
        stands_in = endpoint.is_local and key is not None
        # Of a model that is not listed, nobody can say which fields it accepts.
        self._is_jina = (endpoint.is_jina or stands_in) and not model.recipe.provider
        self.model = model
        self.batch_limit = _JINA_LIMIT if self._is_jina else _COMPATIBLE_LIMIT
        self._truncate = options.truncate
        if self._is_jina:
            endpoint = endpoint._replace(other_url="")
        self._transport = Transport(endpoint, key)

    def embed(self, texts: Sequence[str], purpose: Purpose) -> Embeddings:
        """Return one vector for each text, in their order, from one request.

        The vectors are (n, dimensions) float32 in C order, finite and not all zero.

        Raises BatchTooLarge, TextTooLong, RateLimited, ServiceDown or ServiceRefused, or
        one of their subclasses, and UsageError for a text that is not Unicode.
        """
        if not texts:
            return Embeddings(np.empty((0, self.model.dimensions), dtype=np.float32))
        largest = largest_reply(len(texts), self.model.dimensions)
        return self._transport.ask(
            self._body(texts, purpose), largest, lambda reply: read_reply(reply, self.model, texts)
        )

    def _body(self, texts: Sequence[str], purpose: Purpose) -> bytes:
        model = self.model
        fields: dict[str, Any] = {"model": model.name, "input": list(texts)}
        if self._is_jina:
            fields["embedding_type"] = "base64"
            if model.task:
                side = "query" if purpose is Purpose.QUERY else "passage"
                fields["task"] = f"{model.task}.{side}"
            if not model.name.startswith(_NEVER_NORMALIZED):
                fields["normalized"] = True
        if model.recipe.is_shortened:
            fields["dimensions"] = model.dimensions
        if self._truncate:
            fields["truncate"] = True
        try:
            return orjson.dumps(fields)
        except orjson.JSONEncodeError:
            hint = "convert the input to UTF-8"
            raise UsageError("a text is not valid Unicode", hint=hint) from None
