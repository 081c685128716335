"""Every command block of the README and of docs/ runs, in order, as one reader would run it.

A page is one bash session, with a home and a working directory of its own. `console` blocks run
on a terminal, and print what the page shows. A comment in front of a block can say `tidb` (it
runs with --tidb) or `not run: REASON`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import jina_server
from conftest import SAMPLE_TEXTS, SCRIPT, fork_server
from fork_server import CLIENT
from openai_server import OpenAIServer
from terminal import open_terminal, visible_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Jtv

ROOT = Path(__file__).parent.parent
DATA = ROOT / "tests/data"
PAGES = {page.name: page for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))}
KEY = "jina_..."
BLOCK = re.compile(r"(?:^<!-- ([^\n]*) -->\n)?^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
NOT_COMMANDS = ("json", "python", "sql", "text")
# The README's test command would run this test.
NOT_RUN = ("not run: ", "test command")
# What a test of a page cannot install: its reader has the jtv that is tested.
INSTALL = re.compile(r"^python3 -m venv .venv && \S* ?.venv/bin/activate && pip install .*? \. && ")
END = "\x1e"

# What the reader of a page has or has done before.
BEFORE = {
    "commands.md": f"""
        export JINA_API_KEY={KEY}
        mkdir -p mail docs ~/.config/fish/completions
        echo 'Your invoice of 3 May is attached.' > mail/may.txt
        echo '# A guide' > docs/guide.md
        printf 'Spinach pie takes 40 minutes.\\nspinach pie takes 40 minutes\\n' >> notes.txt
        echo '{{"text": "Heat pumps move heat.", "year": 2021, "lang": "en"}}' > pumps.jsonl
        jtv init --full-text && jtv init --table notes_v3
        jtv ingest mail pumps.jsonl sample_texts.txt
        seq 1000 3100 | jtv ingest - --source numbers
        jtv init --database notes.db --table notes
    """,
    "README.md": f"cp -r {ROOT}/docs .",
    "agents.md": "jtv init --table notes",
    "documents.md": f"cp {DATA}/manual.pdf . && cp {DATA}/manual.pptx slides.pptx"
    f" && cp {DATA}/manual.html page.html && jtv init"
    " && jtv init --table notes && jtv ingest notes.txt --table notes",
    "moving.md": "jtv init && jtv ingest sample_texts.txt",
    "privacy.md": "jtv init && jtv ingest notes.txt",
    "searching.md": f"export JINA_API_KEY={KEY}; jtv init && jtv ingest sample_texts.txt notes.txt",
}
# What asks on a terminal is answered with yes, and with no; what never ends is interrupted.
ANSWERS = {
    r"(?m)^jtv delete 7 12$": r"\g<0> --yes",
    r"(?m)^jtv tables rename --replace .*$": r"\g<0> --yes",
    r"(?m)^jtv reembed .*$": rf"JINA_API_KEY={KEY} \g<0>",
    r"(?m)^jtv models remove \S+$": r"! \g<0>",
    r"(?m)^jtv sync \S+ --watch$": r"timeout --signal INT 2 \g<0> || test $? = 124",
}
# Programs that need a person, a clock, or a network, as far as the pages use them.
STAND_INS = {
    "curl": "echo 'Avian carriers have a high delay.'",
    "crontab": r"""[ "$1" = -l ] || sed -E 's/^(\S+ ){5}//' | (cd; env -i HOME="$HOME" sh -e)""",
    "fzf": "head -n 1",
}


@dataclass(frozen=True)
class Block:
    """A fenced block, with what the comment in front of it says."""

    comment: str
    language: str
    text: str

    @property
    def is_run(self) -> bool:
        return self.language in ("sh", "console") and not self.comment.startswith(NOT_RUN)

    @property
    def needs_tidb(self) -> bool:
        return self.comment.startswith("tidb")

    @property
    def steps(self) -> list[tuple[str, str]]:
        """The commands of a console block, each with what it prints."""
        parts = re.split(r"^\$ (.*\n)", self.text, flags=re.MULTILINE)[1:]
        return list(zip(parts[::2], parts[1::2], strict=True))


def blocks(page: str) -> list[Block]:
    return [Block(*match) for match in BLOCK.findall(PAGES[page].read_text())]


def script(page: str, *, tidb: bool) -> str:
    """The commands of a page; file 9 is the terminal, on which END follows each command."""
    lines = ["set -euo pipefail", BEFORE.get(page, "")]
    for block in blocks(page):
        if not block.is_run or (block.needs_tidb and not tidb):
            continue
        if block.language == "sh":
            lines.append(INSTALL.sub("", block.text))
        for command, _ in block.steps:
            lines.append(f"{{ {command}}} <&9 >&9 2>&9; printf '{END}' >&9")
    return "\n".join(lines)


def run(page: str, jtv: Jtv, replaced: dict[str, str], *, tidb: bool) -> None:
    """Run a page, and compare what its console blocks print."""
    work = jtv.folder / "work"
    shutil.copy(SAMPLE_TEXTS, work)
    jtv.write("notes.txt", "Feed the cat.\nCall the bank about error E0425.\n")
    for folder in ("notes", "../home/notes"):
        jtv.write(f"{folder}/tea.md", "# Tea\n\nBrew it at 80 degrees.\n")
    for name, program in STAND_INS.items():
        path = jtv.write(f"../bin/{name}", f"#!/bin/sh\n{program}\n")
        path.chmod(0o755)
    if jtv.can_fork:
        client = CLIENT.format(
            python=sys.executable, script=str(SCRIPT), address=fork_server().address
        )
        jtv.write("../bin/jtv", client).chmod(0o755)
    for command in ("git init -q", "git add .", "git commit -q -m 'Rotate the log files weekly'"):
        subprocess.run(command, shell=True, check=True, cwd=work, env=jtv.variables(IDENTITY))
    text = script(page, tidb=tidb)
    for shown, real in (ANSWERS | replaced).items():
        text = re.sub(shown, real, text)
    controller, terminal = open_terminal(columns=80)
    screen = bytearray()
    reader = threading.Thread(target=read_all, args=(controller, screen))
    reader.start()
    trace = (jtv.folder / "trace").open("w+")
    variables = {
        "PATH": f"{jtv.folder / 'bin'}:{SCRIPT.parent}:{os.environ['PATH']}",
        "TERM": "xterm-256color",
        "NO_COLOR": "1",
    }
    files = f"exec 8>&{trace.fileno()} 9>&{terminal} 9<&{terminal}; BASH_XTRACEFD=8; set -x"
    try:
        ended = subprocess.run(
            ["bash", "-c", f"{files}\n{text}"],
            env=jtv.variables(variables),
            cwd=work,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=400,
            pass_fds=(trace.fileno(), terminal),
        )
    finally:
        os.close(terminal)
        reader.join()
        os.close(controller)
    commands = Path(trace.name).read_text().splitlines()
    trace.close()
    assert ended.returncode == 0, f"{commands[-1]}\n{ended.stderr[-2000:]}\n{screen.decode()}"
    printed = screen.decode().replace("\r\n", "\n").split(END)
    expected = [
        step
        for block in blocks(page)
        if block.is_run and (tidb or not block.needs_tidb) and block.language == "console"
        for step in block.steps
    ]
    for (command, shown), real in zip(expected, printed[:-1], strict=True):
        assert comparable(real) == comparable(shown), command


def comparable(text: str) -> list[str]:
    """Lines without what differs from run to run, or only shows that something is going on."""
    return [re.sub(r"\d+\.\d s\b", "N s", line) for line in visible_lines(text.strip("\n"))]


def read_all(file: int, into: bytearray) -> None:
    try:
        while data := os.read(file, 1 << 16):
            into += data
    except OSError:  # Linux's end of a terminal
        pass


IDENTITY = {
    f"GIT_{role}_{what}": "someone@example.com"
    for role in ("AUTHOR", "COMMITTER")
    for what in ("NAME", "EMAIL")
}


@pytest.fixture
def reader(jtv: Jtv) -> Iterator[Jtv]:
    """Someone whose API is a stand-in that takes the key that the pages show."""
    with jina_server.JinaServer(key=KEY) as server:
        jtv.environment["JINA_API_BASE"] = server.url
        yield jtv


@pytest.fixture
def stand_ins(page: str, reader: Jtv, request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """What a page shows, as a pattern, and what stands in for it."""
    if "jtv models pull" in script(page, tidb=False):
        reader.environment["HF_ENDPOINT"] = request.getfixturevalue("real_hub").url
    with OpenAIServer() as server:
        yield {"http://localhost:8080": server.url, "/srv/models": str(reader.folder / "models")}


@pytest.mark.parametrize(
    "page", [page for page in PAGES if any(block.is_run for block in blocks(page))]
)
def test_a_page_runs(page: str, reader: Jtv, stand_ins: dict[str, str]) -> None:
    run(page, reader, stand_ins, tidb=False)


@pytest.mark.parametrize(
    "page", [page for page in PAGES if any(block.needs_tidb for block in blocks(page))]
)
def test_a_page_runs_with_tidb(
    page: str, reader: Jtv, stand_ins: dict[str, str], tiflash_tidb: str
) -> None:
    if page == "commands.md":  # it shows no URL
        reader.environment |= {"TIDB_DATABASE_URL": tiflash_tidb, "JTV_DATABASE": "embedded"}
    urls = {r"mysql(\+pymysql)?://[^'\s]*HOST[^'\s]*": tiflash_tidb}
    run(page, reader, stand_ins | urls, tidb=True)


def test_every_block_says_what_it_is() -> None:
    left_out = []
    for page in PAGES:
        for block in blocks(page):
            where = f"{page}: {block.text}"
            if block.language in ("sh", "console"):
                left_out += [] if block.is_run else [where]
                if block.language == "console":
                    assert block.text.startswith("$ "), where
            else:
                assert block.language in NOT_COMMANDS, where
                assert not re.search(r"^(\$ )?jtv ", block.text, re.MULTILINE), where
    assert len(left_out) <= 8, left_out
