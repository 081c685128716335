"""Where the documents of one table were read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from jtv_cli.batching import batched
from jtv_cli.records import SourceLine
from jtv_cli.stores.places import lines_to_scan
from jtv_cli.stores.tidb.schema import NO_SOURCE, end_line_of
from jtv_cli.stores.tidb.statements import KEYS
from jtv_cli.text import text_hash

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Connection

    from jtv_cli.stores.places import Noted
    from jtv_cli.stores.tidb.schema import Schema


def noted(
    connection: Connection, schema: Schema, source: str | None, places: Sequence[SourceLine]
) -> set[Noted]:
    """Return what is noted of a source, of these places and perhaps of others."""
    columns = schema.occurrences.c
    statement = sa.select(columns.line, columns.document, columns.metadata, end_line_of(schema))
    number = _number(schema, source)
    if lines := lines_to_scan(places):
        rows = connection.execute(
            statement.where(columns.source == number, columns.line.between(*lines))
        )
        return {tuple(row) for row in rows}
    # With a constant, each of the keys is a point of the primary key.
    known = connection.scalar(sa.select(number))
    parts = [] if known is None else batched(places, KEYS)
    statements = (statement.where(is_at(schema, known, part)) for part in parts)
    return {tuple(row) for one in statements for row in connection.execute(one)}


def source_lines(
    connection: Connection, schema: Schema, source: str | None, after: SourceLine, limit: int
) -> list[SourceLine]:
    """Return so many places of a source by line; `after` is the one to go on from."""
    columns = schema.occurrences.c
    statement = (
        sa.select(columns.line, columns.document, sa.null(), end_line_of(schema))
        .where(columns.source == _number(schema, source), columns.line >= after.line)
        .where(sa.or_(columns.line > after.line, columns.document > after.document))
        .order_by(columns.line, columns.document)
        .limit(limit)
    )
    return [SourceLine(*row) for row in connection.execute(statement)]


def is_at(schema: Schema, source: int | None, places: Sequence[SourceLine]) -> ColumnElement[bool]:
    """Return what is true of the occurrences at these places of a source."""
    columns = schema.occurrences.c
    keys = [(place.document, source, place.line) for place in places]
    return sa.tuple_(columns.document, columns.source, columns.line).in_(keys)


def _number(schema: Schema, source: str | None) -> ColumnElement[Any]:
    """Return what stands for a source, null where there is none of that name."""
    if source is None:
        return sa.literal(NO_SOURCE)
    columns = schema.sources.c
    return sa.select(columns.id).where(columns.source_hash == text_hash(source)).scalar_subquery()
