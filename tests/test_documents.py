"""Documents in chunks, from the file to the table: awkward files, interrupts, large files."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from waiting import wait_until

if TYPE_CHECKING:
    from conftest import Jtv
    from jina_server import JinaServer

# Bytes that a process may need beside its input, which is larger than that.
MOST_MEMORY = 250 << 20


def records(jtv: Jtv) -> list[dict[str, Any]]:
    return jtv.ok("list", "--json").records


def require_lines(jtv: Jtv, name: str, text: str) -> None:
    """Every chunk is what stands in its lines, and every line with a text is in one."""
    lines = [line.rstrip("\r") for line in text.removeprefix("\ufeff").split("\n")]
    covered: set[int] = set()
    for each in records(jtv):
        assert each["source"] == name
        last = each["end_line"] or each["line"]
        assert each["content"] in "\n".join(lines[each["line"] - 1 : last])
        covered.update(range(each["line"], last + 1))
    left = [line for number, line in enumerate(lines, 1) if number not in covered]
    assert not any(line.strip() for line in left)


def section(number: int, words: int = 60) -> str:
    chosen = random.Random(number)
    body = " ".join(f"w{chosen.randrange(10**6)}" for _ in range(words))
    return f"## Section {number}\n\n{body}\n\n"


AWKWARD = {
    "windows line ends": "# A\r\n\r\none\r\ntwo\r\n\r\n## B\r\n\r\n" + "text more. " * 300 + "\r\n",
    "byte order mark": "\ufeff# A\n\ntext\n\n## B\n\nmore\n",
    "Chinese without spaces": "# 手册\n\n" + "水泵安装在水位以下并且连接软管。" * 80 + "\n",
    "Chinese without sentences": "# 手册\n\n" + "水泵安装在水位以下" * 200 + "\n",
    "headings alone": "# A\n\n## B\n\n### C\n",
    "nested lists": "# A\n\n" + "".join(f"{'  ' * (n % 4)}- item {n} of it\n" for n in range(200)),
    "a table": "# A\n\n| a | b |\n|---|---|\n" + "".join(f"| {n} | x{n} |\n" for n in range(200)),
    "a fence with #": "# A\n\n```sh\n# no heading\nmake\n```\n\n"
    + "".join(section(n) for n in range(5)),
    "a fence that is not closed": "# A\n\n```\n# x\n" + "".join(section(n) for n in range(9)),
    "no line end": "# A\n\ntext",
    "blank lines alone": "\n\n  \n",
}


@pytest.mark.parametrize("kind", AWKWARD)
def test_awkward_files(on_each_store: Jtv, kind: str) -> None:
    on_each_store.ok("init")
    text = AWKWARD[kind]
    on_each_store.write("a.md", text.encode())
    on_each_store.ok("ingest", "a.md", "--chunk", "64")
    require_lines(on_each_store, "a.md", text)
    assert on_each_store.ok("ingest", "a.md", "--chunk", "64").counts.startswith("0 stored")
    headings = {each["heading"] for each in records(on_each_store)}
    assert not any("no heading" in (each or "") or each == "x" for each in headings)


@pytest.fixture
def ready(keyed: Jtv, user_store: str) -> Jtv:  # noqa: ARG001
    keyed.ok("init")
    return keyed


def test_an_interrupted_directory_is_resumed(ready: Jtv, api: JinaServer) -> None:
    for number in range(60):
        ready.write(f"d/{number}.md", "".join(section(100 * number + n, 20) for n in range(30)))
    api.latency = 0.3
    run = ready.start("ingest", "d", "--yes", stderr=subprocess.PIPE)
    wait_until(lambda: len(api.bill) > 0)
    run.send_signal(signal.SIGINT)
    _, stderr = run.communicate(timeout=60)
    assert run.returncode == 130, stderr
    api.latency = 0.0
    stored = len(records(ready))
    assert 0 < stored < 1800
    ready.ok("ingest", "d", "--yes")
    assert len(records(ready)) == 1800
    assert sorted(api.bill) == sorted(each["content"] for each in records(ready))


def test_a_file_that_changes_while_it_is_read(ready: Jtv, api: JinaServer) -> None:
    """What is read is stored, and the next run brings the rest: it is not taken for unchanged."""
    before = "".join(section(number, 400) for number in range(400))
    path = ready.write("d/a.md", before)
    os.utime(path, (10**9, 10**9))
    api.latency = 0.5
    run = ready.start("ingest", "d", "--concurrency", "1", "--yes", stderr=subprocess.PIPE)
    wait_until(lambda: len(api.bill) > 0)
    with path.open("a") as file:
        file.write("## New\n\nadded meanwhile\n")
    api.latency = 0.0
    _, stderr = run.communicate(timeout=120)
    assert run.returncode == 0, stderr
    paid = len(api.bill)
    ready.ok("sync", "d", "--yes")
    require_lines(ready, "d/a.md", path.read_text())
    assert len(api.bill) <= paid + 2


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="measures memory as Linux counts it")
@pytest.mark.parametrize("name", ["a.md", "a.txt", "a.py"])
def test_a_file_of_300_mb_takes_constant_memory(made: Jtv, name: str) -> None:
    """It is read by a process that may not use as much."""
    part = "".join(section(number, 200) for number in range(400))
    path = made.write(f"d/{name}", "")
    with path.open("w") as file:
        for number in range(300_000_000 // len(part) + 1):
            file.write(f"Part {number}\n" + part)
    result = made.ok("ingest", f"d/{name}", "--dry-run", "--json", prefix=peak_memory())
    assert result.records[0]["texts"] > 100_000
    peak = int(result.stderr.splitlines()[-1].removeprefix("peak "))
    assert peak < MOST_MEMORY, peak


def peak_memory() -> list[str]:
    """Return a prefix that prints the peak memory of a command in bytes, on stderr."""
    script = (
        "import resource, subprocess, sys\n"
        "code = subprocess.run(sys.argv[1:]).returncode\n"
        "peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024\n"
        "print('peak', peak, file=sys.stderr)\n"
        "sys.exit(code)\n"
    )
    return [sys.executable, "-c", script]
