"""Searches of one table: by its index or exactly, of all documents or of those that match."""

from __future__ import annotations

from math import isqrt
from typing import TYPE_CHECKING, NamedTuple

from jtv_cli.batching import batched
from jtv_cli.records import RECALL_AT
from jtv_cli.stores.filters import all_compared, metadata_test
from jtv_cli.stores.sqlite.documents import PARAMETERS, Documents, marks
from jtv_cli.stores.sqlite.index import Index
from jtv_cli.stores.sqlite.occurrences import Occurrences
from jtv_cli.stores.sqlite.terms import query_terms

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from jtv_cli.records import Filter, Hit, Vectors
    from jtv_cli.stores.distances import Ids, Nearest
    from jtv_cli.stores.sqlite.codes import CodeDistances
    from jtv_cli.stores.sqlite.index import Generation

# Candidates for the RECALL_AT nearest, and for each neighbor more.
_LEAST_CANDIDATES = 512
_CANDIDATES_PER_NEIGHBOR = 12
# A row read by its id takes as long as so many that are read in sequence.
_READ_BY_ID_COST = 4
# A search is settled once no more than this share of the best is in the later half of the
# candidates.
_LATE_SHARE = 0.01
_MOST_EXPANSIONS = 16

# In the order of the scores, so that no more rows are read than are needed.
_MATCHES = """
SELECT d.id, f.rank, {vector} FROM "{{name}}_full_text" f CROSS JOIN "{{name}}" d ON d.id = f.rowid
WHERE "{{name}}_full_text" MATCH ? {condition} ORDER BY f.rank LIMIT ?
"""

_SAMPLE = 512  # documents whose share of matches stands for that of all
_MOST_CHOSEN = 100_000  # ids held, and rows read one by one


class Plan(NamedTuple):
    """How a search goes: through a generation of the index, or exactly if that is None.

    If documents are `chosen`, only these are compared. If fewer than `least` of the nearest
    candidates are among the rows that are read, the index is of no use.
    """

    generation: Generation | None
    candidates: int
    explanation: str
    chosen: Collection[int] | None = None
    least: int = 0


class Effort(NamedTuple):
    """The most candidates compared for a query, and how many queries the index did not answer."""

    candidates: int
    unanswered: int


def usual_candidates(documents: int) -> int:
    """Return how many candidates contain the ten nearest of so many documents, almost always."""
    return max(_LEAST_CANDIDATES, 2 * isqrt(documents))


def are_worth_it(candidates: int, documents: int) -> bool:
    """Return whether rescoring so many candidates is faster than comparing all documents."""
    return candidates * _READ_BY_ID_COST < documents


def plan_search(documents: Documents, index: Index, k: int) -> Plan:
    """Return how to search for the k nearest of all documents."""
    usable, count = index.usable(), documents.count()
    if usable is None:
        if not index.is_worth_it():
            return plan_exact("a small table needs no index")
        return plan_exact("no index; create one with: jtv index build")
    if usable.candidates == 0:
        return plan_exact("jtv index check found the recall of the index too low for this table")
    candidates = max(usual_candidates(count), usable.candidates or 0)
    candidates += max(0, k - RECALL_AT) * _CANDIDATES_PER_NEIGHBOR
    if not are_worth_it(candidates, count):
        return plan_exact(f"for {k:,} of {count:,} documents that is faster")
    return Plan(usable, candidates, f"index: {candidates:,} candidates of {count:,} documents")


def plan_exact(reason: str) -> Plan:
    """Return a search that compares every vector."""
    return Plan(None, 0, f"exact: {reason}")


def explanation(plan: Plan, effort: Effort, queries: int) -> str:
    """Return in words how so many queries were answered."""
    words = plan.explanation
    if effort.candidates > plan.candidates:
        words += f", expanded to {effort.candidates:,}"
    return words + all_compared(effort.unanswered, queries)


