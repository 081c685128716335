"""The files of a directory that are to be read."""

from __future__ import annotations

import os
import stat
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from jtv_cli.source_names import file_identity
from jtv_cli.sources.gitignore import Patterns
from jtv_cli.sources.repository import (
    GitSettings,
    Repository,
    find_repository,
    read_patterns,
    repository_at,
)
from jtv_cli.sources.stream import unreadable
from jtv_cli.text import printable

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence

IGNORE_FILES = {".jtvignore": "jtv", ".ignore": "plain", ".gitignore": "git"}
"""The files with patterns, each with the field of _Rules that has its patterns."""

# Hidden files that everybody expects to be left out.
_UNCOUNTED = {".git", *IGNORE_FILES}

IGNORED, HIDDEN, LINKED = "ignored", "hidden", "linked"
"""Why files and directories are not read."""


class Selection(NamedTuple):
    """Which files of directories are read.

    A file must match one of the patterns `include`, if there are any, and none of `exclude`;
    both are as in .gitignore. Hidden files are never read.
    """

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    honors_ignore_files: bool = True
    follows_links: bool = False
    git: GitSettings = GitSettings()


class PathMatcher:
    """Decides by its path below a directory whether a file may be read."""

    def __init__(self, selection: Selection) -> None:
        self._include = Patterns(selection.include)
        self._exclude = Patterns(selection.exclude)

    @property
    def unused_patterns(self) -> list[str]:
        """The patterns to include that have not matched anything so far."""
        return self._include.unused

    def matches(self, path: str) -> bool:
        """Return whether a file may be read, wherever below the directory it is."""
        is_hidden = path.startswith(".") or "/." in path
        return not is_hidden and not self._exclude.match_below(path) and self.includes(path)

    def includes(self, path: str) -> bool:
        """Return whether the patterns to include match; without any, every path does."""
        return not self._include or self._include.match_below(path)

    def excludes(self, path: str, *, is_directory: bool) -> bool:
        """Return whether the patterns to exclude match a path, though not its directory."""
        return bool(self._exclude.match(path, is_directory=is_directory))


class FoundFile(NamedTuple):
    """A file in a directory: its path as the user would type it, its name, and its status."""

    path: str
    name: str
    status: os.stat_result


class Found(NamedTuple):
    """The files of a directory, by path, and the number of others, by why they are not read."""

    files: list[FoundFile]
    excluded: Counter[str]


def find_files(directory: str, matcher: PathMatcher, selection: Selection) -> Found:
    """Return the regular files in a directory and below it that are to be read.

    A directory that is not read counts once. A file that several links lead to is found once,
    and links to nothing are not counted.

    Raises UsageError for a directory or file that may not be read.
    """
    walk = _Walk(directory, matcher, selection)
    unique: dict[str, FoundFile] = {}
    for file in sorted(walk.files()):
        unique.setdefault(file.name, file)
    return Found(list(unique.values()), walk.excluded)


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


class _Rules(NamedTuple):
    """What is ignored in a directory: patterns of each kind, the nearest first.

    Each stands with the directory that its paths are below. Those of `jtv` have priority over
    those of `plain`, and these over those of `git`.
    """

    jtv: tuple[tuple[str, Patterns], ...] = ()
    plain: tuple[tuple[str, Patterns], ...] = ()
    git: tuple[tuple[str, Patterns], ...] = ()
    repository: Repository | None = None

    def with_files(self, directory: str, names: Container[str]) -> _Rules:
        """Return the rules with those of the ignore files in a directory that has these names."""
        rules = self
        for name, kind in IGNORE_FILES.items():
            path = Path(directory, name)
            if name not in names or (kind == "git" and path.is_symlink()):  # as git does
                continue
            if patterns := read_patterns(path):
                more = ((f"{directory}/", patterns), *getattr(rules, kind))
                rules = _Rules(**(rules._asdict() | {kind: more}))
        return rules

    def with_repository(self, repository: Repository | None) -> _Rules:
        """Return the rules for the top directory of a repository, where git starts anew."""
        if repository is None:
            return self
        excludes = tuple((repository.base, patterns) for patterns in repository.excludes)
        return self._replace(git=excludes, repository=repository)

    def ignored_by(self, path: str, *, is_directory: bool) -> str:
        """Return which kind of rules ignores an absolute path, "" if none does."""
        for kind in IGNORE_FILES.values():
            for base, patterns in getattr(self, kind):
                matches = patterns.match(path[len(base) :], is_directory=is_directory)
                if matches is not None:
                    return kind if matches else ""
        return ""

    def tracks(self, path: str) -> bool:
        """Return whether git tracks a file, or some file in a directory, by its absolute path."""
        repository = self.repository
        return repository is not None and path[len(repository.base) :] in repository.tracked


