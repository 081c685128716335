"""Read the documents that match a filter, whole or as hits."""

from __future__ import annotations

from itertools import islice
from math import isnan
from typing import TYPE_CHECKING

from jtv_cli.batching import batched, batched_by_weight
from jtv_cli.records import Hit
from jtv_cli.stores.filters import matches

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jtv_cli.records import Filter, Occurrence, StoredDocument, Vectors
    from jtv_cli.stores import Table

    Match = tuple[StoredDocument, Sequence[Occurrence]]
    """A document and those of its occurrences that match."""

# Documents read at once.
_BLOCK = 128


def read_matching(
    table: Table, filter: Filter, *, vectors: bool = False, after: int = 0
) -> Iterator[Match]:
    """Yield the documents that match a filter by id, with the occurrences that do.

    Only documents with ids greater than `after` are read, in short reads.
    """
    last = after
    for ids in table.matching(filter, after=after):
        for part in batched([number for number in ids if number > last], _BLOCK):
            last = part[-1]
            yield from _matching(table, filter, table.get(part, vectors=vectors))


def list_matching(
    table: Table,
    filter: Filter,
    query: Vectors | None = None,
    *,
    by_distance: bool = False,
    after: int = 0,
    limit: int | None = None,
) -> Iterator[Hit]:
    """Yield the documents that match a filter as hits, at their first matching occurrence.

    With a (dimensions,) query they have their distance to it. They are ordered by id or
    `by_distance`, for which 16 bytes of each document of the table are kept.
    """
    hits = _hits(table, filter, query, after)
    if query is None or not by_distance:
        return islice(hits, limit)
    return islice(_ranked(table, filter, query), limit)


def _hits(table: Table, filter: Filter, query: Vectors | None, after: int) -> Iterator[Hit]:
    found = read_matching(table, filter, vectors=query is not None, after=after)
    for part in _blocks(found):
        distances = _distances([document for document, _ in part], query)
        for (document, occurrences), distance in zip(part, distances, strict=True):
            yield _to_hit(document, occurrences[0], distance)


def _ranked(table: Table, filter: Filter, query: Vectors) -> Iterator[Hit]:
    import numpy as np

    from jtv_cli.stores.distances import Ranking

    ranking = Ranking(table.count())
    for part in _blocks(read_matching(table, filter, vectors=True)):
        documents = [document for document, _ in part]
        distances = np.array(_distances(documents, query), np.float32)
        # NaN, in place of None, is sorted behind all numbers.
        ranking.offer(np.array([document.id for document in documents]), distances)
    for ranked in ranking.ranked(_BLOCK):
        documents = table.get([number for number, _ in ranked])
        found = {match[0].id: match for match in _matching(table, filter, documents)}
        for number, distance in ranked:
            if number in found:
                document, occurrences = found[number]
                yield _to_hit(document, occurrences[0], None if isnan(distance) else distance)


def _matching(table: Table, filter: Filter, documents: Sequence[StoredDocument]) -> Iterator[Match]:
    """Yield those of the documents that match; another process may have changed some."""
    sources = {
        where.source
        for document in documents
        for where in document.occurrences
        if where.source is not None
    }
    details = table.source_details(sources) if filter.has_times else {}
    for document in documents:
        found = [
            where
            for where in document.occurrences
            if matches(filter, where, details.get(where.source or ""))
        ]
        if found:
            yield document, found


def _blocks(found: Iterator[Match]) -> Iterator[list[Match]]:
    return batched_by_weight(found, lambda _: 0, 0, _BLOCK)


def _distances(documents: Sequence[StoredDocument], query: Vectors | None) -> list[float | None]:
    """Return the distance of each document to a query, None without a query or a vector."""
    found: dict[int, float] = {}
    having = [(each.id, each.vector) for each in documents if each.vector is not None]
    if query is not None and having:
        import numpy as np

        from jtv_cli.stores.distances import distances_to, normalized

        vectors = np.stack([vector for _, vector in having])
        values = distances_to(normalized(query[None])[0], vectors).tolist()
        found = {number: value for (number, _), value in zip(having, values, strict=True)}
    return [found.get(document.id) for document in documents]


def _to_hit(document: StoredDocument, occurrence: Occurrence, distance: float | None) -> Hit:
    return Hit(document.id, document.text, distance, *occurrence)
