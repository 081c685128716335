"""Searches of a table: the nearest documents, filters, hits, and how they were found."""

from __future__ import annotations

import time
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

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
from jtv_cli.stores.tidb.index import read_status, status_statements
from jtv_cli.stores.tidb.schema import NO_LINE, NO_SOURCE, fetch_own
from jtv_cli.stores.tidb.sql import literals
from jtv_cli.stores.tidb.statements import read_vector, vector_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from jtv_cli.records import Vectors
    from jtv_cli.stores.tidb.connection import Connection
    from jtv_cli.stores.tidb.schema import Schema


# How many times k documents to ask the index for where some of them may be of no use.
_OVER_FETCH = 10
# The number of documents to ask the index for at least where the last ones are at one distance.
_TIED = 100
# Queries sent together: as many as fit into any packet, with this many bytes for each number.
_QUERY_BYTES = 1 << 20
_NUMBER_BYTES = 14
_MOST_QUERIES = 64
_FULL_SCAN = "; documents without a distance made it a full scan"


class Neighbors(NamedTuple):
    """The documents nearest to a query vector, and how they were found."""

    hits: Sequence[Hit]
    """Nearest first, and by id at the same distance."""
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
        self.conditions: list[str] = []
        self.is_exact = True
        self._has_metadata = metadata_test(filter or Filter())
        if filter is not None and filter.selects_sources:
            self.conditions.append(self._of_sources(connection, filter))
        if filter is not None and (filter.where or filter.where_any):
            from jtv_cli.stores.tidb.conditions import conditions_of

            conditions, self.is_exact = conditions_of(filter)
            self.conditions += conditions

    @property
    def is_everything(self) -> bool:
        """Whether there is no filter."""
        return self._filter is None

    def matches(self, metadata: str | None) -> bool:
        """Return whether an occurrence that meets the conditions matches, by its metadata."""
        return self._has_metadata(metadata)

    def of_documents(self) -> str:
        """Return the condition that a document with a matching occurrence meets."""
        if self.is_everything:
            return ""
        return f"id IN (SELECT document FROM {self._schema.occurrences}{where(*self.conditions)})"

    def _of_sources(self, connection: Connection, filter: Filter) -> str:
        has_details = filter.has_times and self._schema.format > 1
        details = "details" if has_details else "NULL"
        numbers = [NO_SOURCE] if fits_source(filter, None) else []
        numbers += [
            number
            for source, number, stored in connection.rows(
                f"SELECT source, id, {details} FROM {self._schema.sources}"
            )
            if fits_source(filter, source, decode_metadata(stored))
        ]
        return f"source IN {literals(numbers)}"


def where(*conditions: str) -> str:
    """Return a WHERE clause, an empty one without conditions; an empty one is none."""
    text = " AND ".join(filter(None, conditions))
    return f" WHERE {text}" if text else ""


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
    key = "document, source, line"
    conditions = [
        f"document >= {after[0]} AND ({key}) > {literals(after)}",
        *matching.conditions,
    ]
    rows = connection.rows(
        f"SELECT {key}, {'NULL' if matching.is_exact else 'metadata'} FROM {schema.occurrences}"
        f"{where(*conditions)} ORDER BY {key} LIMIT {limit}"
    )
    found = dict.fromkeys(row[0] for row in rows if matching.is_exact or matching.matches(row[3]))
    return list(found), tuple(rows[-1][:3]) if len(rows) == limit else None


def distance(query: Vectors | None) -> str:
    """Return the distance of a document to a (dimensions,) query, null where it has none."""
    return "NULL" if query is None else f"VEC_COSINE_DISTANCE(content_vec, '{vector_text(query)}')"


def select_measured(schema: Schema, query: Vectors | None) -> str:
    """Return the beginning of a statement for `with_first_occurrence`."""
    return f"SELECT id, content, {distance(query)} AS distance FROM {schema.documents}"


def fetch_hits(connection: Connection, schema: Schema, *statements: str) -> list[list[Hit]]:
    """Return the hits that statements of `with_first_occurrence` find.

    Raises TableDropped as `fetch_own` does.
    """
    found = fetch_own(connection, schema, *statements)
    return [[_to_hit(*row) for row in rows] for rows in found]


