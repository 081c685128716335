"""The index of one table: sign codes of its documents, in segments.

The index is a set of segments that covers the documents up to some id. Later documents,
usually fewer than a segment, are compared exactly, so that a document is found as soon as
it is stored, and adding one rewrites nothing. A new segment is part of the transaction
that completes it. A deleted document leaves its code behind, which does no harm: ids are
never used again, and candidates are looked up in the table.

Segments of one generation share a seed and a mean. The live generation grows with the
table; another is built beside it, in short transactions, and finally replaces it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from jtv_cli.errors import StoreError
from jtv_cli.stores.sqlite.connection import DamagedError
from jtv_cli.stores.sqlite.documents import require_types

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jtv_cli.records import Vectors
    from jtv_cli.stores.distances import Ids
    from jtv_cli.stores.sqlite.codes import CodeDistances, Codes, Encoder
    from jtv_cli.stores.sqlite.documents import Documents

SEGMENT = 2048
"""Documents in a segment: as many of the newest documents a search may have to read."""

# With fewer coordinates, the rotations of a vector hardly differ from each other.
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

# The number of candidates was measured for the table and holds for any generation.
_GO_LIVE = """
UPDATE jtv_indexes SET is_live = 1, candidates =
    (SELECT candidates FROM jtv_indexes WHERE identity = ? AND is_live)
