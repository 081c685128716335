"""Find pairs of documents that are almost the same, by the vectors that are stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jtv_cli.batching import batched_by_weight
from jtv_cli.records import Hit, Occurrence, Pair

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    import numpy.typing as npt

    from jtv_cli.records import StoredDocument, Vectors
    from jtv_cli.stores import Table

    PairsOfRows = tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]

# Tables up to this size are compared exactly, all documents with all: half a minute of work.
_MOST_EXACT = 20_000
_MOST_EXACT_BYTES = 256 << 20
# Documents compared with all others at a time, and pairs whose documents are read together.
_BLOCK = 64
_PAIRS = 256
# Matrix products round; pairs this much too far are measured again.
_MARGIN = 1e-3
# Of equal vectors too, the distance is a little above 0: float32 rounds.
_ROUNDING = 1e-6
# Neighbors of a document that the index is asked for, at first and at most.
_NEIGHBORS = 11
_GROWTH = 4
_MOST_NEIGHBORS = 1000


def find_duplicates(
    table: Table, max_distance: float, *, exact: bool | None = None
) -> Iterator[Pair]:
    """Yield the pairs of documents up to that cosine distance apart, by the smaller id.

    `exact` compares every document with every other, `exact=False` asks the index for the
    neighbors of each, at most 1,000; None chooses by the size of the table. No more than
    256 MiB of vectors are in memory.

    Raises StoreError if the database fails.
    """
    if exact is None:
        count = table.count()
        size = 4 * count * table.spec.dimensions
        exact = count <= _MOST_EXACT and size <= _MOST_EXACT_BYTES
    reach = max_distance + _ROUNDING
    return _exact_pairs(table, reach) if exact else _indexed_pairs(table, reach)


def _exact_pairs(table: Table, max_distance: float) -> Iterator[Pair]:
    import numpy as np

    from jtv_cli.stores.distances import normalized

    ids: list[int] = []
    vectors: list[Vectors] = []
    for document in table.read(vectors=True):
        if document.vector is not None:
            ids.append(document.id)
            vectors.append(document.vector)
    if not ids:
        return
    unit = normalized(np.stack(vectors))
    del vectors
    for start in range(0, len(ids), _BLOCK):
        rows, columns = _near(unit, start, max_distance)
        for part in range(0, rows.size, _PAIRS):
            one, other = rows[part : part + _PAIRS], columns[part : part + _PAIRS]
            distances = (1 - np.vecdot(unit[one], unit[other])).clip(0, 2)
            kept = distances <= max_distance
            first = [ids[row] for row in one[kept].tolist()]
            second = [ids[row] for row in other[kept].tolist()]
            yield from _read_pairs(table, first, second, distances[kept].tolist())


def _near(unit: Vectors, start: int, max_distance: float) -> PairsOfRows:
    """Return the rows of pairs that may be near: of a block, and of what comes behind each."""
    import numpy as np

    with np.errstate(all="ignore"):
        similarities = unit[start : start + _BLOCK] @ unit[start:].T
        rows, columns = (similarities >= 1 - max_distance - _MARGIN).nonzero()
    is_behind = columns > rows
    return rows[is_behind] + start, columns[is_behind] + start


def _read_pairs(
    table: Table, first: Sequence[int], second: Sequence[int], distances: Sequence[float]
) -> Iterator[Pair]:
    """Yield pairs of these ids, less those with a document that was deleted since."""
    hits = {document.id: _to_hit(document) for document in table.get([*{*first, *second}])}
    for one, other, distance in zip(first, second, distances, strict=True):
        if one in hits and other in hits:
            yield Pair(hits[one], hits[other], distance)


def _indexed_pairs(table: Table, max_distance: float) -> Iterator[Pair]:
    import numpy as np

    documents = (each for each in table.read(vectors=True) if each.vector is not None)
    for block in batched_by_weight(documents, lambda _: 0, 0, _BLOCK):
        vectors = np.stack([each.vector for each in block if each.vector is not None])
        for document, hits in zip(block, _neighbors(table, vectors, max_distance), strict=True):
            for hit in sorted(hits, key=lambda hit: hit.id):
                if hit.id > document.id and hit.distance is not None:
                    yield Pair(_to_hit(document), hit._replace(distance=None), hit.distance)


def _neighbors(table: Table, vectors: Vectors, max_distance: float) -> list[list[Hit]]:
    """Return all documents near each of (n, dimensions) vectors, but no more than 1,000."""
    found: list[list[Hit]] = [[] for _ in vectors]
    left, wanted = list(range(len(vectors))), _NEIGHBORS
    while left:
        results = table.search(vectors[left], wanted, max_distance=max_distance).hits
        for number, hits in zip(left, results, strict=True):
            found[number] = hits
        left = [number for number in left if len(found[number]) == wanted]
        if wanted >= _MOST_NEIGHBORS:
            break
        wanted = min(wanted * _GROWTH, _MOST_NEIGHBORS)
    return found


def _to_hit(document: StoredDocument) -> Hit:
    first = document.occurrences[0] if document.occurrences else Occurrence()
    return Hit(document.id, document.text, None, *first)