def _to_hit(
    number: int,
    content: str,
    distance: float | None,
    source: str | None,
    line: int | None,
    metadata: str | None,
    end_line: int | None,
) -> Hit:
    # Rounding in float32 may exceed the range.
    near = None if distance is None else min(max(distance, 0.0), 2.0)
    return Hit(number, content, near, source, line, decode_metadata(metadata), end_line)


def distance_of(hit: Hit) -> float:
    """Return the distance of a hit, infinity for a document without one."""
    return inf if hit.distance is None else hit.distance


def nearest(
    connection: Connection,
    schema: Schema,
    query: Vectors,
    k: int,
    *,
    exact: bool,
    condition: str = "",
    fetched: Sequence[Hit] | None = None,
) -> Neighbors:
    """Return the k documents nearest to a (dimensions,) query, less those without a distance.

    `condition` is what they must meet in an exact search. `fetched` is what
    `_first_statement` has found, if it has been run already.
    """
    if fetched is None:
        first = _first_statement(schema, query, k, exact=exact, condition=condition)
        [fetched] = fetch_hits(connection, schema, first)
    if exact:
        return Neighbors([hit for hit in fetched if hit.distance is not None], was_scanned=False)
    hits, more = fetched, max(_OVER_FETCH * k, _TIED)
    for wanted in (k + 1, more):
        if wanted == more:
            [hits] = fetch_hits(connection, schema, _statement(schema, query, more, exact=False))
        if any(hit.distance is None for hit in hits):
            # They come first and take the place of others.
            return nearest(connection, schema, query, k, exact=True)._replace(was_scanned=True)
        if len(hits) < wanted or distance_of(hits[k - 1]) < distance_of(hits[-1]):
            break
    in_order = sorted(hits, key=lambda hit: (distance_of(hit), hit.id))
    return Neighbors(in_order[:k], was_scanned=False)


