"""Conditions on metadata as SQL expressions over its JSON."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import reduce
from typing import TYPE_CHECKING, NamedTuple

import orjson
import sqlalchemy as sa

from jtv_cli.records import Condition, Operator
from jtv_cli.stores.filters import NUMBER, needles
from jtv_cli.stores.tidb.sql import compiled

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

    from jtv_cli.records import Filter

_ORDERS = {
    Operator.LESS: sa.ColumnElement.__lt__,
    Operator.AT_MOST: sa.ColumnElement.__le__,
    Operator.GREATER: sa.ColumnElement.__gt__,
    Operator.AT_LEAST: sa.ColumnElement.__ge__,
}
_INTEGERS = ("INTEGER", "UNSIGNED INTEGER")
# Integers below it are exact as float64, as which the server compares them with other numbers.
_EXACT_INTEGERS = 1 << 53
# As JSON text. In brackets, the period needs no backslash, whose meaning depends on the SQL mode.
_NUMBER_TEXT = f'^"{NUMBER}"$'.replace(r"\.", "[.]")
# More than any time zone is away from UTC.
_ZONES = timedelta(days=2)


_METADATA: ColumnElement[str] = sa.column("metadata", sa.Text)


class Expression(NamedTuple):
    """What all metadata that meets a condition meets in SQL; nothing else does if it `is_exact`."""

    sql: ColumnElement[bool]
    is_exact: bool


def conditions_of(filter: Filter) -> tuple[list[str], bool]:
    """Return the SQL conditions on the column `metadata` that all occurrences that match meet.

    The second value is whether nothing else meets them.
    """
    expressions = [_Field(condition).expression() for condition in filter.where]
    if filter.where_any:
        each = [_Field(condition).expression() for condition in filter.where_any]
        sql = sa.or_(*(one.sql for one in each))
        expressions.append(Expression(sql, all(one.is_exact for one in each)))
    # In parentheses, as others are joined to them.
    conditions = [f"({compiled(each.sql)})" for each in expressions]
    return conditions, all(each.is_exact for each in expressions)


class _Field:
    """The field of a condition."""

    def __init__(self, condition: Condition) -> None:
        self._condition = condition
        self._value = _extract(condition.field)
        self._type = sa.func.json_type(self._value)

    def expression(self) -> Expression:
        """Return the expression of the condition."""
        condition = self._condition
        has_key = sa.or_(*(self._has_text(needle) for needle in needles(condition)))
        # A server may read other escapes in a path than JSON's.
        if not condition.field.isprintable() or set('"\\') & set(condition.field):
            return Expression(has_key, is_exact=False)
        found = self._meets()
        return Expression(sa.and_(has_key, found.sql), found.is_exact)

    def _meets(self) -> Expression:
        condition, exists = self._condition, self._value.is_not(None)
        operand = condition.operand
        if condition.operator is Operator.EXISTS:
            return Expression(exists, is_exact=True)
        if isinstance(operand, tuple):
            each = [self._equals(text) for text in operand]
            sql = sa.or_(*(one.sql for one in each))
            return Expression(sql, all(one.is_exact for one in each))
        if condition.operator in (Operator.EQUALS, Operator.DIFFERS):
            equals = self._equals(str(operand))
            if condition.operator is Operator.EQUALS:
                return equals
            # The opposite of too much would be too little.
            differs = sa.and_(exists, sa.not_(equals.sql)) if equals.is_exact else exists
            return Expression(differs, equals.is_exact)
        if condition.operator is Operator.CONTAINS:
            # In a string, as JSON has it, or as the JSON of an element of a list.
            texts = {orjson.dumps(str(operand)).decode()[1:-1], str(operand)}
            has_text = sa.or_(*map(self._has_text, sorted(texts)))
            return Expression(sa.and_(exists, has_text), is_exact=False)
        return self._is_ordered()

    def _equals(self, text: str) -> Expression:
        """Return whether it is a string with that text, or its JSON is."""
        is_string = self._value == _json(orjson.dumps(text))
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            return Expression(is_string, is_exact=True)
        if orjson.dumps(value).decode() != text or isinstance(value, str):
            return Expression(is_string, is_exact=True)
        if value is None:
            return Expression(sa.or_(is_string, self._type == "NULL"), is_exact=True)
        if isinstance(value, bool | int):
            types = ("BOOLEAN",) if isinstance(value, bool) else _INTEGERS
            is_value = sa.and_(self._type.in_(types), self._value == _json(text.encode()))
            return Expression(sa.or_(is_string, is_value), is_exact=True)
        # Equal as JSON, the texts may differ: 0.0 and -0.0, or the order of keys.
        return Expression(sa.or_(is_string, self._value.is_not(None)), is_exact=False)

    def _is_ordered(self) -> Expression:
        operand, compare = self._condition.operand, _ORDERS[self._condition.operator]
        is_string = self._type == "STRING"
        text = sa.cast(self._value, sa.CHAR)
        if isinstance(operand, str):
            ordered = compare(self._value, _json(orjson.dumps(operand)))
            return Expression(sa.and_(is_string, ordered), is_exact=True)
        if isinstance(operand, datetime):
            date = sa.func.substring(text, 2, 10)
            return Expression(sa.and_(is_string, self._is_near(date, operand)), is_exact=False)
        is_number = self._type.in_((*_INTEGERS, "DOUBLE"))
        is_decimal = sa.and_(is_string, text.regexp_match(_NUMBER_TEXT))
        if not isinstance(operand, int | float) or abs(operand) >= _EXACT_INTEGERS:
            return Expression(sa.or_(is_number, is_decimal), is_exact=False)
        # A sum with a float64 is one.
        decimal = sa.func.json_unquote(self._value).op("+")(sa.literal_column("0e0"))
        return Expression(
            sa.or_(
                sa.and_(is_number, compare(self._value, _json(orjson.dumps(operand)))),
                sa.and_(is_decimal, compare(decimal, operand)),
            ),
            is_exact=True,
        )

    def _is_near(self, date: ColumnElement[str], time: datetime) -> ColumnElement[bool]:
        """Return whether a date, as text, may meet the condition in some time zone."""
        try:
            if self._condition.operator in (Operator.LESS, Operator.AT_MOST):
                return date <= (time + _ZONES).date().isoformat()
            return date >= (time - _ZONES).date().isoformat()
        except OverflowError:
            return sa.true()

    def _has_text(self, text: str) -> ColumnElement[bool]:
        return sa.func.instr(_METADATA, text) > 0


def _extract(field: str) -> ColumnElement[object]:
    """Return the value of a key of that name or, if there is none, at the end of a path."""
    keys = field.split(".")
    whole, path = (
        reduce(lambda path, key: f"{path}.{orjson.dumps(key).decode()}", each, "$")
        for each in ([field], keys)
    )
    named = sa.func.json_extract(_METADATA, whole)
    if len(keys) == 1:
        return named
    has_name = sa.func.json_contains_path(_METADATA, "one", whole) == 1
    return sa.func.if_(has_name, named, sa.func.json_extract(_METADATA, path))


def _json(text: bytes) -> ColumnElement[object]:
    return sa.cast(sa.literal(text.decode(), sa.Text), sa.JSON)
