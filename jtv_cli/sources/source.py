"""One of the things that are read: its stream, its name, and how to read it."""

from __future__ import annotations

import codecs
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

from jtv_cli.errors import UsageError
from jtv_cli.text import too_long

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from jtv_cli.sources.stream import Stream

    Text = tuple[int, str, Mapping[str, Any] | None]
    """Its line, itself without surrounding white space, and its metadata."""

_TEXT_FIELDS = ("text", "content")


class Input(str, Enum):
    """What a source is made of."""

    LINES = "lines"
    JSONL = "jsonl"
    CSV = "csv"
    TSV = "tsv"

    @property
    def has_fields(self) -> bool:
        """Whether its records have fields with names."""
        return self is not Input.LINES


class BadRecord(NamedTuple):
    """A record that is no text: the line where it begins, and why."""

    line: int
    reason: str


class Window(NamedTuple):
    """Some records of one source, read together.

    `path` is what the user calls the source, `source` what occurrences record. Records
    that are nothing but white space are only counted. `end` is how many bytes of the
    source, later of all the input, were read when this was.
    """

    source: str | None
    path: str
    texts: list[Text]
    empty: int
    bad: list[BadRecord]
    end: int

    def within(self, most_bytes: int | None) -> Window:
        """Return it with texts of more bytes, unless that is None, among the bad records.

        The metadata of a text counts.
        """
        reasons = {line: too_long(text, most_bytes, more) for line, text, more in self.texts}
        bad = [BadRecord(line, reason) for line, reason in reasons.items() if reason]
        if not bad:
            return self
        texts = [text for text in self.texts if not reasons[text[0]]]
        return self._replace(texts=texts, bad=sorted((*self.bad, *bad)))

    def to_first_bad(self) -> Window:
        """Return its first bad record and the texts before that; there must be one."""
        [first, *_] = self.bad
        texts = [text for text in self.texts if text[0] < first.line]
        return self._replace(texts=texts, empty=0, bad=[first])

    def bad_places(self) -> Iterator[tuple[str, str]]:
        """Yield where each bad record is, as file:line, and why it is bad."""
        for line, reason in self.bad:
            yield f"{self.path}:{line}", reason


class Source:
    """An open source. `path` is as the user gave it, `name` what its occurrences record.

    `text_field` is the field that has the text, once it is chosen, `lines_read` how many
    whole lines were read.
    """

    def __init__(
        self, stream: Stream, name: str | None, form: Input, text_field: str | None = None
    ) -> None:
        self.path = stream.path
        self.stream = stream
        self.name = name
        self.input = form
        self.text_field = text_field
        self.lines_read = 0

    def choose_field(self, fields: Collection[str]) -> str:
        """Return the field that has the text, of those that there are.

        Raises UsageError, with their names, where it is not among them.
        """
        wanted = _TEXT_FIELDS if self.text_field is None else (self.text_field,)
        for name in wanted:
            if name in fields:
                self.text_field = name
                return name
        names = ", ".join(fields)
        raise UsageError(
            f"{self.path} has no field {' or '.join(wanted)}",
            hint=f"choose one with --text-field; there are: {names}",
        )

    def window(self, texts: list[Text], empty: int, bad: list[BadRecord]) -> Window:
        """Return records that were read just now as a window."""
        return Window(self.name, self.path, texts, empty, bad, self.stream.consumed)

    def lines(self) -> Iterator[tuple[int, list[bytes]]]:
        """Yield the lines that are there, split at newlines only, with the number of the first.

        It waits for one line, never for more. Raises Damaged.
        """
        unfinished: list[bytes] = []
        self.lines_read, mark = 0, codecs.BOM_UTF8
        for block in self.stream.blocks():
            *lines, rest = block.split(b"\n")
            if lines:
                lines[0] = b"".join((*unfinished, lines[0])).removeprefix(mark)
                unfinished = []
                start = self.lines_read + 1
                self.lines_read += len(lines)
                yield start, lines
                mark = b""
            if rest:
                unfinished.append(rest)
        if unfinished:
            yield self.lines_read + 1, [b"".join(unfinished).removeprefix(mark)]


def bad_bytes(error: UnicodeDecodeError) -> str:
    """Return why bytes are no text."""
    return f"not UTF-8 (byte 0x{error.object[error.start]:02x} at position {error.start + 1})"
