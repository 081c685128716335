"""The records that were read from a source, in blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from jtv_cli.text import too_long

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

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

    def bad_places(self) -> Iterator[tuple[str, str]]:
        """Yield the place of each bad record, as file:line or file, and the reason."""
        for line, reason in self.bad:
            yield self.path if line is None else f"{self.path}:{line}", reason


def explain_bad_bytes(error: UnicodeDecodeError) -> str:
    """Return why bytes are not text."""
    return f"not UTF-8 (byte 0x{error.object[error.start]:02x} at position {error.start + 1})"
