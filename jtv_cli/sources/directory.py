"""The files of a directory that match patterns."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from jtv_cli.errors import UsageError
from jtv_cli.sources.stream import unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


class PatternMatcher:
    """Matches paths below a directory against patterns as in .gitignore.

    A pattern with a slash, other than at its end, is for the path below the directory; any
    other is for a name at any depth. `**/` is any number of directories, none included, and
    `!` before a pattern excludes what earlier patterns include. Hidden files never match.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        from pathspec import GitIgnoreSpec

        try:
            self._spec = GitIgnoreSpec.from_lines(patterns)
        except ValueError as error:
            raise UsageError(f"--glob: {error}") from error
        self.patterns = patterns
        self._unused = {
            index for index, each in enumerate(self._spec.patterns) if each.include is True
        }

    @property
    def unused_patterns(self) -> list[str]:
        """The patterns that have not matched anything so far."""
        return [self.patterns[index] for index in sorted(self._unused)]

    def matches(self, path: str) -> bool:
        """Return whether a path below the directory, with slashes, is included."""
        if path.startswith(".") or "/." in path:
            return False
        if self._unused:
            self._note_use(path)
        return self._spec.match_file(path)

    def _note_use(self, path: str) -> None:
        for index in tuple(self._unused):
            if self._spec.patterns[index].match_file(path) is not None:
                self._unused.discard(index)


def walk(directory: str, matches: Callable[[str], bool]) -> Iterator[str]:
    """Yield the regular files in a directory and below it whose relative paths match, sorted.

    Hidden directories and links to directories are not entered, and links to nothing are
    left out. Raises UsageError for a directory or file that may not be read.
    """
    found: list[str] = []
    for parent, directories, names in os.walk(directory, onerror=_refuse):
        directories[:] = [name for name in directories if not name.startswith(".")]
        below = os.path.relpath(parent, directory)
        prefix = "" if below == os.curdir else f"{below}/"
        found += (
            str(path)
            for name in names
            if matches(prefix + name) and _is_file(path := Path(parent, name))
        )
    yield from sorted(found)


def is_directory(path: str) -> bool:
    """Return whether a path is a directory; one that may not be looked at counts as none."""
    # `Path.is_dir` raises then; opening the path reports what is wrong.
    return os.path.isdir(path)  # noqa: PTH112


def is_gone(path: str) -> bool:
    """Return whether there is no file of that path; one that may not be looked at is there."""
    try:
        return stat.S_ISDIR(Path(path).stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):  # no access; a name that no file can have
        return False


def _refuse(error: OSError) -> NoReturn:
    raise unreadable(error.filename, error) from error


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except PermissionError as error:  # which `Path.is_file` would hide, from Python 3.14 on
        _refuse(error)
    except OSError:  # a link to nothing
        return False
