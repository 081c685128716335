"""The meaning of filters: how conditions are written, and which occurrences match.

This is the definition: a store may find what matches in a faster way, with the same result.

A field is a key of the metadata or, if there is no such key, a dotted path into nested
objects. No condition holds where the field is missing.

- `=`: a string is the text, or the JSON of another value is. `!=` is the opposite.
- `in`: `=` holds for one of the texts.
- `contains`: the text is part of a string, or `=` holds for an element of a list.
- `<`, `<=`, `>`, `>=`: against a number, numbers are compared, and strings that are decimal
  numbers; against a time, strings that are ISO dates or times, in UTC unless they say otherwise;
  against a text, strings, by code points. Other values do not match.
- `exists`: always.
"""

from __future__ import annotations

import operator
import re
from contextlib import suppress
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from jtv_cli.errors import UsageError
from jtv_cli.records import STDIN, Condition, Operator
from jtv_cli.source_names import source_patterns
from jtv_cli.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from jtv_cli.records import Filter, Occurrence

    Operand = str | int | float | datetime

NUMBER = r"-?[0-9]{1,30}(\.[0-9]{1,30})?"
"""A string that is compared as a number: plain decimal, so that every store reads it alike."""

DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
"""How a string that is compared as a time begins."""

MODIFIED = "modified"
"""The key of a source's details that says when it was modified, in seconds since 1970."""

_TIME = re.compile(
    rf"(?P<date>{DATE})"
    r"(?:[T ](?P<time>[0-9]{2}:[0-9]{2}(?::[0-9]{2})?)(?P<fraction>\.[0-9]{1,6})?"
    r"(?P<zone>Z|[+-][0-9]{2}:?[0-9]{2})?)?"
)

_ORDERS: dict[Operator, Callable[[Any, Any], bool]] = {
    Operator.LESS: operator.lt,
    Operator.AT_MOST: operator.le,
    Operator.GREATER: operator.gt,
    Operator.AT_LEAST: operator.ge,
}

# The name of a field ends at the first symbol; before a word, it has no spaces.
_WITH_SYMBOL = re.compile(r"(?P<field>.+?)(?P<operator>!=|<=|>=|=|<|>)(?P<operand>.*)", re.DOTALL)
_WITH_WORD = re.compile(
    r"\s*(?P<field>\S+)\s+(?:(?P<operator>in|contains)\s+(?P<operand>.*)|exists\s*)", re.DOTALL
)
_LIST = re.compile(r"\((?P<items>.*)\)\s*", re.DOTALL)
_ITEM = re.compile(r"""\s*(?:(?P<quoted>"(?:[^"\\]|\\.)*")|(?P<plain>[^",]*?))\s*(?:,|$)""")

_MISSING = object()


def parse_condition(text: str, option: str = "--where") -> Condition:
    """Return the condition that a text states; `option` is what errors call it.

    `FIELD=VALUE`, without a space before and after the sign, takes everything behind the sign
    as it is. Anywhere else spaces around the value are ignored, and a value in double quotes
    is a JSON string, which is always compared as a text.

    Raises UsageError for anything else.
    """
    if match := _WITH_WORD.fullmatch(text):
        field, word, operand = match["field"], match["operator"], match["operand"]
        # In `a=b in (c)`, `in` belongs to the value.
        if not re.search("[=<>]", field):
            if word is None:
                return Condition(field, None, Operator.EXISTS)
            if word == "in":
                return Condition(field, _items(operand, option), Operator.IN)
            return Condition(field, _unquoted(operand), Operator.CONTAINS)
    match = _WITH_SYMBOL.fullmatch(text)
    if match is None or not match["field"].strip():
        raise UsageError(
            f'{option} "{text}" is not FIELD=VALUE or another condition',
            hint=f"for example: {option} lang=en, or {option} 'year >= 2020'",
        )
    field, symbol, operand = match["field"], Operator(match["operator"]), match["operand"]
    if symbol is Operator.EQUALS and not (field[-1].isspace() and operand[:1].isspace()):
        return Condition(field, operand)
    field = field.strip()
    if symbol in (Operator.EQUALS, Operator.DIFFERS):
        return Condition(field, _unquoted(operand), symbol)
    return Condition(field, _ordered(text, operand, option), symbol)


