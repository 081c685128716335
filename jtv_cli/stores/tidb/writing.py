"""What a transaction on one table does: insert what is new, look up ids, note occurrences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects.mysql import insert

from jtv_cli.records import text_hash
from jtv_cli.stores.metadata import encode_metadata
from jtv_cli.stores.tidb.schema import NO_LINE, NO_SOURCE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import Connection

    from jtv_cli.records import Occurrence, Place, Vectors
    from jtv_cli.stores.tidb.schema import Schema

# Values in one IN (…).
_KEYS = 1000


class Writing:
    """Statements on the tables of a jtv table, over one connection.

    A transaction does not see what others have stored since it began, unless it
    locks what it reads.
    """

    def __init__(self, connection: Connection, schema: Schema) -> None:
        self._connection = connection
        self._schema = schema

    def insert(self, table: sa.Table, rows: Sequence[Mapping[str, object]]) -> int:
        """Insert the rows whose keys are not there yet; return how many those were.

        The driver sends them in statements of about a megabyte. INSERT IGNORE would
        turn any other error into a NULL.
        """
        if not rows:
            return 0
        key = next(iter(table.primary_key))
        statement = insert(table).on_duplicate_key_update({key.name: key})
        return self._connection.execute(statement, rows).rowcount

    def ids(self, hashes: Sequence[bytes], *, lock: bool = False) -> dict[bytes, int]:
        """Return the ids of those texts that are stored, by hash."""
        columns = self._schema.documents.c
        rows = self._lookup((columns.content_hash, columns.id), hashes, lock=lock)
        return dict(map(tuple, rows))

    def lock(self, documents: Collection[int]) -> int:
        """Keep documents from being deleted until the transaction ends; return how many are there.

        In one order, so that two of these never wait for each other.
        """
        rows = self._lookup((self._schema.documents.c.id,), sorted(documents), lock=True)
        return sum(1 for _ in rows)

    def noted(self, source: str | None, places: Sequence[Place]) -> set[tuple[int, int]]:
        """Return the (line, id) noted of a source already, from the first place to the last."""
        number = self._source_ids({source}).get(source)
        if number is None:
            return set()
        where = self._schema.occurrences.c
        lines = (min(places).line, max(places).line)
        statement = sa.select(where.line, where.document).where(
            where.source == number, where.line.between(*lines)
        )
        return {(line, document) for line, document in self._connection.execute(statement)}

    def insert_occurrences(self, occurrences: Iterable[tuple[int, Occurrence]]) -> int:
        """Note where documents were read; return how many of that were news."""
        occurrences = list(occurrences)
        names = dict.fromkeys(where.source for _, where in occurrences)
        sources = self._source_ids(names)
        if missing := [name for name in names if name is not None and name not in sources]:
            rows = [{"source": name, "source_hash": text_hash(name)} for name in missing]
            self.insert(self._schema.sources, rows)
            sources |= self._source_ids(missing, lock=True)
        return self.insert(
            self._schema.occurrences,
            [
                {
                    "document": document,
                    "source": sources[where.source],
                    "line": where.line or NO_LINE,
                    "metadata": encode_metadata(where.metadata),
                }
                for document, where in occurrences
            ],
        )

    def _source_ids(
        self, names: Collection[str | None], *, lock: bool = False
    ) -> dict[str | None, int]:
        """Return the ids of those sources that there are, by name."""
        hashes = {text_hash(name): name for name in names if name is not None}
        columns = self._schema.sources.c
        rows = self._lookup((columns.source_hash, columns.id), list(hashes), lock=lock)
        return {None: NO_SOURCE} | {hashes[key]: number for key, number in rows}

    def _lookup(
        self, columns: Sequence[sa.Column[Any]], keys: Sequence[object], *, lock: bool
    ) -> Iterator[Any]:
        """Yield the rows whose first column has one of the keys."""
        for start in range(0, len(keys), _KEYS):
            statement = sa.select(*columns).where(columns[0].in_(keys[start : start + _KEYS]))
            if lock:
                statement = statement.with_for_update()
            yield from self._connection.execute(statement)


def vector_text(vector: Vectors) -> str:
    """Return a (dimensions,) float32 vector as TiDB reads it, each number in its shortest form."""
    import orjson

    return orjson.dumps(vector, option=orjson.OPT_SERIALIZE_NUMPY).decode()
