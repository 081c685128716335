"""Numbers in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jtv_cli.records import Removed


def counted(number: int, noun: str) -> str:
    """Return so many of a thing."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def removed_in_words(removed: Removed) -> str:
    """Return how much is removed."""
    documents = counted(removed.documents, "document")
    return f"{documents} and {counted(removed.occurrences, 'occurrence')}"
