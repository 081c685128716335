"""The git repository that a directory is in: what it ignores, and what it tracks all the same."""

from __future__ import annotations

import os
import re
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from jtv_cli.sources.gitignore import Patterns

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_SETTING = re.compile(r"\s*(?:\[\s*([\w.-]+)[^\]]*\])?\s*(?:(\w+)\s*=\s*(.*?)\s*)?")
_STATUS_BYTES = 40  # of an entry of the index, before the hash
_IS_EXTENDED = 0x4000
_PREFIXED_NAMES = 4  # the version of the index that abbreviates names


class GitSettings(NamedTuple):
    """Where a user's git configuration is: its files, later ones first, and the default ignores."""

    files: Sequence[Path] = ()
    ignore_file: Path | None = None


class Repository:
    """A repository. `root` is its top directory, `base` the same with a slash at its end.

    `excludes` are the patterns of `info/exclude` and of the user's `core.excludesFile`, in the
    order of their priority, for paths below the root.
    """

    def __init__(self, root: Path, git_directory: Path, user: GitSettings) -> None:
        self.root = root
        self.base = str(root).rstrip("/") + "/"
        self._git_directory = git_directory
        common = _first_line(git_directory / "commondir")
        self._common = git_directory / common if common else git_directory
        self._config = _settings(self._common / "config")
        paths = (self._common / "info/exclude", self._user_excludes(user))
        self.excludes = [found for path in paths if path and (found := read_patterns(path))]

    @cached_property
    def tracked(self) -> frozenset[str]:
        """The paths below the root of the tracked files, and of the directories they are in."""
        files = set(self._tracked_files())
        directories = set()
        for path in files:
            directory = path.rpartition("/")[0]
            while directory and directory not in directories:
                directories.add(directory)
                directory = directory.rpartition("/")[0]
        return frozenset(files | directories)

    def _tracked_files(self) -> Iterator[str]:
        """Yield the paths in the index; nothing if there is none that can be read."""
        try:
            data = (self._git_directory / "index").read_bytes()
        except OSError:
            return
        version, count = (int.from_bytes(data[at : at + 4], "big") for at in (4, 8))
        hash_bytes = 32 if self._config.get("extensions.objectformat") == "sha256" else 20
        at, name = 12, b""
        for _ in range(count if data.startswith(b"DIRC") else 0):
            start = at
            at += _STATUS_BYTES + hash_bytes
            flags = int.from_bytes(data[at : at + 2], "big")
            at += 4 if flags & _IS_EXTENDED else 2
            kept = 0
            if version >= _PREFIXED_NAMES:
                dropped, at = _varint(data, at)
                kept = len(name) - dropped
            end = data.find(b"\0", at)
            if end < 0:
                return
            name = name[:kept] + data[at:end]
            # Before version 4, entries are padded with 1 to 8 zeros to a multiple of 8 bytes.
            at = end + 1 if version >= _PREFIXED_NAMES else start + (end - start) // 8 * 8 + 8
            yield os.fsdecode(name)

    def _user_excludes(self, user: GitSettings) -> Path | None:
        for settings in (self._config, *map(_settings, user.files)):
            if path := settings.get("core.excludesfile"):
                return self.root / Path(path).expanduser()
        return user.ignore_file


def find_repository(directory: Path, user: GitSettings) -> Repository | None:
    """Return the repository that a directory, given by its real path, is in."""
    return next(
        (found for each in (directory, *directory.parents) if (found := repository_at(each, user))),
        None,
    )


def repository_at(directory: Path, user: GitSettings) -> Repository | None:
    """Return the repository whose top directory this is."""
    git_directory = directory / ".git"
    if link := _first_line(git_directory):  # of a submodule or a linked work tree
        git_directory = directory / link.removeprefix("gitdir: ")
    try:
        (git_directory / "HEAD").lstat()
    except OSError:
        return None
    return Repository(directory, git_directory, user)


def read_patterns(path: Path) -> Patterns | None:
    """Return the patterns of an ignore file; None if there is no such file or no pattern."""
    try:
        text = path.read_bytes().decode(errors="surrogateescape")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError):
        return None
    lines = text.removeprefix("\ufeff").split("\n")
    return Patterns(line.removesuffix("\r") for line in lines) or None


def _settings(path: Path) -> dict[str, str]:
    """Return the settings of a git configuration file, as `section.name` in lower case."""
    found: dict[str, str] = {}
    section = ""
    for line in _lines(path):
        match = _SETTING.fullmatch(line)
        if match is None:
            continue
        section = match[1] or section
        if match[2]:
            found[f"{section}.{match[2]}".lower()] = match[3].strip('"')
    return found


def _first_line(path: Path) -> str:
    return next(iter(_lines(path)), "")


def _lines(path: Path) -> Iterable[str]:
    try:
        return path.read_bytes().decode(errors="surrogateescape").splitlines()
    except OSError:
        return ()


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number of variable length, and where the next field begins."""
    byte = data[at]
    number = byte & 0x7F
    while byte & 0x80:
        at += 1
        byte = data[at]
        number = ((number + 1) << 7) | (byte & 0x7F)
    return number, at + 1
