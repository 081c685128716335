"""A TiDB database as a store: which of its tables are jtv's, and how to create one."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

from jtv_cli.errors import JtvError, NoTable, StoreError, TableDropped, TableExists
from jtv_cli.records import Change, ChangeKind, Check, IndexState, Outcome
from jtv_cli.stores.contract import Store
from jtv_cli.stores.tidb.connection import Database
from jtv_cli.stores.tidb.errors import is_serverless, version_error
from jtv_cli.stores.tidb.full_text import FullTextIndex
from jtv_cli.stores.tidb.index import VectorIndex, read_status, status_statements
from jtv_cli.stores.tidb.renaming import rename_table
from jtv_cli.stores.tidb.rows import insert_nothing
from jtv_cli.stores.tidb.schema import (
    FORMAT,
    MAX_DIMENSIONS,
    comment_of,
    create_tables,
    decode_comment,
    drop_parts,
    encode_comment,
)
from jtv_cli.stores.tidb.sql import literal
from jtv_cli.stores.tidb.table import TidbTable
from jtv_cli.stores.tidb.tutorial import (
    convert,
    plan_conversion,
    plan_repair,
    repair,
    repair_statements,
    tutorial_spec,
)
from jtv_cli.stores.tidb.url import parse_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from jtv_cli.records import TableSpec
    from jtv_cli.stores.tidb.connection import Connection, Rows

_SELECT_TABLES = (
    "SELECT table_name, table_comment, @@max_allowed_packet FROM information_schema.tables"
    " WHERE table_schema = DATABASE() AND table_name"
)
_CANDIDATES = (
    f"{_SELECT_TABLES} IN (SELECT table_name FROM information_schema.columns"
    " WHERE table_schema = DATABASE() AND column_name = 'content_vec') ORDER BY table_name"
)
_VERSION = "SELECT VERSION()"
_TLS_STATUS = "SHOW STATUS LIKE 'Ssl%'"
_TIFLASH_NODES = "SELECT COUNT(*) FROM information_schema.cluster_info WHERE type = 'tiflash'"
# The numbers of TiDB tables that a table consists of, and of statements about its index.
_TABLES = 3
_STATUS = 4


class _Found(NamedTuple):
    """A table of jtv's, or the tutorial's, which is not converted."""

    spec: TableSpec
    is_converted: bool
    packet_bytes: int
    format: int = FORMAT


class TidbStore(Store):
    """A database of a TiDB cluster. Nothing is connected to before the first call.

    `writable` says that its tables are opened to write to them. `notice` is called with a
    line for each retry, and if there can be no index.

    Raises UsageError for a URL that cannot be used.
    """

    def __init__(self, url: str, *, writable: bool = False, notice: Callable[[str], None]) -> None:
        address = parse_url(url)
        self.location = address.location
        self.notes: Sequence[str] = address.notes
        self._tls = address.tls
        self._is_writable = writable
        self._database = Database(address, notice)

    def tables(self) -> list[TableSpec]:
        """Return jtv's tables and the tutorial's, by name.

        `notice` is called for a table of a newer jtv.
        """

        def work(connection: Connection) -> list[TableSpec]:
            rows = connection.rows(_CANDIDATES)
            found = [self._identify_if_possible(connection, *row) for row in rows]
            return [table.spec for table in found if table is not None]

        return self._database.read(work)

    def open(self, name: str) -> TidbTable:
        more: Sequence[str] = ()
        if self._is_writable:
            # What a writer asks next, in the same round trip.
            more = [*insert_nothing(name), *status_statements(name)]

        def work(connection: Connection) -> tuple[_Found | None, Sequence[Rows]]:
            rows, *rest = connection.fetch_all(_select_table(name), *more, optional=len(more))
            return self._find(connection, rows), rest

        found, rest = self._database.read(work)
        if found is None:
            raise NoTable(name, self.location)
        inserted, status = rest[:_TABLES], rest[_TABLES:]
        return TidbTable(
            self._database,
            found.spec,
            is_converted=found.is_converted,
            table_format=found.format,
            packet_bytes=found.packet_bytes,
            is_writable=len(inserted) == _TABLES,
            # Without the privilege to see the server's jobs, the last one is missing.
            index_status=read_status(status) if len(status) >= _STATUS - 1 else None,
        )

    def plan(self, spec: TableSpec, *, index: bool = True) -> list[Change]:
        """Return what is to do: create, repair or convert the table, and build its index.

        Raises TableMismatch if it has another model, StoreError if it is neither jtv's nor the
        tutorial's, or the server is not a TiDB with vectors.
        """

        def look_up(connection: Connection) -> _Found | None:
            [[version]], rows = connection.fetch_all(_VERSION, _select_table(spec.name))
            if (failure := version_error(version, self.location)) is not None:
                raise failure
            return self._find(connection, rows)

        found = self._database.read(look_up)
        if not 1 <= spec.dimensions <= MAX_DIMENSIONS:
            raise StoreError(
                f"TiDB cannot store vectors of {spec.dimensions:,} dimensions",
                hint=f"use a model of up to {MAX_DIMENSIONS:,} dimensions, or --database embedded",
            )
        build = Change(
            ChangeKind.INDEX, "build the vector index, on a TiFlash replica of the table"
        )
        if found is None:
            create = Change(ChangeKind.CREATE, f"create table {spec.name} in {self.location}")
            return [create, build] if index else [create]
        found.spec.require_same_vectors(spec)
        name = found.spec.name
        questions = repair_statements(name) if found.is_converted else []
        status = status_statements(name) if index else ()
        rows = self._database.read(
            lambda connection: connection.fetch_all(*questions, *status, optional=int(index))
        )
        answers, status_rows = rows[: len(questions)], rows[len(questions) :]
        changes = plan_repair(name, answers) if questions else plan_conversion(name)
        if index and read_status(status_rows).state is not IndexState.READY:
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
        kinds = {change.kind for change in changes}
        if kinds - {ChangeKind.INDEX}:
            progress("creating the table")
            with self._lock(spec.name):
                self._create_or_change(spec, progress)
        if ChangeKind.INDEX in kinds:
            self._index(spec).build(wait=wait, progress=progress)

    def drop(self, name: str) -> None:
        # Without the lock, another process could create the table again halfway.
        with self._lock(name):
            spec = self.open(name).spec
            # TiDB drops no table that has a full-text index.
            self._full_text(spec.name).drop()
            self._drop(spec)

    def rename(
        self,
        table: TableSpec,
        name: str,
        *,
        replacing: TableSpec | None = None,
        progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Give a table another name; one statement renames all of its TiDB tables.

        The one that it replaces is set aside by the same statement, and dropped afterwards.
        TiDB renames no table with a full-text index: it is dropped first, and built again.

        Raises TableDropped and TableExists, and StoreError for a table that is not jtv's.
        """
        with ExitStack() as locks:
            for each in sorted({table.name.lower(), name.lower()}):
                locks.enter_context(self._lock(each))
            existing = self._require_renamable(table, name, replacing)
            full_text = self._full_text(table.name)
            has_full_text = full_text.drop()
            if existing is not None:
                self._full_text(name).drop()
            progress(f"renaming table {table.name}")
            try:
                aside = rename_table(self._database, table, name, existing)
            except JtvError:
                if has_full_text:
                    self._database.on_notice(
                        f"the full-text index of table {table.name} was dropped; build it again"
                        f" with: jtv index build --full-text --table {table.name}"
                    )
                raise
            if aside is not None:
                progress(f"dropping the table that was called {name}")
                self._drop(aside)
        if has_full_text:
            try:
                self._full_text(name).build(progress)
            except JtvError as error:
                raise StoreError(
                    f"table {table.name} is now called {name}, but its full-text index could not"
                    f" be built again: {error.message}",
                    hint=f"build it with: jtv index build --full-text --table {name}",
                ) from error

    def checks(self) -> Iterator[Check]:
        """Check the connection, the server's version, and TiFlash."""
        try:
            status, [[version]], *nodes = self._database.read(
                lambda connection: connection.fetch_all(
                    _TLS_STATUS, _VERSION, _TIFLASH_NODES, optional=1
                )
            )
        except StoreError as error:
            yield Check("connection", Outcome.FAILED, str(error))
            return
        yield self._check_connection(dict(map(tuple, status)))
        failure = version_error(version, self.location)
        if failure is not None:
            yield Check("server", Outcome.FAILED, str(failure))
            return
        yield Check("server", Outcome.OK, version)
        yield self._check_tiflash(version, int(nodes[0][0][0]) if nodes else None)

    def close(self) -> None:
        self._database.close()

    def _drop(self, spec: TableSpec) -> None:
        def work(connection: Connection) -> None:
            connection.run(f"DROP TABLE IF EXISTS `{spec.name}`")
            drop_parts(connection, spec.name)

        self._database.read(work)

    def _require_renamable(
        self, table: TableSpec, name: str, replacing: TableSpec | None
    ) -> TableSpec | None:
        """Return the table that is replaced, None if the name is free."""
        found, existing = self._look_up(table.name), self._look_up(name)
        if found is None or found.spec.identity != table.identity:
            raise TableDropped(table.name)
        if not found.is_converted:
            raise StoreError(
                f"table {table.name} in {self.location} is not a jtv table yet",
                hint="convert it with: jtv init (which shows the changes first)",
            )
        if existing is None:
            return None
        if replacing is None or existing.spec.identity != replacing.identity:
            raise TableExists(table.name, name)
        return existing.spec

    def _create_or_change(self, spec: TableSpec, progress: Callable[[str], None]) -> None:
        """Create, repair or convert the table, unless another process has just done it."""
        found = self._look_up(spec.name)
        if found is None:
            self._create(_with_identity(spec._replace(identity="")))
            return
        found.spec.require_same_vectors(spec)
        if found.is_converted:
            repair(self._database, found.spec.name, progress)
        else:
            convert(self._database, _with_identity(found.spec), progress)

    def _create(self, spec: TableSpec) -> None:
        def work(connection: Connection) -> None:
            # An attempt whose connection was lost may have created the table.
            if comment_of(connection, spec.name) != encode_comment(spec):
                create_tables(connection, spec)

        self._database.read(work)

    def _look_up(self, name: str) -> _Found | None:
        """Return a table, None if there is none of that name.

        Raises StoreError if it is neither jtv's nor the tutorial's.
        """
        look_up = _select_table(name)
        return self._database.read(
            lambda connection: self._find(connection, connection.rows(look_up))
        )

    def _find(self, connection: Connection, rows: Sequence[Sequence[Any]]) -> _Found | None:
        """Return the table of the one row of `_select_table`, None if there is no row.

        Raises StoreError if it is neither jtv's nor the tutorial's.
        """
        if not rows:
            return None
        if (found := _identify(connection, *rows[0])) is None:
            raise StoreError(
                f"table {rows[0][0]} in {self.location} is neither jtv's nor the tutorial's",
                hint="choose another table with --table",
            )
        return found

    def _identify_if_possible(
        self, connection: Connection, name: str, comment: str, packet_bytes: int
    ) -> _Found | None:
        try:
            return _identify(connection, name, comment, packet_bytes)
        except StoreError as error:
            self._database.on_notice(str(error))
            return None

    def _lock(self, name: str) -> AbstractContextManager[None]:
        """Keep other processes from creating or dropping a table of that name, in any case."""
        return self._database.lock(f"jtv init {name.lower()}")

    def _full_text(self, name: str) -> FullTextIndex:
        return FullTextIndex(self._database, name, self.location)

    def _index(self, spec: TableSpec) -> VectorIndex:
        return VectorIndex(self._database, spec.name)

    def _check_connection(self, status: Mapping[str, str]) -> Check:
        """Return how the connection is secured, with notes on what is weak about that."""
        tls = self._tls
        if not status.get("Ssl_cipher"):
            how = "not encrypted"
        elif tls.context is None:
            how = f"{status['Ssl_version']}, {status['Ssl_cipher']}, not verified"
        else:
            how = f"{status['Ssl_version']}, {status['Ssl_cipher']}, signed by {tls.signer}"
            how += ", host name checked" if tls.context.check_hostname else ""
        outcome = Outcome.WARNING if tls.notes else Outcome.OK
        return Check("connection", outcome, "; ".join((f"{self.location}, {how}", *tls.notes)))

    def _check_tiflash(self, version: str, nodes: int | None) -> Check:
        """Return whether the cluster has TiFlash. `nodes` is None if they were not counted."""
        name = "TiFlash"
        if is_serverless(version):
            detail = "included in every serverless cluster"
            return Check(name, Outcome.OK, detail, has_index=True)
        if nodes is None:
            try:
                nodes = self._database.read(
                    lambda connection: int(connection.scalar(_TIFLASH_NODES) or 0)
                )
            except StoreError as error:
                return Check(name, Outcome.WARNING, f"cannot count its nodes: {error}")
        if not nodes:
            detail = "no nodes, so there is no vector index and searches are full scans; add a node"
            return Check(name, Outcome.WARNING, detail)
        detail = f"{nodes:,} {'node' if nodes == 1 else 'nodes'}"
        return Check(name, Outcome.OK, detail, has_index=True)


def _identify(connection: Connection, name: str, comment: str, packet_bytes: int) -> _Found | None:
    """Return what a table is, None if it is neither jtv's nor the tutorial's.

    Raises StoreError if a newer jtv created it.
    """
    if (description := decode_comment(name, comment)) is not None:
        return _Found(
            description.spec,
            is_converted=not description.is_converting,
            packet_bytes=packet_bytes,
            format=description.format,
        )
    columns = (
        "SELECT column_name, column_type, is_nullable, column_key, extra"
        " FROM information_schema.columns"
        f" WHERE table_schema = DATABASE() AND table_name = {literal(name)}"
        " ORDER BY ordinal_position"
    )
    tutorial = tutorial_spec(name, connection.rows(columns))
    return _Found(tutorial, is_converted=False, packet_bytes=packet_bytes) if tutorial else None


def _select_table(name: str) -> str:
    return f"{_SELECT_TABLES} = {literal(name)}"


def _with_identity(spec: TableSpec) -> TableSpec:
    return spec if spec.identity else spec._replace(identity=os.urandom(16).hex())
