"""The table that readers of TiDB's tutorial have made, and how it becomes jtv's.

No id, text or vector is touched. Each step is taken only where it is still to do, so
that an adoption that was interrupted goes on; the table's comment, set before the table
itself is changed, says that it is under way.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError

from jtv_cli.records import Action, Change, TableSpec
from jtv_cli.stores.tidb.duplicates import fill_hashes
from jtv_cli.stores.tidb.errors import DUPLICATE_INDEX, code_of
from jtv_cli.stores.tidb.schema import encode_comment, make_parts, schema

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection

    from jtv_cli.stores.tidb.connection import Database

# https://docs.pingcap.com/tidb/stable/vector-search-integrate-with-jinaai-embedding
_MODEL, _DIMENSIONS = "jina-embeddings-v2-base-en", 768
_COLUMNS = (
    ("id", r"int(\(\d+\))?", "NO", "PRI", "auto_increment"),
    ("content", r"varchar\(255\)", "NO", "", ""),
    ("content_vec", rf"vector\({_DIMENSIONS}\)", "(YES|NO)", "", ""),
)


def tutorial_spec(name: str, columns: Sequence[Sequence[str]]) -> TableSpec | None:
    """Return what a table is if it has just the tutorial's columns, else None.

    Of each column, `columns` has what information_schema calls name, type, is_nullable,
    key and extra.
    """
    is_tutorial = len(columns) == len(_COLUMNS) and all(
        re.fullmatch(form, value, re.IGNORECASE)
        for forms, column in zip(_COLUMNS, columns, strict=True)
        for form, value in zip(forms, column, strict=True)
    )
    return TableSpec(name, _MODEL, None, _DIMENSIONS) if is_tutorial else None


def plan_adoption(name: str) -> list[Change]:
    """Return what an adoption does, in words for the user."""
    return [
        Change(Action.ADOPT, description)
        for description in (
            f"note in the comment of {name} that its model is {_MODEL}",
            "let content be longer than 255 characters",
            "add content_hash with a unique index and fill it, so that no text is stored twice;"
            " of equal texts, all stay and the first that can be found gets the hash",
            f"make {name}_sources and {name}_occurrences, for where texts were read",
        )
    ]


def adopt(database: Database, spec: TableSpec, progress: Callable[[str], None]) -> None:
    """Make the tutorial's table, as it is or half adopted, the one that the spec says.

    It takes the rights SELECT, UPDATE, CREATE and ALTER; the table is as it was where one
    is missing.
    """
    run = partial(_run, database, spec.name)
    # The right to update is needed last; without it, nothing should be changed before.
    run("UPDATE `{}` SET id = id WHERE FALSE")
    progress("making room for where texts were read")
    database.read(lambda connection: make_parts(connection, schema(spec)))
    run("ALTER TABLE `{}` COMMENT = %s", encode_comment(spec, adopting=True))
    progress("adding content_hash")
    run("ALTER TABLE `{}` MODIFY content MEDIUMTEXT NOT NULL")
    run("ALTER TABLE `{}` ADD COLUMN IF NOT EXISTS content_hash BINARY(32)")
    # CREATE INDEX IF NOT EXISTS would need one more right.
    run("ALTER TABLE `{}` ADD UNIQUE INDEX content_hash (content_hash)")
    fill_hashes(database, schema(spec), progress)
    run("ALTER TABLE `{}` COMMENT = %s", encode_comment(spec))


def _run(database: Database, table: str, statement: str, *parameters: str) -> None:
    """Run a statement, in which {} is the table's name; an index may be there already."""
    statement = statement.format(table)

    def work(connection: Connection) -> None:
        try:
            connection.exec_driver_sql(statement, parameters)
        except DBAPIError as error:
            if code_of(error) != DUPLICATE_INDEX:
                raise

    # It may have to wait until the server has built an index of the same table.
    database.read(work, is_slow=True)
