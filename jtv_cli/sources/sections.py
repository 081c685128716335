"""Documents: files of sections and paragraphs, read section by section and cut into chunks."""

from __future__ import annotations

import re
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from jtv_cli.sources.blocks import BadRecord, explain_bad_bytes
from jtv_cli.sources.chunks import DEFAULT_SIZE, Kind, cut, rank
from jtv_cli.sources.source import LARGEST_RECORD, RECORD_TOO_LARGE, InputFormat

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from jtv_cli.sources.blocks import RecordBlock, Text
    from jtv_cli.sources.source import Source

_KINDS = {
    InputFormat.MARKDOWN: Kind.MARKDOWN,
    InputFormat.RST: Kind.RST,
    InputFormat.TEXT: Kind.TEXT,
    InputFormat.CODE: Kind.CODE,
}
# Each block is looked up in the table: a small file is one block.
_TEXTS_IN_BLOCK = 256
# Of a document in memory, the chunks of so many lines are held at once.
_LINES_AT_ONCE = 1000
# A longer section is cut in two, for it is held in memory: at a paragraph whose rank is among
# the lowest, so that an edit before it does not move the place, or else at any line.
_LONG_SECTION = 1 << 18
_LONGEST_SECTION = 1 << 20
_LOW_RANK = (1 << 32) // 32
# Front matter that does not end within so many lines is taken for text.
_LONGEST_FRONT_MATTER = 200

_HEADING = re.compile(r" {0,3}(#{1,6})(?=[ \t]|$)")
_FENCE = re.compile(r"[ \t]*(`{3,}(?=[^`]*$)|~{3,})")
# Below a title; a longer title than its underline is none in reStructuredText.
_UNDERLINE = re.compile(r" {0,3}(=+|-+|([*^~\"'`:.#_+])\2{3,})[ \t]*")
# What cannot be the title above an underline: lists, quotes, tables, indented text.
_NO_TITLE = re.compile(r"[ \t]*(?:[-*+|>]|\d{1,9}[.)]|#{1,6}[ \t])(?:[ \t]|$)|    |\t|\|")
# In reStructuredText, the name of what follows: ".. _install:". It has no URL.
_TARGET = re.compile(r"\.\. _.*[^:\s]:[ \t]*")
# Of a man page, in plain text.
_MAN_HEADING = re.compile(r"\.S([HS])[ \t]+\"?(.*?)\"?[ \t]*")
# In plain text, the underline of a title may be longer by so many characters.
_LONGER_UNDERLINE = 3
_RULES = ("---", "+++")
_ENTRY = re.compile(r"""["']?([\w][\w .-]*?)["']?\s*[:=](?:\s+(.*)|)""")
_MOST_HEADINGS = 6


def read_document(source: Source) -> Iterator[RecordBlock]:
    """Yield the chunks of a document: Markdown, plain text or code.

    Their metadata is the front matter, the `title` of the document and the `heading` that a
    chunk stands below, as a path: Install > Linux.
    """
    chunker = Chunker(_KINDS[source.format], source.options.chunk or DEFAULT_SIZE)
    texts: list[Text] = []
    bad: list[BadRecord] = []
    for start, lines, is_too_large in source.lines():
        if is_too_large:
            bad.append(BadRecord(start, RECORD_TOO_LARGE))
        texts += chunker.add(start, _decoded(start, lines, bad))
        if len(texts) >= _TEXTS_IN_BLOCK or source.stream.may_wait:
            yield source.block(texts, 0, bad)
            texts, bad = [], []
    yield source.block(texts + chunker.finish(), 0, bad)


def read_whole(source: Source) -> Iterator[RecordBlock]:
    """Yield a document as one text."""
    read: list[bytes] = []
    size = number = 0
    for start, lines, is_too_large in source.lines():
        number = start + len(lines) - 1
        size += sum(map(len, lines)) + len(lines)
        if is_too_large or size > LARGEST_RECORD:
            yield source.block([], 0, [BadRecord(None, RECORD_TOO_LARGE)])
            return
        read += (line.removesuffix(b"\r") for line in lines)
        yield source.block([], 0, [])
    try:
        text = b"\n".join(read).decode()
    except UnicodeDecodeError as error:
        yield source.block([], 0, [BadRecord(None, explain_bad_bytes(error))])
        return
    if stripped := text.strip():
        yield source.block([(1, stripped, None, number)], 0, [])


def cut_document(
    lines: Sequence[str],
    kind: Kind,
    size: int = DEFAULT_SIZE,
    metadata: Mapping[str, Any] | None = None,
) -> Iterator[Text]:
    """Yield the chunks of a document that is given as lines; all have the metadata.

    `size` is in estimated tokens.
    """
    chunker = Chunker(kind, size, metadata)
    for first in range(0, len(lines), _LINES_AT_ONCE):
        yield from chunker.add(first + 1, lines[first : first + _LINES_AT_ONCE])
    yield from chunker.finish()


