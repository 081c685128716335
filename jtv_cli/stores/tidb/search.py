"""Searches of a table: the nearest documents, filters, hits, and how they were found."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from jtv_cli.batching import batched
from jtv_cli.records import (
    GOOD_RECALL,
    RECALL_AT,
    Filter,
    Hit,
    IndexCheck,
    IndexState,
    SearchResults,
)
from jtv_cli.stores.filters import all_compared, fits_source, metadata_test
from jtv_cli.stores.source_lines import decode_metadata
from jtv_cli.stores.tidb.conditions import all_of, any_of
from jtv_cli.stores.tidb.connection import fetch_all, rendered
from jtv_cli.stores.tidb.index import read_status, status_statements
from jtv_cli.stores.tidb.schema import NO_SOURCE, fetch_own, in_order, line_of
from jtv_cli.stores.tidb.statements import read_vector, vector_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import ColumnElement, Connection, Select

    from jtv_cli.records import Vectors
    from jtv_cli.stores.tidb.schema import Schema

    FirstOccurrence = tuple[str | None, int | None, Mapping[str, Any] | None, int | None]
    """Source, line, metadata and last line."""

# How many times k documents to ask the index for where some of them may be of no use.
_OVER_FETCH = 10
# The number of documents to ask the index for at least where the last ones are at one distance.
_TIED = 100
# Queries sent together: as many as fit into any packet, with this many bytes for each number.
_QUERY_BYTES = 1 << 19
_NUMBER_BYTES = 14
_MOST_QUERIES = 16
_FULL_SCAN = "; documents without a distance made it a full scan"


class Neighbors(NamedTuple):
    """The documents nearest to a query vector, and how they were found."""

    rows: Sequence[Any]
    """Those of `with_first_occurrence`, nearest first, and by id at the same distance."""
    was_scanned: bool
    """Whether the index's answer was of no use, so that all vectors were compared."""


class Matching:
    """The occurrences that match a filter, or all without one.

    The server finds, by `conditions`, the occurrences that may match. If this `is_exact`, they
    all do. Otherwise `matches` must be called with each.
    """

    def __init__(
        self, connection: Connection, schema: Schema, filter: Filter | None = None
    ) -> None:
        self._schema = schema
        self._filter = filter
        self.conditions: list[ColumnElement[bool]] = []
        self.is_exact = True
        self._has_metadata = metadata_test(filter or Filter())
        if filter is not None:
            self._add_source(connection, filter)
            metadata = schema.occurrences.c.metadata
            expressions = all_of(metadata, filter.where)
            if filter.where_any:
                expressions.append(any_of(metadata, filter.where_any))
            self.conditions += [each.sql for each in expressions]
            self.is_exact = all(each.is_exact for each in expressions)

    @property
    def is_everything(self) -> bool:
        """Whether there is no filter."""
        return self._filter is None

    def matches(self, metadata: str | None) -> bool:
        """Return whether an occurrence that meets the conditions matches, by its metadata."""
        return self._has_metadata(metadata)

    def of_documents(self) -> list[ColumnElement[bool]]:
        """Return the conditions that a document with a matching occurrence meets."""
        if self.is_everything:
            return []
        chosen = sa.select(self._schema.occurrences.c.document).where(*self.conditions)
        return [self._schema.documents.c.id.in_(chosen)]

    def _add_source(self, connection: Connection, filter: Filter) -> None:
        if not filter.selects_sources:
            return
        columns = self._schema.sources.c
        has_details = filter.has_times and self._schema.format > 1
        details = columns.details if has_details else sa.null()
        numbers = [NO_SOURCE] if fits_source(filter, None) else []
        numbers += [
            number
            for source, number, stored in connection.execute(
                sa.select(columns.source, columns.id, details)
            )
            if fits_source(filter, source, decode_metadata(stored))
        ]
        self.conditions.append(self._schema.occurrences.c.source.in_(numbers))


