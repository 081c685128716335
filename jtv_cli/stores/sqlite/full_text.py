"""The full-text index of one table: an FTS5 table beside the rows, in the same transactions.

The FTS5 table is `TABLE_full_text`. It has no contents of its own: its rowids are the ids of the
documents. Its only column is named after the version of the terms and the identity of the table,
so that it is never taken for the index of another table of the same name.

It covers the documents up to some id. Usually these are all of them; fewer while it is built, or
if a version of jtv without full-text indexes has added some.
"""

from __future__ import annotations

from itertools import accumulate
from math import log
from typing import TYPE_CHECKING, NamedTuple

from jtv_cli.errors import StoreError
from jtv_cli.stores.sqlite.terms import indexed_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from jtv_cli.stores.sqlite.schema import Statements

BATCH = 2048
"""Documents that are indexed in one transaction."""

# The stemmer is English; it cuts the words of other languages too, but always in the same way.
# Marks are parts of words in Indic scripts.
_TOKENIZER = "porter unicode61 remove_diacritics 2 categories ''L* N* Co Mn Mc''"
# A new way to make terms gets a new version, because documents are removed by their terms.
_VERSION = 1
# Terms select no more documents than this, or than this share of all, to be ranked.
_COMMON = 2_000
_COMMON_SHARE = 50
_COMMON_GROWTH = 4  # of the limit, if every term is in more documents

_FIND = "SELECT sql FROM sqlite_master WHERE name = '{name}_full_text'"
_CREATE = (
    'CREATE VIRTUAL TABLE "{name}_full_text"'
    " USING fts5({column}, content='', tokenize='{tokenizer}')"
)
# FTS5 merges its segments once there are so many of one size. Its default, 4, writes each term more
# often: a tenth of the time that indexing takes, and more the larger the table.
_MERGE = """
INSERT INTO "{name}_full_text" ("{name}_full_text", rank) VALUES ('automerge', 8)
"""
_INSERT = 'INSERT INTO "{name}_full_text" (rowid, {column}) VALUES (?, ?)'
_DELETE = """
INSERT INTO "{name}_full_text" ("{name}_full_text", rowid, {column}) VALUES ('delete', ?, ?)
"""
# FTS5 keeps the number of terms of each document in this table.
_LAST = 'SELECT coalesce(max(id), 0) FROM "{name}_full_text_docsize"'
_NEXT = 'SELECT id, content FROM "{name}" WHERE id > ? ORDER BY id LIMIT ?'
_PENDING = 'SELECT count(*) FROM "{name}" WHERE id > ?'
_COUNT = """
SELECT count(*) FROM (SELECT 1 FROM "{name}_full_text" WHERE "{name}_full_text" MATCH ? LIMIT ?)
"""


class Match(NamedTuple):
    """How to find documents: an expression of FTS5, and the BM25 score to measure theirs by.

    That is about the score of a document of average length that has each term once. If it
    `is_partial`, a thorough match finds more documents.
    """

    expression: str
    most: float
    is_partial: bool = False


