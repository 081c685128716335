"""Wait until files have changed, by the events of the system or by looking now and then."""

from __future__ import annotations

import os
import stat
import time
from contextlib import suppress
from importlib import import_module
from math import inf
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import TYPE_CHECKING, NamedTuple

from jtv_cli.errors import UsageError
from jtv_cli.sources.directory import IGNORE_FILES, PathMatcher, find_files
from jtv_cli.threads import get_within

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from jtv_cli.sources.directory import Selection

# A burst of changes has ended when nothing has changed for so many seconds, and the first of a
# burst that does not end waits for no more than so many.
_QUIET_SECONDS = 0.3
_LONGEST_BURST_SECONDS = 5.0
# A file that was modified so shortly ago may be modified again within the same tick of the file
# system's clock: see `Stream.settled_state`.
_TICK_SECONDS = 2.5
# Looking at all files takes at most one part in so many of a core: while nothing happens, and while
# files change that are not read, as in a directory that is ignored.
_IDLE_SHARE = 200
_BUSY_SHARE = 20
_SHORTEST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 60.0
# With events, for what they miss: changes on network file systems and behind links.
_PAUSE_WITH_EVENTS_SECONDS = 30.0
# The events' own thread collects them so many milliseconds.
_STEP_MS = 100
_FIRST_EVENT_MS = 500

FileMark = tuple[object, ...]
"""What differs once a file has changed."""


class Look(NamedTuple):
    """What there is at one time.

    `named` are the files that are named themselves, by path, `found` those in each directory,
    by source name; what is missing is left out. A directory that cannot be read has one mark,
    of why. `roots` tell directories apart that have the same path. `is_settled` says that no
    file was modified just before.
    """

    named: Mapping[str, FileMark]
    roots: Mapping[str, FileMark]
    found: Mapping[str, Mapping[str, FileMark]]
    is_settled: bool = True

    def is_same(self, other: Look) -> bool:
        """Return whether nothing has changed."""
        return self[:3] == other[:3]

    def files(self) -> dict[str, FileMark]:
        """Return the marks of all files in directories, by source name."""
        return {name: mark for files in self.found.values() for name, mark in files.items()}


