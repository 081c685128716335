"""The first record of an export: what it is, and what table it was made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from jtv_cli.errors import UsageError, of_newer_format
from jtv_cli.records import Recipe, TableSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT = "jtv-export"
VERSION = 2

_MOST_DIMENSIONS = 16_383  # what TiDB takes
_LONGEST_NAME = 200


class Header(NamedTuple):
    """What stands at the head of an export."""

    spec: TableSpec
    has_vectors: bool


def encode_header(header: Header) -> bytes:
    """Return the header's line."""
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
    """Return what a header's line says.

    Raises UsageError where the line is none, or of a newer format.
    """
    record = _object(line)
    if record is None or record.get("format") != FORMAT:
        raise UsageError(
            f"{path} is not an export of jtv", hint="make one with: jtv export --vectors"
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
    if not (_can_be(spec) and isinstance(record.get("vectors"), bool)):
        raise UsageError(f"{path}:1: the header is broken", hint="export the table again")
    return Header(spec, bool(record["vectors"]))


def _object(line: bytes) -> Mapping[str, Any] | None:
    import orjson

    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return record if isinstance(record, dict) else None


def _can_be(spec: TableSpec) -> bool:
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
