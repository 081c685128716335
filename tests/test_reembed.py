"""`jtv reembed`: the same texts and occurrences with another model, on both stores."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

import jina_faults
from conftest import ingest_counts
from terminal import Terminal
from tidb_cluster import Cluster
from waiting import wait_until

if TYPE_CHECKING:
    from conftest import Jtv
    from jina_server import JinaServer

NEW = "notes_static_v1"
REEMBED = ("reembed", "--table", "notes", "--model", "static-v1")


@pytest.fixture
def notes(on_each_store: Jtv) -> Jtv:
    """A table of a directory, a file of records, and what was piped in, with texts in several."""
    jtv = on_each_store
    jtv.write("docs/a.md", "---\nlang: en\n---\n# Cats\n\nA cat sleeps.\n\n## Food\n\nMilk.\n")
    jtv.write("docs/b.txt", "one\ntwo\none\n")
    jtv.write("c.jsonl", '{"text": "two", "year": 2020}\n{"text": "three", "year": 2021}\n')
    os.utime(jtv.folder / "work/docs/a.md", (1e9, 1e9))  # so that it counts as settled
    jtv.ok("init", "--no-index", "--table", "notes")
    jtv.ok("ingest", "--table", "notes", "docs", "c.jsonl")
    jtv.ok("ingest", "--table", "notes", "-", stdin="two\nfour\n")
    jtv.ok("ingest", "--table", "notes", "--source", "named", "-", stdin="three\n")
    return jtv


def exported(jtv: Jtv, table: str) -> list[dict[str, Any]]:
    """The documents of a table in their order, without their ids, and the sources' details."""
    _, *records, _ = jtv.ok("export", "--table", table).records
    for record in records:
        record.pop("id", None)
    return records


def test_everything_but_the_vectors_is_the_same(notes: Jtv) -> None:
    before = exported(notes, "notes")
    result = notes.ok(*REEMBED)
    assert result.stdout == ""
    assert result.counts == "6 stored, 0 known, 0 empty, 0 skipped, 0 tokens"
    first, *_ = result.stderr.splitlines()
    assert first == "Embedding 6 of 6 texts (0 already stored, 0 skipped)"
    assert "Verified: every document of table notes is in the new table\n" in result.stderr
    assert result.last_line == (
        f"To put it in place of table notes, run: jtv tables rename --replace {NEW} notes"
    )
    assert exported(notes, NEW) == exported(notes, "notes") == before
    # The vectors are those of an ingest.
    options = ("--table", "fresh", "--model", "static-v1")
    notes.ok("init", "--no-index", *options)
    notes.ok("ingest", "docs", "c.jsonl", *options)
    notes.ok("ingest", "-", *options, stdin="two\nfour\n")
    found = [
        {row[2]: pytest.approx(float(row[0]), abs=1e-5) for row in rows}
        for rows in (
            notes.ok("search", "a kitten", "--table", table).rows for table in ("fresh", NEW)
        )
    ]
    assert found[0] == found[1]


def test_then_it_takes_the_place_of_the_old_one(notes: Jtv) -> None:
    notes.ok(*REEMBED, "--to", "new")
    notes.ok("tables", "rename", "--replace", "--yes", "new", "notes")
    assert notes.ok("tables").rows == [["notes", "static-v1", "1024", "6"]]
    notes.write("docs/b.txt", "one\nfive\n")
    result = notes.ok("sync", "docs", "--table", "notes", "--yes")
    assert result.counts.startswith("1 stored, 1 known")
    assert "1 file unchanged, not read" in result.stderr
    assert "Removed 0 documents and 2 occurrences" in result.stderr
    # How the sources were read has come along.
    notes.write("c.jsonl", "two\n")
    assert notes("ingest", "c.jsonl", "--input", "lines", "--table", "notes").code == 0
    assert "now read" in notes("sync", "c.jsonl", "--input", "jsonl", "--table", "notes").stderr


def test_what_came_since_is_added(notes: Jtv) -> None:
    notes.ok(*REEMBED)
    assert notes.ok(*REEMBED).counts.startswith("0 stored, 6 known")
    notes.ok("ingest", "--table", "notes", "-", stdin="nine\nfour\n")
    result = notes.ok(*REEMBED)
    assert result.counts.startswith("1 stored, 6 known")
    assert exported(notes, NEW) == exported(notes, "notes")
    notes.ok("delete", "--table", "notes", "--source", "c.jsonl", "--yes")
    notes.ok("delete", "--table", "notes", "--source", "named", "--yes")
    warning = f"jtv: warning: table {NEW} has 1 document that table notes does not have\n"
    assert warning in notes.ok(*REEMBED).stderr


