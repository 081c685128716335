"""What large statements and transactions are made of: rows as text, and how many fit into one."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from jtv_cli.batching import batched_by_weight
from jtv_cli.errors import StoreError
from jtv_cli.stores.source_lines import encode_metadata

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from jtv_cli.records import Document, Occurrence, SourceLine, Vectors

    Item = TypeVar("Item")

KEYS = 1000
"""The number of keys that one statement looks up."""

# A statement of a megabyte takes the server as long per row as one of ten.
_STATEMENT_BYTES = 1_000_000
# The name of a table, its columns, and what else a statement has beside its rows.
_STATEMENT_OVERHEAD = 1024

# Small batches are more frequent than short vectors: a statement is prepared for so many rows.
_MOST_PREPARED = 256
# Of MySQL's protocol: shorter lengths are one byte.
_LEAST_LONG = 0xFB

# TiDB Cloud Starter accepts 10 MiB in a transaction.
_TRANSACTION_BYTES = 8 << 20
# Small enough for a text of the largest size to fit beside it.
_OCCURRENCES_BYTES = 1 << 20
_OCCURRENCE_BYTES = 150  # two keys of three numbers each

# txn-entry-size-limit, which cannot be raised on TiDB Cloud, less the rest of a row.
_ENTRY_BYTES = (6 << 20) - 1024
# A float32 as text, with its comma.
_NUMBER_BYTES = 16


def largest_text(dimensions: int, packet_bytes: int) -> int:
    """Return the bytes of the longest text that can be stored beside a vector.

    `packet_bytes` is the server's max_allowed_packet.
    """
    # A literal takes up to twice as many bytes as its text.
    in_packet = (packet_bytes - _STATEMENT_OVERHEAD - _NUMBER_BYTES * dimensions) // 2
    return max(min(_ENTRY_BYTES - 4 * dimensions, in_packet), 0)


def inserts(into: str, key: str, rows: Iterable[str], packet_bytes: int) -> Iterator[str]:
    """Yield statements that insert the rows whose keys do not exist yet.

    `into` is a table and its columns, `key` the first column of its primary key, and a row its
    literals in parentheses. INSERT IGNORE would turn any error into a NULL.
    """
    most = min(_STATEMENT_BYTES, packet_bytes - _STATEMENT_OVERHEAD)
    for part in batched_by_weight(rows, _row_bytes, most):
        yield f"INSERT INTO {into} VALUES {','.join(part)} ON DUPLICATE KEY UPDATE {key} = {key}"


def document_values(documents: Sequence[Document], vectors: Vectors) -> bytes:
    """Return text, vector and hash of each document as parameters in the binary protocol."""
    return b"".join(
        _length(len(value)) + value
        for document, vector in zip(documents, vectors, strict=True)
        for value in (document.text.encode(), vector_text(vector).encode(), document.hash)
    )


def prepared_rows(dimensions: int) -> int:
    """Return how many documents one prepared statement inserts, if their texts are short."""
    return min(max(_STATEMENT_BYTES // (_NUMBER_BYTES * dimensions), 1), _MOST_PREPARED)


def ahead(items: Iterator[Item]) -> Iterator[Item]:
    """Yield the items, each computed by a thread while the previous one is used."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as thread:
        upcoming = thread.submit(next, items, None)
        while (item := upcoming.result()) is not None:
            upcoming = thread.submit(next, items, None)
            yield item


def transactions(
    documents: Sequence[Document], vectors: Vectors
) -> Iterator[tuple[list[Document], Vectors]]:
    """Yield documents and their vectors for one transaction each.

    A document with very many occurrences is yielded several times, each time with some.
    """
    pieces = (
        (position, piece)
        for position, document in enumerate(documents)
        for piece in _pieces(document)
    )
    for part in batched_by_weight(
        pieces, lambda item: _size(item[1]) + vectors[item[0]].nbytes, _TRANSACTION_BYTES
    ):
        yield [piece for _, piece in part], vectors[[position for position, _ in part]]


def occurrence_transactions(places: Iterable[SourceLine]) -> Iterator[list[SourceLine]]:
    """Yield occurrences for one transaction each."""
    return batched_by_weight(places, _occurrence_size, _OCCURRENCES_BYTES)


def text_size(document: Document) -> int:
    """Return the bytes of a document's text."""
    return len(document.text.encode())


def metadata_size(occurrence: Occurrence | SourceLine) -> int:
    """Return the bytes of an occurrence's metadata."""
    return len((encode_metadata(occurrence.metadata) or "").encode())


def vector_text(vector: Vectors) -> str:
    """Return a (dimensions,) float32 vector as TiDB reads it, each number in its shortest form."""
    import orjson

    return orjson.dumps(vector, option=orjson.OPT_SERIALIZE_NUMPY).decode()


def read_vector(text: str) -> Vectors:
    """Return the (dimensions,) float32 vector that TiDB wrote as text.

    Raises StoreError if it is not one.
    """
    import numpy as np
    import orjson

    try:
        vector: Vectors = np.array(orjson.loads(text), np.float32)
    except ValueError as error:
        raise StoreError(
            "the server returned a vector that cannot be read", hint="run the same command again"
        ) from error
    return vector


def _length(size: int) -> bytes:
    """Return a length as MySQL's protocol encodes it."""
    if size < _LEAST_LONG:
        return bytes((size,))
    return b"\xfe" + size.to_bytes(8, "little")


def _row_bytes(row: str) -> int:
    return len(row) if row.isascii() else len(row.encode())


def _pieces(document: Document) -> Iterator[Document]:
    """Yield the document, each time with some of its occurrences."""
    if len(document.occurrences) <= 1:
        yield document
        return
    for part in batched_by_weight(document.occurrences, _occurrence_size, _OCCURRENCES_BYTES):
        yield document._replace(occurrences=part)


def _size(document: Document) -> int:
    """Return about how many bytes a document takes, its occurrences included."""
    return text_size(document) + sum(map(_occurrence_size, document.occurrences))


def _occurrence_size(occurrence: Occurrence | SourceLine) -> int:
    return _OCCURRENCE_BYTES + metadata_size(occurrence)
