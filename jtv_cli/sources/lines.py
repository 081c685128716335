"""Plain text: a document for each line or each paragraph."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jtv_cli.sources.blocks import BadRecord, explain_bad_bytes
from jtv_cli.sources.source import LARGEST_RECORD, RECORD_TOO_LARGE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jtv_cli.sources.blocks import RecordBlock, Text
    from jtv_cli.sources.source import Source


def read_lines(source: Source) -> Iterator[RecordBlock]:
    """Yield the lines as texts."""
    for start, lines, is_too_large in source.lines():
        if is_too_large:
            yield source.block([], 0, [BadRecord(start, RECORD_TOO_LARGE)])
            continue
        bad: list[BadRecord] = []
        try:
            decoded = [line.decode() for line in lines]
        except UnicodeDecodeError:
            decoded = [_decoded(line, at, bad) for at, line in enumerate(lines, start)]
        texts: list[Text] = [
            (at, text, None, None)
            for at, line in enumerate(decoded, start)
            if (text := line.strip())
        ]
        yield source.block(texts, len(lines) - len(texts) - len(bad), bad)


def read_paragraphs(source: Source) -> Iterator[RecordBlock]:
    """Yield the text between blank lines as texts, each with the number of its first line."""
    paragraph = _Paragraph()
    for start, lines, is_too_large in source.lines():
        texts: list[Text] = []
        bad: list[BadRecord] = []
        for at, line in enumerate(lines, start):
            if is_too_large or line.strip():
                paragraph.add(at, line, LARGEST_RECORD if is_too_large else len(line))
            else:
                paragraph.finish(texts, bad)
        yield source.block(texts, 0, bad)
    texts, bad = [], []
    paragraph.finish(texts, bad)
    yield source.block(texts, 0, bad)


class _Paragraph:
    """The lines of a paragraph that is being read."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self._first = 0
        self._size = 0

    def add(self, number: int, line: bytes, size: int) -> None:
        """Add a line of so many bytes; those of a paragraph beyond the limit are not kept."""
        self._first = self._first or number
        self._size += size + 1
        if self._size > LARGEST_RECORD:
            self._lines.clear()
        else:
            self._lines.append(line.removesuffix(b"\r"))

    def finish(self, texts: list[Text], bad: list[BadRecord]) -> None:
        """Add the paragraph, if there is one, to the texts or to the bad records."""
        if self._size > LARGEST_RECORD:
            bad.append(BadRecord(self._first, RECORD_TOO_LARGE))
        elif self._lines and (text := _decoded(b"\n".join(self._lines), self._first, bad).strip()):
            texts.append((self._first, text, None, None))
        self._lines.clear()
        self._first = self._size = 0


def _decoded(record: bytes, line: int, bad: list[BadRecord]) -> str:
    """Return the record as text, or nothing after adding it to the bad records."""
    try:
        return record.decode()
    except UnicodeDecodeError as error:
        bad.append(BadRecord(line, explain_bad_bytes(error)))
        return ""
