"""The values that the parts of jtv pass to one another. All of them are immutable.

Nearly all are named tuples: creating the class of a frozen dataclass takes six times as
long, at every start.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

from jtv_cli.errors import TableMismatch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    import numpy as np
    import numpy.typing as npt

    Vectors = npt.NDArray[np.float32]
    """Shape (n, dimensions), or (dimensions,) for one."""


STDIN = "-"
"""The name of standard input, as a file and as a source."""


class Purpose(Enum):
    """What a text is embedded for; many models embed the two differently."""

    DOCUMENT = "document"
    QUERY = "query"


class Occurrence(NamedTuple):
    """Where a text was read. `source` is None for stdin; lines count from 1.

    `end_line` is the last line of a text that spans several, None for a single line.
    """

    source: str | None = None
    line: int | None = None
    metadata: Mapping[str, Any] | None = None
    end_line: int | None = None


class SourceLine(NamedTuple):
    """An occurrence of a stored document in a source that the context names; line 0 is none.

    `end_line` is the last line of a text that spans several, None for a single line.
    """

    line: int
    document: int
    metadata: Mapping[str, Any] | None = None
    end_line: int | None = None


class Document(NamedTuple):
    """One text, its SHA-256 hash, and where it was read."""

    text: str
    hash: bytes
    occurrences: Sequence[Occurrence]


class StoredDocument(NamedTuple):
    """A stored document with all its occurrences, and with its vector if that was asked for."""

    id: int
    text: str
    hash: bytes
    occurrences: Sequence[Occurrence]
    vector: Vectors | None = None


class Embeddings(NamedTuple):
    """An embedder's answer: `vectors` is (n, dimensions) float32, `tokens` what it cost."""

    vectors: Vectors
    tokens: int = 0


class RerankScores(NamedTuple):
    """The relevance of each document to a query, the higher the better, and the tokens used."""

    scores: Sequence[float]
    tokens: int = 0


class Hit(NamedTuple):
    """A stored document in a list or among the results of a search.

    `distance` is the cosine distance to the query, from 0 (the same) to 2 (the
    opposite), None where there was no query. Source, line and metadata are those
    of the document's first occurrence; one in a source with a name stands before stdin's.
    `end_line` is the last line of a chunk, None for a text that is a line or a record.

    A reranked hit and one of a full-text search have a `score`, the higher the better. One of
    a hybrid search has its fused score, and its rank among the nearest and among the best by
    keyword, from 1.
    """

    id: int
    content: str
    distance: float | None = None
    source: str | None = None
    line: int | None = None
    metadata: Mapping[str, Any] | None = None
    end_line: int | None = None
    score: float | None = None
    vector_rank: int | None = None
    keyword_rank: int | None = None

    @property
    def heading(self) -> str | None:
        """The path of the headings it stands below, as the metadata has it."""
        heading = (self.metadata or {}).get("heading")
        return heading if isinstance(heading, str) else None


class Pair(NamedTuple):
    """Two documents, the one with the smaller id first, and their cosine distance."""

    first: Hit
    second: Hit
    distance: float


class SearchMode(str, Enum):
    """What finds documents: vectors, the words of a query, or both."""

    VECTOR = "vector"
    KEYWORD = "keyword"
    HYBRID = "hybrid"


class SearchResults(NamedTuple):
    """The hits of each query vector, nearest first, and how they were found.

    `explanation` says in one line whether an index was used, and if not, why; it is empty
    unless it was asked for.
    """

    hits: list[list[Hit]]
    explanation: str = ""


Answer = tuple[str, "Sequence[Hit]"]
"""A query and what was found for it."""


class Recipe(NamedTuple):
    """What determines the vectors of a model, besides its name, task and dimensions.

    `provider` is the module of the embedders that runs a model the registry does not list,
    "" for one that it lists; `revision` tells versions of its weights apart. The prefixes
    are put before each text. `pooling` and `is_normalized` say how a local model turns the
    vectors of tokens into one, `is_shortened` that a model is asked for fewer dimensions
    than it would return. `fingerprint` and `location` decide nothing: the first is of
    the vector of a fixed text (see `embedders.fingerprint`), the second is where the model
    was when the table was created.
    """

    provider: str = ""
    revision: str = ""
    query_prefix: str = ""
    document_prefix: str = ""
    pooling: str = ""
    is_normalized: bool = True
    is_shortened: bool = False
    fingerprint: str = ""
    location: str = ""

    def to_record(self) -> dict[str, Any]:
        """Return the fields that are not the default, for JSON."""
        return {
            name: value
            for name, value in self._asdict().items()
            if value != self._field_defaults[name]
        }

    @classmethod
    def from_record(cls, record: object) -> Recipe:
        """Return the recipe that a record holds; None and unknown fields say nothing.

        Raises ValueError if a field has another type than it should have.
        """
        if record is None:
            return cls()
        if not isinstance(record, dict):
            raise ValueError("a recipe is no object")
        known = {name: value for name, value in record.items() if name in cls._fields}
        if any(type(value) is not type(cls._field_defaults[name]) for name, value in known.items()):
            raise ValueError("a field of a recipe has the wrong type")
        return cls(**known)


