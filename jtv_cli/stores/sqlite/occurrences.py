"""Where the documents of one table were read: its sources and occurrences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jtv_cli.batching import batched
from jtv_cli.records import Occurrence, Removed, SourceCount, SourceLine
from jtv_cli.stores.filters import fits_source
from jtv_cli.stores.source_lines import by_source, encode_metadata, lines_to_scan, new_source_lines
from jtv_cli.stores.sqlite.documents import PARAMETERS, marks, require_types, to_metadata
from jtv_cli.stores.sqlite.schema import migrate

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from jtv_cli.records import Filter
    from jtv_cli.stores.source_lines import StoredLine
    from jtv_cli.stores.sqlite.documents import Documents

# The columns of an occurrence's key cannot be NULL.
_NO_SOURCE = 0
_NO_LINE = 0

_SOURCE = (
    """CASE WHEN ? IS NULL THEN 0 ELSE (SELECT id FROM "{name}_sources" WHERE source = ?) END"""
)

_INSERT_WITH_END_LINE = """
INSERT OR IGNORE INTO "{name}_occurrences" (source, line, document, metadata, end_line)
VALUES (?, ?, ?, ?, ?)
"""

# Each value takes time, and most occurrences have no end line.
_INSERT = """
INSERT OR IGNORE INTO "{name}_occurrences" (source, line, document, metadata)
VALUES (?, ?, ?, ?)
"""

STORED = f"""
SELECT line, document, metadata, {{end_line}} FROM "{{name}}_occurrences"
WHERE source = {_SOURCE} AND line BETWEEN ? AND ?
"""

_STORED_AT = f"""
SELECT line, document, metadata, {{end_line}} FROM "{{name}}_occurrences"
WHERE source = {_SOURCE} AND line = ? AND document = ?
"""

LINES = f"""
SELECT line, document, NULL, {{end_line}} FROM "{{name}}_occurrences"
WHERE source = {_SOURCE} AND (line, document) > (?, ?) ORDER BY line, document LIMIT ?
"""

DELETE = f"""
DELETE FROM "{{name}}_occurrences"
WHERE source = {_SOURCE} AND line = ? AND document = ?
"""

_COUNTS = """
SELECT s.source, count(*), count(DISTINCT o.document), {details}
FROM "{name}_occurrences" o LEFT JOIN "{name}_sources" s ON s.id = o.source
GROUP BY o.source
"""

_COUNTS_OF = """
SELECT s.source, count(*) FROM "{{name}}_sources" s
CROSS JOIN "{{name}}_occurrences" o ON o.source = s.id
WHERE s.source IN ({marks}) GROUP BY s.id
"""

_DETAILS = """
SELECT source, details FROM "{{name}}_sources" s
WHERE source IN ({marks}) AND details IS NOT NULL
    AND EXISTS (SELECT 1 FROM "{{name}}_occurrences" WHERE source = s.id)
"""

_WITHOUT_DETAILS = """
SELECT source FROM "{name}_sources" s
WHERE EXISTS (SELECT 1 FROM "{name}_occurrences" WHERE source = s.id)
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


