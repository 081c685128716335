"""Write what was found as lines, CSV or JSON, or have it drawn as a table.

`_FORMATS` registers the formats. To add one, name it in `Format`, write a function that
turns records into pieces of text, and register it; in NUL_FORMATS too if -0 can end its records.
"""

from __future__ import annotations

from enum import Enum
from functools import partial
from itertools import chain, starmap
from typing import TYPE_CHECKING, NamedTuple

from jtv_cli.records import Hit, Occurrence
from jtv_cli.render.escape import escape_separators, tab_separated
from jtv_cli.render.units import format_distance, format_value
from jtv_cli.source_names import shown_source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from jtv_cli.records import Answer, Pair, StoredDocument
    from jtv_cli.render.output import Output

    Clean = Callable[[str], str]
    """What is done to every text before it is written: `Output.escape`."""


class Format(str, Enum):
    """How hits are written. A table is drawn by `render.tables`."""

    TABLE = "table"
    TSV = "tsv"
    CSV = "csv"
    JSON = "json"
    JSONL = "jsonl"
    TEXT = "text"


class _Record(NamedTuple):
    """What is found for one query, a document at each of its occurrences, or one hit.

    Lines have `hits`, JSON `as_json()`, which is not called for other formats, and `text`
    has `contents`. `lead` is what stands before each line, such as the query.
    """

    hits: Sequence[Hit]
    contents: Sequence[str]
    as_json: Callable[[], Mapping[str, object]]
    lead: str = ""


class _Style(NamedTuple):
    """How records are written: the end of each, and the name of a column before the others."""

    clean: Clean
    nul: bool
    lead: str | None = None

    @property
    def end(self) -> str:
        return "\0" if self.nul else "\n"


COLUMNS = ("distance", "id", "content", "source", "line")


class ResultWriter(NamedTuple):
    """Writes what was found to an output, in one format; `nul` ends records with NUL."""

    output: Output
    form: Format
    nul: bool = False

    @property
    def is_table(self) -> bool:
        """Whether tables are drawn, which are for people."""
        return self.form is Format.TABLE

    def write_hits(self, hits: Sequence[Hit], query: str) -> None:
        """Write the hits of one query. A table without rows is not drawn."""
        if not self.is_table:
            self._write(map(_hit_record, hits))
        elif hits:
            from jtv_cli.render.tables import print_hits

            print_hits(hits, self.output, query=query)

    def write_list(self, hits: Iterable[Hit], query: str | None) -> None:
        """Write documents as they come, with their distance to a query if there is one."""
        if self.is_table:
            from jtv_cli.render.tables import print_list

            print_list(hits, self.output, query=query)
        else:
            self._write(map(_hit_record, hits))

    def write_documents(self, documents: Iterable[StoredDocument]) -> None:
        """Write documents, whole.

        Lines have each occurrence of a document, JSON one record with all of them.
        """
        if self.is_table:
            from jtv_cli.render.tables import print_documents

            print_documents(documents, self.output)
        else:
            self._write(map(_document_record, documents))

    def write_answers(self, answers: Iterable[Answer]) -> None:
        """Write queries and their hits as they come.

        Lines have the query before each hit, JSON one record with all of them; `text` has
        the hits alone.
        """
        if self.is_table:
            from jtv_cli.render.tables import print_answer

            for query, hits in answers:
                print_answer(query, hits, self.output)
        else:
            self._write(starmap(_answer_record, answers), "query")

    def write_pairs(self, pairs: Iterable[Pair]) -> None:
        """Write pairs as they come.

        Lines have the id of the first document, then the distance and the second document, JSON
        one record with both; `text` has the second alone.
        """
        if self.is_table:
            from jtv_cli.render.tables import print_pairs

            print_pairs(pairs, self.output)
        else:
            self._write(map(_pair_record, pairs), "duplicate_of")

    def _write(self, records: Iterable[_Record], lead: str | None = None) -> None:
        for piece in _FORMATS[self.form](records, _Style(self.output.escape, self.nul, lead)):
            self.output.write(piece)


def write_rows(columns: Sequence[str], rows: Sequence[Sequence[str]], output: Output) -> None:
    """Write rows of facts: a table on a terminal, if there are any; else fields and tabs."""
    if not output.is_terminal:
        for row in rows:
            output.write(tab_separated(row) + "\n")
    elif rows:
        from jtv_cli.render.tables import print_rows

        print_rows(columns, rows, output)


def _tsv(records: Iterable[_Record], style: _Style) -> Iterator[str]:
    for record in records:
        lead = () if style.lead is None else (record.lead,)
        for hit in record.hits:
            place = format_value(shown_source(hit.source)), format_value(hit.line)
            fields = *lead, format_distance(hit.distance), str(hit.id), hit.content, *place
            # Cleaned one by one: the tabs between them are no text's own.
            yield tab_separated(map(style.clean, fields)) + style.end


