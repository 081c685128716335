"""The TiDB tables that one jtv table is made of, and what its COMMENT remembers.

A table NAME is three TiDB tables. `NAME` holds the documents, with the columns of
TiDB's tutorial and a hash. `NAME_sources` names what was read, `NAME_occurrences`
says which document stood in which line of it. The comment of `NAME`, as JSON, says
what the table is; it is the last thing to be made.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.mysql import MEDIUMTEXT
from sqlalchemy.schema import CreateTable, DropTable
from tidb_vector.sqlalchemy import VectorType

from jtv_cli.errors import StoreError, of_newer_format
from jtv_cli.records import Recipe, TableSpec

FORMAT = 2
"""The current format; format 1 had no `details` of sources and no `end_line`."""

# Tables beside the main one are told by their comment, which is the same in every format.
_PART_FORMAT = 1

MOST_DIMENSIONS = 16_000
"""What tidb-vector takes; TiDB itself takes 383 more."""

_SPEC_KEYS = ("model", "task", "dimensions", "metric", "identity")

# The columns of an occurrence's key cannot be NULL.
NO_SOURCE = 0
NO_LINE = 0


_ALIKE: dict[str, Any] = {"mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}
# Else each server of a cluster hands out ids from a range of its own, out of order.
_IDS_IN_ORDER: dict[str, Any] = {"mysql_auto_id_cache": "1"}


class Schema(NamedTuple):
    """The three TiDB tables, as SQLAlchemy knows them.

    The tutorial's table stands alone, and `has_parts` is false.
    """

    documents: sa.Table
    sources: sa.Table
    occurrences: sa.Table
    has_parts: bool = True
    format: int = FORMAT

    @property
    def parts(self) -> tuple[sa.Table, sa.Table]:
        """The tables beside the one that has the name."""
        return self.sources, self.occurrences

    @property
    def placed(self) -> sa.Join:
        """Each occurrence beside the source that it is in; beside none where that is stdin."""
        is_in = self.sources.c.id == self.occurrences.c.source
        return self.occurrences.outerjoin(self.sources, is_in)


def schema(spec: TableSpec, *, has_parts: bool = True, table_format: int = FORMAT) -> Schema:
    """Return the TiDB tables of a jtv table of that format."""
    metadata = sa.MetaData()
    details, end_line = [], []
    if table_format > 1:
        details = [sa.Column("details", MEDIUMTEXT)]
        end_line = [sa.Column("end_line", sa.BigInteger)]
    documents = sa.Table(
        spec.name,
        metadata,
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=True),
        sa.Column("content", MEDIUMTEXT, nullable=False),
        sa.Column("content_vec", VectorType(spec.dimensions), nullable=False),
        sa.Column("content_hash", sa.BINARY(32), nullable=False, unique=True),
        comment=encode_comment(spec),
        **_ALIKE,
        **_IDS_IN_ORDER,
    )
    # A path can be longer than an index takes: its hash stands for it.
    sources = sa.Table(
        f"{spec.name}_sources",
        metadata,
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=True),
        sa.Column("source", MEDIUMTEXT, nullable=False),
        sa.Column("source_hash", sa.BINARY(32), nullable=False, unique=True),
        *details,
        comment=part_comment(spec.name),
        **_ALIKE,
        **_IDS_IN_ORDER,
    )
    occurrences = sa.Table(
        f"{spec.name}_occurrences",
        metadata,
        sa.Column("document", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("source", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("line", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("metadata", MEDIUMTEXT),
        *end_line,
        # An index would need a statement, and a right, of its own.
        sa.UniqueConstraint("source", "line", "document", name="by_source"),
        comment=part_comment(spec.name),
        **_ALIKE,
    )
    return Schema(documents, sources, occurrences, has_parts, table_format)


def end_line_of(schema: Schema) -> sa.ColumnElement[Any]:
    """Return the last line of an occurrence, null in a table of format 1."""
    if schema.format == 1:
        return sa.null().label("end_line")
    return schema.occurrences.c.end_line


def line_of(column: sa.ColumnElement[int]) -> sa.ColumnElement[int | None]:
    """Return the line of an occurrence, null where it has none."""
    return sa.func.nullif(column, NO_LINE)


def in_order(schema: Schema) -> tuple[sa.ColumnElement[Any], ...]:
    """Return what occurrences are ordered by: the earliest source, stdin last, then the line."""
    columns = schema.occurrences.c
    return columns.source == NO_SOURCE, columns.source, columns.line


def encode_comment(spec: TableSpec, *, adopting: bool = False) -> str:
    """Return what a table's comment should say; `adopting` while the table is being changed."""
    said = {"jtv": FORMAT} | {key: getattr(spec, key) for key in _SPEC_KEYS}
    if recipe := spec.recipe.to_record():
        said["recipe"] = recipe
    return json.dumps(said | ({"adopting": True} if adopting else {}), ensure_ascii=False)


