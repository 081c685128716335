"""`jtv info` and `jtv tables`: what there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jtv_cli.cli import options
from jtv_cli.cli.session import Session
from jtv_cli.errors import ExitCode
from jtv_cli.render.escape import tab_separated
from jtv_cli.render.formats import format_value
from jtv_cli.render.units import format_count, format_index, format_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jtv_cli.records import IndexStatus, SourceCount, TableSpec

_COLUMNS = ("table", "model", "dimensions", "documents")
# Of the names, on a terminal.
_WIDTHS = (12,)
# On a terminal, unless all are asked for: with what stands above them, they fit there.
_MOST_SOURCES = 10


def info(
    session: Session,
    all_sources: options.AllSources = False,
    json: options.StatusJson = False,
) -> int:
    """Show what a table is, and what is in it: model, documents, sources, size, index.

    Off a terminal, it is a name and a value on each line, separated by a tab; the size
    is in bytes, and a source has the number of its occurrences and of their documents.
    """
    with session.console.status("counting"), session.store() as store:
        table = session.open_table(store)
        facts = {"store": store.location} | _facts(table.spec, table.count())
        sources, size, index = table.sources(), table.size(), table.index_status()
    if json:
        session.print_json(
            {**facts, "sources": [_record(source) for source in sources], "size": size}
            | {"index": index._asdict()}
        )
    else:
        for name, value in (facts | _amounts(session, size, index)).items():
            session.output.write_fields((name, format_value(value)), _WIDTHS)
        _print_sources(session, sources, most=None if all_sources else _MOST_SOURCES)
    return ExitCode.OK


def tables(session: Session, json: options.Records = False) -> int:
    """Show all tables of jtv's that the store holds.

    Off a terminal, a table is a line: name, model, dimensions and documents, separated
    by tabs.
    """
    with session.console.status("counting"), session.store() as store:
        found = [(spec, store.open(spec.name).count()) for spec in store.tables()]
        location = store.location
    if json:
        for spec, documents in found:
            session.print_json(_facts(spec, documents))
        return ExitCode.OK
    rows = [(s.name, s.model, str(s.dimensions), str(documents)) for s, documents in found]
    if not session.output.is_terminal:
        for row in rows:
            session.output.write(tab_separated(row) + "\n")
    elif rows:
        from jtv_cli.render.tables import print_rows

        print_rows(_COLUMNS, rows, session.output)
    else:
        session.console.note(f"there are no tables in {location}; make one with: jtv init")
    return ExitCode.OK


def _facts(spec: TableSpec, documents: int) -> dict[str, object]:
    return {
        "table": spec.name,
        "model": spec.model,
        "task": spec.task,
        "dimensions": spec.dimensions,
        "metric": spec.metric,
        "documents": documents,
    }


def _amounts(session: Session, size: int | None, index: IndexStatus) -> dict[str, object]:
    """Return how large the table is and how far its index, for people or for programs."""
    if session.output.is_terminal:
        readable = None if size is None else format_size(size)
        return {"size": readable, "index": format_index(index)}
    counts = {"indexed": index.indexed, "pending": index.pending}
    return {"size": size, "index": index.state.value, **counts}


def _record(source: SourceCount) -> dict[str, object]:
    return {
        "source": source.source,
        "occurrences": source.occurrences,
        "documents": source.documents,
    }


def _print_sources(session: Session, sources: Sequence[SourceCount], *, most: int | None) -> None:
    """Print each source, on a terminal the largest of many in the order of their size."""
    columns = ("source", "occurrences", "documents")
    left_out = len(sources) - most if most is not None and session.output.is_terminal else 0
    if left_out > 0:
        sources = sorted(sources, key=lambda source: -source.occurrences)[:most]
    rows = [tuple(map(format_value, _record(source).values())) for source in sources]
    if not session.output.is_terminal:
        for row in rows:
            session.output.write(tab_separated(("source", *row)) + "\n")
    elif rows:
        from jtv_cli.render.tables import print_rows

        print_rows(columns, rows, session.output)
    if left_out > 0:
        more = format_count(left_out, "more source")
        session.console.note(f"{more}; list all of them with: jtv info --sources")
