"""Searches of one table: by its index or exactly, of all documents or of those that match."""

from __future__ import annotations

from math import isqrt
from typing import TYPE_CHECKING, NamedTuple

from jtv_cli.batching import batched
from jtv_cli.records import RECALL_AT
from jtv_cli.stores.filters import all_compared, metadata_test
from jtv_cli.stores.sqlite.conditions import rough_condition
from jtv_cli.stores.sqlite.documents import PARAMETERS, Documents, marks
from jtv_cli.stores.sqlite.index import Index
from jtv_cli.stores.sqlite.occurrences import Occurrences
from jtv_cli.stores.sqlite.terms import query_terms

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from jtv_cli.records import Filter, Hit, Vectors
    from jtv_cli.stores.distances import Ids, Nearest
    from jtv_cli.stores.sqlite.codes import CodeDistances
    from jtv_cli.stores.sqlite.full_text import Match
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

# What it takes to find the documents that match a filter, as multiples of reading an occurrence
# in sequence: to test the document of a candidate, and to read the vector of a document.
_TEST_COST = 20
_READ_COST = 30
# Fewer documents of a sample that match say little of all documents.
_LEAST_SAMPLED = 4
# So many more candidates are tested at first, because a sample says only about how many match.
_SAMPLING_ERROR = 1.25
_MOST_CHOSEN = 100_000  # ids held, and rows read one by one


class Plan(NamedTuple):
    """How a search goes: through a generation of the index, or exactly if that is None.

    If documents are `chosen`, only these are compared. With a filter, the `first` nearest by
    code are tested before others, so that there are enough candidates; if fewer than `least` of
    them match, or more than `most` had to be tested, the index is of no use.
    """

    generation: Generation | None
    candidates: int
    explanation: str
    chosen: Collection[int] | None = None
    first: int = 0
    most: int = 0
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
    return plan_index(usable, candidates, count)


