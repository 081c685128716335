"""Where the documents of one table were read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jtv_cli.records import Occurrence, SourceCount, SourceLine
from jtv_cli.stores.metadata import encode_metadata
from jtv_cli.stores.places import by_source, lines_to_scan

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from jtv_cli.stores.places import Noted
    from jtv_cli.stores.sqlite.rows import Rows

# The columns of an occurrence's key cannot be NULL.
_NO_SOURCE = 0
_NO_LINE = 0

_SOURCE = (
    """CASE WHEN ? IS NULL THEN 0 ELSE (SELECT id FROM "{name}_sources" WHERE source = ?) END"""
)

NOTED = f"""
SELECT line, document, metadata FROM "{{name}}_occurrences"
WHERE source = {_SOURCE} AND line BETWEEN ? AND ?
"""

NOTED_AT = f"""
SELECT line, document, metadata FROM "{{name}}_occurrences"
WHERE source = {_SOURCE} AND line = ? AND document = ?
"""

PLACES = f"""
SELECT line, document FROM "{{name}}_occurrences"
WHERE source = {_SOURCE} AND (line, document) > (?, ?) ORDER BY line, document LIMIT ?
"""

REMOVE = f"""
DELETE FROM "{{name}}_occurrences"
WHERE source = {_SOURCE} AND line = ? AND document = ?
"""

_COUNTS = """
SELECT s.source, count(*), count(DISTINCT o.document)
FROM "{name}_occurrences" o LEFT JOIN "{name}_sources" s ON s.id = o.source
GROUP BY o.source
"""


def noted(rows: Rows, source: str | None, places: Sequence[SourceLine]) -> set[Noted]:
    """Return what is noted of a source, of these places and perhaps of others."""
    if lines := lines_to_scan(places):
        return set(rows.execute(NOTED, (source, source, *lines)))
    keys = ((source, source, line, document) for line, document, _ in places)
    return {row for key in keys for row in rows.execute(NOTED_AT, key)}


def sources(rows: Rows) -> list[SourceCount]:
    """Return the sources that documents were read in, by name, stdin first."""
    return by_source(SourceCount(*row) for row in rows.execute(_COUNTS))


def source_ids(rows: Rows) -> Iterator[tuple[str | None, int]]:
    """Yield all sources there ever were, with the numbers that stand for them."""
    yield None, _NO_SOURCE
    yield from rows.execute('SELECT source, id FROM "{name}_sources"')


def source_lines(
    rows: Rows, source: str | None, after: SourceLine | None, limit: int
) -> list[SourceLine]:
    """Return so many places of a source by line; `after` is the one to go on from."""
    line, document, _ = after or SourceLine(-1, 0)
    return [
        SourceLine(*row) for row in rows.execute(PLACES, (source, source, line, document, limit))
    ]


def remove_places(rows: Rows, source: str | None, places: Iterable[SourceLine]) -> list[SourceLine]:
    """Remove what is noted of a source, within a transaction; return those that were there."""
    return [
        place
        for place in places
        if rows.execute(REMOVE, (source, source, place.line, place.document)).rowcount
    ]


def insert_places(rows: Rows, source: str | None, places: Iterable[SourceLine]) -> int:
    """Note where documents are in a source, as `insert_occurrences` does."""
    return insert_occurrences(
        rows,
        ((document, Occurrence(source, line, metadata)) for line, document, metadata in places),
    )


def insert_occurrences(rows: Rows, occurrences: Iterable[tuple[int, Occurrence]]) -> int:
    """Note (document, occurrence), within a transaction; return how many were new."""
    sources = _Sources(rows)
    return rows.insert(
        'INSERT OR IGNORE INTO "{name}_occurrences" (source, line, document, metadata)'
        " VALUES (?, ?, ?, ?)",
        [
            (
                sources[occurrence.source],
                occurrence.line or _NO_LINE,
                document,
                encode_metadata(occurrence.metadata),
            )
            for document, occurrence in occurrences
        ],
    )


class _Sources(dict["str | None", int]):
    """The ids of sources, looked up when first asked for, and made where there is none."""

    def __init__(self, rows: Rows) -> None:
        super().__init__({None: _NO_SOURCE})
        self._rows = rows

    def __missing__(self, source: str) -> int:
        self._rows.execute('INSERT OR IGNORE INTO "{name}_sources" (source) VALUES (?)', (source,))
        row = self._rows.execute('SELECT id FROM "{name}_sources" WHERE source = ?', (source,))
        self[source] = found = int(row.fetchone()[0])
        return found
