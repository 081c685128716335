"""The records of an export: header, documents and sources, as lines of JSON and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from jtv_cli.errors import UsageError, of_newer_format
from jtv_cli.records import Occurrence, Recipe, StoredDocument, TableSpec
from jtv_cli.text import is_metadata, text_hash

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from jtv_cli.records import Vectors

FORMAT = "jtv-export"
VERSION = 2

_MOST_DIMENSIONS = 16_383  # what TiDB takes
_LONGEST_NAME = 200
_MOST_LINES = 1 << 53  # up to here, every reader of JSON keeps integers exact


class Header(NamedTuple):
    """The first record of an export: the exported table, and whether vectors follow."""

    spec: TableSpec
    has_vectors: bool


def encode_header(header: Header) -> bytes:
    """Return the line of a header."""
    import orjson

    spec = header.spec
    record = {
        "format": FORMAT,
        "version": VERSION,
        "table": spec.name,
        "model": spec.model,
        "task": spec.task,
        "dimensions": spec.dimensions,
        "metric": spec.metric,
        **({"recipe": recipe} if (recipe := spec.recipe.to_record()) else {}),
        "vectors": header.has_vectors,
    }
    return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)


def decode_header(line: bytes, path: str) -> Header:
    """Return the header of an export, from its first line.

    Raises UsageError if the line is no header, or has a newer version.
    """
    record = _object(line)
    if record is None or record.get("format") != FORMAT:
        raise UsageError(
            f"{path} is not an export of jtv", hint="create one with: jtv export --vectors"
        )
    version = record.get("version")
    if not isinstance(version, int) or version > VERSION:
        raise of_newer_format(UsageError, path, version, VERSION)
    keys = ("table", "model", "task", "dimensions", "metric")
    spec = TableSpec(*(record.get(key) for key in keys))  # type: ignore[arg-type]
    try:
        spec = spec._replace(recipe=Recipe.from_record(record.get("recipe")))
    except ValueError:
        record = {}
    if not (_is_valid(spec) and isinstance(record.get("vectors"), bool)):
        raise UsageError(f"{path}:1: the header is damaged", hint="export the table again")
    return Header(spec, bool(record["vectors"]))


def encode_document(document: StoredDocument) -> bytes:
    """Return the line of a document, with its vector if it has one."""
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
    """Return the record of an occurrence, with `end_line` only if it spans several lines."""
    record = where._asdict()
    if where.end_line is None:
        del record["end_line"]
    return record


def encode_source(source: str, details: Mapping[str, Any]) -> bytes:
    """Return the line of a source that has details."""
    import orjson

    return orjson.dumps({"source": source, "details": details}, option=orjson.OPT_APPEND_NEWLINE)


def decode_source(record: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Return a source and its details from their record.

    Raises ValueError that says what is wrong with it.
    """
    source, details = record.get("source"), record.get("details")
    if isinstance(source, str) and source and isinstance(details, dict) and is_metadata(details):
        return source, details
    raise ValueError("a source has no name or no details")


def decode_document(record: Mapping[str, Any], dimensions: int) -> StoredDocument:
    """Return a document from its record; its vector has to have `dimensions` numbers.

    Raises ValueError that says what is wrong with it.
    """
    text, number = record.get("content"), record.get("id")
    if not isinstance(text, str) or type(number) is not int:
        raise ValueError("not a document record")
    if not text:
        raise ValueError("the text is empty")
    occurrences = _occurrences(record.get("occurrences"))
    vector = _vector(record.get("vector"), dimensions)
    return StoredDocument(number, text, text_hash(text), occurrences, vector)


def searchable(
    documents: Iterable[StoredDocument], skipped: Callable[[StoredDocument, str], None]
) -> Iterator[StoredDocument]:
    """Yield the documents that a search can find; call `skipped` with each other one and why.

    Only a table that another program filled, or a damaged one, has such documents.
    """
    from jtv_cli.stores.distances import are_usable

    for document in documents:
        if document.vector is not None and are_usable(document.vector[None]):
            yield document
        else:
            skipped(document, "the vector is missing, zero, or not finite")


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
    raise ValueError("an occurrence is invalid")


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
        raise ValueError(
            f"the vector has {len(data)} bytes, not {4 * dimensions} for {dimensions} dimensions"
        )
    vector: Vectors = np.frombuffer(data, "<f4")
    if not are_usable(vector[None]):
        raise ValueError("the vector's length is zero or not finite")
    return vector


def _object(line: bytes) -> Mapping[str, Any] | None:
    import orjson

    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return record if isinstance(record, dict) else None


def _is_valid(spec: TableSpec) -> bool:
    return (
        isinstance(spec.name, str)
        and _is_name(spec.model)
        and (spec.task is None or _is_name(spec.task))
        and type(spec.dimensions) is int
        and 1 <= spec.dimensions <= _MOST_DIMENSIONS
        and spec.metric == "cosine"
    )


def _is_name(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _LONGEST_NAME and value.isprintable()
