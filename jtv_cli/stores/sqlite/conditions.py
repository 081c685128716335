"""Conditions on metadata as SQL that rules out most of what does not meet them.

What is left is tested by `stores.filters`, which defines what conditions mean: a call of Python
for each occurrence of a table takes several times as long as all the rest of a search.
"""

from __future__ import annotations

import sqlite3
from datetime import datetime, timedelta
from math import isfinite
from typing import TYPE_CHECKING

from jtv_cli.records import Operator
from jtv_cli.stores.filters import needles

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jtv_cli.records import Condition, Filter

# Older ones may be built without functions for JSON.
_HAS_JSON = sqlite3.sqlite_version_info >= (3, 38)
_ASCENDING = (Operator.GREATER, Operator.AT_LEAST)
_ORDERED = (*_ASCENDING, Operator.LESS, Operator.AT_MOST)
# SQLite may read a decimal number as a neighbor of the float that Python reads.
_ROUNDING = 1e-9
# More than any time zone is away from UTC, and a day that is compared as a whole.
_ZONES = timedelta(days=3)


def rough_condition(filter: Filter, metadata: str) -> str:
    """Return an SQL expression, true for all metadata that meets the conditions of a filter.

    It is true for some other metadata too. `metadata` is the name of the column.
    """
    parts = [_rough(each, metadata) for each in filter.where]
    if filter.where_any:
        parts.append(_any_of(_rough(each, metadata) for each in filter.where_any))
    return " AND ".join(parts) or "TRUE"


def _rough(condition: Condition, metadata: str) -> str:
    if condition.operator in _ORDERED:
        return _is_ordered(condition, metadata)
    has_key = _has_any(metadata, needles(condition))
    if condition.operator is not Operator.CONTAINS:
        return has_key
    import orjson

    # In a string, as JSON has it, or as the JSON of an element of a list.
    text = str(condition.operand)
    return f"({has_key} AND {_has_any(metadata, {orjson.dumps(text).decode()[1:-1], text})})"


def _is_ordered(condition: Condition, metadata: str) -> str:
    """Return an expression for `<`, `<=`, `>`, or `>=`.

    SQLite sorts numbers before texts, which are all kept if they are compared with a number.
    """
    field, bound = condition.field, _bound(condition)
    if bound is None or not _HAS_JSON or not field.isprintable() or set('"\\') & set(field):
        return _has_any(metadata, needles(condition))
    test = f">= {bound}" if condition.operator in _ASCENDING else f"<= {bound}"
    if not isinstance(condition.operand, str | datetime) and test.startswith("<"):
        test = f"NOT BETWEEN {bound} AND 9e999"
    # The field is the name of a key or, if there is none, a path.
    path = ".".join(f'"{key}"' for key in field.split("."))
    paths = dict.fromkeys((f'"{field}"', path))
    return _any_of(f"json_extract({metadata}, {_literal(f'$.{each}')}) {test}" for each in paths)


def _bound(condition: Condition) -> str | None:
    """Return a literal that is no closer than the operand, None if there is none."""
    operand, is_ascending = condition.operand, condition.operator in _ASCENDING
    try:
        if isinstance(operand, datetime):
            time = operand - _ZONES if is_ascending else operand + _ZONES
            return _literal(time.date().isoformat())
        if isinstance(operand, str):
            return None if "\0" in operand else _literal(operand)
        number = float(operand)  # type: ignore[arg-type]
    except OverflowError:
        return None
    slack = abs(number) * _ROUNDING
    return repr(number - slack if is_ascending else number + slack) if isfinite(number) else None


def _has_any(metadata: str, texts: Iterable[str]) -> str:
    some = sorted(texts)
    if any("\0" in text for text in some):  # where a literal would end
        return "TRUE"
    return _any_of(f"instr({metadata}, {_literal(text)})" for text in some)


def _any_of(expressions: Iterable[str]) -> str:
    return f"({' OR '.join(expressions) or 'FALSE'})"


def _literal(text: str) -> str:
    # Statements are formatted once more.
    return "'" + text.replace("'", "''").replace("{", "{{").replace("}", "}}") + "'"
