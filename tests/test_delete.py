"""`jtv delete` and `jtv show`: what goes, what stays, and what is said of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from terminal import Terminal

if TYPE_CHECKING:
    from conftest import Jtv

METADATA = '{"text": "two", "lang": "en", "tags": ["a"]}\n'


@pytest.fixture
def filled(on_each_store: Jtv) -> Jtv:
    """`two` was read in all three, `one` in a.txt and from stdin, the others once."""
    jtv = on_each_store
    jtv.write("a.txt", "one\ntwo\nthree\n")
    jtv.write("b.jsonl", METADATA)
    jtv.ok("init")
    jtv.ok("ingest", "a.txt", "b.jsonl")
    jtv.ok("ingest", "-", stdin="one\ntwo\nfour\n")
    return jtv


def ids(jtv: Jtv) -> dict[str, str]:
    """The id of each text."""
    return {row[2]: row[1] for row in jtv.ok("list").rows}


class TestByIds:
    def test_a_document_goes_with_all_its_occurrences(self, filled: Jtv) -> None:
        numbers = ids(filled)
        result = filled.ok("delete", numbers["two"], numbers["three"], numbers["two"], "--yes")
        assert "Deleted 2 documents and 4 occurrences" in result.stderr
        assert result.stdout == ""
        assert set(ids(filled)) == {"one", "four"}
        assert filled("show", numbers["two"]).code == 1

    def test_what_is_deleted_can_be_ingested_again(self, filled: Jtv) -> None:
        filled.ok("delete", ids(filled)["two"], "--yes")
        assert "1 stored, 2 known" in filled.ok("ingest", "a.txt").counts

    def test_an_id_that_is_not_there_deletes_nothing(self, filled: Jtv) -> None:
        numbers = ids(filled)
        result = filled("delete", numbers["two"], "9999", str(1 << 70), "--yes")
        assert result.code == 2
        assert result.is_one_error
        assert f"no documents 9999, {1 << 70} in table" in result.error
        assert ids(filled) == numbers

    def test_of_many_ids_that_are_not_there_some_are_named(self, filled: Jtv) -> None:
        result = filled("delete", *map(str, range(1000, 1100)), "--yes")
        assert "1009 and 90 more in table" in result.error


class TestBySource:
    def test_documents_read_elsewhere_stay(self, filled: Jtv) -> None:
        result = filled.ok("delete", "--source", "a.txt", "--yes", "--json")
        [report] = result.records
        assert (report["documents"], report["occurrences"], report["unknown"]) == (1, 3, 0)
        assert set(ids(filled)) == {"one", "two", "four"}
        shown = filled.ok("show", ids(filled)["two"]).rows
        assert {row[3] for row in shown} == {"b.jsonl", "-"}

    def test_stdin(self, filled: Jtv) -> None:
        filled.ok("delete", "--source", "-", "--yes")
        assert set(ids(filled)) == {"one", "two", "three"}

    @pytest.mark.parametrize("typed", ["./a.txt", "d/..//a.txt", "a.txt"])
    def test_a_path_as_it_is_typed(self, filled: Jtv, typed: str) -> None:
        filled.ok("delete", "--source", typed, "--yes")
        assert set(ids(filled)) == {"one", "two", "four"}

    def test_a_name_that_is_no_path_goes_before_one_that_is(self, filled: Jtv) -> None:
        filled.ok("ingest", "-", "--source", "./a.txt", stdin="five\n")
        filled.ok("delete", "--source", "./a.txt", "--yes")
        assert set(ids(filled)) == {"one", "two", "three", "four"}

    def test_a_source_that_is_not_there(self, filled: Jtv) -> None:
        result = filled("delete", "--source", "c.txt", "--yes")
        assert result.code == 2
        assert 'no source "c.txt" in table' in result.error

    def test_more_than_one_transaction(self, on_each_store: Jtv) -> None:
        lines = "".join(f"line {number % 2500}\n" for number in range(3000))
        on_each_store.ok("init")
        on_each_store.ok("ingest", "-", stdin=lines)
        [report] = on_each_store.ok("delete", "--source", "-", "--yes", "--json").records
        assert (report["documents"], report["occurrences"]) == (2500, 3000)
        assert on_each_store.ok("list").rows == []


class TestByTexts:
    def test_texts_of_a_file(self, filled: Jtv) -> None:
        filled.write("gone.txt", "two\n\n  one \nfive\nfive\ntwo\n")
        [report] = filled.ok("delete", "--texts", "gone.txt", "--yes", "--json").records
        assert (report["documents"], report["occurrences"], report["unknown"]) == (2, 5, 1)
        assert set(ids(filled)) == {"three", "four"}

    def test_texts_from_stdin_want_a_yes(self, filled: Jtv) -> None:
        assert filled("delete", "--texts", "-", stdin="two\n").code == 2
        filled.ok("delete", "--texts", "-", "--yes", stdin="two\n")
        assert set(ids(filled)) == {"one", "three", "four"}

    def test_none_of_them_there_is_done_already(self, filled: Jtv) -> None:
        result = filled.ok("delete", "--texts", "-", stdin="five\n")
        assert "Deleted 0 documents and 0 occurrences; 1 text not in the table" in result.stderr

    @pytest.mark.parametrize(
        ("content", "says"), [(b"two\ncaf\xe9\n", "gone.txt:2: not UTF-8"), (None, "cannot read")]
    )
    def test_a_file_that_cannot_be_read_deletes_nothing(
        self, filled: Jtv, content: bytes | None, says: str
    ) -> None:
        if content is not None:
            filled.write("gone.txt", content)
        result = filled("delete", "--texts", "gone.txt", "--yes")
        assert result.code == 2
        assert says in result.error
        assert len(ids(filled)) == 4


class TestAsking:
    def test_a_folder_is_no_file_of_texts(self, filled: Jtv) -> None:
        for command in (["delete", "--texts", "."], ["search", "--queries", "."]):
            result = filled(*command)
            assert result.code == 2
            assert result.error == "jtv: error: cannot read .: Is a directory"

    def test_off_a_terminal_it_wants_a_yes(self, filled: Jtv) -> None:
        result = filled("delete", "--source", "a.txt")
        assert result.code == 2
        assert "this deletes 1 document and 3 occurrences from table" in result.error
        assert "add --yes" in result.error
        assert len(ids(filled)) == 4

    def test_a_dry_run_only_says_it(self, filled: Jtv) -> None:
        result = filled.ok("delete", "--source", "a.txt", "--dry-run")
        assert result.stderr == "Would delete 1 document and 3 occurrences\n"
        assert len(ids(filled)) == 4

    @pytest.mark.parametrize(("answer", "code", "left"), [("n", 2, 4), ("y", 0, 3)])
    def test_on_a_terminal_it_asks(self, filled: Jtv, answer: str, code: int, left: int) -> None:
        with Terminal(filled, "delete", ids(filled)["three"]) as terminal:
            terminal.wait_for("[y/N]")
            assert "Delete 1 document and 1 occurrence from table" in terminal.screen
            terminal.type(f"{answer}\n")
            assert terminal.wait() == code
        assert len(ids(filled)) == left

    @pytest.mark.parametrize(
        "options", [[], ["1", "--source", "a"], ["--texts", "-", "--source", "a"], ["one"], ["-1"]]
    )
    def test_options_that_do_not_fit(self, jtv: Jtv, options: list[str]) -> None:
        result = jtv("delete", *options, "--yes")
        assert result.code == 2
        assert result.is_one_error

    def test_a_table_that_is_not_there(self, jtv: Jtv) -> None:
        for command in (["delete", "1", "--yes"], ["show", "1"], ["search", "--like", "1"]):
            result = jtv(*command)
            assert result.code == 5
            assert 'no table "' in result.error
        assert not jtv.data_folder.exists()


class TestShow:
    def test_each_occurrence_is_a_line(self, filled: Jtv) -> None:
        numbers = ids(filled)
        rows = filled.ok("show", numbers["two"], numbers["four"]).rows
        two, four = numbers["two"], numbers["four"]
        assert sorted(rows[:3]) == [
            ["-", two, "two", "-", "2"],
            ["-", two, "two", "a.txt", "2"],
            ["-", two, "two", "b.jsonl", "1"],
        ]
        assert rows[3:] == [["-", four, "four", "-", "3"]]

    def test_json_has_each_document_once_with_all_its_occurrences(self, filled: Jtv) -> None:
        [record] = filled.ok("show", ids(filled)["two"], "--json").records
        assert list(record)[:3] == ["id", "distance", "content"]
        occurrences = record.pop("occurrences")
        assert {"source": "a.txt", "line": 2, "metadata": None, "end_line": None} in occurrences
        metadata = {"lang": "en", "tags": ["a"]}
        assert {
            "source": "b.jsonl",
            "line": 1,
            "metadata": metadata,
            "end_line": None,
        } in occurrences
        assert len(occurrences) == 3
        keys = ("source", "line", "metadata", "end_line")
        assert {key: record[key] for key in keys} == occurrences[0]

    def test_text_is_the_content_once(self, filled: Jtv) -> None:
        assert filled.ok("show", ids(filled)["two"], "-f", "text").stdout == "two\n"

    def test_ids_that_are_not_there_are_named(self, filled: Jtv) -> None:
        result = filled("show", "777", ids(filled)["four"], "999")
        assert result.code == 1
        assert [row[2] for row in result.rows] == ["four"]
        assert "no documents 777, 999 in table" in result.error

    def test_on_a_terminal_it_is_a_block(self, filled: Jtv) -> None:
        with Terminal(filled, "show", ids(filled)["two"], env={"NO_COLOR": "1"}) as terminal:
            assert terminal.wait() == 0
        for line in ("two", "read in  a.txt:2", "read in  standard input:2"):
            assert line in terminal.lines
        assert 'read in  b.jsonl:1  {"lang":"en","tags":["a"]}' in terminal.lines
