"""The equal texts of an adopted table, of which one has the hash that it is known by."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from jtv_cli.stores.tidb.schema import Schema

# Both read only rows without a hash, by the index. In a table that jtv made the column is NOT
# NULL, so the server need not look.
_ANY = "SELECT 1 FROM `{0}` WHERE content_hash IS NULL LIMIT 1"
_HAND_ON = (
    "UPDATE `{0}` JOIN ("
    "  SELECT MIN(id) AS id, UNHEX(SHA2(content, 256)) AS text_hash FROM `{0}`"
    "  WHERE content_hash IS NULL GROUP BY text_hash"
    ") AS heir ON heir.id = `{0}`.id"
    " LEFT JOIN `{0}` AS holder ON holder.content_hash = heir.text_hash"
    " SET `{0}`.content_hash = heir.text_hash WHERE holder.id IS NULL"
)


def hand_on_hashes(connection: Connection, schema: Schema) -> None:
    """Give the hash of each text that lost the row which had it to the first that is left.

    For the end of a transaction that deletes documents.
    """
    table = schema.documents.name
    # Rows without a hash only ever become fewer: it is enough to ask once.
    asked, key = connection.info, (_ANY, table)
    if key not in asked:
        asked[key] = connection.exec_driver_sql(_ANY.format(table)).first() is not None
    if asked[key]:
        connection.exec_driver_sql(_HAND_ON.format(table))
