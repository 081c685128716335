"""Searches: a query text, a vector or a document id in, hits out."""

from __future__ import annotations

import time
from queue import Empty, SimpleQueue
from threading import TIMEOUT_MAX, Thread
from typing import TYPE_CHECKING, NamedTuple

from jtv_cli.batching import batched_by_weight
from jtv_cli.errors import (
    BatchTooLarge,
    ServiceDown,
    ServiceError,
    TextsFailed,
    TextsRefused,
    TextTooLong,
    UsageError,
)
from jtv_cli.pipeline.batches import estimated_tokens
from jtv_cli.pipeline.diversity import keep_per_source, maximal_marginal_relevance
from jtv_cli.pipeline.retry import LONGEST_REQUEST, Attempts, RetryPolicy
from jtv_cli.records import Embeddings, Purpose, SearchResults

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from jtv_cli.embedders import Embedder
    from jtv_cli.records import Filter, Hit, Vectors
    from jtv_cli.stores import Table

# Queries that are searched together; the hits of all of them are in memory at once.
_QUERIES_PER_SEARCH = 64
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
    any. `diverse` picks hits that differ from one another.
    """

    k: int = 5
    max_distance: float | None = None
    filter: Filter | None = None
    exact: bool = False
    explain: bool = False
    max_wait: float = 15.0
    per_source: int | None = None
    diverse: bool = False


DEFAULT_OPTIONS = SearchOptions()


class SearchResult(NamedTuple):
    """The hits of one query, nearest first, and how they were found, if that was asked for."""

    hits: list[Hit]
    explanation: str = ""


def search(
    query: str | int | Vectors,
    table: Table,
    embedder: Embedder | None = None,
    options: SearchOptions = DEFAULT_OPTIONS,
) -> SearchResult:
    """Find the documents nearest to a text, a document id or a (dimensions,) vector.

    A text needs an embedder. The document of an id is not among its own hits.

    Raises UsageError for an id that the table does not have, and the errors of the embedder
    and of the table.
    """
    if isinstance(query, int):
        vector = _document_vector(query, table)
    elif isinstance(query, str):
        vector = embed_query(query, _required(embedder), max_wait=options.max_wait)
    else:
        vector = query
    itself = query if isinstance(query, int) else None
    [hits], explanation = _retrieve(vector[None], table, options, without=itself)
    return SearchResult(hits, explanation)


def search_many(
    queries: Iterable[Sequence[str]],
    table: Table,
    embedder: Embedder,
    options: SearchOptions = DEFAULT_OPTIONS,
) -> Iterator[list[tuple[str, SearchResult]]]:
    """Yield each query with its result, those that were searched together as one list.

    `queries` yields as many at a time as can be read without waiting. They are embedded in
    batches within the embedder's limit.

    Raises the errors of the embedder and of the table.
    """
    limit = embedder.batch_limit
    for texts in queries:
        for batch in batched_by_weight(texts, estimated_tokens, limit.tokens, limit.texts):
            vectors = _embed(batch, embedder, options.max_wait)
            for start in range(0, len(batch), _QUERIES_PER_SEARCH):
                part = slice(start, start + _QUERIES_PER_SEARCH)
                found, explanation = _retrieve(vectors[part], table, options)
                results = [SearchResult(hits, explanation) for hits in found]
                yield list(zip(batch[part], results, strict=True))


def list_documents(
    table: Table,
    query: str | None = None,
    embedder: Embedder | None = None,
    *,
    by_distance: bool = False,
    after: int | None = None,
    limit: int | None = None,
    max_wait: float = 15.0,
) -> Iterator[Hit]:
    """Yield every document by id or, with a query, `by_distance`.

    With a query each hit has its distance. `after` is an id: the list begins behind it.

    Raises the errors of the embedder at once, and those of the table while it is read.
    """
    if query is None:
        return table.scan(after=after, limit=limit)
    vector = embed_query(query, _required(embedder), max_wait=max_wait)
    if by_distance:
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


def _retrieve(
    vectors: Vectors, table: Table, options: SearchOptions, *, without: int | None = None
) -> SearchResults:
    """Return the k best documents for each of (m, dimensions) vectors.

    The document whose id is `without` is left out. The filter is applied by the store,
    before the nearest are chosen. Varied hits are picked from more than k candidates.
    """
    # A document is its own nearest neighbor.
    extra = 0 if without is None else 1
    is_varied = options.diverse or options.per_source is not None
    wanted = max(_CANDIDATES_PER_HIT * options.k, _LEAST_CANDIDATES) if is_varied else options.k
    found: dict[int, list[Hit]] = {}
    explanation = ""
    while left := [number for number in range(len(vectors)) if number not in found]:
        results = _nearest(vectors[left], table, wanted + extra, options)
        explanation = explanation or results.explanation
        is_last = not is_varied or wanted >= max(_MOST_CANDIDATES, options.k)
        for number, hits in zip(left, results.hits, strict=True):
            picked = [hit for hit in hits if hit.id != without]
            if options.per_source is not None:
                picked = keep_per_source(picked, options.per_source)
            if is_last or len(picked) >= options.k or len(hits) < wanted + extra:
                if options.diverse:
                    picked = _most_diverse(vectors[number], picked, table, options.k)
                found[number] = picked[: options.k]
        wanted *= _CANDIDATES_GROWTH
    return SearchResults([found[number] for number in range(len(vectors))], explanation)


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
    if embedder.model.runs_in_process:
        return embedder.embed(queries, Purpose.QUERY).vectors
    retry_policy, attempts = RetryPolicy(max_wait), Attempts(time.monotonic())
    while True:
        left = attempts.began + max_wait - time.monotonic() if max_wait else LONGEST_REQUEST
        try:
            return _embed_within(left, queries, embedder).vectors
        except TextTooLong as error:
            raise _query_too_long(queries, embedder) from error
        except ServiceError as error:
            is_lasting = isinstance(error, TextsFailed) and attempts.failed > 0
            if is_lasting or isinstance(error, BatchTooLarge | TextsRefused):
                if len(queries) == 1:
                    raise
                return _embed_halves(queries, embedder, max_wait)
            pause = retry_policy.count_failure(error, attempts, time.monotonic())
            if pause is None:
                raise
        time.sleep(pause)


def _embed_halves(queries: Sequence[str], embedder: Embedder, max_wait: float) -> Vectors:
    import numpy as np

    middle = len(queries) // 2
    halves = (queries[:middle], queries[middle:])
    return np.concatenate([_embed(half, embedder, max_wait) for half in halves])


def _embed_within(seconds: float, queries: Sequence[str], embedder: Embedder) -> Embeddings:
    """Embed in a daemon thread, which is abandoned when its time is up.

    Raises ServiceDown then.
    """
    answers: SimpleQueue[Embeddings | BaseException] = SimpleQueue()

    def request() -> None:
        try:
            answers.put(embedder.embed(queries, Purpose.QUERY))
        except BaseException as error:
            answers.put(error)

    Thread(target=request, daemon=True).start()
    try:
        answer = answers.get(timeout=min(max(seconds, 0.0), TIMEOUT_MAX))
    except Empty:
        message = "the embeddings service did not answer in time"
        raise ServiceDown(message, hint="run the same command again later") from None
    if isinstance(answer, BaseException):
        raise answer
    return answer


def _query_too_long(queries: Sequence[str], embedder: Embedder) -> TextTooLong:
    """Return the error for somebody who searches: the service's own names texts of a batch."""
    which = "the query is" if len(queries) == 1 else "one of these queries is"
    name, most = embedder.model.name, embedder.model.max_tokens
    message = f"{which} too long for model {name}, which takes {most:,} tokens"
    return TextTooLong(message, hint="shorten it")
