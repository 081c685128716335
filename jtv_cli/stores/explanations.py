"""How a search went, in words that are the same in every store."""

from __future__ import annotations


def all_compared(some: int, queries: int) -> str:
    """Return what to add to an explanation where the index did not do for some of the queries."""
    return f"; for {some:,} of {queries:,} queries, all that fit were compared" if some else ""
