"""The full-text index of a table, in clusters that have them: those of TiDB Cloud Starter.

It is built on TiFlash. The multilingual parser finds the words of most languages, Chinese and
Japanese among them. See https://docs.pingcap.com/tidbcloud/vector-search-full-text-search-sql
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from jtv_cli.errors import NoFullText
from jtv_cli.records import IndexState, IndexStatus
from jtv_cli.stores.tidb.errors import (
    DUPLICATE_INDEX,
    NO_FULL_TEXT,
    DatabaseError,
    code_of,
    is_serverless,
)
from jtv_cli.stores.tidb.search import (
    Matching,
    distance_of,
    fetch_hits,
    matching_hits,
    select_measured,
    with_first_occurrence,
)
from jtv_cli.stores.tidb.sql import literal, literals

if TYPE_CHECKING:
    from collections.abc import Callable

    from jtv_cli.records import Filter, Hit, Vectors
    from jtv_cli.stores.tidb.connection import Connection, Database
    from jtv_cli.stores.tidb.schema import Schema

# How many times k documents to ask the index for where some of them may be of no use.
_OVER_FETCH = 10

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
        version = self._database.read(lambda connection: connection.scalar("SELECT VERSION()"))
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
            drop = f"ALTER TABLE `{self._table}` DROP INDEX {name}"
            self._database.read(lambda connection: connection.run(drop))
        return name is not None

    def _add(self, connection: Connection) -> None:
        try:
            connection.run(f"ALTER TABLE `{self._table}` {_ADD}")
        except DatabaseError as error:
            if code_of(error) in NO_FULL_TEXT:
                raise self._unsupported() from error
            # An attempt whose connection was lost, or another process, may have created it.
            if code_of(error) != DUPLICATE_INDEX:
                raise

    def _name(self, connection: Connection) -> str | None:
        """Return the name of the index, quoted, None if there is none."""
        [created] = connection.rows(f"SHOW CREATE TABLE `{self._table}`")
        found = _ON_CONTENT.search(created[1])
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
        ids = [number for (number,) in connection.rows(match_statement(schema, query, wanted))]
        near = f"{select_measured(schema, vector)} WHERE id IN {literals(ids)}"
        chosen = with_first_occurrence(schema, near)
        [found] = fetch_hits(connection, schema, chosen) if ids else [[]]
        hits = {hit.id: hit for hit in matching_hits(connection, schema, found, matching)}
        best = [
            hits[number]
            for number in ids
            if number in hits and (vector is None or distance_of(hits[number]) <= far)
        ]
        if len(best) >= k or len(ids) < wanted:
            return best[:k]
        wanted *= _OVER_FETCH


def match_statement(schema: Schema, query: str, k: int) -> str:
    """Return the statement for the ids of the k documents that match a query best.

    The index answers this form alone: the match as the only condition and as the order, with
    a limit.
    """
    match = f"FTS_MATCH_WORD({literal(query)}, content)"
    return f"SELECT id FROM {schema.documents} WHERE {match} ORDER BY {match} DESC LIMIT {k}"
