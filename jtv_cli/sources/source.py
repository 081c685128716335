"""An open source: its stream, its name, how it is read, and its lines."""

from __future__ import annotations

import codecs
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from jtv_cli.errors import UsageError
from jtv_cli.records import STDIN
from jtv_cli.sources.blocks import RecordBlock

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from jtv_cli.sources.blocks import BadRecord, Text
    from jtv_cli.sources.content import NotText
    from jtv_cli.sources.directory import Selection
    from jtv_cli.sources.stream import FileState, Stream

LARGEST_RECORD = 1 << 26
"""The largest line or record in bytes, 64 MiB: longer ones are skipped.

Without a limit, a file without line ends would have to fit into memory."""

RECORD_TOO_LARGE = "it is larger than 64 MiB"

_DEFAULT_TEXT_FIELDS = ("text", "content")


class InputFormat(str, Enum):
    """What the records of a source are."""

    LINES = "lines"
    MARKDOWN = "markdown"
    RST = "rst"
    TEXT = "text"
    CODE = "code"
    JSONL = "jsonl"
    JSON = "json"
    CSV = "csv"
    TSV = "tsv"
    PDF = "pdf"
    DOCX = "docx"
    PPTX = "pptx"
    XLSX = "xlsx"
    EPUB = "epub"
    HTML = "html"

    @property
    def has_fields(self) -> bool:
        """Whether records have named fields."""
        return not (self is InputFormat.LINES or self.is_document)

    @property
    def is_document(self) -> bool:
        """Whether the source as a whole is one document, which is cut into chunks."""
        plain = (InputFormat.MARKDOWN, InputFormat.RST, InputFormat.TEXT, InputFormat.CODE)
        return self in plain or self.is_extracted

    @property
    def is_extracted(self) -> bool:
        """Whether the extra `files` is needed to extract its text."""
        return self in (
            InputFormat.PDF,
            InputFormat.DOCX,
            InputFormat.PPTX,
            InputFormat.XLSX,
            InputFormat.EPUB,
            InputFormat.HTML,
        )

    @property
    def is_delimited(self) -> bool:
        """Whether records are rows whose fields a character separates."""
        return self in (InputFormat.CSV, InputFormat.TSV)


class ReadOptions(NamedTuple):
    """How the user wants sources to be read; what is None or empty is derived.

    `name` is what occurrences record. `text_fields` hold the text of a record, joined by
    newlines if there are several. `selection` chooses the files of directories; None where
    directories cannot be given. `delimiter` separates the fields of CSV and TSV; without
    `header`, the first record is data and fields are called 1, 2 and so on. `chunk` is the
    target size of the chunks of a document in estimated tokens, `whole` leaves it uncut.
    """

    name: str | None = None
    format: InputFormat | None = None
    text_fields: Sequence[str] = ()
    selection: Selection | None = None
    paragraphs: bool = False
    delimiter: str | None = None
    header: bool = True
    chunk: int | None = None
    whole: bool = False

    @property
    def is_text_undecided(self) -> bool:
        """Whether nothing says if plain text is read by lines, by paragraphs or in chunks."""
        return self.format is None and self.chunk is None and not (self.paragraphs or self.whole)


class LineBlock(NamedTuple):
    """Lines that were read together, without their ends, and the number of the first.

    `is_too_large` marks a line beyond the limit, which stands alone, as b"".
    """

    start: int
    lines: list[bytes]
    is_too_large: bool = False