_DECISIVE = {
    "provider": "provider",
    "revision": "revision of the model",
    "query_prefix": "query prefix",
    "document_prefix": "document prefix",
    "pooling": "pooling",
    "is_normalized": "normalisation",
}


class TableSpec(NamedTuple):
    """The description that a table stores of itself.

    `task` is the model's task family, None if the model has none. `identity` is random and
    created with the table: a table that is dropped and created again under the same name has
    another. It is empty in the spec of a table that does not exist yet.
    """

    name: str
    model: str
    task: str | None
    dimensions: int
    metric: str = "cosine"
    identity: str = ""
    recipe: Recipe = Recipe()

    def require_same_vectors(self, wanted: TableSpec) -> None:
        """Raise TableMismatch unless vectors made for the wanted table can be compared here."""
        kept, asked = self.model, wanted.model
        here, there = self._facts(), wanted._facts()
        if (kept, here) == (asked, there):
            return
        differing = [(one, other) for one, other in zip(here, there, strict=True) if one != other]
        if differing:
            ones, others = zip(*differing, strict=True)
            kept, asked = f"{kept} ({', '.join(ones)})", f"{asked} ({', '.join(others)})"
        raise TableMismatch(
            f"table {self.name} was created with model {kept}, not {asked}",
            hint="name another --table, or recreate this one with: jtv init --drop",
        )

    def _facts(self) -> list[str]:
        """Return what decides the vectors, beside the model's name, in words."""
        return [
            f"{self.dimensions} dimensions",
            f"task {self.task or 'none'}",
            f"{self.metric} distance",
            *(f"{what} {getattr(self.recipe, name)!r}" for name, what in _DECISIVE.items()),
        ]


def find_spec(specs: Iterable[TableSpec], name: str) -> TableSpec | None:
    """Return the spec of that name, or None; names differ by more than case."""
    return next((spec for spec in specs if spec.name.lower() == name.lower()), None)


class ChangeKind(Enum):
    """What a step of a plan does to a table or its index."""

    CREATE = "create"
    CONVERT = "convert"
    REPAIR = "repair"
    INDEX = "index"


class Change(NamedTuple):
    """One step that `Store.apply` takes.

    `description` says what it does, in the imperative. A step that `needs_confirmation` changes
    a table that jtv did not create.
    """

    kind: ChangeKind
    description: str
    needs_confirmation: bool = False


class Added(NamedTuple):
    """What `Table.add` stored; other processes may have stored the same texts meanwhile."""

    documents: int
    occurrences: int


class Operator(str, Enum):
    """How a condition compares a field of metadata with its operand."""

    EQUALS = "="
    DIFFERS = "!="
    LESS = "<"
    AT_MOST = "<="
    GREATER = ">"
    AT_LEAST = ">="
    IN = "in"
    CONTAINS = "contains"
    EXISTS = "exists"


class Condition(NamedTuple):
    """A condition on one field of metadata; see `stores.filters` for what each means.

    `field` is a name or a dotted path into nested objects. `operand` is a text for `=`, `!=`
    and `contains`, a tuple of texts for `in`, and None for `exists`. For `<`, `<=`, `>` and
    `>=` it is a number, a time with its zone, or a text.
    """

    field: str
    operand: str | int | float | datetime | tuple[str, ...] | None
    operator: Operator = Operator.EQUALS


