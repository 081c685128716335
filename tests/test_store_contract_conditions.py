"""Conditions on metadata: what each means, and that every store finds the same as Python does."""

from __future__ import annotations

import random
from contextlib import closing
from datetime import datetime, timezone
from itertools import count
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from jtv_cli.errors import UsageError
from jtv_cli.records import Condition, Filter, Occurrence, Operator
from jtv_cli.stores.filters import matches, metadata_test, parse_condition, parse_time
from tables import SPEC, document, make, vectors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import OpenStore
    from jtv_cli.records import Document
    from jtv_cli.stores import Table

TABLES, FILTERS = 20, 50
FIELDS = ("year", "lang", "a.b", "a", "a.b.c", "größe", 'a "name" \\')
UTC = timezone.utc
TIMES = {
    "2024-02-29": datetime(2024, 2, 29, tzinfo=UTC),
    "2024-02-29T23:30:00-05:00": datetime(2024, 3, 1, 4, 30, tzinfo=UTC),
    "2024-03-01T04:30Z": datetime(2024, 3, 1, 4, 30, tzinfo=UTC),
    "2024-03-01 04:30:00.5": datetime(2024, 3, 1, 4, 30, 0, 500_000, tzinfo=UTC),
    "2023-12-31": datetime(2023, 12, 31, tzinfo=UTC),
    "0001-01-01": datetime(1, 1, 1, tzinfo=UTC),
    "9999-12-31T23:59:59Z": datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
}
DATES = (
    *("2024-02-29", "2024-02-29T23:30:00-05:00", "2024-03-01T04:30Z", "2024-03-01 04:30:00.5"),
    *("2023-12-31", "0001-01-01", "9999-12-31T23:59:59Z", "2024-02-30", "2024-13-01"),
)
# Of patterns, which a store may look for.
SPECIAL = (*"*?[]^-", "[a-c]", "b]", "^b", "a*", "x" * 100, f"{'x' * 99}y")
VALUES: tuple[Any, ...] = (
    *(0, 1, -1, 3, 2024, 2**53 + 1, -(2**63), 2**64 - 1, 0.0, -0.0, 3.0, 3.5, 1e300, True, False),
    *(None, "", "3", "3.5", "03", "-1", "1e3", " 3", "true", "null", "en", "EN", "e", "漢字", "ü"),
    *('a "b"', "a\\b", "it's", "%", "\0", "🦣", '"en"', [], {}, [1, "en", None], {"b": 3}, [3.0]),
    *DATES,
    *SPECIAL,
)
TEXTS = (
    *SPECIAL,
    *("3", "3.0", "3.5", "-1", "0.0", "true", "null", "en", "", "漢", "{}", "[]", '{"b":3}', "\0"),
    *("it's", "a\\b", 'a "b"', "9007199254740993", '[1,"en",null]', "1e300", "%", *DATES),
)
ORDERED: tuple[int | float | str, ...] = (
    0,
    3,
    3.5,
    -1.5,
    2**53 + 1,
    10**29,
    2024,
    "en",
    "",
    "3",
    "漢",
    "a\\b",
    "it's",
)


class Chance(random.Random):
    """Makes metadata and filters."""

    def metadata(self) -> dict[str, Any] | None:
        if self.random() < 0.1:
            return None
        found = {self.choice(FIELDS): self.choice(VALUES) for _ in range(self.randrange(4))}
        if self.random() < 0.3:
            found["a"] = {"b": self.choice((*VALUES, {"c": self.choice(VALUES)}))}
        return found

    def condition(self) -> Condition:
        field, operator = self.choice(FIELDS), self.choice(list(Operator))
        if operator is Operator.EXISTS:
            return Condition(field, None, operator)
        if operator is Operator.IN:
            return Condition(field, tuple(self.choices(TEXTS, k=2)), operator)
        if operator in (Operator.EQUALS, Operator.DIFFERS, Operator.CONTAINS):
            return Condition(field, self.choice(TEXTS), operator)
        times = [time for text in DATES if (time := parse_time(text))]
        return Condition(field, self.choice([*ORDERED, *times]), operator)

    def filter(self) -> Filter:
        some = [self.condition() for _ in range(self.choice((0, 1, 1, 2)))]
        others = [self.condition() for _ in range(self.choice((0, 0, 2, 3)))]
        source = self.choice((None, None, "a*", "-", "b.txt"))
        after, before = self.choice(((None, None), (None, None), (5.0, None), (None, 9.5), (2, 8)))
        return Filter(source, tuple(some), tuple(others), after, before)


DETAILS: dict[str, dict[str, Any]] = {
    "a.txt": {"modified": 5},
    "ab.txt": {"modified": 9.5},
    "b.txt": {"input": "lines"},
}