def matching_ids(
    connection: Connection,
    schema: Schema,
    filter: Filter,
    after: tuple[int, int, int],
    limit: int,
) -> tuple[list[int], tuple[int, int, int] | None]:
    """Return ids of documents that match a filter, in order, and where to go on, None at the end.

    `after` is an occurrence as document, source and line. Documents that match by several
    occurrences are returned once, unless the first is in an earlier call.
    """
    matching = Matching(connection, schema, filter)
    columns = schema.occurrences.c
    key = (columns.document, columns.source, columns.line)
    statement = (
        sa.select(*key, sa.null() if matching.is_exact else columns.metadata)
        .where(columns.document >= after[0], sa.tuple_(*key) > after, *matching.conditions)
        .order_by(*key)
        .limit(limit)
    )
    rows = connection.execute(statement).all()
    found = dict.fromkeys(row[0] for row in rows if matching.is_exact or matching.matches(row[3]))
    return list(found), tuple(rows[-1][:3]) if len(rows) == limit else None


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
    conditions: Sequence[ColumnElement[bool]] = (),
    fetched: Sequence[Any] | None = None,
) -> Neighbors:
    """Return the k documents nearest to a (dimensions,) query, less those without a distance.

    `conditions` are what they must meet; the index can only answer without any. `fetched` are
    the rows of `_first_statement`, if they have been read already.
    """
    if fetched is None:
        first = _first_statement(schema, query, k, exact=exact, conditions=conditions)
        [fetched] = fetch_own(connection, schema, first)
    if exact:
        return Neighbors([row for row in fetched if row.distance is not None], was_scanned=False)
    rows, more = fetched, max(_OVER_FETCH * k, _TIED)
    for wanted in (k + 1, more):
        if wanted == more:
            [rows] = fetch_own(connection, schema, _statement(schema, query, more, exact=False))
        if any(row.distance is None for row in rows):
            # They come first and take the place of others.
            return nearest(connection, schema, query, k, exact=True)._replace(was_scanned=True)
        if len(rows) < wanted or rows[k - 1].distance < rows[-1].distance:
            break
    return Neighbors(sorted(rows, key=lambda row: (row.distance, row.id))[:k], was_scanned=False)


def nearest_to_each(
    connection: Connection, schema: Schema, queries: Vectors, k: int, *, exact: bool
) -> Iterator[Neighbors]:
    """Yield what `nearest` returns for each of (m, dimensions) queries.

    The statements of several queries are sent in one round trip.
    """
    size = _QUERY_BYTES // (_NUMBER_BYTES * queries.shape[1])
    for some in batched(list(queries), min(max(size, 1), _MOST_QUERIES)):
        statements = [_first_statement(schema, query, k, exact=exact) for query in some]
        answers = fetch_own(connection, schema, *statements)
        for query, rows in zip(some, answers, strict=True):
            yield nearest(connection, schema, query, k, exact=exact, fetched=rows)


class SearchPlan(NamedTuple):
    """How the server answers a search, and the explanation of that."""

    is_indexed: bool
    explanation: str


INDEXED = SearchPlan(True, "the vector index was used")
EXACT = SearchPlan(False, "no index was used: --exact compares all vectors")


def search(
    connection: Connection,
    schema: Schema,
    queries: Vectors,
    k: int,
    *,
    far: float,
    plan: SearchPlan | None,
) -> SearchResults:
    """Return the k nearest of all documents to each query, up to a distance of `far`.

    Without a plan, the results have no explanation.
    """
    found = list(nearest_to_each(connection, schema, queries, k, exact=plan is EXACT))
    near = [[row for row in one.rows if row.distance <= far] for one in found]
    hits = [to_hits(connection, schema, rows) for rows in near]
    if plan is None:
        return SearchResults(hits)
    was_scanned = plan.is_indexed and any(one.was_scanned for one in found)
    return SearchResults(hits, plan.explanation + (_FULL_SCAN if was_scanned else ""))


def search_matching(
    connection: Connection,
    schema: Schema,
    queries: Vectors,
    k: int,
    *,
    far: float,
    filter: Filter,
    plan: SearchPlan,
) -> SearchResults:
    """Return the k nearest that match a filter to each query, up to a distance of `far`.

    An index cannot filter: it is asked for more than k, and where too few of them match, all
    that match are compared.
    """
    matching = Matching(connection, schema, filter)
    was_scanned, compared = False, 0

    def look(query: Vectors, wanted: int, *, exact: bool) -> tuple[list[Hit], bool]:
        """Return the matches of the nearest, and whether there are no more within reach."""
        nonlocal was_scanned
        conditions = matching.of_documents() if exact else ()
        rows, scanned = nearest(
            connection, schema, query, wanted, exact=exact, conditions=conditions
        )
        was_scanned |= scanned
        near = [row for row in rows if row.distance <= far]
        are_all = len(near) < (wanted if exact else len(rows))
        return to_hits(connection, schema, near, matching), are_all

    hits = []
    for query in queries:
        wanted = k
        found, are_all = (
            look(query, k * _OVER_FETCH, exact=False) if plan.is_indexed else ([], False)
        )
        if not are_all and len(found) < k:
            compared += 1
            found, are_all = look(query, wanted, exact=True)
        # Not all that meet the conditions match.
        while len(found) < k and not are_all:
            wanted *= _OVER_FETCH
            found, are_all = look(query, wanted, exact=True)
        hits.append(found[:k])
    explanation = plan.explanation + (_FULL_SCAN if was_scanned else "")
    return SearchResults(hits, explanation + all_compared(compared, len(queries)))


