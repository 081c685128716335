"""`jtv info` and `jtv tables`: describe a table, list the tables of a store, rename them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jtv_cli import config
from jtv_cli.cli import options
from jtv_cli.cli.arguments import empty_table
from jtv_cli.cli.session import Session
from jtv_cli.errors import ExitCode, StoreError, TableExists, UsageError
from jtv_cli.records import IndexState, find_spec
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
    from jtv_cli.stores import Store

_COLUMNS = ("table", "model", "dimensions", "documents")
# The column of the names of facts, on a terminal.
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
        facts = {"store": store.location} | _table_facts(table.spec, table.count())
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


def list_tables(session: Session, json: options.Records = False) -> int:
    """List the tables of the store with their models, dimensions and numbers of documents.

    If the output is not a terminal, print one table per line, separated by tabs.

    Examples:
      jtv tables
      jtv tables --database notes.db

    """
    with session.console.status("counting"), session.store() as store:
        found = [(spec, store.open(spec.name).count()) for spec in store.tables()]
        location = store.location
    if json:
        for spec, documents in found:
            session.print_json(_table_facts(spec, documents))
        return ExitCode.OK
    rows = [(s.name, s.model, str(s.dimensions), str(documents)) for s, documents in found]
    write_rows(_COLUMNS, rows, session.output)
    if session.output.is_terminal and not rows:
        hint = session.console.complete_hint("jtv init")
        session.console.report(f"No tables in {location}. Create one with: {hint}")
    return ExitCode.OK


def rename(
    session: Session,
    old: options.OldName,
    new: options.NewName,
    replace: options.ReplaceTable = False,
    yes: options.Yes = False,
    json: options.Report = False,
) -> int:
    """Rename a table, with all that belongs to it, in one transaction.

    With --replace, the table takes the place of another one, which is dropped with all its
    documents: jtv shows both and asks, or needs --yes. Searches find either the one table or the
    other.

    Examples:
      jtv tables rename notes old_notes
      jtv tables rename --replace notes_v3 notes

    """
    config.check_table(config.Setting(new, "NEW"))
    if old.lower() == new.lower():
        raise UsageError(
            f"{old} and {new} are the same name",
            hint="choose another name: upper and lower case are the same",
        )
    with session.store(writable=True) as store:
        with session.looking_at(store):
            specs = store.tables()
        table, replaced = find_spec(specs, old), find_spec(specs, new)
        if table is None:
            raise StoreError(
                f'no table "{old}" in {store.location}', hint="list the tables with: jtv tables"
            )
        if replaced is not None and not replace:
            raise TableExists(table.name, replaced.name)
        if replaced is not None and not yes:
            what = f"{_counted(session, store, replaced)} in {store.location}"
            by = f"replacing it with {_counted(session, store, table)}"
            session.confirm("drop", f"{what}, {by}", otherwise="nothing was renamed")
        with session.console.status(f"renaming table {table.name}") as progress:
            store.rename(table, new, replacing=replaced, progress=progress)
        if json:
            record = {"store": store.location, "from": table.name, "table": new}
            session.print_json({**record, "replaced": replaced is not None})
        else:
            if replaced is not None:
                session.console.report(f"Dropped the table that was called {replaced.name}")
            session.console.report(f"Renamed table {table.name} to {new}")
        session.sign_off(store, table._replace(name=new))
    return ExitCode.OK


def _table_facts(spec: TableSpec, documents: int) -> dict[str, object]:
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


def _counted(session: Session, store: Store, spec: TableSpec) -> str:
    """Return a table with its number of documents and its model."""
    with session.looking_at(store):
        documents = format_count(store.open(spec.name).count(), "document")
    return f"table {spec.name} with {documents} (model {spec.model})"
