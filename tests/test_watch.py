"""`jtv sync --watch`: the table follows the files until it is interrupted."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
from functools import partial
from typing import TYPE_CHECKING

import pytest

import jina_faults
from jtv_cli.sources import watching
from jtv_cli.sources.directory import Selection
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from conftest import Jtv
    from jina_api import Reply
    from jina_server import JinaServer

STOPPED = "jtv: interrupted: stopped watching\n"


class Watch:
    """A `jtv sync --watch` in the background."""

    def __init__(self, jtv: Jtv, *arguments: str, env: Mapping[str, str] | None = None) -> None:
        self._jtv = jtv
        self._log = jtv.folder / "watch.log"
        self._file = self._log.open("wb")
        self.process = jtv.start(
            *("sync", *arguments, "--watch"), env=env, stdout=subprocess.PIPE, stderr=self._file
        )

    def __enter__(self) -> Watch:
        self.wait_for("Watching ")
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        if self.process.stdout is not None and not self.process.stdout.closed:
            self.process.stdout.close()
        self.process.wait()
        self._file.close()

    @property
    def stderr(self) -> str:
        return self._log.read_text()

    def wait_for(self, text: str, times: int = 1) -> None:
        """Wait until stderr has the text so often."""
        wait_until(lambda: self.stderr.count(text) >= times or self.process.poll() is not None)
        assert self.stderr.count(text) >= times, self.stderr

    def wait_for_texts(self, *texts: str) -> None:
        """Wait until the table has exactly these texts."""
        wait_until(lambda: stored(self._jtv) == sorted(texts))

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=60)


def stored(jtv: Jtv) -> list[str]:
    return sorted(jtv.ok("list", "-f", "text").stdout.splitlines())


def without_events(folder: Path) -> dict[str, str]:
    """The environment of a user who has not installed the extra."""
    hidden = folder / "hidden"
    hidden.mkdir(exist_ok=True)
    (hidden / "watchfiles.py").write_text("raise ImportError\n")
    path = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": f"{hidden}:{path}" if path else str(hidden)}


@pytest.fixture(params=["events", "polling"])
def way(request: pytest.FixtureRequest, jtv: Jtv) -> dict[str, str]:
    """What an environment has for the system's events, or for none."""
    return {} if request.param == "events" else without_events(jtv.folder)


@pytest.fixture
def notes(on_each_store: Jtv) -> Jtv:
    """A directory with two files, and an empty table."""
    on_each_store.write("notes/a.txt", "one\n")
    on_each_store.write("notes/b.txt", "two\n")
    on_each_store.ok("init", "--no-index")
    return on_each_store


@pytest.fixture
def local(jtv: Jtv) -> Jtv:
    """The same on the embedded store alone."""
    jtv.environment["JTV_MODEL"] = "hashing-v1"
    jtv.write("notes/a.txt", "one\n")
    jtv.write("notes/b.txt", "two\n")
    jtv.ok("init")
    return jtv


def test_what_is_saved_is_found_and_what_is_deleted_goes(notes: Jtv, way: dict[str, str]) -> None:
    with Watch(notes, "notes", env=way) as watch:
        watch.wait_for_texts("one", "two")
        notes.write("notes/c.txt", "three\n")
        watch.wait_for_texts("one", "two", "three")
        notes.write("notes/a.txt", "four\n")
        watch.wait_for_texts("four", "two", "three")
        (notes.folder / "work/notes/b.txt").unlink()
        watch.wait_for_texts("four", "three")
        notes.write("notes/new/deep/d.txt", "five\n")
        watch.wait_for_texts("four", "three", "five")
        # As most editors save.
        notes.write("notes/.d.txt.swp", "six\n").rename(notes.folder / "work/notes/new/deep/d.txt")
        watch.wait_for_texts("four", "three", "six")
        assert watch.interrupt() == 130
        assert watch.stderr.endswith(STOPPED)
        assert watch.stderr.count("Watching notes\n") == 1
        assert watch.stderr.count("(model hashing-v1) in ") == 1


def test_an_interrupt_is_one_line(local: Jtv, way: dict[str, str]) -> None:
    with Watch(local, "notes", env=way) as watch:
        before = watch.stderr
        assert watch.interrupt() == 130
        assert watch.stderr == before + STOPPED


