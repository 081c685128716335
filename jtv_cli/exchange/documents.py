"""A document as a line of an export, and what a document must have to be stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jtv_cli.records import Occurrence, StoredDocument
from jtv_cli.text import is_metadata, text_hash

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from jtv_cli.records import Vectors

_MOST_LINES = 1 << 53  # up to here, every reader of JSON keeps integers exact


def encode_document(document: StoredDocument) -> bytes:
    """Return a document's line, with its vector where it has one."""
    import orjson

    record: dict[str, object] = {
        "id": document.id,
        "content": document.text,
        "occurrences": [_record(where) for where in document.occurrences],
    }
    if document.vector is not None:
        from base64 import b64encode

        record["vector"] = b64encode(document.vector.astype("<f4", copy=False).tobytes()).decode()
    return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)


def _record(where: Occurrence) -> dict[str, object]:
    """Return an occurrence; the line it ends in only if that is another than its first."""
    record = where._asdict()
    if where.end_line is None:
        del record["end_line"]
    return record


def encode_source(source: str, details: Mapping[str, Any]) -> bytes:
    """Return the line that says how a source was read."""
    import orjson

    return orjson.dumps({"source": source, "details": details}, option=orjson.OPT_APPEND_NEWLINE)


def decode_source(record: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Return a source and how it was read.

    Raises ValueError, with what is wrong with it.
    """
    source, details = record.get("source"), record.get("details")
    if isinstance(source, str) and source and isinstance(details, dict) and is_metadata(details):
        return source, details
    raise ValueError("a source has no name or no details")


def decode_document(record: Mapping[str, Any], dimensions: int) -> StoredDocument:
    """Return the document of a record.

    Raises ValueError, with what is wrong with it.
    """
    text, number = record.get("content"), record.get("id")
    if not isinstance(text, str) or type(number) is not int:
        raise ValueError("this is no record of a document")
    if not text:
        raise ValueError("the text is empty")
    occurrences = _occurrences(record.get("occurrences"))
    vector = _vector(record.get("vector"), dimensions)
    return StoredDocument(number, text, text_hash(text), occurrences, vector)


def searchable(
    documents: Iterable[StoredDocument], skipped: Callable[[StoredDocument, str], None]
) -> Iterator[StoredDocument]:
    """Yield the documents that can be searched for; `skipped` hears of the others, and why.

    Only the tutorial's table, or a damaged one, holds documents that cannot be.
    """
    from jtv_cli.stores.distances import are_usable

    for document in documents:
        if document.vector is not None and are_usable(document.vector[None]):
            yield document
        else:
            skipped(document, "its vector is missing, all zero or not finite")


def _occurrences(values: object) -> list[Occurrence]:
    if not isinstance(values, list):
        raise ValueError("the occurrences are missing")
    return [_occurrence(value) for value in values]


def _occurrence(value: object) -> Occurrence:
    if isinstance(value, dict):
        source, line, metadata, end_line = (value.get(key) for key in Occurrence._fields)
        if (
            (source is None or (isinstance(source, str) and source))
            and (line is None or _is_line(line))
            and (metadata is None or is_metadata(metadata))
            and (end_line is None or _is_line(end_line))
        ):
            return Occurrence(source, line, metadata, end_line)
    raise ValueError("an occurrence is not source, line and metadata")


def _is_line(value: object) -> bool:
    return type(value) is int and 0 < value < _MOST_LINES


def _vector(value: object, dimensions: int) -> Vectors:
    from base64 import b64decode

    import numpy as np

    from jtv_cli.stores.distances import are_usable

    try:
        data = b64decode(value, validate=True)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise ValueError("the vector is missing or not base64") from None
    if len(data) != 4 * dimensions:
        raise ValueError(f"the vector has {len(data)} bytes, not 4 for each of {dimensions}")
    vector: Vectors = np.frombuffer(data, "<f4")
    if not are_usable(vector[None]):
        raise ValueError("the vector's length is zero or not finite")
    return vector