class FullText:
    """The full-text index of one table, in whatever transaction is open.

    Raises the errors of sqlite3, among them "no such module: fts5".
    """

    def __init__(self, statements: Statements) -> None:
        self._statements = statements
        self._execute = statements.execute
        self._executemany = statements.executemany
        self._number = statements.number
        identity = "".join(filter(str.isalnum, statements.spec.identity))
        self._column = f"terms_{_VERSION}_{identity}"

    def exists(self) -> bool:
        """Return whether the table has a full-text index, complete or not."""
        row = self._execute(_FIND).fetchone()
        return row is not None and self._column in str(row[0])

    def create(self) -> None:
        """Create an empty index; do nothing if there is one."""
        if self.exists():
            return
        self._drop_leftover("{name}")
        self._execute(self._complete(_CREATE).replace("{tokenizer}", _TOKENIZER))
        self._execute(_MERGE)

    def drop(self) -> bool:
        """Drop the index; return whether there was one."""
        if not self.exists():
            return False
        self._execute('DROP TABLE "{name}_full_text"')
        return True

    def rename(self, name: str) -> None:
        """Give the index, if there is one, the name that goes with the new name of its table."""
        if self.exists():
            self._drop_leftover(name)
            self._execute(f'ALTER TABLE "{{name}}_full_text" RENAME TO "{name}_full_text"')

    def pending(self) -> int:
        """Return how many documents are not covered yet. Reads their rows."""
        return self._number(_PENDING, (self._last(),))

    def build(self) -> int | None:
        """Do what `extend` does. Raises StoreError if the index no longer exists."""
        if not self.exists():
            raise StoreError(
                f"the full-text index of table {self._statements.spec.name} was dropped by another"
                " process",
                hint="check it with: jtv index status",
            )
        return self.extend()

    def extend(self, limit: int = BATCH) -> int | None:
        """Index the next documents, at most `limit`; return the last id, None if there was none."""
        rows = self._execute(_NEXT, (self._last(), limit)).fetchall()
        self._insert(rows)
        return rows[-1][0] if rows else None

    def add(self, first: int, rows: Sequence[tuple[int, str]]) -> None:
        """Index documents that were just stored: all whose ids are `first` or greater.

        If documents before them are not covered yet, some of those are indexed instead.
        """
        if not self.exists():
            return
        (before,) = self._execute('SELECT max(id) FROM "{name}" WHERE id < ?', (first,)).fetchone()
        if (before or 0) > self._last():
            self.extend()
        else:
            self._insert(rows)

    def remove(self, where: str, parameters: Sequence[object]) -> None:
        """Remove the documents that meet a condition, which are about to be deleted."""
        if not self.exists():
            return
        rows = self._execute(
            f'SELECT id, content FROM "{{name}}" WHERE ({where})'
            ' AND id IN (SELECT id FROM "{name}_full_text_docsize")',
            parameters,
        ).fetchall()
        self._executemany(
            self._complete(_DELETE), ((number, indexed_text(text)) for number, text in rows)
        )

    def match(
        self, terms: Sequence[str], documents: int, *, thorough: bool = False
    ) -> Match | None:
        """Return how to find the documents with one of the terms; None if there are none.

        Ranking documents takes most of the time of a search. So only the rarest terms select
        documents, as many as are together in no more than 2,000 documents or 2% of all. The
        others count where one of those is found. The rarest of all always selects. If `thorough`,
        every term does that is not by itself in so many documents, or all if there is none.
        """
        limit = max(_COMMON, documents // _COMMON_SHARE) + 1
        counts = self._counts(terms, limit)
        found = sorted((term for term in counts if counts[term]), key=lambda term: counts[term])
        if not found:
            return None
        rare = [term for term in found if counts[term] < limit] or found
        while counts[found[0]] == limit < documents and not thorough:
            limit *= _COMMON_GROWTH
            counts |= self._counts(found, limit)
            found.sort(key=lambda term: counts[term])
        running = list(accumulate(counts[term] for term in found))
        rarest = found[: max(1, sum(total < limit for total in running))]
        chosen = rare if thorough else rarest
        weights = {term: _weight(count, documents) for term, count in counts.items()}
        if len(chosen) == len(found):
            return Match(" OR ".join(found), sum(weights.values()))
        # BM25 counts the chosen terms twice, as they are in the expression. The weights of terms
        # whose documents were not all counted are small, and unknown.
        others = found[len(chosen) :]
        most = 2 * sum(weight for term, weight in weights.items() if term not in others)
        most += sum(weights[term] for term in others if counts[term] < limit)
        expression = f"({' OR '.join(chosen)}) AND ({' OR '.join(found)})"
        return Match(expression, most, is_partial=len(chosen) < len(rare))

    def _counts(self, terms: Sequence[str], limit: int) -> dict[str, int]:
        """Return how many documents have each of the terms, no more than the limit."""
        return {term: self._number(_COUNT, (term, limit)) for term in terms}

    def _drop_leftover(self, name: str) -> None:
        """Drop the index of a table that a version of jtv without such indexes has dropped."""
        row = self._execute(_FIND.replace("{name}", name)).fetchone()
        # A table of documents may have this name as well.
        if row is not None and str(row[0]).startswith("CREATE VIRTUAL TABLE"):
            self._execute(f'DROP TABLE "{name}_full_text"')

    def _insert(self, rows: Iterable[tuple[int, str]]) -> None:
        self._executemany(
            self._complete(_INSERT), ((number, indexed_text(text)) for number, text in rows)
        )

    def _last(self) -> int:
        """Return the id of the last document that is covered."""
        return self._number(_LAST)

    def _complete(self, statement: str) -> str:
        return statement.replace("{column}", self._column)


def _weight(count: int, documents: int) -> float:
    """Return the inverse document frequency of a term, as FTS5's bm25() computes it."""
    return max(1e-6, log((max(documents, count) - count + 0.5) / (count + 0.5)))
