"""What `import` and `copy` share: a table to fill, and an account of what came into it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jtv_cli.cli.interrupts import Interrupted
from jtv_cli.cli.session import Session
from jtv_cli.errors import StoreError
from jtv_cli.records import TableSpec, Transferred
from jtv_cli.render.units import format_count

if TYPE_CHECKING:
    from collections.abc import Callable

    from jtv_cli.records import StoredDocument
    from jtv_cli.stores import Store, Table


class Target:
    """A table that is to be filled: made if it is not there, its index built in the end.

    Raises TableMismatch if the table has another model, StoreError if it must be converted
    first.
    """

    def __init__(self, session: Session, store: Store, spec: TableSpec) -> None:
        self._session = session
        self._store = store
        self._spec = spec
        with session.looking_at(store):
            self._changes = store.plan(spec, index=False)
        if any(change.needs_confirmation for change in self._changes):
            raise StoreError(
                f"table {spec.name} in {store.location} is not a jtv table yet",
                hint="convert it with: jtv init (which shows the changes first)",
            )

    def open(self) -> Table:
        """Make the table where it is not there, and open it."""
        with self._session.console.status("making the table") as progress:
            self._store.apply(self._spec, self._changes, progress=progress)
            return self._store.open(self._spec.name)

    def index(self, *, wait: bool) -> None:
        """Build the index where there is none, now that there is something in it."""
        with self._session.console.status("building the index") as progress:
            changes = self._store.plan(self._spec)
            self._store.apply(self._spec, changes, wait=wait, progress=progress)


class Account:
    """Counts the documents that were stored, and says so even if the command ends early."""

    def __init__(self, session: Session) -> None:
        self.done = Transferred()
        self.skipped = 0
        self._session = session

    @property
    def is_empty(self) -> bool:
        """Whether nothing was stored."""
        return not (self.done.stored or self.done.occurrences)

    def record(self, spec: TableSpec) -> dict[str, object]:
        """Return what a JSON report tells of a table and of what came into it."""
        named = {"table": spec.name, "model": spec.model}
        return {**named, **self.done._asdict(), "skipped": self.skipped}

    def follow(
        self, show: Callable[[str], None], words: Callable[[], str]
    ) -> Callable[[Transferred], None]:
        """Return what is to hear of each step: it keeps it, and has `show` show the words."""

        def take(done: Transferred) -> None:
            self.done = done
            show(words())

        return take

    def skip(self, document: StoredDocument, reason: str) -> None:
        """Name a document that is left out."""
        self.skipped += 1
        self._session.console.skipped(f"document {document.id}: {reason}, skipped")

    def __str__(self) -> str:
        skipped = f", {self.skipped:,} skipped" if self.skipped else ""
        return (
            f"{self.done.stored:,} stored, {self.done.known:,} known,"
            f" {format_count(self.done.occurrences, 'new occurrence')}{skipped}"
        )

    def __enter__(self) -> Account:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, Interrupted):
            error.detail = f"{self}; the same command goes on from here"
        elif error is not None and not self.is_empty:
            self._session.console.report(str(self))
