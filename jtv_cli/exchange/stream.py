"""An export as a whole: written with what proves that it is whole, read with an eye on that."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from jtv_cli.errors import BrokenExport, UsageError
from jtv_cli.exchange.documents import decode_document, encode_document, searchable
from jtv_cli.exchange.header import Header, decode_header, encode_header

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import BinaryIO

    from jtv_cli.records import StoredDocument, TableSpec
    from jtv_cli.stores import Table

# No header is longer; what has no line end within is something else.
_HEADER_BYTES = 1 << 16


def export(
    table: Table, *, vectors: bool, skipped: Callable[[StoredDocument], None]
) -> Iterator[bytes]:
    """Yield a table as an export, line by line.

    With `vectors`, documents whose vector cannot be searched for are left out, and
    `skipped` hears of them.
    """
    import orjson

    header = encode_header(Header(table.spec, vectors))
    digest, count = hashlib.sha256(header), 0
    yield header
    documents = table.read(vectors=vectors)
    for document in searchable(documents, skipped) if vectors else documents:
        line = encode_document(document)
        digest.update(line)
        count += 1
        yield line
    closing = {"documents": count, "sha256": digest.hexdigest()}
    yield orjson.dumps(closing, option=orjson.OPT_APPEND_NEWLINE)


class ExportReader:
    """Reads an export, whose header it reads at once. `path` is what errors call it.

    Raises BrokenExport where it is none, was made by a newer jtv, or has no vectors.
    """

    def __init__(self, path: str, stream: BinaryIO) -> None:
        self._path = path
        self._stream = stream
        self._digest = hashlib.sha256()
        self._number = 0
        line = self._read_line(_HEADER_BYTES)
        header = decode_header(line, path)
        self._digest.update(line)
        if not header.has_vectors:
            raise BrokenExport(
                f"{path} has no vectors, and to import pays for none",
                hint="export the table with --vectors, or embed its texts:"
                " jq -r '.content // empty' | jtv ingest -",
            )
        self.spec: TableSpec = header.spec

    def documents(self) -> Iterator[StoredDocument]:
        """Yield the documents, each checked, and in the end whether these were all.

        Raises BrokenExport, with the line, for the first thing that is wrong.
        """
        count = 0
        while "sha256" not in (record := self._record()):
            try:
                yield decode_document(record, self.spec.dimensions)
            except ValueError as error:
                raise self._broken(str(error)) from None
            count += 1
        self._check_end(record, count)

    def _record(self) -> Mapping[str, Any]:
        """Return the next line as an object; the digest is of all lines but the closing one."""
        import orjson

        line = self._read_line()
        if not line:
            raise self._broken("the export was cut: its closing record is missing")
        try:
            record = orjson.loads(line)
        except orjson.JSONDecodeError:
            is_cut = not line.endswith(b"\n")
            raise self._broken("the export was cut here" if is_cut else "not JSON") from None
        if not isinstance(record, dict):
            raise self._broken("this is no record of a document")
        if "sha256" not in record:
            self._digest.update(line)
        return record

    def _check_end(self, closing: Mapping[str, Any], count: int) -> None:
        if closing.get("documents") != count:
            raise self._broken(
                f"the export had {closing.get('documents')} documents, {count} are left"
            )
        if closing["sha256"] != self._digest.hexdigest():
            raise self._broken("the export was changed: its digest is another")
        if self._read_line():
            raise self._broken("something follows the closing record")

    def _read_line(self, limit: int = -1) -> bytes:
        self._number += 1
        try:
            return self._stream.readline(limit)
        except OSError as error:
            raise UsageError(f"cannot read {self._path}: {error.strerror or error}") from error

    def _broken(self, reason: str) -> BrokenExport:
        return BrokenExport(f"{self._path}:{self._number}: {reason}", hint="export the table again")
