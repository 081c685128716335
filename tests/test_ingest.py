"""`jtv ingest`: what it reads, stores, leaves out and says."""

from __future__ import annotations

import gzip
import json
import os
import random
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from functools import partial
from importlib import import_module
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import pytest

import jina_faults
from conftest import SAMPLE_TEXTS, ingest_counts
from jtv_cli.embedders import BatchLimit
from jtv_cli.embedders.models import find_model
from jtv_cli.errors import StoreError
from jtv_cli.pipeline.ingestion import ingest
from jtv_cli.pipeline.observer import NullObserver
from jtv_cli.pipeline.options import IngestOptions
from jtv_cli.pipeline.retry import RetryPolicy
from jtv_cli.records import Embeddings
from jtv_cli.sources.blocks import RecordBlock
from jtv_cli.threads import get_within
from tables import DIMENSIONS, vectors
from waiting import send, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path
    from queue import SimpleQueue

    from conftest import Jtv
    from jina_server import JinaServer
    from jtv_cli.pipeline.observer import Observer
    from jtv_cli.records import Added, IngestProgress, Purpose
    from jtv_cli.stores import Table


def contents(jtv: Jtv) -> list[str]:
    return [row[2] for row in jtv.ok("list").rows]


def places(jtv: Jtv) -> list[tuple[str, str, str]]:
    return [(text, source, line) for _, _, text, source, line in jtv.ok("list").rows]


def test_the_sample_texts(made: Jtv) -> None:
    result = made.ok("ingest", str(SAMPLE_TEXTS))
    reading, _, where = result.stderr.splitlines()
    assert reading == f"Reading {SAMPLE_TEXTS} by lines"
    assert result.counts == "34 stored, 0 known, 0 empty, 0 skipped, 0 tokens"
    assert where.endswith(" in ~/.local/share/jtv/jtv.db")
    assert contents(made) == SAMPLE_TEXTS.read_text().splitlines()


def test_a_pipe(made: Jtv) -> None:
    assert "2 stored" in made.ok("ingest", "-", stdin="a\nb\n").counts
    assert places(made) == [("a", "-", "1"), ("b", "-", "2")]


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        (b"", []),
        (b"\n\n", []),
        (b"one", ["one"]),
        (b"one\r\ntwo\r\n", ["one", "two"]),
        (b"\xef\xbb\xbfone\ntwo", ["one", "two"]),
        (b"\xef\xbb\xbf", []),
        (b"  padded \t\n \n\xe3\x80\x80wide\xe3\x80\x80\n", ["padded", "wide"]),
        (b"one\x0btwo\x85\nthree\r", None),
        ("a\u2028b\n".encode(), ["a\u2028b"]),
        ("🦣 mammoth\n漢字\n".encode(), ["🦣 mammoth", "漢字"]),
        (b"[bold]x[/bold] :smile:\n", ["[bold]x[/bold] :smile:"]),
    ],
)
def test_lines(made: Jtv, content: bytes, texts: list[str] | None) -> None:
    made.write("file.txt", content)
    result = made("ingest", "file.txt", "--lines")
    if texts is None:
        assert result.code == 3
        assert contents(made) == ["three"]
    else:
        assert result.code == 0
        stored = [
            json.loads(line)["content"]
            for line in made.ok("list", "--json").stdout.split("\n")[:-1]
        ]
        assert stored == texts


def test_empty_lines_are_counted(made: Jtv) -> None:
    assert (
        "1 stored, 1 known, 2 empty, 0 skipped" in made.ok("ingest", "-", stdin="a\n\n \na").counts
    )


def test_a_very_long_line(made: Jtv) -> None:
    text = "mammoth " * 262_144
    assert "1 stored" in made.ok("ingest", "-", stdin=text).counts
    assert contents(made) == [text.strip()]
    assert made.ok("search", "mammoth").rows[0][2] == text.strip()


def test_a_known_text_gains_an_occurrence_and_nothing_else(made: Jtv) -> None:
    made.write("one.txt", "same\nfirst\n")
    made.write("two.txt", "second\nsame\n")
    made.ok("ingest", "one.txt")
    assert "1 stored, 1 known" in made.ok("ingest", "two.txt").counts
    assert "0 stored, 4 known" in made.ok("ingest", "one.txt", "two.txt").counts
    assert places(made) == [
        ("same", "one.txt", "1"),
        ("first", "one.txt", "2"),
        ("second", "two.txt", "1"),
    ]


