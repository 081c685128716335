"""What files are called as sources, and how such a name is shown, found and matched."""

from __future__ import annotations

import glob
import os
import re
import stat
from functools import lru_cache
from typing import overload

from jtv_cli.records import STDIN
from jtv_cli.text import printable

_ESCAPED_BYTE = re.compile(rb"\\x([89a-f][0-9a-f])")
_WILDCARDS = frozenset("*?[")


def file_identity(path: str) -> str:
    """Return what a file is called as a source: its real absolute path, printable.

    It is the same from every working directory and through every symbolic link. What is no
    file on disk, like /dev/fd/63, is called by its path, for what it links to has another
    name each time.
    """
    real = os.path.realpath(path)
    return _name(real if _is_on_disk(real) else os.path.abspath(path))  # noqa: PTH100


def possible_identities(typed: str) -> list[str]:
    """Return the names of sources that may be meant by what a user types, likeliest first.

    These are the name itself, and the identity of a file, which may be gone, at that path.
    Bytes of the path that are not UTF-8 may be typed as they are or as they are shown.
    """
    names = [typed, _name(os.path.realpath(typed)), _name(os.path.abspath(typed))]  # noqa: PTH100
    if typed != STDIN:
        names.insert(1, _name(os.path.normpath(typed)))
    return list(dict.fromkeys(name for name in names if name.isascii() or _is_utf8(name)))


def earlier_names(path: str) -> list[str]:
    """Return what earlier versions may have called a file: its path as it was typed.

    It may have been typed as now, relative to the working directory, or as an absolute path.
    """
    typed = os.path.normpath(path)
    real = os.path.realpath(path)
    absolute = os.path.abspath(path)  # noqa: PTH100
    names = map(_name, (typed, os.path.relpath(typed), os.path.relpath(real), absolute))
    every = dict.fromkeys(f"./{name}" if name == STDIN else name for name in names)
    return [name for name in every if name != file_identity(path)]


def possible_paths(identity: str) -> list[str]:
    """Return the paths of files that are called so as sources: one, but for escaped bytes."""
    raw = _ESCAPED_BYTE.sub(lambda match: bytes.fromhex(match[1].decode()), os.fsencode(identity))
    return list(dict.fromkeys((identity, os.fsdecode(raw))))


@overload
def shown_source(source: str) -> str: ...
@overload
def shown_source(source: None) -> None: ...
def shown_source(source: str | None) -> str | None:
    """Return a source as it is shown: a file below the working directory by its relative path."""
    if source is None or not os.path.isabs(source):  # noqa: PTH117
        return source
    here = _working_directory()
    if not here or not source.startswith(here):
        return source
    relative = source[len(here) :]
    return f"./{relative}" if relative == STDIN else relative


@lru_cache
def source_patterns(pattern: str) -> tuple[str, ...]:
    """Return shell patterns (fnmatch) for the sources that are meant by the one that is typed.

    It may be for names, or for paths, absolute or relative to the working directory.
    """
    parts = _name(pattern).split("/")
    plain = next((i for i, part in enumerate(parts) if _WILDCARDS & set(part)), len(parts))
    directory = "/".join(parts[:plain])
    if plain and not directory:
        directory = "/"
    rest = os.path.normpath("/".join(parts[plain:])) if plain < len(parts) else ""
    start = glob.escape(_name(os.path.realpath(directory)))
    absolute = f"{start.rstrip('/')}/{rest}" if rest else start
    return tuple(dict.fromkeys((pattern, _name(os.path.normpath(pattern)), absolute)))


def _name(path: str) -> str:
    """Return a path as names of sources have it: printable, with slashes on Windows too."""
    return printable(path.replace(os.sep, "/"))


def _working_directory() -> str:
    """Return the working directory with a slash at its end, or nothing if it is gone."""
    try:
        return _name(os.path.join(os.getcwd(), ""))  # noqa: PTH109, PTH118
    except OSError:
        return ""


def _is_on_disk(path: str) -> bool:
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) or stat.S_ISFIFO(status.st_mode)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
