"""Groups of options, and checks of arguments, that several commands share.

A command has a group as one parameter: `session.with_session` replaces it by its options.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from jtv_cli import config
from jtv_cli.cli import options
from jtv_cli.errors import UsageError
from jtv_cli.records import STDIN, Filter
from jtv_cli.render.formats import NUL_FORMATS, Format, ResultWriter
from jtv_cli.sources.source import InputFormat, ReadOptions
from jtv_cli.text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jtv_cli.cli.session import Session
    from jtv_cli.pipeline.options import IngestOptions
    from jtv_cli.records import Condition
    from jtv_cli.stores import Table

LIST_IDS = "see the ids: jtv list"
"""The hint where an id does not exist."""

_FEW = 10
_LONGEST_ID = 100  # digits, zeros in front of it included


class Reading(NamedTuple):
    """Which files are read, and how."""

    include: options.Include = None
    exclude: options.Exclude = None
    no_ignore: options.NoIgnore = False
    follow: options.Follow = False
    checksum: options.Checksum = False
    input: options.InputFormat = None
    text_field: options.TextFields = None
    paragraphs: options.Paragraphs = False
    lines: options.Lines = False
    chunk: options.Chunk = None
    no_chunk: options.NoChunk = False
    delimiter: options.Delimiter = None
    no_header: options.NoHeader = False

    def read_options(self, source: str | None) -> ReadOptions:
        """Return how to read files, and the source that their texts get if it is not the path.

        Raises UsageError for a name that no source can have, and for options that contradict
        one another.
        """
        from jtv_cli.sources.directory import Selection
        from jtv_cli.sources.repository import GitSettings

        _check_name(source)
        git = GitSettings(*config.git_configuration())
        include, exclude = self.include or (), self.exclude or ()
        return ReadOptions(
            source,
            self._format(),
            self.text_field or (),
            Selection(include, exclude, not self.no_ignore, self.follow, git),
            self.paragraphs,
            self.delimiter,
            not self.no_header,
            self.chunk,
            self.no_chunk,
        )

    def _format(self) -> InputFormat | None:
        """Return the format that --input or --lines chooses, None if neither does."""
        ways = {
            "--lines": self.lines or None,
            "--paragraphs": self.paragraphs or None,
            "--chunk": self.chunk,
        }
        if any(value is not None for value in ways.values()):
            require_one(ways)
        if self.no_chunk and self.chunk is not None:
            require_one({"--chunk": self.chunk, "--no-chunk": True})
        if self.lines and self.input not in (None, InputFormat.LINES):
            raise UsageError(f"--lines and --input {self.input.value} cannot be combined")
        return InputFormat.LINES if self.lines else self.input


class Requests(NamedTuple):
    """How texts are sent to the embedder."""

    concurrency: options.Concurrency = options.CONCURRENCY
    max_wait: options.MaxWait = options.INGEST_SECONDS
    max_tokens: options.MaxTokens = None
    truncate: options.Truncate = False

    def ingest_options(self, *, strict: bool = False) -> IngestOptions:
        """Return what an ingest may do."""
        from jtv_cli.pipeline.options import IngestOptions
        from jtv_cli.pipeline.retry import RetryPolicy

        retry_policy = RetryPolicy(self.max_wait)
        return IngestOptions(self.concurrency, retry_policy, self.max_tokens, strict, self.truncate)


class Conditions(NamedTuple):
    """Which documents are used, by their metadata and the age of their files."""

    where: options.Where = None
    where_any: options.WhereAny = None
    after: options.ModifiedAfter = None
    before: options.ModifiedBefore = None

    def filter(self, source: str | None = None) -> Filter | None:
        """Return the filter, with a pattern for sources; None if it selects everything.

        Raises UsageError for what is no condition, or no date.
        """
        found = Filter(
            None if source is None else printable(source),
            _parsed("--where", self.where),
            _parsed("--where-any", self.where_any),
            _seconds("--after", self.after),
            _seconds("--before", self.before),
        )
        return None if found == Filter() else found


class Results(NamedTuple):
    """How results are written."""

    format: options.OutputFormat = None
    json: options.Json = False
    nul: options.Nul = False

    def writer(self, session: Session) -> ResultWriter:
        """Return what writes results in the requested format, or as it suits the output.

        Raises UsageError for options that contradict one another.
        """
        if self.json and self.format not in (None, Format.JSONL):
            raise UsageError(
                f"--json and --format {self.format.value} cannot be combined",
                hint="keep one of them",
            )
        asked = Format.JSONL if self.json else self.format
        if self.nul and asked not in (None, *NUL_FORMATS):
            names = ", ".join(form.value for form in NUL_FORMATS)
            raise UsageError(
                f"-0 and --format {asked.value} cannot be combined",
                hint=f"use one of these formats: {names}",
            )
        suited = Format.TABLE if session.output.is_terminal and not self.nul else Format.TSV
        return ResultWriter(session.output, asked or suited, self.nul)


def _check_name(source: str | None) -> None:
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


def _parsed(option: str, texts: Sequence[str] | None) -> tuple[Condition, ...]:
    if not texts:
        return ()
    from jtv_cli.stores.filters import parse_condition

    for text in texts:
        require_utf8(text, option)
    return tuple(parse_condition(text, option) for text in texts)


def _seconds(option: str, date: str | None) -> float | None:
    if date is None:
        return None
    from jtv_cli.stores.filters import parse_seconds

    return parse_seconds(date, option)


def require_one(given: Mapping[str, object], *, command: str = "") -> None:
    """Raise UsageError unless exactly one of the options, by name, has a value.

    The help of the command is named if none has.
    """
    names = [name for name, value in given.items() if value is not None and value != []]
    if not names:
        raise UsageError(
            f"one of these is required: {', '.join(given)}", hint=f"see: jtv {command} --help"
        )
    if len(names) > 1:
        raise UsageError(f"{' and '.join(names)} cannot be combined", hint="keep one of them")


def require_alone(name: str, others: Mapping[str, bool]) -> None:
    """Raise UsageError if one of the other options is given beside the one named."""
    if other := next((other for other, is_given in others.items() if is_given), None):
        raise UsageError(f"{name} and {other} cannot be combined", hint="keep one of them")


def require_utf8(text: str, name: str) -> None:
    """Raise UsageError for an argument that no stored text can be equal to."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{name} is not UTF-8") from None


def split_after(after: str | None) -> tuple[int | None, str | None]:
    """Return the value of --after as an id, or as a date.

    Raises UsageError for a number that cannot be an id.
    """
    if after is None or re.fullmatch("[+-]?[0-9]+", after) is None:
        return None, after
    # Python limits the digits of a number.
    if len(after) > _LONGEST_ID or not 0 <= int(after) <= options.LARGEST_ID:
        raise UsageError(
            f"--after {after} is not in the range 0<=x<={options.LARGEST_ID}",
            hint="choose an id from: jtv list",
        )
    return int(after), None


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
