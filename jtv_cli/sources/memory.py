"""Records from a program's memory, rather than from a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from jtv_cli.batching import batched_by_weight
from jtv_cli.records import STDIN
from jtv_cli.sources.blocks import BadRecord, RecordBlock
from jtv_cli.text import is_metadata

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jtv_cli.sources.blocks import Text

# Records that are gathered before they are handed on.
_BLOCK = 256
_TEXT_FIELDS = ("text", "content")


def blocks_of_records(
    records: Iterable[str | Mapping[str, Any]], source: str | None = None
) -> Iterator[RecordBlock]:
    """Yield texts, and mappings with a field `text` or `content`, as blocks of records.

    The other fields of a mapping are its metadata. The line of a record is its position,
    counted from 1. A text that cannot be written as UTF-8 is a bad record.

    Raises TypeError for anything else, and ValueError for metadata that cannot be JSON.
    """
    before = 0
    for part in batched_by_weight(records, lambda _: 0, 0, _BLOCK):
        texts: list[Text] = []
        bad: list[BadRecord] = []
        for position, record in enumerate(part, before + 1):
            text, metadata = _split(record, position)
            try:
                text.encode()
            except UnicodeEncodeError:
                bad.append(BadRecord(position, "it has a surrogate, which UTF-8 cannot encode"))
                continue
            if text := text.strip():
                texts.append((position, text, metadata, None))
        empty = len(part) - len(texts) - len(bad)
        before += len(part)
        yield RecordBlock(source, source or STDIN, texts, empty, bad, before)


def _split(record: str | Mapping[str, Any], position: int) -> tuple[str, dict[str, Any] | None]:
    """Return the text and the metadata of a record."""
    if isinstance(record, str):
        return record, None
    if not isinstance(record, Mapping):
        raise TypeError(f"record {position} is a {type(record).__name__}, not a str or a mapping")
    metadata = dict(record)
    for field in _TEXT_FIELDS:
        if field in metadata:
            text = metadata.pop(field)
            break
    else:
        raise TypeError(f"record {position} has no field {' or '.join(_TEXT_FIELDS)}")
    if not isinstance(text, str):
        raise TypeError(f"the field {field} of record {position} is not a str")
    if metadata and not is_metadata(metadata):
        raise ValueError(f"the metadata of record {position} cannot be written as JSON")
    return text, metadata or None
