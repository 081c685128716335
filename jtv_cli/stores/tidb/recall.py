"""How much of what is nearest the vector index finds, measured on the table's own documents."""

from __future__ import annotations

import time
from statistics import mean, median
from typing import TYPE_CHECKING

import numpy as np
import sqlalchemy as sa

from jtv_cli.records import GOOD_RECALL, RECALL_AT, IndexCheck
from jtv_cli.stores.tidb.neighbours import nearest

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from jtv_cli.records import Vectors
    from jtv_cli.stores.tidb.schema import Schema


def check(connection: Connection, schema: Schema, queries: int) -> IndexCheck:
    """Compare the index's answers with exact ones."""
    shares, by_index, by_all = [], [], []
    for document, vector in _sample(connection, schema, queries):
        found, seconds = _timed(connection, schema, document, vector, exact=False)
        by_index.append(seconds)
        wanted, seconds = _timed(connection, schema, document, vector, exact=True)
        by_all.append(seconds)
        shares.append(len(found & wanted) / max(len(wanted), 1))
    recall = mean(shares) if shares else 1.0
    below = f"below {GOOD_RECALL}: where it matters, search --exact"
    return IndexCheck(
        queries=len(shares),
        recall=recall,
        candidates=None,
        needed=None,
        index_seconds=median(by_index or [0.0]),
        exact_seconds=median(by_all or [0.0]),
        verdict="good" if recall >= GOOD_RECALL else below,
    )


def _sample(connection: Connection, schema: Schema, size: int) -> list[tuple[int, Vectors]]:
    """Return ids and vectors of so many documents, spread evenly over all ids."""
    columns = schema.documents.c
    first, last = connection.execute(
        sa.select(sa.func.min(columns.id), sa.func.max(columns.id))
    ).one()
    if first is None:
        return []
    statement = sa.select(columns.id, columns.content_vec).order_by(columns.id).limit(1)
    starts = np.unique(np.linspace(first, last, size).astype(int)).tolist()
    found = {}
    for start in starts:
        number, vector = connection.execute(statement.where(columns.id >= start)).one()
        if vector is not None and vector.any():
            found[number] = vector
    return list(found.items())


def _timed(
    connection: Connection, schema: Schema, document: int, vector: Vectors, *, exact: bool
) -> tuple[set[int], float]:
    """Return the ids of a document's neighbours, and how long that took."""
    started = time.perf_counter()
    found = nearest(connection, schema, vector, RECALL_AT + 1, exact=exact)
    seconds = time.perf_counter() - started
    return set([row.id for row in found.rows if row.id != document][:RECALL_AT]), seconds
