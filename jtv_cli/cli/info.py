"""`jtv info` and `jtv tables`: what there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jtv_cli.cli import options
from jtv_cli.cli.session import Session
from jtv_cli.errors import ExitCode
from jtv_cli.render.formats import readable_size, tab_separated
from jtv_cli.render.visible import visible
from jtv_cli.render.words import described

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jtv_cli.records import IndexStatus, SourceCount
    from jtv_cli.stores import Table

_COLUMNS = ("table", "model", "dimensions", "documents")


def info(session: Session, json: options.StatusJson = False) -> int:
    """Show what a table is, and what is in it: model, documents, sources, size, index.

    Off a terminal, it is a name and a value on each line, separated by a tab; the size
    is in bytes, and a source has the number of its occurrences and of their documents.
    """
    with session.talk.waiting("counting"), session.store() as store:
        table = session.open_table(store)
        facts = _facts(store.location, table)
        sources, size, index = table.sources(), table.size(), table.index_status()
    if json:
        session.print_json(
            {**facts, "sources": [source._asdict() for source in sources], "size": size}
            | {"index": index._asdict() | {"state": index.state.value}}
        )
    elif session.output.is_terminal:
        _print(session, facts, sources, size, index)
    else:
        for fields in _rows(facts, sources, size, index):
            session.output.write(tab_separated(fields) + "\n")
    return ExitCode.OK


def tables(session: Session, json: options.Records = False) -> int:
    """Show all tables of jtv's that the store holds.

    Off a terminal, a table is a line: name, model, dimensions and documents, separated
    by tabs.
    """
    with session.talk.waiting("counting"), session.store() as store:
        found = [(spec, store.open(spec.name).count()) for spec in store.tables()]
        location = store.location
    if json:
        for spec, documents in found:
            record: dict[str, object] = {"table": spec.name, "model": spec.model, "task": spec.task}
            record |= {"dimensions": spec.dimensions, "metric": spec.metric}
            session.print_json({**record, "documents": documents})
        return ExitCode.OK
    rows = [(s.name, s.model, str(s.dimensions), str(documents)) for s, documents in found]
    if not session.output.is_terminal:
        for row in rows:
            session.output.write(tab_separated(row) + "\n")
    elif rows:
        from jtv_cli.render.tables import print_rows

        print_rows(_COLUMNS, rows, session.output, colored=session.colored)
    else:
        session.talk.note(f"there are no tables in {location}; make one with: jtv init")
    return ExitCode.OK


def _facts(location: str, table: Table) -> dict[str, object]:
    spec = table.spec
    return {
        "store": location,
        "table": spec.name,
        "model": spec.model,
        "task": spec.task,
        "dimensions": spec.dimensions,
        "metric": spec.metric,
        "documents": table.count(),
    }


def _rows(
    facts: Mapping[str, object],
    sources: Sequence[SourceCount],
    size: int | None,
    index: IndexStatus,
) -> list[tuple[str, ...]]:
    values = {**facts, "size": size, "index": index.state.value}
    values |= {"indexed": index.indexed, "pending": index.pending}
    rows: list[tuple[str, ...]] = [(name, _shown(value)) for name, value in values.items()]
    return rows + [("source", *row) for row in _source_rows(sources)]


def _source_rows(sources: Sequence[SourceCount]) -> list[tuple[str, str, str]]:
    return [(_shown(s.source), str(s.occurrences), str(s.documents)) for s in sources]


def _print(
    session: Session,
    facts: Mapping[str, object],
    sources: Sequence[SourceCount],
    size: int | None,
    index: IndexStatus,
) -> None:
    from jtv_cli.render.tables import print_rows

    values = {**facts, "size": None if size is None else readable_size(size)}
    for name, value in (values | {"index": described(index)}).items():
        session.output.write(visible(f"{name:<12} {_shown(value)}") + "\n")
    if sources:
        columns = ("source", "occurrences", "documents")
        print_rows(columns, _source_rows(sources), session.output, colored=session.colored)


def _shown(value: object) -> str:
    return "-" if value is None else str(value)