def plan_index(generation: Generation, candidates: int, documents: int) -> Plan:
    """Return a search through a generation of the index."""
    words = f"index: {candidates:,} candidates of {documents:,} documents"
    return Plan(generation, candidates, words)


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
        # A filter has chosen them: they need not be tested again.
        blocks = Documents.vectors_of(documents, plan.chosen)
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
        rest = plan_exact("")
        if isinstance(documents, FilteredDocuments):
            rest = documents.remaining()
        search(documents, index, rest, unit_queries[left], again)
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
        candidates = ids[nearest_codes(distances, 2 * seen or plan.first or plan.candidates)]
        for found, vectors in documents.vectors_of(candidates[seen:].tolist()):
            offer(found, vectors, query[None], [best])
            existing += found.size
        if existing < plan.least:
            return None
        seen = candidates.size
        is_settled = best.share_of(candidates[seen // 2 :]) <= _LATE_SHARE
        if existing >= (plan.candidates if is_settled else _MOST_EXPANSIONS * plan.candidates):
            break
        if 2 * seen > plan.most if plan.most else not are_worth_it(2 * seen, ids.size):
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
    terms, count = query_terms(query), documents.count()
    match = documents.full_text.match(terms, count)
    hits = _matching(documents, match, k, unit_query, max_distance)
    if match is not None and match.is_partial and len(hits) < k:
        # Too few are left of what the rarest terms find.
        match = documents.full_text.match(terms, count, thorough=True)
        hits = _matching(documents, match, k, unit_query, max_distance)
    return hits


def _matching(
    documents: Documents,
    match: Match | None,
    k: int,
    unit_query: Vectors | None,
    max_distance: float | None,
) -> list[Hit]:
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
        from jtv_cli.stores.distances import distances_to

        distances = distances_to(unit_query, documents.decode(blobs)).tolist()
        most = 2.0 if max_distance is None else max_distance
        found.extend(one for one in zip(ids, distances, strict=True) if one[1] <= most)
    return [hit._replace(score=scores[hit.id]) for hit in documents.hits(found[:k])]


class FilteredDocuments(Documents):
    """Those of a table's documents that have an occurrence that matches a filter.

    SQLite calls Python for the occurrences that it cannot rule out. Which sources match is
    looked up beforehand.
    """

    def __init__(self, documents: Documents, filter: Filter) -> None:
        super().__init__(documents.connection, documents.spec)
        self._filter = filter
        self._sources = set(Occurrences(documents).source_ids(filter))
        self._has_metadata = metadata_test(filter)
        documents.connection.define("jtv_fits", 2, self._fits)
        rough = rough_condition(filter, "metadata")
        self._scan_cost = 1 + rough.cost
        conditions = []
        if len(self._sources) <= PARAMETERS:
            # The sign keeps SQLite from an index of sources where it looks up documents.
            conditions.append(f"+source IN ({','.join(map(str, sorted(self._sources)))})")
        if filter.conditions:
            conditions += [rough.expression, "jtv_fits(source, metadata)"]
        elif not conditions:
            # Without metadata, the index by document alone has all that needs to be read.
            conditions.append("jtv_fits(source, NULL)")
        self.occurrence_condition = f"AND {' AND '.join(conditions)}"
        self.document_condition = (
            'AND EXISTS (SELECT 1 FROM "{name}_occurrences"'
            f" WHERE document = d.id {self.occurrence_condition})"
        )

    def vectors_of(self, ids: Iterable[int]) -> Iterator[tuple[Ids, Vectors]]:
        """Yield ids and vectors of those of the documents that match."""
        yield from super().vectors_of(self._matching_of(sorted(ids)))

    def narrow(self, plan: Plan) -> Plan:
        """Return how to search these documents, given how all of them would be searched.

        A sample tells about how many match. Either the nearest candidates of the index are
        tested until enough of them match, or all documents that match are found, read by their
        ids, and compared, whichever takes less.

        If the index is used, the share of matches among its nearest candidates should be about
        that of the sample. If it is less than half of it, which `least` says, what matches is
        far from the query, and codes hardly rank what is far: all that match are compared.
        """
        count = self.count()
        if plan.generation is None:
            few = min(count // _READ_BY_ID_COST, _MOST_CHOSEN)
            return self._one_by_one(plan, count, few) or self._narrowed(plan)
        sampled = self.sample(usual_candidates(count))
        matching = sum(1 for _ in self._matching_of(sampled))
        share = max(matching, _LEAST_SAMPLED) / max(1, len(sampled))
        expected = int(share * count)
        scanned = expected if self._filter.selects_sources else count * self._scan_cost
        by_id = int(scanned) + expected * _READ_COST
        # A document that matches among others of a table is as easy to find as in a table of
        # those that match alone.
        candidates = plan.candidates - usual_candidates(count) + usual_candidates(expected)
        share *= min(1.0, count / max(1, Index(self).codes(plan.generation)))
        first = int(candidates / share * _SAMPLING_ERROR)
        is_rare = matching < _LEAST_SAMPLED or first * _TEST_COST > by_id
        if is_rare and (chosen := self._one_by_one(plan, count, _MOST_CHOSEN)):
            return chosen
        return self._narrowed(plan_index(plan.generation, candidates, count))._replace(
            first=first, most=2 * by_id // _TEST_COST, least=int(first * share / 2)
        )

    def remaining(self) -> Plan:
        """Return how to search these documents where the index is of no use."""
        return plan_exact("")._replace(chosen=self._choose(_MOST_CHOSEN))

    def matching(self, after: int, limit: int) -> list[int]:
        """Return up to `limit` ids greater than `after` of documents that match, in order."""
        found = self.execute(
            'SELECT DISTINCT document FROM "{name}_occurrences" INDEXED BY "{name}_by_document"'
            f" WHERE document > ? {self.occurrence_condition} ORDER BY document LIMIT ?",
            (after, limit),
        )
        return [number for (number,) in found]

    def _narrowed(self, plan: Plan) -> Plan:
        return plan._replace(explanation=f"{plan.explanation}, of those that match the filter")

    def _one_by_one(self, plan: Plan, count: int, most: int) -> Plan | None:
        """Return the plan to compare what matches alone, None if that is more than `most`."""
        chosen = self._choose(most)
        if chosen is None:
            return None
        matching = f"exact: {len(chosen):,} of {count:,} documents match the filter"
        return plan._replace(generation=None, chosen=chosen, explanation=matching)

    def _matching_of(self, ids: Sequence[int]) -> Iterator[int]:
        """Yield those of the ids whose documents match."""
        for part in batched(ids, PARAMETERS):
            found = self.execute(
                'SELECT DISTINCT document FROM "{name}_occurrences"'
                f" WHERE document IN ({marks(len(part))}) {self.occurrence_condition}",
                part,
            )
            yield from (number for (number,) in found)

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
            yield "TRUE", []
            return
        for part in batched(sorted(self._sources), PARAMETERS):
            yield f"source IN ({marks(len(part))})", part

    def _fits(self, source: int, metadata: str | None) -> bool:
        return source in self._sources and self._has_metadata(metadata)
