"""What a table of jtv's lacks because others dropped some of it, or added rows, and gets again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jtv_cli.records import Action, Change
from jtv_cli.stores.tidb.duplicates import fill_hashes, lacks_hashes
from jtv_cli.stores.tidb.schema import comment_of, make_parts

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from jtv_cli.stores.tidb.connection import Database
    from jtv_cli.stores.tidb.schema import Schema


def plan_mending(connection: Connection, tables: Schema) -> list[Change]:
    """Return what is to be mended, in words for the user."""
    changes = []
    if missing := _missing_parts(connection, tables):
        both = " and ".join(part.name for part in tables.parts)
        description = (
            f"make {both} anew, for there is no {' and no '.join(missing)};"
            " ingest again what was read, to have noted where"
        )
        changes.append(Change(Action.MEND, description))
    if lacks_hashes(connection, tables):
        description = "fill content_hash in the rows that others have added"
        changes.append(Change(Action.MEND, description))
    return changes


def mend(database: Database, tables: Schema, progress: Callable[[str], None]) -> None:
    """Make the tables that belong to a table, both empty, where one is missing; fill in hashes."""

    def parts(connection: Connection) -> bool:
        if _missing_parts(connection, tables):
            make_parts(connection, tables)
        return lacks_hashes(connection, tables)

    if database.read(parts):
        fill_hashes(database, tables, progress)


def _missing_parts(connection: Connection, tables: Schema) -> list[str]:
    return [part.name for part in tables.parts if comment_of(connection, part.name) is None]
