"""Connections to one table, for threads that share it."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING

from jtv_cli import config, model_choice
from jtv_cli.embedders.models import spec_for
from jtv_cli.errors import JtvError, NoTable, TableDropped, UsageError, mask_secrets
from jtv_cli.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jtv_cli import stores
    from jtv_cli.config import Settings
    from jtv_cli.embedders import Embedder, Reranker
    from jtv_cli.records import TableSpec

_logger = logging.getLogger("jtv_cli")


class Connections:
    """The connections to one table: as many as there are operations at the same time.

    An operation takes an idle one or opens another. One that has failed is closed.
    """

    def __init__(self, settings: Settings, *, read_only: bool) -> None:
        self._settings = settings
        self._database = config.find_database(settings)
        if self._database.location == ":memory:":
            raise UsageError(
                "a table cannot be in memory", hint="name a file in a temporary directory"
            )
        self._read_only = read_only
        self._lock = Lock()
        self._idle: list[tuple[stores.Store, stores.Table]] = []
        self._embedders: dict[bool, Embedder] = {}
        self._rerankers: dict[str, Reranker] = {}
        self._is_closed = False
        self._was_opened = False
        self.location = ""
        self.spec: TableSpec

    def open_first(self, *, create: bool) -> None:
        """Open the table and remember what it is, or choose what the first ingest creates.

        Raises NoTable and TableMismatch.
        """
        try:
            self._idle.append(self._open(self._settings.table.value or ""))
        except NoTable:
            if not create:
                raise
            model = model_choice.model_for_new_table(
                self._settings, is_embedded=self._database.is_embedded
            )
            self.spec = spec_for(self._settings.table.value or "", model)

    def require_writable(self) -> None:
        """Raise UsageError if the table was opened to be read."""
        if self._read_only:
            raise UsageError("the table was opened with read_only=True")

    def embedder(self, *, truncate: bool = False) -> Embedder:
        """Return the embedder of the table's model, opened at its first use."""
        with self._lock:
            if truncate not in self._embedders:
                model = model_choice.model_for_table(self._settings, self.spec)
                embedder = model_choice.open_model(self._settings, model, truncate=truncate)
                self._embedders[truncate] = embedder
            return self._embedders[truncate]

    def reranker(self, name: str) -> Reranker:
        """Return a reranker, opened at its first use."""
        with self._lock:
            if name not in self._rerankers:
                self._rerankers[name] = model_choice.open_reranker(self._settings, name)
            return self._rerankers[name]

    @contextmanager
    def borrow(self, *, create: bool = False) -> Iterator[stores.Table]:
        """Yield the table on a connection that no one else uses until the block ends.

        `create` creates the table if it does not exist yet.
        """
        with masked_errors():
            store, table = self._take(create=create)
            try:
                yield table
            except Exception:
                store.close()
                raise
            except BaseException:
                self._put_back(store, table)
                raise
            self._put_back(store, table)

    def close(self) -> None:
        """Close the idle connections now, and the others when they are put back."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for store, _ in idle:
            store.close()

    def _take(self, *, create: bool) -> tuple[stores.Store, stores.Table]:
        with self._lock:
            if self._is_closed:
                raise UsageError("the table is closed")
            if self._idle:
                return self._idle.pop()
            if not self._was_opened:
                try:
                    return self._open(self.spec.name, create=create)
                except NoTable as error:
                    error.hint = "store texts in it first, with Table.ingest"
                    raise
        return self._open(self.spec.name)

    def _open(self, name: str, *, create: bool = False) -> tuple[stores.Store, stores.Table]:
        """Open another connection. The first one decides what the table is."""
        store = open_store(
            self._database.location,
            writable=not self._read_only,
            make_folder=self._database.is_default,
            notice=_logger.info,
        )
        try:
            self.location = store.location
            try:
                table = store.open(name)
            except NoTable:
                if not create:
                    raise
                store.apply(self.spec, store.plan(self.spec), progress=_logger.debug)
                table = store.open(name)
            if not self._was_opened:
                model_choice.require_model(self._settings, table.spec)
                model_choice.require_near(self._settings, table)
                self.spec, self._was_opened = table.spec, True
            elif table.spec.identity != self.spec.identity:
                raise TableDropped(name)
        except BaseException:
            store.close()
            raise
        return store, table

    def _put_back(self, store: stores.Store, table: stores.Table) -> None:
        with self._lock:
            if not self._is_closed:
                self._idle.append((store, table))
                return
        store.close()


@contextmanager
def masked_errors() -> Iterator[None]:
    """Remove secrets from the messages of errors: they may end up in somebody's log."""
    try:
        yield
    except JtvError as error:
        error.message = mask_secrets(error.message)
        error.hint = error.hint and mask_secrets(error.hint)
        error.args = (error.message,)
        raise
