"""Hits as lines, CSV and JSON: pieces of text, as the hits come."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from jtv_cli.render.visible import on_one_line, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from jtv_cli.records import Hit

    Clean = Callable[[str], str]
    """What is done to every text before it is shown."""


class Format(str, Enum):
    """How hits are written."""

    TABLE = "table"
    TSV = "tsv"
    CSV = "csv"
    JSON = "json"
    JSONL = "jsonl"
    TEXT = "text"


COLUMNS = ("distance", "id", "content", "source", "line")
NUL_FORMATS = (Format.TSV, Format.JSONL, Format.TEXT)

_MISSING = "-"


def format_hits(
    hits: Iterable[Hit], form: Format, *, for_terminal: bool, nul: bool = False
) -> Iterator[str]:
    """Yield the hits in any format but `table`.

    `for_terminal` has control characters escaped, `nul` ends records with NUL.
    """
    clean = visible if for_terminal else _unchanged
    if form is Format.JSON:
        return _json(hits, clean)
    if form is Format.CSV:
        return _csv(hits, clean)
    if form is Format.JSONL:
        records = (clean(json_record(hit)) for hit in hits)
    elif form is Format.TSV:
        records = (_tab_separated(hit, clean) for hit in hits)
    else:
        whole = _unchanged if nul and not for_terminal else on_one_line
        records = (clean(whole(hit.content)) for hit in hits)
    end = "\0" if nul else "\n"
    return (record + end for record in records)


def json_record(hit: Hit) -> str:
    """Return the hit as a JSON object with all its keys, on one line."""
    import orjson

    record = {
        "id": hit.id,
        "distance": hit.distance,
        "content": hit.content,
        "source": hit.source,
        "line": hit.line,
        "metadata": hit.metadata,
    }
    return orjson.dumps(record).decode()


def tab_separated(fields: Iterable[str]) -> str:
    """Return the fields of a record on one line."""
    return "\t".join(map(on_one_line, fields))


def readable_size(size: int) -> str:
    """Return so many bytes in the largest unit that fits."""
    value, units = float(size), iter(("B", "kB", "MB", "GB", "TB"))
    unit = next(units)
    while value >= 1000 and (larger := next(units, None)):
        value, unit = value / 1000, larger
    return f"{value:.1f} {unit}" if unit != "B" else f"{size} B"


def fixed(distance: float | None) -> str:
    """Return a distance with six decimals, or what stands for none."""
    return _MISSING if distance is None else f"{distance:.6f}"


def _tab_separated(hit: Hit, clean: Clean) -> str:
    fields = (
        fixed(hit.distance),
        str(hit.id),
        hit.content,
        _MISSING if hit.source is None else hit.source,
        _MISSING if hit.line is None else str(hit.line),
    )
    return clean(tab_separated(fields))


def _json(hits: Iterable[Hit], clean: Clean) -> Iterator[str]:
    """Yield one array, a record a line, closed however many there are."""
    opening = "["
    for hit in hits:
        yield f"{opening}\n{clean(json_record(hit))}"
        opening = ","
    yield "[]\n" if opening == "[" else "\n]\n"


def _csv(hits: Iterable[Hit], clean: Clean) -> Iterator[str]:
    import csv
    import io

    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for hit in hits:
        distance = "" if hit.distance is None else fixed(hit.distance)
        source = None if hit.source is None else clean(hit.source)
        writer.writerow((distance, hit.id, clean(hit.content), source, hit.line))
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue()


def _unchanged(text: str) -> str:
    return text
