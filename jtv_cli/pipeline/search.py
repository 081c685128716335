"""Searches: a query text, a vector or a document id in, hits out."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from jtv_cli.batching import batched_by_weight
from jtv_cli.errors import BatchTooLarge, TextsFailed, TextsRefused, TextTooLong, UsageError
from jtv_cli.pipeline.matching import list_matching
from jtv_cli.pipeline.ranking import fuse, keep_per_source, maximal_marginal_relevance
from jtv_cli.pipeline.retry import call_with_retries
from jtv_cli.records import RECALL_AT, IndexState, Purpose, SearchMode, SearchResults
from jtv_cli.text import estimated_tokens

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from jtv_cli.embedders import Embedder
    from jtv_cli.pipeline.rerank import Reranking
    from jtv_cli.records import Filter, Hit, Vectors
    from jtv_cli.stores import Table

# Queries that are searched together; the hits of all of them are in memory at once.
_QUERIES_PER_SEARCH = 64
# Hits by keyword that a hybrid search fuses, if fewer are asked for. Of the nearest, it fuses as
# many as an index finds without more effort: 20 took a quarter more time, and no ranking that
# `benchmarks/quality.py` measures was another.
_FUSED_HITS = 20
# How many candidates varied hits are picked from at first: so many times k, but at least 50.
# If they do not fill the results, four times as many are fetched, up to 10,000 or k.
_CANDIDATES_PER_HIT = 5
_LEAST_CANDIDATES = 50
_CANDIDATES_GROWTH = 4
_MOST_CANDIDATES = 10_000


class SearchOptions(NamedTuple):
    """What to search for, apart from the query.

    `k` is the largest number of hits, `max_distance` their largest distance. `filter`
    selects the documents that are searched. `exact` compares every vector. `explain` asks
    how the hits were found. `max_wait` is how long a failed request is retried, in seconds;
    0 disables retries. `per_source` is the largest number of hits of one source, None for
    any. `diverse` picks hits that differ from one another. `mode` says what finds documents;
    None stands for HYBRID if the table has a full-text index and the model prefers that, else
    for VECTOR. Hits of a search by keyword have no distance, so that they are not diverse.
    """

    k: int = 5
    max_distance: float | None = None
    filter: Filter | None = None
    exact: bool = False
    explain: bool = False
    max_wait: float = 15.0
    per_source: int | None = None
    diverse: bool = False
    mode: SearchMode | None = None
    reranking: Reranking | None = None


DEFAULT_OPTIONS = SearchOptions()


class SearchResult(NamedTuple):
    """The hits of one query, the best first, and how they were found, if that was asked for."""

    hits: list[Hit]
    explanation: str = ""


def search(
    query: str | int | Vectors,
    table: Table,
    embedder: Embedder | None = None,
    options: SearchOptions = DEFAULT_OPTIONS,
) -> SearchResult:
    """Find the documents nearest to a text, a document id or a (dimensions,) vector.

    A text needs an embedder, unless it is searched for by keyword. An id or a vector is always
    searched for by vector. The document of an id is not among its own hits.

    Raises UsageError for an id that the table does not have, NoFullText if the table has no
    full-text index and the mode needs one, and the errors of the embedder and of the table.
    """
    if isinstance(query, str):
        [[(_, result)]] = search_many([[query]], table, embedder, options)
        return result
    itself = query if isinstance(query, int) else None
    vector = _document_vector(query, table) if isinstance(query, int) else query
    options = options._replace(mode=SearchMode.VECTOR)
    found = _retrieve([""], vector[None], table, options, without=itself)
    return SearchResult(found.hits[0], found.explanation)


def search_many(
    queries: Iterable[Sequence[str]],
    table: Table,
    embedder: Embedder | None = None,
    options: SearchOptions = DEFAULT_OPTIONS,
) -> Iterator[list[tuple[str, SearchResult]]]:
    """Yield each query with its result, those that were searched together as one list.

    `queries` yields as many at a time as can be read without waiting. They are embedded in
    batches within the embedder's limit.

    Raises NoFullText if the table has no full-text index and the mode needs one, and the
    errors of the embedder and of the table.
    """
    options = _with_mode(options, table, embedder)
    for batch, vectors in _embedded(queries, embedder, options):
        for start in range(0, len(batch), _QUERIES_PER_SEARCH):
            part = slice(start, start + _QUERIES_PER_SEARCH)
            some = None if vectors is None else vectors[part]
            found = _retrieve(batch[part], some, table, options)
            results = [SearchResult(hits, found.explanation) for hits in found.hits]
            yield list(zip(batch[part], results, strict=True))


def list_documents(
    table: Table,
    query: str | None = None,
    embedder: Embedder | None = None,
    *,
    by_distance: bool = False,
    after: int | None = None,
    limit: int | None = None,
    filter: Filter | None = None,
    max_wait: float = 15.0,
) -> Iterator[Hit]:
    """Yield every document by id or, with a query, `by_distance`.

    With a query each hit has its distance. `after` is an id: the list begins behind it. With
    a filter, only documents that match are listed, at their first matching occurrence.

    Raises the errors of the embedder at once, and those of the table while it is read.
    """
    vector = None
    if query is not None:
        vector = embed_query(query, _required(embedder), max_wait=max_wait)
    if filter is not None:
        return list_matching(
            table, filter, vector, by_distance=by_distance, after=after or 0, limit=limit
        )
    if by_distance and vector is not None:
        return table.rank(vector, limit=limit)
    return table.scan(vector, after=after, limit=limit)


def embed_query(query: str, embedder: Embedder, *, max_wait: float) -> Vectors:
    """Return the query's vector, (dimensions,) float32.

    A failed request is retried for up to `max_wait` seconds; 0 disables retries.

    Raises the embedder's errors, and ServiceDown if there is no reply in time.
    """
    vector: Vectors = _embed([query], embedder, max_wait)[0]
    return vector


def _required(embedder: Embedder | None) -> Embedder:
    if embedder is None:
        raise ValueError("a query text needs an embedder")
    return embedder


def _with_mode(options: SearchOptions, table: Table, embedder: Embedder | None) -> SearchOptions:
    """Return the options with the mode that None stands for."""
    if options.mode is not None:
        return options
    is_hybrid = (
        embedder is not None
        and embedder.model.prefers_hybrid
        and table.full_text_status().state is IndexState.READY
    )
    return options._replace(mode=SearchMode.HYBRID if is_hybrid else SearchMode.VECTOR)


def _embedded(
    queries: Iterable[Sequence[str]], embedder: Embedder | None, options: SearchOptions
) -> Iterator[tuple[Sequence[str], Vectors | None]]:
    """Yield the queries in batches, with their vectors unless they are searched for by keyword."""
    for texts in queries:
        if options.mode is SearchMode.KEYWORD:
            yield texts, None
            continue
        embedder = _required(embedder)
        limit = embedder.batch_limit
        for batch in batched_by_weight(texts, estimated_tokens, limit.tokens, limit.texts):
            yield batch, _embed(batch, embedder, options.max_wait)


def _retrieve(
    queries: Sequence[str],
    vectors: Vectors | None,
    table: Table,
    options: SearchOptions,
    *,
    without: int | None = None,
) -> SearchResults:
    """Return the k best documents for each of the queries, given their (m, dimensions) vectors.

    The document whose id is `without` is left out. The filter is applied by the store,
    before the nearest are chosen. Varied hits are picked from more than k candidates.
    """
    # A document is its own nearest neighbor.
    extra = 0 if without is None else 1
    reranking = options.reranking
    most = max(options.k, reranking.candidates) if reranking else options.k
    is_varied = options.diverse or options.per_source is not None
    wanted = max(_CANDIDATES_PER_HIT * most, _LEAST_CANDIDATES) if is_varied else most
    found: dict[int, list[Hit]] = {}
    explanation = ""
    while left := [number for number in range(len(queries)) if number not in found]:
        results = _candidates(
            [queries[number] for number in left],
            None if vectors is None else vectors[left],
            *(table, wanted + extra, options),
        )
        explanation = explanation or results.explanation
        is_last = not is_varied or wanted >= max(_MOST_CANDIDATES, most)
        for number, hits in zip(left, results.hits, strict=True):
            picked = [hit for hit in hits if hit.id != without]
            if options.per_source is not None:
                picked = keep_per_source(picked, options.per_source)
            if is_last or len(picked) >= most or len(hits) < wanted + extra:
                if reranking:
                    picked = reranking.rerank(queries[number], picked[:most])
                elif options.diverse and vectors is not None:
                    picked = _most_diverse(vectors[number], picked, table, options.k)
                found[number] = picked[: options.k]
        wanted *= _CANDIDATES_GROWTH
    if reranking and options.explain:
        explanation = "; ".join(filter(None, (explanation, reranking.explanation)))
    hits_in_order = [found[number] for number in range(len(queries))]
    return SearchResults(hits_in_order, explanation)


def _candidates(
    queries: Sequence[str],
    vectors: Vectors | None,
    table: Table,
    k: int,
    options: SearchOptions,
) -> SearchResults:
    """Return the k best documents for each query, found as the mode says."""
    if vectors is None:
        return table.search_text(queries, k, filter=options.filter, explain=options.explain)
    if options.mode is SearchMode.HYBRID:
        return _fused(queries, vectors, table, k, options)
    return _nearest(vectors, table, k, options)


def _fused(
    queries: Sequence[str], vectors: Vectors, table: Table, k: int, options: SearchOptions
) -> SearchResults:
    """Return the k best of what is found by vector and by keyword, with ranks and scores."""
    # By keyword first: that fails at once if the table has no full-text index.
    by_keyword = table.search_text(
        queries,
        max(k, _FUSED_HITS),
        vectors=vectors,
        max_distance=options.max_distance,
        filter=options.filter,
        explain=options.explain,
    )
    nearest = _nearest(vectors, table, max(k, RECALL_AT), options)
    rankings = zip(nearest.hits, by_keyword.hits, strict=True)
    explanation = "; ".join(filter(None, (nearest.explanation, by_keyword.explanation)))
    return SearchResults([fuse(*each)[:k] for each in rankings], explanation)


def _nearest(vectors: Vectors, table: Table, k: int, options: SearchOptions) -> SearchResults:
    return table.search(
        vectors,
        k,
        exact=options.exact,
        max_distance=options.max_distance,
        filter=options.filter,
        explain=options.explain,
    )


def _most_diverse(query: Vectors, hits: Sequence[Hit], table: Table, k: int) -> list[Hit]:
    """Return k of the hits by maximal marginal relevance, less those without a vector by now."""
    import numpy as np

    found = {
        document.id: document.vector
        for document in table.get([hit.id for hit in hits], vectors=True)
        if document.vector is not None
    }
    kept = [hit for hit in hits if hit.id in found]
    if not kept:
        return []
    vectors = np.stack([found[hit.id] for hit in kept])
    return maximal_marginal_relevance(query, vectors, kept, k)


def _document_vector(number: int, table: Table) -> Vectors:
    found = table.get([number], vectors=True)
    if not found:
        raise UsageError(f"no document {number} in table {table.spec.name}")
    if found[0].vector is None:
        raise UsageError(f"document {number} has no vector", hint="choose another document")
    return found[0].vector


def _embed(queries: Sequence[str], embedder: Embedder, max_wait: float) -> Vectors:
    """Return the vectors, (n, dimensions) float32, of queries that are one batch.

    A batch is halved if it is too large for the service, or if it is refused or fails
    twice: what one of the queries may cause must not fail the others.
    """
    import numpy as np

    def embed() -> Vectors:
        return embedder.embed(queries, Purpose.QUERY).vectors

    if embedder.model.runs_in_process:
        return embed()
    try:
        return call_with_retries(embed, "embeddings", max_wait, is_divisible=True)
    except TextTooLong as error:
        raise _query_too_long(queries, embedder) from error
    except (BatchTooLarge, TextsFailed, TextsRefused):
        if len(queries) == 1:
            raise
    middle = len(queries) // 2
    halves = (queries[:middle], queries[middle:])
    return np.concatenate([_embed(half, embedder, max_wait) for half in halves])


def _query_too_long(queries: Sequence[str], embedder: Embedder) -> TextTooLong:
    """Return the error for somebody who searches: the service's own names texts of a batch."""
    which = "the query is" if len(queries) == 1 else "one of these queries is"
    name, most = embedder.model.name, embedder.model.max_tokens
    message = f"{which} too long for model {name}, which takes {most:,} tokens"
    return TextTooLong(message, hint="shorten it")
