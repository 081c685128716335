"""The file as a store: its catalogue of tables."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from jtv_cli.errors import NoTable
from jtv_cli.records import Action, Change, Check, Outcome, TableSpec, find_spec
from jtv_cli.stores.sqlite import file, health
from jtv_cli.stores.sqlite.schema import CATALOG, TABLE_STATEMENTS, catalog, migrate, write_recipe
from jtv_cli.stores.sqlite.table import SqliteTable
from jtv_cli.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path


class SqliteStore:
    """A file that holds tables, opened without changing it.

    A store that is not `writable` works on a read-only file in a read-only folder
    too. `make_folder` lets `apply` make the folder of a new file.

    Raises StoreError where the file is not jtv's, or of a newer format.
    """

    def __init__(self, path: Path, *, writable: bool, make_folder: bool = False) -> None:
        self.location = printable(str(path))
        self.notes: Sequence[str] = ()
        self._path = path
        self._writable = writable
        self._make_folder = make_folder
        self._connection: file.Connection | None = None
        with file.translated(self.location):
            if path.exists():
                self._connection = file.connect(path, writable=writable)

    def tables(self) -> list[TableSpec]:
        """Return the catalogue."""
        if self._connection is None:
            return []
        with file.translated(self.location):
            return [] if file.is_empty(self._connection) else catalog(self._connection)

    def open(self, name: str) -> SqliteTable:
        """Return a table. Raises NoTable where there is none of that name."""
        spec = find_spec(self.tables(), name)
        if spec is None or self._connection is None:
            raise NoTable(name, self.location)
        return SqliteTable(self._connection, spec, self.location)

    def plan(self, spec: TableSpec, *, index: bool = True) -> list[Change]:  # noqa: ARG002
        """Return the one change that makes the table, or none.

        Raises TableMismatch where there is one of that name and another model.
        """
        there = find_spec(self.tables(), spec.name)
        if there is None:
            return [Change(Action.CREATE, f"make table {spec.name} in {self.location}")]
        there.require_same_vectors(spec)
        return []

    def apply(
        self,
        spec: TableSpec,
        changes: Sequence[Change],
        *,
        wait: bool = True,  # noqa: ARG002
        progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Make the table, and the file where there is none."""
        if not changes:
            return
        progress("making the table")
        with file.translated(self.location):
            self._connection = connection = self._connection or self._create()
            file.prepare(connection)
            with file.transaction(connection, "IMMEDIATE"):
                if file.is_empty(connection):
                    connection.execute(CATALOG)
                migrate(connection)
                there = find_spec(catalog(connection), spec.name)
                if there is None:
                    _create_table(connection, spec)
                else:
                    there.require_same_vectors(spec)

    def drop(self, name: str) -> None:
        """Remove a table and all it holds. Raises NoTable where there is none of that name."""
        table = self.open(name)
        with table.writing():
            table.index.drop()
            # In this order there are no references left to follow.
            for suffix in ("_occurrences", "_sources", ""):
                table.rows.execute(f'DROP TABLE "{{name}}{suffix}"')
            table.rows.execute("DELETE FROM jtv_tables WHERE name = '{name}'")

    def checks(self) -> Iterator[Check]:
        """Look at the file: whose it is, whether it is sound, how much room is left."""
        if self._connection is None:
            detail = f"there is no {self.location} yet; make it with: jtv init"
            yield Check("file", Outcome.WARNING, detail)
        else:
            yield from health.checks(self._connection, self._path)

    def close(self) -> None:
        """Let go of the file. The last to close it folds the write-ahead log back in."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _create(self) -> file.Connection:
        if self._make_folder:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # SQLite gives its side files the mode of this one. Left empty by a crash, it
        # is taken for a new one the next time.
        self._path.touch(mode=0o600)
        return file.connect(self._path, writable=self._writable)


def _create_table(connection: file.Connection, spec: TableSpec) -> None:
    for statement in TABLE_STATEMENTS:
        connection.execute(statement.format(name=spec.name))
    connection.execute(
        "INSERT INTO jtv_tables (name, model, task, dimensions, metric, identity, recipe)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            *(spec.name, spec.model, spec.task, spec.dimensions, spec.metric),
            os.urandom(16).hex(),
            write_recipe(spec.recipe),
        ),
    )
