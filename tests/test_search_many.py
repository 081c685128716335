"""`jtv search` near a document, for many queries at once, and through a filter."""

from __future__ import annotations

import csv
import io
import subprocess
from typing import TYPE_CHECKING

import pytest

import jina_faults
from conftest import SAMPLE_TEXTS
from terminal import Terminal

if TYPE_CHECKING:
    from conftest import Jtv
    from jina_server import JinaServer

RECORDS = """\
{"text": "the moon is far away", "lang": "en", "year": 1969, "seen": true}
{"text": "the moon is near", "lang": "en", "year": 2024}
{"text": "der Mond ist fern", "lang": "de", "year": 2024}
"""
QUERIES = "big animals\n\n  What is TiDB? \nthe moon\n"


@pytest.fixture
def filled(on_each_store: Jtv) -> Jtv:
    on_each_store.ok("init")
    on_each_store.write("moon.jsonl", RECORDS)
    on_each_store.ok("ingest", str(SAMPLE_TEXTS), "moon.jsonl")
    on_each_store.ok("ingest", "-", stdin="the moon on stdin\n")
    return on_each_store


class TestLike:
    def test_what_is_near_a_document_without_itself(self, filled: Jtv) -> None:
        everything = filled.ok("search", "the moon is near", "-k", "5").rows
        number = everything[0][1]
        near = filled.ok("search", "--like", number, "-k", "4").rows
        assert [row[1:] for row in near] == [row[1:] for row in everything[1:]]

    def test_it_opens_no_embedder(self, keyed: Jtv, api: JinaServer) -> None:
        keyed.ok("init")
        keyed.ok("ingest", "-", stdin="one\ntwo\n")
        asked = len(api.requests)
        result = keyed.ok("search", "--like", "1", env={"JINA_API_KEY": ""})
        assert [row[2] for row in result.rows] == ["two"]
        assert len(api.requests) == asked

    def test_the_only_document_has_no_neighbour(self, jtv: Jtv) -> None:
        jtv.ok("init")
        jtv.ok("ingest", "-", stdin="alone\n")
        assert jtv("search", "--like", "1").code == 1

    def test_a_document_that_is_not_there(self, filled: Jtv) -> None:
        result = filled("search", "--like", "9999")
        assert result.code == 2
        assert "no document 9999 in table" in result.error

    def test_another_model_is_refused(self, filled: Jtv) -> None:
        result = filled("search", "--like", "1", "--model", "jina-embeddings-v3")
        assert result.code == 5
        assert "was created with model" in result.error

    @pytest.mark.parametrize(
        "options", [[], ["x", "--like", "1"], ["x", "--queries", "-"], ["--like", "one"]]
    )
    def test_one_thing_to_look_for(self, jtv: Jtv, options: list[str]) -> None:
        result = jtv("search", *options)
        assert result.code == 2
        assert result.is_one_error


class TestFilter:
    @pytest.mark.parametrize(
        ("options", "found"),
        [
            (["--source", "moon.*"], 3),
            (["--source", "-"], 1),
            (["--source", "nothing"], 0),
            (["--where", "lang=en"], 2),
            (["--where", "lang=en", "--where", "year=2024"], 1),
            (["--where", "seen=true"], 1),
            (["--where", "lang=fr"], 0),
            (["--where", "lang="], 0),
            (["--source", "*.jsonl", "--where", "year=2024"], 2),
            (["--source", "*.txt", "--where", "year=2024"], 0),
        ],
    )
    def test_only_what_fits_is_found(self, filled: Jtv, options: list[str], found: int) -> None:
        result = filled("search", "big animals", *options)
        assert len(result.rows) == found
        assert result.code == (0 if found else 1)

    def test_of_neighbours_and_of_many_queries_too(self, filled: Jtv) -> None:
        rows = filled.ok("search", "--like", "1", "--where", "lang=de").rows
        assert [row[2] for row in rows] == ["der Mond ist fern"]
        answers = filled.ok("search", "--queries", "-", "--where", "lang=de", stdin=QUERIES).rows
        assert [row[3] for row in answers] == ["der Mond ist fern"] * 3

    @pytest.mark.parametrize("condition", ["lang", "=en", ""])
    def test_a_condition_that_is_none(self, jtv: Jtv, condition: str) -> None:
        result = jtv("search", "x", "--where", condition)
        assert result.code == 2
        assert "is not FIELD=VALUE" in result.error


