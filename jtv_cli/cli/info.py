"""`jtv info`: describe one table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jtv_cli.cli import options
from jtv_cli.cli.arguments import empty_table
from jtv_cli.cli.session import Session
from jtv_cli.errors import ExitCode
from jtv_cli.records import IndexState
from jtv_cli.render.formats import write_rows
from jtv_cli.render.units import (
    format_count,
    format_index,
    format_named_index,
    format_size,
    format_value,
)
from jtv_cli.source_names import shown_source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jtv_cli.records import IndexStatus, SourceCount, TableSpec

# The column of the names, on a terminal.
_WIDTHS = (12,)
# Sources that a terminal shows without --sources: they fit on a screen with the rest.
_MOST_SOURCES = 10


def info(
    session: Session, all_sources: options.AllSources = False, json: options.StatusJson = False
) -> int:
    """Show the model, the number of documents, the size, the index and the sources of the table.

    On a terminal, show the ten largest sources, or all of them with --sources. Elsewhere,
    print a name and a value per line, separated by a tab, and all sources, each with its
    occurrences and documents. The size is then in bytes.

    Examples:
      jtv info
      jtv info --table notes --json

    """
    with session.console.status("counting"), session.store() as store:
        table = session.open_table(store)
        facts = {"store": store.location} | table_facts(table.spec, table.count())
        sources, size, index = table.sources(), table.size(), table.index_status()
        full_text = table.full_text_status()
    if json:
        session.print_json(
            {**facts, "sources": [_record(source) for source in sources], "size": size}
            | {"index": index._asdict()}
            | ({} if full_text.state is IndexState.NONE else {"full_text": full_text._asdict()})
        )
    else:
        for name, value in (facts | _amounts(session, size, index, full_text)).items():
            if value is None and session.output.is_terminal:
                continue
            session.output.write_fields((name, format_value(value)), _WIDTHS)
        if session.output.is_terminal and not facts["documents"]:
            session.console.report(empty_table(session, table))
        _print_sources(session, sources, most=None if all_sources else _MOST_SOURCES)
    return ExitCode.OK


def table_facts(spec: TableSpec, documents: int) -> dict[str, object]:
    """Return what a table is, for JSON."""
    return {
        "table": spec.name,
        "model": spec.model,
        "task": spec.task,
        "dimensions": spec.dimensions,
        "metric": spec.metric,
        "documents": documents,
    }


def _amounts(
    session: Session, size: int | None, index: IndexStatus, full_text: IndexStatus
) -> dict[str, object]:
    """Return the size of the table and the state of its indexes, for people or for programs."""
    found: dict[str, object]
    if session.output.is_terminal:
        readable = None if size is None else format_size(size)
        found = {"size": readable, "index": format_named_index(index)}
    else:
        counts = {"indexed": index.indexed, "pending": index.pending}
        found = {"size": size, "index": index.state.value, **counts}
    if full_text.state is not IndexState.NONE:
        is_brief = not session.output.is_terminal
        found["full text"] = full_text.state.value if is_brief else format_index(full_text)
    return found


def _record(source: SourceCount) -> dict[str, object]:
    return {
        "source": shown_source(source.source),
        "occurrences": source.occurrences,
        "documents": source.documents,
    }


def _print_sources(session: Session, sources: Sequence[SourceCount], *, most: int | None) -> None:
    """Print each source, on a terminal the largest of many in the order of their size."""
    columns = ("source", "occurrences", "documents")
    left_out = len(sources) - most if most is not None and session.output.is_terminal else 0
    if left_out > 0:
        sources = sorted(sources, key=lambda source: -source.occurrences)[:most]
    name = () if session.output.is_terminal else ("source",)
    rows = [(*name, *map(format_value, _record(source).values())) for source in sources]
    write_rows(columns, rows, session.output)
    if left_out > 0:
        more = format_count(left_out, "more source")
        command = session.console.complete_hint("jtv info --sources")
        session.console.report(f"{more}; list all with: {command}")
