"""`jtv init`: create the table and its index."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jtv_cli.cli import options
from jtv_cli.cli.session import Session
from jtv_cli.errors import ExitCode
from jtv_cli.model_choice import VectorOptions, require_options
from jtv_cli.records import ChangeKind, IndexState, find_spec
from jtv_cli.render.units import format_count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jtv_cli.records import Change, IndexStatus, TableSpec
    from jtv_cli.stores import Store


def init(
    session: Session,
    dimensions: options.Dimensions = None,
    query_prefix: options.QueryPrefix = None,
    document_prefix: options.DocumentPrefix = None,
    drop: options.Drop = False,
    no_index: options.NoIndex = False,
    full_text: options.FullText = False,
    no_wait: options.NoWait = False,
    yes: options.Yes = False,
    json: options.Report = False,
) -> int:
    """Create the table and its index. Do nothing if they exist.

    The table remembers its model. It is the one that --model or JTV_MODEL names. Without
    either it is jina-embeddings-v2-base-en if an API key is set, else a built-in model.

    On TiDB, wait until the vector index is built; to resume after an interrupt, run the
    same command again. A table of TiDB's tutorial is upgraded in place: jtv shows what
    changes and asks first.

    Examples:
      jtv init
      jtv init --table notes --model jina-embeddings-v3


    --model also names a model that jtv does not list, if --api-base is a server that runs
    it; jtv sends one request to learn its dimensions. The table remembers --dimensions,
    --query-prefix and --document-prefix as well.

    """
    vectors = VectorOptions(dimensions, query_prefix, document_prefix)
    with session.store(writable=True) as store:
        with session.looking_at(store):
            existing = find_spec(store.tables(), session.table_name)
        if existing is not None and drop:
            wanted = session.new_spec(session.model_for_new_table(vectors))
            _drop(session, store, existing, yes=yes)
        else:
            wanted = _wanted(session, existing, vectors)
        with session.looking_at(store):
            changes = store.plan(wanted, index=not no_index)
        _confirm_changes(session, store, wanted, changes, yes=yes)
        with session.console.status("creating the table") as progress:
            store.apply(wanted, changes, wait=not no_wait, progress=progress)
            if full_text:
                store.open(wanted.name).build_full_text(progress=progress)
        _report(session, store, wanted, changes, json=json)
    return ExitCode.OK


def create_table(session: Session, store: Store) -> None:
    """Create the table that the settings name, with the default model for a new table."""
    spec = session.new_spec(session.model_for_new_table())
    with session.console.status("creating the table") as progress:
        store.apply(spec, store.plan(spec), progress=progress)
    session.console.report(_created(spec))
    session.note_builtin(spec)


def _wanted(session: Session, existing: TableSpec | None, vectors: VectorOptions) -> TableSpec:
    """Return the spec that the table should have: its own if it exists.

    Raises TableMismatch if the options ask for other vectors than an existing table has.
    """
    if existing is None:
        return session.new_spec(session.model_for_new_table(vectors))
    session.require_model(existing)
    require_options(existing, vectors)
    return existing


def _drop(session: Session, store: Store, existing: TableSpec, *, yes: bool) -> None:
    with session.looking_at(store):
        documents = format_count(store.open(existing.name).count(), "document")
    what = f"table {existing.name} with {documents} in {store.location}"
    if not yes:
        session.confirm("drop", what, otherwise="nothing was dropped")
    with session.console.status(f"dropping table {existing.name}"):
        store.drop(existing.name)
    session.console.report(f"Dropped {what}")


def _confirm_changes(
    session: Session, store: Store, spec: TableSpec, changes: Sequence[Change], *, yes: bool
) -> None:
    """Print what changes in a table that jtv did not create, and ask.

    Repairs of jtv's own tables are only printed.
    """
    for change in changes:
        if change.kind is ChangeKind.REPAIR:
            session.console.report(f"table {spec.name}: {change.description}")
    if not any(change.needs_confirmation for change in changes):
        return
    session.console.report(
        f"Table {spec.name} in {store.location} was not created by jtv. To use it, jtv makes"
        " these changes. Ids, texts and vectors stay as they are."
    )
    for change in changes:
        session.console.report(f"- {change.description}")
    if not yes:
        session.confirm("change", f"table {spec.name}", otherwise="nothing was changed")


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
        for line in _done(spec, {change.kind for change in changes}, index):
            session.console.report(line)
    session.note_connection(store, table, index)
    session.note_builtin(spec)
    session.sign_off(store, spec)
    if session.console.is_terminal and any(change.kind is ChangeKind.CREATE for change in changes):
        command = session.console.complete_hint("jtv ingest FILE")
        session.console.report(f"Now add documents with: {command}")


def _done(spec: TableSpec, kinds: set[ChangeKind], index: IndexStatus) -> list[str]:
    """Return what was done, a line for each kind of change."""
    lines = []
    if ChangeKind.CREATE in kinds:
        lines.append(_created(spec))
    if ChangeKind.REPAIR in kinds:
        lines.append(f"Repaired table {spec.name}")
    if ChangeKind.CONVERT in kinds:
        lines.append(f"Upgraded table {spec.name} with all its documents")
    if ChangeKind.INDEX in kinds and index.state is IndexState.READY:
        lines.append(f"Built the vector index: {index.detail}")
    if ChangeKind.INDEX in kinds and index.state is IndexState.BUILDING:
        lines.append(f"The server is still building the vector index ({index.detail})")
    return lines or [f"Table {spec.name} already exists"]


def _created(spec: TableSpec) -> str:
    return f"Created table {spec.name} ({spec.dimensions} dimensions, {spec.metric} distance)"
