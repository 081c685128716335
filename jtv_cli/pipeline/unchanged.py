"""Find the files that have not changed since they were read, which need not be read again."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jtv_cli.sources.directory import FoundFile
    from jtv_cli.sources.source import ReadOptions, Source
    from jtv_cli.stores import Table

_KEY = "state"
# Raise this whenever files are read in another way by default, so that all are read again.
_READERS = 2


class Remembered(NamedTuple):
    """What a table remembers of files: those that it has, and those that have not changed."""

    stored: frozenset[str] = frozenset()
    unchanged: frozenset[str] = frozenset()


def recall_files(
    table: Table, files: Sequence[FoundFile], options: ReadOptions, *, is_exact: bool
) -> Remembered:
    """Return what a table remembers of files, by name.

    A file has not changed if its modification time and size are those it had when it was
    last read, in the same way, and the table still has as many occurrences of it as then.
    `is_exact` also demands that the table had no others, of lines that were no longer in it.
    """
    details = table.source_details([file.name for file in files])
    candidates: dict[str, int] = {}
    for file in files:
        state = details.get(file.name, {}).get(_KEY)
        match state:
            case [modified, size, occurrences, texts, way]:
                is_same = modified == file.status.st_mtime_ns and size == file.status.st_size
                if is_same and way == _way(options) and (occurrences == texts or not is_exact):
                    candidates[file.name] = occurrences
    counts = table.count_occurrences(list(candidates))
    unchanged = (name for name, count in candidates.items() if counts.get(name) == count)
    return Remembered(frozenset(details), frozenset(unchanged))


def remember_files(
    table: Table, sources: Sequence[Source], options: ReadOptions, *, is_complete: bool
) -> None:
    """Record the states of the files that were read, once all of their texts are stored.

    `is_complete` says that no text was skipped after it was read. A file of which something
    was skipped is left out, and so is one that may have changed while it was read.
    """
    read = {
        source.name: source
        for source in sources
        if source.is_file and source.name and source.state and not source.bad_read
    }
    counts = table.count_occurrences(list(read))
    details: dict[str, Mapping[str, Any]] = dict(table.source_details(list(counts)))
    states: dict[str, Mapping[str, Any]] = {}
    for name, occurrences in counts.items():
        source = read[name]
        if source.state and (is_complete or occurrences == source.texts_read):
            state = [*source.state, occurrences, source.texts_read, _way(options)]
            if details.get(name, {}).get(_KEY) != state:
                states[name] = {**details.get(name, {}), _KEY: state}
    if states:
        table.set_source_details(states)


def _way(options: ReadOptions) -> int:
    """Return a number for the way in which files are read."""
    deciding = options._replace(name=None, selection=None)
    return zlib.crc32(repr((_READERS, deciding)).encode(errors="backslashreplace"))