def test_documents_are_not_mixed_with_others_by_accident(notes: Jtv) -> None:
    mine = ("--table", "mine", "--model", "static-v1")
    notes.ok("init", "--no-index", *mine)
    notes.ok("ingest", "-", *mine, stdin="precious\n")
    result = notes(*REEMBED, "--to", "mine")
    assert result.code == 2
    assert "this adds 6 documents to table mine, which has 1 other document" in result.error
    assert [row[2] for row in notes.ok("list", "--table", "mine").rows] == ["precious"]
    result = notes.ok(*REEMBED, "--to", "mine", "--yes")
    # What the warning says to run leads to a table that the same command fills.
    hint = next(line for line in result.stderr.splitlines() if "to begin anew" in line)
    _, *again = hint.partition(" with: ")[2].split()
    notes.ok(*again, "--yes")
    assert notes.ok(*REEMBED, "--to", "mine").counts.startswith("6 stored")


def test_how_to_begin_anew_with_the_options_of_the_call(keyed: Jtv) -> None:
    keyed.ok("init", "--model", "static-v1")
    keyed.ok("ingest", "-", stdin="one\n")
    wanted = ("--model", "jina-embeddings-v3", "--dimensions", "64")
    keyed.ok("init", "--table", "mine", *wanted)
    keyed.ok("ingest", "-", "--table", "mine", stdin="other\n")
    said = keyed.ok("reembed", *wanted, "--to", "mine", "--yes").stderr
    assert f" with: jtv init --drop --table mine {' '.join(wanted)}\n" in said


def test_an_estimate_changes_nothing(notes: Jtv) -> None:
    result = notes.ok(*REEMBED, "--dry-run")
    assert "Would embed 6 of 6 texts" in result.stderr
    [report] = notes.ok(*REEMBED, "--dry-run", "--json").records
    assert (report["to_embed"], report["table"], report["usd"]) == (6, NEW, 0)
    assert [row[0] for row in notes.ok("tables").rows] == ["notes"]


def test_a_report_as_json(notes: Jtv) -> None:
    [report] = notes.ok(*REEMBED, "--json").records
    assert (report["table"], report["model"]) == (NEW, "static-v1")
    assert (report["stored"], report["stopped"]) == (6, None)


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        ((), 2, "missing option '--model'"),
        (("--model", "hashing-v1"), 2, "table notes already has model hashing-v1"),
        (("--model", "static-v1", "--to", "Notes"), 2, "--to names the table itself, notes"),
        (("--model", "static-v1", "--to", "a b"), 2, "invalid table name 'a b' (--to)"),
        (("--model", "static-v1", "--to", "other"), 5, "name another table with --to"),
        (("--model", "nothing"), 2, "there is no model nothing"),
        (("--model", "static-v1", "--table", "x"), 5, 'no table "x"'),
    ],
)
def test_what_cannot_be_meant(jtv: Jtv, options: tuple[str, ...], code: int, says: str) -> None:
    for table in ("notes", "other"):
        jtv.ok("init", "--model", "hashing-v1", "--table", table)
    given = options if "--table" in options else ("--table", "notes", *options)
    result = jtv("reembed", *given)
    assert result.code == code
    assert says in result.error
    assert len(jtv.ok("tables").rows) == 2


def test_the_name_of_the_new_table_is_not_too_long(jtv: Jtv) -> None:
    jtv.ok("init", "--model", "hashing-v1")
    options = ("--model", "jina-embeddings-v2-base-code", "--dry-run", "--json", "--no-key")
    [report] = jtv.ok("reembed", *options).records
    name = report["table"]
    assert name == "jinaai_tidb_demo_docume_jina_embeddings_v2_base_code"
    assert len(name) == 52
    jtv.ok("init", "--model", "hashing-v1", "--table", name)


def test_the_full_text_index_comes_along(jtv: Jtv) -> None:
    jtv.ok("init", "--model", "hashing-v1", "--table", "notes", "--full-text")
    jtv.ok("ingest", "-", "--table", "notes", stdin="error E1234\nsomething else\n")
    jtv.ok(*REEMBED)
    hits = jtv.ok("search", "--keyword", "E1234", "--table", NEW).rows
    assert [row[2] for row in hits] == ["error E1234"]


