"""Records with fields, one of which is the text; the others are its metadata."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Any

from jtv_cli.errors import UsageError
from jtv_cli.sources.source import BadRecord, bad_bytes
from jtv_cli.sources.stream import Damaged
from jtv_cli.text import is_metadata, may_nest_deeply

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jtv_cli.sources.source import Source, Text, Window

# Of one field: more is a quotation mark that nobody closed.
_LONGEST_FIELD = 1 << 24
_STRAY_RETURN = "a carriage return (CR) in it is neither quoted nor at a line's end"
_RETURNS_TO_NEWLINES = r"if lines end so, turn them into newlines, with tr '\r' '\n' for one"
# What Python's errors begin with, and what they mean.
_WRONG = {
    "unexpected end": "a quotation mark opens and is not closed: all from here to the end",
    "field larger": "a field of more than 16 MiB: does a quotation mark open that is not closed?",
    "new-line": _STRAY_RETURN,
}
_MOST_DIGITS = 20  # of an integer of 64 bits, with its sign
_ZEROS = bytes.maketrans(b"123456789", b"000000000")
_LONG_NUMBER = b"0" * 19


class _Records:
    """The records of a source, gathered into windows."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._field: str | None = None
        self._clear()

    def add(self, line: int, record: dict[str, Any]) -> None:
        """Take a record: its text apart from the rest.

        Raises UsageError where the first one has no field for the text.
        """
        self._field = self._field or self._source.choose_field(record)
        text = record.pop(self._field, None)
        if not isinstance(text, str):
            self.add_bad(line, f"its field {self._field} is missing or no text")
        elif text := text.strip():
            self._texts.append((line, text, record or None))
        else:
            self.add_empty()

    def add_empty(self) -> None:
        """Count a record without content."""
        self._empty += 1

    def add_bad(self, line: int, reason: str) -> None:
        """Note a record that cannot be taken, and why."""
        self._bad.append(BadRecord(line, reason))

    def window(self) -> Window:
        """Return what was gathered, and begin anew."""
        window = self._source.window(self._texts, self._empty, self._bad)
        self._clear()
        return window

    def _clear(self) -> None:
        self._texts: list[Text] = []
        self._empty = 0
        self._bad: list[BadRecord] = []


def read_jsonl(source: Source) -> Iterator[Window]:
    """Yield the texts of JSON objects, one a line."""
    import orjson

    records = _Records(source)
    for start, lines in source.lines():
        for at, line in enumerate(lines, start):
            if not line.strip():
                records.add_empty()
                continue
            if _LONG_NUMBER in line.translate(_ZEROS) and _has_large_integer(line):
                records.add_bad(at, "it has an integer of more than 64 bits")
                continue
            try:
                record = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                records.add_bad(at, f"not JSON ({error.msg})")
                continue
            if not isinstance(record, dict):
                records.add_bad(at, "not a JSON object")
            elif may_nest_deeply(line) and not is_metadata(record):
                records.add_bad(at, "its metadata is nested too deeply")
            else:
                records.add(at, record)
        yield records.window()


def _has_large_integer(line: bytes) -> bool:
    """Return whether JSON has an integer of which orjson would make a float."""
    import json

    try:
        json.loads(line, parse_int=_refuse_large)
    except OverflowError:
        return True
    except (ValueError, RecursionError):  # no JSON, or nested too deeply: said elsewhere
        return False
    return False


def _refuse_large(digits: str) -> None:
    if len(digits) > _MOST_DIGITS or not -(1 << 63) <= int(digits) < 1 << 64:
        raise OverflowError


def read_delimited(source: Source, delimiter: str) -> Iterator[Window]:
    """Yield the texts of CSV records; the first record names the fields.

    A record may go on over several lines, within quotation marks.
    """
    records = _Records(source)
    try:
        yield from _read_rows(source, records, delimiter)
    except (Damaged, UsageError):
        yield records.window()  # what was read before it is sound
        raise
    yield records.window()


def _read_rows(source: Source, records: _Records, delimiter: str) -> Iterator[Window]:
    """Add the rows to the records, and yield these before more would be waited for."""
    lines = _Lines(source)
    header: list[str] = []
    for line, row, wrong in _rows(lines, delimiter):
        if not header and wrong:
            raise UsageError(
                f"{source.path}:{line} should have the names of the fields: {wrong}",
                hint=_RETURNS_TO_NEWLINES if wrong == _STRAY_RETURN else None,
            )
        if wrong:
            records.add_bad(line, wrong)
        elif not row:
            records.add_empty()
        elif not header:
            header = row
            _check_header(f"{source.path}:{line}", header)
            source.choose_field(header)
        elif len(row) == len(header):
            records.add(line, dict(zip(header, row, strict=True)))
        else:
            many = f"{len(row)} field{'' if len(row) == 1 else 's'}"
            records.add_bad(line, f"{many}, where the first record has {len(header)}")
        if not lines.are_there:
            yield records.window()


def _in_words(error: Exception) -> str:
    """Return what is wrong with a record, in other words than Python's where these mislead."""
    said = str(error)
    return next((words for beginning, words in _WRONG.items() if said.startswith(beginning)), said)


def _check_header(place: str, header: Sequence[str]) -> None:
    """Raise UsageError where of two fields' values one could not be kept."""
    [(name, times)] = Counter(header).most_common(1)
    if times > 1:
        raise UsageError(
            f"{place} has two fields named {name or repr(name)}", hint="rename one of them"
        )


def _rows(lines: _Lines, delimiter: str) -> Iterator[tuple[int, list[str], str]]:
    """Yield each record's line, its fields, and what is wrong with it, if anything is."""
    import csv

    csv.field_size_limit(_LONGEST_FIELD)
    rows = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        line = rows.line_num + 1
        try:
            row = next(rows)
            for field in row:
                if not field.isascii():
                    field.encode("utf-8", "surrogateescape").decode()
        except StopIteration:
            return
        except csv.Error as error:
            yield line, [], _in_words(error)
        except UnicodeDecodeError as error:
            yield line, [], bad_bytes(error)
        else:
            yield line, row, ""


class _Lines:
    """The lines of a source, one by one; `are_there` says whether one can be had at once."""

    def __init__(self, source: Source) -> None:
        self._blocks = source.lines()
        self._lines: deque[bytes] = deque()

    @property
    def are_there(self) -> bool:
        return bool(self._lines)

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        if not self._lines:
            self._lines.extend(next(self._blocks)[1])
        return self._lines.popleft().decode("utf-8", "surrogateescape") + "\n"
