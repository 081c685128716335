"""Plain text: a document a line, or a paragraph."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jtv_cli.sources.source import BadRecord, bad_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jtv_cli.sources.source import Source, Text, Window


def read_lines(source: Source) -> Iterator[Window]:
    """Yield the lines as texts."""
    for start, lines in source.lines():
        bad: list[BadRecord] = []
        try:
            decoded = [line.decode() for line in lines]
        except UnicodeDecodeError:
            decoded = [_decoded(line, at, bad) for at, line in enumerate(lines, start)]
        texts: list[Text] = [
            (at, text, None) for at, line in enumerate(decoded, start) if (text := line.strip())
        ]
        yield source.window(texts, len(lines) - len(texts) - len(bad), bad)


def read_paragraphs(source: Source) -> Iterator[Window]:
    """Yield what stands between blank lines as texts, each with its first line's number."""
    paragraph: list[bytes] = []
    begin = 1
    for start, lines in source.lines():
        texts: list[Text] = []
        bad: list[BadRecord] = []
        for at, line in enumerate(lines, start):
            if line.strip():
                begin = begin if paragraph else at
                paragraph.append(line.removesuffix(b"\r"))
            elif paragraph:
                _finish(paragraph, begin, texts, bad)
        yield source.window(texts, 0, bad)
    texts, bad = [], []
    if paragraph:
        _finish(paragraph, begin, texts, bad)
    yield source.window(texts, 0, bad)


def _finish(paragraph: list[bytes], begin: int, texts: list[Text], bad: list[BadRecord]) -> None:
    if text := _decoded(b"\n".join(paragraph), begin, bad).strip():
        texts.append((begin, text, None))
    paragraph.clear()


def _decoded(record: bytes, line: int, bad: list[BadRecord]) -> str:
    """Return the record, or nothing after noting it among the bad ones."""
    try:
        return record.decode()
    except UnicodeDecodeError as error:
        bad.append(BadRecord(line, bad_bytes(error)))
        return ""
