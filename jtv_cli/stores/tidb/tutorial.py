"""The table of TiDB's tutorial: how to recognize it, convert it, and keep its duplicates apart.

A conversion touches no id, text or vector. Each step is taken only if it is still to do, so that
an interrupted conversion can be resumed; the table's comment, set before the table itself is
altered, says that it is under way.

The tutorial's script may have stored a text more than once. One of its rows has the hash by
which it is found: the first whose vector has a distance. A row whose vector is NULL or all zeros
is never found, so a text that is only in such rows must not count as stored.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

from jtv_cli.records import Change, ChangeKind, TableSpec
from jtv_cli.stores.tidb.errors import DUPLICATE_INDEX, DatabaseError, code_of
from jtv_cli.stores.tidb.schema import PARTS, create_parts, encode_comment, set_comment
from jtv_cli.stores.tidb.sql import literals

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jtv_cli.stores.tidb.connection import Connection, Database, Rows

# https://docs.pingcap.com/tidb/stable/vector-search-integrate-with-jinaai-embedding
_MODEL, _DIMENSIONS = "jina-embeddings-v2-base-en", 768
_COLUMNS = (
    ("id", r"int(\(\d+\))?", "NO", "PRI", "auto_increment"),
    ("content", r"varchar\(255\)", "NO", "", ""),
    ("content_vec", rf"vector\({_DIMENSIONS}\)", "(YES|NO)", "", ""),
)

# In a table that jtv created, the column is NOT NULL, so the server answers without reading.
_ANY_WITHOUT_HASH = "SELECT 1 FROM `{0}` WHERE content_hash IS NULL LIMIT 1"
# In another character set than UTF-8, a text would have another hash than `text_hash` returns.
_CANDIDATES = (
    "(SELECT MIN(id) AS id, UNHEX(SHA2(CONVERT(content USING utf8mb4), 256)) AS text_hash"
    "  FROM `{0}` {1} content_hash IS NULL"
    "  AND VEC_COSINE_DISTANCE(content_vec, content_vec) IS NOT NULL"
    "  GROUP BY text_hash) AS candidate"
)
_HOLDER = "LEFT JOIN `{0}` AS holder ON holder.content_hash = candidate.text_hash"
# A text none of whose rows has a hash.
_ANY_TO_FILL = f"SELECT 1 FROM {_CANDIDATES} {_HOLDER} WHERE holder.id IS NULL LIMIT 1"
_FILL = (
    f"UPDATE `{{0}}` JOIN {_CANDIDATES} ON candidate.id = `{{0}}`.id {_HOLDER}"
    " SET `{0}`.content_hash = candidate.text_hash WHERE holder.id IS NULL"
)
# While no row has a hash, the index on it would be read from its beginning each time.
_BY_ID = "USE INDEX (PRIMARY)"
_NEXT = (
    "SELECT COUNT(*), MIN(id), MAX(id) FROM (SELECT id FROM `{0}` {1}"
    " WHERE content_hash IS NULL AND id >= {2} ORDER BY id LIMIT {3}) AS part"
)
_SMALLEST_ID = -(1 << 63)
_FILLED_AT_ONCE = 1000


def tutorial_spec(name: str, columns: Sequence[Sequence[str]]) -> TableSpec | None:
    """Return what a table is if it has exactly the tutorial's columns, else None.

    `columns` has name, type, is_nullable, key and extra of each column, as in
    information_schema.
    """
    is_tutorial = len(columns) == len(_COLUMNS) and all(
        re.fullmatch(form, value, re.IGNORECASE)
        for forms, column in zip(_COLUMNS, columns, strict=True)
        for form, value in zip(forms, column, strict=True)
    )
    return TableSpec(name, _MODEL, None, _DIMENSIONS) if is_tutorial else None


def plan_conversion(name: str) -> list[Change]:
    """Return what a conversion changes, for the user to confirm."""
    return [
        Change(ChangeKind.CONVERT, description, needs_confirmation=True)
        for description in (
            f"record the model {_MODEL} in the comment of {name}",
            "allow texts longer than 255 characters",
            "add and fill the column content_hash with a unique index, so that no text is stored"
            " twice; duplicates are kept, and the first that can be found gets the hash",
            f"create {name}_sources and {name}_occurrences, which record where texts were read",
        )
    ]


def convert(database: Database, spec: TableSpec, progress: Callable[[str], None]) -> None:
    """Convert the tutorial's table, or resume its conversion, to the table of that spec.

    It needs the privileges SELECT, UPDATE, CREATE and ALTER. Without one of them, the table
    stays as it is.
    """
    run = partial(_run, database)
    # The privilege to update is needed last: without it, nothing should be changed before.
    run(f"UPDATE `{spec.name}` SET id = id WHERE FALSE")
    progress("creating the tables for occurrences")
    database.read(lambda connection: create_parts(connection, spec.name))
    comment = encode_comment(spec, is_converting=True)
    database.read(lambda connection: set_comment(connection, spec.name, comment), is_slow=True)
    progress("adding content_hash")
    run(f"ALTER TABLE `{spec.name}` MODIFY content MEDIUMTEXT NOT NULL")
    run(f"ALTER TABLE `{spec.name}` ADD COLUMN IF NOT EXISTS content_hash BINARY(32)")
    # CREATE INDEX IF NOT EXISTS would need one more privilege.
    run(f"ALTER TABLE `{spec.name}` ADD UNIQUE INDEX content_hash (content_hash)")
    _fill_hashes(database, spec.name, progress)
    comment = encode_comment(spec)
    database.read(lambda connection: set_comment(connection, spec.name, comment), is_slow=True)


def repair_statements(name: str) -> list[str]:
    """Return the statements whose rows `plan_repair` takes."""
    parts = literals(f"{name}{part}" for part in PARTS)
    return [
        "SELECT table_name FROM information_schema.tables"
        f" WHERE table_schema = DATABASE() AND table_name IN {parts}",
        _ANY_TO_FILL.format(name, "WHERE"),
    ]


def plan_repair(name: str, rows: Sequence[Rows]) -> list[Change]:
    """Return what to repair in a table because others dropped parts of it, or added rows."""
    parts, lacking = rows
    descriptions = []
    if missing := _missing_parts(name, parts):
        both = " and ".join(f"{name}{part}" for part in PARTS)
        verb = "is" if len(missing) == 1 else "are"
        descriptions.append(
            f"recreate {both}, because {' and '.join(missing)} {verb} missing;"
            " ingest the files again to record where their texts are"
        )
    if lacking:
        descriptions.append("fill content_hash in the rows that other programs have added")
    return [Change(ChangeKind.REPAIR, description) for description in descriptions]


def repair(database: Database, name: str, progress: Callable[[str], None]) -> None:
    """Recreate both tables beside the main one if one is missing, and fill in hashes."""

    def create(connection: Connection) -> bool:
        parts, lacking = connection.fetch_all(*repair_statements(name))
        if _missing_parts(name, parts):
            create_parts(connection, name)
        return bool(lacking)

    if database.read(create):
        _fill_hashes(database, name, progress)


def pass_on_hashes(connection: Connection, name: str) -> None:
    """Give the hash of each text whose row was deleted to the first of its remaining rows.

    For the end of a transaction that deletes documents.
    """
    # jtv never adds rows without a hash: it is enough to look once.
    any_without_hash = _ANY_WITHOUT_HASH.format(name)
    looked = connection.looked_up
    if any_without_hash not in looked:
        looked[any_without_hash] = bool(connection.rows(any_without_hash))
    if looked[any_without_hash]:
        connection.run(_FILL.format(name, "WHERE"))


def _fill_hashes(database: Database, name: str, progress: Callable[[str], None]) -> None:
    """Give each text without a hash its hash, in one statement for so many rows."""
    done, start = 0, _SMALLEST_ID
    while True:
        part = _NEXT.format(name, _BY_ID, start, _FILLED_AT_ONCE)
        [[count, first, last]] = database.read(lambda connection: connection.rows(part))  # noqa: B023
        if not count:
            return
        fill = _FILL.format(name, f"{_BY_ID} WHERE id BETWEEN {first} AND {last} AND")
        database.read(lambda connection: connection.run(fill))  # noqa: B023
        done, start = done + count, last + 1
        progress(f"filling content_hash: {done:,} rows")


def _missing_parts(name: str, parts: Rows) -> list[str]:
    """Return the tables beside the main one that do not exist, given the names of those that do.

    TiDB ignores the case of table names.
    """
    found = {part.lower() for (part,) in parts}
    return [f"{name}{part}" for part in PARTS if f"{name}{part}".lower() not in found]


def _run(database: Database, statement: str) -> None:
    """Run a statement that alters the table; an index may already exist."""

    def work(connection: Connection) -> None:
        try:
            connection.run(statement)
        except DatabaseError as error:
            if code_of(error) != DUPLICATE_INDEX:
                raise

    # It may have to wait until the server has built an index of the same table.
    database.read(work, is_slow=True)