def test_named_files_and_directories(local: Jtv, way: dict[str, str]) -> None:
    path = local.write("app.log", "first\n")
    local.write("other.log", "of another\n")
    with Watch(local, "app.log", "other.log", "notes", env=way) as watch:
        watch.wait_for_texts("one", "two", "first", "of another")
        with path.open("a") as file:
            file.write("second\n")
        watch.wait_for_texts("one", "two", "first", "second", "of another")
        local.write("app.log.new", "third\n").rename(path)
        watch.wait_for_texts("one", "two", "third", "of another")
        path.unlink()
        watch.wait_for("jtv: warning: app.log is gone: the table keeps its documents\n")
        local.write("notes/a.txt", "uno\n")
        watch.wait_for_texts("uno", "two", "third", "of another")
        local.write("app.log", "back\n")
        watch.wait_for_texts("uno", "two", "back", "of another")


def test_a_file_alone(local: Jtv) -> None:
    """Its directory is not watched, which may be a whole home."""
    local.write("app.log", "first\n")
    with Watch(local, "app.log") as watch:
        watch.wait_for_texts("first")
        local.write("app.log", "second\n")
        watch.wait_for_texts("second")


def test_ignore_files_count_as_soon_as_they_are_saved(local: Jtv) -> None:
    with Watch(local, "notes") as watch:
        local.write("notes/.ignore", "*.tmp\n")
        local.write("notes/x.tmp", "temporary\n")
        local.write("notes/c.txt", "three\n")
        watch.wait_for_texts("one", "two", "three")
        local.write("notes/.ignore", "")
        watch.wait_for_texts("one", "two", "three", "temporary")


def test_a_system_without_events_to_spare(local: Jtv) -> None:
    """As where too many directories are watched already."""
    env = without_events(local.folder)
    module = "def watch(*_, **__):\n    raise OSError('limit reached')\n    yield\n"
    (local.folder / "hidden/watchfiles.py").write_text(module)
    with Watch(local, "notes", env=env) as watch:
        watch.wait_for(
            "jtv: warning: cannot wait for events of the file system (limit reached);"
            " looking at the files now and then instead\n"
        )
        local.write("notes/c.txt", "three\n")
        watch.wait_for_texts("one", "two", "three")
        assert watch.stderr.count("limit reached") == 1


