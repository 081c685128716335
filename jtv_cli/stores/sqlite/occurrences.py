"""Where the documents of one table were read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jtv_cli.batching import batched
from jtv_cli.records import Occurrence, SourceCount, SourceLine
from jtv_cli.stores.metadata import decode_metadata, encode_metadata
from jtv_cli.stores.places import by_source, lines_to_scan
from jtv_cli.stores.sqlite.rows import PARAMETERS, marks
from jtv_cli.stores.sqlite.schema import migrate

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from jtv_cli.stores.places import Noted
    from jtv_cli.stores.sqlite.rows import Rows

# The columns of an occurrence's key cannot be NULL.
_NO_SOURCE = 0
_NO_LINE = 0

_SOURCE = (
    """CASE WHEN ? IS NULL THEN 0 ELSE (SELECT id FROM "{name}_sources" WHERE source = ?) END"""
)

_INSERT = """
INSERT OR IGNORE INTO "{name}_occurrences" (source, line, document, metadata, end_line)
VALUES (?, ?, ?, ?, ?)
"""

_INSERT_IN_FORMAT_1 = """
INSERT OR IGNORE INTO "{name}_occurrences" (source, line, document, metadata)
VALUES (?, ?, ?, ?)
"""

NOTED = f"""
SELECT line, document, metadata, {{end_line}} FROM "{{name}}_occurrences"
WHERE source = {_SOURCE} AND line BETWEEN ? AND ?
"""

NOTED_AT = f"""
SELECT line, document, metadata, {{end_line}} FROM "{{name}}_occurrences"
WHERE source = {_SOURCE} AND line = ? AND document = ?
"""

PLACES = f"""
SELECT line, document, NULL, {{end_line}} FROM "{{name}}_occurrences"
WHERE source = {_SOURCE} AND (line, document) > (?, ?) ORDER BY line, document LIMIT ?
"""

REMOVE = f"""
DELETE FROM "{{name}}_occurrences"
WHERE source = {_SOURCE} AND line = ? AND document = ?
"""

_COUNTS = """
SELECT s.source, count(*), count(DISTINCT o.document), {details}
FROM "{name}_occurrences" o LEFT JOIN "{name}_sources" s ON s.id = o.source
GROUP BY o.source
"""

_DETAILS = """
SELECT source, details FROM "{{name}}_sources" s
WHERE source IN ({marks}) AND details IS NOT NULL
    AND EXISTS (SELECT 1 FROM "{{name}}_occurrences" WHERE source = s.id)
"""

_SET_DETAILS = """
INSERT INTO "{name}_sources" (source, details) VALUES (?, ?)
ON CONFLICT (source) DO UPDATE SET details = excluded.details
"""

# Of two sources that become one, the details of the new name are kept if there are any.
_MERGE = (
    'UPDATE OR IGNORE "{name}_occurrences" SET source = :new WHERE source = :old',
    'DELETE FROM "{name}_occurrences" WHERE source = :old',
    """
    UPDATE "{name}_sources" SET details = coalesce(
        details, (SELECT details FROM "{name}_sources" WHERE id = :old)
    ) WHERE id = :new
    """,
    'DELETE FROM "{name}_sources" WHERE id = :old',
)


def noted(rows: Rows, source: str | None, places: Sequence[SourceLine]) -> set[Noted]:
    """Return what is noted of a source, of these places and perhaps of others."""
    if lines := lines_to_scan(places):
        return set(rows.execute(NOTED, (source, source, *lines)))
    keys = ((source, source, place.line, place.document) for place in places)
    return {row for key in keys for row in rows.execute(NOTED_AT, key)}


def sources(rows: Rows) -> list[SourceCount]:
    """Return the sources that documents were read in, by name, stdin first."""
    return by_source(
        SourceCount(source, occurrences, documents, decode_metadata(details))
        for source, occurrences, documents, details in rows.execute(_COUNTS)
    )


def source_details(rows: Rows, names: Collection[str]) -> dict[str, Mapping[str, Any]]:
    """Return the details of those of the sources that have occurrences and details."""
    found: dict[str, Mapping[str, Any]] = {}
    for part in batched(list(names), PARAMETERS) if rows.connection.format >= 2 else ():
        for source, details in rows.execute(_DETAILS.format(marks=marks(len(part))), part):
            found[source] = decode_metadata(details) or {}
    return found


def set_source_details(rows: Rows, details: Mapping[str, Mapping[str, Any] | None]) -> None:
    """Record how sources were read, within a transaction."""
    migrate(rows.connection)
    rows.insert(_SET_DETAILS, ((name, encode_metadata(some)) for name, some in details.items()))


def rename_source(rows: Rows, old: str, new: str) -> int:
    """Give a source another name, within a transaction; return its number of occurrences."""
    both = rows.execute(
        'SELECT source, id FROM "{name}_sources" WHERE source IN (?, ?)', (old, new)
    )
    ids = dict(both)
    if old not in ids or old == new:
        return 0
    count = rows.execute('SELECT count(*) FROM "{name}_occurrences" WHERE source = ?', (ids[old],))
    (occurrences,) = count.fetchone()
    if new not in ids:
        rows.execute('UPDATE "{name}_sources" SET source = ? WHERE id = ?', (new, ids[old]))
    else:
        migrate(rows.connection)
        for statement in _MERGE:
            rows.execute(statement, {"old": ids[old], "new": ids[new]})
    return int(occurrences)


def source_ids(rows: Rows) -> Iterator[tuple[str | None, int]]:
    """Yield all sources there ever were, with the numbers that stand for them."""
    yield None, _NO_SOURCE
    yield from rows.execute('SELECT source, id FROM "{name}_sources"')


def source_lines(
    rows: Rows, source: str | None, after: SourceLine | None, limit: int
) -> list[SourceLine]:
    """Return so many places of a source by line; `after` is the one to go on from."""
    line, document, *_ = after or SourceLine(-1, 0)
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
        (
            (document, Occurrence(source, line, metadata, end_line))
            for line, document, metadata, end_line in places
        ),
    )


def insert_occurrences(rows: Rows, occurrences: Iterable[tuple[int, Occurrence]]) -> int:
    """Note (document, occurrence), within a transaction; return how many were new."""
    sources = _Sources(rows)
    values = [
        (
            sources[occurrence.source],
            occurrence.line or _NO_LINE,
            document,
            encode_metadata(occurrence.metadata),
            occurrence.end_line,
        )
        for document, occurrence in occurrences
    ]
    if any(value[-1] is not None for value in values):
        migrate(rows.connection)
    if rows.connection.format < 2:
        return rows.insert(_INSERT_IN_FORMAT_1, (value[:-1] for value in values))
    return rows.insert(_INSERT, values)


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
