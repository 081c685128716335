"""Which occurrences fit a filter, and the documents that have one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from jtv_cli.stores.filters import fits_metadata, fits_source, needles
from jtv_cli.stores.tidb.schema import NO_SOURCE

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection

    from jtv_cli.records import Filter
    from jtv_cli.stores.tidb.schema import Schema


class Fitting:
    """A filter on one table, or none, with the sources that there are now.

    The server finds, by `conditions`, the occurrences that may fit. Where `is_exact`, they
    all do. Else the text of a field stands somewhere in their metadata, perhaps as a part of
    something else, and `fits` must be asked about each.
    """

    def __init__(self, connection: Connection, schema: Schema, filter: Filter | None) -> None:
        self._schema = schema
        self._filter = filter
        self.conditions: list[ColumnElement[bool]] = []
        if filter is not None:
            self._add_source(connection, filter)
            self.conditions += [self._may_have(*field) for field in filter.where]
        self.is_exact = filter is None or not filter.where

    @property
    def is_everything(self) -> bool:
        """Whether there is no filter."""
        return self._filter is None

    def fits(self, metadata: str | None) -> bool:
        """Return whether the metadata of an occurrence, which may fit, does."""
        return self._filter is None or fits_metadata(self._filter, metadata)

    def documents(self) -> list[ColumnElement[bool]]:
        """Return what is true of the documents that may fit."""
        if self.is_everything:
            return []
        document = self._schema.occurrences.c.document
        chosen = sa.select(document).where(*self.conditions)
        return [self._schema.documents.c.id.in_(chosen)]

    def _add_source(self, connection: Connection, filter: Filter) -> None:
        if filter.source is None:
            return
        columns = self._schema.sources.c
        rows = connection.execute(sa.select(columns.source, columns.id))
        named = [(None, NO_SOURCE), *map(tuple, rows)]
        numbers = [number for source, number in named if fits_source(filter, source)]
        self.conditions.append(self._schema.occurrences.c.source.in_(numbers))

    def _may_have(self, name: str, text: str) -> ColumnElement[bool]:
        """Return whether the JSON of metadata has the field, with the text as a string or as is."""
        metadata = self._schema.occurrences.c.metadata
        return sa.or_(*(sa.func.instr(metadata, needle) > 0 for needle in needles(name, text)))
