"""Rename a table: its three TiDB tables, and those of the table that it replaces, at once."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from jtv_cli.stores.tidb.schema import (
    PARTS,
    comment_of,
    drop_parts,
    has_identity,
    is_part,
    part_comment,
    set_comment,
)

if TYPE_CHECKING:
    from jtv_cli.records import TableSpec
    from jtv_cli.stores.tidb.connection import Connection, Database

# Of the name of a table that is set aside: with what is added, it is not too long.
_MOST_KEPT = 32


def rename_table(
    database: Database, table: TableSpec, name: str, replaced: TableSpec | None
) -> TableSpec | None:
    """Give a table another name, and set the one aside that has this name so far.

    Return the latter under its new name, for it to be dropped.
    """
    aside = None
    if replaced is not None:
        kept = f"{name[:_MOST_KEPT]}_replaced_{os.urandom(3).hex()}"
        aside = replaced._replace(name=kept)

    def rename(connection: Connection) -> None:
        if has_identity(name, comment_of(connection, name), table.identity):
            return  # by an attempt whose connection was lost
        pairs = [(table.name, name), *((f"{table.name}{part}", f"{name}{part}") for part in PARTS)]
        if aside is None:
            # What an interrupted drop may have left.
            drop_parts(connection, name)
        else:
            parts = [p for p in PARTS if is_part(comment_of(connection, f"{name}{p}"))]
            pairs = [(f"{name}{part}", f"{aside.name}{part}") for part in ("", *parts)] + pairs
        renames = ", ".join(f"`{old}` TO `{new}`" for old, new in pairs)
        connection.run(f"RENAME TABLE {renames}")

    def label(connection: Connection) -> None:
        for part in PARTS:
            set_comment(connection, f"{name}{part}", part_comment(name))

    database.read(rename, is_slow=True)
    database.read(label, is_slow=True)
    return aside
