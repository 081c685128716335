"""`jtv init`: make the table and its index."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jtv_cli.cli import options
from jtv_cli.cli.choice import VectorOptions, require_options
from jtv_cli.cli.session import Session
from jtv_cli.errors import ExitCode
from jtv_cli.records import Action, IndexState, find_spec
from jtv_cli.render.units import format_count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jtv_cli.records import Change, TableSpec
    from jtv_cli.stores import Store


def init(
    session: Session,
    dimensions: options.Dimensions = None,
    query_prefix: options.QueryPrefix = None,
    document_prefix: options.DocumentPrefix = None,
    drop: options.Drop = False,
    no_index: options.NoIndex = False,
    no_wait: options.NoWait = False,
    yes: options.Yes = False,
    json: options.Report = False,
) -> int:
    """Make the table and its index, where they are not there yet.

    The table remembers its model: --model, else JTV_MODEL, else
    jina-embeddings-v2-base-en where there is an API key, else, on the embedded store,
    the built-in hashing-v1, which works offline and matches words rather than meaning.

    On TiDB it waits until the vector index is built; interrupted, the same command goes
    on. The table of TiDB's own tutorial becomes jtv's, with all that is in it; jtv says
    first what that changes, and asks.

    A model that jtv does not list, --model NAME, is used with the server that runs it,
    --api-base URL; its dimensions are learned from one call. The table remembers
    --dimensions, --query-prefix and --document-prefix too.

    With --drop, the table is dropped first, whatever its model, and made anew.
    """
    vectors = VectorOptions(dimensions, query_prefix, document_prefix)
    with session.store(writable=True) as store:
        with session.looking_at(store):
            there = find_spec(store.tables(), session.table_name)
        if there is not None and drop:
            wanted = session.new_spec(session.model_for_new_table(vectors))
            _drop(session, store, there, yes=yes)
        else:
            wanted = _wanted(session, there, vectors)
        with session.looking_at(store):
            changes = store.plan(wanted, index=not no_index)
        _confirm_adoption(session, store, wanted, changes, yes=yes)
        with session.console.status("making the table") as progress:
            store.apply(wanted, changes, wait=not no_wait, progress=progress)
        _report(session, store, wanted, changes, json=json)
    return ExitCode.OK


def _wanted(session: Session, there: TableSpec | None, vectors: VectorOptions) -> TableSpec:
    """Return what the table should be: what it is already, else what the options say.

    Raises TableMismatch where the options demand another table than there is.
    """
    if there is None:
        return session.new_spec(session.model_for_new_table(vectors))
    session.require_model(there)
    require_options(there, vectors)
    return there


def _drop(session: Session, store: Store, there: TableSpec, *, yes: bool) -> None:
    with session.looking_at(store):
        documents = format_count(store.open(there.name).count(), "document")
    what = f"table {there.name} with {documents} in {store.location}"
    if not yes:
        session.confirm(f"drop {what}", otherwise="nothing was dropped")
    with session.console.status(f"dropping table {there.name}"):
        store.drop(there.name)
    session.console.report(f"dropped {what}")


def _confirm_adoption(
    session: Session, store: Store, spec: TableSpec, changes: Sequence[Change], *, yes: bool
) -> None:
    """Say what would become of a table that jtv did not make, and ask; of its own, say it."""
    for change in changes:
        if change.action is Action.MEND:
            session.console.report(f"table {spec.name}: {change.description}")
    if not any(change.action is Action.ADOPT for change in changes):
        return
    session.console.report(
        f"table {spec.name} in {store.location} is the tutorial's. To make it jtv's, without"
        f" touching an id, a text or a vector, jtv would:"
    )
    for change in changes:
        session.console.report(f"- {change.description}")
    if not yes:
        session.confirm(f"change table {spec.name} so", otherwise="nothing was changed")


def _report(
    session: Session, store: Store, spec: TableSpec, changes: Sequence[Change], *, json: bool
) -> None:
    with session.looking_at(store):
        table = store.open(spec.name)
        index = table.index_status()
    if json:
        session.print_json(
            {
                "store": store.location,
                "table": spec.name,
                "model": spec.model,
                "dimensions": spec.dimensions,
                "changes": [change.description for change in changes],
                "index": index.state.value,
            }
        )
    else:
        for line in _done(spec, {change.action for change in changes}, index.state, index.detail):
            session.console.report(line)
    session.note_connection(store, table)
    session.note_offline(spec)
    session.sign_off(store, spec)


def _done(spec: TableSpec, actions: set[Action], index: IndexState, detail: str) -> list[str]:
    """Return what was done, in words."""
    lines = []
    if Action.CREATE in actions:
        lines.append(
            f"made table {spec.name}: {spec.dimensions} dimensions, {spec.metric} distance"
        )
    if Action.MEND in actions:
        lines.append(f"table {spec.name} is whole again")
    if Action.ADOPT in actions:
        lines.append(f"table {spec.name} is jtv's now, with all that was in it")
    if Action.INDEX in actions and index is IndexState.READY:
        lines.append(f"built the vector index: {detail}")
    if Action.INDEX in actions and index is IndexState.BUILDING:
        lines.append(f"the server goes on building the vector index ({detail})")
    return lines or [f"table {spec.name} is there already: nothing to do"]
