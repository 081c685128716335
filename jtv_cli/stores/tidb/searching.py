"""Searches of one table, and what can be said of the way that they took."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jtv_cli.records import IndexState, SearchResults
from jtv_cli.stores.filters import all_compared
from jtv_cli.stores.tidb.hits import to_hits
from jtv_cli.stores.tidb.neighbours import explain, nearest

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from jtv_cli.records import Filter, Hit, Vectors
    from jtv_cli.stores.tidb.connection import Database
    from jtv_cli.stores.tidb.index import VectorIndex
    from jtv_cli.stores.tidb.schema import Schema

_FELL_BACK = "; documents without a distance made it look at every vector"


class Searching:
    """Searches one table. Raises StoreError."""

    def __init__(self, database: Database, schema: Schema, index: VectorIndex) -> None:
        self._database = database
        self._schema = schema
        self._index = index

    def all(
        self, vectors: Vectors, k: int, *, exact: bool, far: float, explained: bool
    ) -> SearchResults:
        """Return the k nearest to each vector, none farther, and if `explained`, how."""

        def work(connection: Connection) -> tuple[list[list[Hit]], bool]:
            found = [nearest(connection, self._schema, v, k, exact=exact) for v in vectors]
            near = ([row for row in one.rows if row.distance <= far] for one in found)
            hits = [to_hits(connection, self._schema, rows) for rows in near]
            return hits, any(one.fell_back for one in found)

        hits, fell_back = self._database.read(work)
        if not explained:
            return SearchResults(hits)
        by_index, how = self._way(vectors[0], k, exact=exact)
        return SearchResults(hits, how + (_FELL_BACK if by_index and fell_back else ""))

    def fitting(
        self, vectors: Vectors, k: int, filter: Filter, *, exact: bool, far: float
    ) -> SearchResults:
        """Return the k nearest that fit a filter, none farther, and how they were found."""
        from jtv_cli.stores.tidb.filtered import OVER_FETCH, nearest_fitting

        if not self._schema.has_parts:
            why = "the tutorial's table has no sources and no metadata"
            return SearchResults([[] for _ in vectors], why)
        by_index, how = self._way(vectors[0], k * OVER_FETCH, exact=exact)
        found = self._database.read(
            lambda connection: nearest_fitting(
                connection,
                self._schema,
                vectors,
                k,
                far=far,
                filter=filter,
                by_index=by_index,
            )
        )
        how += _FELL_BACK if found.fell_back else ""
        how += all_compared(found.compared, len(vectors))
        return SearchResults(found.hits, how)

    def _way(self, query: Vectors, k: int, *, exact: bool) -> tuple[bool, str]:
        """Return whether the index answers a search, as the server plans it, or why not."""
        if exact:
            return False, "no index was used: --exact looks at every vector"
        used, why = self._database.read(
            lambda connection: explain(connection, self._schema, query, k)
        )
        if used:
            return True, "the vector index was used"
        status = self._index.status()
        if not why and status.state is IndexState.READY:
            why = "the server prefers to look at every vector of so small a table"
        return False, f"no index was used: {why or status.detail}"