class TestNothingMatches:
    """A source or a field that does not exist is named, with those that do."""

    @pytest.fixture
    def filled(self, on_each_store: Jtv) -> Jtv:
        on_each_store.ok("init")
        record = '{"text": "one", "status": "open", "lang": "en"}\n'
        on_each_store.ok("ingest", "-", "--input", "jsonl", "--source", "tickets", stdin=record)
        return on_each_store

    @pytest.mark.parametrize(
        ("options", "error", "hint"),
        [
            (("--source", "Tickets"), 'no source matches "Tickets"', "the sources are: tickets"),
            (
                ("--where", "Status=open"),
                'no document has a field "Status"',
                "the fields are: lang, status",
            ),
        ],
    )
    def test_it_is_named(
        self, filled: Jtv, options: tuple[str, ...], error: str, hint: str
    ) -> None:
        result = filled("search", "one", *options)
        assert (result.code, result.stdout) == (1, "")
        assert result.stderr == f"jtv: warning: {error}\nhint: {hint}\n"
        assert filled("search", "one", *options, "--quiet").stderr == ""

    def test_of_a_large_table_the_first_documents_are_looked_at(self, made: Jtv) -> None:
        record = '{"text": "one", "status": "open", "lang": "en"}\n'
        lines = "".join(f'{{"text": "line {number}"}}\n' for number in range(20_000))
        made.ok("ingest", "-", "--input", "jsonl", stdin=record + lines)
        result = made("search", "one", "--where", "Status=open")
        assert (result.code, result.stdout) == (1, "")
        assert result.stderr == (
            'jtv: warning: none of the first 20,000 documents has a field "Status"\n'
            "hint: the fields are: lang, status\n"
        )

    def test_a_value_that_no_document_has_is_only_not_found(self, filled: Jtv) -> None:
        result = filled("search", "one", "--where", "status=closed")
        assert (result.code, result.stderr) == (1, "")


