"""The full-text index of a table, in clusters that have them: those of TiDB Cloud Starter.

It is built on TiFlash. The multilingual parser finds the words of most languages, Chinese and
Japanese among them. See https://docs.pingcap.com/tidbcloud/vector-search-full-text-search-sql
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from jtv_cli.errors import NoFullText
from jtv_cli.records import IndexState, IndexStatus
from jtv_cli.stores.tidb.errors import DUPLICATE_INDEX, NO_FULL_TEXT, code_of, is_serverless
from jtv_cli.stores.tidb.schema import fetch_own
from jtv_cli.stores.tidb.search import Matching, distance, to_hits, with_first_occurrence

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection, Select

    from jtv_cli.records import Filter, Hit, Vectors
    from jtv_cli.stores.tidb.connection import Database
    from jtv_cli.stores.tidb.schema import Schema

# How many times k documents to ask the index for where some of them may be of no use.
_OVER_FETCH = 10
_NO_DISTANCE = sa.null().label("distance")

_VERSION = sa.text("SELECT VERSION()")
_NAME = "jtv_full_text"
_ADD = (
    f"ADD FULLTEXT INDEX {_NAME} (content) WITH PARSER MULTILINGUAL ADD_COLUMNAR_REPLICA_ON_DEMAND"
)
# Under any name, which stays quoted: users may have created the index by hand.
_ON_CONTENT = re.compile(r"FULLTEXT (?:INDEX|KEY) (`(?:[^`]|``)+`)\s*\(`content`\)", re.IGNORECASE)


class FullTextIndex:
    """The full-text index of one table, over its texts."""

    def __init__(self, database: Database, table: str, location: str) -> None:
        self._database = database
        self._table = table
        self._location = location

    def status(self) -> IndexStatus:
        """Return whether there is an index; the server does not say how far it is."""
        if self._database.read(self._name) is None:
            detail = "create it with: jtv index build --full-text (TiDB Cloud Starter)"
            return IndexStatus(IndexState.NONE, detail=detail)
        return IndexStatus(IndexState.READY, detail="multilingual parser, on TiFlash")

    def require(self) -> None:
        """Raise NoFullText if the table has no full-text index."""
        if self._database.read(self._name) is not None:
            return
        version = self._database.read(lambda connection: connection.scalar(_VERSION))
        if is_serverless(str(version)):
            raise NoFullText.of_table(self._table)
        raise self._unsupported()

    def build(self, progress: Callable[[str], None]) -> None:
        """Create the index unless there is one.

        Raises NoFullText if the cluster has no full-text indexes.
        """
        if self._database.read(self._name) is not None:
            return
        progress("building the full-text index")
        self._database.read(self._add, is_slow=True)

    def drop(self) -> bool:
        """Drop the index; return whether there was one.

        TiDB truncates, drops and renames no table that has one.
        """
        name = self._database.read(self._name)
        if name is not None:
            # The driver takes % for a placeholder.
            drop = f"ALTER TABLE `{self._table}` DROP INDEX {name.replace('%', '%%')}"
            self._database.read(lambda connection: connection.exec_driver_sql(drop))
        return name is not None

    def _add(self, connection: Connection) -> None:
        try:
            connection.exec_driver_sql(f"ALTER TABLE `{self._table}` {_ADD}")
        except DBAPIError as error:
            if code_of(error) in NO_FULL_TEXT:
                raise self._unsupported() from error
            # An attempt whose connection was lost, or another process, may have created it.
            if code_of(error) != DUPLICATE_INDEX:
                raise

    def _name(self, connection: Connection) -> str | None:
        """Return the name of the index, quoted, None if there is none."""
        row = connection.exec_driver_sql(f"SHOW CREATE TABLE `{self._table}`").one()
        found = _ON_CONTENT.search(row[1])
        return found[1] if found else None

    def _unsupported(self) -> NoFullText:
        return NoFullText(
            f"{self._location} has no full-text indexes: only TiDB Cloud Starter has them",
            hint="search without --hybrid and --keyword, or use an embedded store",
        )


def best_matches(
    connection: Connection,
    schema: Schema,
    query: str,
    k: int,
    *,
    vector: Vectors | None = None,
    far: float = 2.0,
    filter: Filter | None = None,
) -> list[Hit]:
    """Return the k documents that match a query best, in order.

    Their scores are not comparable with those of other queries, so they are left out.

    With a (dimensions,) vector, hits have distances, none greater than `far`. The index cannot
    filter: it is asked for more until there are k hits, or no more documents.
    """
    matching = Matching(connection, schema, filter)
    is_filtered = filter is not None or (vector is not None and far < 2.0)
    wanted = k * _OVER_FETCH if is_filtered else k
    while True:
        ids = [row.id for row in connection.execute(match_statement(schema, query, wanted))]
        columns = schema.documents.c
        measured = _NO_DISTANCE if vector is None else distance(schema, vector)
        statement = sa.select(columns.id, columns.content, measured)
        chosen = with_first_occurrence(schema, statement.where(columns.id.in_(ids)))
        [found] = fetch_own(connection, schema, chosen) if ids else [[]]
        hits = {hit.id: hit for hit in to_hits(connection, schema, found, matching)}
        near = [
            hits[number]
            for number in ids
            if number in hits and (vector is None or is_near(hits[number], far))
        ]
        if len(near) >= k or len(ids) < wanted:
            return near[:k]
        wanted *= _OVER_FETCH


def match_statement(schema: Schema, query: str, k: int) -> Select[Any]:
    """Return the statement for the ids of the k documents that match a query best.

    The index answers this form alone: the match as the only condition and as the order, with
    a limit.
    """
    columns = schema.documents.c
    match = sa.func.fts_match_word(sa.bindparam("query", query), columns.content)
    return sa.select(columns.id).where(match).order_by(match.desc()).limit(k)


def is_near(hit: Hit, far: float) -> bool:
    """Return whether a hit has a distance of `far` at most."""
    return hit.distance is not None and hit.distance <= far
