"""Embed a query while its table is opened, with the model that the table had last time."""

from __future__ import annotations

from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING

from jtv_cli import config
from jtv_cli.errors import TableMismatch, UsageError
from jtv_cli.records import Purpose

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jtv_cli.cli.session import Session
    from jtv_cli.embedders import Embedder
    from jtv_cli.records import Embeddings, TableSpec
    from jtv_cli.stores.spec_cache import SpecCache


class EmbeddingAhead:
    """The embedding of a query, begun before its table is opened if that is on a cluster.

    A cluster is a few round trips away, and so is an API: both ways take as long as one. If
    the table has another model by now, the query is embedded once more.
    """

    def __init__(self, session: Session, query: str) -> None:
        self._session = session
        self._query = query
        self._cache = _open_cache(session)
        self._spec = self._cache.read() if self._cache else None
        self._embedder: SimpleQueue[Embedder | Exception] = SimpleQueue()
        self._reply: SimpleQueue[Embeddings | Exception] = SimpleQueue()
        with suppress(TableMismatch, UsageError):
            if self._spec is not None:
                session.require_model(self._spec)
                Thread(target=self._embed, args=(self._spec,), daemon=True).start()
                return
        self._spec = None

    def embedder(self, spec: TableSpec) -> Embedder:
        """Return the embedder of the table that was opened, which may have the vector already.

        Raises UsageError if there is no such embedder.
        """
        if spec != self._spec:
            if self._cache:
                self._cache.write(spec)
            return self._session.embedder(spec)
        embedder = self._embedder.get()
        if isinstance(embedder, Exception):
            raise embedder
        return _AheadEmbedder(embedder, self._query, self._reply)

    def _embed(self, spec: TableSpec) -> None:
        try:
            embedder = self._session.embedder(spec)
        except Exception as error:
            self._embedder.put(error)
            return
        self._embedder.put(embedder)
        try:
            self._reply.put(embedder.embed([self._query], Purpose.QUERY))
        except Exception as error:
            self._reply.put(error)


class _AheadEmbedder:
    """An embedder that has been sent a query before it is asked to embed it."""

    def __init__(
        self, embedder: Embedder, query: str, reply: SimpleQueue[Embeddings | Exception]
    ) -> None:
        self.model = embedder.model
        self.batch_limit = embedder.batch_limit
        self._embedder = embedder
        self._query: str | None = query
        self._reply = reply

    def embed(self, texts: Sequence[str], purpose: Purpose) -> Embeddings:
        """Return one vector for each text; the reply for the query is used once."""
        if list(texts) != [self._query] or purpose is not Purpose.QUERY:
            return self._embedder.embed(texts, purpose)
        self._query = None
        reply = self._reply.get()
        if isinstance(reply, Exception):
            raise reply
        return reply


def _open_cache(session: Session) -> SpecCache | None:
    if session.database.is_embedded:
        return None
    from jtv_cli.stores.spec_cache import SpecCache

    with suppress(UsageError):
        directory = config.cache_directory() / "tables"
        return SpecCache(directory, session.database.location, session.table_name)
    return None
