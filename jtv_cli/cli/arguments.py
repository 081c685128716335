"""Checks of arguments that several commands share."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from jtv_cli.cli.options import LARGEST_ID
from jtv_cli.errors import UsageError
from jtv_cli.records import STDIN, Filter
from jtv_cli.render.formats import NUL_FORMATS, Format
from jtv_cli.sources.source import InputFormat
from jtv_cli.text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jtv_cli.cli.session import Session
    from jtv_cli.records import Condition
    from jtv_cli.stores import Table

LIST_IDS = "see the ids: jtv list"
"""The hint where an id does not exist."""

_FEW = 10
_LONGEST_ID = 100  # digits, zeros in front of it included


def require_one(given: Mapping[str, object]) -> None:
    """Raise UsageError unless exactly one of the options, by name, has a value."""
    names = [name for name, value in given.items() if value is not None and value != []]
    if not names:
        raise UsageError(f"one of these is required: {', '.join(given)}")
    if len(names) > 1:
        raise UsageError(f"{' and '.join(names)} cannot be combined", hint="keep one of them")


def require_utf8(text: str, name: str) -> None:
    """Raise UsageError for an argument that no stored text can be equal to."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{name} is not UTF-8") from None


def require_name(source: str | None) -> None:
    """Raise UsageError for an invalid --source: empty, `-` or not UTF-8."""
    if source is None:
        return
    if not source.strip():
        raise UsageError("--source is empty")
    if source == STDIN:
        raise UsageError(
            f'"{STDIN}" cannot be the name of a source', hint="choose another name for --source"
        )
    require_utf8(source, "--source")


def choose_input(
    chosen: InputFormat | None, *, lines: bool, paragraphs: bool, chunk: int | None, whole: bool
) -> InputFormat | None:
    """Return the input format that --input or --lines chooses, None if neither does.

    Raises UsageError for options that contradict one another.
    """
    ways = {
        "--lines": lines or None,
        "--paragraphs": paragraphs or None,
        "--chunk": chunk,
    }
    if any(value is not None for value in ways.values()):
        require_one(ways)
    if whole and chunk is not None:
        require_one({"--chunk": chunk, "--no-chunk": whole})
    if lines and chosen not in (None, InputFormat.LINES):
        raise UsageError(f"--lines and --input {chosen.value} cannot be combined")
    return InputFormat.LINES if lines else chosen


def make_filter(
    source: str | None,
    where: Sequence[str] | None,
    where_any: Sequence[str] | None = None,
    after: str | None = None,
    before: str | None = None,
) -> Filter | None:
    """Return the filter of the options of that name, None if they select everything.

    Raises UsageError for what is no condition, or no date.
    """
    if source is None and not where and not where_any and after is None and before is None:
        return None
    from jtv_cli.stores.filters import parse_seconds

    return Filter(
        None if source is None else printable(source),
        _conditions("--where", where),
        _conditions("--where-any", where_any),
        None if after is None else parse_seconds(after, "--after"),
        None if before is None else parse_seconds(before, "--before"),
    )


def split_after(after: str | None) -> tuple[int | None, str | None]:
    """Return the value of --after as an id, or as a date.

    Raises UsageError for a number that cannot be an id.
    """
    if after is None or re.fullmatch("[+-]?[0-9]+", after) is None:
        return None, after
    # Python limits the digits of a number.
    if len(after) > _LONGEST_ID or not 0 <= int(after) <= LARGEST_ID:
        raise UsageError(
            f"--after {after} is not in the range 0<=x<={LARGEST_ID}",
            hint="choose an id from: jtv list",
        )
    return int(after), None


def _conditions(option: str, texts: Sequence[str] | None) -> tuple[Condition, ...]:
    from jtv_cli.stores.filters import parse_condition

    for text in texts or ():
        require_utf8(text, option)
    return tuple(parse_condition(text, option) for text in texts or ())


def choose_format(session: Session, asked: Format | None, *, json: bool, nul: bool) -> Format:
    """Return the requested output format, or the default for where the output goes."""
    if json and asked not in (None, Format.JSONL):
        raise UsageError(
            f"--json and --format {asked.value} cannot be combined", hint="keep one of them"
        )
    if nul and asked not in (None, *NUL_FORMATS):
        names = ", ".join(form.value for form in NUL_FORMATS)
        raise UsageError(
            f"-0 and --format {asked.value} cannot be combined",
            hint=f"use one of these formats: {names}",
        )
    if json:
        return Format.JSONL
    if asked is not None:
        return asked
    return Format.TABLE if session.output.is_terminal and not nul else Format.TSV


def missing_documents(table: Table, ids: Sequence[int]) -> str:
    """Return the message about ids that the table does not have."""
    noun = "document" if len(ids) == 1 else "documents"
    return f"no {noun} {first_few(ids)} in table {table.spec.name}"


def empty_table(session: Session, table: Table) -> str:
    """Return the message that a table has no documents, with the next command."""
    command = session.console.complete_hint("jtv ingest FILE")
    return f"Table {table.spec.name} has no documents. Add some with: {command}"


def first_few(items: Sequence[object]) -> str:
    """Return the first items, separated by commas, and how many more there are."""
    more = f" and {len(items) - _FEW:,} more" if len(items) > _FEW else ""
    return ", ".join(map(str, items[:_FEW])) + more
