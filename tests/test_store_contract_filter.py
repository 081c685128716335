"""What every store must do to search those documents alone that fit a filter."""

from __future__ import annotations

from itertools import starmap
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from jtv_cli.records import Condition, Document, Filter, Hit, Occurrence
from tables import document, make, vectors

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jtv_cli.records import Vectors
    from jtv_cli.stores import Store, Table

COUNT = 600


def nth(number: int) -> Document:
    """Return one of many documents: in one of six files, every fourth in `all.md` as well."""
    metadata = {"author": f"a{number % 7}", "page": number % 3, "nested": {"page": 77}}
    occurrences = [Occurrence(f"part/{number % 6}.txt", number, metadata)]
    if number % 4 == 0:
        occurrences.append(Occurrence("all.md", number))
    if number % 10 == 0:
        occurrences.append(Occurrence(None, number, {"author": "piped"}))
    return document(f"text {number}", *occurrences)


FITTING: dict[str, tuple[Filter, Callable[[int], bool]]] = {
    "one source": (Filter("part/3.txt"), lambda n: n % 6 == 3),
    "a pattern": (Filter("part/[0-2].txt"), lambda n: n % 6 <= 2),
    "a path as it is typed": (Filter("./part//[0-2].txt"), lambda n: n % 6 <= 2),
    "a second occurrence": (Filter("*.md"), lambda n: n % 4 == 0),
    "any source": (Filter("*"), lambda n: True),
    "stdin": (Filter("-"), lambda n: n % 10 == 0),
    "another case": (Filter("PART/*"), lambda n: False),
    "a string": (Filter(where=(Condition("author", "a3"),)), lambda n: n % 7 == 3),
    "a number": (Filter(where=(Condition("page", "2"),)), lambda n: n % 3 == 2),
    "all of it": (
        Filter("part/*", (Condition("author", "a3"), Condition("page", "2"))),
        lambda n: n % 7 == 3 and n % 3 == 2,
    ),
    "of one occurrence": (Filter("all.md", (Condition("author", "a3"),)), lambda n: False),
    "not what is nested": (Filter(where=(Condition("page", "77"),)), lambda n: False),
    "no such field": (Filter(where=(Condition("title", "a3"),)), lambda n: False),
}


@pytest.fixture
def stored() -> Vectors:
    return vectors(COUNT)


@pytest.fixture
def filled(table: Table, stored: Vectors) -> Table:
    table.add([nth(number) for number in range(COUNT)], stored)
    return table


def numbers(hits: Sequence[Hit]) -> list[int]:
    return [int(hit.content.removeprefix("text ")) for hit in hits]


def expected(stored: Vectors, query: Vectors, k: int, fits: Callable[[int], bool]) -> list[int]:
    """Return the k nearest that fit, by brute force."""
    unit = stored / np.linalg.norm(stored, axis=1, keepdims=True)
    order = np.argsort(-(unit @ query))
    return [number for number in order.tolist() if fits(number)][:k]


@pytest.mark.parametrize("exact", [True, False], ids=["exact", "by index"])
@pytest.mark.parametrize("case", FITTING)
def test_the_nearest_of_those_that_fit(
    filled: Table, stored: Vectors, case: str, exact: bool
) -> None:
    filter, fits = FITTING[case]
    queries = vectors(3, seed=7)
    found = filled.search(queries, 10, exact=exact, filter=filter, explain=True)
    for query, hits in zip(queries, found.hits, strict=True):
        assert numbers(hits) == expected(stored, query, 10, fits)
    assert found.explanation


def test_as_many_as_there_are(filled: Table, stored: Vectors) -> None:
    query = vectors(1, seed=7)
    for filter, fits in FITTING.values():
        [hits] = filled.search(query, COUNT, filter=filter).hits
        assert numbers(hits) == expected(stored, query[0], COUNT, fits)


def test_what_is_too_far_is_left_out(filled: Table) -> None:
    query = vectors(1, seed=7)
    [everything] = filled.search(query, 100, filter=Filter("part/3.txt")).hits
    cut = everything[7].distance or 0
    [hits] = filled.search(query, 100, filter=Filter("part/3.txt"), max_distance=cut + 1e-6).hits
    assert hits == everything[:8]


def test_a_hit_shows_the_first_occurrence_that_fits(table: Table) -> None:
    where = [
        Occurrence("a.txt", 1, {"page": {"page": "2"}}),
        Occurrence("a.txt", 2, {"page": "2"}),
        Occurrence("b.txt", 1, {"page": 2}),
    ]
    table.add([document("text", *where)], vectors(1))

    def shown(source: str | None = None, **fields: str) -> Occurrence:
        [[hit]] = table.search(
            vectors(1), 3, filter=Filter(source, tuple(starmap(Condition, fields.items())))
        ).hits
        return Occurrence(hit.source, hit.line, hit.metadata)

    assert shown("*.txt") == where[0]
    assert shown(page="2") == where[1]
    assert shown("b*") == shown("b*", page="2") == where[2]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("Ada", "Ada"),
        ('a "quoted" \\ one\n', 'a "quoted" \\ one\n'),
        ("漢字 🦣", "漢字 🦣"),
        ("", ""),
        (3, "3"),
        (3.5, "3.5"),
        (True, "true"),
        (None, "null"),
        (["a", 1, None], '["a",1,null]'),
        ("null", "null"),
    ],
)
def test_fields_of_each_kind(table: Table, value: Any, text: str) -> None:
    name = 'a "name": 漢'
    table.add(
        [
            document("text", Occurrence(None, 1, {"x": 1, name: value})),
            document("other", Occurrence(None, 2, {"x": text, name: f"{text}!"})),
            document("none", Occurrence(None, 3)),
        ],
        vectors(3),
    )
    [hits] = table.search(vectors(1), 3, filter=Filter(where=(Condition(name, text),))).hits
    assert [hit.content for hit in hits] == ["text"]
    assert table.search(
        vectors(1), 3, filter=Filter(where=(Condition(name, text.upper() + "x"),))
    ).hits == [[]]


def test_names_of_sources_are_taken_as_they_are(table: Table) -> None:
    names = ["a_b", "a%b", "axb", "a\\b", "a'b", "A_B", "[x]", "-"]
    table.add([document(name, Occurrence(name, 1)) for name in names], vectors(len(names)))

    def found(pattern: str) -> set[str]:
        [hits] = table.search(vectors(1), 99, filter=Filter(pattern)).hits
        return {hit.content for hit in hits}

    assert found("a_b") == {"a_b"}
    assert found("a?b") == {"a_b", "a%b", "axb", "a\\b", "a'b"}
    assert found("[!a]*") == {"A_B", "[x]", "-"}
    assert found("[[]x]") == {"[x]"}


def test_many_sources(table: Table) -> None:
    some = [document(f"text {n}", Occurrence(f"{n}.txt", 1)) for n in range(2000)]
    table.add(some, vectors(2000))
    [hits] = table.search(vectors(1), 2000, filter=Filter("*[13579].txt")).hits
    assert sorted(numbers(hits)) == list(range(1, 2000, 2))


def test_what_was_deleted_does_not_fit(filled: Table) -> None:
    query = vectors(1, seed=7)
    filled.remove("part/3.txt", list(filled.source_lines("part/3.txt")))
    assert filled.search(query, 5, filter=Filter("part/3.txt")).hits == [[]]


def test_an_empty_table(store: Store) -> None:
    empty = make(store)
    assert empty.search(vectors(2), 5, filter=Filter("*")).hits == [[], []]
