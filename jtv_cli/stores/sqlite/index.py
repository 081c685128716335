"""The index of one table: sign codes of its documents, in segments.

The index is a set of segments that covers the documents up to some id. Those after it,
fewer than a segment as a rule, are compared exactly, so that a document is found from
the moment it is stored, and adding one rewrites nothing. A new segment goes into the
transaction that completes it. A document that is deleted leaves its code behind: ids
are never given again, and what is found is looked up in the rows.

Segments of one generation share a seed and a mean. The live generation grows with the
table; another is built beside it, in short transactions, and takes its place at the end.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from jtv_cli.errors import StoreError
from jtv_cli.stores.sqlite.rows import decode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jtv_cli.records import Vectors
    from jtv_cli.stores.distances import Ids
    from jtv_cli.stores.sqlite.codes import CodeDistances, Codes, Encoder
    from jtv_cli.stores.sqlite.rows import Rows

SEGMENT = 2048
"""Documents in a segment: what a search of the newest documents may have to read."""

# Of fewer coordinates, the rotations of one vector hardly differ from each other.
_LEAST_DIMENSIONS = 8
_SAMPLE = 512  # vectors whose mean stands for that of all
_QUERIES = 8  # queries that share a pass: 2 bytes of each are held for each document

_STATEMENTS = (
    """
    CREATE TABLE IF NOT EXISTS jtv_indexes (
        generation INTEGER PRIMARY KEY AUTOINCREMENT,
        identity TEXT NOT NULL,
        is_live INTEGER NOT NULL,
        seed BLOB NOT NULL,
        mean BLOB NOT NULL,
        candidates INTEGER
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS jtv_segments (
        generation INTEGER NOT NULL REFERENCES jtv_indexes (generation) ON DELETE CASCADE,
        last INTEGER NOT NULL,
        documents INTEGER NOT NULL,
        ids BLOB,
        codes BLOB NOT NULL,
        PRIMARY KEY (generation, last)
    )
    """,
)

_GENERATION = """
SELECT generation, seed, mean, candidates, coalesce(
    (SELECT max(last) FROM jtv_segments s WHERE s.generation = i.generation), 0
)
FROM jtv_indexes i WHERE identity = ? AND {which}
"""

# What was measured for the table holds for one generation as for another.
_GO_LIVE = """
UPDATE jtv_indexes SET is_live = 1, candidates =
    (SELECT candidates FROM jtv_indexes WHERE identity = ? AND is_live)
WHERE generation = ?
"""


class Generation(NamedTuple):
    """One generation of an index.

    `candidates` is how many a search of this table needs, where that was measured,
    and 0 where no number will do. It covers the documents up to the id `last`.
    """

    number: int
    seed: bytes
    mean: bytes
    candidates: int | None
    last: int

    def encoder(self) -> Encoder:
        """Return what makes codes for this generation."""
        from jtv_cli.stores.sqlite.codes import Encoder

        return Encoder(self.seed, decode([self.mean])[0])


class Index:
    """Reads and writes the index of one table, in whatever transaction there is.

    Raises the errors of sqlite3.
    """

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def live(self) -> Generation | None:
        """Return the generation that grows with the table, if there is one."""
        return self._find("is_live")

    def usable(self) -> Generation | None:
        """Return the live generation once it covers something: the one that searches use.

        Before, a first build has only begun, or was interrupted there.
        """
        live = self.live()
        return live if live and live.last and self.is_worth_it() else None

    def is_worth_it(self) -> bool:
        """Return whether the table has ever had a segment of documents that codes tell apart."""
        return self._rows.newest() >= SEGMENT and self._rows.spec.dimensions >= _LEAST_DIMENSIONS

    def waiting(self, generation: Generation | None) -> int:
        """Return how many ids were given since the last that is covered."""
        return self._rows.newest() - (generation.last if generation else 0)

    def pending(self, generation: Generation) -> int:
        """Return how many documents are not covered. It reads their rows."""
        row = self._rows.execute('SELECT count(*) FROM "{name}" WHERE id > ?', (generation.last,))
        return int(row.fetchone()[0])

    def extend(self) -> bool:
        """Index the next segment of documents, if there is one; return whether another waits.

        Needs the write lock, as `begin`, `build`, `keep` and `drop` do.
        """
        live = self.live()
        if not self.is_worth_it() or self.waiting(live) < SEGMENT:
            return False
        newest, last = self._rows.newest(), self._grow(live or self.begin())
        return newest - last >= SEGMENT

    def begin(self) -> Generation:
        """Make a generation: the live one, if there is none. One that was never finished goes."""
        from jtv_cli.stores.sqlite.codes import seed_size

        for statement in _STATEMENTS:
            self._rows.execute(statement)
        identity = self._rows.spec.identity
        self._rows.execute(
            "DELETE FROM jtv_indexes WHERE identity = ? AND NOT is_live", (identity,)
        )
        seed = os.urandom(seed_size(self._rows.spec.dimensions))
        cursor = self._rows.execute(
            "INSERT INTO jtv_indexes (identity, is_live, seed, mean) VALUES (?, ?, ?, ?)",
            (identity, self.live() is None, seed, self._mean().tobytes()),
        )
        found = self._find("generation = ?", cursor.lastrowid)
        assert found is not None
        return found

    def build(self, number: int) -> int | None:
        """Index the next segment for a generation; once it has all, make it the live one.

        Returns the last id that is covered, None at the end. Raises StoreError where
        the generation is gone.
        """
        generation = self._find("generation = ?", number)
        if generation is None:
            raise StoreError(
                f"the index of {self._rows.spec.name} was dropped, or is built by another process",
                hint="see how far it is: jtv index status",
            )
        if self.waiting(generation) >= SEGMENT:
            return self._grow(generation)
        identity = self._rows.spec.identity
        self._rows.execute(_GO_LIVE, (identity, number))
        self._rows.execute(
            "DELETE FROM jtv_indexes WHERE identity = ? AND generation <> ?", (identity, number)
        )
        return None

    def codes(self, generation: Generation) -> int:
        """Return how many codes there are, those of documents deleted since included."""
        row = self._rows.execute(
            "SELECT coalesce(sum(documents), 0) FROM jtv_segments WHERE generation = ?",
            (generation.number,),
        )
        return int(row.fetchone()[0])

    def keep(self, candidates: int | None) -> None:
        """Remember how many candidates searches need, for this generation and those to come."""
        self._rows.execute(
            "UPDATE jtv_indexes SET candidates = ? WHERE identity = ? AND is_live",
            (candidates, self._rows.spec.identity),
        )

    def drop(self) -> bool:
        """Remove what there is, for tables that are no more, too; return whether that was any."""
        if not self._is_made():
            return False
        dropped = self._rows.execute(
            "DELETE FROM jtv_indexes WHERE identity = ?"
            " OR identity NOT IN (SELECT identity FROM jtv_tables)",
            (self._rows.spec.identity,),
        )
        return dropped.rowcount > 0

    def distances(
        self, generation: Generation, unit_queries: Vectors
    ) -> Iterator[tuple[Ids, CodeDistances]]:
        """Yield the ids of all codes, (n,), and their distances, (n,), to each query in turn."""
        import numpy as np

        from jtv_cli.stores.sqlite.codes import code_distances

        encoder = generation.encoder()
        for start in range(0, len(unit_queries), _QUERIES):
            part = encoder.encode_queries(unit_queries[start : start + _QUERIES])
            all_ids, all_distances = [], []
            for ids, segment in self.segments(generation):
                all_ids.append(ids)
                all_distances.append(list(code_distances(segment, part)))
            together = np.concatenate(all_ids)
            for distances in zip(*all_distances, strict=True):
                yield together, np.concatenate(distances)

    def segments(self, generation: Generation) -> Iterator[tuple[Ids, Codes]]:
        """Yield the ids, (n,), and codes, (words, n), of each segment, in order of id."""
        import numpy as np

        rows = self._rows.execute(
            "SELECT last, documents, ids, codes FROM jtv_segments"
            " WHERE generation = ? ORDER BY last",
            (generation.number,),
        )
        for last, documents, ids, codes in rows:
            yield (
                np.arange(last - documents, last) + 1 if ids is None else np.frombuffer(ids, "<i8"),
                np.frombuffer(codes, "<u8").reshape(len(generation.seed) // 8, documents),
            )

    def _grow(self, generation: Generation) -> int:
        """Add a segment; return the last id that it covers."""
        import numpy as np

        encoder = generation.encoder()
        all_ids, all_codes = [np.empty(0, np.int64)], [np.empty((encoder.words, 0), "<u8")]
        for some, vectors in self._rows.vectors(after=generation.last, limit=SEGMENT):
            all_ids.append(some)
            all_codes.append(encoder.encode(vectors))
        ids, codes = np.concatenate(all_ids), np.concatenate(all_codes, axis=1).tobytes()
        # If there are fewer than a segment, they are all there are.
        last = int(ids[-1]) if ids.size == SEGMENT else self._rows.newest()
        are_consecutive = ids.size and ids[0] == last - ids.size + 1
        self._rows.execute(
            "INSERT INTO jtv_segments (generation, last, documents, ids, codes)"
            " VALUES (?, ?, ?, ?, ?)",
            (generation.number, last, ids.size, None if are_consecutive else ids.tobytes(), codes),
        )
        return last

    def _mean(self) -> Vectors:
        """Return the mean of the directions of some documents."""
        import numpy as np

        from jtv_cli.stores.distances import normalized

        total = np.zeros(self._rows.spec.dimensions, np.float32)
        count = 0
        for found, vectors in self._rows.vectors_of(self._rows.sample(_SAMPLE)):
            total += normalized(vectors).sum(axis=0)
            count += found.size
        return (total / max(count, 1)).astype("<f4")

    def _find(self, which: str, *parameters: object) -> Generation | None:
        if not self._is_made():
            return None
        statement = _GENERATION.format(which=which)
        row = self._rows.execute(statement, (self._rows.spec.identity, *parameters)).fetchone()
        return Generation(*row) if row else None

    def _is_made(self) -> bool:
        """Return whether any table of the file was ever indexed."""
        found = self._rows.execute("SELECT 1 FROM sqlite_master WHERE name = 'jtv_segments'")
        return found.fetchone() is not None