def nearest_to_each(
    connection: Connection, schema: Schema, queries: Vectors, k: int, *, exact: bool
) -> Iterator[Neighbors]:
    """Yield what `nearest` returns for each of (m, dimensions) queries.

    The statements of several queries are sent in one round trip.
    """
    size = _QUERY_BYTES // (_NUMBER_BYTES * queries.shape[1])
    for some in batched(list(queries), min(max(size, 1), _MOST_QUERIES)):
        statements = [_first_statement(schema, query, k, exact=exact) for query in some]
        answers = fetch_hits(connection, schema, *statements)
        for query, hits in zip(some, answers, strict=True):
            yield nearest(connection, schema, query, k, exact=exact, fetched=hits)


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
    hits = [[hit for hit in one.hits if distance_of(hit) <= far] for one in found]
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
        condition = matching.of_documents()
        hits, scanned = nearest(connection, schema, query, wanted, exact=exact, condition=condition)
        was_scanned |= scanned
        near = [hit for hit in hits if distance_of(hit) <= far]
        are_all = len(near) < (wanted if exact else len(hits))
        return matching_hits(connection, schema, near, matching), are_all

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
    rows, warnings, *status_rows = connection.fetch_all(
        f"EXPLAIN {_statement(schema, query, wanted + 1, exact=False)}",
        "SHOW WARNINGS",
        *status_statements(schema.spec.name),
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


def matching_hits(
    connection: Connection, schema: Schema, hits: Sequence[Hit], matching: Matching
) -> list[Hit]:
    """Return the hits that match, each with its first occurrence that does."""
    if matching.is_everything:
        return list(hits)
    firsts = _first_occurrences(connection, schema, {hit.id for hit in hits}, matching)
    return [hit._replace(**firsts[hit.id]) for hit in hits if hit.id in firsts]


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


def with_first_occurrence(schema: Schema, near: str, order: str = "id") -> str:
    """Return a statement for the same rows, with the first occurrence of each.

    `near` selects id, content and distance. As a common table expression it is a query block of
    its own, which the vector index can answer, and it is evaluated once.
    """
    if not schema.has_parts:
        return f"WITH near AS ({near}) SELECT near.*, NULL, NULL, NULL, NULL FROM near{_by(order)}"
    # The server may not have statistics that tell how few the documents are.
    first = (
        f"SELECT /*+ INL_JOIN({schema.occurrences}) */ {schema.occurrences}.*, {_position(schema)}"
        f" FROM near JOIN {schema.occurrences} ON document = near.id"
    )
    return (
        f"WITH near AS ({near}) SELECT /*+ INL_JOIN({schema.sources}) */"
        f" near.id, near.content, near.distance, {_first_columns(schema)}"
        f" FROM near LEFT JOIN ({first}) AS first_occurrence"
        " ON first_occurrence.document = near.id AND first_occurrence.position = 1"
        f" LEFT JOIN {schema.sources} ON {schema.sources}.id = first_occurrence.source{_by(order)}"
    )


def _by(order: str) -> str:
    return f" ORDER BY {', '.join(f'near.{item}' for item in order.split(', '))}"


def _position(schema: Schema) -> str:
    return f"ROW_NUMBER() OVER (PARTITION BY document ORDER BY {schema.in_order}) AS position"


def _first_columns(schema: Schema) -> str:
    """Return the columns of a subquery `first_occurrence` that is joined with the sources."""
    line = f"NULLIF(first_occurrence.line, {NO_LINE})"
    return f"{schema.sources}.source, {line}, first_occurrence.metadata, {schema.end_line}"


def _first_statement(
    schema: Schema, query: Vectors, k: int, *, exact: bool, condition: str = ""
) -> str:
    # A query block that orders by the id too is none that the index can answer. One more than k
    # shows whether the documents at the end are tied.
    return _statement(schema, query, k if exact else k + 1, exact=exact, condition=condition)


def _statement(schema: Schema, query: Vectors, k: int, *, exact: bool, condition: str = "") -> str:
    near = select_measured(schema, query)
    # The index can only answer without a condition.
    near += where(condition) if exact else ""
    # By the label: with the expression, the vector would be sent a second time.
    order = "distance IS NULL, distance, id" if exact else "distance"
    return with_first_occurrence(schema, f"{near} ORDER BY {order} LIMIT {k}", order)


def _first_occurrences(
    connection: Connection, schema: Schema, ids: Iterable[int], matching: Matching
) -> dict[int, dict[str, Any]]:
    """Return what a hit says of the first matching occurrence of each document."""
    if not schema.has_parts or not ids:
        return {}
    conditions = where(f"document IN {literals(ids)}", *matching.conditions)
    numbered = f"SELECT *, {_position(schema)} FROM {schema.occurrences}{conditions}"
    rows = connection.rows(
        f"SELECT document, {_first_columns(schema)}"
        f" FROM ({numbered}) AS first_occurrence"
        f" LEFT JOIN {schema.sources} ON {schema.sources}.id = first_occurrence.source"
        f"{where('position = 1') if matching.is_exact else ''} ORDER BY document, position"
    )
    found: dict[int, dict[str, Any]] = {}
    for document, source, line, metadata, end_line in rows:
        if document not in found and matching.matches(metadata):
            found[document] = {
                "source": source,
                "line": line,
                "metadata": decode_metadata(metadata),
                "end_line": end_line,
            }
    return found


def _sample(connection: Connection, schema: Schema, size: int) -> list[tuple[int, Vectors]]:
    """Return ids and vectors of up to `size` documents, spread evenly over all ids."""
    import numpy as np

    [[first, last]] = connection.rows(f"SELECT MIN(id), MAX(id) FROM {schema.documents}")
    if first is None:
        return []
    found = {}
    for start in np.unique(np.linspace(first, last, size).astype(int)).tolist():
        # The last documents may have been deleted since.
        rows = connection.rows(
            f"SELECT id, content_vec FROM {schema.documents} WHERE id >= {start}"
            " ORDER BY id LIMIT 1"
        )
        if not rows or rows[0][1] is None:
            continue
        vector = read_vector(rows[0][1])
        if vector.any():
            found[rows[0][0]] = vector
    return list(found.items())


def _timed(
    connection: Connection, schema: Schema, document: int, vector: Vectors, *, exact: bool
) -> tuple[set[int], float]:
    """Return the ids of a document's neighbors, and how many seconds that took."""
    started = time.perf_counter()
    found = nearest(connection, schema, vector, RECALL_AT + 1, exact=exact)
    seconds = time.perf_counter() - started
    return set([hit.id for hit in found.hits if hit.id != document][:RECALL_AT]), seconds
