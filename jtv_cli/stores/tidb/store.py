"""A TiDB database as a store: which of its tables are jtv's, and how one is made."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa
from sqlalchemy.schema import CreateTable, DropTable

from jtv_cli.errors import NoTable, StoreError
from jtv_cli.records import Action, Change, IndexState
from jtv_cli.stores.tidb.adoption import adopt, plan_adoption, tutorial_spec
from jtv_cli.stores.tidb.connection import Database
from jtv_cli.stores.tidb.index import VectorIndex
from jtv_cli.stores.tidb.mending import mend, plan_mending
from jtv_cli.stores.tidb.schema import (
    FORMAT,
    MOST_DIMENSIONS,
    comment_of,
    decode_comment,
    drop_parts,
    encode_comment,
    make_parts,
    schema,
)
from jtv_cli.stores.tidb.server import checks, require_vectors, server_version
from jtv_cli.stores.tidb.table import TidbTable
from jtv_cli.stores.tidb.url import parse_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from sqlalchemy import Connection

    from jtv_cli.records import Check, TableSpec

_TABLE = sa.text(
    "SELECT table_name, table_comment FROM information_schema.tables"
    " WHERE table_schema = DATABASE() AND table_name = :table"
)
_CANDIDATES = sa.text(
    "SELECT table_name, table_comment FROM information_schema.tables"
    " WHERE table_schema = DATABASE() AND table_name IN ("
    "  SELECT table_name FROM information_schema.columns"
    "  WHERE table_schema = DATABASE() AND column_name = 'content_vec'"
    " ) ORDER BY table_name"
)
_COLUMNS = sa.text(
    "SELECT column_name, column_type, is_nullable, column_key, extra"
    " FROM information_schema.columns"
    " WHERE table_schema = DATABASE() AND table_name = :table ORDER BY ordinal_position"
)


class _Found(NamedTuple):
    """A table of jtv's, or the tutorial's, which `is_adopted` tells apart."""

    spec: TableSpec
    is_adopted: bool
    format: int = FORMAT


class TidbStore:
    """A database of a TiDB cluster. Nothing is connected to before it is asked.

    `notice` hears of what is tried again, and of an index that cannot be.

    Raises UsageError for a URL that cannot be used.
    """

    def __init__(self, url: str, *, notice: Callable[[str], None]) -> None:
        address = parse_url(url)
        self.location = address.location
        self.notes: Sequence[str] = address.notes
        self._tls = address.tls
        self._database = Database(address, notice)

    def tables(self) -> list[TableSpec]:
        """Return jtv's tables and, as it stands, the tutorial's.

        Of one that a newer jtv made, `notice` hears.
        """

        def work(connection: Connection) -> list[TableSpec]:
            rows = connection.execute(_CANDIDATES).all()
            found = [self._judge_one_of_many(connection, *row) for row in rows]
            return [table.spec for table in found if table is not None]

        return self._database.read(work)

    def open(self, name: str) -> TidbTable:
        """Return a table. Raises NoTable where there is none of that name."""
        found = self._look_up(name)
        if found is None:
            raise NoTable(name, self.location)
        return TidbTable(
            self._database, found.spec, is_adopted=found.is_adopted, table_format=found.format
        )

    def plan(self, spec: TableSpec, *, index: bool = True) -> list[Change]:
        """Return what is still to do: make, mend or adopt the table, make its index.

        Raises TableMismatch where it has another model, StoreError where it is neither
        jtv's nor the tutorial's, or the server is no TiDB with vectors.
        """
        require_vectors(self._database.read(server_version), self.location)
        if not 1 <= spec.dimensions <= MOST_DIMENSIONS:
            raise StoreError(
                f"TiDB takes no vectors of {spec.dimensions:,} dimensions",
                hint=f"take a model of up to {MOST_DIMENSIONS:,}, or --database embedded",
            )
        build = Change(Action.INDEX, "build the vector index, on a TiFlash replica of the table")
        found = self._look_up(spec.name)
        if found is None:
            create = Change(Action.CREATE, f"make table {spec.name} in {self.location}")
            return [create, build] if index else [create]
        found.spec.require_same_vectors(spec)
        if found.is_adopted:
            tables = schema(found.spec)
            changes = self._database.read(lambda connection: plan_mending(connection, tables))
        else:
            changes = plan_adoption(found.spec.name)
        if index and self._index(found.spec).status().state is not IndexState.READY:
            changes.append(build)
        return changes

    def apply(
        self,
        spec: TableSpec,
        changes: Sequence[Change],
        *,
        wait: bool = True,
        progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Carry out a plan. It may be interrupted and repeated."""
        actions = {change.action for change in changes}
        if actions & {Action.CREATE, Action.ADOPT, Action.MEND}:
            progress("making the table")
            with self._lock(spec.name):
                self._make(spec, progress)
        if Action.INDEX in actions:
            self._index(spec).build(wait=wait, progress=progress)

    def drop(self, name: str) -> None:
        """Remove a table and all it holds. Raises NoTable where there is none of that name."""

        def work(connection: Connection) -> None:
            connection.execute(DropTable(tables.documents, if_exists=True))
            drop_parts(connection, tables)

        # Else another process could make the table anew when only some of it is dropped.
        with self._lock(name):
            tables = schema(self.open(name).spec)
            self._database.read(work)

    def checks(self) -> Iterator[Check]:
        """Look at the connection, the server's version, and TiFlash."""
        return checks(self._database, self._tls)

    def close(self) -> None:
        """Close the connections."""
        self._database.close()

    def _make(self, spec: TableSpec, progress: Callable[[str], None]) -> None:
        """Make, mend or adopt the table, if another process has not done it meanwhile."""
        found = self._look_up(spec.name)
        if found is None:
            self._create(_with_identity(spec._replace(identity="")))
            return
        found.spec.require_same_vectors(spec)
        if found.is_adopted:
            mend(self._database, schema(found.spec), progress)
        else:
            adopt(self._database, _with_identity(found.spec), progress)

    def _create(self, spec: TableSpec) -> None:
        """Make the tables, last the one whose comment says that all are there."""
        tables = schema(spec)

        def work(connection: Connection) -> None:
            # An attempt whose connection was lost may have made the table, or be at it.
            if comment_of(connection, spec.name) != encode_comment(spec):
                make_parts(connection, tables)
                connection.execute(CreateTable(tables.documents, if_not_exists=True))

        self._database.read(work)

    def _look_up(self, name: str) -> _Found | None:
        """Return a table, None where there is none of that name.

        Raises StoreError where it is neither jtv's nor the tutorial's.
        """

        def work(connection: Connection) -> _Found | None:
            row = connection.execute(_TABLE, {"table": name}).first()
            if row is None:
                return None
            if (found := _judge(connection, *row)) is None:
                raise StoreError(
                    f"table {row[0]} in {self.location} is neither jtv's nor the tutorial's",
                    hint="name another --table",
                )
            return found

        return self._database.read(work)

    def _judge_one_of_many(self, connection: Connection, name: str, comment: str) -> _Found | None:
        try:
            return _judge(connection, name, comment)
        except StoreError as error:
            self._database.on_notice(str(error))
            return None

    def _lock(self, name: str) -> AbstractContextManager[None]:
        """Keep other processes from making or dropping a table of that name, in any case."""
        return self._database.lock(f"jtv init {name.lower()}")

    def _index(self, spec: TableSpec) -> VectorIndex:
        return VectorIndex(self._database, spec.name)


def _judge(connection: Connection, name: str, comment: str) -> _Found | None:
    """Return what a table is, None where it is neither jtv's nor the tutorial's.

    Raises StoreError where a newer jtv made it.
    """
    if (said := decode_comment(name, comment)) is not None:
        return _Found(said.spec, is_adopted=not said.is_adopting, format=said.format)
    columns = connection.execute(_COLUMNS, {"table": name}).all()
    tutorial = tutorial_spec(name, columns)
    return _Found(tutorial, is_adopted=False) if tutorial else None


def _with_identity(spec: TableSpec) -> TableSpec:
    return spec if spec.identity else spec._replace(identity=secrets.token_hex(16))