class _Directory(NamedTuple):
    """A directory to read: as it is shown, its absolute path, and the same without links.

    `only_tracked` says that git ignores it, so that only tracked files in it are read.
    """

    shown: str
    path: str
    real: str
    rules: _Rules
    only_tracked: bool = False


class _Walk:
    """One walk through a directory; `excluded` counts what is not read."""

    def __init__(self, directory: str, matcher: PathMatcher, selection: Selection) -> None:
        self.excluded: Counter[str] = Counter()
        self._matcher = matcher
        self._selection = selection
        self._visited: set[tuple[int, int]] = set()
        shown = str(Path(directory))
        real = os.path.realpath(directory).rstrip("/")
        self._start = f"{real}/"
        self._left = [
            _Directory("" if shown == os.curdir else shown, real, real, self._rules_above())
        ]

    def files(self) -> Iterator[FoundFile]:
        """Yield the files in no particular order."""
        while self._left:
            directory = self._left.pop()
            shown = directory.shown or os.curdir
            try:
                if self._selection.follows_links and self._is_visited(shown):
                    continue
                with os.scandir(shown) as listing:
                    entries = list(listing)
            except OSError as error:
                raise unreadable(shown, error) from error
            directory = self._with_rules(directory, {entry.name for entry in entries})
            for entry in entries:
                if file := self._look_at(entry, directory):
                    yield file

    def _rules_above(self) -> _Rules:
        """Return the rules from above the directory: those of the repository it is in."""
        if not self._selection.honors_ignore_files:
            return _Rules()
        start = Path(self._start)
        repository = find_repository(start, self._selection.git)
        rules = _Rules().with_repository(repository)
        for parent in reversed(start.parents):
            if repository is not None and parent.is_relative_to(repository.root):
                rules = rules.with_files(str(parent).rstrip("/"), IGNORE_FILES)
        return rules

    def _is_visited(self, shown: str) -> bool:
        """Return whether a directory was read already, perhaps under another name."""
        status = Path(shown).stat()
        key = (status.st_dev, status.st_ino)
        is_known = key in self._visited
        self._visited.add(key)
        return is_known

    def _with_rules(self, directory: _Directory, names: Container[str]) -> _Directory:
        """Return the directory with the rules of its own ignore files."""
        if not self._selection.honors_ignore_files:
            return directory
        rules = directory.rules
        if ".git" in names and f"{directory.path}/" != self._start:
            rules = rules.with_repository(repository_at(Path(directory.path), self._selection.git))
        return directory._replace(rules=rules.with_files(directory.path, names))

    def _look_at(self, entry: os.DirEntry[str], directory: _Directory) -> FoundFile | None:
        """Return a file that is to be read; remember a directory, and count everything else."""
        path = f"{directory.path}/{entry.name}"
        below = path[len(self._start) :]
        is_linked = entry.is_symlink()
        is_directory = _leads_to_directory(entry)
        if self._matcher.excludes(below, is_directory=is_directory):
            return None
        if not is_directory and not self._matcher.includes(below):
            return None
        if entry.name.startswith("."):
            self.excluded[HIDDEN] += entry.name not in _UNCOUNTED
            return None
        kind = directory.rules.ignored_by(path, is_directory=is_directory and not is_linked)
        only_tracked = directory.only_tracked or kind == "git"
        if kind in ("jtv", "plain") or (only_tracked and not directory.rules.tracks(path)):
            self.excluded[IGNORED] += 1
            return None
        shown = os.path.join(directory.shown, entry.name)  # noqa: PTH118
        if not is_directory:
            return self._file(entry, shown, directory.real)
        if is_linked and not self._selection.follows_links:
            self.excluded[LINKED] += 1
            return None
        real = os.path.realpath(shown) if is_linked else f"{directory.real}/{entry.name}"
        self._left.append(_Directory(shown, path, real, directory.rules, only_tracked))
        return None

    def _file(self, entry: os.DirEntry[str], shown: str, real: str) -> FoundFile | None:
        try:
            status = entry.stat()
        except PermissionError as error:
            raise unreadable(shown, error) from error
        except OSError:  # a link to nothing
            return None
        if not stat.S_ISREG(status.st_mode):
            return None
        name = file_identity(shown) if entry.is_symlink() else printable(f"{real}/{entry.name}")
        return FoundFile(shown, name, status)


def _leads_to_directory(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # reading it as a file reports what is wrong
        return False
