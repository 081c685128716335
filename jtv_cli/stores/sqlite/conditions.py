"""Conditions on metadata as SQL that rules out most of what does not meet them.

What is left is tested by `stores.filters`, which defines what conditions mean: a call of Python
for each occurrence of a table takes several times as long as all the rest of a search.
"""

from __future__ import annotations

import sqlite3
from datetime import datetime, timedelta
from itertools import islice
from math import isfinite
from typing import TYPE_CHECKING, NamedTuple

from jtv_cli.records import Operator
from jtv_cli.stores.filters import needles

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from jtv_cli.records import Condition, Filter

# The time that it takes to look for a text in the metadata of an occurrence, for a pattern, or to
# parse the metadata, as multiples of the time to read an occurrence in sequence.
_TEXT_COST = 1.0
_PATTERN_COST = 1.5
_JSON_COST = 3.0
# Characters that a pattern has of each text.
_LONGEST_PATTERN = 64
# Different characters that a pattern has at one position: SQLite takes 50,000 bytes.
_MOST_CHARACTERS = 100
_SPECIAL = frozenset("*?[]^-")
# More texts are looked for by a pattern alone: SQLite takes expressions of 1,000 parts.
_MOST_TEXTS = 100
# Older ones may be built without functions for JSON.
_HAS_JSON = sqlite3.sqlite_version_info >= (3, 38)
_ASCENDING = (Operator.GREATER, Operator.AT_LEAST)
_ORDERED = (*_ASCENDING, Operator.LESS, Operator.AT_MOST)
# SQLite may read a decimal number as a neighbor of the float that Python reads.
_ROUNDING = 1e-9
_LEAST_ROUNDING = 1e-300  # at 0
# More than any time zone is away from UTC, and a day that is compared as a whole.
_ZONES = timedelta(days=3)


class Rough(NamedTuple):
    """An SQL expression, and about how long it takes for an occurrence.

    The time is a multiple of that for reading an occurrence in sequence.
    """

    expression: str
    cost: float


def rough_condition(filter: Filter, metadata: str) -> Rough:
    """Return an expression that is true for all metadata that meets the conditions of a filter.

    It is true for some other metadata too. `metadata` is the name of the column.
    """
    parts = [_rough(each, metadata) for each in filter.where]
    if filter.where_any:
        parts.append(_any_of([_rough(each, metadata) for each in filter.where_any]))
    if not parts:
        return Rough("TRUE", 0)
    return Rough(" AND ".join(each.expression for each in parts), sum(each.cost for each in parts))


def _rough(condition: Condition, metadata: str) -> Rough:
    if condition.operator in _ORDERED:
        return _is_ordered(condition, metadata)
    has_key = _has_any(metadata, needles(condition))
    if condition.operator is not Operator.CONTAINS:
        return has_key
    import orjson

    # In a string, as JSON has it, or as the JSON of an element of a list.
    text = str(condition.operand)
    has_text = _has_any(metadata, {orjson.dumps(text).decode()[1:-1], text})
    both = f"({has_key.expression} AND {has_text.expression})"
    return Rough(both, has_key.cost + has_text.cost)


def _is_ordered(condition: Condition, metadata: str) -> Rough:
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
    return _any_of(
        [
            Rough(f"json_extract({metadata}, {_literal(f'$.{each}')}) {test}", _JSON_COST)
            for each in paths
        ]
    )


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
    slack = abs(number) * _ROUNDING + _LEAST_ROUNDING
    return repr(number - slack if is_ascending else number + slack) if isfinite(number) else None


def _has_any(metadata: str, texts: Iterable[str]) -> Rough:
    some = sorted(texts)
    if any("\0" in text for text in some):  # where a literal would end
        return Rough("TRUE", 0)
    # One pattern rules out most of what has none of the texts.
    pattern = Rough(f"{metadata} GLOB {_literal(_pattern(some))}", _PATTERN_COST)
    if len(some) > _MOST_TEXTS:
        return pattern
    found = _any_of([Rough(f"instr({metadata}, {_literal(text)})", _TEXT_COST) for text in some])
    if len(some) == 1:
        return found
    return Rough(f"({pattern.expression} AND {found.expression})", pattern.cost)


def _pattern(texts: Sequence[str]) -> str:
    """Return a GLOB pattern that matches whatever has one of the texts in it.

    Each of its characters is any of those that the texts have there, up to the end of the
    shortest one.
    """
    columns = islice(zip(*texts, strict=False), _LONGEST_PATTERN)
    return f"*{''.join(map(_character, columns))}*"


def _character(characters: Iterable[str]) -> str:
    some = set(characters)
    if some & _SPECIAL or len(some) > _MOST_CHARACTERS:
        return "?"
    return some.pop() if len(some) == 1 else f"[{''.join(sorted(some))}]"


def _any_of(parts: Sequence[Rough]) -> Rough:
    expressions = " OR ".join(each.expression for each in parts)
    return Rough(f"({expressions or 'FALSE'})", sum(each.cost for each in parts))


def _literal(text: str) -> str:
    # Statements are formatted once more.
    return "'" + text.replace("'", "''").replace("{", "{{").replace("}", "}}") + "'"
