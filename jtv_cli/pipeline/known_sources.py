"""What a table remembers of sources that are about to be read again."""

from __future__ import annotations

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
    from jtv_cli.sources.source import Source
    from jtv_cli.stores import Table

# The share of a source's documents that must be in a file for the source to be that file.
_MOST = 0.5


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
