"""The values that travel between the rooms of the house. None of them can be changed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

from jtv_cli.errors import TableMismatch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    Vectors = npt.NDArray[np.float32]
    """Shape (n, dimensions), or (dimensions,) for one."""


class Purpose(Enum):
    """What a text is embedded for; many models embed the two differently."""

    DOCUMENT = "document"
    QUERY = "query"


class Occurrence(NamedTuple):
    """Where a text was read. `source` is None for stdin; lines count from 1.

    A tuple, as `Document` is: a million of them are made in a hurry.
    """

    source: str | None = None
    line: int | None = None
    metadata: Mapping[str, Any] | None = None


class Place(NamedTuple):
    """Where a stored document was read again: a line of the source at hand."""

    line: int
    document: int
    metadata: Mapping[str, Any] | None = None


class Document(NamedTuple):
    """One text, the hash it is known by, and where it was read."""

    text: str
    hash: bytes
    occurrences: Sequence[Occurrence]


class StoredDocument(NamedTuple):
    """A document as it is stored, whole: with all its occurrences, and its vector if asked."""

    id: int
    text: str
    hash: bytes
    occurrences: Sequence[Occurrence]
    vector: Vectors | None = None


def text_hash(text: str) -> bytes:
    """Return the SHA-256 of the text's UTF-8 form (32 bytes): what makes two texts the same."""
    from hashlib import sha256  # it loads OpenSSL, which only writing has a use for

    return sha256(text.encode()).digest()


@dataclass(frozen=True, slots=True)
class Embeddings:
    """An embedder's answer: `vectors` is (n, dimensions) float32, `tokens` what it cost."""

    vectors: Vectors
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Hit:
    """A stored document as a reader meets it.

    `distance` is the cosine distance to the query, from 0 (the same) to 2 (the
    opposite), None where there was no query. Source, line and metadata are those
    of the document's first occurrence.
    """

    id: int
    content: str
    distance: float | None = None
    source: str | None = None
    line: int | None = None
    metadata: Mapping[str, Any] | None = None


Answer = tuple[str, "Sequence[Hit]"]
"""A query and what was found for it."""


@dataclass(frozen=True, slots=True)
class TableSpec:
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


@dataclass(frozen=True, slots=True)
class Change:
    """One step that `Store.apply` would take, and what to call it to a user."""

    action: str
    description: str


@dataclass(frozen=True, slots=True)
class Added:
    """What `Table.add` really stored: others may have stored the same texts meanwhile."""

    documents: int
    occurrences: int


class IndexState(Enum):
    """How far the index of a table is."""

    READY = "ready"
    BUILDING = "building"
    FAILED = "failed"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class IndexStatus:
    """The index of a table: how many vectors are in it, how many wait, the rest in words."""

    state: IndexState
    indexed: int = 0
    pending: int = 0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class IndexCheck:
    """How well an index finds the ten documents nearest to each of a sample of `queries`.

    `recall` is the share of them that it finds with `candidates`, `needed` are the
    candidates that 0.99 would need, None where the store does not choose them. The
    seconds are those of one search. `verdict` says what becomes of it.
    """

    queries: int
    recall: float
    candidates: int | None
    needed: int | None
    index_seconds: float
    exact_seconds: float
    verdict: str


@dataclass(frozen=True, slots=True)
class Filter:
    """Which documents to search: those with an occurrence that fits it all.

    `source` is a shell pattern (fnmatch, case matters), None for any source; `where`
    has metadata fields and the text that each must have. A field that is no string
    fits the text that is its JSON: 3, true, null.
    """

    source: str | None = None
    where: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class SourceCount:
    """How many occurrences, of how many documents, a source has; None for stdin."""

    source: str | None
    occurrences: int
    documents: int


@dataclass(frozen=True, slots=True)
class Removed:
    """What was really removed: others may have removed the same meanwhile."""

    documents: int
    occurrences: int

    def __add__(self, other: Removed) -> Removed:
        return Removed(self.documents + other.documents, self.occurrences + other.occurrences)


class Outcome(Enum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: what it is, how it is, and what to do about it."""

    name: str
    outcome: Outcome
    detail: str


@dataclass(frozen=True, slots=True)
class IngestReport:
    """How far an ingest has come.

    Counted are the texts of the input: `stored` are new to the table, `known`
    were in it (or earlier in the input) already, `empty` had nothing but white
    space, `skipped` could not be read or embedded. `stopped` says why it ended before
    the input did, None if it did not.
    """

    stored: int = 0
    known: int = 0
    empty: int = 0
    skipped: int = 0
    tokens: int = 0
    seconds: float = 0.0
    stopped: str | None = None

    @property
    def texts(self) -> int:
        """The texts that are dealt with."""
        return self.stored + self.known + self.empty + self.skipped

    @property
    def is_complete(self) -> bool:
        """Whether nothing was left out of what there was to read."""
        return not self.skipped and self.stopped is None


@dataclass(frozen=True, slots=True)
class Wait:
    """What an ingest is waiting for, until when on `time.monotonic`'s clock."""

    until: float
    reason: str


@dataclass(frozen=True, slots=True)
class IngestProgress:
    """An ingest under way: the texts and the bytes of the input that were read so far."""

    report: IngestReport
    texts: int = 0
    bytes: int = 0
    wait: Wait | None = None


@dataclass(frozen=True, slots=True)
class Survey:
    """What an ingest would do.

    Of all `texts` of the input, `known` are in the table, or earlier in the input,
    already; `tokens`, `usd` and `bytes` in the store are estimates for those `to_embed`.
    """

    texts: int
    known: int
    empty: int
    skipped: int
    to_embed: int
    tokens: int
    usd: float
    bytes: int
