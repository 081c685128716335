"""`jtv index`: the index that makes searches fast."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from jtv_cli.cli import options
from jtv_cli.cli.session import Session
from jtv_cli.errors import ExitCode, StoreError
from jtv_cli.records import IndexState
from jtv_cli.render.formats import format_value
from jtv_cli.render.units import format_index

if TYPE_CHECKING:
    from collections.abc import Callable

    from jtv_cli.records import IndexCheck, IndexStatus

_POLL_SECONDS = 0.5
# Of the names, on a terminal.
_WIDTHS = (17,)


def status(session: Session, json: options.StatusJson = False) -> int:
    """Show how far the index is."""
    with session.store() as store, session.looking_at(store):
        found = session.open_table(store).index_status()
    _show(session, found, session.output.write_line, json=json)
    return ExitCode.OK


def build(session: Session, json: options.Report = False) -> int:
    """Build the index, anew where there is one. Searches and writes go on meanwhile."""
    with session.store(writable=True) as store:
        table = session.open_table(store)
        with session.console.status("building the index") as progress:
            table.build_index(progress=progress)
            found = table.index_status()
        _show(session, found, session.console.report, json=json)
        session.sign_off(store, table.spec)
    return ExitCode.OK


def drop(session: Session, json: options.Report = False) -> int:
    """Remove the index; from then on, every search looks at every vector.

    In an embedded store, it comes back with the next documents that are added.
    """
    with session.store(writable=True) as store:
        table = session.open_table(store)
        with session.console.status("dropping the index"):
            dropped = table.drop_index()
        if json:
            session.print_json({"table": table.spec.name, "dropped": dropped})
        else:
            session.console.report("dropped the index" if dropped else "there was no index")
        session.sign_off(store, table.spec)
    return ExitCode.OK


def wait(session: Session, timeout: options.Timeout = 3600, json: options.Report = False) -> int:
    """Wait until the index is built. If none is being built, it returns at once."""
    deadline = time.monotonic() + timeout
    with session.store() as store, session.console.status("waiting") as progress:
        table = session.open_table(store)
        while (found := table.index_status()).state is IndexState.BUILDING:
            progress(format_index(found))
            left = deadline - time.monotonic()
            if left <= 0:
                raise StoreError(
                    f"after {timeout:g} s the index is still {format_index(found)}",
                    hint="wait for longer with --timeout",
                )
            time.sleep(min(_POLL_SECONDS, left))
    if found.state is IndexState.FAILED:
        raise StoreError(f"the index has {format_index(found)}", hint="jtv index build")
    _show(session, found, session.console.report, json=json)
    return ExitCode.OK


def check(
    session: Session, queries: options.Queries = 100, json: options.StatusJson = False
) -> int:
    """Measure how much of what is nearest the index finds, and how fast.

    A sample of the table's own documents is searched for, by the index and exactly.
    Recall is the share of the ten nearest that the index finds. In an embedded store,
    below 0.99, the number of candidates that 0.99 needs is kept for this table.

    Off a terminal, it is a name and a value on each line, separated by a tab.
    """
    with session.store(writable=True) as store:
        table = session.open_table(store)
        with session.console.status("checking the index") as progress:
            found = table.check_index(queries, progress=progress)
    if json:
        session.print_json({"table": table.spec.name, **found._asdict()})
    else:
        for row in _rows(found):
            session.output.write_fields(row, _WIDTHS)
    return ExitCode.OK


def _show(session: Session, found: IndexStatus, say: Callable[[str], None], *, json: bool) -> None:
    """Print the status as JSON, or `say` it in words."""
    if json:
        session.print_json({"table": session.table_name, **found._asdict()})
    else:
        say(format_index(found))


def _rows(found: IndexCheck) -> list[tuple[str, str]]:
    """Return what was measured, each with its name."""
    return [
        ("recall@10", f"{found.recall:.4f}"),
        ("queries", str(found.queries)),
        ("candidates", format_value(found.candidates)),
        ("needed for 0.99", format_value(found.needed)),
        ("by index", f"{found.index_seconds * 1000:.1f} ms"),
        ("exact", f"{found.exact_seconds * 1000:.1f} ms"),
        ("verdict", found.verdict),
    ]
