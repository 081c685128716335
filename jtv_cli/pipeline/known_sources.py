"""What a table remembers of sources that are about to be read again, and of unchanged files."""

from __future__ import annotations

import zlib
from array import array
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from jtv_cli.errors import UsageError
from jtv_cli.source_names import earlier_names
from jtv_cli.sources import details as source_details
from jtv_cli.sources.open import read_again
from jtv_cli.stores.filters import MODIFIED
from jtv_cli.text import text_hashes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from jtv_cli.sources.blocks import RecordBlock
    from jtv_cli.sources.directory import FoundFile
    from jtv_cli.sources.source import ReadOptions, Source
    from jtv_cli.stores import Table

# The share of a source's documents that must be in a file for the source to be that file.
_MOST = 0.5
# The key of a source's details under which the state of a file is.
_KEY = "state"
# Raise this whenever files are read in another way by default, so that all are read again.
_READERS = 2


class Recalled(NamedTuple):
    """What is known of sources before they are read.

    `renamed` are the sources of earlier versions that turned out to be files: old and new
    names. `changed` are the sources that are read in another way than before, as the user
    wants, with how they were read, None if that is unknown. `details` is to be recorded.
    """

    renamed: list[tuple[str, str]]
    changed: list[tuple[Source, Mapping[str, Any] | None]]
    details: dict[str, Mapping[str, Any]]

    def record(self, table: Table) -> None:
        """Rename the sources of earlier versions, and record how the sources are read."""
        for old, new in self.renamed:
            table.rename_source(old, new)
        if self.details:
            table.set_source_details(self.details)


def recall_sources(table: Table, sources: Sequence[Source]) -> Recalled:
    """Return what a table remembers of sources; nothing is changed.

    Earlier versions called a file by its path as it was typed, and did not record how it was
    read. Such a source is taken for a file if most of its documents are in that.

    Raises UsageError for a source that would be read in another way than before, unless the
    options of the command line say so, and for a name that is a file's, or the reverse.
    """
    recalled = Recalled([], [], {})
    named = {source.name: source for source in sources if source.name and not source.problem}
    same: defaultdict[str | None, list[Source]] = defaultdict(list)
    for source in sources:
        same[source.name].append(source)
    before: dict[str, Mapping[str, Any]] = dict(table.source_details(named))
    without_details = set(table.sources_without_details())
    for name, source in named.items():
        details: Mapping[str, Any] | None = before.get(name)
        if without_details and source.is_file and not source.stream.may_wait:
            for old in [name, *earlier_names(source.path)]:
                if old not in without_details:
                    continue
                found = _attribute(table, old, source)
                if found is not None and old != name:
                    recalled.renamed.append((old, name))
                if found is None and old == name:
                    recalled.changed.append((source, None))
                details = details or found
        _compare(recalled, same[name], details)
    return recalled


def _compare(
    recalled: Recalled, sources: Sequence[Source], before: Mapping[str, Any] | None
) -> None:
    """Compare how sources of one name are read with how they were read before."""
    source = sources[0]
    now = source_details.describe(source)
    if any(source_details.describe(each) != now for each in sources):
        now = {"file": source.is_file}  # they are read in several ways, so none is recorded
    elif before and "input" in before:
        keys = source_details.differences(source, before)
        if keys and all(source_details.keep(each, before) for each in sources):
            now = dict(before)
        elif keys:
            source_details.require_told(source, before, keys)
            recalled.changed.append((source, before))
        else:
            now = {**now, **before}
    if before and before.get("file", source.is_file) != source.is_file:
        raise _mistaken(source)
    if source.is_file and source.stream.modified is not None:
        now = {**now, MODIFIED: source.stream.modified}
    if now != before:
        recalled.details[source.name or ""] = now


def _mistaken(source: Source) -> UsageError:
    if source.is_file:
        return UsageError(
            f"{source.name} is already the name of a source that is not this file",
            hint="give the file another name with --source NAME",
        )
    return UsageError(
        f"--source {source.name} is the path of a file that was read", hint="choose another name"
    )


def _attribute(table: Table, name: str, source: Source) -> Mapping[str, Any] | None:
    """Return how a file must be read to find most of a source's documents; None if it has not."""
    import numpy as np

    documents = array("q", (place.document for place in table.source_lines(name)))
    stored = np.unique(np.asarray(documents))
    for trial in read_again(source):
        found = np.fromiter(_documents(table, trial.blocks), np.int64)
        if np.isin(stored, found).sum() > _MOST * stored.size:
            return trial.details
    return None


def _documents(table: Table, blocks: Iterable[RecordBlock]) -> Iterable[int]:
    """Yield the ids of the texts that the table has."""
    for block in blocks:
        yield from table.known(text_hashes(text for _, text, _, _ in block.texts)).values()


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
