"""`jtv delete`: delete documents by id, by text or by source."""

from __future__ import annotations

from functools import partial
from glob import escape
from typing import TYPE_CHECKING, NamedTuple

from jtv_cli.cli import options
from jtv_cli.cli.arguments import LIST_IDS, Conditions, missing_documents, require_one
from jtv_cli.cli.interrupts import if_interrupted
from jtv_cli.cli.session import RESUME, Session
from jtv_cli.errors import ExitCode, UsageError
from jtv_cli.records import STDIN, Removed
from jtv_cli.render.units import format_count, format_removed
from jtv_cli.source_names import possible_identities
from jtv_cli.sources.kinds import guess_format
from jtv_cli.sources.open import open_sources, read_blocks
from jtv_cli.sources.source import InputFormat, ReadOptions
from jtv_cli.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from jtv_cli.records import Filter
    from jtv_cli.sources.blocks import RecordBlock
    from jtv_cli.stores import Table


def delete(
    session: Session,
    ids: options.OptionalIds = None,
    source: options.DeletedSource = None,
    texts: options.DeletedTexts = None,
    *,
    conditions: Conditions,
    dry_run: options.DeleteDryRun = False,
    yes: options.Yes = False,
    json: options.Report = False,
) -> int:
    """Delete documents by id, by text, or all occurrences of a source or that match a filter.

    A document is deleted with its last occurrence: with --source or a filter (--where,
    --where-any, --after, --before), documents that were also read elsewhere stay. jtv shows
    how much it deletes and asks, or needs --yes. If an id does not exist, nothing is deleted.

    Examples:
      jtv delete 7 12
      jtv delete --source notes.txt --yes
      jtv delete --where 'year < 2020' --dry-run

    """
    filter_ = conditions.filter()
    named = {"ID": ids, "--texts": texts}
    if filter_ is None:
        require_one({**named, "--source": source, "--where": None}, command="delete")
    else:
        require_one({**named, "--where and other filters": filter_})
    with session.store(writable=not dry_run) as store:
        table = session.open_table(store)
        with session.console.status("finding documents"):
            found = _find(table, ids, source, texts, filter_)
        if dry_run:
            _report(session, table, found, found.removed, "Would delete", json=json)
            return ExitCode.OK
        what = f"{format_removed(found.removed)} from table {table.spec.name} in {store.location}"
        if not yes and found.removed.documents + found.removed.occurrences:
            session.confirm("delete", what, otherwise="nothing was deleted")
        with session.console.status("deleting") as show, if_interrupted(RESUME):
            removed = found.remove(lambda gone: show(f"deleted {format_removed(gone)}"))
        _report(session, table, found, removed, "Deleted", json=json)
        session.sign_off(store, table.spec)
    return ExitCode.OK


class _Found(NamedTuple):
    """What would be removed, how many texts are not in the table, and how to remove it."""

    removed: Removed
    unknown: int
    remove: Callable[[Callable[[Removed], None]], Removed]


def _find(
    table: Table,
    ids: Sequence[int] | None,
    source: str | None,
    texts: str | None,
    filter: Filter | None,
) -> _Found:
    from jtv_cli.pipeline.removal import (
        count_documents,
        count_marked,
        delete_documents,
        find_texts,
        mark_matching,
        mark_source,
        remove_marked,
    )

    if filter is not None:
        if source is not None:
            filter = filter._replace(source=_source_pattern(table, source))
        matching = mark_matching(table, filter)
        return _Found(count_marked(table, matching), 0, partial(remove_marked, table, matching))
    if ids is not None:
        ids = list(dict.fromkeys(ids))
        removed, unknown = count_documents(table, ids)
        if unknown:
            raise UsageError(
                f"{missing_documents(table, unknown)}; nothing was deleted", hint=LIST_IDS
            )
        return _Found(removed, 0, lambda _: table.delete(ids))
    if source is not None:
        marked = mark_source(table, source)
        if not len(marked):
            raise _no_source(table, source)
        removed = count_marked(table, [marked])
        return _Found(removed, 0, partial(remove_marked, table, [marked]))
    path, options = texts or "", ReadOptions()
    guessed = guess_format(path, options)
    # A list of texts is no document, whatever its name.
    options = options._replace(format=guessed if guessed.has_fields else InputFormat.LINES)
    with open_sources([path], options) as sources:
        found, missing = find_texts(table, _require_texts(read_blocks(sources)))
    removed, _ = count_documents(table, found)
    return _Found(removed, missing, partial(delete_documents, table, found))


def _source_pattern(table: Table, source: str) -> str:
    """Return a pattern that matches only the source that is meant, as `mark_source` finds it.

    Raises UsageError if there is no such source.
    """
    if source == STDIN:
        return STDIN
    names = {count.source for count in table.sources()}
    for name in (source, *possible_identities(source)):
        if name in names:
            return escape(name)
    raise _no_source(table, source)


def _no_source(table: Table, source: str) -> UsageError:
    return UsageError(
        f'no source "{printable(source)}" in table {table.spec.name}',
        hint="see the sources: jtv info --sources",
    )


def _require_texts(blocks: Iterable[RecordBlock]) -> Iterator[RecordBlock]:
    """Yield the blocks. Raises UsageError at the first record that is not a text."""
    for block in blocks:
        for place, reason in block.bad_places():
            raise UsageError(f"{place}: {reason}; nothing was deleted")
        yield block


def _report(
    session: Session, table: Table, found: _Found, removed: Removed, verb: str, *, json: bool
) -> None:
    if json:
        session.print_json(
            {
                "table": table.spec.name,
                "documents": removed.documents,
                "occurrences": removed.occurrences,
                "unknown": found.unknown,
            }
        )
        return
    unknown = f"; {format_count(found.unknown, 'text')} not in the table" if found.unknown else ""
    session.console.report(f"{verb} {format_removed(removed)}{unknown}")