def search(
    documents: Documents,
    index: Index,
    plan: Plan,
    unit_queries: Vectors,
    nearest: Sequence[Nearest],
) -> Effort:
    """Offer what may be near each of (m, dimensions) queries to the `nearest` of that query.

    That is every document; or the candidates of the index and what it does not cover yet;
    or the chosen documents. If the index is of no use, all documents are compared.
    """
    from jtv_cli.stores.distances import offer

    generation = plan.generation
    if plan.chosen is None:
        blocks = documents.vectors(after=generation.last if generation else 0)
    else:
        blocks = documents.vectors_of(plan.chosen)
    for ids, vectors in blocks:
        offer(ids, vectors, unit_queries, nearest)
    if generation is None:
        return Effort(0, 0)
    compared = [
        _rescore(documents, plan, ids, distances, unit_queries[position], nearest[position])
        for position, (ids, distances) in enumerate(index.distances(generation, unit_queries))
    ]
    left = [position for position, count in enumerate(compared) if count is None]
    if left:
        again = [nearest[position] for position in left]
        for best in again:
            best.clear()
        search(documents, index, plan_exact(""), unit_queries[left], again)
    return Effort(max(count or 0 for count in compared), len(left))


def _rescore(
    documents: Documents,
    plan: Plan,
    ids: Ids,
    distances: CodeDistances,
    query: Vectors,
    best: Nearest,
) -> int | None:
    """Compare the candidates nearest by code, and twice as many until the result is settled.

    It is not settled while the later half of the candidates still contains some of the best,
    because many documents are about as near, or because the nearest by code were deleted.

    Returns how many were compared, None if the index is of no use.
    """
    from jtv_cli.stores.distances import offer
    from jtv_cli.stores.sqlite.codes import nearest_codes

    seen = existing = 0
    while seen < ids.size:
        candidates = ids[nearest_codes(distances, 2 * seen or plan.candidates)]
        for found, vectors in documents.vectors_of(candidates[seen:].tolist()):
            offer(found, vectors, query[None], [best])
            existing += found.size
        if existing < plan.least:
            return None
        seen = candidates.size
        is_settled = best.share_of(candidates[seen // 2 :]) <= _LATE_SHARE
        if existing >= (plan.candidates if is_settled else _MOST_EXPANSIONS * plan.candidates):
            break
        if not are_worth_it(2 * seen, ids.size):
            return None
    return existing


def search_text(
    documents: Documents,
    query: str,
    k: int,
    *,
    unit_query: Vectors | None = None,
    max_distance: float | None = None,
) -> list[Hit]:
    """Return the k documents that the words of a query find best, by their score.

    With a (dimensions,) unit query, hits have distances, none greater than `max_distance`.
    """
    terms = query_terms(query)
    match = documents.full_text.match(terms, documents.count())
    if match is None:
        return []
    statement = _MATCHES.format(
        vector="NULL" if unit_query is None else "d.vector", condition=documents.document_condition
    )
    rows = documents.execute(statement, (match.expression, k if max_distance is None else -1))
    found: list[tuple[int, float | None]] = []
    scores: dict[int, float] = {}
    while len(found) < k and (block := rows.fetchmany(min(k, PARAMETERS))):
        ids, ranks, blobs = zip(*block, strict=True)
        # FTS5's rank is negative: the lower, the better.
        scores.update(zip(ids, (-rank / match.most for rank in ranks), strict=True))
        if unit_query is None:
            found.extend((number, None) for number in ids)
            continue
        distances = distances_of(documents, blobs, unit_query)
        most = 2.0 if max_distance is None else max_distance
        found.extend(one for one in zip(ids, distances, strict=True) if one[1] <= most)
    return [hit._replace(score=scores[hit.id]) for hit in documents.hits(found[:k])]


def distances_of(
    documents: Documents, blobs: Sequence[bytes], unit_query: Vectors
) -> Sequence[float]:
    """Return the distances of vectors, as they are stored, to a (dimensions,) unit query."""
    from jtv_cli.stores.distances import distances_to

    distances: list[float] = distances_to(unit_query, documents.decode(blobs)).tolist()
    return distances


class FilteredDocuments(Documents):
    """Those of a table's documents that have an occurrence that matches a filter.

    SQLite calls Python for each occurrence. Which sources match is looked up beforehand.
    """

    def __init__(self, documents: Documents, filter: Filter) -> None:
        super().__init__(documents.connection, documents.spec)
        self._filter = filter
        self._sources = set(Occurrences(documents).source_ids(filter))
        self._has_metadata = metadata_test(filter)
        documents.connection.define("jtv_fits", 2, self._fits)
        # Without metadata, the index by document alone has all that needs to be read.
        metadata = "metadata" if filter.conditions else "NULL"
        self.occurrence_condition = f"AND jtv_fits(source, {metadata})"
        self.document_condition = (
            'AND EXISTS (SELECT 1 FROM "{name}_occurrences"'
            f" WHERE document = d.id {self.occurrence_condition})"
        )

    def narrow(self, plan: Plan) -> Plan:
        """Return how to search these documents, given how all of them would be searched.

        If few documents match, they are read by their ids and compared. To read n of them
        takes as long as to see which of n candidates of the index match; to find c that match
        takes c * count / n candidates, which is more than n if n * n < c * count.

        If many match, their share of the nearest candidates should be about their share of all
        documents. If it is less than half of that, which `least` says, what matches is far
        from the query, and codes hardly rank what is far: all that match are compared.
        """
        count = self.count()
        few = count // _READ_BY_ID_COST
        if plan.generation is not None:
            few = isqrt(plan.candidates * count)
        chosen = self._choose(min(few, _MOST_CHOSEN))
        if chosen is not None:
            matching = f"exact: {len(chosen):,} of {count:,} documents match the filter"
            return plan._replace(generation=None, chosen=chosen, explanation=matching)
        plan = plan._replace(explanation=f"{plan.explanation}, of those that match the filter")
        if plan.generation is None:
            return plan
        return plan._replace(least=int(plan.candidates * self._share(plan.generation) / 2))

    def matching(self, after: int, limit: int) -> list[int]:
        """Return up to `limit` ids greater than `after` of documents that match, in order."""
        found = self.execute(
            'SELECT DISTINCT document FROM "{name}_occurrences" INDEXED BY "{name}_by_document"'
            f" WHERE document > ? {self.occurrence_condition} ORDER BY document LIMIT ?",
            (after, limit),
        )
        return [number for (number,) in found]

    def _share(self, generation: Generation) -> float:
        """Return about which share of all codes belongs to existing documents that match."""
        sample = self.sample(_SAMPLE)
        matching = sum(ids.size for ids, _ in self.vectors_of(sample))
        existing = self.count() / max(1, Index(self).codes(generation))
        return min(1.0, existing) * matching / max(1, len(sample))

    def _choose(self, most: int) -> Collection[int] | None:
        """Return the ids of the documents that match, None if they are more than `most`."""
        found: set[int] = set()
        for which, parameters in self._conditions():
            statement = (
                f'SELECT document FROM "{{name}}_occurrences" WHERE {which}'
                f" {self.occurrence_condition}"
            )
            for (document,) in self.execute(statement, parameters):
                found.add(document)
                if len(found) > most:
                    return None
        return found

    def _conditions(self) -> Iterator[tuple[str, Sequence[int]]]:
        """Yield conditions, with parameters, that together find all occurrences that match."""
        if not self._filter.selects_sources:
            yield ("metadata IS NOT NULL" if self._filter.conditions else "TRUE"), []
            return
        for part in batched(sorted(self._sources), PARAMETERS):
            yield f"source IN ({marks(len(part))})", part

    def _fits(self, source: int, metadata: str | None) -> bool:
        return source in self._sources and self._has_metadata(metadata)
