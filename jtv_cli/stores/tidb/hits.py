"""Rows of documents as hits, each with the first place where its text was read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from jtv_cli.records import Hit
from jtv_cli.stores.metadata import decode_metadata
from jtv_cli.stores.tidb.fitting import Fitting
from jtv_cli.stores.tidb.schema import in_order, line_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import Connection

    from jtv_cli.stores.tidb.schema import Schema

    First = tuple[str | None, int | None, Mapping[str, Any] | None]
    """Source, line and metadata."""


def to_hits(
    connection: Connection, schema: Schema, rows: Sequence[Any], fitting: Fitting | None = None
) -> list[Hit]:
    """Return the hits of rows with id, content and distance, less those that do not fit."""
    fitting = fitting or Fitting(connection, schema, None)
    firsts = _firsts(connection, schema, {row.id for row in rows}, fitting)
    return [
        Hit(row.id, row.content, _clamped(row.distance), *firsts.get(row.id, ()))
        for row in rows
        if fitting.is_everything or row.id in firsts
    ]


def _firsts(
    connection: Connection, schema: Schema, ids: Iterable[int], fitting: Fitting
) -> Mapping[int, First]:
    """Return the first occurrences that fit: as `in_order` says."""
    if not schema.has_parts or not ids:
        return {}
    columns, sources = schema.occurrences.c, schema.sources.c
    position = sa.func.row_number().over(partition_by=columns.document, order_by=in_order(schema))
    numbered = (
        sa.select(schema.occurrences, position.label("position"))
        .where(columns.document.in_(list(ids)), *fitting.conditions)
        .subquery()
    )
    statement = (
        sa.select(
            numbered.c.document, sources.source, line_of(numbered.c.line), numbered.c.metadata
        )
        .outerjoin_from(numbered, schema.sources, sources.id == numbered.c.source)
        .order_by(numbered.c.document, numbered.c.position)
    )
    if fitting.is_exact:
        statement = statement.where(numbered.c.position == 1)
    found: dict[int, First] = {}
    for document, source, line, metadata in connection.execute(statement):
        if document not in found and fitting.fits(metadata):
            found[document] = source, line, decode_metadata(metadata)
    return found


def _clamped(distance: float | None) -> float | None:
    """Return the distance within its range, which float32 sums may end beside."""
    return None if distance is None else min(max(distance, 0.0), 2.0)
