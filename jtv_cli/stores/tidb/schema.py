"""The TiDB tables that one jtv table consists of, and what its COMMENT records.

A table NAME consists of three TiDB tables. `NAME` holds the documents, with the columns of
TiDB's tutorial and a hash. `NAME_sources` names the sources, `NAME_occurrences` says which
document is in which line of them. The comment of `NAME`, a JSON object, says what the table is;
`NAME` is created last.
"""

from __future__ import annotations

import json
from collections import namedtuple
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.mysql import MEDIUMTEXT
from sqlalchemy.schema import CreateTable, DropTable

from jtv_cli.errors import StoreError, TableDropped, of_newer_format
from jtv_cli.records import Recipe, TableSpec
from jtv_cli.stores.tidb.connection import fetch_all

FORMAT = 2
"""The current format; format 1 had no `details` of sources and no `end_line`."""

# The comment of a table beside the main one is the same in every format.
_PART_FORMAT = 1

MAX_DIMENSIONS = 16_000
"""The limit of tidb-vector; that of TiDB is 16,383."""

PARTS = ("_sources", "_occurrences")
"""What the names of the tables beside the main one end in."""

_SPEC_KEYS = ("model", "task", "dimensions", "metric", "identity")

# The columns of an occurrence's key cannot be NULL.
NO_SOURCE = 0
NO_LINE = 0

_OPTIONS: dict[str, Any] = {"mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}
# Without it, each server of a cluster assigns ids from a range of its own, out of order.
_IDS_IN_ORDER: dict[str, Any] = {"mysql_auto_id_cache": "1"}


_COMMENT = sa.text(
    "SELECT table_comment FROM information_schema.tables"
    " WHERE table_schema = DATABASE() AND table_name = :name"
)


class Vector(sa.types.UserDefinedType[str]):
    """The type of a column of vectors, which are read and written as text.

    tidb-vector's own type would decode them number by number, and importing it takes as long
    as importing half of SQLAlchemy: it is used where a table is created.
    """

    cache_ok = True

    def __init__(self, dimensions: int) -> None:
        self.dimensions = dimensions

    def get_col_spec(self, **_: object) -> str:
        """Return the type in SQL."""
        from tidb_vector.sqlalchemy import VectorType

        return str(VectorType(self.dimensions).get_col_spec())


class Schema(NamedTuple):
    """The three TiDB tables, as SQLAlchemy describes them.

    The tutorial's table is alone: `has_parts` is false.
    """

    documents: sa.Table
    sources: sa.Table
    occurrences: sa.Table
    has_parts: bool = True
    format: int = FORMAT
    identity: str = ""

    @property
    def parts(self) -> tuple[sa.Table, sa.Table]:
        """The tables beside the main one."""
        return self.sources, self.occurrences

    @property
    def occurrences_with_source(self) -> sa.Join:
        """Each occurrence joined with its source, or with nothing for stdin."""
        is_in = self.sources.c.id == self.occurrences.c.source
        return self.occurrences.outerjoin(self.sources, is_in)


class Description(NamedTuple):
    """What the comment of a jtv table says of it."""

    spec: TableSpec
    is_converting: bool
    """Whether the table is still being converted from the tutorial's."""
    format: int


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
        sa.Column("content_vec", Vector(spec.dimensions), nullable=False),
        sa.Column("content_hash", sa.BINARY(32), nullable=False, unique=True),
        comment=encode_comment(spec),
        **_OPTIONS,
        **_IDS_IN_ORDER,
    )
    # A path can be longer than a key of an index, so the index is on its hash.
    sources = sa.Table(
        f"{spec.name}_sources",
        metadata,
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=True),
        sa.Column("source", MEDIUMTEXT, nullable=False),
        sa.Column("source_hash", sa.BINARY(32), nullable=False, unique=True),
        *details,
        comment=part_comment(spec.name),
        **_OPTIONS,
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
        # A plain index would need a statement, and a privilege, of its own.
        sa.UniqueConstraint("source", "line", "document", name="by_source"),
        comment=part_comment(spec.name),
        **_OPTIONS,
    )
    return Schema(documents, sources, occurrences, has_parts, table_format, spec.identity)


def end_line_of(schema: Schema) -> sa.ColumnElement[Any]:
    """Return the last line of an occurrence, null in a table of format 1."""
    if schema.format == 1:
        return sa.null().label("end_line")
    return schema.occurrences.c.end_line


def line_of(column: sa.ColumnElement[int]) -> sa.ColumnElement[int | None]:
    """Return the line of an occurrence, null if it has none."""
    return sa.func.nullif(column, NO_LINE)


def in_order(schema: Schema) -> tuple[sa.ColumnElement[Any], ...]:
    """Return the order of occurrences: by source, the earliest first and stdin last, and line."""
    columns = schema.occurrences.c
    return columns.source == NO_SOURCE, columns.source, columns.line


