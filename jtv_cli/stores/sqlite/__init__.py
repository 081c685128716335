"""The embedded store: one SQLite file.

A table NAME is three SQLite tables. `NAME` holds the documents: id, SHA-256 of
the text, vector as little-endian float32, text. `NAME_sources` names what was
read. `NAME_occurrences` is ordered by source and line, so that reading a file
again walks along it, and indexed by document, so that a document's first
occurrence is one step away. The catalogue `jtv_tables` remembers what each table
is and counts its documents.

The index, `jtv_indexes` and `jtv_segments`, is made with the first segment of the
first table that has one. A version of jtv that knows nothing of indexes can still read
and write the file: what it adds is not covered by the index, and is compared exactly
until a newer version writes again. So the file's format is still 1.
"""

from jtv_cli.stores.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
