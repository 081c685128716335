"""Documents, on their way into a table and out of it."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    Vectors = npt.NDArray[np.float32]
    """Shape (n, dimensions), or (dimensions,) for one."""


STDIN = "-"
"""What standard input is called where a file or a source is named."""


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
    return text_hashes([text])[0]


def text_hashes(texts: Iterable[str]) -> list[bytes]:
    """Return the hash of each text."""
    from hashlib import sha256  # it loads OpenSSL, which only writing has a use for

    return [sha256(text.encode()).digest() for text in texts]


class Embeddings(NamedTuple):
    """An embedder's answer: `vectors` is (n, dimensions) float32, `tokens` what it cost."""

    vectors: Vectors
    tokens: int = 0


class Hit(NamedTuple):
    """A stored document as a reader meets it.

    `distance` is the cosine distance to the query, from 0 (the same) to 2 (the
    opposite), None where there was no query. Source, line and metadata are those
    of the document's first occurrence; one in a source with a name stands before stdin's.
    """

    id: int
    content: str
    distance: float | None = None
    source: str | None = None
    line: int | None = None
    metadata: Mapping[str, Any] | None = None


Answer = tuple[str, "Sequence[Hit]"]
"""A query and what was found for it."""