class Filter(NamedTuple):
    """Which documents to use: those with one occurrence that matches all of it.

    `source` is a shell pattern (fnmatch, case matters) for names or for paths, absolute or
    relative to the working directory; `-` is stdin, None any source. All conditions of `where`
    must hold and, if there are any, one of `where_any`. `after` and `before` limit the time
    when the source was modified, in seconds since 1970: at or after the one, before the other.
    """

    source: str | None = None
    where: tuple[Condition, ...] = ()
    where_any: tuple[Condition, ...] = ()
    after: float | None = None
    before: float | None = None

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """All conditions on metadata."""
        return self.where + self.where_any

    @property
    def has_times(self) -> bool:
        """Whether the time when the source was modified matters."""
        return self.after is not None or self.before is not None

    @property
    def selects_sources(self) -> bool:
        """Whether it depends on the source of an occurrence whether it matches."""
        return self.source is not None or self.has_times


class SourceRange(NamedTuple):
    """The lines of a source from `first` to `last`."""

    source: str | None
    first: int
    last: int


class SourceCount(NamedTuple):
    """How many occurrences, of how many documents, a source has; None for stdin.

    `details` say how the source was read, None where that is not recorded.
    """

    source: str | None
    occurrences: int
    documents: int
    details: Mapping[str, Any] | None = None


class Removed(NamedTuple):
    """What was removed; other processes may have removed the same meanwhile."""

    documents: int = 0
    occurrences: int = 0

    def __add__(self, other: Removed) -> Removed:  # type: ignore[override]
        """Return the sums; tuples would be concatenated."""
        return Removed(self.documents + other.documents, self.occurrences + other.occurrences)


class IndexState(Enum):
    """The state of the index of a table."""

    READY = "ready"
    BUILDING = "building"
    FAILED = "failed"
    NONE = "none"


class IndexStatus(NamedTuple):
    """The index of a table: its state, indexed and pending vectors, and details in words."""

    state: IndexState
    indexed: int = 0
    pending: int = 0
    detail: str = ""


RECALL_AT = 10
"""The k of recall@k: the share of the k nearest documents that an index finds."""

GOOD_RECALL = 0.99
"""The recall that an index should have."""


class IndexCheck(NamedTuple):
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


class Outcome(Enum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


class Check(NamedTuple):
    """The result of one check of `jtv doctor`: its subject, its outcome, and what to do about it.

    `has_index` says that the database can have a vector index, whatever the size of a table.
    """

    name: str
    outcome: Outcome
    detail: str
    has_index: bool = False


OUT_OF_TOKENS = "the next batch would pass --max-tokens"
"""How an `IngestReport` says that a run has used up its tokens."""


class IngestReport(NamedTuple):
    """The counts of an ingest.

    It counts the texts of the input: `stored` are new to the table, `known` were already
    stored (or read earlier in the input), `empty` are white space alone, `skipped` could
    not be read or embedded. `stopped` says why the run ended before the input did, None if
    it did not. `lost` counts the texts that were sent, and may have been paid for, and are
    not stored.
    """

    stored: int = 0
    known: int = 0
    empty: int = 0
    skipped: int = 0
    tokens: int = 0
    seconds: float = 0.0
    stopped: str | None = None
    lost: int = 0

    @property
    def texts(self) -> int:
        """The texts that are dealt with."""
        return self.stored + self.known + self.empty + self.skipped

    @property
    def is_complete(self) -> bool:
        """Whether nothing was left out of what there was to read."""
        return not self.skipped and self.stopped is None

    @property
    def is_out_of_tokens(self) -> bool:
        """Whether the run ended because it may not use more tokens."""
        return self.stopped is not None and self.stopped.startswith(OUT_OF_TOKENS)


class Wait(NamedTuple):
    """What an ingest is waiting for, until when on `time.monotonic`'s clock, perhaps infinity."""

    until: float
    reason: str


class IngestProgress(NamedTuple):
    """An ingest under way: the texts and the bytes of the input that were read so far."""

    report: IngestReport
    texts: int = 0
    bytes: int = 0
    wait: Wait | None = None


class IngestEstimate(NamedTuple):
    """What an ingest would do.

    Of all `texts` of the input, `known` are already in the table or earlier in the input,
    which is where `duplicates` are. `tokens`, `usd` and `bytes` in the store are estimates for
    those `to_embed`; `usd` is None if the price is not known.
    """

    texts: int
    known: int
    empty: int
    skipped: int
    to_embed: int
    tokens: int
    usd: float | None
    bytes: int
    duplicates: int = 0


class Transferred(NamedTuple):
    """The counts of a copy of documents, with their vectors, into a table.

    `stored` are new to it, `known` were already stored; `occurrences` are the new ones of both.
    """

    stored: int = 0
    known: int = 0
    occurrences: int = 0
