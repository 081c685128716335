"""The patterns of .gitignore files, with the meaning that git gives them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

_UP_TO_SPACES = re.compile(r"((?:[^\\]|\\.)*?) *\Z", re.DOTALL)
_SPECIAL = re.compile(r"[*?\[\\]")
_CLASSES = {
    "alnum": "a-zA-Z0-9",
    "alpha": "a-zA-Z",
    "blank": r" \t",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r" \t\n\v\f\r",
    "upper": "A-Z",
    "xdigit": "0-9a-fA-F",
}


class Pattern(NamedTuple):
    """One pattern.

    `regex` is for a name, or for a path below the directory of the ignore file if `is_path`.
    `is_negated` says that what it matches is not ignored, `is_directory` that it matches
    directories only.
    """

    regex: str
    is_path: bool
    is_negated: bool
    is_directory: bool


class Patterns:
    """The patterns of one ignore file, of which the last one that matches decides."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = list(lines)
        parsed = [(index, parse_pattern(line)) for index, line in enumerate(self._lines)]
        found = [(index, pattern) for index, pattern in parsed if pattern is not None]
        self._last_first = [
            (index, re.compile(pattern.regex, re.DOTALL), pattern)
            for index, pattern in reversed(found)
        ]
        # Most paths match nothing, which one expression finds out faster than many.
        self._any_name = _any_of(pattern.regex for _, pattern in found if not pattern.is_path)
        self._any_path = _any_of(pattern.regex for _, pattern in found if pattern.is_path)
        self._unused = {index for index, pattern in found if not pattern.is_negated}

    def __bool__(self) -> bool:
        return bool(self._last_first)

    @property
    def unused(self) -> list[str]:
        """The patterns without `!` that have not matched anything so far."""
        return [self._lines[index] for index in sorted(self._unused)]

    def match(self, path: str, *, is_directory: bool = False) -> bool | None:
        """Return whether a path below the ignore file matches; None if no pattern says."""
        name = path.rpartition("/")[2]
        if not (
            (self._any_name and self._any_name.fullmatch(name))
            or (self._any_path and self._any_path.fullmatch(path))
        ):
            return None
        for index, regex, pattern in self._last_first:
            if pattern.is_directory and not is_directory:
                continue
            if regex.fullmatch(path if pattern.is_path else name):
                self._unused.discard(index)
                return not pattern.is_negated
        return None

    def match_below(self, path: str) -> bool:
        """Return whether the last pattern that matches a file, or a directory it is in, does."""
        if self._unused:
            for index, regex, pattern in self._last_first:
                if index in self._unused and _is_below(path, regex, pattern):
                    self._unused.discard(index)
        for _, regex, pattern in self._last_first:
            if _is_below(path, regex, pattern):
                return not pattern.is_negated
        return False


def parse_pattern(line: str) -> Pattern | None:
    """Return the pattern of a line; None for a comment, a blank line or an invalid pattern."""
    stripped = _UP_TO_SPACES.match(line)
    line = stripped[1] if stripped else line
    if not line or line.startswith("#"):
        return None
    is_negated = line.startswith("!")
    line = line[is_negated:]
    is_directory = line.endswith("/")
    line = line[: len(line) - is_directory]
    is_path = "/" in line
    regex = _translate(line.removeprefix("/"), is_path=is_path)
    return None if regex is None else Pattern(regex, is_path, is_negated, is_directory)


def _any_of(regexes: Iterable[str]) -> re.Pattern[str] | None:
    joined = "|".join(regexes)
    return re.compile(joined, re.DOTALL) if joined else None


def _is_below(path: str, regex: re.Pattern[str], pattern: Pattern) -> bool:
    """Return whether a pattern matches a file or one of the directories it is in."""
    names = path.split("/")
    last = len(names) - 1
    for index, name in enumerate(names):
        if pattern.is_directory and index == last:
            return False
        if regex.fullmatch("/".join(names[: index + 1]) if pattern.is_path else name):
            return True
    return False


def _translate(pattern: str, *, is_path: bool) -> str | None:
    """Return the regular expression of a pattern; None if git lets it match nothing."""
    special = _SPECIAL.search(pattern)
    if special is None:
        return re.escape(pattern) if pattern else None
    # Git compares what precedes the first wildcard by itself. So for `**`, which is special
    # after a slash or at the start, the rest of the pattern begins there.
    start = at = special.start() if is_path else 0
    parts = [re.escape(pattern[:start])]
    while at < len(pattern):
        char = pattern[at]
        if char == "*":
            part, at = _stars(pattern, at, start)
        elif char == "[":
            found = _bracket(pattern, at)
            if found is None:
                return None
            part, at = found
        elif char == "\\":
            if at + 1 == len(pattern):
                return None
            part, at = re.escape(pattern[at + 1]), at + 2
        else:
            part, at = "[^/]" if char == "?" else re.escape(char), at + 1
        parts.append(part)
    return "".join(parts)


def _stars(pattern: str, at: int, start: int) -> tuple[str, int]:
    end = at
    while pattern[end : end + 1] == "*":
        end += 1
    is_whole = at == start or pattern[at - 1] == "/"
    if end - at > 1 and is_whole:
        if end == len(pattern):
            return ".*", end
        if pattern[end] == "/":
            return "(?:.*/)?", end + 1
        if pattern[end : end + 2] == "\\/":
            return ".*", end
    return "[^/]*", end


def _bracket(pattern: str, start: int) -> tuple[str, int] | None:
    """Return the regular expression of a set of characters, and where the pattern goes on."""
    at = start + 1
    is_negated = pattern[at : at + 1] in ("!", "^")
    at += is_negated
    first = at
    members: list[str] = []
    previous = ""
    while (char := pattern[at : at + 1]) != "]" or at == first:
        if char == "-" and previous and pattern[at + 1 : at + 2] not in ("", "]"):
            at += 1 + (pattern[at + 1] == "\\")
            last = pattern[at : at + 1]
            if previous <= last:
                members.append(f"{re.escape(previous)}-{re.escape(last)}")
            char, previous = last, ""
        elif pattern.startswith("[:", at):
            end = pattern.find("]", at + 2)
            name = pattern[at + 2 : end]
            if end < 0 or (name.endswith(":") and name[:-1] not in _CLASSES):
                return None
            if name.endswith(":"):
                members.append(_CLASSES[name[:-1]])
                at, previous = end, ""
            else:
                members.append(r"\[")
                previous = "["
        else:
            if char == "\\":
                at += 1
                char = pattern[at : at + 1]
            members.append(re.escape(char))
            previous = char
        if not char:
            return None
        at += 1
    inner = "".join(members)
    if is_negated:
        return f"[^/{inner}]", at + 1
    return f"(?!/)[{inner}]" if inner else "(?!)", at + 1
