"""From the names on a command line to sources that can be read."""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack, closing, contextmanager
from fnmatch import fnmatchcase
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from jtv_cli.errors import UsageError
from jtv_cli.records import STDIN
from jtv_cli.sources.fields import read_delimited, read_jsonl
from jtv_cli.sources.plain import read_lines, read_paragraphs
from jtv_cli.sources.source import BadRecord, Input, Source
from jtv_cli.sources.stream import Damaged, Stream, unreadable
from jtv_cli.text import source_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from jtv_cli.sources.source import Window

_BY_ENDING = {
    ".jsonl": Input.JSONL,
    ".ndjson": Input.JSONL,
    ".csv": Input.CSV,
    ".tsv": Input.TSV,
}
_READERS: dict[Input, Callable[[Source], Iterator[Window]]] = {
    Input.LINES: read_lines,
    Input.JSONL: read_jsonl,
    Input.CSV: partial(read_delimited, delimiter=","),
    Input.TSV: partial(read_delimited, delimiter="\t"),
}
# Windows in which the first record should be found.
_BEGINNING = 16


class Choice(NamedTuple):
    """How the user wants sources to be read; what is None is derived.

    `name` is what occurrences record, `input` what sources are made of, `text_field`
    where records have their text. `globs` choose among the files of a folder; where they
    cannot be given, they are None.
    """

    name: str | None = None
    input: Input | None = None
    text_field: str | None = None
    globs: Sequence[str] | None = None
    paragraphs: bool = False


_DEFAULT = Choice()


@contextmanager
def open_sources(paths: Sequence[str], choice: Choice = _DEFAULT) -> Iterator[list[Source]]:
    """Open all the files, `-` being stdin, and look at their beginnings, before any is read.

    A source is named by its path, normalised, or by `choice.name`; stdin by that alone.

    Raises UsageError for the first that cannot be read, or has not the field wanted.
    """
    with ExitStack() as stack:
        sources = []
        for path in _files(paths, choice.globs):
            stream = Stream(path)
            stack.callback(stream.close)
            form = choice.input or _guess(path)
            source = Source(stream, choice.name or _name(path), form, choice.text_field)
            _check(source, choice)
            sources.append(source)
        if choice.text_field is not None and not any(s.input.has_fields for s in sources):
            raise UsageError("--text-field is for jsonl, csv and tsv", hint="add --input jsonl")
        yield sources


@contextmanager
def open_lines(path: str) -> Iterator[Source]:
    """Open one file, `-` being stdin, whose lines are wanted as they stand.

    Raises UsageError where it cannot be read.
    """
    with closing(Stream(path)) as stream:
        if not stream.may_wait:
            stream.check_beginning()
        yield Source(stream, None, Input.LINES)


def read_windows(sources: Sequence[Source], *, paragraphs: bool = False) -> Iterator[Window]:
    """Yield all records of all sources, as they come.

    Raises UsageError where reading fails.
    """
    before = 0
    for source in sources:
        for window in _read(source, paragraphs=paragraphs):
            yield window._replace(end=before + window.end)
        before += source.stream.consumed
        source.stream.close()


def _read(source: Source, *, paragraphs: bool) -> Iterator[Window]:
    reader = read_paragraphs if paragraphs else _READERS[source.input]
    try:
        yield from reader(source)
    except Damaged as damaged:
        yield source.window([], 0, [BadRecord(source.lines_read + 1, str(damaged))])


def _check(source: Source, choice: Choice) -> None:
    """Look at the beginning; not of a pipe of plain text, which would have to be waited for."""
    if choice.paragraphs and source.input.has_fields:
        raise UsageError(
            f"--paragraphs is for plain text, which {source.path} is not",
            hint="with --input lines it is read as such",
        )
    if not source.stream.may_wait:
        source.stream.check_beginning()
    if source.input.has_fields:
        with source.stream.rehearsal():
            windows = islice(_read(source, paragraphs=False), _BEGINNING)
            any(window.texts for window in windows)


def _files(paths: Sequence[str], globs: Sequence[str] | None) -> Iterator[str]:
    """Yield the files named, and those in folders that match."""
    if globs and not any(map(_is_folder, paths)):
        raise UsageError("--glob is for folders", hint="name one")
    for path in paths:
        if path == STDIN or globs is None or not _is_folder(path):
            yield path
            continue
        if not globs:
            raise UsageError(
                f"{path} is a folder", hint="choose files in it, as with --glob '*.md'"
            )
        files = sorted(_walk(path, globs))
        if not files:
            raise UsageError(f"no file in {path} matches {' or '.join(globs)}")
        yield from files


def files_gone(paths: Sequence[str], choice: Choice, names: Iterable[str]) -> list[str]:
    """Return those of the names of sources that stand for files which folders had, and have not.

    What `open_sources` would not read if it were there is not meant: what is hidden, or
    fits none of `choice.globs`. A file that cannot be looked at is not gone.
    """
    if choice.name is not None:
        return []
    folders = [source_name(path) for path in paths if path != STDIN and _is_folder(path)]
    globs = choice.globs or ()
    return [
        name
        for name in names
        if any(_could_be_in(folder, name, globs) for folder in folders) and _is_gone(name)
    ]


def _could_be_in(folder: str, name: str, globs: Sequence[str]) -> bool:
    path = Path(name)
    is_path = name == source_name(name) and path.is_relative_to(folder)
    return is_path and _matches(path.relative_to(folder), globs)


def _is_gone(name: str) -> bool:
    try:
        return stat.S_ISDIR(Path(name).stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):  # no access; a name that no file can have
        return False


def _is_folder(path: str) -> bool:
    # `Path.is_dir` raises where it may not look; what is wrong, opening says.
    return os.path.isdir(path)  # noqa: PTH112


def _walk(folder: str, globs: Sequence[str]) -> Iterator[str]:
    """Yield the files in a folder and those below that match; nothing hidden, no links to folders.

    A pattern with a slash is for the path below the folder, any other for the name.
    """
    for parent, folders, names in os.walk(folder, onerror=_refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(parent, name)
            if _matches(path.relative_to(folder), globs) and _is_file(path):
                yield str(path)


def _matches(below: Path, globs: Sequence[str]) -> bool:
    """Return whether a path below a folder is not hidden, and one of the patterns fits it."""
    if any(part.startswith(".") for part in below.parts):
        return False
    path = below.as_posix()
    return any(fnmatchcase(path if "/" in glob else below.name, glob) for glob in globs)


def _refuse(error: OSError) -> NoReturn:
    raise unreadable(error.filename, error) from error


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except PermissionError as error:  # which `Path.is_file` would hide, from Python 3.14 on
        _refuse(error)
    except OSError:  # a link to nothing
        return False


def _guess(path: str) -> Input:
    name = path.lower().removesuffix(".gz")
    return _BY_ENDING.get(Path(name).suffix, Input.LINES)


def _name(path: str) -> str | None:
    return None if path == STDIN else source_name(path)