def matches(
    filter: Filter, occurrence: Occurrence, details: Mapping[str, Any] | None = None
) -> bool:
    """Return whether an occurrence matches; `details` say how its source was read."""
    return fits_source(filter, occurrence.source, details) and _has_metadata(
        filter, occurrence.metadata
    )


def fits_source(
    filter: Filter, source: str | None, details: Mapping[str, Any] | None = None
) -> bool:
    """Return whether an occurrence in that source may match, given how the source was read."""
    if filter.has_times and not _is_in_time(filter, (details or {}).get(MODIFIED)):
        return False
    if filter.source is None:
        return True
    if source is None or filter.source == STDIN:
        return source is None and filter.source == STDIN
    return any(fnmatchcase(source, each) for each in source_patterns(filter.source))


def metadata_test(filter: Filter) -> Callable[[str | None], bool]:
    """Return a function that says whether metadata, as it is stored, meets the conditions."""
    if not filter.conditions:
        return lambda _: True
    import orjson

    def is_met(stored: str | None) -> bool:
        return stored is not None and _has_metadata(filter, orjson.loads(stored))

    return is_met


def find_value(metadata: Mapping[str, Any], field: str, default: object = None) -> Any:  # noqa: ANN401
    """Return the value of a field, given by its name or by a dotted path."""
    if field in metadata:
        return metadata[field]
    value: object = metadata
    for key in field.split("."):
        if not isinstance(value, dict) or key not in value:
            return default
        value = value[key]
    return value


def has_field(metadata: Mapping[str, Any] | None, field: str) -> bool:
    """Return whether metadata has a field, given by its name or by a dotted path."""
    return bool(metadata) and find_value(metadata or {}, field, _MISSING) is not _MISSING


def all_compared(some: int, queries: int) -> str:
    """Return what to add to an explanation, where the index found too little for some queries."""
    return f"; for {some:,} of {queries:,} queries, all were compared" if some else ""


@lru_cache
def needles(condition: Condition) -> tuple[str, ...]:
    """Return texts, one of which is in any metadata that meets the condition, as it is stored.

    It may be elsewhere in it too. A field of a path ends with the last key of the path.
    """
    import orjson

    names = dict.fromkeys((condition.field, condition.field.rpartition(".")[2]))
    keys = [f"{orjson.dumps(name).decode()}:" for name in names]
    if condition.operator not in (Operator.EQUALS, Operator.IN):
        return tuple(keys)
    operand = condition.operand
    values = []
    for text in map(str, operand if isinstance(operand, tuple) else (operand,)):
        values.append(orjson.dumps(text).decode())
        with suppress(orjson.JSONDecodeError):
            orjson.loads(text)
            values.append(text)
    return tuple(key + value for key in keys for value in values)


def json_text(value: object) -> str:
    """Return what a condition compares with its text: a string itself, else the value's JSON."""
    import orjson

    return value if isinstance(value, str) else orjson.dumps(value).decode()


@lru_cache(1024)
def parse_time(text: str) -> datetime | None:
    """Return the time that an ISO date or time stands for, in UTC by default; None for others."""
    from datetime import timezone

    time = read_time(text)
    return time.replace(tzinfo=timezone.utc) if time and time.tzinfo is None else time


def read_time(text: str) -> datetime | None:
    """Return what an ISO date or time says, perhaps without a zone; None for any other text."""
    from datetime import datetime

    match = _TIME.fullmatch(text)
    if match is None:
        return None
    # In the form that Python 3.10 reads too.
    time = match["time"] or "00:00"
    seconds = "" if time.count(":") == 2 else ":00"
    fraction = (match["fraction"] or ".").ljust(7, "0")
    zone = (match["zone"] or "").replace("Z", "+0000").replace(":", "")
    zone = f"{zone[:3]}:{zone[3:]}" if zone else ""
    try:
        return datetime.fromisoformat(f"{match['date']}T{time}{seconds}{fraction}{zone}")
    except ValueError:
        return None