class Source:
    """An open source. `path` is as the user gave it, `name` what its occurrences record.

    `is_file` says that the name is the path of a file rather than a name the user chose.
    `text_fields` are the fields with the text and `delimiter` what separates fields, once
    they are known, and `unseen_fields` the text fields that no record had so far.
    `lines_read` is the number of whole lines read so far, `texts_read` that of texts, and
    `bad_read` that of records that are skipped. `state` is that of a file that was read to its
    end and did not change meanwhile. `problem` says why the source is skipped as a whole, if it
    is. `is_guess` says that the format of plain text was decided by its beginning, `is_kept`
    that the source is read as before, not as it would be by default.
    """

    def __init__(
        self, stream: Stream, name: str | None, input_format: InputFormat, options: ReadOptions
    ) -> None:
        self.path = stream.path
        self.stream = stream
        self.name = name
        self.format = input_format
        self.options = options
        self.is_file = options.name is None and self.path != STDIN
        self.delimiter: str | None = None
        self.text_fields: tuple[str, ...] = ()
        self.unseen_fields = set(options.text_fields)
        self.lines_read = 0
        self.texts_read = 0
        self.bad_read = 0
        self.state: FileState | None = None
        self.problem: NotText | None = None
        self.is_guess = False
        self.is_kept = False

    @property
    def input_option(self) -> str:
        """The option with which standard input is read as this file is, if one is needed."""
        return "" if self.format is InputFormat.LINES else f"--input {self.format.value}"

    def choose_text_fields(self, fields: Collection[str]) -> tuple[str, ...]:
        """Return the fields with the text, given those of the first record.

        Raises UsageError, with the names of the fields, if none of them can be the text.
        """
        self.unseen_fields.difference_update(fields)
        wanted = tuple(self.options.text_fields)
        if not wanted:
            wanted = next(((name,) for name in _DEFAULT_TEXT_FIELDS if name in fields), ())
            if not wanted and not self.options.header and len(fields) == 1:
                wanted = tuple(fields)
        if not wanted or len(self.unseen_fields) == len(wanted):
            raise self.no_field(wanted or _DEFAULT_TEXT_FIELDS, fields)
        self.text_fields = wanted
        return wanted

    def no_field(self, wanted: Iterable[str], fields: Iterable[str]) -> UsageError:
        """Return the error that none of the wanted fields is among those that there are."""
        return UsageError(
            f"{self.path} has no field {' or '.join(wanted)}",
            hint=f"choose one with --text-field NAME; the fields are: {', '.join(fields)}",
        )

    def block(self, texts: list[Text], empty: int, bad: list[BadRecord]) -> RecordBlock:
        """Return records that were just read as a block."""
        return RecordBlock(self.name, self.path, texts, empty, bad, self.stream.consumed)

    def lines(self, largest: int = LARGEST_RECORD) -> Iterator[LineBlock]:
        r"""Yield the lines as they come, waiting for one line and never for more.

        Lines end with \n, or with \r in a file whose first block has no \n. Raises
        DamagedData and NotText.
        """
        self.lines_read = 0
        unfinished: list[bytes] = []
        size = 0
        ends_with_cr: bool | None = None
        mark = codecs.BOM_UTF8
        for block in self.stream.blocks():
            if ends_with_cr is None:
                # A \r at the very end may be half of a \r\n.
                ends_with_cr = b"\n" not in block and b"\r" in block[:-1]
            *lines, rest = (block.replace(b"\r", b"\n") if ends_with_cr else block).split(b"\n")
            if lines:
                start = self.lines_read + 1
                if size > largest:
                    self.lines_read += 1
                    yield LineBlock(start, [b""], is_too_large=True)
                    del lines[0]
                    start += 1
                else:
                    lines[0] = b"".join((*unfinished, lines[0])).removeprefix(mark)
                unfinished.clear()
                size, mark = 0, b""
                self.lines_read += len(lines)
                if lines:
                    yield LineBlock(start, lines)
            if rest:
                size += len(rest)
                if size > largest:
                    unfinished.clear()
                else:
                    unfinished.append(rest)
        if size > largest:
            yield LineBlock(self.lines_read + 1, [b""], is_too_large=True)
        elif unfinished:
            yield LineBlock(self.lines_read + 1, [b"".join(unfinished).removeprefix(mark)])
