"""Format distances, counts, sizes, prices and states."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jtv_cli.records import IndexStatus, Removed

_MISSING = "-"
_NO_INDEX = "no index: "


def format_count(number: int, noun: str) -> str:
    """Return a count with its noun: 1 row, 2,000 rows."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def format_size(size: int) -> str:
    """Return a size in bytes with the largest unit that leaves at least one: 1.5 MiB."""
    value, units = float(size), iter(("B", "KiB", "MiB", "GiB", "TiB"))
    unit = next(units)
    while value >= 1024 and (larger := next(units, None)):
        value, unit = value / 1024, larger
    return f"{value:.1f} {unit}" if unit != "B" else f"{size} B"


def format_usd(usd: float) -> str:
    """Return a price with four decimals: embeddings of a few texts cost less than a cent."""
    return "less than 0.0001 USD" if 0 < usd < 0.0001 else f"{usd:,.4f} USD"


def format_removed(removed: Removed) -> str:
    """Return the counts of removed documents and occurrences."""
    documents = format_count(removed.documents, "document")
    return f"{documents} and {format_count(removed.occurrences, 'occurrence')}"


def format_named_index(found: IndexStatus) -> str:
    """Return the same for a line that begins with the word index."""
    return format_index(found).removeprefix(_NO_INDEX)


def format_index(found: IndexStatus) -> str:
    """Return the state of an index, and how many of the documents are in it."""
    if found.state.value == "none":
        return f"{_NO_INDEX}{found.detail}"
    documents = format_count(found.indexed + found.pending, "document")
    numbers = f"{found.state.value}: {found.indexed:,} of {documents} indexed"
    return f"{numbers}; {found.detail}" if found.detail else numbers


def format_value(value: object) -> str:
    """Return a value as text, `-` for None."""
    return _MISSING if value is None else str(value)


def format_distance(distance: float | None) -> str:
    """Return a distance with six decimals, `-` for None."""
    return _MISSING if distance is None else f"{distance:.6f}"


def format_score(score: float | None) -> str:
    """Return a score with four decimals, `-` for None."""
    return _MISSING if score is None else f"{score:.4f}"
