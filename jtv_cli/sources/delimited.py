"""CSV and TSV: rows of fields that a character separates."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from jtv_cli.errors import UsageError
from jtv_cli.sources.blocks import explain_bad_bytes
from jtv_cli.sources.fields import RecordBuilder
from jtv_cli.sources.source import LARGEST_RECORD, RECORD_TOO_LARGE, InputFormat
from jtv_cli.sources.stream import DamagedData

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jtv_cli.sources.blocks import RecordBlock
    from jtv_cli.sources.source import Source

_TAB = "\t"
# In order of preference.
_DELIMITERS = (",", ";", _TAB)
# Spreadsheets name their delimiter in a first line like this one.
_NAMED_DELIMITER = re.compile(rb'"?sep=(.)"?\r?')
_LINES_TO_DETECT_FROM = 20
# A record that goes on for longer is taken for a quotation mark that nobody closed.
_LONGEST_RECORD = 50
# Of one field: a larger one is taken for the same.
_LARGEST_FIELD = 1 << 24
_STRAY_RETURN = "a carriage return (CR) in it is neither quoted nor at a line's end"
_UNCLOSED = "a quotation mark opens in it and is not closed"
# How errors of the csv module begin, and what they mean.
_EXPLANATIONS = {
    "unexpected end": _UNCLOSED,
    "field larger": "a field of more than 16 MiB: is a quotation mark not closed?",
    "new-line": _STRAY_RETURN,
}


def read_delimited(source: Source) -> Iterator[RecordBlock]:
    """Yield the texts of CSV or TSV records; the first record names the fields, if so chosen.

    In CSV, a quoted field may continue over several lines. In TSV, a quotation mark is a
    character like any other.
    """
    records = RecordBuilder(source)
    try:
        yield from _read_rows(source, records)
    except (DamagedData, UsageError):
        yield records.block()  # what was read before is intact
        raise
    yield records.block()


def detect_delimiter(lines: Sequence[bytes]) -> str:
    """Return the delimiter that splits most of the lines into as many fields as the first.

    It is a comma unless a semicolon or a tab does so for more of them.
    """
    import csv

    texts = [line.decode("utf-8", "replace") + "\n" for line in lines[:_LINES_TO_DETECT_FROM]]
    best, most = _DELIMITERS[0], 0
    for delimiter in _DELIMITERS:
        try:
            widths = [len(row) for row in csv.reader(texts, delimiter=delimiter) if row]
        except csv.Error:
            continue
        if widths and widths[0] > 1 and (score := widths.count(widths[0])) > most:
            best, most = delimiter, score
    return best


def _read_rows(source: Source, records: RecordBuilder) -> Iterator[RecordBlock]:
    """Add the rows to the records, and yield these before waiting for more input."""
    lines = _LineFeed(source)
    source.delimiter = delimiter = _choose_delimiter(source, lines)
    is_quoted = source.format is not InputFormat.TSV
    header: list[str] = []
    has_header = source.options.header
    for line, row, problem in _rows(lines, delimiter, is_quoted=is_quoted):
        if not header and problem and has_header:
            raise UsageError(f"{source.path}:{line} should name the fields: {problem}")
        if problem:
            records.add_bad(line, problem)
        elif not row:
            records.add_empty()
        elif not header and has_header:
            header = row
            _check_header(f"{source.path}:{line}", header)
            source.choose_text_fields(header)
            if source.unseen_fields:
                raise source.no_field(sorted(source.unseen_fields), header)
        else:
            header = header or [str(number) for number in range(1, len(row) + 1)]
            if len(row) == len(header):
                records.add(line, dict(zip(header, row, strict=True)))
            else:
                fields = f"{len(row)} field{'' if len(row) == 1 else 's'}"
                records.add_bad(line, f"{fields}, where the first record has {len(header)}")
        if not lines.has_next:
            yield records.block()


def _choose_delimiter(source: Source, lines: _LineFeed) -> str:
    """Return the delimiter: the one chosen, named in the first line, or detected."""
    beginning = lines.peek()
    named = _NAMED_DELIMITER.fullmatch(beginning[0]) if beginning else None
    if named:
        next(lines)
    if source.options.delimiter is not None:
        return source.options.delimiter
    if named and named[1].isascii():
        return named[1].decode()
    return _TAB if source.format is InputFormat.TSV else detect_delimiter(beginning)


def _check_header(place: str, header: Sequence[str]) -> None:
    """Raise UsageError if two fields have the same name, so that one of them would be lost."""
    [(name, times)] = Counter(header).most_common(1)
    if times > 1:
        raise UsageError(
            f"{place} has two fields named {name or repr(name)}", hint="rename one of them"
        )


def _rows(
    lines: _LineFeed, delimiter: str, *, is_quoted: bool
) -> Iterator[tuple[int, list[str], str]]:
    """Yield each record's first line, its fields, and what is wrong with it, if anything is.

    After a bad record, reading continues with the line after its first one.
    """
    import csv

    csv.field_size_limit(_LARGEST_FIELD)
    rows = None
    while True:
        rows = rows or csv.reader(
            lines,
            delimiter=delimiter,
            quoting=csv.QUOTE_MINIMAL if is_quoted else csv.QUOTE_NONE,
            strict=True,
        )
        line = lines.begin_record()
        row: list[str] = []
        try:
            row = next(rows)
            for field in row:
                if not field.isascii():
                    field.encode("utf-8", "surrogateescape").decode()
        except StopIteration:
            return
        except UnicodeDecodeError as error:
            yield line, [], explain_bad_bytes(error)
        except (csv.Error, _BadLinesError) as error:
            lines.return_to_second_line()
            rows = None
            yield line, [], _explain(error)
        else:
            yield line, row, ""


def _explain(error: Exception) -> str:
    """Return what is wrong with a record, in clearer words than those of the csv module."""
    said = str(error)
    return next((words for start, words in _EXPLANATIONS.items() if said.startswith(start)), said)


class _BadLinesError(Exception):
    """Lines that cannot be a record."""


class _LineFeed:
    """The lines of a source one by one, with those of the current record kept."""

    def __init__(self, source: Source) -> None:
        self._blocks = source.lines()
        self._lines: list[bytes] = []
        self._first = 1  # the number of the first of them
        self._next = 0  # the index of the next one
        self._record = 0  # the index of the record's first line
        self._too_large: int | None = None  # the number of a line beyond the limit

    @property
    def has_next(self) -> bool:
        """Whether a line is available without waiting for input."""
        return self._next < len(self._lines)

    def peek(self) -> Sequence[bytes]:
        """Return the next lines that are available, at least one unless the input has ended."""
        if not self.has_next:
            self._refill()
        return self._lines[self._next :]

    def begin_record(self) -> int:
        """Return the number of the next line, the first one of a record."""
        self._record = self._next
        return self._first + self._next

    def return_to_second_line(self) -> None:
        """Continue after the first line of the current record."""
        self._next = min(self._record + 1, self._next)

    def __iter__(self) -> _LineFeed:
        return self

    def __next__(self) -> str:
        if self._next == len(self._lines) and not self._refill():
            raise StopIteration
        line = self._next
        if line - self._record == _LONGEST_RECORD:
            raise _BadLinesError(f"{_UNCLOSED} within {_LONGEST_RECORD} lines")
        self._next = line + 1
        if self._too_large is not None and self._too_large == self._first + line:
            raise _BadLinesError(RECORD_TOO_LARGE)
        return self._lines[line].decode("utf-8", "surrogateescape") + "\n"

    def _refill(self) -> bool:
        """Wait for more lines; return whether there are any."""
        kept = self._lines[self._record :]
        if sum(map(len, kept)) > LARGEST_RECORD:
            raise _BadLinesError(RECORD_TOO_LARGE)
        block = next(self._blocks, None)
        if block is None:
            return False
        self._first += self._record
        self._next -= self._record
        self._record = 0
        self._lines = kept + block.lines
        if block.is_too_large:
            self._too_large = block.start
        return True
