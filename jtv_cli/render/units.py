"""Counts, sizes and states in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jtv_cli.records import IndexStatus, Removed


def format_count(number: int, noun: str) -> str:
    """Return so many of a thing."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def format_size(size: int) -> str:
    """Return so many bytes in the largest unit that fits."""
    value, units = float(size), iter(("B", "KiB", "MiB", "GiB", "TiB"))
    unit = next(units)
    while value >= 1024 and (larger := next(units, None)):
        value, unit = value / 1024, larger
    return f"{value:.1f} {unit}" if unit != "B" else f"{size} B"


def format_usd(usd: float) -> str:
    """Return a price, as exactly as prices of texts need it."""
    return "less than 0.0001 USD" if 0 < usd < 0.0001 else f"{usd:,.4f} USD"


def format_removed(removed: Removed) -> str:
    """Return how much is removed."""
    documents = format_count(removed.documents, "document")
    return f"{documents} and {format_count(removed.occurrences, 'occurrence')}"


def format_index(found: IndexStatus) -> str:
    """Return how far an index is, in words."""
    indexed = format_count(found.indexed, "document")
    numbers = f"{found.state.value}: {indexed} indexed, {found.pending:,} not yet"
    return f"{numbers}; {found.detail}" if found.detail else numbers
