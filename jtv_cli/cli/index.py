"""`jtv index`: manage the index, which speeds up searches."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from jtv_cli.cli import options
from jtv_cli.cli.session import Session
from jtv_cli.errors import ExitCode, StoreError
from jtv_cli.records import IndexState
from jtv_cli.render.units import format_index, format_value

if TYPE_CHECKING:
    from jtv_cli.records import IndexCheck, IndexStatus

_POLL_SECONDS = 0.5
# The column of the names, on a terminal.
_WIDTHS = (17,)


def status(session: Session, json: options.StatusJson = False) -> int:
    """Show the state of the index, and how many documents are indexed.

    Examples:
      jtv index status
      jtv index status --table notes --json

    """
    with session.store() as store, session.looking_at(store):
        table = session.open_table(store)
        found, full_text = table.index_status(), table.full_text_status()
    has_full_text = full_text.state is not IndexState.NONE
    if json:
        record = {"table": session.table_name, **found._asdict()}
        session.print_json(record | ({"full_text": full_text._asdict()} if has_full_text else {}))
    else:
        session.output.write_line(format_index(found))
        if has_full_text:
            session.output.write_line(f"full text: {format_index(full_text)}")
    return ExitCode.OK


def build(
    session: Session, full_text: options.OnlyFullText = False, json: options.Report = False
) -> int:
    """Build the index, or rebuild it. Searches and writes are possible meanwhile.

    With --full-text, create the full-text index that jtv search --hybrid and --keyword use.
    To resume after an interrupt, run the same command again.

    Examples:
      jtv index build
      jtv index build --full-text --table notes

    """
    with session.store(writable=True) as store:
        table = session.open_table(store)
        with session.console.status("building the index") as progress:
            if full_text:
                table.build_full_text(progress=progress)
            else:
                table.build_index(progress=progress)
            found = table.full_text_status() if full_text else table.index_status()
        _report(session, found, json=json)
        session.sign_off(store, table.spec)
    return ExitCode.OK


def drop(
    session: Session, full_text: options.OnlyFullText = False, json: options.Report = False
) -> int:
    """Drop the index. Searches then compare every vector.

    In an embedded store, the index is built again when documents are added. With
    --full-text, drop only the full-text index.

    Examples:
      jtv index drop
      jtv index drop --table notes

    """
    with session.store(writable=True) as store:
        table = session.open_table(store)
        with session.console.status("dropping the index"):
            dropped = table.drop_full_text() if full_text else table.drop_index()
        if json:
            session.print_json({"table": table.spec.name, "dropped": dropped})
        else:
            name = "full-text index" if full_text else "index"
            session.console.report(
                f"Dropped the {name}" if dropped else f"There is no {name} to drop"
            )
        session.sign_off(store, table.spec)
    return ExitCode.OK


def wait(session: Session, timeout: options.Timeout = 3600, json: options.Report = False) -> int:
    """Wait until the index is built. Return at once if none is being built.

    Examples:
      jtv index wait
      jtv index wait --timeout 600

    """
    deadline = time.monotonic() + timeout
    with session.store() as store, session.console.status("waiting for the index") as progress:
        table = session.open_table(store)
        while (found := table.index_status()).state is IndexState.BUILDING:
            progress(format_index(found))
            left = deadline - time.monotonic()
            if left <= 0:
                raise StoreError(
                    f"the index is not ready after {timeout:g} s: {format_index(found)}",
                    hint="wait longer with --timeout SECONDS",
                )
            time.sleep(min(_POLL_SECONDS, left))
    if found.state is IndexState.FAILED:
        raise StoreError(
            f"the index could not be built: {format_index(found)}",
            hint="build it again with: jtv index build",
        )
    _report(session, found, json=json)
    return ExitCode.OK


def check(
    session: Session, queries: options.Queries = 100, json: options.StatusJson = False
) -> int:
    """Measure the recall and the speed of the index.

    Search for a sample of the table's own documents, with the index and exactly. Recall@10
    is the share of the ten nearest documents that the index finds. If an embedded store has
    a recall below 0.99, jtv raises the number of candidates for this table.

    If the output is not a terminal, print a name and a value per line, separated by a tab.

    Examples:
      jtv index check
      jtv index check --queries 500 --json

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


def _report(session: Session, found: IndexStatus, *, json: bool) -> None:
    if json:
        session.print_json({"table": session.table_name, **found._asdict()})
    else:
        session.console.report(format_index(found))


def _rows(found: IndexCheck) -> list[tuple[str, str]]:
    """Return the names and values of what was measured."""
    return [
        ("recall@10", f"{found.recall:.4f}"),
        ("queries", str(found.queries)),
        ("candidates", format_value(found.candidates)),
        ("needed for 0.99", format_value(found.needed)),
        ("by index", f"{found.index_seconds * 1000:.1f} ms"),
        ("exact", f"{found.exact_seconds * 1000:.1f} ms"),
        ("verdict", found.verdict),
    ]