def test_the_same_text_twice_in_one_input(made: Jtv) -> None:
    assert "1 stored, 2 known" in made.ok("ingest", "-", stdin="x\nx\nx\n").counts


def test_sources_are_normalised_or_named(made: Jtv) -> None:
    made.write("folder/a.txt", "a\n")
    made.ok("ingest", "./folder/../folder//a.txt")
    made.ok("ingest", "-", "--source", "the web", stdin="\nb\n")
    assert places(made) == [("a", "folder/a.txt", "1"), ("b", "the web", "2")]


def test_a_file_name_that_is_not_utf8(made: Jtv) -> None:
    name = os.fsdecode(b"caf\xe9.txt")
    (made.folder / "work" / name).write_text("a\n")
    made.ok("ingest", name)
    assert places(made) == [("a", "caf\\xe9.txt", "1")]


def test_lines_that_are_not_utf8_are_named_and_skipped(made: Jtv) -> None:
    made.write("mixed.txt", b"good\ncaf\xe9\nbetter\n\xff\n")
    result = made("ingest", "mixed.txt")
    assert result.code == 3
    assert result.stderr.splitlines()[1:3] == [
        "jtv: warning: mixed.txt:2: not UTF-8 (byte 0xe9 at position 4), skipped",
        "jtv: warning: mixed.txt:4: not UTF-8 (byte 0xff at position 1), skipped",
    ]
    assert result.counts == "2 stored, 0 known, 0 empty, 2 skipped, 0 tokens"
    assert contents(made) == ["good", "better"]


def test_quiet_still_names_what_was_skipped(made: Jtv) -> None:
    result = made("ingest", "-", "--quiet", stdin=b"good\n\xff\n")
    assert (result.code, result.stderr.count("\n")) == (3, 1)
    assert "-:2" in result.stderr


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("name", ["blocks.txt", "blocks.txt.gz", "-"])
def test_utf16_is_recognised(made: Jtv, name: str, encoding: str) -> None:
    data = "\ufeffone\ntwo\n".encode(encoding)
    made.write(name, gzip.compress(data) if name.endswith(".gz") else data)
    result = made("ingest", name, stdin=data)
    assert result.code == 2
    assert f"{name} is UTF-16 text, not UTF-8" in result.error
    if name == "blocks.txt":
        assert "iconv -f UTF-16 -t UTF-8 blocks.txt | jtv ingest -" in result.error
    assert contents(made) == []


def test_utf16_is_recognised_before_another_file_is_stored(made: Jtv) -> None:
    made.write("one.txt", "one\n")
    made.write("blocks.txt.gz", gzip.compress("two\n".encode("utf-16")))
    assert made("ingest", "one.txt", "blocks.txt.gz").code == 2
    assert contents(made) == []


def test_a_file_with_a_wrong_name_is_recognised_before_another_file_is_stored(made: Jtv) -> None:
    made.write("one.txt", "one\n")
    made.write("plain.gz", "two\n")
    result = made("ingest", "one.txt", "plain.gz")
    assert (result.code, "plain.gz is not compressed with gzip" in result.error) == (2, True)
    assert contents(made) == []


@pytest.mark.parametrize("bad", ["missing.txt", ".", "unreadable.txt"])
def test_files_are_opened_before_anything_is_done(
    made: Jtv, bad: str, as_a_user: list[str]
) -> None:
    made.write("good.txt", "good\n")
    made.write("unreadable.txt", "x\n").chmod(0)
    result = made("ingest", "good.txt", bad, prefix=as_a_user)
    assert result.code == 2
    assert bad in result.error
    assert contents(made) == []