def parse_seconds(text: str, option: str) -> float:
    """Return a date or time, without a zone that of this machine, in seconds since 1970.

    Raises UsageError, which names the option, for any other text.
    """
    with suppress(OverflowError, ValueError):
        if (time := read_time(text)) is not None:
            return time.timestamp()
    raise UsageError(
        f'{option} "{printable(text)}" is not a date or time',
        hint=f"for example: {option} 2024-05-01, or {option} 2024-05-01T09:30",
    )


def _is_in_time(filter: Filter, modified: object) -> bool:
    if not isinstance(modified, int | float):
        return False
    is_after = filter.after is None or modified >= filter.after
    return is_after and (filter.before is None or modified < filter.before)


def _has_metadata(filter: Filter, metadata: Mapping[str, Any] | None) -> bool:
    if metadata is None:
        return not filter.conditions
    for condition in filter.where:
        if not _holds(condition, metadata):
            return False
    return not filter.where_any or any(_holds(each, metadata) for each in filter.where_any)


def _holds(condition: Condition, metadata: Mapping[str, Any]) -> bool:
    value = find_value(metadata, condition.field, _MISSING)
    if value is _MISSING:
        return False
    wanted = condition.operand
    match condition.operator:
        case Operator.EQUALS:
            return json_text(value) == wanted
        case Operator.EXISTS:
            return True
        case Operator.DIFFERS:
            return json_text(value) != wanted
        case Operator.IN:
            return isinstance(wanted, tuple) and json_text(value) in wanted
        case Operator.CONTAINS if isinstance(value, str):
            return str(wanted) in value
        case Operator.CONTAINS:
            return isinstance(value, list) and any(json_text(one) == wanted for one in value)
    comparable = _comparable(value, wanted)
    return comparable is not None and _ORDERS[condition.operator](comparable, wanted)


def _comparable(value: object, operand: object) -> Operand | None:
    """Return a value as it compares with an operand, None if it does not."""
    if isinstance(operand, int | float):
        if isinstance(value, int | float) and not isinstance(value, bool):
            return value
        if isinstance(value, str) and re.fullmatch(NUMBER, value):
            return float(value) if "." in value else int(value)
        return None
    if not isinstance(value, str):
        return None
    return value if isinstance(operand, str) else parse_time(value)


def _ordered(text: str, operand: str, option: str) -> Operand:
    """Return the operand of `<`, `<=`, `>` or `>=`."""
    plain = operand.strip()
    if plain.startswith('"'):
        return _unquoted(plain)
    if not plain or plain in ("true", "false", "null"):
        raise UsageError(
            f'{option} "{text}" compares with {plain or "nothing"}, which has no order',
            hint=f"compare with a number, a date or a text: {option} 'year >= 2020'",
        )
    if re.fullmatch(NUMBER, plain):
        return float(plain) if "." in plain else int(plain)
    return parse_time(plain) or plain


def _items(operand: str, option: str) -> tuple[str, ...]:
    """Return the items of a list in parentheses."""
    match = _LIST.fullmatch(operand)
    items: list[str] = []
    position, text = 0, match["items"] if match else ""
    while match and position < len(text):
        item = _ITEM.match(text, position)
        if item is None:
            match = None
            break
        items.append(item["plain"] if item["quoted"] is None else _unquoted(item["quoted"]))
        position = item.end()
    if match is None or not items:
        raise UsageError(
            f'{option}: "in {operand}" is not a list in parentheses',
            hint=f"for example: {option} 'lang in (en, de)'",
        )
    return tuple(items)


def _unquoted(operand: str) -> str:
    """Return a value without the spaces around it, and the text of a JSON string."""
    import orjson

    plain = operand.strip()
    if len(plain) > 1 and plain.startswith('"') and plain.endswith('"'):
        with suppress(orjson.JSONDecodeError):
            return str(orjson.loads(plain))
    return plain