def explain_search(
    connection: Connection, schema: Schema, query: Vectors, k: int, *, has_filter: bool
) -> SearchPlan:
    """Return how the server answers a search.

    Only TiDB Cloud says why it does not use an index, in a warning.
    """
    wanted = _OVER_FETCH * k if has_filter else k
    statement = rendered(connection, _statement(schema, query, wanted + 1, exact=False))
    rows, warnings, *status_rows = fetch_all(
        connection,
        f"EXPLAIN {statement}",
        "SHOW WARNINGS",
        *status_statements(schema.documents.name),
        optional=1,
    )
    if any("annIndex:" in str(column) for row in rows for column in row):
        return INDEXED
    reason = "; ".join(row[2] for row in warnings if "index not used" in row[2])
    status = read_status(status_rows)
    if not reason and status.state is IndexState.READY:
        reason = "the optimizer chose a full scan (small table)"
    if not reason and status.state is IndexState.NONE:
        reason = f"the table has none; {status.detail}"
    return SearchPlan(False, f"no index was used: {reason or status.detail}")


def to_hits(
    connection: Connection, schema: Schema, rows: Sequence[Any], matching: Matching | None = None
) -> list[Hit]:
    """Return the hits of rows of `with_first_occurrence`, less those that do not match."""
    if matching is None or matching.is_everything:
        return [
            Hit(
                row.id,
                row.content,
                _clamped(row.distance),
                row.source,
                row.line,
                decode_metadata(row.metadata),
                row.end_line,
            )
            for row in rows
        ]
    firsts = _first_occurrences(connection, schema, {row.id for row in rows}, matching)
    return [
        Hit(row.id, row.content, _clamped(row.distance), *firsts[row.id])
        for row in rows
        if row.id in firsts
    ]


def measure_recall(connection: Connection, schema: Schema, queries: int) -> IndexCheck:
    """Return how much of what an exact search finds the index finds, and how fast.

    The table's own documents are the queries.
    """
    from statistics import mean, median

    shares, by_index, by_scan = [], [], []
    for document, vector in _sample(connection, schema, queries):
        found, seconds = _timed(connection, schema, document, vector, exact=False)
        by_index.append(seconds)
        wanted, seconds = _timed(connection, schema, document, vector, exact=True)
        by_scan.append(seconds)
        shares.append(len(found & wanted) / max(len(wanted), 1))
    recall = mean(shares) if shares else 1.0
    below = f"below {GOOD_RECALL}: where it matters, search --exact"
    return IndexCheck(
        queries=len(shares),
        recall=recall,
        candidates=None,
        needed=None,
        index_seconds=median(by_index or [0.0]),
        exact_seconds=median(by_scan or [0.0]),
        verdict="good" if recall >= GOOD_RECALL else below,
    )


def with_first_occurrence(schema: Schema, statement: Select[Any]) -> Select[Any]:
    """Return a statement for the same rows, with the first occurrence of each, in any order.

    `statement` selects id, content and distance. As a common table expression it is a query
    block of its own, which the vector index can answer, and it is evaluated once.
    """
    near = statement.cte("near")
    if not schema.has_parts:
        nulls = (sa.null().label(name) for name in ("source", "line", "metadata", "end_line"))
        return sa.select(near.c.id, near.c.content, near.c.distance, *nulls)
    columns, sources = schema.occurrences.c, schema.sources
    position = sa.func.row_number().over(partition_by=columns.document, order_by=in_order(schema))
    # The server may not have statistics that tell how few the documents are.
    first = (
        sa.select(schema.occurrences, position.label("position"))
        .join_from(near, schema.occurrences, columns.document == near.c.id)
        .prefix_with(f"/*+ INL_JOIN(`{schema.occurrences.name}`) */")
        .subquery("first_occurrence")
    )
    return (
        sa.select(
            near.c.id,
            near.c.content,
            near.c.distance,
            sources.c.source,
            line_of(first.c.line).label("line"),
            first.c.metadata,
            (first.c.end_line if schema.format > 1 else sa.null()).label("end_line"),
        )
        .prefix_with(f"/*+ INL_JOIN(`{sources.name}`) */")
        .outerjoin_from(near, first, sa.and_(first.c.document == near.c.id, first.c.position == 1))
        .outerjoin(sources, sources.c.id == first.c.source)
    )