class TestReadingThatFails:
    """It ends the input; what was read before is stored."""

    def run(self, jtv: Jtv, *arguments: str, typed: bytes) -> tuple[int, str]:
        """Run it on a terminal from which the other side goes: there is an error in its end."""
        master, terminal = os.openpty()
        os.write(terminal, typed)
        os.close(terminal)
        process = jtv.start(*arguments, stdin=master, stderr=subprocess.PIPE)
        os.close(master)
        _, stderr = process.communicate(timeout=60)
        return process.returncode, stderr.decode()

    @pytest.mark.parametrize("command", ["ingest", "sync"])
    def test_after_something_was_read(self, made: Jtv, command: str) -> None:
        for counts in ("Stored 2 new documents (0 already", "Stored 0 new documents (2 already"):
            code, stderr = self.run(made, command, "-", "--source", "x", typed=b"one\ntwo\n")
            assert "stopped before the end: cannot read -: Input/output error" in stderr
            assert counts in stderr
            assert code == 3
        assert contents(made) == ["one", "two"]

    def test_before(self, made: Jtv) -> None:
        code, stderr = self.run(made, "ingest", "-", typed=b"")
        assert "jtv: error: cannot read -: Input/output error\n" in stderr
        assert code == 2

    def test_a_first_record_without_a_text_that_comes_late(self, made: Jtv) -> None:
        made.write("a.txt", "one\ntwo\n")
        made.write("late.jsonl", b"\n" * (1 << 21) + b'{"body": "x"}\n')
        result = made("ingest", "a.txt", "late.jsonl", "--json")
        assert result.code == 3
        assert contents(made) == ["one", "two"]
        assert "late.jsonl has no field text or content" in result.records[0]["stopped"]
        assert made("ingest", "late.jsonl").code == 2


def test_a_name_that_is_empty(made: Jtv) -> None:
    result = made("ingest", "")
    assert (result.code, result.stderr) == (2, "jtv: error: a file name is empty\n")


def test_a_file_called_as_standard_input_is(made: Jtv) -> None:
    made.write("-", "a\n")
    made.ok("ingest", "./-")
    assert places(made) == [("a", "./-", "1")]


def test_no_file_is_no_hang(made: Jtv) -> None:
    assert made("ingest").code == 2


def test_stdin_that_is_closed(made: Jtv) -> None:
    result = made("ingest", "-", prefix=["sh", "-c", 'exec "$@" <&-', "sh"])
    assert result.code == 2
    assert "standard input is closed" in result.error


def test_no_table(jtv: Jtv) -> None:
    for options in (("--table", "notes"), ("--database", "new.db")):
        result = jtv("ingest", "-", *options, stdin="a\n")
        assert result.code == 5
        assert result.error.endswith(f"create it with: jtv init {' '.join(options)}")
    assert not jtv.database.exists()
    assert not (jtv.folder / "work/new.db").exists()


def test_the_default_table_is_created(jtv: Jtv) -> None:
    result = jtv.ok("ingest", "-", stdin="a\n")
    assert "Created table jinaai_tidb_demo_documents" in result.stderr
    assert result.counts.startswith("1 stored")
    assert "Created" not in jtv.ok("ingest", "-", stdin="b\n").stderr


def test_a_dry_run_creates_no_table(jtv: Jtv) -> None:
    jtv.ok("ingest", "-", "--dry-run", stdin="a\n")
    assert not jtv.database.exists()


def test_a_failure_before_anything_was_done_is_not_summed_up(keyed: Jtv) -> None:
    keyed.ok("init")
    result = keyed("ingest", "-", stdin="a\n", env={"JINA_API_KEY": "jina_another_key"})
    assert (result.code, result.is_one_error) == (4, True)


def test_report_as_json(made: Jtv) -> None:
    result = made("ingest", "-", "--json", stdin=b"a\na\n\n\xff\n")
    assert result.code == 3
    report = json.loads(result.stdout)
    assert report.pop("seconds") > 0
    assert report == {
        "stored": 1,
        "known": 1,
        "empty": 1,
        "skipped": 1,
        "tokens": 0,
        "stopped": None,
    }


def test_a_fifo_is_read_once(made: Jtv) -> None:
    path: Path = made.folder / "work/fifo"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_text, args=("a\nb\n",))
    writer.start()
    assert "2 stored" in made.ok("ingest", "fifo").counts
    writer.join()


