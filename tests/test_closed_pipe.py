"""A reader that closes the pipe: the exit code is that of the command itself."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Jtv
    from jina_server import JinaServer


def code_without_reader(jtv: Jtv, *arguments: str, **options: Any) -> int:
    """Return the exit code of a command whose reader is gone from the start."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        result = jtv(*arguments, stdout=writer, **options)
    finally:
        os.close(writer)
    assert "Traceback" not in result.stderr
    assert "stdout" not in result.stderr
    return result.code


@pytest.mark.parametrize(
    "command",
    [["list"], ["search", "x"], ["info"], ["tables"], ["doctor"], ["export"], ["show", "1"]],
    ids=" ".join,
)
def test_success_stays_success(sampled: Jtv, command: list[str]) -> None:
    assert code_without_reader(sampled, *command) == 0


def test_what_the_api_refuses(keyed: Jtv, api: JinaServer) -> None:
    keyed.ok("init")
    api.key = "another"
    assert code_without_reader(keyed, "ingest", "-", "--json", stdin="a\n") == 4
    assert code_without_reader(keyed, "sync", "-", "--json", "--source", "s", stdin="a\n") == 4
    assert code_without_reader(keyed, "doctor") == 4
    assert code_without_reader(keyed, "doctor", "--json") == 4
    assert code_without_reader(keyed, "search", "x") == 4


def test_what_was_skipped(sampled: Jtv) -> None:
    bad = b"a\n\xff\nb\n"
    assert code_without_reader(sampled, "ingest", "-", "--json", stdin=bad) == 3
    assert code_without_reader(sampled, "ingest", "-", "--json", "--dry-run", stdin=bad) == 3
    assert code_without_reader(sampled, "search", "--queries", "-", stdin=bad) == 3


def test_what_is_not_there(sampled: Jtv) -> None:
    sampled.ok("ingest", "-", stdin="a long text " * 10_000)
    assert code_without_reader(sampled, "show", "35", "999") == 1
    for command in (["list"], ["export"], ["info"], ["search", "x"], ["doctor"]):
        assert code_without_reader(sampled, *command, "--table", "other") == 5


def test_an_export_that_leaves_documents_out(sampled: Jtv) -> None:
    connection = sqlite3.connect(sampled.database)
    table = "jinaai_tidb_demo_documents"
    connection.execute(f"UPDATE {table} SET vector = zeroblob(4096) WHERE id = 1")
    connection.commit()
    connection.close()
    process = sampled.start("export", "--vectors", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout
    assert process.stderr
    assert b"document 1" in process.stderr.readline()
    # The reader leaves while there is more to write than a pipe holds.
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(timeout=60) == 3
    process.stderr.close()
    assert code_without_reader(sampled, "copy", "--from", "embedded", "--to", "b.db", "--json") == 3


def test_an_import_that_breaks_off(sampled: Jtv) -> None:
    sampled.ok("ingest", "-", stdin="".join(f"line {number}\n" for number in range(600)))
    exported = sampled.ok("export", "--vectors").raw_stdout
    cut = b"\n".join(exported.split(b"\n")[:-3])
    options = ("import", "-", "--json", "--table", "other")
    assert code_without_reader(sampled, *options, stdin=cut) == 3
    assert code_without_reader(sampled, *options, stdin=b"no export\n") == 2
    assert code_without_reader(sampled, *options, stdin=exported) == 0
