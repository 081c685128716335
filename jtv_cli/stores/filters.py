"""Which occurrences fit a filter: the same in every store."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jtv_cli.records import Filter

STDIN = "-"
"""The only pattern that what was read from stdin fits."""


def fits_source(filter: Filter, source: str | None) -> bool:
    """Return whether an occurrence in that source may fit."""
    if filter.source is None:
        return True
    if source is None:
        return filter.source == STDIN
    return fnmatchcase(source, filter.source)


def fits_metadata(filter: Filter, stored: str | None) -> bool:
    """Return whether metadata, as it is stored, has all the fields that are asked for."""
    if not filter.where:
        return True
    if stored is None:
        return False
    import orjson

    metadata = orjson.loads(stored)
    return all(
        name in metadata and _text(metadata[name]) == wanted for name, wanted in filter.where
    )


def all_compared(some: int, queries: int) -> str:
    """Return what to add to an explanation where the index did not do for some of the queries."""
    return f"; for {some:,} of {queries:,} queries, all that fit were compared" if some else ""


def _text(value: object) -> str:
    import orjson

    return value if isinstance(value, str) else orjson.dumps(value).decode()
