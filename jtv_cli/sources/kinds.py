"""What a file is read as: decided by its name or, for plain text, by its beginning."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from jtv_cli.records import STDIN
from jtv_cli.sources.source import InputFormat

if TYPE_CHECKING:
    from jtv_cli.sources.source import ReadOptions

_SUFFIXES = {
    InputFormat.JSONL: ".jsonl .ndjson",
    InputFormat.JSON: ".json",
    InputFormat.CSV: ".csv",
    InputFormat.TSV: ".tsv",
    InputFormat.MARKDOWN: ".md .markdown .mdown .mkd .mdx .qmd .rmd",
    InputFormat.RST: ".rst .rest",
    InputFormat.PDF: ".pdf",
    InputFormat.DOCX: ".docx",
    InputFormat.PPTX: ".pptx",
    InputFormat.XLSX: ".xlsx",
    InputFormat.EPUB: ".epub",
    InputFormat.HTML: ".html .htm .xhtml",
    InputFormat.CODE: (
        ".awk .bash .bat .c .cc .clj .cpp .cs .css .cxx .dart .el .erl .ex .exs .f90 .fish .go"
        " .groovy .h .hpp .hs .java .jl .js .jsx .kt .kts .lisp .lua .m .mjs .ml .nim .nix .pas"
        " .php .pl .pm .proto .ps1 .py .pyi .r .rb .rkt .rs .scala .scm .scss .sh .sql .swift .tcl"
        " .tex .tf .toml .ts .tsx .v .vb .vhdl .vim .vue .xml .yaml .yml .zig .zsh"
    ),
}
_BY_SUFFIX = {
    suffix: input_format for input_format, each in _SUFFIXES.items() for suffix in each.split()
}
# How the source of a man page begins: with a comment or its title.
_MAN_PAGE = (b'.\\"', b"'\\\"", b".TH ")
# Of plain text whose lines are documents, half of the lines have fewer bytes than this.
_SHORT_LINE = 200


def guess_format(path: str, options: ReadOptions) -> InputFormat:
    """Return what a file is read as, as far as its name and the options say.

    LINES is for plain text, which may be a document: see `is_document_text`.
    """
    if options.format is not None:
        if options.chunk is not None and options.format is InputFormat.LINES:
            return InputFormat.TEXT
        return options.format
    name = path.lower().removesuffix(".gz")
    found = _BY_SUFFIX.get(Path(name).suffix, InputFormat.LINES)
    if options.paragraphs and not found.has_fields:
        return InputFormat.LINES
    if (options.chunk is not None or options.whole) and found is InputFormat.LINES:
        return InputFormat.TEXT
    return found


def is_document_text(path: str, start: bytes) -> bool:
    """Return whether a plain text file is a document rather than a document on each line.

    A document has long lines, or blank lines between its paragraphs, or is a man page. `start` is
    its beginning.
    """
    name = path.lower().removesuffix(".gz")
    if path == STDIN or name.endswith(".log"):
        return False
    if start.startswith(_MAN_PAGE):
        return True
    lines = [line.strip() for line in start.replace(b"\r\n", b"\n").strip().splitlines()]
    return b"" in lines or (len(lines) > 0 and median(map(len, lines)) >= _SHORT_LINE)
