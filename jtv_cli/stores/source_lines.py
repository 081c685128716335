"""Occurrences as every store keeps them: their metadata as JSON, and which of them are new."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jtv_cli.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence, Set

    from jtv_cli.records import SourceCount, SourceLine

    StoredLine = tuple[int, int, str | None, int | None]
    """Line, document, encoded metadata, and end line."""

# One lookup takes about as long as scanning this many rows.
_ROWS_PER_LOOKUP = 4


def encode_metadata(metadata: Mapping[str, Any] | None) -> str | None:
    """Return metadata as the JSON to store."""
    if metadata is None:
        return None
    import orjson

    return orjson.dumps(metadata).decode()


def decode_metadata(stored: str | None) -> Mapping[str, Any] | None:
    """Return stored metadata. Raises StoreError if it is not JSON any more."""
    if stored is None:
        return None
    import orjson

    try:
        metadata: Mapping[str, Any] = orjson.loads(stored)
    except ValueError as error:
        raise StoreError(
            "the database returned metadata that cannot be read",
            hint="check the database with: jtv doctor",
        ) from error
    return metadata


def new_source_lines(
    lines: Sequence[SourceLine], stored: Set[StoredLine]
) -> tuple[list[SourceLine], list[SourceLine]]:
    """Return the lines that are not stored, and those that are stored with other metadata."""
    differing = [
        line for line in lines if (line if line.metadata is None else _encoded(line)) not in stored
    ]
    keys = {line[:2] for line in stored} if differing else set()
    new: list[SourceLine] = []
    changed: list[SourceLine] = []
    for line in differing:
        (changed if line[:2] in keys else new).append(line)
    return new, changed


def lines_to_scan(lines: Sequence[SourceLine]) -> tuple[int, int] | None:
    """Return the first and the last line if scanning all rows between them is faster.

    None means that each line should be looked up: they are far apart, or some have no line
    number, and any number of rows may have none.
    """
    numbers = [line.line for line in lines]
    first, last = min(numbers), max(numbers)
    are_close = first > 0 and last - first < _ROWS_PER_LOOKUP * len(lines)
    return (first, last) if are_close else None


def by_source(counts: Iterable[SourceCount]) -> list[SourceCount]:
    """Return the counts by the source's name, stdin first."""
    return sorted(counts, key=lambda count: (count.source is not None, count.source or ""))


def _encoded(line: SourceLine) -> StoredLine:
    return line.line, line.document, encode_metadata(line.metadata), line.end_line
