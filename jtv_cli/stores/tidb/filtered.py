"""The nearest documents of those that fit a filter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jtv_cli.stores.tidb.fitting import Fitting
from jtv_cli.stores.tidb.hits import to_hits
from jtv_cli.stores.tidb.search import nearest

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from jtv_cli.records import Filter, Hit, Vectors
    from jtv_cli.stores.tidb.schema import Schema

OVER_FETCH = 10
"""How many times k are asked of the index."""


def search(
    connection: Connection,
    schema: Schema,
    queries: Vectors,
    k: int,
    *,
    far: float,
    filter: Filter,
    by_index: bool,
    fell_back: Callable[[], object],
) -> tuple[list[list[Hit]], int]:
    """Return the k nearest that fit and are not farther, to each of (m, dimensions) queries.

    An index knows nothing of filters, so more are asked of it; where too few of them
    fit, all that fit are compared. The number returned says for how many queries, and `fell_back`
    hears of those for which the index had to be left out.
    """
    fitting = Fitting(connection, schema, filter)
    search = _Search(connection, schema, fitting, k, far, fell_back)
    found = [search.by_index(query) if by_index else None for query in queries]
    hits = [
        search.exactly(query) if some is None else some
        for query, some in zip(queries, found, strict=True)
    ]
    return hits, found.count(None)


class _Search:
    """Searches for the k nearest documents that fit a filter and are not too far."""

    def __init__(
        self,
        connection: Connection,
        schema: Schema,
        fitting: Fitting,
        k: int,
        far: float,
        fell_back: Callable[[], object],
    ) -> None:
        self._connection = connection
        self._schema = schema
        self._fitting = fitting
        self._k = k
        self._far = far
        self._fell_back = fell_back

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
        rows = nearest(
            self._connection,
            self._schema,
            query,
            wanted,
            exact=exact,
            which=which,
            fell_back=self._fell_back,
        )
        near = [row for row in rows if row.distance <= self._far]
        are_all = len(near) < (wanted if exact else len(rows))
        return to_hits(self._connection, self._schema, near, self._fitting), are_all
