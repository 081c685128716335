"""The documents of a table as the input of an ingest, to be embedded with another model."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from jtv_cli.batching import batched_by_weight
from jtv_cli.records import SourceLine
from jtv_cli.text import too_long

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import TypeAlias

    from jtv_cli.records import Occurrence, StoredDocument
    from jtv_cli.sources.blocks import RecordBlock, Text
    from jtv_cli.stores import Table

    Block: TypeAlias = "RecordBlock | DocumentBlock"
    """What an ingest reads."""

# Documents in a block, and their characters: few enough to hold in memory.
_DOCUMENTS = 512
_CHARACTERS = 1 << 20


class DocumentBlock(NamedTuple):
    """Some documents of a table, with all their occurrences, that were read together.

    It is to an ingest what a RecordBlock is. `bad` are documents that the table cannot store,
    and the reason. `end` is how many documents were read when the block was. No document is
    empty, and they are in no `span` of one source.
    """

    documents: Sequence[StoredDocument]
    end: int
    bad: Sequence[tuple[StoredDocument, str]] = ()
    empty: int = 0
    span: None = None

    @property
    def texts(self) -> list[Text]:
        """The texts, without where they were read."""
        return [(0, document.text, None, None) for document in self.documents]

    def within(self, most_bytes: int | None) -> DocumentBlock:
        """Return the block with documents of more bytes among the bad ones; None is no limit."""
        if most_bytes is None:
            return self
        fitting, bad = [], [*self.bad]
        for document in self.documents:
            beside = [None, *(where.metadata for where in document.occurrences)]
            reasons = (too_long(document.text, most_bytes, metadata) for metadata in beside)
            if reason := next(filter(None, reasons), None):
                bad.append((document, reason))
            else:
                fitting.append(document)
        return self._replace(documents=fitting, bad=bad)

    def to_first_bad(self) -> DocumentBlock:
        """Return the first bad document and those before it; there must be one."""
        first = self.bad[0]
        before = [document for document in self.documents if document.id < first[0].id]
        return self._replace(documents=before, bad=[first])

    def bad_places(self) -> Iterator[tuple[str, str]]:
        """Yield the id of each bad document, in words, and the reason."""
        for document, reason in self.bad:
            yield f"document {document.id}", reason

    def occurrences_of(self, row: int) -> list[Occurrence]:
        """Return where the text of a row was read."""
        return list(self.documents[row].occurrences)

    def place_of(self, row: int) -> str:
        """Return what a message calls the text of a row."""
        return f"document {self.documents[row].id}"

    def stored_lines(
        self, ids: Mapping[bytes, int], hashes: Sequence[bytes]
    ) -> Iterator[tuple[str | None, list[SourceLine]]]:
        """Yield the occurrences of stored texts, given their ids by hash, for each source."""
        lines: dict[str | None, list[SourceLine]] = {}
        for key, document in zip(hashes, self.documents, strict=True):
            if key in ids:
                for source, line, metadata, end_line in document.occurrences:
                    place = SourceLine(line or 0, ids[key], metadata, end_line)
                    lines.setdefault(source, []).append(place)
        yield from lines.items()


def read_documents(table: Table) -> Iterator[DocumentBlock]:
    """Yield the documents of a table by id, some at a time."""
    end = 0
    for part in batched_by_weight(
        table.read(), lambda document: len(document.text), _CHARACTERS, _DOCUMENTS
    ):
        end += len(part)
        yield DocumentBlock(part, end)