class TestPaying:
    MODEL = "jina-embeddings-v3"
    COMMAND = ("reembed", "--table", "notes", "--model", MODEL, "--to", "new")
    LINES = "".join(f"line {number}\n" for number in range(4000))

    @pytest.fixture
    def paying(self, keyed: Jtv, user_store: str) -> Jtv:  # noqa: ARG002
        keyed.write("a.log", self.LINES)
        keyed.ok("init", "--no-index", "--table", "notes", "--model", "hashing-v1")
        keyed.ok("ingest", "a.log", "--table", "notes")
        return keyed

    def test_interrupted_it_resumes_and_nothing_is_paid_twice(
        self, paying: Jtv, api: JinaServer
    ) -> None:
        api.misbehave(jina_faults.hang(2), times=None, when=lambda _: len(api.requests) > 2)
        process = paying.start(*self.COMMAND, stderr=subprocess.PIPE)
        wait_until(lambda: len(api.requests) > 2)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
        assert process.returncode == 130
        said = stderr.decode()
        assert said.rstrip().endswith("run the same command to resume")
        assert "tables rename" not in said
        stored = int(ingest_counts(said).split()[0].replace(",", ""))
        assert 0 < stored < 4000
        api.behave()
        result = paying.ok(*self.COMMAND)
        assert f"{4000 - stored:,} stored, {stored:,} known" in result.counts
        assert len(api.bill) == len(set(api.bill)) == 4000
        assert exported(paying, "new") == exported(paying, "notes")
        assert paying.ok(*self.COMMAND).counts.startswith("0 stored, 4,000 known")
        assert len(api.bill) == 4000

    def test_no_hint_says_to_drop_a_table(self, paying: Jtv) -> None:
        """A model that needs no key was asked for, and the key is in the environment."""
        assert "--drop" not in paying.ok(*REEMBED).stderr

    def test_a_budget(self, paying: Jtv, api: JinaServer) -> None:
        result = paying(*self.COMMAND, "--max-tokens", "3000")
        assert result.code == 3
        assert "stopped before the end" in result.stderr
        assert "tables rename" not in result.stderr
        assert 0 < len(api.bill) < 4000
        paying.ok(*self.COMMAND)
        assert len(api.bill) == 4000

    def test_a_service_that_fails(self, paying: Jtv, api: JinaServer) -> None:
        api.misbehave(jina_faults.answer(503), times=None)
        result = paying(*self.COMMAND, "--max-wait", "0")
        assert result.code == 4
        api.behave()
        paying.ok(*self.COMMAND)
        assert sorted(api.bill) == sorted(self.LINES.splitlines())

    def test_a_text_that_is_too_long_is_named(self, paying: Jtv, api: JinaServer) -> None:
        paying.ok("ingest", "-", "--table", "notes", stdin="word " * 20_000 + "\n")
        result = paying(*self.COMMAND)
        assert result.code == 3
        assert "jtv: warning: document 4001: " in result.stderr
        assert "Verified: every other document" in result.stderr
        assert "3,999 already" not in result.stderr
        assert result.counts.startswith("4,000 stored, 0 known, 0 empty, 1 skipped")
        assert len(api.bill) == 4000


def test_very_many_tokens_need_a_yes(keyed: Jtv, api: JinaServer) -> None:
    keyed.ok("init", "--table", "notes", "--model", "hashing-v1")
    texts = "".join(f"{number} {'word ' * 2000}\n" for number in range(600))
    keyed.ok("ingest", "-", "--lines", "--table", "notes", stdin=texts)
    command = ("reembed", "--table", "notes", "--model", "jina-embeddings-v3")
    result = keyed(*command)
    assert result.code == 2
    assert "this embeds 600 texts, about 2,0" in result.error
    assert "USD" in result.error
    with Terminal(keyed, *command) as terminal:
        terminal.wait_for("[y/N]")
        terminal.type("n\n")
        assert terminal.wait() == 2
    assert "nothing was embedded" in terminal.screen
    assert (api.bill, len(keyed.ok("tables").rows)) == ([], 1)


@pytest.mark.tidb
def test_the_tutorials_table(jtv: Jtv, tidb: str) -> None:
    """Its documents have no occurrences, and one text is there twice."""
    table = "jinaai_tidb_demo_documents"
    cluster = Cluster(tidb)
    cluster.execute(
        f"CREATE TABLE {table} (id INT NOT NULL AUTO_INCREMENT, content VARCHAR(255) NOT NULL,"
        " content_vec VECTOR(768) COMMENT 'hnsw(distance=cosine)', PRIMARY KEY (id))"
    )
    for text in ("a", "b", "a"):
        cluster.execute(f"INSERT INTO {table} (content) VALUES (%s)", text)
    jtv.environment["TIDB_DATABASE_URL"] = tidb
    result = jtv.ok("reembed", "--model", "hashing-v1", "--to", "new")
    assert result.counts.startswith("2 stored, 1 known")
    assert [row[2:4] for row in jtv.ok("list", "--table", "new").rows] == [["a", "-"], ["b", "-"]]
