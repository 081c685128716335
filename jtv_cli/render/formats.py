"""Hits as lines, CSV and JSON: pieces of text, as the hits come."""

from __future__ import annotations

from enum import Enum
from itertools import chain
from typing import TYPE_CHECKING

from jtv_cli.records import Hit, Occurrence
from jtv_cli.render.escape import escape_separators, tab_separated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from jtv_cli.records import Answer, StoredDocument

    Clean = Callable[[str], str]
    """What is done to every text before it is written: `Output.escape`."""


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

_JSON_FORMATS = (Format.JSON, Format.JSONL)
_MISSING = "-"


def format_hits(
    hits: Iterable[Hit], form: Format, clean: Clean, *, nul: bool = False
) -> Iterator[str]:
    """Yield the hits in any format but `table`; `nul` ends records with NUL."""
    if form in _JSON_FORMATS:
        return _json(map(_hit_record, hits), form, clean, nul=nul)
    if form is Format.CSV:
        return _csv(COLUMNS, (_csv_row(hit, clean) for hit in hits))
    if form is Format.TSV:
        return _lines((_line(_fields(hit), clean) for hit in hits), nul=nul)
    texts = (hit.content if nul else escape_separators(hit.content) for hit in hits)
    return _lines(map(clean, texts), nul=nul)


def format_documents(
    documents: Iterable[StoredDocument], form: Format, clean: Clean, *, nul: bool = False
) -> Iterator[str]:
    """Yield documents, whole, in any format but `table`.

    Lines have each occurrence of a document, JSON one record with all of them.
    """
    if form in _JSON_FORMATS:
        return _json(map(_document_record, documents), form, clean, nul=nul)
    most = 1 if form is Format.TEXT else None
    hits = chain.from_iterable(_hits_of(document)[:most] for document in documents)
    return format_hits(hits, form, clean, nul=nul)


def format_answers(
    answers: Iterable[Answer], form: Format, clean: Clean, *, nul: bool = False
) -> Iterator[str]:
    """Yield queries and their hits in any format but `table`.

    Lines have the query before each hit, JSON one record with all of them; `text` has
    the hits alone.
    """
    if form in _JSON_FORMATS:
        return _json(map(_answer_record, answers), form, clean, nul=nul)
    if form is Format.TEXT:
        hits = chain.from_iterable(hits for _, hits in answers)
        return format_hits(hits, form, clean, nul=nul)
    pairs = ((query, hit) for query, hits in answers for hit in hits)
    if form is Format.CSV:
        rows = ((clean(query), *_csv_row(hit, clean)) for query, hit in pairs)
        return _csv(("query", *COLUMNS), rows)
    return _lines((_line((query, *_fields(hit)), clean) for query, hit in pairs), nul=nul)


def format_value(value: object) -> str:
    """Return a value as text, `-` for None."""
    return _MISSING if value is None else str(value)


def format_distance(distance: float | None) -> str:
    """Return a distance with six decimals, `-` for None."""
    return _MISSING if distance is None else f"{distance:.6f}"


def _fields(hit: Hit) -> tuple[str, ...]:
    place = format_value(hit.source), format_value(hit.line)
    return format_distance(hit.distance), str(hit.id), hit.content, *place


def _line(fields: Iterable[str], clean: Clean) -> str:
    """Return the fields on one line; `clean` would take the tabs between them for a text's own."""
    return tab_separated(map(clean, fields))


def _csv_row(hit: Hit, clean: Clean) -> Sequence[object]:
    distance = "" if hit.distance is None else format_distance(hit.distance)
    source = None if hit.source is None else clean(hit.source)
    return distance, hit.id, clean(hit.content), source, hit.line


def _hit_record(hit: Hit) -> dict[str, object]:
    """Return what JSON has of a hit: always all the keys."""
    return {
        "id": hit.id,
        "distance": hit.distance,
        "content": hit.content,
        "source": hit.source,
        "line": hit.line,
        "metadata": hit.metadata,
    }


def _document_record(document: StoredDocument) -> dict[str, object]:
    """Return what JSON has of a hit, and all the occurrences."""
    occurrences = [
        {"source": where.source, "line": where.line, "metadata": where.metadata}
        for where in document.occurrences
    ]
    return _hit_record(_hits_of(document)[0]) | {"occurrences": occurrences}


def _answer_record(answer: Answer) -> dict[str, object]:
    query, hits = answer
    return {"query": query, "hits": [_hit_record(hit) for hit in hits]}


def _hits_of(document: StoredDocument) -> list[Hit]:
    """Return the document at each of its occurrences; once where nothing is known of any."""
    places = document.occurrences or (Occurrence(),)
    return [
        Hit(document.id, document.text, None, place.source, place.line, place.metadata)
        for place in places
    ]


def _json(
    records: Iterable[Mapping[str, object]], form: Format, clean: Clean, *, nul: bool
) -> Iterator[str]:
    import orjson

    lines = (clean(orjson.dumps(record).decode()) for record in records)
    return _array(lines) if form is Format.JSON else _lines(lines, nul=nul)


def _array(records: Iterable[str]) -> Iterator[str]:
    """Yield one array, a record a line, closed however many there are."""
    opening = "["
    for record in records:
        yield f"{opening}\n{record}"
        opening = ","
    yield "[]\n" if opening == "[" else "\n]\n"


def _lines(records: Iterable[str], *, nul: bool) -> Iterator[str]:
    end = "\0" if nul else "\n"
    return (record + end for record in records)


def _csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    import csv
    import io

    buffer = io.StringIO()
    # Before Python 3.13, only characters of its own line end make it quote a field.
    writer = csv.writer(buffer, lineterminator="\r\n")
    for row in chain([columns], rows):
        writer.writerow(row)
        yield buffer.getvalue().removesuffix("\r\n") + "\n"
        buffer.seek(0)
        buffer.truncate()