def _csv(records: Iterable[_Record], style: _Style) -> Iterator[str]:
    import csv
    import io

    buffer = io.StringIO()
    # Before Python 3.13, only characters of its own line end make it quote a field.
    writer = csv.writer(buffer, lineterminator="\r\n")
    header = COLUMNS if style.lead is None else (style.lead, *COLUMNS)
    for row in chain([header], _csv_rows(records, style)):
        writer.writerow(row)
        yield buffer.getvalue().removesuffix("\r\n") + "\n"
        buffer.seek(0)
        buffer.truncate()


def _csv_rows(records: Iterable[_Record], style: _Style) -> Iterator[Sequence[object]]:
    clean = style.clean
    for record in records:
        lead = () if style.lead is None else (clean(record.lead),)
        for hit in record.hits:
            distance = "" if hit.distance is None else format_distance(hit.distance)
            source = None if hit.source is None else clean(shown_source(hit.source))
            yield *lead, distance, hit.id, clean(hit.content), source, hit.line


def _json_lines(records: Iterable[_Record], style: _Style) -> Iterator[str]:
    return (text + style.end for text in _json_texts(records, style))


def _json_array(records: Iterable[_Record], style: _Style) -> Iterator[str]:
    """Yield one array, a record a line, closed however many there are."""
    opening = "["
    for text in _json_texts(records, style):
        yield f"{opening}\n{text}"
        opening = ","
    yield "[]\n" if opening == "[" else "\n]\n"


def _json_texts(records: Iterable[_Record], style: _Style) -> Iterator[str]:
    import orjson

    return (style.clean(orjson.dumps(record.as_json()).decode()) for record in records)


def _text(records: Iterable[_Record], style: _Style) -> Iterator[str]:
    for content in chain.from_iterable(record.contents for record in records):
        text = content if style.nul else escape_separators(content)
        yield style.clean(text) + style.end


_FORMATS: Mapping[Format, Callable[[Iterable[_Record], _Style], Iterator[str]]] = {
    Format.TSV: _tsv,
    Format.CSV: _csv,
    Format.JSON: _json_array,
    Format.JSONL: _json_lines,
    Format.TEXT: _text,
}
# In which each record can end with NUL.
NUL_FORMATS = (Format.TSV, Format.JSONL, Format.TEXT)


def _hit_record(hit: Hit) -> _Record:
    return _Record((hit,), (hit.content,), partial(_hit_json, hit))


def _document_record(document: StoredDocument) -> _Record:
    return _Record(_hits_of(document), (document.text,), partial(_document_json, document))


def _answer_record(query: str, hits: Sequence[Hit]) -> _Record:
    def as_json() -> dict[str, object]:
        return {"query": query, "hits": [_hit_json(hit) for hit in hits]}

    return _Record(hits, [hit.content for hit in hits], as_json, query)


def _pair_record(pair: Pair) -> _Record:
    def as_json() -> dict[str, object]:
        first, second = map(_hit_json, pair[:2])
        return {"distance": pair.distance, "first": first, "second": second}

    second = pair.second._replace(distance=pair.distance)
    return _Record((second,), (second.content,), as_json, str(pair.first.id))


def _hit_json(hit: Hit) -> dict[str, object]:
    """Return what JSON has of a hit: always all the keys."""
    return {
        "id": hit.id,
        "distance": hit.distance,
        "content": hit.content,
        "source": shown_source(hit.source),
        "line": hit.line,
        "metadata": hit.metadata,
        "end_line": hit.end_line,
        "heading": hit.heading,
        **_scores(hit),
    }


def _scores(hit: Hit) -> dict[str, object]:
    """Return the score of a hit and its ranks in what was fused, if there are any."""
    if hit.score is None:
        return {}
    scores: dict[str, object] = {"score": hit.score}
    if hit.vector_rank is not None or hit.keyword_rank is not None:
        scores |= {"vector_rank": hit.vector_rank, "keyword_rank": hit.keyword_rank}
    return scores


def _document_json(document: StoredDocument) -> dict[str, object]:
    """Return what JSON has of a hit, and all the occurrences."""
    occurrences = [
        {
            "source": shown_source(where.source),
            "line": where.line,
            "metadata": where.metadata,
            "end_line": where.end_line,
        }
        for where in document.occurrences
    ]
    return _hit_json(_hits_of(document)[0]) | {"occurrences": occurrences}


def _hits_of(document: StoredDocument) -> list[Hit]:
    """Return the document at each of its occurrences; once where nothing is known of any."""
    places = document.occurrences or (Occurrence(),)
    return [Hit(document.id, document.text, None, *place) for place in places]