def encode_comment(spec: TableSpec, *, is_converting: bool = False) -> str:
    """Return the comment of a table; `is_converting` while it is converted from the tutorial's."""
    record = {"jtv": FORMAT} | {key: getattr(spec, key) for key in _SPEC_KEYS}
    if recipe := spec.recipe.to_record():
        record["recipe"] = recipe
    return json.dumps(record | ({"adopting": True} if is_converting else {}), ensure_ascii=False)


def decode_comment(name: str, comment: str) -> Description | None:
    """Return what the comment of a table says, None if it is not the comment of a jtv table.

    Raises StoreError if a newer jtv wrote it.
    """
    try:
        record = json.loads(comment)
    except ValueError:
        return None
    if not isinstance(record, dict) or not isinstance(record.get("jtv"), int):
        return None
    if record["jtv"] > FORMAT:
        raise of_newer_format(StoreError, f"table {name}", record["jtv"], FORMAT)
    if not record.keys() >= set(_SPEC_KEYS):
        return None
    try:
        recipe = Recipe.from_record(record.get("recipe"))
    except ValueError:
        return None
    spec = TableSpec(name, *(record[key] for key in _SPEC_KEYS))._replace(recipe=recipe)
    return Description(spec, "adopting" in record, record["jtv"])


def comment_of(connection: sa.Connection, name: str) -> str | None:
    """Return the comment of a table, None if there is no table of that name."""
    comment: str | None = connection.scalar(_COMMENT, {"name": name})
    return comment


def has_identity(name: str, comment: str | None, identity: str) -> bool:
    """Return whether a table with this comment, None for no table, is that of the identity.

    The tutorial's tables have an empty one.
    """
    found = None if comment is None else decode_comment(name, comment)
    return comment is not None and (found.spec.identity if found else "") == identity


def fetch_own(
    connection: sa.Connection, schema: Schema, *statements: sa.Select[Any]
) -> list[list[Any]]:
    """Return the rows of each statement, with names, that reads a table's vectors or distances.

    Another table, of another model, may have been given the table's name since it was opened.
    That is looked up in the same round trip, after the rows were read.

    Raises TableDropped if it is so.
    """
    name = schema.documents.name
    *results, comments = fetch_all(connection, *statements, _COMMENT.bindparams(name=name))
    if not has_identity(name, comments[0][0] if comments else None, schema.identity):
        raise TableDropped(name)
    found = []
    for statement, rows in zip(statements, results, strict=True):
        row_type = namedtuple("Row", statement.selected_columns.keys(), rename=True)  # type: ignore[misc]
        found.append([row_type(*row) for row in rows])
    return found


def set_comment(connection: sa.Connection, name: str, comment: str) -> None:
    """Set the comment of a table."""
    # A comment must be a plain literal, in which the session's SQL mode makes \ an escape
    # character. The driver takes % for a placeholder.
    literal = comment.replace("\\", "\\\\").replace("'", "''").replace("%", "%%")
    connection.exec_driver_sql(f"ALTER TABLE `{name}` COMMENT = '{literal}'")


def create_parts(connection: sa.Connection, tables: Schema) -> None:
    """Create the tables beside the main one, empty, unless they exist.

    The privilege to drop is needed only if an interrupted drop left one with rows in it.

    Raises StoreError if a table of such a name is not jtv's.
    """
    comments = [comment_of(connection, part.name) for part in tables.parts]
    for part, comment in zip(tables.parts, comments, strict=True):
        if comment is not None and not is_part(comment):
            raise StoreError(
                f"a table {part.name} exists that jtv did not create",
                hint="choose another table with --table",
            )
    for part, comment in zip(tables.parts, comments, strict=True):
        if comment is not None and _has_rows(connection, part):
            connection.execute(DropTable(part))
        connection.execute(CreateTable(part, if_not_exists=True))
    if any(comment is not None for comment in comments):
        # An older jtv may have created them and then been interrupted.
        add_columns(connection, tables.documents.name)


def drop_parts(connection: sa.Connection, tables: Schema) -> None:
    """Drop the tables beside the main one, unless they belong to another."""
    for part in tables.parts:
        if is_part(comment_of(connection, part.name)):
            connection.execute(DropTable(part, if_exists=True))


def add_columns(connection: sa.Connection, name: str) -> None:
    """Add the columns of format 2 to the tables beside the main one, unless they exist."""
    connection.exec_driver_sql(
        f"ALTER TABLE `{name}_sources` ADD COLUMN IF NOT EXISTS details MEDIUMTEXT"
    )
    connection.exec_driver_sql(
        f"ALTER TABLE `{name}_occurrences` ADD COLUMN IF NOT EXISTS end_line BIGINT"
    )


def part_comment(name: str) -> str:
    """Return the comment of a table beside the one of that name."""
    return json.dumps({"jtv": _PART_FORMAT, "part_of": name})


def is_part(comment: str | None) -> bool:
    """Return whether a comment is that of a table beside another one, as its name says.

    The comment may have the name that it had before it was renamed.
    """
    try:
        record = json.loads(comment or "")
    except ValueError:
        return False
    return isinstance(record, dict) and record.keys() == {"jtv", "part_of"}


def _has_rows(connection: sa.Connection, table: sa.Table) -> bool:
    row = connection.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).first()
    return row is not None
