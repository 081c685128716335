"""A temporary file of what was read: stdin cannot be read twice, and a file may change."""

from __future__ import annotations

import struct
import tempfile
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from jtv_cli.errors import StoreError
from jtv_cli.text import text_hash

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jtv_cli.pipeline.removal import LineHash
    from jtv_cli.sources.blocks import RecordBlock

_RECORD = struct.Struct("<q32s")
_RECORDS_PER_READ = 1000


class Spool:
    """Stores line numbers and text hashes, 40 bytes each, in a temporary file.

    Raises StoreError where the file cannot be written.
    """

    def __init__(self) -> None:
        with _translated():
            self._file = tempfile.TemporaryFile(prefix="jtv-")  # noqa: SIM115
        self._ends: dict[str | None, tuple[int, int]] = {}

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # what was not written yet is no longer needed
            self._file.close()

    def keeping(self, blocks: Iterable[RecordBlock]) -> Iterator[RecordBlock]:
        """Yield the blocks and store what is in them. Those of a source are consecutive."""
        for block in blocks:
            records = [_RECORD.pack(line, text_hash(text)) for line, text, _, _ in block.texts]
            with _translated():
                start, _ = self._ends.setdefault(block.source, (self._file.tell(),) * 2)
                self._file.write(b"".join(records))
                self._ends[block.source] = start, self._file.tell()
            yield block

    def reads(self, source: str | None) -> Iterator[list[LineHash]]:
        """Yield what was read in a source, some at a time."""
        start, end = self._ends.get(source, (0, 0))
        step = _RECORDS_PER_READ * _RECORD.size
        for position in range(start, end, step):
            with _translated():
                self._file.seek(position)
                data = self._file.read(min(step, end - position))
            yield list(_RECORD.iter_unpack(data))


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"cannot write a temporary file: {error.strerror or error}",
            hint="free some space, or set TMPDIR to another directory",
        ) from error