def value_of(field: str, metadata: Any) -> list[Any]:
    """Return the value of a field as a list, which is empty if there is none."""
    if field in metadata:
        return [metadata[field]]
    found = [metadata]
    for key in field.split("."):
        found = [each[key] for each in found if isinstance(each, dict) and key in each]
    return found


def text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def order(value: Any, wanted: Any) -> int | None:
    """Return how a value compares: less than 0, 0 or more; None if it does not."""
    if isinstance(wanted, datetime):
        value = TIMES.get(value) if isinstance(value, str) else None
    elif not isinstance(wanted, str):
        value = {"3": 3, "03": 3, "3.5": 3.5, "-1": -1}.get(value) if is_text(value) else value
        value = value if type(value) in (int, float) else None
    elif not is_text(value):
        value = None
    return None if value is None else (value > wanted) - (value < wanted)


def is_text(value: Any) -> bool:
    return isinstance(value, str)


# What docs/searching.md says, by no code of jtv.
DEFINITIONS: dict[Operator, Callable[[Any, Any], bool]] = {
    Operator.EXISTS: lambda *_: True,
    Operator.EQUALS: lambda value, wanted: text(value) == wanted,
    Operator.DIFFERS: lambda value, wanted: text(value) != wanted,
    Operator.IN: lambda value, wanted: any(text(value) == each for each in wanted),
    Operator.CONTAINS: lambda value, wanted: (
        wanted in (value if is_text(value) else [text(each) for each in value])
        if isinstance(value, str | list)
        else False
    ),
    Operator.LESS: lambda value, wanted: order(value, wanted) == -1,
    Operator.AT_MOST: lambda value, wanted: order(value, wanted) in (-1, 0),
    Operator.GREATER: lambda value, wanted: order(value, wanted) == 1,
    Operator.AT_LEAST: lambda value, wanted: order(value, wanted) in (0, 1),
}


def holds(condition: Condition, metadata: Any) -> bool:
    means = DEFINITIONS[condition.operator]
    return any(means(value, condition.operand) for value in value_of(condition.field, metadata))


def by_definition(filter: Filter, occurrence: Occurrence) -> bool:
    names: dict[str | None, set[str | None]] = {
        None: {None, "a.txt", "ab.txt", "b.txt"},
        "-": {None},
        "b.txt": {"b.txt"},
    }
    if occurrence.source not in names.get(filter.source, {"a.txt", "ab.txt"}):
        return False
    modified = DETAILS.get(occurrence.source or "", {}).get("modified")
    if filter.after is not None and not (modified and modified >= filter.after):
        return False
    if filter.before is not None and not (modified and modified < filter.before):
        return False
    metadata = occurrence.metadata or {}
    return all(holds(each, metadata) for each in filter.where) and (
        not filter.where_any or any(holds(each, metadata) for each in filter.where_any)
    )


def random_documents(chance: Chance, amount: int) -> list[Document]:
    sources, lines = (None, *DETAILS), count(1)
    return [
        document(
            f"text {number}",
            *(
                Occurrence(chance.choice(sources), next(lines), chance.metadata())
                for _ in range(chance.choice((1, 1, 2)))
            ),
        )
        for number in range(amount)
    ]


@pytest.fixture
def tables(open_one: OpenStore) -> Iterator[Iterator[Table]]:
    with closing(open_one()) as store:
        yield (make(store, SPEC._replace(name=f"documents_{number}")) for number in count())


def test_as_in_python(tables: Iterator[Table]) -> None:
    """1,000 random filters on random tables."""
    chance, matched = Chance(7), 0
    for _, table in zip(range(TABLES), tables, strict=False):
        documents = random_documents(chance, 40)
        table.add(documents, vectors(len(documents)))
        table.set_source_details(DETAILS)
        for _ in range(FILTERS):
            filter = chance.filter()
            first: dict[str, set[tuple[str | None, int | None]]] = {}
            for each in documents:
                for where in sorted(each.occurrences, key=lambda one: (one.source is None,)):
                    is_match = by_definition(filter, where)
                    assert is_match == matches(filter, where, DETAILS.get(where.source or ""))
                    if is_match:
                        first.setdefault(each.text, set()).add((where.source, where.line))
            [hits] = table.search(vectors(1), 40, filter=filter).hits
            assert {hit.content for hit in hits} == first.keys(), filter
            assert all((hit.source, hit.line) in first[hit.content] for hit in hits), filter
            distances = [hit.distance or 0 for hit in hits]
            assert distances == sorted(distances)
            [few] = table.search(vectors(1), 3, filter=filter).hits
            assert few == hits[:3]
            ids = [number for part in table.matching(filter) for number in part]
            assert ids == sorted(ids)
            assert {*ids} == {hit.id for hit in hits}
            if len(ids) > 1:
                assert [n for part in table.matching(filter, after=ids[0]) for n in part] == ids[1:]
            matched += len(hits)
    assert matched > TABLES * FILTERS, "filters that match nothing prove little"


