"""The SQLite tables of a jtv file, statements on them, and their migration to a new format."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from jtv_cli.records import Recipe, TableSpec
from jtv_cli.stores.sqlite.connection import FORMAT, DamagedError, sign

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping, Sequence

    from jtv_cli.stores.sqlite.connection import Connection

CATALOG = """
CREATE TABLE jtv_tables (
    name TEXT PRIMARY KEY COLLATE NOCASE,
    model TEXT NOT NULL,
    task TEXT,
    dimensions INTEGER NOT NULL,
    metric TEXT NOT NULL,
    identity TEXT NOT NULL,
    documents INTEGER NOT NULL DEFAULT 0,
    recipe TEXT
) WITHOUT ROWID
"""

# The vector stands before the text, so that a long text never lies between the
# start of the row and its vector.
_PARTS = ("", "_sources", "_occurrences")
_BY_DOCUMENT = 'CREATE INDEX "{name}_by_document" ON "{name}_occurrences" (document)'

TABLE_STATEMENTS = (
    """
    CREATE TABLE "{name}" (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        hash BLOB NOT NULL UNIQUE,
        vector BLOB NOT NULL,
        content TEXT NOT NULL
    )
    """,
    """
    CREATE TABLE "{name}_sources" (
        id INTEGER PRIMARY KEY,
        source TEXT NOT NULL UNIQUE,
        details TEXT
    )
    """,
    """
    CREATE TABLE "{name}_occurrences" (
        source INTEGER NOT NULL,
        line INTEGER NOT NULL,
        document INTEGER NOT NULL REFERENCES "{name}" (id) ON DELETE CASCADE,
        metadata TEXT,
        end_line INTEGER,
        PRIMARY KEY (source, line, document)
    ) WITHOUT ROWID
    """,
    _BY_DOCUMENT,
)

# SQLite renames the table in the references and in the sequence of ids, but it renames no index.
_RENAME_STATEMENTS = (
    'DROP INDEX "{old}_by_document"',
    *(f'ALTER TABLE "{{old}}{part}" RENAME TO "{{name}}{part}"' for part in _PARTS),
    _BY_DOCUMENT,
    "UPDATE jtv_tables SET name = '{name}' WHERE name = '{old}'",
)

# Format 2 added these columns, and one to the catalog.
_FROM_FORMAT_1 = (
    'ALTER TABLE "{name}_sources" ADD COLUMN details TEXT',
    'ALTER TABLE "{name}_occurrences" ADD COLUMN end_line INTEGER',
)


class Statements:
    """Runs statements on one table, in whatever transaction is open.

    In them `{name}` stands for the table's name, which needs no quoting: only letters, digits
    and underscores are allowed in it. `{end_line}` and `{details}` stand for the columns of that
    name, and for NULL in a file whose format has none.

    Raises the errors of sqlite3, and DamagedError for rows that jtv cannot have written.
    """

    def __init__(self, connection: Connection, spec: TableSpec) -> None:
        self.connection = connection
        self.spec = spec

    def execute(
        self, statement: str, parameters: Sequence[object] | Mapping[str, object] = ()
    ) -> sqlite3.Cursor:
        """Run one statement."""
        return self.connection.execute(self._complete(statement), parameters)

    def executemany(self, statement: str, values: Iterable[Sequence[object]]) -> int:
        """Run one statement with each of the values; return how many rows changed."""
        before = self.connection.total_changes
        self.connection.executemany(self._complete(statement), values)
        return self.connection.total_changes - before

    def number(self, statement: str, parameters: Sequence[object] = ()) -> int:
        """Return the number that a statement selects."""
        row = self.execute(statement, parameters).fetchone()
        if row is None or row[0] is None:
            raise DamagedError
        return int(row[0])

    def _complete(self, statement: str) -> str:
        # Tables of format 1 lack these columns, which are NULL unless something was written.
        is_old = self.connection.format < 2
        end_line, details = ("NULL", "NULL") if is_old else ("end_line", "details")
        return statement.format(name=self.spec.name, end_line=end_line, details=details)


def catalog(connection: Connection) -> list[TableSpec]:
    """Return the specs of all tables in the file, by name."""
    recipe = "NULL" if connection.read_format() == 1 else "recipe"
    rows = connection.execute(
        f"SELECT name, model, task, dimensions, metric, identity, {recipe} FROM jtv_tables"
        " ORDER BY name"
    )
    return [_read_spec(*row) for row in rows]


def create_table(connection: Connection, spec: TableSpec) -> None:
    """Create a table with a new identity, within a transaction."""
    import json

    for statement in TABLE_STATEMENTS:
        connection.execute(statement.format(name=spec.name))
    recipe = spec.recipe.to_record()
    connection.execute(
        "INSERT INTO jtv_tables (name, model, task, dimensions, metric, identity, recipe)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            *(spec.name, spec.model, spec.task, spec.dimensions, spec.metric),
            os.urandom(16).hex(),
            # NULL if all of it is the default.
            json.dumps(recipe) if recipe else None,
        ),
    )


def rename_table(connection: Connection, old: str, name: str) -> None:
    """Give a table another name, which no table has, within a transaction.

    Its full-text index keeps the old one.
    """
    for statement in _RENAME_STATEMENTS:
        connection.execute(statement.format(old=old, name=name))


def _read_spec(*row: Any) -> TableSpec:  # noqa: ANN401  # as they are stored
    *values, recipe = row
    name, model, task, dimensions, metric, identity = values
    texts = (name, model, "" if task is None else task, metric, identity)
    is_spec = all(type(text) is str for text in texts) and name.isascii() and name.isidentifier()
    if not is_spec or type(dimensions) is not int or dimensions < 1:
        raise DamagedError
    if recipe is None:
        return TableSpec(*values)
    import json

    try:
        parsed = Recipe.from_record(json.loads(recipe))
    except (TypeError, ValueError) as error:
        raise DamagedError from error
    return TableSpec(*values)._replace(recipe=parsed)


def migrate(connection: Connection) -> None:
    """Bring the whole file to the current format, within a transaction that has the write lock."""
    if connection.read_format() == FORMAT:
        return
    specs = catalog(connection)
    if connection.format == 1:
        connection.execute("ALTER TABLE jtv_tables ADD COLUMN recipe TEXT")
    for spec in specs:
        for statement in _FROM_FORMAT_1:
            connection.execute(statement.format(name=spec.name))
    sign(connection)
    connection.read_format()
