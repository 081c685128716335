"""A stand-in for a hub of models, over real HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jina_api import Reply
from jina_http import Request, Server

if TYPE_CHECKING:
    from collections.abc import Callable


class Hub:
    """Serves files by their paths; `change` may spoil a reply to a request."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.requests: list[Request] = []
        self.change: Callable[[Request, Reply], Reply] = lambda _, reply: reply
        self._http = Server(0, None, self._respond)
        self.url = self._http.url

    def __enter__(self) -> Hub:
        self._http.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.stop()

    def _respond(self, request: Request) -> Reply:
        self.requests.append(request)
        content = self.files.get(request.path)
        if content is None:
            return Reply(404, b"Entry not found", {"Content-Type": "text/plain"})
        asked = request.headers.get("range", "")
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        headers = {"Content-Type": "application/octet-stream"}
        if asked:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        return self.change(request, Reply(206 if asked else 200, content[start:], headers))
