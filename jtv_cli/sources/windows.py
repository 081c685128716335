"""What the readers of all formats give: records, some of them at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    Text = tuple[int, str, Mapping[str, Any] | None]
    """Its line, itself without surrounding white space, and its metadata."""


class BadRecord(NamedTuple):
    """A record that is no text: the line where it begins, and why."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Window:
    """Some records of one source, read together.

    `path` is what the user calls the source, `source` what occurrences record. Records
    that are nothing but white space are only counted. `end` is how many bytes of all
    the input were read when this was.
    """

    source: str | None
    path: str
    texts: list[Text]
    empty: int
    bad: list[BadRecord]
    end: int = 0

    def before(self, line: int) -> Window:
        """Return the texts that stand before a line, and nothing else."""
        texts = [text for text in self.texts if text[0] < line]
        return replace(self, texts=texts, empty=0, bad=[])