class Watcher:
    """Waits for changes of files, and of the files in directories.

    Where the extra `watch` is installed, the system's events tell when to look at the
    directories; otherwise, and at named files, it looks now and then. `on_notice` is called
    with why there are no events.
    """

    def __init__(
        self, paths: Sequence[str], selection: Selection, on_notice: Callable[[str], None]
    ) -> None:
        self._paths = paths
        self._selection = selection
        self._on_notice = on_notice
        self._events: SimpleQueue[str | None] = SimpleQueue()
        self._stop = Event()
        self._watched: Mapping[str, FileMark] = {}
        self._has_events = _has_events()
        self._seconds = 0.0
        self._looked_at = 0.0

    def look(self) -> Look:
        """Return what there is now."""
        began, now = time.thread_time(), time.time()
        named, roots = self._look_at_named()
        found: dict[str, dict[str, FileMark]] = {}
        matcher = PathMatcher(self._selection)
        for path in roots:
            try:
                files = find_files(path, matcher, self._selection).files
                found[path] = {file.name: _mark(file.status, now) for file in files}
            except UsageError as error:
                found[path] = {path: (str(error),)}
        look = Look(named, roots, found)
        marks = (*named.values(), *look.files().values())
        self._seconds, self._looked_at = time.thread_time() - began, time.monotonic()
        return look._replace(is_settled=all(mark[-1] is not False for mark in marks))

    def wait(self, handled: Look, until: float = inf) -> Look:
        """Wait until there is something else than what was handled, and return what there is.

        A burst of changes is waited for. At `until`, on the clock of `time.monotonic`, it
        returns although nothing has changed.
        """
        look = handled
        while True:
            self._follow(look.roots)
            self._pause(look, until)
            look = self.look()
            if not look.is_same(handled):
                return self._end_of_burst(look)
            if time.monotonic() >= until:
                return look

    def _end_of_burst(self, look: Look) -> Look:
        latest = time.monotonic() + _LONGEST_BURST_SECONDS
        while time.monotonic() < latest:
            time.sleep(_QUIET_SECONDS)
            before, look = look, self.look()
            if look.is_same(before):
                break
        return look

    def _look_at_named(self) -> tuple[dict[str, FileMark], dict[str, FileMark]]:
        """Return the marks of the files that are named, and of the directories."""
        now = time.time()
        named: dict[str, FileMark] = {}
        roots: dict[str, FileMark] = {}
        for path in self._paths:
            try:
                status = Path(path).stat()
            except (OSError, ValueError):
                continue
            if stat.S_ISDIR(status.st_mode):
                roots[path] = (status.st_dev, status.st_ino)
            else:
                named[path] = _mark(status, now)
        return named, roots

    def _pause(self, look: Look, until: float) -> None:
        """Wait for an event, or until it is time to look again."""
        shortest = _PAUSE_WITH_EVENTS_SECONDS if self._has_events else _SHORTEST_PAUSE_SECONDS
        seconds = min(max(shortest, _IDLE_SHARE * self._seconds), _LONGEST_PAUSE_SECONDS)
        if not look.is_settled:
            seconds = min(seconds, _TICK_SECONDS)
        end = min(time.monotonic() + seconds, until)
        has_named = len(look.roots) < len(self._paths)
        while (left := end - time.monotonic()) > 0:
            try:
                seconds = min(left, _SHORTEST_PAUSE_SECONDS) if has_named else left
                problem = get_within(seconds, self._events)
            except Empty:
                if has_named and self._look_at_named() != (look.named, look.roots):
                    return
                continue
            while problem is None and not self._events.empty():
                problem = self._events.get()
            if problem is not None:
                self._has_events = False
                self._on_notice(f"{problem}; looking at the files now and then instead")
            time.sleep(max(0.0, self._looked_at + _BUSY_SHARE * self._seconds - time.monotonic()))
            return

    def _follow(self, roots: Mapping[str, FileMark]) -> None:
        """Have a thread wait for the events of the directories, which may be others than before."""
        if self._has_events and roots != self._watched:
            self._stop.set()
            self._stop, self._watched = Event(), roots
            if roots:
                Thread(
                    target=self._collect,
                    args=(list(map(os.path.realpath, roots)), self._stop),
                    daemon=True,
                ).start()

    def _collect(self, directories: Sequence[str], stop: Event) -> None:
        """Put an event into the queue after changes, or what is wrong."""
        from watchfiles import watch

        has_begun = False
        try:
            for changes in watch(
                *directories,
                watch_filter=_Filter(directories),
                step=_STEP_MS,
                rust_timeout=_FIRST_EVENT_MS,
                yield_on_timeout=True,
                stop_event=stop,
                raise_interrupt=False,
                ignore_permission_denied=True,
            ):
                # What has changed before the first of them was missed.
                if changes or not has_begun:
                    self._events.put(None)
                has_begun = True
        except Exception as error:
            if not stop.is_set():
                self._events.put(f"cannot wait for events of the file system ({error})")


def _has_events() -> bool:
    """Return whether the extra `watch` is installed."""
    with suppress(ImportError):
        return import_module("watchfiles") is not None
    return False


class _Filter:
    """Leaves out the events of hidden files, unless they are ignore files."""

    def __init__(self, directories: Sequence[str]) -> None:
        self._directories = directories

    def __call__(self, _: object, path: str) -> bool:
        changed = Path(path)
        below = next(
            (
                changed.relative_to(directory).parts
                for directory in self._directories
                if changed.is_relative_to(directory)
            ),
            (),
        )
        if any(part.startswith(".") for part in below[:-1]):
            return False
        return not below or not below[-1].startswith(".") or below[-1] in IGNORE_FILES


def _mark(status: os.stat_result, now: float) -> FileMark:
    """Return the mark of a file; the last value says whether it was modified some time ago."""
    is_settled = not 0 <= now - status.st_mtime < _TICK_SECONDS
    return status.st_ino, status.st_mtime_ns, status.st_size, is_settled
