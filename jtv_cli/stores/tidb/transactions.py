"""What goes into one transaction: TiDB Cloud Starter takes 10 MiB."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jtv_cli.batching import batched_by_weight
from jtv_cli.stores.metadata import encode_metadata

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from jtv_cli.records import Document, Occurrence, SourceLine, Vectors

_MOST_BYTES = 8 << 20
# Small enough that a text of the greatest length still fits beside it.
_PIECE_BYTES = 1 << 20
_OCCURRENCE_BYTES = 150  # two keys of three numbers each


def transactions(
    documents: Sequence[Document], vectors: Vectors
) -> Iterator[tuple[list[Document], Vectors]]:
    """Yield what to store in one transaction each.

    A document with very many occurrences comes more than once, each time with some.
    """
    pieces = (
        (position, piece)
        for position, document in enumerate(documents)
        for piece in _pieces(document)
    )
    for part in batched_by_weight(
        pieces, lambda item: _size(item[1]) + vectors[item[0]].nbytes, _MOST_BYTES
    ):
        positions = [position for position, _ in part]
        yield [piece for _, piece in part], vectors[positions]


def place_transactions(places: Iterable[SourceLine]) -> Iterator[list[SourceLine]]:
    """Yield the places to note in one transaction each."""
    return batched_by_weight(places, _occurrence_size, _PIECE_BYTES)


def text_size(document: Document) -> int:
    """Return the bytes of a document's text."""
    return len(document.text.encode())


def metadata_size(occurrence: Occurrence | SourceLine) -> int:
    """Return the bytes of what is noted beside a place."""
    return len((encode_metadata(occurrence.metadata) or "").encode())


def _pieces(document: Document) -> Iterator[Document]:
    """Yield the document, each time with some of its occurrences."""
    if len(document.occurrences) <= 1:
        yield document
        return
    for part in batched_by_weight(document.occurrences, _occurrence_size, _PIECE_BYTES):
        yield document._replace(occurrences=part)


def _size(document: Document) -> int:
    """Return about how many bytes a document takes, its occurrences included."""
    return text_size(document) + sum(map(_occurrence_size, document.occurrences))


def _occurrence_size(occurrence: Occurrence | SourceLine) -> int:
    return _OCCURRENCE_BYTES + metadata_size(occurrence)
