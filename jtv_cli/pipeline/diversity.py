"""Pick varied hits from ranked ones: a few of each source, or those that differ most."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jtv_cli.records import Hit, Vectors


def keep_per_source(hits: Sequence[Hit], n: int) -> list[Hit]:
    """Return the first n hits of each source, in their order; standard input is one source."""
    counts: Counter[str | None] = Counter()
    kept = []
    for hit in hits:
        counts[hit.source] += 1
        if counts[hit.source] <= n:
            kept.append(hit)
    return kept


def maximal_marginal_relevance(
    query_vector: Vectors, vectors: Vectors, hits: Sequence[Hit], k: int, weight: float = 0.5
) -> list[Hit]:
    """Return up to k hits, each relevant to the query and unlike those picked before it.

    The next hit is the one with the largest `weight` * similarity to the query less
    (1 - `weight`) * its largest similarity to a picked hit, by cosine; at a tie, the earlier
    hit. See Carbonell and Goldstein, "The Use of MMR, Diversity-Based Reranking" (1998).

    `query_vector` is (dimensions,) and `vectors` (len(hits), dimensions) float32. They need
    not be of length 1, but none may be all zeros.
    """
    import numpy as np

    from jtv_cli.stores.distances import normalized

    unit = normalized(vectors)
    relevance = unit @ normalized(query_vector[None])[0]
    redundancy = np.full(len(hits), -1, np.float32)
    is_left = np.full(len(hits), fill_value=True)
    picked: list[Hit] = []
    while len(picked) < min(k, len(hits)):
        # Nothing is redundant as long as nothing has been picked.
        gains = weight * relevance - (1 - weight) * redundancy if picked else relevance
        best = int(np.where(is_left, gains, -np.inf).argmax())
        picked.append(hits[best])
        is_left[best] = False
        np.maximum(redundancy, unit @ unit[best], out=redundancy)
    return picked
