"""`jtv copy`: a whole table from one store to another."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from jtv_cli import config
from jtv_cli.cli import options
from jtv_cli.cli.session import Session
from jtv_cli.cli.transfer import Account, Target
from jtv_cli.errors import ExitCode, StoreError, UsageError
from jtv_cli.render.units import format_count

if TYPE_CHECKING:
    from jtv_cli.stores import Table


def copy(
    session: Session,
    source: options.From,
    target: options.To,
    no_index: options.NoIndex = False,
    no_wait: options.NoWait = False,
    json: options.Report = False,
) -> int:
    """Copy a whole table, with its vectors, from one store to another.

    Nothing is embedded again. A table that is not there is made, as `jtv init` would, and
    gets its index in the end. Documents that are there already are not sent again, so
    that the same command, once interrupted, goes on. In the end it looks up whether every
    document has arrived.
    """
    origin, destination = _two_stores(session, source, target)
    with ExitStack() as stack:
        from_store = stack.enter_context(session.open_store(origin))
        to_store = stack.enter_context(session.open_store(destination, writable=True))
        table = session.open_table(from_store)
        spec = table.spec
        made = Target(session, to_store, spec)
        account = Account(session)
        _copy(session, table, made.open(), account)
        if not no_index:
            made.index(wait=not no_wait)
        for store in (from_store, to_store):
            for note in store.notes:
                session.console.note(note)
        stores = {"from": from_store.location, "to": to_store.location}
        if json:
            session.print_json(stores | account.record(spec))
        else:
            which = "every other document" if account.skipped else "every document"
            session.console.report(f"{account}; verified: {which} of the table is there")
        session.console.report(
            f"from {stores['from']} (--from) to {stores['to']} (--to),"
            f" table {spec.name}, model {spec.model}"
        )
    return ExitCode.IN_PART if account.skipped else ExitCode.OK


def _two_stores(
    session: Session, source: str, target: str
) -> tuple[config.Database, config.Database]:
    """Return both stores. Raises UsageError where they are one."""
    from jtv_cli.stores import is_same_store

    one, other = (
        config.find_database(session.settings, config.flagged(value, flag))
        for value, flag in ((source, "--from"), (target, "--to"))
    )
    try:
        is_same = is_same_store(one.location, other.location)
    except OSError as error:  # the working folder was deleted, for one
        raise UsageError(
            f"cannot tell {one.location} from {other.location}: {error.strerror}",
            hint="name both by their whole paths",
        ) from error
    if is_same:
        raise UsageError("--from and --to name the same store", hint="name two")
    return one, other


def _copy(session: Session, source: Table, target: Table, account: Account) -> None:
    from jtv_cli.transfer.copy import copy as copy_table

    def words() -> str:
        return f"copying: {account.done.stored + account.done.known:,} of {total}"

    with account, session.console.status("reading") as show:
        total = format_count(source.count(), "document")
        missing = copy_table(
            source,
            target,
            progress=account.follow(show, words),
            skipped=account.skip,
            verifying=lambda count: show(f"verifying: {count:,} of {total}"),
        )
        if missing:
            raise StoreError(
                f"of {total}, {missing:,} cannot be found in the copy: others delete them",
                hint="run the same command again",
            )
