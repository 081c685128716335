"""Where documents were read, as every store keeps it: what of it is news, and in which order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jtv_cli.stores.metadata import encode_metadata

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence, Set

    from jtv_cli.records import SourceCount, SourceLine

    Noted = tuple[int, int, str | None, int | None]
    """A place as a store keeps it: line, document, metadata, end line."""

# To look one place up takes as long as to walk along so many.
_WALKED_FOR_ONE = 4


def new_source_lines(
    places: Sequence[SourceLine], noted: Set[Noted]
) -> tuple[list[SourceLine], list[SourceLine]]:
    """Return the places that are not noted yet, and those that are noted differently."""
    news = [
        place
        for place in places
        if (place if place.metadata is None else _noted(place)) not in noted
    ]
    there = {stored[:2] for stored in noted} if news else set()
    new: list[SourceLine] = []
    changed: list[SourceLine] = []
    for place in news:
        (changed if place[:2] in there else new).append(place)
    return new, changed


def lines_to_scan(places: Sequence[SourceLine]) -> tuple[int, int] | None:
    """Return the first and the last line, where it is faster to read all in between.

    None where each place should be looked up by itself: where they are far apart, or some
    have no line, for any number of others may have none either.
    """
    lines = [place.line for place in places]
    first, last = min(lines), max(lines)
    are_close = first > 0 and last - first < _WALKED_FOR_ONE * len(places)
    return (first, last) if are_close else None


def by_source(counts: Iterable[SourceCount]) -> list[SourceCount]:
    """Return the counts by the source's name, stdin first."""
    return sorted(counts, key=lambda count: (count.source is not None, count.source or ""))


def _noted(place: SourceLine) -> Noted:
    return place.line, place.document, encode_metadata(place.metadata), place.end_line