class TestQueries:
    def test_each_is_answered_as_if_alone_in_their_order(self, filled: Jtv) -> None:
        filled.write("queries.txt", QUERIES)
        rows = filled.ok("search", "--queries", "queries.txt", "-k", "3").rows
        alone = [
            [query, *row]
            for query in ("big animals", "What is TiDB?", "the moon")
            for row in filled.ok("search", query, "-k", "3").rows
        ]
        assert [(row[0], *row[2:]) for row in rows] == [(row[0], *row[2:]) for row in alone]
        for row, other in zip(rows, alone, strict=True):
            assert float(row[1]) == pytest.approx(float(other[1]), abs=1e-5)

    def test_as_json(self, filled: Jtv) -> None:
        records = filled.ok("search", "--queries", "-", "-k", "2", "--json", stdin=QUERIES).records
        assert [record["query"] for record in records] == [
            "big animals",
            "What is TiDB?",
            "the moon",
        ]
        for record in records:
            assert list(record) == ["query", "hits"]
            assert len(record["hits"]) == 2
            assert "metadata" in record["hits"][0]

    def test_as_csv_and_text(self, filled: Jtv) -> None:
        table = filled.ok("search", "--queries", "-", "-k", "1", "-f", "csv", stdin=QUERIES).stdout
        header, *rows = csv.reader(io.StringIO(table))
        assert header == ["query", "distance", "id", "content", "source", "line"]
        assert [row[0] for row in rows] == ["big animals", "What is TiDB?", "the moon"]
        text = filled.ok("search", "--queries", "-", "-k", "1", "-f", "text", stdin=QUERIES).stdout
        assert text.splitlines() == [row[3] for row in rows]

    def test_nothing_found_has_a_record_and_exit_1(self, filled: Jtv) -> None:
        command = ["search", "--queries", "-", "--max-distance", "0"]
        result = filled(*command, "--json", stdin="xylophone\n")
        assert (result.code, result.records) == (1, [{"query": "xylophone", "hits": []}])
        assert filled(*command, stdin="xylophone\n").stdout == ""
        assert filled("search", "--queries", "-", stdin="").code == 1

    def test_a_line_that_is_not_utf8_is_left_out_and_named(self, filled: Jtv) -> None:
        result = filled("search", "--queries", "-", "-k", "1", stdin=b"a\ncaf\xe9\nb\n")
        assert result.code == 3
        assert [row[0] for row in result.rows] == ["a", "b"]
        assert "-:2: not UTF-8" in result.stderr

    def test_a_file_that_is_not_there(self, filled: Jtv) -> None:
        result = filled("search", "--queries", "nope.txt")
        assert (result.code, result.stdout) == (2, "")
        assert "cannot read nope.txt" in result.error

    def test_they_are_embedded_in_batches(self, keyed: Jtv, api: JinaServer) -> None:
        keyed.ok("init")
        keyed.ok("ingest", "-", stdin="one\ntwo\n")
        api.requests.clear()
        queries = "".join(f"query {number}\n" for number in range(600))
        records = keyed.ok("search", "--queries", "-", "--json", stdin=queries).records
        assert [record["query"] for record in records] == queries.splitlines()
        assert [len(request.texts) for request in api.requests] == [512, 88]

    def test_a_batch_too_large_is_halved_and_a_failure_tried_again(
        self, keyed: Jtv, api: JinaServer
    ) -> None:
        keyed.ok("init")
        keyed.ok("ingest", "-", stdin="one\ntwo\n")
        api.misbehave(jina_faults.answer(503), times=1)
        api.max_items = 30
        queries = "".join(f"query {number}\n" for number in range(100))
        records = keyed.ok("search", "--queries", "-", "--json", stdin=queries).records
        assert [record["query"] for record in records] == queries.splitlines()

    @pytest.mark.parametrize("status", [400, 500])
    def test_a_batch_that_fails_for_more_queries_than_the_service_takes_is_halved(
        self, keyed: Jtv, api: JinaServer, status: int
    ) -> None:
        keyed.ok("init")
        keyed.ok("ingest", "-", stdin="one\ntwo\n")
        fault = jina_faults.answer(status, {"detail": "No"})
        api.misbehave(fault, times=None, when=lambda request: len(request.texts) > 8)
        queries = "".join(f"query {number}\n" for number in range(20))
        records = keyed.ok("search", "--queries", "-", "--json", stdin=queries).records
        assert [record["query"] for record in records] == queries.splitlines()

    def test_answers_come_while_there_are_more_queries_to_come(self, filled: Jtv) -> None:
        process = filled.start(
            "search", "--queries", "-", "-k", "1", stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert process.stdin
        assert process.stdout
        for query in (b"the moon", b"big animals"):
            process.stdin.write(query + b"\n")
            process.stdin.flush()
            assert process.stdout.readline().startswith(query + b"\t")
        process.communicate(timeout=60)
        assert process.returncode == 0

    def test_a_way_is_explained_once(self, filled: Jtv) -> None:
        queries = "".join(f"query {number}\n" for number in range(200))
        result = filled.ok("search", "--queries", "-", "--explain", stdin=queries)
        assert result.stderr.count("\n") == 1
        assert "exact" in result.stderr or "index" in result.stderr

    def test_on_a_terminal_each_has_its_table(self, filled: Jtv) -> None:
        filled.write("queries.txt", "the moon\n\x1b[2J wild\n")
        env = {"NO_COLOR": "1"}
        with Terminal(filled, "search", "--queries", "queries.txt", "-k", "1", env=env) as terminal:
            assert terminal.wait() == 0
        assert "the moon" in terminal.lines
        assert r"\u001b[2J wild" in terminal.lines
        assert terminal.screen.count("distance") == 2