def test_a_burst_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next file of it comes whenever the watcher waits whether there is another one."""
    names = [f"{number}.txt" for number in range(10)]
    left = iter(names[1:])

    def sleep(seconds: float) -> None:
        assert seconds <= 0.3
        for name in left:
            (tmp_path / name).write_text("text")
            return

    watcher = watching.Watcher([str(tmp_path)], Selection(), pytest.fail)
    handled = watcher.look()
    (tmp_path / names[0]).write_text("text")
    monkeypatch.setattr("time.sleep", sleep)
    look = watcher.wait(handled)
    assert [path.rpartition("/")[2] for path in look.files()] == names


class TestSafety:
    """A disk that is not mounted looks like files that were deleted."""

    def test_an_empty_directory_removes_nothing(self, local: Jtv, way: dict[str, str]) -> None:
        work = local.folder / "work"
        with Watch(local, "notes", "--yes", env=way) as watch:
            for name in ("a.txt", "b.txt"):
                (work / "notes" / name).unlink()
            warning = (
                "jtv: warning: there is no file left in notes: the table keeps their documents"
            )
            # They may go one after the other, or both at once.
            wait_until(lambda: warning in watch.stderr)
            left = stored(local)
            assert left
            local.write("notes/c.txt", "three\n")
            watch.wait_for_texts(*left, "three")

    def test_a_directory_that_is_away_for_a_while(self, local: Jtv, way: dict[str, str]) -> None:
        work = local.folder / "work"
        with Watch(local, "notes", "--yes", env=way) as watch:
            (work / "notes").rename(work / "away")
            watch.wait_for("there is no file left in notes")
            local.write("notes/c.txt", "three\n")
            watch.wait_for_texts("one", "two", "three")
            shutil.rmtree(work / "notes")
            watch.wait_for("there is no file left in notes", times=2)
            local.write("away/d.txt", "four\n")
            (work / "away").rename(work / "notes")
            watch.wait_for_texts("one", "two", "three", "four")
            local.write("notes/a.txt", "uno\n")
            watch.wait_for_texts("uno", "two", "three", "four")

    @pytest.mark.parametrize("options", [(), ("--yes",)])
    def test_most_of_many_files_at_once(self, local: Jtv, options: tuple[str, ...]) -> None:
        names = [f"text {number}" for number in range(20)]
        for name in names:
            local.write(f"notes/many/{name}.txt", f"{name}\n")
        with Watch(local, "notes", *options) as watch:
            # At once, as for who looks at it: a directory that has moved.
            (local.folder / "work/notes/many").rename(local.folder / "work/away")
            if options:
                watch.wait_for_texts("one", "two")
                return
            watch.wait_for(
                "jtv: warning: 20 of 22 files in notes are gone at once: the table keeps their"
                " documents\nhint: if it is not a mistake, run: jtv sync notes\n"
            )
            (local.folder / "work/notes/a.txt").unlink()
            watch.wait_for_texts("two", *names)
            local.write("notes/many/text 3.txt", "new\n")
            watch.wait_for_texts("two", "new", *(name for name in names if name != "text 3"))
        local.ok("sync", "notes", "--yes")
        assert stored(local) == ["new", "two"]

    def test_what_was_deleted_before_needs_a_yes(self, local: Jtv) -> None:
        local.ok("sync", "notes")
        (local.folder / "work/notes/a.txt").unlink()
        with Watch(local, "notes") as watch:
            assert "this removes 1 document and 1 occurrence" in watch.stderr
            assert "hint: add --yes" in watch.stderr
            local.write("notes/c.txt", "three\n")
            watch.wait_for_texts("one", "two", "three")
        with Watch(local, "notes", "--yes") as watch:
            watch.wait_for_texts("two", "three")


class TestPaying:
    @pytest.fixture
    def paying(self, keyed: Jtv) -> Jtv:
        keyed.write("notes/a.txt", "one\n")
        keyed.ok("init")
        return keyed

    def test_a_burst_of_saves_is_one_request(
        self, paying: Jtv, api: JinaServer, way: dict[str, str]
    ) -> None:
        texts = [f"text {number}" for number in range(40)]
        with Watch(paying, "notes", env=way) as watch:
            requests = len(api.requests)
            # It must not look while this process has to wait for its turn.
            watch.process.send_signal(signal.SIGSTOP)
            for text in texts:
                paying.write(f"notes/{text}.txt", f"{text}\n")
            watch.process.send_signal(signal.SIGCONT)
            watch.wait_for("Stored 40 new documents (0 already stored, 0 skipped)")
            assert len(api.requests) == requests + 1
            paying.write("notes/last.txt", "last\n")
            watch.wait_for_texts("one", "last", *texts)
        assert len(api.requests) == requests + 2
        assert sorted(api.bill) == sorted(["one", "last", *texts])

    def test_a_failure_is_a_warning_and_the_change_is_not_lost(
        self, paying: Jtv, api: JinaServer
    ) -> None:
        with Watch(paying, "notes", "--max-wait", "0") as watch:
            api.misbehave(jina_faults.answer(503), times=None)
            paying.write("notes/b.txt", "two\n")
            watch.wait_for("trying again in 1 s")
            watch.wait_for("trying again in 2 s")
            (paying.folder / "work/notes/a.txt").unlink()
            api.behave()
            watch.wait_for_texts("two")
            # The next failure is not taken for a later one.
            api.misbehave(jina_faults.answer(503))
            paying.write("notes/c.txt", "three\n")
            watch.wait_for("trying again in 1 s", times=2)
            watch.wait_for_texts("two", "three")
            assert watch.process.poll() is None
        assert api.bill == ["one", "two", "three"]
        assert "jtv: error" not in watch.stderr

    def test_a_file_that_goes_while_others_are_read(self, paying: Jtv, api: JinaServer) -> None:
        """It was found, and others were stored by then."""
        texts = [f"{number} {'x' * 200}" for number in range(3000)]
        with Watch(paying, "notes", "--concurrency", "1") as watch:

            def remove(reply: Reply) -> Reply:
                (paying.folder / "work/notes/b.txt").unlink()
                return reply

            api.misbehave(remove)
            watch.process.send_signal(signal.SIGSTOP)
            paying.write("notes/a.txt", "".join(f"{text}\n" for text in texts))
            paying.write("notes/b.txt", "two\n")
            watch.process.send_signal(signal.SIGCONT)
            watch.wait_for("stopped before the end: cannot read ")
            watch.wait_for_texts(*texts)
            assert watch.interrupt() == 130
        assert sorted(api.bill) == sorted(["one", *texts])

    def test_a_failure_at_first_ends_it(self, paying: Jtv, api: JinaServer) -> None:
        api.misbehave(jina_faults.answer(503), times=None)
        result = paying("sync", "notes", "--watch", "--max-wait", "0")
        assert result.code == 4
        assert "Watching" not in result.stderr

    def test_an_interrupt_while_it_waits_for_the_api(self, paying: Jtv, api: JinaServer) -> None:
        with Watch(paying, "notes") as watch:
            api.misbehave(jina_faults.hang(2))
            requests = len(api.requests)
            paying.write("notes/b.txt", "two\n")
            wait_until(lambda: len(api.requests) > requests)
            assert watch.interrupt() == 130
            assert "run the same command to resume; nothing was removed" in watch.stderr
        assert stored(paying) == ["one", "two"]  # the answer in flight was paid for

    def test_a_budget_is_for_all_of_it(self, paying: Jtv, api: JinaServer) -> None:
        with Watch(paying, "notes", "--max-tokens", "100") as watch:

            def is_stopped() -> bool:
                return "stopped before the end" in watch.stderr

            def is_handled(before: int) -> bool:
                return is_stopped() or len(api.bill) > before

            for number in range(1, 50):
                before = len(api.bill)
                paying.write(f"notes/{number}.txt", f"{'word ' * 20}{number}\n")
                wait_until(partial(is_handled, before))
                if is_stopped():
                    break
            assert watch.process.wait(timeout=60) == 3
        assert api.tokens <= 100

    def test_a_budget_counts_what_a_failed_run_has_used(self, paying: Jtv, api: JinaServer) -> None:
        options = ("--max-tokens", "9000", "--max-wait", "0", "--concurrency", "1")
        with Watch(paying, "notes", *options) as watch:
            api.misbehave(jina_faults.answer(503), when=lambda request: len(api.bill) > 500)
            paying.write("notes/b.txt", "".join(f"line {n} of the file\n" for n in range(600)))
            watch.wait_for("trying again in 1 s")
            watch.wait_for("Stored 88 new documents")
            paying.write("notes/c.txt", "".join(f"other line {n} of it\n" for n in range(1500)))
            assert watch.process.wait(timeout=60) == 3
            assert "stopped before the end" in watch.stderr
        assert api.tokens <= 9000


class TestTheTable:
    def test_another_one_takes_its_place(self, local: Jtv) -> None:
        with Watch(local, "notes") as watch:
            watch.wait_for_texts("one", "two")
            local.ok("reembed", "--model", "static-v1", "--to", "new")
            command = ("tables", "rename", "--replace", "--yes", "new")
            local.ok(*command, "jinaai_tidb_demo_documents")
            local.write("notes/c.txt", "three\n")
            watch.wait_for_texts("one", "two", "three")
        assert local.ok("tables").rows == [["jinaai_tidb_demo_documents", "static-v1", "1024", "3"]]

    def test_one_that_is_gone_ends_it(self, local: Jtv) -> None:
        with Watch(local, "notes") as watch:
            local.ok("tables", "rename", "jinaai_tidb_demo_documents", "other")
            local.write("notes/c.txt", "three\n")
            assert watch.process.wait(timeout=60) == 5
            assert 'jtv: error: no table "jinaai_tidb_demo_documents"' in watch.stderr


def test_a_record_for_each_change(local: Jtv) -> None:
    with Watch(local, "notes", "--json") as watch:
        local.write("notes/c.txt", "three\nfour\n")
        watch.wait_for_texts("one", "two", "three", "four")
        (local.folder / "work/notes/c.txt").unlink()
        watch.wait_for_texts("one", "two")
        assert watch.interrupt() == 130
        assert watch.process.stdout is not None
        import json

        first, second, third = map(json.loads, watch.process.stdout)
    assert (first["stored"], second["stored"], third["stored"]) == (2, 2, 0)
    assert third["removed"] == {"documents": 2, "occurrences": 2}


def test_a_file_with_a_bad_line_is_named_once(local: Jtv) -> None:
    with Watch(local, "notes") as watch:
        local.write("notes/bad.txt", b"good\n\xff\n")
        watch.wait_for("notes/bad.txt:2: not UTF-8")
        local.write("notes/c.txt", "three\n")
        watch.wait_for_texts("one", "two", "good", "three")
        (local.folder / "work/notes/a.txt").unlink()
        watch.wait_for_texts("two", "good", "three")
    # Once more when it is sure that it has settled.
    assert watch.stderr.count("not UTF-8") <= 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("notes", "--dry-run"), "--watch and --dry-run cannot be combined"),
        (("-", "--source", "x"), "--watch and standard input cannot be combined"),
        (("nothing",), "cannot read nothing"),
    ],
)
def test_what_cannot_be_watched(local: Jtv, arguments: tuple[str, ...], says: str) -> None:
    result = local("sync", *arguments, "--watch", stdin="")
    assert result.code == 2
    assert says in result.error


def test_it_ends_when_nobody_reads_its_reports(local: Jtv) -> None:
    with Watch(local, "notes", "--json") as watch:
        assert watch.process.stdout is not None
        # The report is there at once, although the command goes on.
        assert select.select([watch.process.stdout], [], [], 10)[0]
        assert json.loads(watch.process.stdout.readline())["stored"] == 2
        watch.process.stdout.close()
        local.write("notes/c.txt", "three\n")
        assert watch.process.wait(timeout=60) == 0
    assert "three" in stored(local)
