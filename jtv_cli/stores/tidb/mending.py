"""What a table of jtv's lacks because others dropped some of it, or added rows, and gets again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jtv_cli.records import Action, Change
from jtv_cli.stores.tidb.schema import comment_of, make_parts

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from jtv_cli.stores.tidb.schema import Schema


def plan_mending(connection: Connection, tables: Schema) -> list[Change]:
    """Return what is to be mended, in words for the user."""
    if not (missing := _missing_parts(connection, tables)):
        return []
    both = " and ".join(part.name for part in tables.parts)
    description = (
        f"make {both} anew, for there is no {' and no '.join(missing)};"
        " ingest again what was read, to have noted where"
    )
    return [Change(Action.MEND, description)]


def mend(connection: Connection, tables: Schema) -> None:
    """Make the tables that belong to a table, both empty, where one is missing."""
    if _missing_parts(connection, tables):
        make_parts(connection, tables)


def _missing_parts(connection: Connection, tables: Schema) -> list[str]:
    return [part.name for part in tables.parts if comment_of(connection, part.name) is None]
