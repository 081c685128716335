"""Tables: what they are, what changes in them, and which of their documents are meant."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from jtv_cli.errors import TableMismatch

if TYPE_CHECKING:
    from collections.abc import Iterable


class TableSpec(NamedTuple):
    """What a table is, and remembers of itself.

    `task` is the model's task family, None where the model has none. `identity`
    is random and made with the table: a table dropped and made again under the
    same name has another. It is empty in the spec of a table yet to be made.
    """

    name: str
    model: str
    task: str | None
    dimensions: int
    metric: str = "cosine"
    identity: str = ""

    def require_same_vectors(self, wanted: TableSpec) -> None:
        """Raise TableMismatch unless vectors made for the wanted table can be compared here."""
        kept, asked = ((s.model, s.task, s.dimensions, s.metric) for s in (self, wanted))
        if kept != asked:
            raise TableMismatch(
                f"table {self.name} was made with model {self.model}, not {wanted.model}",
                hint="name another --table, or make this one anew with: jtv init --drop",
            )


def find_spec(specs: Iterable[TableSpec], name: str) -> TableSpec | None:
    """Return the spec of that name, or None; names differ by more than case."""
    return next((spec for spec in specs if spec.name.lower() == name.lower()), None)


class Action(Enum):
    """What a step does: make a table or its missing parts, adopt the tutorial's, build an index."""

    CREATE = "create"
    ADOPT = "adopt"
    MEND = "mend"
    INDEX = "index"


class Change(NamedTuple):
    """One step that `Store.apply` would take, and what to call it to a user."""

    action: Action
    description: str


class Added(NamedTuple):
    """What `Table.add` really stored: others may have stored the same texts meanwhile."""

    documents: int
    occurrences: int


class Filter(NamedTuple):
    """Which documents to search: those with an occurrence that fits it all.

    `source` is a shell pattern (fnmatch, case matters) as it stands, or in the shortest form
    of a path; `-` is stdin, None any source. `where` has metadata fields and the text that
    each must have. A field that is no string fits the text that is its JSON: 3, true, null.
    """

    source: str | None = None
    where: tuple[tuple[str, str], ...] = ()


class SourceCount(NamedTuple):
    """How many occurrences, of how many documents, a source has; None for stdin."""

    source: str | None
    occurrences: int
    documents: int


class Removed(NamedTuple):
    """What was really removed: others may have removed the same meanwhile."""

    documents: int = 0
    occurrences: int = 0

    def __add__(self, other: Removed) -> Removed:  # type: ignore[override]
        """Return both together, not, as tuples would, one after the other."""
        return Removed(self.documents + other.documents, self.occurrences + other.occurrences)
