"""Which occurrences fit a filter, and what to say of a search with one: the same in every store."""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import lru_cache
from typing import TYPE_CHECKING

from jtv_cli.records import STDIN
from jtv_cli.source_names import source_patterns

if TYPE_CHECKING:
    from jtv_cli.records import Filter


def fits_source(filter: Filter, source: str | None) -> bool:
    """Return whether an occurrence in that source may fit."""
    if filter.source is None:
        return True
    if source is None or filter.source == STDIN:
        return source is None and filter.source == STDIN
    return any(fnmatchcase(source, each) for each in source_patterns(filter.source))


def fits_metadata(filter: Filter, stored: str | None) -> bool:
    """Return whether metadata, as it is stored, has all the fields that are asked for."""
    if not filter.where:
        return True
    if stored is None or not all(_may_have(stored, *field) for field in filter.where):
        return False
    import orjson

    metadata = orjson.loads(stored)
    return all(
        name in metadata and _text(metadata[name]) == wanted for name, wanted in filter.where
    )


def all_compared(some: int, queries: int) -> str:
    """Return what to add to an explanation, where the index found too little for some queries."""
    return f"; for {some:,} of {queries:,} queries, all were compared" if some else ""


@lru_cache
def needles(name: str, wanted: str) -> tuple[str, str]:
    """Return texts, one of which stands in any metadata that has the field, as it is stored.

    It may stand elsewhere too. The first is that of a string, the second of anything else.
    """
    import orjson

    field, string = (orjson.dumps(part).decode() for part in (name, wanted))
    return f"{field}:{string}", f"{field}:{wanted}"


def _may_have(stored: str, name: str, wanted: str) -> bool:
    """Return whether it is worth parsing metadata to see if it has the field."""
    return any(needle in stored for needle in needles(name, wanted))


def _text(value: object) -> str:
    import orjson

    return value if isinstance(value, str) else orjson.dumps(value).decode()
