"""SQL as text: values as literals, and expressions of SQLAlchemy compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymysql.converters import escape_item

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import ClauseElement


def literal(value: object) -> str:
    """Return a literal of a value that means the same in every SQL mode."""
    if isinstance(value, str):
        return string_literal(value)
    if isinstance(value, bytes | bytearray):
        return f"x'{value.hex()}'"
    return str(escape_item(value, "utf8mb4"))


def literals(values: Iterable[object]) -> str:
    """Return a list of literals in parentheses, one that selects nothing if there are none."""
    return f"({','.join(map(literal, values)) or 'NULL'})"


def string_literal(text: str) -> str:
    r"""Return a string literal that means the same whether or not `\` escapes a character."""
    if "\\" in text:
        return f"_utf8mb4 X'{text.encode().hex()}'"
    return "'" + text.replace("'", "''") + "'"


def compiled(clause: ClauseElement) -> str:
    """Return an expression or a statement of SQLAlchemy with its parameters as literals."""
    from sqlalchemy.dialects.mysql.pymysql import MySQLDialect_pymysql

    dialect = MySQLDialect_pymysql(paramstyle="pyformat")
    text = clause.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
    return str(text) % {name: literal(value) for name, value in (text.params or {}).items()}