def test_two_at_once_store_each_text_once(made: Jtv) -> None:
    lines = [f"line {number} of many" for number in range(4000)]
    made.write("up.txt", "\n".join(lines))
    made.write("down.txt", "\n".join(reversed(lines)))
    running = [made.start("ingest", name, "--quiet") for name in ("up.txt", "down.txt")]
    assert [process.wait(timeout=120) for process in running] == [0, 0]
    assert sorted(contents(made)) == sorted(lines)


class TestMaxTokens:
    LINES = "".join(f"line {number}\n" for number in range(2000))

    def test_it_stops_before_more_is_used(self, keyed: Jtv, api: JinaServer) -> None:
        keyed.ok("init")
        result = keyed("ingest", "-", "--max-tokens", "6000", stdin=self.LINES)
        assert result.code == 3
        assert (
            "stopped before the end: the next batch would pass --max-tokens 6000" in result.stderr
        )
        assert 2000 < api.tokens <= 6000
        assert sorted(contents(keyed)) == sorted(api.bill)
        keyed.ok("ingest", "-", "--max-tokens", "100000", stdin=self.LINES)
        assert len(api.bill) == 2000

    def test_known_texts_are_free(self, keyed: Jtv, api: JinaServer) -> None:
        keyed.ok("init")
        keyed.ok("ingest", "-", stdin=self.LINES)
        keyed.ok("ingest", "-", "--max-tokens", "1", stdin=self.LINES)
        assert len(api.bill) == 2000

    def test_a_service_that_does_not_count(self, keyed: Jtv, api: JinaServer) -> None:
        keyed.ok("init")
        api.misbehave(jina_faults.no_usage, times=None)
        result = keyed("ingest", "-", "--max-tokens", "6000", "--json", stdin=self.LINES)
        assert result.code == 3
        assert json.loads(result.stdout)["tokens"] == 0
        assert 500 < len(api.bill) < 2000


def test_a_disk_that_is_full(keyed: Jtv, api: JinaServer) -> None:
    """What fits is stored; with more room, the same command goes on and pays for no more."""
    keyed.ok("init")
    lines = [f"line {number}" for number in range(4000)]
    keyed.write("lines.txt", "\n".join(lines))
    limited = ["sh", "-c", 'ulimit -f 16000; exec "$@"', "sh"]
    result = keyed("ingest", "lines.txt", prefix=limited)
    assert result.code == 5
    stored = contents(keyed)
    assert 0 < len(stored) < 4000
    assert sorted(api.bill) == sorted(stored)
    assert keyed("ingest", "lines.txt", prefix=limited).code == 5
    assert sorted(api.bill) == sorted(contents(keyed)), "nothing is paid for and lost"
    stored = contents(keyed)
    paid = len(api.bill)
    keyed.ok("ingest", "lines.txt")
    assert sorted(contents(keyed)) == sorted(lines)
    assert set(stored).isdisjoint(api.bill[paid:])


