"""`jtv export` and `jtv import`: a table as a stream, on both stores."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import random
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from conftest import SAMPLE_TEXTS, SCRIPT
from jtv_cli.stores import open_store
from terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from conftest import Jtv

TABLE = "jinaai_tidb_demo_documents"
HEADER = {
    "format": "jtv-export",
    "version": 1,
    "table": "notes",
    "model": "model-of-tomorrow",
    "task": "retrieval",
    "dimensions": 4,
    "metric": "cosine",
    "vectors": True,
}
ODD = 'tab\tand "quotes", Größe 数学 🐙, right\u202eto left, \x1b[31mred\x1b[0m'


@pytest.fixture
def filled(on_each_store: Jtv) -> Jtv:
    """A user with texts from files, from stdin, from both, and with metadata."""
    jtv = on_each_store
    jtv.ok("init", "--no-index")
    jtv.ok("ingest", str(SAMPLE_TEXTS), "--source", "samples")
    jtv.ok("ingest", "-", stdin=f"{ODD}\nTiDB scales.\n{SAMPLE_TEXTS.read_text()}")
    records = [{"text": "with metadata", "author": "Ada", "n": [1, None]}, {"text": "TiDB scales."}]
    jtv.write("more.jsonl", "".join(json.dumps(record) + "\n" for record in records))
    jtv.ok("ingest", "more.jsonl")
    return jtv


def vector(*numbers: float) -> str:
    return base64.b64encode(np.array(numbers, "<f4").tobytes()).decode()


def record(number: int, text: str | None = None, **fields: Any) -> dict[str, Any]:
    place = {"source": "notes.txt", "line": number, "metadata": None}
    made = {"id": number, "content": text or f"text {number}", "occurrences": [place]}
    return made | {"vector": vector(1, number, 0, 0)} | fields


def stream(records: Sequence[object], header: Mapping[str, object] = HEADER) -> str:
    """An export as it would be written, whatever stands in it."""
    lines = "".join(json.dumps(each) + "\n" for each in (header, *records))
    digest = hashlib.sha256(lines.encode()).hexdigest()
    return lines + json.dumps({"documents": len(records), "sha256": digest}) + "\n"


def documents(exported: str) -> list[dict[str, Any]]:
    """The documents of an export, without their ids."""
    lines = map(json.loads, exported.splitlines())
    records = [record for record in lines if "content" in record]
    for each in records:
        del each["id"]
    return records


def count(jtv: Jtv, *options: str) -> int:
    return len(jtv.ok("list", *options).rows)


class TestExport:
    def test_a_header_the_documents_and_a_closing_record(self, filled: Jtv) -> None:
        result = filled.ok("export")
        *lines, last = result.raw_stdout.splitlines(keepends=True)
        header, *others = map(json.loads, lines)
        records = [record for record in others if "content" in record]
        how_it_was_read = [record for record in others if "content" not in record]
        assert header == {
            "format": "jtv-export",
            "version": 2,
            "table": TABLE,
            "model": "hashing-v1",
            "task": None,
            "dimensions": 768,
            "metric": "cosine",
            "vectors": False,
        }
        assert [each["id"] for each in records] == [int(row[1]) for row in filled.ok("list").rows]
        assert set(records[0]) == {"id", "content", "occurrences"}
        assert {record["source"] for record in how_it_was_read} == {
            "samples",
            str(filled.folder / "work/more.jsonl"),
        }
        digest = hashlib.sha256(b"".join(lines)).hexdigest()
        assert json.loads(last) == {"documents": 37, "sha256": digest}
        assert result.stderr == ""

    def test_every_occurrence_is_in_it(self, filled: Jtv) -> None:
        exported = documents(filled.ok("export").stdout)
        found = {each["content"]: each["occurrences"] for each in exported}

        def place(source: str | None, line: int, metadata: object = None) -> dict[str, object]:
            return {"source": source, "line": line, "metadata": metadata}

        assert found[ODD] == [place(None, 1)]
        first = SAMPLE_TEXTS.read_text().splitlines()[0]
        assert found[first] == [place("samples", 1), place(None, 3)]
        more = str(filled.folder / "work/more.jsonl")
        assert sorted(found["TiDB scales."], key=lambda each: each["line"]) == [
            place(more, 2),
            place(None, 2),
        ]
        metadata = {"author": "Ada", "n": [1, None]}
        assert found["with metadata"] == [place(more, 1, metadata)]

    def test_vectors_are_those_stored(self, filled: Jtv) -> None:
        header, *records, _ = map(json.loads, filled.ok("export", "--vectors").stdout.splitlines())
        assert header["vectors"] is True
        database = filled.environment.get("JTV_DATABASE", str(filled.database))
        store = open_store(database, writable=False)
        stored = {d.id: d.vector for d in store.open(TABLE).read(vectors=True)}
        store.close()
        assert len(stored) == 37
        for each in records:
            if "content" not in each:
                continue
            found = np.frombuffer(base64.b64decode(each["vector"]), "<f4")
            assert (found == stored[each["id"]]).all()

    def test_a_closed_pipe_is_no_error(self, filled: Jtv) -> None:
        process = filled.start(
            "export", "--vectors", stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert process.stdout
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(60) == 0
        assert process.stderr
        assert process.stderr.read() == b""
        process.stderr.close()

    def test_an_empty_table(self, on_each_store: Jtv) -> None:
        on_each_store.ok("init", "--no-index")
        header, closing = on_each_store.ok("export", "--vectors").records
        assert closing["documents"] == 0
        assert header["dimensions"] == 768

    def test_no_table(self, on_each_store: Jtv) -> None:
        result = on_each_store("export")
        assert result.code == 5
        assert "hint: create it" in result.error
        assert result.stdout == ""

    def test_on_a_terminal_a_text_drives_nothing(self, sampled: Jtv) -> None:
        sampled.ok("ingest", "-", stdin="right\u202eto left \x9b31m\n")
        with Terminal(sampled, "export") as terminal:
            assert terminal.wait() == 0
        assert r"right\u202eto left \u009b31m" in terminal.screen
        assert "exporting" not in terminal.screen

    def test_progress_is_shown_beside_a_file(self, sampled: Jtv) -> None:
        with (
            (sampled.folder / "work/out").open("wb") as out,
            Terminal(sampled, "export", stdout=out) as terminal,
        ):
            assert terminal.wait() == 0
        assert "exporting: 0 of 34 documents" in terminal.screen
        assert [line for line in terminal.lines if line] == []

    def test_none_is_shown_where_the_reader_may_write_to_the_terminal(self, sampled: Jtv) -> None:
        pipe = ["sh", "-c", '"$@" | cat', "sh"]
        with Terminal(sampled, "export", prefix=pipe) as terminal:
            assert terminal.wait() == 0
        assert "exporting" not in terminal.screen
        assert json.loads(list(filter(None, terminal.lines))[-1])["documents"] == 34

    def test_a_full_disk(self, sampled: Jtv) -> None:
        with open("/dev/full", "wb") as full:  # noqa: PTH123
            result = sampled("export", stdout=full)
        assert result.code == 74
        assert "cannot write to stdout" in result.error

    def test_a_vector_that_cannot_be_searched_for_is_left_out(self, sampled: Jtv) -> None:
        import sqlite3

        connection = sqlite3.connect(sampled.database)
        connection.execute(f"UPDATE {TABLE} SET vector = zeroblob(4096) WHERE id = 7")
        connection.commit()
        connection.close()
        assert sampled.ok("export").records[-1]["documents"] == 34
        result = sampled("export", "--vectors")
        assert result.code == 3
        assert "document 7" in result.stderr
        assert result.records[-1]["documents"] == 33
        assert 7 not in [each.get("id") for each in result.records]


class TestRoundTrip:
    def test_what_goes_out_comes_back(self, filled: Jtv) -> None:
        exported = filled.ok("export", "--vectors").stdout
        result = filled.ok("import", "-", "--table", "again", stdin=exported)
        assert result.counts == "37 stored, 0 known, 72 new occurrences"
        again = filled.ok("export", "--vectors", "--table", "again").stdout
        assert documents(again) == documents(exported)
        assert filled.ok("search", "TiDB", "--table", "again").stdout

    def test_a_second_time_nothing_changes(self, filled: Jtv) -> None:
        exported = filled.ok("export", "--vectors").stdout
        result = filled.ok("import", "-", stdin=exported)
        assert result.counts == "0 stored, 37 known, 0 new occurrences"
        assert filled.ok("export", "--vectors").stdout == exported

    def test_known_texts_gain_occurrences(self, filled: Jtv) -> None:
        exported = filled.ok("export", "--vectors").stdout
        filled.ok("ingest", "-", "--table", TABLE, "--source", "new", stdin="TiDB scales.\nmore\n")
        more = filled.ok("export", "--vectors").stdout
        filled.ok("import", "-", "--table", "other", stdin=exported)
        result = filled.ok("import", "-", "--table", "other", stdin=more)
        assert result.counts == "1 stored, 37 known, 2 new occurrences"
        assert documents(filled.ok("export", "--vectors", "--table", "other").stdout) == documents(
            more
        )

    def test_it_is_packed_and_unpacked(self, sampled: Jtv) -> None:
        exported = sampled.ok("export", "--vectors").raw_stdout
        sampled.write("x.jsonl.gz", gzip.compress(exported))
        sampled.ok("import", "x.jsonl.gz", "--database", "other.db")
        assert sampled.ok("export", "--vectors", "--database", "other.db").raw_stdout == exported
        sampled.write("cut.jsonl.gz", gzip.compress(exported)[:-20])
        result = sampled("import", "cut.jsonl.gz", "--database", "another.db")
        assert result.code == 2
        assert "cut.jsonl.gz: the end of the gzip data is missing" in result.error

    def test_the_table_is_the_one_named_else_the_exported_one(self, sampled: Jtv) -> None:
        sampled.ok("init", "--table", "mine")
        sampled.write("x.jsonl", sampled.ok("export", "--vectors", "--table", "mine").stdout)
        there = ("--database", "other.db")
        assert "table mine " in sampled.ok("import", "x.jsonl", *there).last_line
        named = sampled.ok("import", "x.jsonl", *there, env={"JTV_TABLE": "yours"}).last_line
        assert "table yours " in named
        assert (
            "table theirs "
            in sampled.ok("import", "x.jsonl", *there, "--table", "theirs").last_line
        )


class TestImport:
    def test_a_model_that_jtv_does_not_know(self, on_each_store: Jtv) -> None:
        jtv = on_each_store
        result = jtv.ok("import", "-", "--no-index", "--json", stdin=stream([record(1), record(2)]))
        assert result.records[0] | {"store": ""} == {
            "store": "",
            "table": "notes",
            "model": "model-of-tomorrow",
            "stored": 2,
            "known": 0,
            "occurrences": 2,
            "skipped": 0,
            "stopped": None,
        }
        [header, *_] = jtv.ok("export", "--table", "notes").records
        assert header == HEADER | {"vectors": False, "version": 2}

    @pytest.mark.parametrize("provider", ["models", "../../evil", "static"])
    def test_a_provider_that_this_version_does_not_have(self, jtv: Jtv, provider: str) -> None:
        header = HEADER | {"recipe": {"provider": provider}}
        jtv.ok("import", "-", stdin=stream([record(1)], header))
        result = jtv("search", "x", "--table", "notes")
        assert result.code == 2
        assert "cannot run the model model-of-tomorrow of table notes" in result.error

    def test_a_text_twice_is_one_document(self, on_each_store: Jtv) -> None:
        jtv = on_each_store
        place = {"source": "a", "line": 1, "metadata": {"x": 1}}
        twice = [
            record(1, "same", occurrences=[place, place | {"metadata": {"x": 2}}]),
            record(2, "same", occurrences=[place, {"source": None, "line": None}]),
            record(3, "nowhere", occurrences=[]),
        ]
        for said in ("2 stored, 1 known, 2 new", "0 stored, 3 known, 0 new"):
            assert said in jtv.ok("import", "-", "--no-index", stdin=stream(twice)).counts
        found = documents(jtv.ok("export", "--table", "notes").stdout)
        assert [len(each["occurrences"]) for each in found] == [2, 0]
        assert {"x": 1} in [where["metadata"] for where in found[0]["occurrences"]]

    def test_without_vectors_it_is_refused(self, on_each_store: Jtv) -> None:
        jtv = on_each_store
        jtv.ok("init", "--no-index")
        jtv.ok("ingest", "-", stdin="a\n")
        result = jtv("import", "-", "--table", "new", stdin=jtv.ok("export").stdout)
        assert result.code == 2
        assert "--vectors" in result.error
        assert "jtv ingest" in result.error
        assert jtv("list", "--table", "new").code == 5

    @pytest.mark.skipif(not shutil.which("jq"), reason="needs jq")
    def test_without_vectors_it_can_be_embedded_again(self, sampled: Jtv) -> None:
        records = [
            {"text": "two\nlines", "author": "Ada", "content": "another"},
            {"text": "read twice", "n": 1},
            {"text": "read twice", "n": 2},
        ]
        sampled.ok("ingest", "-", "--input", "jsonl", stdin="\n".join(map(json.dumps, records)))
        exported = sampled.write("x.jsonl", sampled.ok("export").raw_stdout)
        first = documents(exported.read_text())[0]["content"]
        _, command = sampled("import", "x.jsonl").error.split("embed its texts: ")
        sampled.environment |= {"JTV_DATABASE": "new.db", "PATH": f"{SCRIPT.parent}:/usr/bin:/bin"}
        sampled.ok("init")
        sampled.ok(prefix=["sh", "-c", command], stdin=exported.read_bytes())
        again = {
            each["content"]: each["occurrences"] for each in documents(sampled.ok("export").stdout)
        }
        assert len(again) == 36
        assert [where["metadata"] for where in again["two\nlines"]] == [{"author": "Ada"}]
        assert [where["metadata"] for where in again["read twice"]] == [{"n": 1}, {"n": 2}]
        assert [where["metadata"] for where in again[first]] == [None]

    def test_another_models_table_is_refused(self, filled: Jtv) -> None:
        result = filled("import", "-", "--table", TABLE, stdin=stream([record(1)]))
        assert result.code == 5
        assert "hashing-v1" in result.error
        assert "model-of-tomorrow" in result.error
        assert count(filled) == 37

    def test_an_export_of_another_model_than_is_demanded_is_refused(self, jtv: Jtv) -> None:
        result = jtv("import", "-", "--model", "hashing-v1", stdin=stream([record(1)]))
        assert result.code == 5
        assert result.error == (
            "jtv: error: - was created with model model-of-tomorrow, not hashing-v1\n"
            "hint: run the command without --model"
        )

    @pytest.mark.parametrize(
        ("header", "says"),
        [
            ({"version": 3}, "-: written by a newer jtv (format 3; this version reads 2)"),
            ({"format": "other"}, "- is not an export of jtv"),
            ({"metric": "l2"}, "-:1: the header is damaged"),
            ({"dimensions": 0}, "-:1: the header is damaged"),
            ({"dimensions": True}, "-:1: the header is damaged"),
            ({"dimensions": 20_000}, "-:1: the header is damaged"),
            ({"model": ""}, "-:1: the header is damaged"),
            ({"model": "a\nb"}, "-:1: the header is damaged"),
            ({"task": 3}, "-:1: the header is damaged"),
            ({"vectors": None}, "-:1: the header is damaged"),
            ({"table": "x; DROP TABLE"}, "invalid table name"),
            ({"model": "hashing-v1"}, "-:1: model hashing-v1 has no vectors of 4 dimensions"),
            ({"model": "jina-embeddings-v3"}, "-:1: model jina-embeddings-v3 has no vectors of 4"),
            ({"table": None}, "-:1: the header is damaged"),
        ],
        ids=str,
    )
    def test_a_header_that_cannot_be(self, jtv: Jtv, header: dict[str, Any], says: str) -> None:
        result = jtv("import", "-", stdin=stream([record(1)], HEADER | header))
        assert result.code == 2
        assert says.replace("-: written", "- was written") in result.error
        assert not jtv.database.exists()

    @pytest.mark.parametrize("content", [b"", b"\n", b"[]\n", b"a line\n", b"\xff\n", b"{"])
    def test_what_is_no_export(self, jtv: Jtv, content: bytes) -> None:
        result = jtv("import", "-", stdin=content)
        assert (result.code, result.is_one_error) == (2, True)
        assert "not an export" in result.error
        assert not jtv.database.exists()

    @pytest.mark.parametrize(
        ("fields", "says"),
        [
            ({"vector": "###"}, "the vector is missing or not base64"),
            ({"vector": None}, "the vector is missing or not base64"),
            ({"vector": 5}, "the vector is missing or not base64"),
            ({"vector": "é"}, "the vector is missing or not base64"),
            ({"vector": vector(1, 2, 3)}, "the vector has 12 bytes, not 16 for 4 dimensions"),
            ({"vector": vector(0, 0, 0, 0)}, "the vector's length is zero or not finite"),
            (
                {"vector": vector(1, float("nan"), 0, 0)},
                "the vector's length is zero or not finite",
            ),
            (
                {"vector": vector(1, float("inf"), 0, 0)},
                "the vector's length is zero or not finite",
            ),
            ({"vector": vector(1e-25, 0, 0, 0)}, "the vector's length is zero or not finite"),
            ({"content": 5}, "not a document record"),
            ({"id": "a"}, "not a document record"),
            ({"content": ""}, "the text is empty"),
            ({"occurrences": None}, "the occurrences are missing"),
            ({"occurrences": [5]}, "an occurrence is invalid"),
            ({"occurrences": [{"line": -1}]}, "an occurrence is invalid"),
            ({"occurrences": [{"line": 2**63}]}, "an occurrence is invalid"),
            ({"occurrences": [{"source": ""}]}, "an occurrence is invalid"),
            ({"occurrences": [{"metadata": "x"}]}, "an occurrence is invalid"),
        ],
        ids=str,
    )
    def test_a_broken_record_is_named(self, jtv: Jtv, fields: dict[str, Any], says: str) -> None:
        broken = record(2) | fields
        jtv.write("x.jsonl", stream([record(1), broken, record(3)]))
        result = jtv("import", "x.jsonl")
        assert (result.code, result.is_one_error) == (2, True)
        assert f"x.jsonl:3: {says}" in result.error
        assert jtv.ok("tables").rows == []
        assert not jtv.database.exists()

    @pytest.mark.parametrize(
        "line", ["not json", "[1]", '"x"', '{"content": "\\ud800"}', "", "null"]
    )
    def test_a_line_that_is_no_record(self, jtv: Jtv, line: str) -> None:
        lines = stream([record(1), record(2)]).splitlines()
        lines[2] = line
        result = jtv("import", "-", stdin="\n".join(lines) + "\n")
        assert result.code == 2
        assert "jtv: error: -:3: not " in result.error

    def test_metadata_nested_too_deeply(self, jtv: Jtv) -> None:
        nested: dict[str, Any] = {}
        for _ in range(300):
            nested = {"x": nested}
        where = {"source": "a", "line": 1, "metadata": nested}
        result = jtv("import", "-", stdin=stream([record(1, occurrences=[where])]))
        assert result.code == 2
        assert "-:2: an occurrence is invalid" in result.error

    def test_a_cut_is_noticed_wherever_it_is(self, jtv: Jtv) -> None:
        whole = stream([record(number) for number in range(1, 4)])
        for end in range(len(whole) - 1):
            if random.Random(end).random() > 0.03 and whole[end - 1] != "\n":
                continue
            result = jtv("import", "-", stdin=whole[:end])
            assert result.code == 2, end
            assert result.is_one_error
        # All that is missing is the last line's end, and that says nothing.
        jtv.ok("import", "-", stdin=whole[:-1])
        assert count(jtv, "--table", "notes") == 3

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            (
                lambda lines: [*lines[:2], *lines[3:]],
                "the export has 2 documents, but should have 3",
            ),
            (
                lambda lines: [*lines[:3], *lines[2:]],
                "the export has 4 documents, but should have 3",
            ),
            (
                lambda lines: [lines[0], lines[2], lines[1], *lines[3:]],
                "its SHA-256 does not match",
            ),
            (lambda lines: [line + "\r" for line in lines], "its SHA-256 does not match"),
            (lambda lines: [*lines, ""], "there is more after the closing record"),
            (lambda lines: [*lines, *lines], "there is more after the closing record"),
        ],
    )
    def test_a_change_is_noticed(self, jtv: Jtv, change: Any, says: str) -> None:
        lines = stream([record(number) for number in range(1, 4)]).splitlines()
        result = jtv("import", "-", stdin="\n".join(change(lines)) + "\n")
        assert result.code == 2
        assert says in result.error
        assert not jtv.database.exists()

    @pytest.mark.parametrize("wrong", ["model", "cut"])
    def test_a_broken_one_is_not_in_the_way_of_the_good_one(
        self, on_each_store: Jtv, wrong: str
    ) -> None:
        jtv = on_each_store
        whole = stream([record(number) for number in range(1, 401)])
        another = whole.replace("model-of-tomorrow", "model-of-today")
        broken = whole[: len(whole) // 2] if wrong == "cut" else another
        assert jtv("import", "-", "--no-index", stdin=broken).code == 2
        assert jtv.ok("tables").rows == []
        jtv.ok("import", "-", "--no-index", stdin=whole)

    def test_cut_after_something_was_stored_it_is_done_in_part(self, on_each_store: Jtv) -> None:
        jtv = on_each_store
        whole = stream([record(number) for number in range(1, 1301)])
        jtv.write("cut.jsonl", whole[: len(whole) * 9 // 10])
        result = jtv("import", "cut.jsonl", "--no-index")
        error, *_, where = result.stderr.splitlines()
        assert result.code == 3
        assert "export is truncated" in error
        assert result.counts == "1,024 stored, 0 known, 1,024 new occurrences"
        assert where.startswith("table notes (model model-of-tomorrow) in ")
        # A second time, it adds nothing.
        assert jtv("import", "cut.jsonl", "--no-index").code == 2
        jtv.write("whole.jsonl", whole)
        assert "276 stored, 1,024 known" in jtv.ok("import", "whole.jsonl").counts
        assert count(jtv, "--table", "notes") == 1300

    def test_cut_after_something_was_stored_the_report_says_so(self, jtv: Jtv) -> None:
        whole = stream([record(number) for number in range(1, 601)])
        jtv.write("cut.jsonl", whole[: len(whole) * 9 // 10])
        result = jtv("import", "cut.jsonl", "--json")
        assert result.code == 3
        [report] = result.records
        assert (report["table"], report["stored"]) == ("notes", 512)
        assert "export is truncated" in report["stopped"]
        assert result.last_line.startswith("table ")

    def test_a_text_that_the_cluster_does_not_take(self, jtv: Jtv, plain_tidb: str) -> None:
        huge = stream([record(1, "x" * (7 << 20), occurrences=[]), record(2)])
        result = jtv("import", "-", "--database", plain_tidb, stdin=huge)
        assert result.code == 3
        assert "jtv: warning: document 1: 7,340,032 bytes are more than" in result.stderr
        assert result.counts == "1 stored, 0 known, 1 new occurrence, 1 skipped"

    def test_what_follows_a_batch_that_is_full_of_one_text_is_not_lost(self, jtv: Jtv) -> None:
        huge = stream([record(1, "x" * (5 << 20)), record(2), record(3)])
        assert "3 stored, 0 known" in jtv.ok("import", "-", stdin=huge).counts

    def test_a_file_that_cannot_be_read(self, jtv: Jtv) -> None:
        for path, says in (("none.jsonl", "No such file"), (".", "Is a directory")):
            result = jtv("import", path)
            assert (result.code, result.is_one_error) == (2, True)
            assert says in result.error
        assert not jtv.database.exists()

    def test_a_full_disk_says_so_and_the_same_command_goes_on(self, jtv: Jtv) -> None:
        jtv.write("x.jsonl", stream([record(n, f"{n} {'x' * 2000}") for n in range(1, 2001)]))
        limited = ["bash", "-c", 'ulimit -f 2000; exec "$@"', "bash"]
        result = jtv("import", "x.jsonl", prefix=limited)
        assert result.code == 5
        assert result.stderr.count("\n") <= 3
        assert "Traceback" not in result.stderr
        left = count(jtv, "--table", "notes")
        assert left < 2000
        assert f"{2000 - left:,} stored, {left:,} known" in jtv.ok("import", "x.jsonl").counts

    def test_on_a_terminal_it_shows_how_far_it_is(self, jtv: Jtv) -> None:
        jtv.write("x.jsonl", stream([record(number) for number in range(1, 1001)]))
        with Terminal(jtv, "import", "x.jsonl") as terminal:
            assert terminal.wait() == 0
        assert "importing: 512 documents, " in terminal.screen
        assert next(line for line in terminal.lines if line).startswith("Stored 1,000 new")

    @pytest.mark.parametrize("seed", range(3))
    def test_killed_at_any_moment_it_goes_on(self, on_each_store: Jtv, seed: int) -> None:
        jtv, chance = on_each_store, random.Random(seed)
        path = jtv.write("x.jsonl", stream([record(number) for number in range(1, 4001)]))
        for _ in range(3):
            process = jtv.start("import", str(path), "-q", stderr=subprocess.DEVNULL)
            time.sleep(chance.uniform(0.2, 1.5))
            process.send_signal(chance.choice([signal.SIGKILL, signal.SIGTERM]))
            process.wait(60)
        jtv.ok("import", str(path))
        assert [row[2] for row in jtv.ok("list", "--table", "notes").rows] == [
            f"text {number}" for number in range(1, 4001)
        ]

    def test_interrupted_it_says_what_is_stored(self, jtv: Jtv) -> None:
        whole = stream([record(number) for number in range(1, 1301)]).encode()
        process = jtv.start("import", "-", stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdin
        process.stdin.write(whole[: len(whole) // 2])
        process.stdin.flush()
        deadline = time.monotonic() + 60
        while not jtv.database.exists() or "\t512" not in jtv("tables").stdout:
            assert time.monotonic() < deadline
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
        assert process.returncode == 130
        assert stderr.decode() == (
            "jtv: interrupted: Stored 512 new documents (0 already stored, 0 skipped),"
            " 512 new occurrences; run the same command to resume\n"
        )


def test_two_imports_at_once(on_each_store: Jtv, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(stream([record(number) for number in range(1, 2001)]))
    running = [
        on_each_store.start("import", str(path), "--no-index", stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    for process in running:
        _, stderr = process.communicate(timeout=120)
        assert process.returncode == 0, stderr
    assert count(on_each_store, "--table", "notes") == 2000


def test_details_of_sources_and_end_lines_go_with_a_table(
    on_each_store: Jtv, tmp_path: Path
) -> None:
    jtv = on_each_store
    chunk = {"source": "b.md", "line": 3, "metadata": None, "end_line": 9}
    line = {"source": "a.md", "line": 1, "metadata": {"x": 1}}
    sources = [
        {"source": "a.md", "details": {"input": "lines", "size": 1 << 40}},
        {"source": "b.md", "details": {"input": "markdown"}},
    ]
    whole = (HEADER | {"version": 2}, record(1, occurrences=[chunk, line]), *sources)
    lines = "".join(json.dumps(each) + "\n" for each in whole)
    digest = hashlib.sha256(lines.encode()).hexdigest()
    whole_stream = lines + json.dumps({"documents": 1, "sha256": digest}) + "\n"
    jtv.ok("import", "-", "--no-index", stdin=whole_stream)
    exported = jtv.ok("export", "--vectors", "--table", "notes").stdout
    *_, one, two, closing = map(json.loads, exported.splitlines())
    assert [one, two] == sources
    assert closing["documents"] == 1
    [stored, *_] = documents("\n".join(exported.splitlines()[:-2]))
    assert stored["occurrences"] == [chunk, line]
    origin = jtv.environment.get("JTV_DATABASE", str(jtv.database))
    target = str(tmp_path / "copy.db")
    jtv.ok("copy", "--from", origin, "--to", target, "--table", "notes")
    copied = jtv.ok("export", "--vectors", "--table", "notes", "--database", target)
    assert copied.stdout == exported


@pytest.mark.parametrize(
    "broken", [{"details": 5}, {"source": ""}, {"source": None}, {"details": None}], ids=str
)
def test_a_source_that_is_broken_is_named(jtv: Jtv, broken: dict[str, object]) -> None:
    source = {"source": "a.md", "details": {}} | broken
    result = jtv("import", "-", stdin=stream([record(1), source]))
    assert "-:3: a source has no name or no details" in result.stderr


def test_end_lines_that_cannot_be(jtv: Jtv) -> None:
    for end_line in (-1, "3", True, 1 << 60):
        place = {"source": "a", "line": 1, "metadata": None, "end_line": end_line}
        result = jtv("import", "-", stdin=stream([record(1, occurrences=[place])]))
        assert result.code == 2
        assert "-:2: an occurrence is invalid" in result.stderr


def test_an_import_leaves_details_that_are_there(jtv: Jtv) -> None:
    store = open_store(str(jtv.database), writable=True, make_folder=True)
    jtv.ok("import", "-", stdin=stream([record(1)]))
    store.close()
    store = open_store(str(jtv.database), writable=True)
    store.open("notes").set_source_details({"notes.txt": {"input": "own"}})
    lines = [record(1), {"source": "notes.txt", "details": {"input": "theirs"}}]
    text = "".join(json.dumps(each) + "\n" for each in (HEADER, *lines))
    digest = hashlib.sha256(text.encode()).hexdigest()
    closing = json.dumps({"documents": 1, "sha256": digest}) + "\n"
    jtv.ok("import", "-", stdin=text + closing)
    assert store.open("notes").source_details(["notes.txt"]) == {"notes.txt": {"input": "own"}}
    store.close()
