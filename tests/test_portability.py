"""Other systems: nothing that only POSIX has is used without a fallback."""

from __future__ import annotations

import ast
import errno
import io
import ntpath
import os
import signal
import sys
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from conftest import SAMPLE_TEXTS
from jtv_cli import config, source_names
from jtv_cli.cli import interrupts
from jtv_cli.errors import OutputFailed
from jtv_cli.render import output
from test_structure import PACKAGE, modules

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Jtv

# What Windows does not have, and the modules that say what they do without it.
POSIX_MODULES = {"fcntl", "resource", "termios", "tty", "pty", "pwd", "grp", "readline", "curses"}
POSIX_NAMES = {
    "signal": {
        *("SIGHUP", "SIGALRM", "SIGPIPE", "SIGUSR1", "SIGKILL", "setitimer", "pthread_sigmask"),
        *("SIG_BLOCK", "SIG_UNBLOCK", "ITIMER_REAL", "sigwait", "alarm"),
    },
    "os": {
        *("fork", "getuid", "geteuid", "getgid", "chown", "fchmod", "posix_fallocate", "mkfifo"),
        *("getpgid", "killpg", "setsid", "sysconf", "uname", "sched_getaffinity", "O_NOFOLLOW"),
        *("O_CLOEXEC", "O_DIRECTORY", "statvfs", "sync", "nice", "ttyname"),
    },
}
WITH_FALLBACK = {
    "__main__.py": {"SIGHUP", "pthread_sigmask", "SIG_BLOCK"},
    "cli/interrupts.py": {
        *("SIGALRM", "setitimer", "pthread_sigmask", "SIG_BLOCK", "SIG_UNBLOCK", "ITIMER_REAL"),
    },
    "cli/memory.py": {"resource"},
    "embedders/download.py": {"fcntl"},
    "stores/sqlite/space.py": {"resource", "posix_fallocate"},
}
KEPT = ("fork", "O_CLOEXEC", "getuid", "uname", "statvfs")
WITHOUT_POSIX = f"""
import os, signal, sys
KEPT = {KEPT}
for name in {sorted(POSIX_MODULES - {"pwd", "grp"})}:
    sys.modules[name] = None
for module, names in ((signal, {sorted(POSIX_NAMES["signal"])}), (os, {sorted(POSIX_NAMES["os"])})):
    for name in names:
        # Some that Python's own modules need on POSIX stay.
        if hasattr(module, name) and name not in KEPT:
            delattr(module, name)
sys.argv[:1] = []
from jtv_cli.__main__ import main
main()
"""


def posix_only(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.attr in POSIX_NAMES.get(node.value.id, ()):
                yield node.attr
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in POSIX_MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module in POSIX_MODULES:
            yield str(node.module)


def test_what_only_posix_has_is_used_where_there_is_a_fallback() -> None:
    found = {str(path.relative_to(PACKAGE)): set(posix_only(path)) for path in modules()}
    assert {name: names for name, names in found.items() if names} == WITH_FALLBACK


def test_it_works_without_what_only_posix_has(jtv: Jtv) -> None:
    prefix = [sys.executable, "-c", WITHOUT_POSIX]
    jtv.ok("init", prefix=prefix)
    jtv.ok("ingest", str(SAMPLE_TEXTS), prefix=prefix)
    found = jtv.ok("search", "What is TiDB?", "-k1", "--format", "text", prefix=prefix)
    assert found.stdout.startswith("TiDB is an open-source")
    assert jtv("models", "pull", "nonsense", prefix=prefix).code == 2


@pytest.mark.parametrize(
    "variables",
    [
        {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"},
        {"PYTHONUTF8": "0", "PYTHONIOENCODING": "cp1252", "LC_ALL": "C.utf8"},
    ],
    ids=["C", "cp1252"],
)
def test_files_and_output_are_utf8_in_any_locale(jtv: Jtv, variables: dict[str, str]) -> None:
    jtv.environment |= variables
    jtv.write("notes.txt", "Käse und Brot\n日本語の文\n")
    jtv.ok("ingest", "notes.txt", "--quiet")
    assert jtv.ok("list", "--format", "text").stdout == "Käse und Brot\n日本語の文\n"
    [hit] = jtv.ok("search", "-", "-k1", "--json", stdin="Käse\n").records
    assert hit["content"] == "Käse und Brot"
    assert "日本語" in jtv.ok("list", "--format", "table").stdout
    failed = jtv("show", "99", "--table", "日本")
    assert failed.code == 2
    failed.raw_stderr.decode("cp1252")


def test_paths_of_windows_are_names_with_slashes(monkeypatch: pytest.MonkeyPatch) -> None:
    home = "C:\\Users\\ada\\notes"

    def absolute(path: str) -> str:
        return ntpath.normpath(path if ntpath.isabs(path) else ntpath.join(home, path))

    path = SimpleNamespace(
        **{name: getattr(ntpath, name) for name in ("join", "isabs", "normpath")},
        realpath=absolute,
        abspath=absolute,
        relpath=lambda path: ntpath.relpath(absolute(path), home),
    )
    windows = SimpleNamespace(path=path, sep="\\", getcwd=lambda: home, stat=os.stat)
    monkeypatch.setattr(source_names, "os", windows)
    source_names.source_patterns.cache_clear()
    try:
        name = source_names.file_identity("sub\\a.md")
        assert name == "C:/Users/ada/notes/sub/a.md"
        assert source_names.shown_source(name) == "sub/a.md"
        assert source_names.shown_source("D:/else/b.md") == "D:/else/b.md"
        for typed in ("sub\\a.md", "sub/a.md", name):
            assert name in source_names.possible_identities(typed)
        for pattern in ("sub\\*.md", "sub/*.md"):
            assert "C:/Users/ada/notes/sub/*.md" in source_names.source_patterns(pattern)
    finally:
        source_names.source_patterns.cache_clear()


def test_a_closed_pipe_of_windows_is_a_closed_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed(io.StringIO):
        def write(self, _: str) -> int:
            raise OSError(errno.EINVAL, "Invalid argument")

    stream = output.Output(Closed())
    with pytest.raises(OutputFailed):
        stream.write("a")
    monkeypatch.setattr(output, "os", SimpleNamespace(name="nt"))
    with pytest.raises(output.OutputClosed):
        stream.write("a")


@pytest.mark.parametrize("obeys", [True, False])
def test_a_console_that_cannot_obey_escapes_gets_none(
    monkeypatch: pytest.MonkeyPatch, obeys: bool
) -> None:
    monkeypatch.setattr(config, "os", SimpleNamespace(name="nt", environ={}))
    monkeypatch.setattr(config, "_enable_escapes", lambda: obeys)
    assert config.is_dumb_terminal() is not obeys
    assert config.wants_color() is obeys


def test_an_interrupt_within_an_import_is_raised_without_timers_of_posix(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(signal, "setitimer")
    importing = [True, False]

    def interrupt() -> None:
        signal.raise_signal(signal.SIGINT)
        for _ in range(6000):
            time.sleep(0.01)

    monkeypatch.setattr(interrupts, "_is_importing", lambda _: importing.pop(0))
    before = signal.getsignal(signal.SIGINT)
    handler = interrupts._Handler()
    signal.signal(signal.SIGINT, handler)
    try:
        with pytest.raises(interrupts.Interrupted):
            interrupt()
    finally:
        signal.signal(signal.SIGINT, before)