def test_a_file_that_is_removed_is_not_written_to(made: Jtv) -> None:
    """SQLite would go on writing what nobody can open again."""
    process = made.start("ingest", "-", stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    send(process.stdin, "".join(f"line {number}\n" for number in range(3000)).encode())
    wait_until(lambda: contents(made))
    made.database.unlink()
    more = "".join(f"another {number}\n" for number in range(3000)).encode()
    _, stderr = process.communicate(more, timeout=60)
    assert process.returncode == 5
    assert f"{made.database} was removed or replaced meanwhile" in stderr.decode()


def test_eight_at_once_are_stored_in_the_order_of_the_input(keyed: Jtv, api: JinaServer) -> None:
    keyed.ok("init")
    chance = random.Random(1)
    lines = [f"{number} {'x' * chance.randrange(1, 200)}" for number in range(9000)]
    api.latency = 0.05
    keyed.ok("ingest", "-", "--concurrency", "8", stdin="\n".join(lines))
    assert contents(keyed) == lines
    assert 2 < api.peak <= 8
    lengths = [[len(text) for text in request.texts] for request in api.requests]
    spread = sum(max(each) - min(each) for each in lengths) / len(lengths)
    assert spread < 80


def test_what_cannot_be_written_to_costs_nothing(
    keyed: Jtv, api: JinaServer, as_a_user: list[str]
) -> None:
    keyed.ok("init")
    keyed.database.chmod(0o400)
    result = keyed("ingest", str(SAMPLE_TEXTS), prefix=as_a_user)
    assert (result.code, api.bill) == (5, [])
    assert result.is_one_error


class TestInputThatPauses:
    def test_what_was_read_is_stored_while_more_may_come(self, keyed: Jtv, api: JinaServer) -> None:
        """As by `tail -f app.log | jtv ingest -`."""
        keyed.ok("init")
        process = keyed.start("ingest", "-", stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            for lines in (["one", "two"], ["three"], ["one", "four"]):
                send(process.stdin, "".join(f"{line}\n" for line in lines).encode())
                wait_until(lambda lines=lines: set(lines) <= set(contents(keyed)))  # type: ignore[misc]
        finally:
            _, stderr = process.communicate(timeout=60)
        assert process.returncode == 0
        assert ingest_counts(stderr.decode()).startswith("4 stored, 1 known")
        assert contents(keyed) == ["one", "two", "three", "four"] == api.bill

    def test_a_trickle_is_stored_now_and_then(
        self, table: Table, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A line now and then is input without a pause, and no group for a long time."""
        module = import_module("jtv_cli.pipeline.ingestion")
        monkeypatch.setattr(module, "_IDLE_SECONDS", 3600.0)
        monkeypatch.setattr(module, "_LONGEST_GATHERING_SECONDS", 0.2)
        stored = Event()

        def blocks() -> Iterator[RecordBlock]:
            for number in range(1, 1000):
                yield RecordBlock(
                    None, "-", [(number, f"line {number}", None, None)], 0, [], number
                )
                if stored.wait(0.02):
                    return

        class Observer(NullObserver):
            def on_progress(self, progress: IngestProgress) -> None:
                if progress.report.stored:
                    stored.set()

        ingest_lines(table, blocks(), Observer())
        assert 0 < table.count() < 900


def test_nothing_is_sent_after_the_store_has_refused(keyed: Jtv, api: JinaServer) -> None:
    keyed.ok("init")
    with closing(sqlite3.connect(keyed.database)) as database:
        database.execute(
            "CREATE TRIGGER full BEFORE INSERT ON jinaai_tidb_demo_documents"
            " BEGIN SELECT RAISE(ABORT, 'no room'); END"
        )
    lines = "".join(f"line {number}\n" for number in range(20_000))
    result = keyed("ingest", "-", "--concurrency", "1", "--json", stdin=lines)
    assert result.code == 5
    assert len(api.requests) <= 3
    [report] = result.records
    assert (report["stored"], report["lost"]) == (0, len(api.bill))


def test_room_is_asked_for_before_anything_is_sent(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def reserve(size: int) -> None:
        asked.append(size)
        raise StoreError("the disk is full")

    monkeypatch.setattr(table, "reserve", reserve)
    block = RecordBlock(
        "a.txt", "a.txt", [(1, "x" * 1000, None, None), (2, "y", None, None)], 0, [], 1002
    )
    with pytest.raises(StoreError, match="the disk is full"):
        ingest_lines(table, [block], must_embed=False)
    [size] = asked
    assert size > 1001 + 2 * 4 * DIMENSIONS
    assert table.count() == 0


def lines_block(*lines: str) -> RecordBlock:
    return RecordBlock(None, "-", [(1, line, None, None) for line in lines], 0, [], 1)


API_MODEL = "jina-embeddings-v2-base-en"


class TestSlowStore:
    """A store that takes its time, in a thread of its own."""

    def test_nothing_is_computed_meanwhile(
        self, table: Table, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(table, "is_remote", True)
        module, add = import_module("jtv_cli.pipeline.ingestion"), table.add
        monkeypatch.setattr(module, "_IDLE_SECONDS", 0.2)
        is_embedding, has_more, has_stored, many = Event(), Event(), Event(), Event()
        looks = [0]

        def blocks() -> Iterator[RecordBlock]:
            yield lines_block("one")
            is_embedding.wait(10)
            yield lines_block("two")
            has_more.set()
            has_stored.wait(10)

        def embed_slowly() -> None:
            is_embedding.set()
            has_more.wait(10)

        def add_slowly(*given: Any) -> Added:
            many.wait(1)
            has_stored.set()
            return add(*given)

        def look(seconds: float, queue: SimpleQueue[Any]) -> Any:
            looks[0] += 1
            if looks[0] > 200:
                many.set()
            return get_within(seconds, queue)

        monkeypatch.setattr(module, "get_within", look)
        monkeypatch.setattr(table, "add", add_slowly)
        ingest_lines(table, blocks(), name=API_MODEL, on_embed=embed_slowly)
        assert table.count() == 2
        assert not many.is_set()

    def test_what_was_read_before_an_interrupt_is_stored(
        self, table: Table, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The reader passes it on after the store has ended."""
        monkeypatch.setattr(table, "is_remote", True)
        module, add = import_module("jtv_cli.pipeline.ingestion"), table.add
        monkeypatch.setattr(module, "_IDLE_SECONDS", 0.05)
        is_storing, has_stored, interrupted = Event(), Event(), Event()
        drain, wait = module._Run._drain, module._Run.wait

        def blocks() -> Iterator[RecordBlock]:
            yield lines_block("one")
            has_stored.wait(10)
            yield lines_block("two")
            Event().wait()

        def add_slowly(*given: Any) -> Added:
            is_storing.set()
            interrupted.wait(10)
            return add(*given)

        def drain_slowly(run: Any) -> bool:
            interrupted.set()
            wait_until(run._storing.result.qsize)
            wait_until(lambda: not run.events.empty())
            has_stored.set()
            return bool(drain(run))

        def wait_or_interrupt(run: Any) -> None:
            if is_storing.is_set():
                wait(run)
            is_storing.wait(10)
            raise KeyboardInterrupt

        monkeypatch.setattr(module._Run, "_drain", drain_slowly)
        monkeypatch.setattr(module._Run, "wait", wait_or_interrupt)
        monkeypatch.setattr(table, "add", add_slowly)
        with pytest.raises(KeyboardInterrupt):
            ingest_lines(table, blocks(), name=API_MODEL, is_stream=True)
        assert [document.text for document in table.read()] == ["one", "two"]


def test_without_threads_for_requests_and_storing(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = import_module("jtv_cli.pipeline.ingestion")

    class Scarce(Thread):
        def start(self) -> None:
            if isinstance(self._target, partial):  # type: ignore[attr-defined]
                raise RuntimeError("can't start new thread")
            super().start()

    monkeypatch.setattr(module, "Thread", Scarce)
    ingest_lines(table, [lines_block("one", "two")], name=API_MODEL)
    assert table.count() == 2


def ingest_lines(
    table: Table,
    blocks: Iterable[RecordBlock],
    observer: Observer | None = None,
    *,
    must_embed: bool = True,
    name: str = "hashing-v1",
    is_stream: bool = False,
    on_embed: Callable[[], object] = lambda: None,
) -> None:
    class Embedder:
        model = find_model(name)
        batch_limit = BatchLimit(1024, 1 << 20)

        def embed(self, texts: Sequence[str], _purpose: Purpose) -> Embeddings:
            assert must_embed
            on_embed()
            return Embeddings(vectors(len(texts)))

    options = IngestOptions(1, RetryPolicy(1.0), is_stream=is_stream)
    ingest(blocks, Embedder(), table, options, observer)


PEAK = """
import os, re, sys
from pathlib import Path
from jtv_cli.__main__ import main

def exit_and_tell(code, exit=os._exit):
    status = Path("/proc/self/status").read_text()
    os.write(2, b"PEAK " + re.search(r"VmHWM:\\s+(\\d+)", status)[1].encode())
    exit(code)

os._exit = exit_and_tell
sys.argv[:2] = ["jtv"]
main()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.parametrize("texts", [1, 3])
def test_many_repetitions_take_little_memory(made: Jtv, texts: int) -> None:
    def peak(lines: int) -> int:
        content = "".join(f"the same line {number % texts}\n" for number in range(lines))
        made.write("lines.txt", content)
        result = made.ok(
            *("ingest", "lines.txt", "--quiet", "--source", str(lines)),
            prefix=[sys.executable, "-c", PEAK],
        )
        return int(result.stderr.split()[-1])

    assert peak(300_000) - peak(3_000) < 20 * 1024