def _first_statement(
    schema: Schema,
    query: Vectors,
    k: int,
    *,
    exact: bool,
    conditions: Sequence[ColumnElement[bool]] = (),
) -> Select[Any]:
    # A query block that orders by the id too is none that the index can answer. One more than k
    # shows whether the documents at the end are tied.
    return _statement(schema, query, k if exact else k + 1, exact=exact, conditions=conditions)


def _statement(
    schema: Schema,
    query: Vectors,
    k: int,
    *,
    exact: bool,
    conditions: Sequence[ColumnElement[bool]] = (),
) -> Select[Any]:
    columns = schema.documents.c
    # By the label: with the expression, the vector would be sent a second time.
    order = ("distance IS NULL", "distance", "id") if exact else ("distance",)
    inner = (
        sa.select(columns.id, columns.content, distance(schema, query))
        .where(*conditions)
        .order_by(*map(sa.literal_column, order))
        .limit(k)
    )
    outer = ("near.distance IS NULL", "near.distance", "near.id") if exact else ("near.distance",)
    return with_first_occurrence(schema, inner).order_by(*map(sa.literal_column, outer))


def _first_occurrences(
    connection: Connection, schema: Schema, ids: Iterable[int], matching: Matching
) -> Mapping[int, FirstOccurrence]:
    """Return the first matching occurrence of each document."""
    if not schema.has_parts or not ids:
        return {}
    columns, sources = schema.occurrences.c, schema.sources.c
    position = sa.func.row_number().over(partition_by=columns.document, order_by=in_order(schema))
    has_end_line = schema.format > 1
    numbered = (
        sa.select(schema.occurrences, position.label("position"))
        .where(columns.document.in_(list(ids)), *matching.conditions)
        .subquery()
    )
    statement = (
        sa.select(
            numbered.c.document,
            sources.source,
            line_of(numbered.c.line),
            numbered.c.metadata,
            numbered.c.end_line if has_end_line else sa.null(),
        )
        .outerjoin_from(numbered, schema.sources, sources.id == numbered.c.source)
        .order_by(numbered.c.document, numbered.c.position)
    )
    if matching.is_exact:
        statement = statement.where(numbered.c.position == 1)
    found: dict[int, FirstOccurrence] = {}
    for document, source, line, metadata, end_line in connection.execute(statement):
        if document not in found and matching.matches(metadata):
            found[document] = source, line, decode_metadata(metadata), end_line
    return found


def _clamped(distance: float | None) -> float | None:
    """Return the distance within its range, which rounding in float32 may exceed."""
    return None if distance is None else min(max(distance, 0.0), 2.0)


def _sample(connection: Connection, schema: Schema, size: int) -> list[tuple[int, Vectors]]:
    """Return ids and vectors of up to `size` documents, spread evenly over all ids."""
    import numpy as np

    columns = schema.documents.c
    first, last = connection.execute(
        sa.select(sa.func.min(columns.id), sa.func.max(columns.id))
    ).one()
    if first is None:
        return []
    statement = sa.select(columns.id, columns.content_vec).order_by(columns.id).limit(1)
    found = {}
    for start in np.unique(np.linspace(first, last, size).astype(int)).tolist():
        # The last documents may have been deleted since.
        row = connection.execute(statement.where(columns.id >= start)).first()
        if row is None or row.content_vec is None:
            continue
        vector = read_vector(row.content_vec)
        if vector.any():
            found[row.id] = vector
    return list(found.items())


def _timed(
    connection: Connection, schema: Schema, document: int, vector: Vectors, *, exact: bool
) -> tuple[set[int], float]:
    """Return the ids of a document's neighbors, and how many seconds that took."""
    started = time.perf_counter()
    found = nearest(connection, schema, vector, RECALL_AT + 1, exact=exact)
    seconds = time.perf_counter() - started
    return set([row.id for row in found.rows if row.id != document][:RECALL_AT]), seconds
