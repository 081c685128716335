"""Records with fields: some of them are the text, the others are its metadata."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jtv_cli.sources.blocks import BadRecord
from jtv_cli.text import is_metadata, may_nest_deeply

if TYPE_CHECKING:
    from collections.abc import Callable

    from jtv_cli.sources.blocks import RecordBlock, Text
    from jtv_cli.sources.source import Source

_LARGEST_DIGITS = 20  # of an integer of 64 bits, with its sign
_ZEROS = bytes.maketrans(b"123456789", b"000000000")
_LONG_NUMBER = b"0" * 19


class RecordBuilder:
    """Gathers the records of a source into blocks."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._fields: tuple[str, ...] = ()
        self._only_field: str | None = None
        self._clear()

    def add(self, line: int, record: dict[str, Any]) -> None:
        """Add a record, which loses its text fields; the others become metadata.

        Raises UsageError if the first record lacks the text fields.
        """
        if not self._fields:
            self._fields = self._source.choose_text_fields(record)
            self._only_field = self._fields[0] if len(self._fields) == 1 else None
        if self._only_field is None:
            text = self._joined(line, record)
            if text is None:
                return
        else:
            text = record.pop(self._only_field, None)
            if not isinstance(text, str):
                self.add_bad(line, f'field "{self._only_field}" is missing or not text')
                return
        if text := text.strip():
            self._texts.append((line, text, record or None, None))
        else:
            self._empty += 1

    def add_json(self, line: int, data: bytes, loads: Callable[[bytes], Any]) -> None:
        """Add a record that is a JSON object; anything else is a bad record.

        `loads` is orjson's, which the caller imports once rather than for every record.
        """
        if _LONG_NUMBER in data.translate(_ZEROS) and _has_large_integer(data):
            self.add_bad(line, "it has an integer of more than 64 bits")
            return
        try:
            record = loads(data)
        except ValueError as error:
            self.add_bad(line, f"not JSON ({getattr(error, 'msg', error)})")
            return
        if not isinstance(record, dict):
            self.add_bad(line, "not a JSON object")
        elif may_nest_deeply(data) and not is_metadata(record):
            self.add_bad(line, "its metadata is nested too deeply")
        else:
            self.add(line, record)

    def add_empty(self) -> None:
        """Count a record without content."""
        self._empty += 1

    def add_bad(self, line: int, reason: str) -> None:
        """Add a record that is skipped, and why."""
        self._bad.append(BadRecord(line, reason))

    def block(self) -> RecordBlock:
        """Return the records gathered since the last block."""
        block = self._source.block(self._texts, self._empty, self._bad)
        self._clear()
        return block

    def _joined(self, line: int, record: dict[str, Any]) -> str | None:
        """Return the texts of several fields, or None after adding a bad record.

        Some of the fields may be missing or null.
        """
        self._source.unseen_fields.difference_update(record)
        values = {name: record.pop(name, None) for name in self._fields}
        texts = [value for value in values.values() if value is not None]
        if not texts:
            self.add_bad(line, f"fields {' and '.join(values)} are missing")
        for name, value in values.items():
            if not isinstance(value, str | None):
                self.add_bad(line, f'field "{name}" is not text')
                return None
        return "\n".join(texts) if texts else None

    def _clear(self) -> None:
        self._texts: list[Text] = []
        self._empty = 0
        self._bad: list[BadRecord] = []


def _has_large_integer(data: bytes) -> bool:
    """Return whether JSON has an integer that orjson would turn into a float."""
    import json

    try:
        json.loads(data, parse_int=_refuse_large)
    except OverflowError:
        return True
    except (ValueError, RecursionError):  # not JSON, or nested too deeply: reported elsewhere
        return False
    return False


def _refuse_large(digits: str) -> None:
    if len(digits) > _LARGEST_DIGITS or not -(1 << 63) <= int(digits) < 1 << 64:
        raise OverflowError
