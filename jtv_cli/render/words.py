"""Counts and states in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jtv_cli.records import IndexStatus, Removed


def counted(number: int, noun: str) -> str:
    """Return so many of a thing."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def removed_in_words(removed: Removed) -> str:
    """Return how much is removed."""
    documents = counted(removed.documents, "document")
    return f"{documents} and {counted(removed.occurrences, 'occurrence')}"


def described(found: IndexStatus) -> str:
    """Return how far an index is, in words."""
    numbers = f"{found.state.value}: {found.indexed:,} documents indexed, {found.pending:,} not yet"
    return f"{numbers}; {found.detail}" if found.detail else numbers
