"""A document of many megabytes: what shows it takes time in proportion to its size."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest

from conftest import processor_seconds
from terminal import Terminal

if TYPE_CHECKING:
    from conftest import Jtv

# In bytes. At this size, time that grows with the square of it would be minutes.
SIZE = 16_000_000
# Of the processor, which does not count what else runs meanwhile; about 3 are used.
MOST_SECONDS = 30.0


@pytest.fixture
def large(sampled: Jtv) -> Jtv:
    """A user with a large document, whose number is 2."""
    text = "a word and \U0001f419 another one\n" * (SIZE // 30)
    connection = sqlite3.connect(sampled.database)
    connection.execute(
        "UPDATE jinaai_tidb_demo_documents SET content = ? WHERE id = 2", (text.rstrip(),)
    )
    connection.commit()
    connection.close()
    return sampled


COMMANDS = [["search", "what", "is", "tidb"], ["list"], ["show", "2"]]


@pytest.mark.parametrize("form", ["table", "tsv", "csv", "json", "jsonl", "text"])
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_off_a_terminal_it_is_printed_whole(large: Jtv, command: list[str], form: str) -> None:
    before = processor_seconds()
    result = large.ok(*command, "--format", form)
    assert len(result.raw_stdout) > SIZE * 0.9
    assert processor_seconds() - before < MOST_SECONDS


@pytest.mark.parametrize("command", COMMANDS[:2], ids=lambda command: command[0])
def test_on_a_terminal_it_is_cut(large: Jtv, command: list[str]) -> None:
    before = processor_seconds()
    with Terminal(large, *command) as terminal:
        assert terminal.wait(seconds=120) == 0
    assert len(terminal.screen) < 100_000
    assert processor_seconds() - before < MOST_SECONDS