def _decoded(start: int, lines: Sequence[bytes], bad: list[BadRecord]) -> list[str]:
    """Return the lines as text; those that are not UTF-8 are empty, and are added to `bad`."""
    with suppress(UnicodeDecodeError):
        return b"\n".join(lines).decode().split("\n")
    decoded: list[str] = []
    for number, line in enumerate(lines, start):
        try:
            decoded.append(line.decode())
        except UnicodeDecodeError as error:
            bad.append(BadRecord(number, explain_bad_bytes(error)))
            decoded.append("")
    return decoded


class _Section(NamedTuple):
    """Lines below one heading: the number of the first, and how many of them are headings."""

    first: int
    lines: list[str]
    headings: int
    path: str


class Chunker:
    """Takes the lines of a document and returns its chunks, one section after the other.

    A heading without any text below it is part of the section that follows or, at the end,
    of the one before.
    """

    def __init__(self, kind: Kind, size: int, metadata: Mapping[str, Any] | None = None) -> None:
        self._kind = kind
        self._size = size
        self._metadata: dict[str, Any] = dict(metadata or {})
        self._front_matter: list[str] | None = None
        self._fence = ""
        self._styles: list[str] = []  # of underlines other than = and -, by level
        self._path: list[tuple[int, str]] = []
        self._held: _Section | None = None
        self._begin(1)

    def add(self, number: int, lines: Sequence[str]) -> list[Text]:
        """Take lines without their ends, the first of this number; return the complete chunks."""
        lines = [line.removesuffix("\r") for line in lines]
        done: list[Text] = []
        if number == 1 and self._kind is Kind.MARKDOWN and "".join(lines[:1]).rstrip() in _RULES:
            self._front_matter = [lines.pop(0)]
            number = 2
        while self._front_matter is not None and lines:
            done += self._add_front_matter(number, lines.pop(0))
            number += 1
        at = 0
        if self._kind is not Kind.CODE:
            # Most lines begin with a letter or, in plain text, are indented, and are no headings.
            others = " \t" if self._kind is Kind.TEXT else ""
            for index in [
                i
                for i, each in enumerate(lines)
                if each and not each[0].isalnum() and each[0] not in others
            ]:
                if at < index:
                    done += self._add_text(number + at, lines[at:index])
                line = lines[index]
                if not self._fence:
                    done += self._look_for_heading(number + index, line)
                elif (end := line.strip()).startswith(self._fence) and not end.strip(end[0]):
                    self._fence = ""
                at = index
        return done + self._add_text(number + at, lines[at:])

    def _add_text(self, number: int, lines: Sequence[str]) -> list[Text]:
        """Take lines that are no headings, the first of this number."""
        size = sum(map(len, lines)) + len(lines)
        if self._size_of_lines + size <= _LONG_SECTION:
            self._lines += lines
            self._size_of_lines += size
            return []
        done: list[Text] = []
        for at, line in enumerate(lines, number):
            if self._size_of_lines > _LONG_SECTION and self._may_divide(line):
                done += self._end_section()
                self._begin(at)
            self._lines.append(line)
            self._size_of_lines += len(line) + 1
        return done

    def finish(self) -> list[Text]:
        """Return the last chunks."""
        texts: list[Text] = []
        if self._front_matter is not None:
            texts = self._give_back_front_matter()
        if self._has_body or self._held is None:
            texts += self._end_section()
        else:
            self._held.lines.extend(self._lines)
        return texts + self._flush()

    @property
    def _has_body(self) -> bool:
        """Whether the section that is read has text below its headings."""
        return any(map(str.strip, islice(self._lines, self._headings, None)))

    @property
    def _is_blank(self) -> bool:
        """Whether there is no line before, or a blank one."""
        return not self._lines or not self._lines[-1].strip()

    def _add_front_matter(self, number: int, line: str) -> list[Text]:
        front_matter = self._front_matter or []
        front_matter.append(line)
        if line.rstrip() == front_matter[0].rstrip():
            found = _parse_front_matter(front_matter[1:-1])
            if found is not None:
                self._metadata |= found
                self._front_matter = None
                self._begin(number + 1)
                return []
        elif number <= _LONGEST_FRONT_MATTER:
            return []
        return self._give_back_front_matter()

    def _give_back_front_matter(self) -> list[Text]:
        """Take lines for text that were taken for front matter."""
        lines, self._front_matter = self._front_matter or [], None
        return self._add_text(1, lines[:1]) + self.add(2, lines[1:])

    def _look_for_heading(self, number: int, line: str) -> list[Text]:
        """Begin a section if the line is a heading, or makes one of the line before."""
        start = line[0] if line[0] not in " \t" else line.lstrip(" \t")[:1]
        is_markdown = self._kind is Kind.MARKDOWN
        if is_markdown and start == "#" and (match := _HEADING.match(line)):
            heading = line[match.end() :].rstrip()
            without = heading.rstrip("#")  # as in "# Title #"
            if not without or without[-1].isspace():
                heading = without
            return self._begin_section(number, [], len(match[1]), heading.strip())
        if is_markdown and start in ("`", "~") and (fence := _FENCE.match(line)):
            self._fence = fence[1]
            return []
        if self._kind is Kind.TEXT and start == "." and (match := _MAN_HEADING.fullmatch(line)):
            return self._begin_section(number, [], "HS".index(match[1]) + 1, match[2])
        if not start or start.isalnum() or self._is_blank:
            return []
        title = self._lines[-1]
        if not (match := _UNDERLINE.fullmatch(line)) or _NO_TITLE.match(title):
            return []
        longer = len(line.rstrip()) - len(title.rstrip())
        if _UNDERLINE.fullmatch(title) or (match[2] and longer < 0):
            return []
        if self._kind is Kind.TEXT and not (
            0 <= longer <= _LONGER_UNDERLINE and self._is_title(line)
        ):
            return []
        return self._begin_underlined(number, line.strip()[0])

    def _is_title(self, underline: str) -> bool:
        """Whether the line before the underline stands alone and has a letter."""
        before = self._lines[-2] if len(self._lines) > 1 else ""
        is_alone = not before.strip() or before.rstrip() == underline.rstrip()
        return is_alone and any(map(str.isalpha, self._lines[-1]))

    def _begin_underlined(self, number: int, character: str) -> list[Text]:
        """Begin a section whose title is the line before, perhaps below a line of its own."""
        has_overline = len(self._lines) > 1 and self._lines[-2].strip()[:1] == character
        has_overline = has_overline and bool(_UNDERLINE.fullmatch(self._lines[-2]))
        style = character * (2 if has_overline else 1)
        if style not in self._styles:
            # In Markdown, = is of the first level and - of the second.
            if style == "-" and not self._styles:
                self._styles.append("=")
            self._styles.append(style)
        before = 2 if has_overline else 1
        if self._kind is not Kind.MARKDOWN:
            before += self._count_targets(before)
        taken = self._lines[-before:]
        del self._lines[-before:]
        level = min(self._styles.index(style) + 1, _MOST_HEADINGS)
        return self._begin_section(number - before, taken, level, taken[-1].strip())

    def _count_targets(self, after: int) -> int:
        """Return how many lines name the heading that the last lines are, with blank lines."""
        targets = 0
        for count, line in enumerate(reversed(self._lines[:-after]), 1):
            if _TARGET.fullmatch(line):
                targets = count
            elif line.strip():
                break
        return targets

    def _begin_section(self, number: int, lines: list[str], level: int, heading: str) -> list[Text]:
        """Begin a section at a heading that may have begun with some lines before this one."""
        done: list[Text] = []
        if self._has_body:
            done = self._end_section()
            self._begin(number)
        while self._path and self._path[-1][0] >= level:
            self._path.pop()
        if heading:
            self._path.append((level, heading))
            if level == 1:
                self._metadata.setdefault("title", heading)
        self._add_text(number, lines)
        self._headings = len(self._lines) + 1
        return done

    def _may_divide(self, line: str) -> bool:
        """Return whether a long section may end before this line."""
        if self._size_of_lines > _LONGEST_SECTION:
            return True
        is_paragraph = self._is_blank and not self._fence and line[:1].strip()
        return bool(is_paragraph) and rank(line, 0) < _LOW_RANK

    def _begin(self, number: int) -> None:
        self._first = number
        self._lines: list[str] = []
        self._headings = 0
        self._size_of_lines = 0

    def _end_section(self) -> list[Text]:
        """Hold the section that was read, and return the chunks of the one before."""
        done = self._flush()
        path = " > ".join(heading for _, heading in self._path)
        self._held = _Section(self._first, self._lines, self._headings, path)
        return done

    def _flush(self) -> list[Text]:
        """Return the chunks of the section that is held."""
        held, self._held = self._held, None
        if held is None:
            return []
        text = "\n".join(held.lines)
        uncut = sum(len(line) + 1 for line in held.lines[: held.headings])
        metadata = {**self._metadata, "heading": held.path} if held.path else self._metadata
        number, counted = held.first, 0
        texts: list[Text] = []
        for offset, chunk in cut(text, self._size, self._kind, uncut=uncut):
            number += text.count("\n", counted, offset)
            counted = offset
            texts.append((number, chunk, metadata or None, number + chunk.count("\n")))
        return texts


def _parse_front_matter(lines: Iterable[str]) -> dict[str, Any] | None:
    """Return the entries of front matter, as far as they are strings or lists of strings.

    What nests deeper is left out. Return None for lines that are text between two rules.
    """
    found: dict[str, Any] = {}
    name = ""
    for line in lines:
        if name and line.lstrip().startswith("- "):
            items = found.get(name)
            item = _unquoted(line.lstrip()[2:])
            found[name] = [*items, item] if isinstance(items, list) else [item]
        elif match := _ENTRY.fullmatch(line.rstrip()):
            name, value = match[1], (match[2] or "").strip()
            if value.startswith("[") and value.endswith("]"):
                found[name] = [_unquoted(each) for each in value[1:-1].split(",") if each.strip()]
            elif value and value[0] not in "|>{&*!#":
                found[name] = _unquoted(value)
        elif line[:1].strip():
            if line[0] not in "#[]{}|>":
                return None
            name = ""
    return found


def _unquoted(value: str) -> str:
    value = value.strip()
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1]
    return value
