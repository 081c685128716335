"""What commands make of their arguments before they do anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jtv_cli.errors import UsageError
from jtv_cli.records import STDIN, Filter
from jtv_cli.render.formats import NUL_FORMATS, Format

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jtv_cli.cli.session import Session
    from jtv_cli.stores import Table

_MOST_NAMED = 10


def require_one(given: Mapping[str, object]) -> None:
    """Raise UsageError unless exactly one of the options, by name, has a value."""
    names = [name for name, value in given.items() if value is not None and value != []]
    if not names:
        raise UsageError(f"one of these is needed: {', '.join(given)}")
    if len(names) > 1:
        raise UsageError(f"{' and '.join(names)} do not go together", hint="leave out all but one")


def require_utf8(text: str, name: str) -> None:
    """Raise UsageError for an argument that no stored text can be equal to."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{name} is not UTF-8") from None


def require_name(source: str | None) -> None:
    """Raise UsageError for a --source that cannot be a name: empty, `-` or not UTF-8."""
    if source is None:
        return
    if not source.strip():
        raise UsageError("--source is empty")
    if source == STDIN:
        raise UsageError(f"--source {STDIN} stands for standard input without a name")
    require_utf8(source, "--source")


def checked_query(query: str) -> str:
    """Return the query without surrounding white space.

    Raises UsageError if that is nothing, or not UTF-8.
    """
    if not (text := query.strip()):
        raise UsageError("the query is empty")
    require_utf8(text, "the query")
    return text


def chosen_filter(source: str | None, where: Sequence[str] | None) -> Filter | None:
    """Return what --source and --where ask for, None where that is everything.

    Raises UsageError for a condition that no document can meet.
    """
    if source is None and not where:
        return None
    require_utf8(source or "", "--source")
    fields = []
    for condition in where or ():
        require_utf8(condition, "--where")
        name, equals, value = condition.partition("=")
        if not (name and equals):
            raise UsageError(f"--where {condition} is not FIELD=VALUE")
        fields.append((name, value))
    return Filter(source, tuple(fields))


def chosen_format(session: Session, asked: Format | None, *, json: bool, nul: bool) -> Format:
    """Return the format that is asked for, or that suits where the output goes."""
    if json and asked not in (None, Format.JSONL):
        raise UsageError(f"--json and --format {asked.value} do not go together")
    if nul and asked not in (None, *NUL_FORMATS):
        names = ", ".join(form.value for form in NUL_FORMATS)
        raise UsageError(f"-0 does not go with --format {asked.value}", hint=f"choose of: {names}")
    if json:
        return Format.JSONL
    if asked is not None:
        return asked
    return Format.TABLE if session.output.is_terminal and not nul else Format.TSV


def no_documents(table: Table, ids: Sequence[int]) -> str:
    """Return in words which documents are not there; of many, the first are named."""
    there = "is no document" if len(ids) == 1 else "are no documents"
    return f"there {there} {some_of(ids)} in table {table.spec.name}"


def some_of(items: Sequence[object]) -> str:
    """Return them in words, or the first of many."""
    more = f" and {len(items) - _MOST_NAMED:,} more" if len(items) > _MOST_NAMED else ""
    return ", ".join(map(str, items[:_MOST_NAMED])) + more
