"""The nearest documents of those that fit a filter."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from jtv_cli.stores.tidb.fitting import Fitting
from jtv_cli.stores.tidb.hits import to_hits
from jtv_cli.stores.tidb.neighbours import nearest

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from jtv_cli.records import Filter, Hit, Vectors
    from jtv_cli.stores.tidb.schema import Schema

OVER_FETCH = 10
"""How many times k are asked of the index."""


class Found(NamedTuple):
    """What was found, and how."""

    hits: list[list[Hit]]
    """The hits of each query."""
    compared: int
    """For how many queries all that fit were compared."""
    fell_back: bool
    """Whether the index's answer to any did not do, so that every vector was looked at."""


def nearest_fitting(
    connection: Connection,
    schema: Schema,
    queries: Vectors,
    k: int,
    *,
    far: float,
    filter: Filter,
    by_index: bool,
) -> Found:
    """Find the k nearest that fit and are not farther, to each of (m, dimensions) queries.

    An index knows nothing of filters, so more are asked of it; where too few of them
    fit, all that fit are compared.
    """
    fitting = Fitting(connection, schema, filter)
    neighbours = _FittingNeighbours(connection, schema, fitting, k, far)
    found = [neighbours.by_index(query) if by_index else None for query in queries]
    hits = [
        neighbours.exactly(query) if some is None else some
        for query, some in zip(queries, found, strict=True)
    ]
    return Found(hits, found.count(None), neighbours.fell_back)


class _FittingNeighbours:
    """Looks for the k nearest documents that fit a filter and are not too far."""

    def __init__(
        self, connection: Connection, schema: Schema, fitting: Fitting, k: int, far: float
    ) -> None:
        self._connection = connection
        self._schema = schema
        self._fitting = fitting
        self._k = k
        self._far = far
        self.fell_back = False

    def by_index(self, query: Vectors) -> list[Hit] | None:
        """Return what is nearest of what the index finds, None where too few of that fit."""
        hits, are_all = self._look(query, self._k * OVER_FETCH, exact=False)
        return hits[: self._k] if are_all or len(hits) >= self._k else None

    def exactly(self, query: Vectors) -> list[Hit]:
        """Return what is nearest of all that fits."""
        wanted = self._k
        hits, are_all = self._look(query, wanted, exact=True)
        # What the server takes for fitting may not be.
        while len(hits) < self._k and not are_all:
            wanted *= OVER_FETCH
            hits, are_all = self._look(query, wanted, exact=True)
        return hits[: self._k]

    def _look(self, query: Vectors, wanted: int, *, exact: bool) -> tuple[list[Hit], bool]:
        """Return those that fit of so many nearest, and whether any farther are too far."""
        which = self._fitting.documents() if exact else ()
        rows, fell_back = nearest(
            self._connection, self._schema, query, wanted, exact=exact, which=which
        )
        self.fell_back |= fell_back
        near = [row for row in rows if row.distance <= self._far]
        are_all = len(near) < (wanted if exact else len(rows))
        return to_hits(self._connection, self._schema, near, self._fitting), are_all
