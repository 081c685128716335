"""Those of a table's documents that fit a filter."""

from __future__ import annotations

from math import isqrt
from typing import TYPE_CHECKING

from jtv_cli.batching import batched
from jtv_cli.stores.filters import fits_metadata, fits_source
from jtv_cli.stores.sqlite.index import Index
from jtv_cli.stores.sqlite.occurrences import source_ids
from jtv_cli.stores.sqlite.rows import PARAMETERS, Rows, marks
from jtv_cli.stores.sqlite.search import READ_BY_ID_COST

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from jtv_cli.records import Filter
    from jtv_cli.stores.sqlite.index import Generation
    from jtv_cli.stores.sqlite.search import Route

_DOCUMENTS = 'SELECT document FROM "{name}_occurrences"'
_SAMPLE = 512  # documents that stand for all
_MOST_CHOSEN = 100_000  # ids held, and rows read one by one


class FilteredRows(Rows):
    """Reads those rows of a table whose document has an occurrence that fits.

    SQLite asks Python of each occurrence. Which sources fit is known beforehand.
    """

    def __init__(self, rows: Rows, filter: Filter) -> None:
        super().__init__(rows.connection, rows.spec)
        self._filter = filter
        self._sources = {
            number for source, number in source_ids(rows) if fits_source(filter, source)
        }
        rows.connection.define("jtv_fits", 2, self._fits)
        # Without metadata, the index by document alone has all that is to be read.
        self.occurrence_fits = f"AND jtv_fits(source, {'metadata' if filter.where else 'NULL'})"
        self.document_fits = (
            'AND EXISTS (SELECT 1 FROM "{name}_occurrences"'
            f" WHERE document = d.id {self.occurrence_fits})"
        )

    def narrowed(self, way: Route) -> Route:
        """Return how to search these documents, given how all of them would be searched.

        Where few documents fit, they are read by their ids and compared. To read n of them
        takes as long as to see which of n candidates of the index fit; to find c that fit takes
        c * documents / n candidates, which is more than n where n * n < c * documents.

        Where many fit, their share of the nearest candidates should be about the same as of
        all documents. Where it is less than half of that, which `least` says, what fits is
        far from the query, and codes hardly tell apart what is far: all that fit are compared.
        """
        documents = self.count()
        few = documents // READ_BY_ID_COST
        if way.generation is not None:
            few = isqrt(way.candidates * documents)
        chosen = self._documents(min(few, _MOST_CHOSEN))
        if chosen is not None:
            fit = f"exact: {len(chosen):,} of {documents:,} documents fit the filter"
            return way._replace(generation=None, chosen=chosen, explanation=fit)
        way = way._replace(explanation=f"{way.explanation}, of those that fit the filter")
        if way.generation is None:
            return way
        return way._replace(least=int(way.candidates * self._share(way.generation) / 2))

    def _share(self, generation: Generation) -> float:
        """Return about which share of all codes, those of deleted documents too, is of fits."""
        some = self.sample(_SAMPLE)
        fitting = sum(ids.size for ids, _ in self.vectors_of(some))
        left = self.count() / max(1, Index(self).codes(generation))
        return min(1.0, left) * fitting / max(1, len(some))

    def _documents(self, most: int) -> Collection[int] | None:
        """Return the ids of those that fit, None where they are more than that."""
        found: set[int] = set()
        for which, parameters in self._occurrences():
            statement = f"{_DOCUMENTS} WHERE {which} {self.occurrence_fits}"
            for (document,) in self.execute(statement, parameters):
                found.add(document)
                if len(found) > most:
                    return None
        return found

    def _occurrences(self) -> Iterator[tuple[str, Sequence[int]]]:
        """Yield conditions, with parameters, that together find all occurrences that fit."""
        if self._filter.source is None:
            yield ("metadata IS NOT NULL" if self._filter.where else "TRUE"), []
            return
        for part in batched(sorted(self._sources), PARAMETERS):
            yield f"source IN ({marks(len(part))})", part

    def _fits(self, source: int, metadata: str | None) -> bool:
        return source in self._sources and fits_metadata(self._filter, metadata)
