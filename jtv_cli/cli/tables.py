"""`jtv tables`: list the tables of a store, and rename them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jtv_cli import config
from jtv_cli.cli import options
from jtv_cli.cli.info import table_facts
from jtv_cli.cli.session import Session
from jtv_cli.errors import ExitCode, StoreError, TableExists, UsageError
from jtv_cli.records import find_spec
from jtv_cli.render.formats import write_rows
from jtv_cli.render.units import format_count

if TYPE_CHECKING:
    from jtv_cli.records import TableSpec
    from jtv_cli.stores import Store

_COLUMNS = ("table", "model", "dimensions", "documents")


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
            session.print_json(table_facts(spec, documents))
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


def _counted(session: Session, store: Store, spec: TableSpec) -> str:
    """Return a table with its number of documents and its model."""
    with session.looking_at(store):
        documents = format_count(store.open(spec.name).count(), "document")
    return f"table {spec.name} with {documents} (model {spec.model})"