def part_comment(name: str) -> str:
    """Return the comment of the tables that belong to a table of that name."""
    return json.dumps({"jtv": _PART_FORMAT, "part_of": name})


def is_part(comment: str | None, name: str) -> bool:
    """Return whether a comment is that of a table which belongs to the one of that name.

    To TiDB, names are the same in any case.
    """
    return comment is not None and comment.lower() == part_comment(name).lower()


class Description(NamedTuple):
    """What the comment of a jtv table says of it."""

    spec: TableSpec
    is_adopting: bool
    """Whether the table is still being changed from the tutorial's."""
    format: int


def decode_comment(name: str, comment: str) -> Description | None:
    """Return what a comment says of its table.

    None where the comment is not jtv's, or of a table that is part of another.

    Raises StoreError where a newer jtv wrote it.
    """
    try:
        said = json.loads(comment)
    except ValueError:
        return None
    if not isinstance(said, dict) or not isinstance(said.get("jtv"), int):
        return None
    if said["jtv"] > FORMAT:
        raise of_newer_format(StoreError, f"table {name}", said["jtv"], FORMAT)
    if not said.keys() >= set(_SPEC_KEYS):
        return None
    try:
        recipe = Recipe.from_record(said.get("recipe"))
    except ValueError:
        return None
    spec = TableSpec(name, *(said[key] for key in _SPEC_KEYS))._replace(recipe=recipe)
    return Description(spec, "adopting" in said, said["jtv"])


def comment_of(connection: sa.Connection, name: str) -> str | None:
    """Return the comment of a table, None where there is none of that name."""
    comment: str | None = connection.scalar(
        sa.text(
            "SELECT table_comment FROM information_schema.tables"
            " WHERE table_schema = DATABASE() AND table_name = :name"
        ),
        {"name": name},
    )
    return comment


def make_parts(connection: sa.Connection, tables: Schema) -> None:
    """Make the tables that belong to a table, empty, where they are not there yet.

    The right to drop is needed only where an interrupted drop left one with rows in it.

    Raises StoreError where a table that is not jtv's has such a name.
    """
    comments = [comment_of(connection, part.name) for part in tables.parts]
    for part, comment in zip(tables.parts, comments, strict=True):
        if comment is not None and not is_part(comment, tables.documents.name):
            raise StoreError(
                f"there is a table {part.name} already that is not jtv's",
                hint="name another --table",
            )
    for part, comment in zip(tables.parts, comments, strict=True):
        if comment is not None and _has_rows(connection, part):
            connection.execute(DropTable(part))
        connection.execute(CreateTable(part, if_not_exists=True))
    if any(comment is not None for comment in comments):
        # An older jtv may have created them and then been interrupted.
        add_columns(connection, tables.documents.name)


def add_columns(connection: sa.Connection, name: str) -> None:
    """Add the columns of format 2 to the tables of a table, unless they exist."""
    connection.exec_driver_sql(
        f"ALTER TABLE `{name}_sources` ADD COLUMN IF NOT EXISTS details MEDIUMTEXT"
    )
    connection.exec_driver_sql(
        f"ALTER TABLE `{name}_occurrences` ADD COLUMN IF NOT EXISTS end_line BIGINT"
    )


def _has_rows(connection: sa.Connection, table: sa.Table) -> bool:
    row = connection.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).first()
    return row is not None


def drop_parts(connection: sa.Connection, tables: Schema) -> None:
    """Drop the tables that belong to a table, and none of another's."""
    for part in tables.parts:
        if is_part(comment_of(connection, part.name), tables.documents.name):
            connection.execute(DropTable(part, if_exists=True))
