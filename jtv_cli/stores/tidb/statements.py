"""What large statements are made of: rows, a megabyte at a time, keys, and vectors as text."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jtv_cli.records import Vectors

    Item = TypeVar("Item")
    Row = tuple[str, tuple[str, ...]]
    """Values in brackets with a mark in place of each text, and these texts."""

KEYS = 1000
"""As many keys as one statement should look for."""

_STATEMENT_CHARACTERS = 1_000_000


def inserts(into: str, key: str, rows: Iterable[Row]) -> Iterator[Row]:
    """Yield statements that insert the rows whose keys are not there yet, and their texts.

    `into` is a table and its columns, `key` the first column of its primary key. What
    needs no quoting stands in the statements as it is: to have the driver look through
    vectors costs more than it takes to write them. INSERT IGNORE would turn any error
    into a NULL.
    """
    values: list[str] = []
    texts: list[str] = []
    size = 0
    for value, some in rows:
        if size > _STATEMENT_CHARACTERS:
            yield _statement(into, key, values), tuple(texts)
            values, texts, size = [], [], 0
        values.append(value)
        texts += some
        size += len(value) + sum(map(len, some))
    if values:
        yield _statement(into, key, values), tuple(texts)


def ahead(items: Iterator[Item]) -> Iterator[Item]:
    """Yield the items, each made by a thread while the one before is dealt with."""
    with ThreadPoolExecutor(1) as thread:
        upcoming = thread.submit(next, items, None)
        while (item := upcoming.result()) is not None:
            upcoming = thread.submit(next, items, None)
            yield item


def vector_text(vector: Vectors) -> str:
    """Return a (dimensions,) float32 vector as TiDB reads it, each number in its shortest form."""
    import orjson

    return orjson.dumps(vector, option=orjson.OPT_SERIALIZE_NUMPY).decode()


def read_vector(text: str) -> Vectors:
    """Return the (dimensions,) float32 vector that TiDB has written as text."""
    import numpy as np
    import orjson

    vector: Vectors = np.array(orjson.loads(text), np.float32)
    return vector


def _statement(into: str, key: str, values: Iterable[str]) -> str:
    return f"INSERT INTO {into} VALUES {','.join(values)} ON DUPLICATE KEY UPDATE {key} = {key}"