class Occurrences:
    """The sources and occurrences of one table, in whatever transaction is open.

    Raises the errors of sqlite3, and DamagedError for rows that jtv cannot have written.
    """

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._execute = documents.execute

    def changes(
        self, source: str | None, places: Sequence[SourceLine]
    ) -> tuple[list[SourceLine], list[SourceLine]]:
        """Return the places that are not stored, and those that are stored differently."""
        return new_source_lines(places, self._stored(source, places))

    def insert(self, occurrences: Iterable[tuple[int, Occurrence]]) -> int:
        """Store (document, occurrence); return how many were new."""
        sources = _SourceIds(self._documents)
        end_lines: list[int | None] = []
        values: list[tuple[object, ...]] = []
        for document, (source, line, metadata, end_line) in occurrences:
            values.append((sources[source], line or _NO_LINE, document, encode_metadata(metadata)))
            end_lines.append(end_line)
        if end_lines.count(None) == len(end_lines):
            return self._documents.executemany(_INSERT, values)
        migrate(self._documents.connection)
        with_end_lines = ((*v, end_line) for v, end_line in zip(values, end_lines, strict=True))
        return self._documents.executemany(_INSERT_WITH_END_LINE, with_end_lines)

    def replace(
        self, source: str | None, new: Sequence[SourceLine], changed: Sequence[SourceLine]
    ) -> int:
        """Store places of a source, some of them in place of others; return their number."""
        self._delete(source, changed)
        return self.insert(
            (document, Occurrence(source, line, metadata, end_line))
            for line, document, metadata, end_line in (*new, *changed)
        )

    def remove(self, source: str | None, places: Sequence[SourceLine]) -> Removed:
        """Delete occurrences, and documents with their last one."""
        deleted = self._delete(source, places)
        touched = {place.document for place in deleted}
        return Removed(self._documents.delete_without_occurrences(touched), len(deleted))

    def counts(self) -> list[SourceCount]:
        """Return the sources that have occurrences, by name, stdin first."""
        counts = []
        for source, occurrences, documents, details in self._execute(_COUNTS):
            require_types((str, int, int), (source, occurrences, documents))
            counts.append(SourceCount(source, occurrences, documents, to_metadata(details)))
        return by_source(counts)

    def counts_of(self, sources: Collection[str]) -> dict[str, int]:
        """Return how many occurrences each of the sources has; those without any left out."""
        found: dict[str, int] = {}
        for part in batched(list(sources), PARAMETERS):
            found.update(self._execute(_COUNTS_OF.format(marks=marks(len(part))), part).fetchall())
        return found

    def lines(self, source: str | None, after: SourceLine | None, limit: int) -> list[SourceLine]:
        """Return at most `limit` places of a source that follow `after`, by line."""
        line, document, *_ = after or SourceLine(-1, 0)
        rows = self._execute(LINES, (source, source, line, document, limit)).fetchall()
        require_types((int, int), *(row[:2] for row in rows))
        return [SourceLine(*row) for row in rows]

    def source_ids(self, filter: Filter) -> Iterator[int]:
        """Yield the numbers of the sources in which an occurrence may match a filter."""
        if fits_source(filter, None):
            yield _NO_SOURCE
        details = "{details}" if filter.has_times else "NULL"
        statement = f'SELECT source, id, {details} FROM "{{name}}_sources"'
        for source, number, stored in self._execute(statement):
            require_types((str,), (source,))
            if fits_source(filter, source, to_metadata(stored)):
                yield number

    def details(self, sources: Collection[str]) -> dict[str, Mapping[str, Any]]:
        """Return the details of those of the sources that have occurrences and details."""
        found: dict[str, Mapping[str, Any]] = {}
        if self._documents.connection.format < 2:
            return found
        for part in batched(list(sources), PARAMETERS):
            for source, details in self._execute(_DETAILS.format(marks=marks(len(part))), part):
                found[source] = to_metadata(details) or {}
        return found

    def sources_without_details(self) -> list[str]:
        """Return the sources with a name that have occurrences and no details."""
        has_details = self._documents.connection.format >= 2
        condition = " AND details IS NULL" if has_details else ""
        found = self._execute(_WITHOUT_DETAILS + condition).fetchall()
        require_types((str,), *found)
        return [source for (source,) in found]

    def set_details(self, details: Mapping[str, Mapping[str, Any] | None]) -> None:
        """Record how sources were read."""
        migrate(self._documents.connection)
        values = ((source, encode_metadata(record)) for source, record in details.items())
        self._documents.executemany(_SET_DETAILS, values)

    def rename_source(self, old: str, new: str) -> int:
        """Give a source another name, or merge it into that; return its number of occurrences."""
        ids = dict(
            self._execute(
                'SELECT source, id FROM "{name}_sources" WHERE source IN (?, ?)', (old, new)
            )
        )
        if old not in ids or old == new:
            return 0
        occurrences = self._documents.number(
            'SELECT count(*) FROM "{name}_occurrences" WHERE source = ?', (ids[old],)
        )
        if new not in ids:
            self._execute('UPDATE "{name}_sources" SET source = ? WHERE id = ?', (new, ids[old]))
        else:
            migrate(self._documents.connection)
            for statement in _MERGE:
                self._execute(statement, {"old": ids[old], "new": ids[new]})
        return occurrences

    def _stored(self, source: str | None, places: Sequence[SourceLine]) -> set[StoredLine]:
        """Return what is stored of a source at these places, and perhaps at others."""
        if lines := lines_to_scan(places):
            return set(self._execute(STORED, (source, source, *lines)))
        keys = ((source, source, place.line, place.document) for place in places)
        return {row for key in keys for row in self._execute(_STORED_AT, key)}

    def _delete(self, source: str | None, places: Iterable[SourceLine]) -> list[SourceLine]:
        """Delete occurrences of a source; return those that existed."""
        return [
            place
            for place in places
            if self._execute(DELETE, (source, source, place.line, place.document)).rowcount
        ]


class _SourceIds(dict["str | None", int]):
    """The ids of sources by name, looked up, or inserted, when first asked for."""

    def __init__(self, documents: Documents) -> None:
        super().__init__({None: _NO_SOURCE})
        self._documents = documents

    def __missing__(self, source: str) -> int:
        execute = self._documents.execute
        execute('INSERT OR IGNORE INTO "{name}_sources" (source) VALUES (?)', (source,))
        row = execute('SELECT id FROM "{name}_sources" WHERE source = ?', (source,)).fetchone()
        self[source] = found = int(row[0])
        return found
