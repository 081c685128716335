"""The equal texts of an adopted table, of which one has the hash that it is known by.

That is the first whose vector has a distance. A row where it is NULL, or all zeros, is never
found: a text that is in such rows only must not pass for known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from jtv_cli.stores.tidb.connection import Database
    from jtv_cli.stores.tidb.schema import Schema

# The first three read only rows without a hash, by the index. In a table that jtv made the
# column is NOT NULL, so the server need not look.
_ANY = "SELECT 1 FROM `{0}` WHERE content_hash IS NULL LIMIT 1"
# A text in another character set than UTF-8 would have another hash than `text_hash` says.
_HEIRS = (
    "(SELECT MIN(id) AS id, UNHEX(SHA2(CONVERT(content USING utf8mb4), 256)) AS text_hash"
    "  FROM `{0}` {1} content_hash IS NULL"
    "  AND VEC_COSINE_DISTANCE(content_vec, content_vec) IS NOT NULL GROUP BY text_hash) AS heir"
)
_HOLDER = "LEFT JOIN `{0}` AS holder ON holder.content_hash = heir.text_hash"
_LACKING = f"SELECT 1 FROM {_HEIRS} {_HOLDER} WHERE holder.id IS NULL LIMIT 1"
_HAND_ON = (
    f"UPDATE `{{0}}` JOIN {_HEIRS} ON heir.id = `{{0}}`.id {_HOLDER}"
    " SET `{0}`.content_hash = heir.text_hash WHERE holder.id IS NULL"
)

# Where all rows are without a hash, that index would be read from its beginning each time.
_BY_ID = "USE INDEX (PRIMARY)"
_NEXT = (
    "SELECT COUNT(*), MIN(id), MAX(id) FROM (SELECT id FROM `{0}` {1}"
    " WHERE content_hash IS NULL AND id >= {2} ORDER BY id LIMIT {3}) AS part"
)
_LEAST = -(1 << 63)
_CHUNK = 1000


def hand_on_hashes(connection: Connection, schema: Schema) -> None:
    """Give the hash of each text that lost the row which had it to the first that is left.

    For the end of a transaction that deletes documents.
    """
    table = schema.documents.name
    # jtv only makes rows without a hash fewer: it is enough to ask once.
    asked, key = connection.info, (_ANY, table)
    if key not in asked:
        asked[key] = connection.exec_driver_sql(_ANY.format(table)).first() is not None
    if asked[key]:
        connection.exec_driver_sql(_HAND_ON.format(table, "WHERE"))


def lacks_hashes(connection: Connection, schema: Schema) -> bool:
    """Return whether there is a text that no row is known by: others have added it."""
    statement = _LACKING.format(schema.documents.name, "WHERE")
    return connection.exec_driver_sql(statement).first() is not None


def fill_hashes(database: Database, schema: Schema, progress: Callable[[str], None]) -> None:
    """Give each text that no row is known by its hash, a statement for so many rows by id."""
    table = schema.documents.name
    done, start = 0, _LEAST
    while True:
        part = _NEXT.format(table, _BY_ID, start, _CHUNK)
        count, first, last = database.read(
            lambda connection: connection.exec_driver_sql(part).one()  # noqa: B023
        )
        if not count:
            return
        fill = _HAND_ON.format(table, f"{_BY_ID} WHERE id BETWEEN {first} AND {last} AND")
        database.read(lambda connection: connection.exec_driver_sql(fill))  # noqa: B023
        done, start = done + count, last + 1
        progress(f"filling content_hash: {done:,} texts")
