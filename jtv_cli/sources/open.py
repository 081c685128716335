"""From the names on a command line to sources that can be read."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from jtv_cli.errors import UsageError
from jtv_cli.records import STDIN
from jtv_cli.source_names import file_identity, possible_paths
from jtv_cli.sources.blocks import BadRecord
from jtv_cli.sources.content import NotText
from jtv_cli.sources.delimited import read_delimited
from jtv_cli.sources.details import describe
from jtv_cli.sources.directory import (
    IGNORED,
    FoundFile,
    PathMatcher,
    Selection,
    find_files,
    is_directory,
    is_gone,
)
from jtv_cli.sources.extracted import INSTALL, NeedsExtra, check_extractable, read_extracted
from jtv_cli.sources.json_array import read_json
from jtv_cli.sources.jsonl import read_jsonl
from jtv_cli.sources.kinds import guess_format, is_document_text
from jtv_cli.sources.lines import read_lines, read_paragraphs
from jtv_cli.sources.sections import read_document, read_whole
from jtv_cli.sources.source import InputFormat, ReadOptions, Source
from jtv_cli.sources.stream import DamagedData, Stream
from jtv_cli.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from jtv_cli.sources.blocks import RecordBlock

_READERS: dict[InputFormat, Callable[[Source], Iterator[RecordBlock]]] = {
    InputFormat.LINES: read_lines,
    InputFormat.MARKDOWN: read_document,
    InputFormat.RST: read_document,
    InputFormat.TEXT: read_document,
    InputFormat.CODE: read_document,
    InputFormat.JSONL: read_jsonl,
    InputFormat.JSON: read_json,
    InputFormat.CSV: read_delimited,
    InputFormat.TSV: read_delimited,
    **{each: read_extracted for each in InputFormat if each.is_extracted},
}
# Blocks in which the first record must be found.
_BLOCKS_TO_PREVIEW = 16

_DEFAULT = ReadOptions()


BINARY = "binary"
"""Why a file is not read: its content is not text."""

EXTRA_NEEDED = f"that need: {INSTALL}"
"""Why a file is not read: it takes an extra that is not installed."""


class Input:
    """What a command line names: sources that are open, and files in directories, which are not.

    `paths` are the names as they were given, `files` are the files in directories, `excluded`
    counts those that are not read, by why, and `unchanged` is the number of those that need not be
    read again.
    """

    def __init__(
        self,
        paths: Sequence[str],
        options: ReadOptions,
        on_warning: Callable[[str], None],
        stack: ExitStack,
    ) -> None:
        self.paths = paths
        self.excluded: Counter[str] = Counter()
        self.unchanged = 0
        self._options = options
        self._stack = stack
        self._given: list[Source | FoundFile] = []
        if options.selection is None:
            self._given += [self._open(path) for path in paths]
        else:
            self._find(paths, options.selection, on_warning)

    @property
    def files(self) -> list[FoundFile]:
        """The files in directories."""
        return [each for each in self._given if isinstance(each, FoundFile)]

    def open_files(
        self, unchanged: Collection[str] = (), known: Collection[str] = ()
    ) -> list[Source]:
        """Open the files in directories, less those named as unchanged, and return all sources.

        A binary file is only counted, unless it is chosen by a pattern or `known`, the names of
        the files that were read before. It then has its `problem` set.

        Raises UsageError as `open_sources` does.
        """
        sources = [
            each if isinstance(each, Source) else self._open(each.path, each)
            for each in self._given
            if isinstance(each, Source) or each.name not in unchanged
        ]
        self.unchanged = len(self._given) - len(sources)
        found = {file.path: file.name for file in self.files}
        if self._options.selection and not self._options.selection.include:
            binary = [
                each
                for each in sources
                if each.problem
                and not each.problem.has_text
                and each.path in found
                and each.name not in known
            ]
            extra = sum(isinstance(each.problem, NeedsExtra) for each in binary)
            if len(binary) == len(self._given):
                hint = f"run: {INSTALL}" if extra else "name a file to see what it is"
                raise UsageError("all files found are binary", hint=hint)
            self.excluded[BINARY] += len(binary) - extra
            self.excluded[EXTRA_NEEDED] += extra
            sources = [each for each in sources if each not in binary]
        if sources and not unchanged:
            if (first := sources[0]).problem and all(each.problem for each in sources):
                raise first.problem.as_error(first.path, first.input_option)
            _check_options(sources, self._options)
        return sources

    def _open(self, path: str, file: FoundFile | None = None) -> Source:
        options = self._options
        stream = Stream(path)
        self._stack.callback(stream.close)
        name = options.name or (file.name if file else _name(path))
        source = Source(stream, name, guess_format(path, options), options)
        try:
            if file is not None and options.format is None and source.format.has_fields:
                source.options = options._replace(paragraphs=False)
                source = _checked_records(source)
            else:
                _check(source)
        except NotText as problem:
            if problem.is_fatal and file is None:
                raise problem.as_error(path, source.input_option) from None
            source.problem = problem
        return source

    def _find(
        self, paths: Sequence[str], selection: Selection, on_warning: Callable[[str], None]
    ) -> None:
        directories = {path for path in paths if path != STDIN and is_directory(path)}
        if not directories and (selection.include or selection.exclude):
            raise UsageError("--include and --exclude are for directories", hint="name a directory")
        matcher = PathMatcher(selection)
        for path in paths:
            if path not in directories:
                self._given.append(self._open(path))
                continue
            found = find_files(path, matcher, selection)
            if not found.files:
                raise _no_files(path, selection, found.excluded)
            self._given += found.files
            self.excluded += found.excluded
        for pattern in matcher.unused_patterns:
            on_warning(f"no file matches --include {pattern!r}")


@contextmanager
def open_input(
    paths: Sequence[str],
    options: ReadOptions = _DEFAULT,
    on_warning: Callable[[str], None] = lambda _: None,
) -> Iterator[Input]:
    """Open the files named, `-` for standard input, and find those in directories.

    A source is named by its path or by `options.name`; standard input by that alone.
    `on_warning` is called with what is suspicious.

    Raises UsageError for the first file that cannot be read, and for a directory without
    any file to read.
    """
    with ExitStack() as stack:
        yield Input(paths, options, on_warning, stack)


@contextmanager
def open_sources(
    paths: Sequence[str],
    options: ReadOptions = _DEFAULT,
    on_warning: Callable[[str], None] = lambda _: None,
) -> Iterator[list[Source]]:
    """Open all the files, `-` for standard input, and look at their beginnings.

    A file that is not text among others that are has its `problem` set and is skipped when it
    is read.

    Raises UsageError for the first file that cannot be read, has not the field wanted, or is
    not text if none of them is.
    """
    with open_input(paths, options, on_warning) as given:
        yield given.open_files()


@contextmanager
def open_lines(path: str) -> Iterator[Source]:
    """Open one file, `-` for standard input, to read its lines as they are.

    Raises UsageError if it cannot be read.
    """
    with closing(Stream(path)) as stream:
        try:
            if not stream.may_wait:
                stream.check_beginning()
            yield Source(stream, None, InputFormat.LINES, _DEFAULT)
        except NotText as problem:
            raise problem.as_error(path) from None


def read_blocks(sources: Sequence[Source]) -> Iterator[RecordBlock]:
    """Yield the records of all sources, as they come.

    Raises UsageError if reading fails.
    """
    before = 0
    for source in sources:
        for block in _read(source, is_alone=len(sources) == 1):
            source.texts_read += len(block.texts)
            source.bad_read += len(block.bad)
            yield block._replace(end=before + block.end)
        source.state = source.stream.settled_state()
        before += source.stream.consumed
        source.stream.close()


class Trial(NamedTuple):
    """One way to read a source: how, and the records that this yields."""

    details: dict[str, Any]
    blocks: Iterator[RecordBlock]


def read_again(source: Source) -> Iterator[Trial]:
    """Yield the ways in which an open file may have been read before, the present one first.

    The file is opened anew for each, and its own stream is left as it is.
    """
    options = source.options
    ways = [(source.format, options)]
    if source.format.is_document:
        lines = options._replace(chunk=None, whole=False)
        ways += [(InputFormat.LINES, lines._replace(paragraphs=each)) for each in (False, True)]
    elif source.format is InputFormat.LINES:
        ways.append((InputFormat.LINES, options._replace(paragraphs=not options.paragraphs)))
    elif source.format is InputFormat.JSON:  # which earlier versions read by lines
        ways.append((InputFormat.LINES, options._replace(text_fields=())))
    for input_format, each in ways:
        with closing(Stream(source.path)) as stream:
            trial = Source(stream, source.name, input_format, each)
            trial.text_fields = source.text_fields if input_format.has_fields else ()
            yield Trial(describe(trial), _read(trial))


def missing_files(paths: Sequence[str], options: ReadOptions, names: Iterable[str]) -> list[str]:
    """Return the names of sources that are files which directories had, and have no longer.

    Hidden files, and those that the patterns of `options.selection` exclude, are left out. A
    file that may not be looked at is there.
    """
    if options.name is not None or options.selection is None:
        return []
    matcher = PathMatcher(options.selection)
    directories = [_path_of(path) for path in paths if path != STDIN and is_directory(path)]
    return [
        name
        for name in names
        if any(_could_be_in(directory, name, matcher) for directory in directories)
        and all(map(is_gone, possible_paths(name)))
    ]


def _path_of(directory: str) -> str:
    return os.path.join(printable(os.path.realpath(directory)), "")  # noqa: PTH118


def _could_be_in(directory: str, name: str, matcher: PathMatcher) -> bool:
    return (
        name.startswith(directory)
        and name == os.path.normpath(name)
        and matcher.matches(name[len(directory) :])
    )


def _read(source: Source, *, is_alone: bool = True) -> Iterator[RecordBlock]:
    if source.problem:
        yield _skipped(source, source.problem)
        return
    reader = _READERS[source.format]
    if source.options.paragraphs:
        reader = read_paragraphs
    elif source.options.whole and source.format.is_document and not source.format.is_extracted:
        reader = read_whole
    try:
        yield from reader(source)
    except DamagedData as damaged:
        yield source.block([], 0, [BadRecord(source.lines_read + 1, str(damaged))])
    except NotText as problem:
        # A file that was found to be unreadable only when its text was extracted is one of many.
        if problem.is_fatal or (is_alone and not source.format.is_extracted):
            raise problem.as_error(source.path, source.input_option) from None
        source.problem = problem
        yield _skipped(source, problem)


def _skipped(source: Source, problem: NotText) -> RecordBlock:
    reason = f"it is {problem.what} ({problem.hint(source.path, source.input_option)})"
    return source.block([], 0, [BadRecord(None, reason)])


def _check(source: Source) -> None:
    """Look at the beginning of a source.

    A pipe of plain text is left alone, for it might have to be waited for.
    """
    if source.options.paragraphs and source.format.has_fields:
        raise UsageError(
            f"--paragraphs is for plain text, and {source.path} is {source.format.value}",
            hint="add --input lines to read it as plain text",
        )
    if source.format.is_extracted:
        check_extractable(source)
    elif not source.stream.may_wait:
        start = source.stream.check_beginning()
        if source.format is InputFormat.LINES and source.options.is_text_undecided:
            source.is_guess = True
            if is_document_text(source.path, start):
                source.format = InputFormat.TEXT
    if source.format.has_fields:
        with source.stream.preview():
            _preview(source)


def _checked_records(source: Source) -> Source:
    """Look at the beginning of a file of records that was found in a directory.

    One without the text fields, such as a program's settings, is returned as code,
    unless the user has named these fields.
    """
    try:
        _check(source)
    except UsageError:
        if source.options.text_fields:
            raise
    if source.text_fields or source.options.text_fields:
        return source
    return Source(source.stream, source.name, InputFormat.CODE, source.options)


def _preview(source: Source) -> None:
    """Read until the text fields are known."""
    with suppress(DamagedData):  # reading reports it
        for count, block in enumerate(_READERS[source.format](source), 1):
            if (block.texts and not source.unseen_fields) or count == _BLOCKS_TO_PREVIEW:
                break
    if source.text_fields and source.unseen_fields:
        names = " and no field ".join(sorted(source.unseen_fields))
        raise UsageError(f"{source.path} has no field {names} in its first records")


def _check_options(sources: Sequence[Source], options: ReadOptions) -> None:
    """Raise UsageError for options that no source can have a use for."""
    if options.text_fields and not any(source.format.has_fields for source in sources):
        raise UsageError(
            "--text-field is for jsonl, json, csv and tsv", hint="add --input, as in --input jsonl"
        )
    if not any(source.format.is_delimited for source in sources):
        for option, is_given in (
            ("--delimiter", options.delimiter is not None),
            ("--no-header", not options.header),
        ):
            if is_given:
                raise UsageError(f"{option} is for csv and tsv", hint="add --input csv")


def _no_files(path: str, selection: Selection, excluded: Counter[str]) -> UsageError:
    if selection.include:
        return UsageError(f"no file in {path} matches {' or '.join(selection.include)}")
    hint = "add --no-ignore to read ignored files" if excluded[IGNORED] else None
    return UsageError(f"no file to read in {path}", hint=hint)


def _name(path: str) -> str | None:
    return None if path == STDIN else file_identity(path)
