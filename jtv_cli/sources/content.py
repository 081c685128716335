"""Recognize content that is not UTF-8 text by its first bytes."""

from __future__ import annotations

import codecs
import shlex
from importlib.util import find_spec

from jtv_cli.errors import UsageError
from jtv_cli.records import STDIN
from jtv_cli.text import printable

# Signatures of common formats whose first block need not contain a NUL byte, with what the
# format is called and a command that writes the text in FILE to stdout, if there is one.
# The numbers are those of file(1).
_SIGNATURES: tuple[tuple[bytes, str, str], ...] = (
    (b"%PDF-", "a PDF document", "pdftotext FILE -"),
    (b"{\\rtf", "an RTF document", "pandoc --from rtf --to plain FILE"),
    (b"PK\x03\x04", "a ZIP archive or an Office document", ""),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Office document", ""),
    (b"\x1f\x8b\x08", "compressed with gzip", "gunzip -c FILE"),
    (b"BZh91AY&SY", "compressed with bzip2", "bzip2 -dc FILE"),
    (b"\xfd7zXZ\x00", "compressed with xz", "xz -dc FILE"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "zstd -dc FILE"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", ""),
    (b"Rar!\x1a\x07", "a RAR archive", ""),
    (b"\x89PNG\r\n\x1a\n", "a PNG image", ""),
    (b"\xff\xd8\xff", "a JPEG image", ""),
    (b"GIF87a", "a GIF image", ""),
    (b"GIF89a", "a GIF image", ""),
    (b"\x7fELF", "a program", ""),
    (b"SQLite format 3\x00", "an SQLite database", ""),
)
# What to do about those that jtv can read, where their name does not say what they are.
_HINTS = {
    b"%PDF-": "store its text with: jtv ingest --input pdf FILE",
    b"PK\x03\x04": "store the text of an Office document with: jtv ingest --input docx FILE",
}


class NotText(Exception):
    """Content that is not text: what it is, and a command that writes the text in FILE.

    `has_text` says that there is text in it, which jtv cannot read. `hint` is used without a
    command, and with the extra `files` if it names FILE. `is_fatal` says that a file the user
    named stops the command before anything is done.
    """

    def __init__(
        self, what: str, command: str = "", *, hint: str = "", is_fatal: bool = False
    ) -> None:
        super().__init__(what)
        self.what = what
        self.is_fatal = is_fatal
        self.has_text = bool(command) and not what.startswith("compressed")
        self._command = command
        self._hint = hint or "convert it to UTF-8 text first"

    def as_error(self, path: str, options: str = "") -> UsageError:
        """Return the error that a file or standard input is not text."""
        return UsageError(f"{path} is {self.what}", hint=self.hint(path, options))

    def hint(self, path: str, options: str = "") -> str:
        """Return how to ingest the text in a file, with the options of `jtv ingest` for it."""
        if path == STDIN:
            return self._hint
        name = shlex.quote(printable(path))
        # A name that begins with a hyphen would be taken for an option.
        file = f"./{name}" if name.startswith("-") else name
        is_readable = "FILE" in self._hint and has_extra()
        if is_readable or not self._command or path.lower().endswith(".gz"):
            return self._hint.replace("FILE", file)
        command = f"{self._command.replace('FILE', file)} | jtv ingest - --source {name}"
        return f"{command} {options}".rstrip()


def has_extra() -> bool:
    """Return whether the extra `files` is installed, with which jtv reads PDF and Office."""
    return all(find_spec(name) for name in ("kreuzberg", "selectolax"))


def check_is_text(start: bytes) -> None:
    """Raise NotText unless the first bytes of a file can be those of UTF-8 text."""
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise _utf16("UTF-16", is_fatal=True)
    for signature, what, command in _SIGNATURES:
        if start.startswith(signature):
            raise NotText(what, command, hint=_HINTS.get(signature, ""))
    if b"\0" not in start:
        return
    # Of UTF-16 text that is mostly ASCII, every other byte is zero.
    even, odd = start[::2].count(0), start[1::2].count(0)
    if 3 * abs(even - odd) > len(start):
        raise _utf16("UTF-16BE" if even > odd else "UTF-16LE")
    raise NotText("a binary file (it contains a NUL byte)")


def _utf16(encoding: str, *, is_fatal: bool = False) -> NotText:
    command = f"iconv -f {encoding} -t UTF-8 FILE"
    return NotText("UTF-16 text, not UTF-8", command, is_fatal=is_fatal)
