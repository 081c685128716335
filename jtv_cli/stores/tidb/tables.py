"""The columns of the three TiDB tables of a jtv table, as SQLAlchemy creates them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.mysql import MEDIUMTEXT
from sqlalchemy.schema import CreateTable
from tidb_vector.sqlalchemy import VectorType

from jtv_cli.stores.tidb.sql import compiled

_OPTIONS: dict[str, Any] = {"mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}
# Without it, each server of a cluster assigns ids from a range of its own, out of order.
_IDS_IN_ORDER: dict[str, Any] = {"mysql_auto_id_cache": "1"}


def create_documents(name: str, dimensions: int, comment: str) -> str:
    """Return the statement that creates the table of documents, unless it exists."""
    return _create(
        name,
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=True),
        sa.Column("content", MEDIUMTEXT, nullable=False),
        sa.Column("content_vec", VectorType(dimensions), nullable=False),
        sa.Column("content_hash", sa.BINARY(32), nullable=False, unique=True),
        comment=comment,
        **_IDS_IN_ORDER,
    )


def create_sources(name: str, comment: str) -> str:
    """Return the statement that creates the table of sources, unless it exists."""
    # A path can be longer than a key of an index, so the index is on its hash.
    return _create(
        name,
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=True),
        sa.Column("source", MEDIUMTEXT, nullable=False),
        sa.Column("source_hash", sa.BINARY(32), nullable=False, unique=True),
        sa.Column("details", MEDIUMTEXT),
        comment=comment,
        **_IDS_IN_ORDER,
    )


def create_occurrences(name: str, comment: str) -> str:
    """Return the statement that creates the table of occurrences, unless it exists."""
    return _create(
        name,
        sa.Column("document", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("source", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("line", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("metadata", MEDIUMTEXT),
        sa.Column("end_line", sa.BigInteger),
        # A plain index would need a statement, and a privilege, of its own.
        sa.UniqueConstraint("source", "line", "document", name="by_source"),
        comment=comment,
    )


def _create(name: str, *columns: sa.schema.SchemaItem, **options: Any) -> str:  # noqa: ANN401
    table = sa.Table(name, sa.MetaData(), *columns, **options, **_OPTIONS)
    return compiled(CreateTable(table, if_not_exists=True))