WHERE generation = ?
"""


class Generation(NamedTuple):
    """One generation of an index.

    `candidates` is how many a search of this table needs, None if that was not measured,
    0 if no number is enough. It covers the documents up to the id `last`.
    """

    number: int
    seed: bytes
    mean: bytes
    candidates: int | None
    last: int


class Index:
    """The index of one table, in whatever transaction is open.

    Raises the errors of sqlite3, and DamagedError for segments that cannot be jtv's.
    """

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    def live(self) -> Generation | None:
        """Return the generation that grows with the table, None if there is none."""
        return self._find("is_live")

    def usable(self) -> Generation | None:
        """Return the live generation, which searches use, once it covers something.

        Until then, a first build has only begun.
        """
        live = self.live()
        return live if live and live.last and self.is_worth_it() else None

    def is_worth_it(self) -> bool:
        """Return whether the table has ever had a segment of documents of enough dimensions."""
        return (
            self._documents.newest() >= SEGMENT
            and self._documents.spec.dimensions >= _LEAST_DIMENSIONS
        )

    def waiting(self, generation: Generation | None) -> int:
        """Return how many ids were used after the last one that is covered."""
        return self._documents.newest() - (generation.last if generation else 0)

    def pending(self, generation: Generation) -> int:
        """Return how many documents are not covered. Reads their rows."""
        return self._documents.number(
            'SELECT count(*) FROM "{name}" WHERE id > ?', (generation.last,)
        )

    def extend(self) -> bool:
        """Index the next complete segment of documents; return whether another one is missing.

        Takes the write lock, as do `begin`, `build`, `keep` and `drop`.
        """
        live = self.live()
        if not self.is_worth_it() or self.waiting(live) < SEGMENT:
            return False
        newest, last = self._documents.newest(), self._grow(live or self.begin())
        return newest - last >= SEGMENT

    def begin(self) -> Generation:
        """Create a generation, live if there is none yet; drop one that was never finished."""
        from jtv_cli.stores.sqlite.codes import seed_size

        for statement in _STATEMENTS:
            self._documents.execute(statement)
        identity = self._documents.spec.identity
        self._documents.execute(
            "DELETE FROM jtv_indexes WHERE identity = ? AND NOT is_live", (identity,)
        )
        seed = os.urandom(seed_size(self._documents.spec.dimensions))
        cursor = self._documents.execute(
            "INSERT INTO jtv_indexes (identity, is_live, seed, mean) VALUES (?, ?, ?, ?)",
            (identity, self.live() is None, seed, self._mean().tobytes()),
        )
        found = self._find("generation = ?", cursor.lastrowid)
        assert found is not None
        return found

    def build(self, number: int) -> int | None:
        """Index the next segment for a generation; once it covers all, make it the live one.

        Returns the last id that is covered, None at the end. Raises StoreError if the
        generation no longer exists.
        """
        generation = self._find("generation = ?", number)
        if generation is None:
            raise StoreError(
                f"the index of table {self._documents.spec.name} was dropped or is being built"
                " by another process",
                hint="check it with: jtv index status",
            )
        if self.waiting(generation) >= SEGMENT:
            return self._grow(generation)
        identity = self._documents.spec.identity
        self._documents.execute(_GO_LIVE, (identity, number))
        self._documents.execute(
            "DELETE FROM jtv_indexes WHERE identity = ? AND generation <> ?", (identity, number)
        )
        return None

    def codes(self, generation: Generation) -> int:
        """Return the number of codes, including those of deleted documents."""
        return self._documents.number(
            "SELECT coalesce(sum(documents), 0) FROM jtv_segments WHERE generation = ?",
            (generation.number,),
        )

    def keep(self, candidates: int | None) -> None:
        """Store how many candidates searches need, for this generation and later ones."""
        self._documents.execute(
            "UPDATE jtv_indexes SET candidates = ? WHERE identity = ? AND is_live",
            (candidates, self._documents.spec.identity),
        )

    def drop(self) -> bool:
        """Drop the index, and those of tables that were dropped; return whether there was any."""
        if not self._exists():
            return False
        dropped = self._documents.execute(
            "DELETE FROM jtv_indexes WHERE identity = ?"
            " OR identity NOT IN (SELECT identity FROM jtv_tables)",
            (self._documents.spec.identity,),
        )
        return dropped.rowcount > 0

    def distances(
        self, generation: Generation, unit_queries: Vectors
    ) -> Iterator[tuple[Ids, CodeDistances]]:
        """Yield the ids of all codes, (n,), and their distances, (n,), to each query in turn."""
        import numpy as np

        from jtv_cli.stores.sqlite.codes import code_distances

        encoder = self.encoder(generation)
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

        rows = self._documents.execute(
            "SELECT last, documents, ids, codes FROM jtv_segments"
            " WHERE generation = ? ORDER BY last",
            (generation.number,),
        )
        words = len(generation.seed) // 8
        for last, documents, ids, codes in rows:
            if not _is_segment(documents, ids, codes, words):
                raise DamagedError
            yield (
                np.arange(last - documents, last) + 1 if ids is None else np.frombuffer(ids, "<i8"),
                np.frombuffer(codes, "<u8").reshape(words, documents),
            )

    def _grow(self, generation: Generation) -> int:
        """Add a segment to a generation; return the last id that it covers."""
        import numpy as np

        encoder = self.encoder(generation)
        all_ids, all_codes = [np.empty(0, np.int64)], [np.empty((encoder.words, 0), "<u8")]
        for some, vectors in self._documents.vectors(after=generation.last, limit=SEGMENT):
            all_ids.append(some)
            all_codes.append(encoder.encode(vectors))
        ids, codes = np.concatenate(all_ids), np.concatenate(all_codes, axis=1).tobytes()
        # Fewer than a segment are all the documents that exist.
        last = int(ids[-1]) if ids.size == SEGMENT else self._documents.newest()
        are_consecutive = ids.size and ids[0] == last - ids.size + 1
        self._documents.execute(
            "INSERT INTO jtv_segments (generation, last, documents, ids, codes)"
            " VALUES (?, ?, ?, ?, ?)",
            (generation.number, last, ids.size, None if are_consecutive else ids.tobytes(), codes),
        )
        return last

    def encoder(self, generation: Generation) -> Encoder:
        """Return what encodes vectors for this generation."""
        from jtv_cli.stores.sqlite.codes import Encoder, seed_size

        if len(generation.seed) != seed_size(self._documents.spec.dimensions):
            raise DamagedError
        return Encoder(generation.seed, self._documents.decode([generation.mean])[0])

    def _mean(self) -> Vectors:
        """Return the mean of the directions of some documents."""
        import numpy as np

        from jtv_cli.stores.distances import normalized

        total = np.zeros(self._documents.spec.dimensions, np.float32)
        count = 0
        for found, vectors in self._documents.vectors_of(self._documents.sample(_SAMPLE)):
            total += normalized(vectors).sum(axis=0)
            count += found.size
        return (total / max(count, 1)).astype("<f4")

    def _find(self, which: str, *parameters: object) -> Generation | None:
        if not self._exists():
            return None
        statement = _GENERATION.format(which=which)
        row = self._documents.execute(
            statement, (self._documents.spec.identity, *parameters)
        ).fetchone()
        if row is None:
            return None
        number, seed, mean, candidates, last = row
        require_types((int, bytes, bytes, int, int), row)
        if seed is None or mean is None or last is None:
            raise DamagedError
        return Generation(number, seed, mean, candidates, last)

    def _exists(self) -> bool:
        """Return whether the file has the tables of indexes."""
        found = self._documents.execute("SELECT 1 FROM sqlite_master WHERE name = 'jtv_segments'")
        return found.fetchone() is not None


def _is_segment(documents: object, ids: object, codes: object, words: int) -> bool:
    """Return whether the values of a row are those of a segment with codes of so many words."""
    if type(documents) is not int or type(codes) is not bytes:
        return False
    has_ids = ids is None or (type(ids) is bytes and len(ids) == 8 * documents)
    return has_ids and len(codes) == 8 * words * documents
