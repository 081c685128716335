"""The nearest documents to a query, by the vector index where there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from jtv_cli.stores.tidb.statements import vector_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Connection, Select

    from jtv_cli.records import Vectors
    from jtv_cli.stores.tidb.schema import Schema


class Neighbours(NamedTuple):
    """The documents nearest to a query, and how they were found."""

    rows: Sequence[Any]
    """Id, content and distance, nearest first."""
    fell_back: bool
    """Whether the index's answer did not do, so that every vector was looked at."""


def distance(schema: Schema, query: Vectors) -> ColumnElement[float]:
    """Return the distance of each document to a (dimensions,) query, null where it has none."""
    column = schema.documents.c.content_vec
    return sa.func.vec_cosine_distance(column, vector_text(query)).label("distance")


def nearest(
    connection: Connection,
    schema: Schema,
    query: Vectors,
    k: int,
    *,
    exact: bool,
    which: Sequence[ColumnElement[bool]] = (),
) -> Neighbours:
    """Return the k nearest documents that have a distance.

    `which` is true of them; with any of that, the index cannot answer.
    """
    statement = _statement(schema, query, k, exact=exact).where(*which)
    rows = connection.execute(statement).all()
    if not exact and any(row.distance is None for row in rows):
        # They sort first: beside them, fewer than k would be left.
        return nearest(connection, schema, query, k, exact=True)._replace(fell_back=True)
    return Neighbours([row for row in rows if row.distance is not None], fell_back=False)


def explain(connection: Connection, schema: Schema, query: Vectors, k: int) -> tuple[bool, str]:
    """Return whether the server answers a search from the index, and if not, why.

    That is empty where the server does not say: only TiDB Cloud's does, as a warning.
    """
    compiled = _statement(schema, query, k, exact=False).compile(dialect=connection.dialect)
    plan = connection.exec_driver_sql(f"EXPLAIN {compiled}", compiled.construct_params())
    if any("annIndex:" in str(column) for row in plan for column in row):
        return True, ""
    warnings = connection.exec_driver_sql("SHOW WARNINGS").all()
    return False, "; ".join(row[2] for row in warnings if "index not used" in row[2])


def _statement(schema: Schema, query: Vectors, k: int, *, exact: bool) -> Select[Any]:
    """Return the search. With more than one thing to order by, the index cannot answer it."""
    columns = schema.documents.c
    # By the label, for the expression again would send the vector again.
    order = ("distance IS NULL", "distance", "id") if exact else ("distance",)
    return (
        sa.select(columns.id, columns.content, distance(schema, query))
        .order_by(*map(sa.literal_column, order))
        .limit(k)
    )
