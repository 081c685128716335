"""Files that are not plain text: PDF, Office, EPUB and HTML, read with the extra `files`.

kreuzberg extracts all of these as Markdown, except for PDF: its Markdown leaves out headings that
it takes for running ones, so the plain text of each page is used.
"""

from __future__ import annotations

import re
from contextlib import suppress
from io import BytesIO
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from jtv_cli.sources.chunks import DEFAULT_SIZE, Kind
from jtv_cli.sources.content import NotText, has_extra
from jtv_cli.sources.html import title_and_body
from jtv_cli.sources.sections import cut_document
from jtv_cli.sources.source import InputFormat

if TYPE_CHECKING:
    from collections.abc import Iterator
    from zipfile import ZipFile

    from jtv_cli.sources.blocks import RecordBlock, Text
    from jtv_cli.sources.source import Source

INSTALL = "pip install 'jtv-cli[files]'"
"""The command that installs what reads these files."""

_OFFICE = "application/vnd.openxmlformats-officedocument."
_ZIP = b"PK\x03\x04"
# Office documents with a password, and those of before 2007.
_OLD_OFFICE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_PDF_START = re.compile(rb"(?s).{0,1024}%PDF-")
# A file is held in memory as a whole.
_LARGEST_FILE = 1 << 28

_HTML_CHARSET = re.compile(rb"<meta\b[^>]*?charset\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE)
_CHARSET_WITHIN = 4096
_ERROR_CLASS = re.compile(r"\w+Error: ")
_LONGEST_REASON = 200
_SLIDE = re.compile(r"ppt/slides/slide(\d{1,9})\.xml")
_NOTES = re.compile(r'Target="\.\./notesSlides/([\w.-]+)"')
_SLIDE_TEXT = re.compile(r"<a:t(?: [^>]*)?>([^<]*)</a:t>")
_LARGEST_NOTES = 1 << 22
_DATA_IMAGE = re.compile(r"!\[([^\]\n]*)\]\(data:[^)\s]*\)")


class _Kind(NamedTuple):
    """What a format is called, its media type, and what only its archives contain, if it is one."""

    name: str
    media_type: str
    part: str = ""


_KINDS = {
    InputFormat.PDF: _Kind("a PDF document", "application/pdf"),
    InputFormat.DOCX: _Kind("a Word document", f"{_OFFICE}wordprocessingml.document", "word/"),
    InputFormat.PPTX: _Kind(
        "a PowerPoint presentation", f"{_OFFICE}presentationml.presentation", "ppt/"
    ),
    InputFormat.XLSX: _Kind("an Excel workbook", f"{_OFFICE}spreadsheetml.sheet", "xl/"),
    InputFormat.EPUB: _Kind("an EPUB book", "application/epub+zip", "META-INF/container.xml"),
    InputFormat.HTML: _Kind("an HTML page", "text/html"),
}


class NeedsExtra(NotText):
    """A file that only the extra `files` can read, which is not installed."""


class _Part(NamedTuple):
    """The text of a page, or of a document without pages."""

    text: str
    page: int | None = None


class _Extracted(NamedTuple):
    title: str
    parts: list[_Part]


def check_extractable(source: Source) -> None:
    """Raise NotText unless a source is what its name says, and the extra is installed."""
    name, _, part = _KINDS[source.format]
    if not has_extra():
        raise NeedsExtra(name, hint=f"run: {INSTALL}")
    if source.stream.may_wait:
        return
    found = source.stream.check_beginning(is_text=source.format is InputFormat.HTML)
    if found.startswith(_OLD_OFFICE):
        raise NotText(
            f"{name} with a password, or of an old format",
            hint="save it without a password, in the present format",
        )
    is_right = _PDF_START.match(found) if source.format is InputFormat.PDF else True
    if not is_right or (part and not found.startswith(_ZIP)):
        raise _misnamed(name)


def _misnamed(name: str) -> NotText:
    return NotText(f"not {name}, as its name says", hint="rename it")


def read_extracted(source: Source) -> Iterator[RecordBlock]:
    """Yield the chunks of the text in a file; those of a PDF have the metadata `page`.

    Lines are those of the extracted text.

    Raises NotText if there is no text in it, or it cannot be read.
    """
    size = 0
    read: list[bytes] = []
    for block in source.stream.blocks(is_text=False):
        size += len(block)
        if size > _LARGEST_FILE:
            raise NotText("larger than 256 MiB", hint="split it")
        read.append(block)
    title, parts = _extract(b"".join(read), source.format)
    read.clear()
    if not any(part.text.strip() for part in parts):
        hint = "make it searchable with OCR, as ocrmypdf does"
        raise NotText(
            f"{_KINDS[source.format].name} without text",
            hint=hint if source.format is InputFormat.PDF else "leave it out",
        )
    if source.options.whole:
        text = "\n".join(part.text for part in parts).strip()
        metadata = {"title": title} if title else None
        yield source.block([(1, text, metadata, text.count("\n") + 1)], 0, [])
        return
    for _, texts in groupby(_chunks(source, title, parts), key=lambda text: text[0] // 1000):
        yield source.block(list(texts), 0, [])


def _chunks(source: Source, title: str, parts: list[_Part]) -> Iterator[Text]:
    before = 0
    target = source.options.chunk or DEFAULT_SIZE
    for text, page in parts:
        metadata = {"title": title} if title else {}
        kind = Kind.MARKDOWN if page is None else Kind.TEXT
        lines = text.splitlines()
        about = metadata if page is None else {**metadata, "page": page}
        for line, chunk, more, end_line in cut_document(lines, kind, target, about):
            yield before + line, chunk, more, before + (end_line or line)
        before += len(lines)


def _extract(data: bytes, input_format: InputFormat) -> _Extracted:
    import kreuzberg

    name, media_type, _ = _kind_of(data, _KINDS[input_format])
    title = ""
    if input_format is InputFormat.HTML:
        title, page = title_and_body(_decoded(data))
        data = page.encode()
    options: dict[str, Any] = {
        "output_format": "markdown",
        "use_cache": False,  # it would keep the texts in a directory of its own
        "disable_ocr": True,  # its type stub lacks this one
    }
    if input_format is InputFormat.PDF:
        options["pages"] = kreuzberg.PageConfig(extract_pages=True)
    try:
        config = kreuzberg.ExtractionConfig(**options)
        result = kreuzberg.extract_bytes_sync(data, media_type, config=config)
    except BaseException as error:
        if not (isinstance(error, Exception) or type(error).__name__ == "PanicException"):
            raise
        if "password" in str(error).lower():
            raise NotText(f"{name} with a password", hint="save it without one") from error
        reason = _ERROR_CLASS.sub("", " ".join(str(error).split()))[:_LONGEST_REASON]
        raise NotText(f"{name} that is damaged ({reason})", hint="save it anew") from error
    title = title or str(result.metadata.get("title") or "").strip()
    if input_format is InputFormat.PDF:
        pages = result.pages or []
        return _Extracted(title, [_Part(page["content"], page["page_number"]) for page in pages])
    text = _DATA_IMAGE.sub(r"\1", result.content)
    if media_type == _KINDS[InputFormat.PPTX].media_type:
        text = text.replace(r"\*\*", "")  # its marks of bold text, escaped
        text += "".join(_speaker_notes(data))
    return _Extracted(title, [_Part(text)])


def _kind_of(data: bytes, named: _Kind) -> _Kind:
    """Return what an archive is by its content, whatever its name says.

    Raises NotText if it is something else than these formats.
    """
    from zipfile import BadZipFile, ZipFile

    if not named.part:
        return named
    try:
        with ZipFile(BytesIO(data)) as archive:
            names = archive.namelist()
    except (BadZipFile, ValueError):
        return named  # which is damaged, as the library will say
    for kind in (named, *_KINDS.values()):
        if kind.part and any(name.startswith(kind.part) for name in names):
            return kind
    raise _misnamed(named.name)


def _speaker_notes(data: bytes) -> Iterator[str]:
    """Yield the notes below each slide of a presentation as a section; the library has none."""
    from zipfile import ZipFile

    with ZipFile(BytesIO(data)) as archive:
        slides = {int(found[1]) for name in archive.namelist() if (found := _SLIDE.fullmatch(name))}
        for slide in sorted(slides):
            relations = _read(archive, f"ppt/slides/_rels/slide{slide}.xml.rels")
            if not (notes := _NOTES.search(relations)):
                continue
            shapes = _read(archive, f"ppt/notesSlides/{notes[1]}").split("</p:sp>")
            paragraphs = [
                _unescaped("".join(_SLIDE_TEXT.findall(paragraph)))
                for shape in shapes
                if 'type="body"' in shape  # no numbers of pages, no dates
                for paragraph in shape.split("</a:p>")
            ]
            if text := "\n\n".join(filter(str.strip, paragraphs)):
                yield f"\n\n## Notes of slide {slide}\n\n{text}\n"


def _read(archive: ZipFile, name: str) -> str:
    """Return a part of an archive as text, "" if it cannot be read."""
    from zipfile import BadZipFile
    from zlib import error

    # What zipfile raises for a part that is missing, damaged, encrypted, or compressed anew.
    with suppress(KeyError, OSError, ValueError, RuntimeError, BadZipFile, error):
        if archive.getinfo(name).file_size < _LARGEST_NOTES:
            return archive.read(name).decode(errors="replace")
    return ""


def _decoded(data: bytes) -> str:
    """Return the text of an HTML page, by its own declaration, else as browsers decode it."""
    declared = _HTML_CHARSET.search(data, 0, _CHARSET_WITHIN)
    for charset in (declared[1].decode("ascii") if declared else "utf-8", "utf-8"):
        try:
            return data.decode(charset).removeprefix("\ufeff")
        except (LookupError, UnicodeDecodeError):
            continue
    return data.decode("cp1252", errors="replace")


def _unescaped(text: str) -> str:
    from html import unescape

    return unescape(text)
