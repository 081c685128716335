"""JSON: a top-level array of objects, or one object, read as a stream."""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING

from jtv_cli.errors import UsageError
from jtv_cli.sources.fields import RecordBuilder
from jtv_cli.sources.source import LARGEST_RECORD, RECORD_TOO_LARGE
from jtv_cli.sources.stream import DamagedData

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jtv_cli.sources.blocks import RecordBlock
    from jtv_cli.sources.source import Source

# The rest of a string, its closing quotation mark included if it is there.
_IN_STRING = rb'[^"\\]*(?:\\.[^"\\]*)*("?)'
_REST_OF_STRING = re.compile(_IN_STRING, re.DOTALL)
# Where a value ends depends on strings, whose brackets do not count, and on brackets.
_TOKEN = re.compile(rb'"' + _IN_STRING + rb"|[\[\]{}]", re.DOTALL)
_SEPARATOR = re.compile(rb"(?:" + codecs.BOM_UTF8 + rb"|[\s,]+)*")
_SCALAR = re.compile(rb'[^\s,"\[\]{}]*')

_QUOTE = ord('"')
_LONGEST_SCALAR = 1 << 16

_HINT = "use --input lines to read each line as text, or --input jsonl for an object on each line"


def read_json(source: Source) -> Iterator[RecordBlock]:
    """Yield the texts of the objects in a top-level array, or of one top-level object.

    Raises UsageError if the content is anything else.
    """
    from orjson import loads

    records = RecordBuilder(source)
    splitter = _Splitter(source.path)
    has_yielded = False
    try:
        for block in source.stream.blocks():
            for line, element in splitter.feed(block):
                if element is None:
                    records.add_bad(line, RECORD_TOO_LARGE)
                else:
                    records.add_json(line, element, loads)
            source.lines_read = splitter.line - 1
            yield records.block()
            has_yielded = True
    except (DamagedData, UsageError) as error:
        # What was read before is intact, unless the file is not what it should be at all.
        if has_yielded or isinstance(error, DamagedData):
            yield records.block()
        raise
    for line, reason in splitter.finish():
        records.add_bad(line, reason)
    yield records.block()


class _Splitter:
    """Splits JSON into the elements of its top-level array, or into its one object.

    `line` is the line up to which the content was read.
    """

    def __init__(self, path: str) -> None:
        self.line = 1
        self._path = path
        self._top = b""  # the first character of the whole, b"" until it is read
        self._is_closed = False
        self._has_elements = False
        self._buffer = bytearray()
        self._position = 0  # in the buffer
        self._counted = 0  # up to which line ends are counted
        # The element that is being read: its first line, where it begins, and its nesting.
        self._first_line: int | None = None
        self._start = 0
        self._depth = 0
        self._is_in_string = False
        self._is_too_large = False

    def feed(self, block: bytes) -> Iterator[tuple[int, bytes | None]]:
        """Yield the elements that end in a block, each with its first line; None if too large.

        Raises UsageError if the content is neither an array of objects nor one object.
        """
        self._buffer += block
        while self._position < len(self._buffer):
            if self._first_line is None:
                self._find_element()
            elif self._find_end():
                element = bytes(self._buffer[self._start : self._position])
                yield self._first_line, None if self._is_too_large else element
                self._first_line, self._is_too_large = None, False
            else:
                break
        self._forget()

    def finish(self) -> Iterator[tuple[int, str]]:
        """Yield where and why the content is incomplete, if it is."""
        if self._first_line is not None:
            yield self._first_line, "the file ends within this record"
        elif self._top == b"[" and not self._is_closed:
            yield self.line, "the array is not closed: the end of the file is missing"

    def _find_element(self) -> None:
        """Move to the beginning of the next element, or to the end of the buffer."""
        self._position = _SEPARATOR.match(self._buffer, self._position).end()  # type: ignore[union-attr]
        self._count_lines(self._position)
        character = bytes(self._buffer[self._position : self._position + 1])
        if not character:
            return
        if not self._top and character in (b"[", b"{"):
            self._top = character
            if character == b"[":
                self._position += 1
                return
        elif self._top == b"[" and character == b"]" and not self._is_closed:
            self._position += 1
            self._is_closed = True
            return
        elif self._top != b"[" or self._is_closed:
            raise UsageError(
                f"{self._path}:{self.line}: more than one JSON value"
                if self._top
                else f"{self._path} is not JSON",
                hint=_HINT,
            )
        if not self._has_elements and character != b"{":
            raise UsageError(f"{self._path} is not an array of JSON objects", hint=_HINT)
        self._has_elements = True
        self._first_line, self._start = self.line, self._position

    def _find_end(self) -> bool:
        """Move to the end of the element, or as far as there is data; return whether it ends."""
        buffer = self._buffer
        while True:
            if self._is_in_string:
                rest = _REST_OF_STRING.match(buffer, self._position)
                self._position = rest.end()  # type: ignore[union-attr]
                if not rest[1]:  # type: ignore[index]
                    return False
                self._is_in_string = False
            elif self._position == self._start and buffer[self._start] not in b'"[{':
                end = _SCALAR.match(buffer, self._start).end()  # type: ignore[union-attr]
                if end == len(buffer) and end - self._start < _LONGEST_SCALAR:
                    return False
                self._position = max(end, self._start + 1)
            elif not self._pass_token():
                return False
            if self._depth == 0:
                return True

    def _pass_token(self) -> bool:
        """Move behind the next bracket or string; return whether that is in the buffer whole."""
        token = _TOKEN.search(self._buffer, self._position)
        if token is None:
            self._position = len(self._buffer)
            return False
        self._position = token.end()
        first = self._buffer[token.start()]
        if first == _QUOTE:
            self._is_in_string = not token[1]
        else:
            self._depth += 1 if first in b"[{" else -1
        return not self._is_in_string

    def _forget(self) -> None:
        """Drop what is not needed any more from the buffer."""
        done = self._position if self._first_line is None else self._start
        if self._position - done > LARGEST_RECORD:
            self._is_too_large = True
            done = self._position
        self._count_lines(done)
        del self._buffer[:done]
        self._position -= done
        self._start -= done
        self._counted -= done

    def _count_lines(self, end: int) -> None:
        self.line += self._buffer.count(b"\n", self._counted, end)
        self._counted = end
