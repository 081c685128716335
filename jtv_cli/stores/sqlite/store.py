"""The embedded store: a file and the tables in it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from jtv_cli.errors import NoTable, TableDropped, TableExists
from jtv_cli.records import Change, ChangeKind, Check, Outcome, TableSpec, find_spec
from jtv_cli.stores.contract import Store
from jtv_cli.stores.sqlite import health
from jtv_cli.stores.sqlite.connection import (
    connect,
    create,
    is_empty,
    prepare,
    transaction,
    translated,
)
from jtv_cli.stores.sqlite.schema import CATALOG, catalog, create_table, migrate, rename_table
from jtv_cli.stores.sqlite.space import Space
from jtv_cli.stores.sqlite.table import SqliteTable
from jtv_cli.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from jtv_cli.stores.sqlite.connection import Connection


class SqliteStore(Store):
    """A file with tables. Opening one does not change it.

    A store that is not `writable` also works on a read-only file in a read-only directory.
    `make_folder` lets `apply` create the directories of a new file.

    Raises StoreError if the file is not jtv's, or has a newer format.
    """

    def __init__(self, path: Path, *, writable: bool, make_folder: bool = False) -> None:
        self.location = printable(str(path))
        self.notes: Sequence[str] = ()
        self._path = path
        self._writable = writable
        self._make_folder = make_folder
        self._connection: Connection | None = None
        self._space = Space()
        with self._translated():
            if path.exists():
                self._connection = connect(path, writable=writable)

    def tables(self) -> list[TableSpec]:
        if self._connection is None:
            return []
        with self._translated():
            return [] if is_empty(self._connection) else catalog(self._connection)

    def open(self, name: str) -> SqliteTable:
        spec = find_spec(self.tables(), name)
        if spec is None or self._connection is None:
            raise NoTable(name, self.location)
        return self._table(self._connection, spec)

    def plan(self, spec: TableSpec, *, index: bool = True) -> list[Change]:  # noqa: ARG002
        """Return the change that creates the table, or none. The index creates itself.

        Raises TableMismatch if there is a table of that name with another model.
        """
        existing = find_spec(self.tables(), spec.name)
        if existing is None:
            description = f"create table {spec.name} in {self.location}"
            return [Change(ChangeKind.CREATE, description)]
        existing.require_same_vectors(spec)
        return []

    def apply(
        self,
        spec: TableSpec,
        changes: Sequence[Change],
        *,
        wait: bool = True,  # noqa: ARG002
        progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        if not changes:
            return
        progress("creating the table")
        with self._translated():
            self._connection = connection = self._connection or self._create()
            if is_empty(connection):
                # An existing empty file becomes as private as a new one.
                with suppress(PermissionError):
                    self._path.chmod(0o600)
            prepare(connection)
            with transaction(connection, "IMMEDIATE"):
                if is_empty(connection):
                    connection.execute(CATALOG)
                migrate(connection)
                existing = find_spec(catalog(connection), spec.name)
                if existing is None:
                    create_table(connection, spec)
                else:
                    existing.require_same_vectors(spec)

    def drop(self, name: str) -> None:
        table = self.open(name)
        with table.writing():
            table.drop()

    def rename(
        self,
        table: TableSpec,
        name: str,
        *,
        replacing: TableSpec | None = None,
        progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        progress(f"renaming table {table.name}")
        renamed = self.open(table.name)
        if renamed.spec.identity != table.identity:
            raise TableDropped(table.name)
        with renamed.writing():
            connection = renamed.documents.connection
            if existing := find_spec(catalog(connection), name):
                if replacing is None or existing.identity != replacing.identity:
                    raise TableExists(table.name, name)
                self._table(connection, existing).drop()
            renamed.documents.full_text.rename(name)
            rename_table(connection, renamed.spec.name, name)

    def checks(self) -> Iterator[Check]:
        """Check who may use the file, whether it is damaged, and how much space is left."""
        if self._connection is None:
            detail = f"no file {self.location}; create it with: jtv init"
            yield Check("file", Outcome.WARNING, detail)
        else:
            yield from health.checks(self._connection, self._path)

    def close(self) -> None:
        """Close the file. The last connection to close moves the write-ahead log into it."""
        self._space.release()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _table(self, connection: Connection, spec: TableSpec) -> SqliteTable:
        return SqliteTable(connection, spec, self.location, self._space)

    def _create(self) -> Connection:
        create(self._path, with_directories=self._make_folder)
        return connect(self._path, writable=self._writable)

    def _translated(self) -> AbstractContextManager[None]:
        return translated(self.location, self._connection)