@pytest.mark.parametrize("length", [1, 100])
def test_many_values(tables: Iterator[Table], length: int) -> None:
    """More than an expression of SQLite may have parts, and a pattern characters."""
    table, chance = next(tables), random.Random(1)
    values = [
        "".join(chr(chance.randrange(0x4E00, 0x9F00)) for _ in range(length)) for _ in "x" * 5000
    ]
    table.add(
        [
            document(text, Occurrence("a.txt", line, {"k": value}))
            for line, (text, value) in enumerate(
                [("a", values[0]), ("b", values[-1]), ("c", "z")], 1
            )
        ],
        vectors(3),
    )
    some, all_but_one = values[1:1000], values[1:]
    for operand, found in (([*some, values[0]], {"a"}), (all_but_one, {"b"}), (["y"], set())):
        filter = Filter(where=(Condition("k", tuple(operand), Operator.IN),))
        [hits] = table.search(vectors(1), 3, filter=filter).hits
        assert {hit.content for hit in hits} == found


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("lang=en", Condition("lang", "en")),
        ("lang= en ", Condition("lang", " en ")),
        ('lang="en"', Condition("lang", '"en"')),
        ("a b=c=d", Condition("a b", "c=d")),
        ("a=b>=c", Condition("a", "b>=c")),
        ("a=b contains c", Condition("a", "b contains c")),
        ("lang = en", Condition("lang", "en")),
        ('lang = "true "', Condition("lang", "true ")),
        ("lang!=en", Condition("lang", "en", Operator.DIFFERS)),
        ("year>=2020", Condition("year", 2020, Operator.AT_LEAST)),
        ("year < -1.5", Condition("year", -1.5, Operator.LESS)),
        ('year > "2020"', Condition("year", "2020", Operator.GREATER)),
        ("day <= x", Condition("day", "x", Operator.AT_MOST)),
        ("day<2024-05-01", Condition("day", parse_time("2024-05-01"), Operator.LESS)),
        ("lang in (en, de)", Condition("lang", ("en", "de"), Operator.IN)),
        ('lang in ("a, b",c d)', Condition("lang", ("a, b", "c d"), Operator.IN)),
        ("lang in (en)", Condition("lang", ("en",), Operator.IN)),
        ("title contains a b", Condition("title", "a b", Operator.CONTAINS)),
        ('title contains " b"', Condition("title", " b", Operator.CONTAINS)),
        ("a.b exists", Condition("a.b", None, Operator.EXISTS)),
    ],
)
def test_how_a_condition_is_written(text: str, condition: Condition) -> None:
    parsed = parse_condition(text)
    assert parsed == condition
    assert type(parsed.operand) is type(condition.operand)


@pytest.mark.parametrize(
    "text",
    [
        *("", "lang", "=en", " >= 3", "a <", "a > true", "exists", "a contains"),
        *("a in", "a in b", "a in ()", "a in (b", 'a in ("b)', "a in (b) c"),
    ],
)
def test_what_is_no_condition(text: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_condition(text)
    assert raised.value.hint
    assert "--where" in raised.value.hint


@pytest.mark.parametrize(
    ("condition", "metadata", "is_met"),
    [
        ("n>=3", {"n": 3}, True),
        ("n>3", {"n": 3.5}, True),
        ("n>3", {"n": "10"}, True),
        ("n>3", {"n": "ten"}, False),
        ("n>0", {"n": True}, False),
        ('n>"3"', {"n": "10"}, False),
        ("n=3", {"n": 3.0}, False),
        ("n!=3", {"n": 4}, True),
        ("n!=3", {}, False),
        ("n!=3", {"n": None}, True),
        ("n exists", {"n": None}, True),
        ("n exists", {"m": 1}, False),
        ("d>=2024-05-01", {"d": "2024-05-01T00:30:00+02:00"}, False),
        ("d<2024-05-01", {"d": "2024-05-01T00:30:00+02:00"}, True),
        ("d<2024-05-01", {"d": "soon"}, False),
        ("t contains an", {"t": "banana"}, True),
        ("t contains an", {"t": ["an", 1]}, True),
        ("t contains 1", {"t": ["an", 1]}, True),
        ("t contains a", {"t": ["an", 1]}, False),
        ("a.b=1", {"a": {"b": 1}}, True),
        ("a.b=1", {"a": {"b": 1}, "a.b": 2}, False),
        ("a.b.c exists", {"a": {"b": 1}}, False),
        ("a.b in (1, x)", {"a": {"b": "x"}}, True),
    ],
)
def test_what_a_condition_means(condition: str, metadata: dict[str, Any], is_met: bool) -> None:
    filter = Filter(where=(parse_condition(condition),))
    assert matches(filter, Occurrence(metadata=metadata)) is is_met
    assert metadata_test(filter)(orjson.dumps(metadata).decode()) is is_met
    assert not matches(filter, Occurrence())
