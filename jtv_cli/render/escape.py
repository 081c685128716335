r"""Escape the characters of a text that could drive a terminal or hide in it.

Escaped are, whatever the text is for:

- C0 and C1 control characters and DEL, which are terminal commands;
- bidirectional marks and overrides, which reorder what stands around them;
- U+2028 and U+2029, which some terminals and pagers take for line ends;
- characters without a glyph: zero-width spaces and joiners, the byte order mark, soft
  hyphens, fillers, variation selectors, tag characters. Two names could look alike, and a
  message could hide instructions for a program that reads it.
- lone surrogates, which no encoding can write.

Some writing needs joiners and selectors: emoji are sequences of them, Persian and the
scripts of India use them within words, Japanese and Mongolian choose glyphs by them. A stored
text keeps these where they belong; a message has no use for them.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# Character classes of regular expressions. This one is Unicode 16's Default_Ignorable_Code_Point
# with the control characters, the line separators, bidirectional and annotation marks.
_UNSAFE = (
    r"\x00-\x09\x0b-\x1f\x7f-\x9f"  # all but the newline, which is escaped first where it must be
    r"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    r"\u2060-\u206f\u3164\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    r"\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
# Emoji and the older symbols that emoji sequences are made of.
_EMOJI = (
    r"\xa9\xae\u203c\u2049\u2122\u2139\u2190-\u21ff\u2300-\u23ff\u24c2\u25a0-\u27bf\u2934\u2935"
    r"\u2b00-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff"
)
# Arabic to Malayalam and Sinhala, Myanmar, Khmer, Mongolian: what joins within a word there
# is chosen by U+200C and U+200D.
_JOINING = r"\u0600-\u08ff\u0900-\u0dff\u1000-\u109f\u1780-\u17ff\u1800-\u18af"
_HAN = r"\u2e80-\u2fdf\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
# The flags of England, Scotland and Wales are the only sequences of tags in use.
_FLAGS = "|".join(
    "".join(chr(0xE0000 + ord(letter)) for letter in region) + "\U000e007f"
    for region in ("gbeng", "gbsct", "gbwls")
)
_SEQUENCES = (
    rf"(?<=\U0001f3f4)(?:{_FLAGS})",
    rf"(?<=[{_EMOJI}\ufe0f])\u200d(?=[{_EMOJI}])",
    rf"(?<=[{_EMOJI}])[\ufe0e\ufe0f]",
    r"(?<=[0-9#*])\ufe0f(?=\u20e3)",
    rf"(?<=[{_JOINING}])[\u200c\u200d](?![{_UNSAFE}])",
    rf"(?<=[{_HAN}])[\ufe00-\ufe02\U000e0100-\U000e01ef]",
    r"(?<=[\u1820-\u18aa])[\u180b-\u180d\u180f]",
)
_SEPARATORS = (("\t", r"\t"), ("\n", r"\n"), ("\r", r"\r"))


def escape(text: str, *, keep_sequences: bool = False, keep_newlines: bool = False) -> str:
    r"""Return the text with unsafe characters as `\t`, `\n`, `\r` or `\uXXXX`, as JSON has them.

    A character beyond 16 bits becomes a pair, `\uXXXX\uXXXX`. `keep_sequences` is for stored
    text, `keep_newlines` for what has several lines.
    """
    if text.isascii() and text.isprintable():
        return text
    text = escape_separators(text, keep_newlines=keep_newlines)
    sequence = _sequences() if keep_sequences else None

    def escaped(match: re.Match[str]) -> str:
        pieces, at = [], match.start()
        while at < match.end():
            if found := sequence and sequence.match(text, at):
                pieces.append(found[0])
                at = found.end()
            else:
                pieces.append(_escaped(text[at]))
                at += 1
        return "".join(pieces)

    return _unsafe().sub(escaped, text)


def escape_separators(text: str, *, keep_newlines: bool = False) -> str:
    r"""Return the text with tabs and line ends as `\t`, `\n` and `\r`."""
    for character, escaped in _SEPARATORS:
        if not (keep_newlines and character == "\n"):
            text = text.replace(character, escaped)
    return text


def tab_separated(fields: Iterable[str]) -> str:
    """Return the fields of a record on one line."""
    return "\t".join(map(escape_separators, fields))


# Both are compiled with the first text that needs them: that takes milliseconds, and most
# commands have none.
@lru_cache
def _unsafe() -> re.Pattern[str]:
    return re.compile(f"[{_UNSAFE}]+")


@lru_cache
def _sequences() -> re.Pattern[str]:
    return re.compile("|".join(_SEQUENCES))


def _escaped(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
