"""The TiDB tables that one jtv table consists of, and what its COMMENT records.

A table NAME consists of three TiDB tables. `NAME` holds the documents, with the columns of
TiDB's tutorial and a hash. `NAME_sources` names the sources, `NAME_occurrences` says which
document is in which line of them. The comment of `NAME`, a JSON object, says what the table is;
`NAME` is created last.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from jtv_cli.errors import StoreError, TableDropped, of_newer_format
from jtv_cli.records import Recipe, TableSpec
from jtv_cli.stores.tidb.sql import literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jtv_cli.stores.tidb.connection import Connection, Rows

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


class Schema(NamedTuple):
    """The TiDB tables of a jtv table, as statements name them.

    The tutorial's table is alone: `has_parts` is false.
    """

    spec: TableSpec
    has_parts: bool = True
    format: int = FORMAT

    @property
    def documents(self) -> str:
        """The main table, quoted."""
        return f"`{self.spec.name}`"

    @property
    def sources(self) -> str:
        """The table of sources, quoted."""
        return f"`{self.spec.name}_sources`"

    @property
    def occurrences(self) -> str:
        """The table of occurrences, quoted."""
        return f"`{self.spec.name}_occurrences`"

    @property
    def occurrences_with_source(self) -> str:
        """Each occurrence joined with its source, or with nothing for stdin."""
        joined = f"{self.occurrences} LEFT JOIN {self.sources}"
        return f"{joined} ON {self.sources}.id = {self.occurrences}.source"

    @property
    def in_order(self) -> str:
        """The order of occurrences: by source, the earliest first and stdin last, and line."""
        source = f"{self.occurrences}.source"
        return f"{source} = {NO_SOURCE}, {source}, line"

    @property
    def end_line(self) -> str:
        """The last line of an occurrence, null in a table of format 1."""
        return "end_line" if self.format > 1 else "NULL"


class Description(NamedTuple):
    """What the comment of a jtv table says of it."""

    spec: TableSpec
    is_converting: bool
    """Whether the table is still being converted from the tutorial's."""
    format: int


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
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or not isinstance(record.get("jtv"), int):
        return None
    if record["jtv"] > FORMAT:
        raise of_newer_format(StoreError, f"table {name}", record["jtv"], FORMAT)
    if not record.keys() >= set(_SPEC_KEYS):
        return None
    if not (isinstance(record["model"], str) and isinstance(record["dimensions"], int)):
        return None
    try:
        recipe = Recipe.from_record(record.get("recipe"))
    except ValueError:
        return None
    spec = TableSpec(name, *(record[key] for key in _SPEC_KEYS))._replace(recipe=recipe)
    return Description(spec, "adopting" in record, record["jtv"])


def select_comment(name: str) -> str:
    """Return the statement that reads the comment of a table."""
    return (
        "SELECT table_comment FROM information_schema.tables"
        f" WHERE table_schema = DATABASE() AND table_name = {literal(name)}"
    )


def comment_of(connection: Connection, name: str) -> str | None:
    """Return the comment of a table, None if there is no table of that name."""
    comment: str | None = connection.scalar(select_comment(name))
    return comment


def has_identity(name: str, comment: str | None, identity: str) -> bool:
    """Return whether a table with this comment, None for no table, is that of the identity.

    The tutorial's tables have an empty one.
    """
    found = None if comment is None else decode_comment(name, comment)
    return comment is not None and (found.spec.identity if found else "") == identity


def fetch_own(connection: Connection, schema: Schema, *statements: str) -> Sequence[Rows]:
    """Return the rows of each statement that reads a table's vectors or distances.

    Another table, of another model, may have been given the table's name since it was opened.
    That is looked up in the same round trip, after the rows were read.

    Raises TableDropped if it is so.
    """
    name, identity = schema.spec.name, schema.spec.identity
    *results, comments = connection.fetch_all(*statements, select_comment(name))
    if not has_identity(name, comments[0][0] if comments else None, identity):
        raise TableDropped(name)
    return results


def set_comment(connection: Connection, name: str, comment: str) -> None:
    """Set the comment of a table."""
    # A comment must be a plain literal, in which the session's SQL mode makes \ an escape
    # character.
    escaped = comment.replace("\\", "\\\\").replace("'", "''")
    connection.run(f"ALTER TABLE `{name}` COMMENT = '{escaped}'")


def create_tables(connection: Connection, spec: TableSpec) -> None:
    """Create the tables, unless they exist, last the one whose comment says that all do.

    Raises StoreError as `create_parts` does.
    """
    from jtv_cli.stores.tidb.tables import create_documents

    create_parts(connection, spec.name)
    connection.run(create_documents(spec.name, spec.dimensions, encode_comment(spec)))


def create_parts(connection: Connection, name: str) -> None:
    """Create the tables beside the main one, empty, unless they exist.

    The privilege to drop is needed only if an interrupted drop left one with rows in it.

    Raises StoreError if a table of such a name is not jtv's.
    """
    from jtv_cli.stores.tidb.tables import create_occurrences, create_sources

    parts = {f"{name}{part}": comment_of(connection, f"{name}{part}") for part in PARTS}
    for part, comment in parts.items():
        if comment is not None and not is_part(comment):
            raise StoreError(
                f"a table {part} exists that jtv did not create",
                hint="choose another table with --table",
            )
    for (part, comment), create in zip(
        parts.items(), (create_sources, create_occurrences), strict=True
    ):
        if comment is not None and connection.rows(f"SELECT 1 FROM `{part}` LIMIT 1"):
            connection.run(f"DROP TABLE `{part}`")
        connection.run(create(part, part_comment(name)))
    if any(comment is not None for comment in parts.values()):
        # An older jtv may have created them and then been interrupted.
        add_columns(connection, name)


def drop_parts(connection: Connection, name: str) -> None:
    """Drop the tables beside the main one, unless they belong to another."""
    for part in PARTS:
        if is_part(comment_of(connection, f"{name}{part}")):
            connection.run(f"DROP TABLE IF EXISTS `{name}{part}`")


def add_columns(connection: Connection, name: str) -> None:
    """Add the columns of format 2 to the tables beside the main one, unless they exist."""
    connection.run(f"ALTER TABLE `{name}_sources` ADD COLUMN IF NOT EXISTS details MEDIUMTEXT")
    connection.run(f"ALTER TABLE `{name}_occurrences` ADD COLUMN IF NOT EXISTS end_line BIGINT")


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
