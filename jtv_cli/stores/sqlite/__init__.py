"""The embedded store: one SQLite file.

A table NAME is three SQLite tables. `NAME` holds the documents: id, SHA-256 of the text,
vector as little-endian float32, and text. `NAME_sources` holds the sources.
`NAME_occurrences` is ordered by source and line, so that reading a file again is one scan,
and indexed by document, so that the first occurrence of a document is one lookup. The
catalog `jtv_tables` holds the specs of the tables and counts their documents.

The index is in `jtv_indexes` and `jtv_segments`, which are created with the first segment.
Versions of jtv without an index can still read and write the file: documents that they add
are not in the index and are compared exactly until a newer version writes again.
"""

from jtv_cli.stores.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
