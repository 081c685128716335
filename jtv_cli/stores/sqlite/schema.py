"""The SQLite tables of a jtv file, and how a file of an older format becomes a current one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from jtv_cli.errors import StoreError
from jtv_cli.records import Recipe, TableSpec
from jtv_cli.stores.sqlite.file import FORMAT, sign

if TYPE_CHECKING:
    from jtv_cli.stores.sqlite.file import Connection

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
    """
    CREATE INDEX "{name}_by_document" ON "{name}_occurrences" (document)
    """,
)

# Format 2 added these columns, and one to the catalog.
_FROM_FORMAT_1 = (
    'ALTER TABLE "{name}_sources" ADD COLUMN details TEXT',
    'ALTER TABLE "{name}_occurrences" ADD COLUMN end_line INTEGER',
)


def catalog(connection: Connection) -> list[TableSpec]:
    """Return the specs of all tables in the file, by name."""
    recipe = "NULL" if connection.read_format() == 1 else "recipe"
    rows = connection.execute(
        f"SELECT name, model, task, dimensions, metric, identity, {recipe} FROM jtv_tables"
        " ORDER BY name"
    )
    return [TableSpec(*spec)._replace(recipe=read_recipe(text)) for *spec, text in rows]


def write_recipe(recipe: Recipe) -> str | None:
    """Return a recipe as the catalog holds it: JSON, NULL if all of it is the default."""
    record = recipe.to_record()
    return json.dumps(record) if record else None


def read_recipe(text: str | None) -> Recipe:
    """Return the recipe that the catalog holds. Raises StoreError if it is damaged."""
    try:
        return Recipe.from_record(None if text is None else json.loads(text))
    except ValueError as error:
        raise StoreError(
            "the catalog of tables is damaged", hint="restore the file from a backup"
        ) from error


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
