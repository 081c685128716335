"""A stand-in for servers of OpenAI's shape, over real HTTP: what each does otherwise is a setting.

It is as strict as the strictest of them: a field that not all know is refused.
"""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

import jina_api
from jina_api import Reply
from jina_http import Request, Server
from jtv_cli.embedders.models import MODELS

if TYPE_CHECKING:
    from collections.abc import Callable

    from jtv_cli.records import Vectors


class OpenAIServer:
    """Serves one model, `name`, of so many dimensions, which it can shorten.

    `path` is where it has the API, `max_items` the most texts it takes at a time. `weights`
    tells apart what two servers run under one name. `key` None lets everybody in.
    `change` may edit the answer, an object as JSON has it, before it goes out.
    """

    def __init__(
        self,
        name: str = "BAAI/bge-small-en-v1.5",
        dimensions: int = 384,
        *,
        path: str = "/v1/embeddings",
        max_items: int = 32,
        weights: str = "",
        key: str | None = None,
        as_base64: bool = False,
        change: Callable[[dict[str, Any]], None] = lambda _: None,
    ) -> None:
        self.name, self.dimensions, self.path, self.max_items = name, dimensions, path, max_items
        self.weights, self.key, self.as_base64, self.change = weights, key, as_base64, change
        self.requests: list[Request] = []
        self._http = Server(0, None, self._respond)
        self.url = self._http.url

    def __enter__(self) -> OpenAIServer:
        self._http.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.stop()

    def embed(self, texts: list[str], dimensions: int | None = None) -> Vectors:
        model = MODELS["jina-embeddings-v2-base-en"]._replace(
            name=self.name + self.weights, dimensions=self.dimensions
        )
        vectors: Vectors = jina_api.embed(model, texts)[:, :dimensions]
        return vectors

    def _respond(self, request: Request) -> Reply:
        self.requests.append(request)
        body = request.body
        if request.path != self.path:
            return Reply(404, orjson.dumps({"detail": "Not Found"}))
        if self.key is not None and request.headers.get("authorization") != f"Bearer {self.key}":
            return Reply(401, orjson.dumps({"error": {"message": "Incorrect API key"}}))
        if body.get("model") != self.name:
            return Reply(404, orjson.dumps({"error": {"message": "no such model"}}))
        if unknown := body.keys() - {"model", "input", "dimensions"}:
            return Reply(422, orjson.dumps({"error": {"message": f"unknown field {unknown}"}}))
        if len(body["input"]) > self.max_items:
            words = f"batch size {len(body['input'])} > maximum allowed batch size {self.max_items}"
            return Reply(413, orjson.dumps({"error": words}))
        vectors = self.embed(body["input"], body.get("dimensions"))
        rows: list[Any] = vectors.tolist()
        if self.as_base64:
            rows = [b64encode(row).decode() for row in np.ascontiguousarray(vectors)]
        data = [{"index": number, "embedding": row} for number, row in enumerate(rows)]
        answer = {"object": "list", "data": data, "usage": {"total_tokens": len(rows)}}
        self.change(answer)
        return Reply(200, orjson.dumps(answer))
