"""JSON Lines: an object on each line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jtv_cli.sources.fields import RecordBuilder
from jtv_cli.sources.source import RECORD_TOO_LARGE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jtv_cli.sources.blocks import RecordBlock
    from jtv_cli.sources.source import Source


def read_jsonl(source: Source) -> Iterator[RecordBlock]:
    """Yield the texts of JSON objects, one on each line."""
    from orjson import loads

    records = RecordBuilder(source)
    for start, lines, is_too_large in source.lines():
        for at, line in enumerate(lines, start):
            if is_too_large:
                records.add_bad(at, RECORD_TOO_LARGE)
            elif line.strip():
                records.add_json(at, line, loads)
            else:
                records.add_empty()
        yield records.block()
