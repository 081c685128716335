"""A table: what it is, and whether its index is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jtv_cli.records import Check, IndexState, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jtv_cli.stores import Table

# Without an index, a search through more documents than these takes long.
_MANY = 10_000


def check_table(table: Table, *, has_tiflash: bool = False) -> Iterator[Check]:
    """Yield what the table is, and how it is searched.

    `has_tiflash` says that it could have an index, even if it is small: none is a warning then.
    """
    spec, documents = table.spec, table.count()
    count = f"{documents:,} document{'' if documents == 1 else 's'}"
    what = f"{spec.name}: model {spec.model}, {spec.dimensions} dimensions, {count}"
    if spec.identity:
        yield Check("table", Outcome.OK, what)
    else:
        yield Check(
            "table",
            Outcome.WARNING,
            f"{what}; it is the tutorial's: jtv init makes it jtv's, which ingest needs",
        )
    yield _check_index(table, wants_index=has_tiflash or documents > _MANY)


def _check_index(table: Table, *, wants_index: bool) -> Check:
    status = table.index_status()
    detail = f"{status.state.value}: {status.detail}"
    if status.state is IndexState.READY:
        way = _way_of_a_search(table)
        # In an embedded store, both say the same.
        return Check("index", Outcome.OK, detail if way == status.detail else f"{detail}; {way}")
    if status.state is IndexState.FAILED:
        return Check("index", Outcome.WARNING, f"{detail}; try jtv index build")
    if status.state is IndexState.NONE and wants_index:
        return Check("index", Outcome.WARNING, detail)
    return Check("index", Outcome.OK, detail)


def _way_of_a_search(table: Table) -> str:
    """Return what a search for the first document says of whether it used the index."""
    first = [hit.id for hit in table.scan(limit=1)]
    for document in table.get(first, vectors=True):
        if document.vector is not None:
            return table.search(document.vector[None], 1, explain=True).explanation
    return "there is nothing to search yet"
