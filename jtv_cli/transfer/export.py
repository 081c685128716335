"""Write a table as an export, and read one; its closing record proves it complete."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from jtv_cli.errors import UsageError
from jtv_cli.transfer.copy import details_of
from jtv_cli.transfer.format import (
    Header,
    decode_document,
    decode_header,
    decode_source,
    encode_document,
    encode_header,
    encode_source,
    searchable,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from jtv_cli.records import StoredDocument, TableSpec
    from jtv_cli.stores import Table


def export(
    table: Table,
    *,
    vectors: bool,
    skipped: Callable[[StoredDocument, str], None],
    documents: Iterable[StoredDocument] | None = None,
) -> Iterator[bytes]:
    """Yield the lines of an export of a table, or of those of its documents that are given.

    With `vectors`, a document without a usable vector is left out, and `skipped` is called
    with it and the reason.
    """
    import orjson

    header = encode_header(Header(table.spec, vectors))
    digest, count = hashlib.sha256(header), 0
    yield header
    is_part = documents is not None
    documents = table.read(vectors=vectors) if documents is None else documents
    sources: set[str | None] = set()
    for document in searchable(documents, skipped) if vectors else documents:
        if is_part:
            sources.update(occurrence.source for occurrence in document.occurrences)
        line = encode_document(document)
        digest.update(line)
        count += 1
        yield line
    # Last, so that an import creates the sources in the order of their first documents.
    for source, details in details_of(table).items():
        if is_part and source not in sources:
            continue
        line = encode_source(source, details)
        digest.update(line)
        yield line
    closing = {"documents": count, "sha256": digest.hexdigest()}
    yield orjson.dumps(closing, option=orjson.OPT_APPEND_NEWLINE)


class ExportReader:
    """Reads an export from its lines, the header at once. Errors name it by `path`.

    Raises UsageError if it is no export, was written by a newer jtv, or has no vectors.
    """

    def __init__(self, path: str, lines: Iterator[bytes]) -> None:
        self._path = path
        self._lines = lines
        self._digest = hashlib.sha256()
        self._number = 0
        self.source_details: dict[str, Mapping[str, Any]] = {}
        """How sources were read; complete once all documents have been read."""
        line = self._read_line() or b""
        header = decode_header(line, path)
        self._digest.update(line + b"\n")
        if not header.has_vectors:
            raise UsageError(
                f"{path} has no vectors, and jtv import embeds nothing",
                hint="export the table with --vectors, or embed its texts:"
                " jq -c 'select(.content) | (.occurrences[].metadata // {}) + {content}'"
                " | jtv ingest - --input jsonl --text-field content",
            )
        self.spec: TableSpec = header.spec

    def documents(self) -> Iterator[StoredDocument]:
        """Yield the documents, checked one by one; the closing record proves them complete.

        Raises UsageError that names the first line that is wrong.
        """
        count = 0
        while "sha256" not in (record := self._record()):
            try:
                if "source" in record:
                    source, details = decode_source(record)
                    self.source_details[source] = details
                    continue
                document = decode_document(record, self.spec.dimensions)
            except ValueError as error:
                raise self._broken(str(error)) from None
            yield document
            count += 1
        self._check_end(record, count)

    def _record(self) -> Mapping[str, Any]:
        """Return the next record; the digest is of all lines but the closing one."""
        import orjson

        line = self._read_line()
        if line is None:
            raise self._broken("the export is truncated: its closing record is missing")
        try:
            record = orjson.loads(line)
        except orjson.JSONDecodeError:
            raise self._broken("not JSON: the export is truncated or was changed") from None
        if not isinstance(record, dict):
            raise self._broken("not a document record")
        if "sha256" not in record:
            self._digest.update(line + b"\n")
        return record

    def _check_end(self, closing: Mapping[str, Any], count: int) -> None:
        if closing.get("documents") != count:
            raise self._broken(
                f"the export has {count} documents, but should have {closing.get('documents')}"
            )
        if closing["sha256"] != self._digest.hexdigest():
            raise self._broken("the export was changed: its SHA-256 does not match")
        if self._read_line() is not None:
            raise self._broken("there is more after the closing record")

    def _read_line(self) -> bytes | None:
        self._number += 1
        return next(self._lines, None)

    def _broken(self, reason: str) -> UsageError:
        return UsageError(f"{self._path}:{self._number}: {reason}", hint="export the table again")
