"""`jtv init`: make the table."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from jtv_cli.cli import options
from jtv_cli.cli.session import Session
from jtv_cli.errors import ExitCode, UsageError
from jtv_cli.records import find_spec

if TYPE_CHECKING:
    from jtv_cli.records import Change, TableSpec
    from jtv_cli.stores import Store


def init(
    session: Session,
    drop: options.Drop = False,
    yes: options.Yes = False,
    json: options.Report = False,
) -> int:
    """Make the table, if it is not there yet.

    The table remembers its model: --model, else JTV_MODEL, else
    jina-embeddings-v2-base-en where there is an API key, else the built-in
    hashing-v1, which works offline and matches words rather than meaning.

    With --drop, the table is dropped first, whatever its model, and made anew.
    """
    with session.store(writable=True) as store:
        there = find_spec(store.tables(), session.table_name)
        if there is not None and drop:
            wanted = session.new_spec(session.model_for_new_table())
            _drop(session, store, there, yes=yes)
        else:
            wanted = _wanted(session, there)
        changes = store.plan(wanted)
        with session.talk.waiting("making the table"):
            store.apply(wanted, changes)
        _report(session, store, wanted, changes, json=json)
    return ExitCode.OK


def _wanted(session: Session, there: TableSpec | None) -> TableSpec:
    """Return what the table should be: what it is, unless --model demands otherwise."""
    if there is None or session.demands_model:
        return session.new_spec(session.model_for_new_table())
    return there


def _drop(session: Session, store: Store, there: TableSpec, *, yes: bool) -> None:
    documents = store.open(there.name).count()
    what = f"table {there.name} with {documents:,} documents in {store.location}"
    if not yes:
        if not (session.talk.is_terminal and sys.stdin is not None and sys.stdin.isatty()):
            raise UsageError(f"this would drop {what}", hint="if you mean it, add --yes")
        if not session.talk.ask(f"Drop {what}?", sys.stdin):
            raise UsageError("nothing was dropped")
    store.drop(there.name)
    session.talk.report(f"dropped {what}")


def _report(
    session: Session, store: Store, spec: TableSpec, changes: list[Change], *, json: bool
) -> None:
    if json:
        session.print_json(
            {
                "store": store.location,
                "table": spec.name,
                "model": spec.model,
                "dimensions": spec.dimensions,
                "changes": [change.description for change in changes],
            }
        )
    elif changes:
        session.talk.report(
            f"made table {spec.name}: {spec.dimensions} dimensions, {spec.metric} distance"
        )
    else:
        session.talk.report(f"table {spec.name} is there already: nothing to do")
    session.note_offline(spec)
    session.sign_off(store, spec)
