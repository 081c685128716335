"""The records that were read from a source, in blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from jtv_cli.records import Occurrence, SourceLine, SourceRange
from jtv_cli.text import too_long

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Text = tuple[int, str, Mapping[str, Any] | None, int | None]
    """Its first line, the text without blank lines around it, its metadata, and its last line.

    The last line is None for a text that is read as a whole line or record."""


class BadRecord(NamedTuple):
    """A record that is skipped: its first line, None for a whole file, and the reason."""

    line: int | None
    reason: str


class RecordBlock(NamedTuple):
    """Some records of one source that were read together.

    `path` is what the user calls the source, `source` what occurrences record. Records of
    nothing but white space are only counted, in `empty`. `end` is how many bytes of the
    source, or of all the input, were read when the block was.
    """

    source: str | None
    path: str
    texts: list[Text]
    empty: int
    bad: list[BadRecord]
    end: int

    def within(self, most_bytes: int | None) -> RecordBlock:
        """Return the block with texts of more bytes among the bad records; None is no limit.

        The metadata of a text counts.
        """
        reasons = [too_long(text, most_bytes, more) for _, text, more, _ in self.texts]
        bad = [
            BadRecord(line, reason)
            for (line, *_), reason in zip(self.texts, reasons, strict=True)
            if reason
        ]
        if not bad:
            return self
        texts = [text for text, reason in zip(self.texts, reasons, strict=True) if not reason]
        return self._replace(texts=texts, bad=sorted((*self.bad, *bad)))

    def to_first_bad(self) -> RecordBlock:
        """Return the first bad record and the texts before it; there must be one."""
        [first, *_] = self.bad
        texts = [text for text in self.texts if text[0] < (first.line or 0)]
        return self._replace(texts=texts, empty=0, bad=[first])

    @property
    def span(self) -> SourceRange | None:
        """The lines that the texts begin in, None without any text."""
        numbers = [line or 0 for line, _, _, _ in self.texts]
        return SourceRange(self.source, min(numbers), max(numbers)) if numbers else None

    def occurrences_of(self, row: int) -> list[Occurrence]:
        """Return where the text of a row was read."""
        line, _, metadata, end_line = self.texts[row]
        return [Occurrence(self.source, line, metadata, end_line)]

    def place_of(self, row: int) -> str:
        """Return what a message calls the text of a row: file:line."""
        return f"{self.path}:{self.texts[row][0]}"

    def stored_lines(
        self, ids: Mapping[bytes, int], hashes: Sequence[bytes]
    ) -> Iterator[tuple[str | None, list[SourceLine]]]:
        """Yield the occurrences of stored texts, given their ids by hash, for each source."""
        lines = [
            SourceLine(line, ids[key], metadata, end_line)
            for key, (line, _, metadata, end_line) in zip(hashes, self.texts, strict=True)
            if key in ids
        ]
        yield self.source, lines

    def bad_places(self) -> Iterator[tuple[str, str]]:
        """Yield the place of each bad record, as file:line or file, and the reason."""
        for line, reason in self.bad:
            yield self.path if line is None else f"{self.path}:{line}", reason


def explain_bad_bytes(error: UnicodeDecodeError) -> str:
    """Return why bytes are not text."""
    return f"not UTF-8 (byte 0x{error.object[error.start]:02x} at position {error.start + 1})"
