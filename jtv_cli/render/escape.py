"""Texts made safe to show: nothing in them may drive a terminal."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# C0 and C1 controls and DEL; the marks and overrides that reorder what stands around them.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_SEPARATORS = {ord("\t"): r"\t", ord("\n"): r"\n", ord("\r"): r"\r"}


def escape_controls(text: str) -> str:
    r"""Return the text with every control character as `\t`, `\n`, `\r` or `\uXXXX`."""
    return _CONTROLS.sub(_escaped, text)


def escape_separators(text: str) -> str:
    r"""Return the text with tabs and line ends as `\t`, `\n` and `\r`."""
    return text.translate(_SEPARATORS)


def tab_separated(fields: Iterable[str]) -> str:
    """Return the fields of a record on one line."""
    return "\t".join(map(escape_separators, fields))


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return _SEPARATORS.get(code) or f"\\u{code:04x}"
