"""What `ingest` reads: formats, folders, packed files, and what is wrong with them."""

from __future__ import annotations

import gzip
import json
import os
import shlex
import threading
import zlib
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Jtv, Result
    from jina_server import JinaServer


def stored(jtv: Jtv) -> list[tuple[str, int | None, dict[str, Any] | None]]:
    """Return text, line and metadata of every document."""
    records = jtv.ok("list", "--json").records
    return [(record["content"], record["line"], record["metadata"]) for record in records]


JSONL = b'{"text": " one ", "id": 7, "tags": ["a", null]}\n\n{"text": "two"}\n'
CSV = b'id,text\n7," one, ""quoted"" "\n8,"two\nlines"\n\n9,three\r\n'
ROWS = [
    ('one, "quoted"', 2, {"id": "7"}),
    ("two\nlines", 3, {"id": "8"}),
    ("three", 6, {"id": "9"}),
]


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "A.JSONL", "a.jsonl.gz"])
def test_json_lines(made: Jtv, name: str) -> None:
    made.write(name, gzip.compress(JSONL, mtime=0) if name.endswith("gz") else JSONL)
    result = made.ok("ingest", name)
    assert f'Reading {name} as jsonl with text from field "text"\n' in result.stderr
    assert result.counts.startswith("2 stored, 0 known, 1 empty, 0 skipped")
    assert stored(made) == [("one", 1, {"id": 7, "tags": ["a", None]}), ("two", 3, None)]


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_csv(made: Jtv, name: str) -> None:
    made.write(name, gzip.compress(CSV, mtime=0) if name.endswith("gz") else CSV)
    assert 'as csv with text from field "text"' in made.ok("ingest", name).stderr
    assert stored(made) == ROWS


def test_tsv_with_a_mark_of_order_and_a_field_of_ones_choice(made: Jtv) -> None:
    made.write("a.tsv", "\ufeffbody\tnote\ntext,1\tn\n".encode())
    made.ok("ingest", "a.tsv", "--text-field", "body")
    assert stored(made) == [("text,1", 2, {"note": "n"})]


@pytest.mark.parametrize(("form", "data", "texts"), [("jsonl", JSONL, 2), ("csv", CSV, 3)])
@pytest.mark.parametrize("regular", [True, False])
def test_standard_input(made: Jtv, form: str, data: bytes, texts: int, regular: bool) -> None:
    """Its beginning is looked at and then read, whether it is a pipe or a file."""
    path = made.write("data", data)
    if regular:
        with path.open("rb") as file:
            process = made.start("ingest", "-", "--input", form, "--quiet", stdin=file)
            assert process.wait(timeout=60) == 0
    else:
        made.ok("ingest", "-", "--input", form, stdin=data)
    assert len(stored(made)) == texts


def test_metadata_of_a_known_text_is_kept_too(made: Jtv) -> None:
    made.ok("ingest", "-", stdin="one\n")
    made.write("a.jsonl", JSONL)
    made.ok("ingest", "a.jsonl")
    made.ok("ingest", "a.jsonl")
    assert stored(made)[1] == ("two", 3, None)
    assert len(stored(made)) == 2


def test_content_stands_in_for_text(made: Jtv) -> None:
    made.write("a.jsonl", '{"content": "x", "n": 1}\n')
    made.ok("ingest", "a.jsonl")
    assert stored(made) == [("x", 1, {"n": 1})]


@pytest.mark.parametrize(
    ("name", "data"), [("b.csv", "id,body\n1,x\n"), ("b.jsonl", '{"id": 1, "body": "x"}\n')]
)
@pytest.mark.parametrize("option", [(), ("--text-field", "text")])
def test_no_such_field_is_said_before_anything_is_done(
    made: Jtv, name: str, data: str, option: tuple[str, ...]
) -> None:
    made.write("a.jsonl", '{"text": "x"}\n')
    made.write(name, data)
    result = made("ingest", "a.jsonl", name, *option)
    assert result.code == 2
    assert f"{name} has no field text" in result.error
    assert "the fields are: id, body" in result.error
    assert stored(made) == []


BAD = [
    ("a.jsonl", b'{"text": "x"}\n[1]\n', "a.jsonl:2: not a JSON object, skipped"),
    (
        "a.jsonl",
        b'{"text": "x"}\n{"text": 1}\n',
        'a.jsonl:2: field "text" is missing or not text',
    ),
    ("a.jsonl", b'{"text": "x"}\n{"no": 1}\n', 'a.jsonl:2: field "text" is missing or not'),
    ("a.jsonl", b'{"text": "x"}\n{"text": "\xff"}\n', "a.jsonl:2: not JSON ("),
    ("a.jsonl", b'{"text": "x"}\n{"text":\n', "a.jsonl:2: not JSON ("),
    ("a.jsonl", b'nonsense\n{"text": "x"}\n', "a.jsonl:1: not JSON ("),
    ("a.csv", b"text,b\nx,1\ny\n", "a.csv:3: 1 field, where the first record has 2, skipped"),
    ("a.csv", b"text,b\nx,1\n\xff,1\n", "a.csv:3: not UTF-8 (byte 0xff at position 1), skipped"),
    ("a.csv", b'text,b\nx,1\n"y"z,1\n', "a.csv:3: ',' expected after '\"', skipped"),
    (
        "a.csv",
        b'text,b\nx,1\n"never,1\n',
        "a.csv:3: a quotation mark opens in it and is not closed, skipped",
    ),
    (
        "a.csv",
        b"text,b\nx,1\ny\rz,1\n",
        "a.csv:3: a carriage return (CR) in it is neither quoted nor at a line's end, skipped",
    ),
]


def test_a_header_that_is_bad(made: Jtv) -> None:
    made.write("a.csv", b"te\xffxt\nx\n")
    result = made("ingest", "a.csv")
    assert result.code == 2
    assert "a.csv:1 should name the fields: not UTF-8" in result.error


def test_lines_that_end_as_on_an_old_mac(made: Jtv) -> None:
    made.write("a.csv", "text,b\rx,1\r")
    made.write("a.txt", "one\rtwo\r\rthree")
    made.ok("ingest", "a.csv")
    made.ok("ingest", "a.txt", "--lines")
    assert stored(made) == [
        ("x", 2, {"b": "1"}),
        *(("one", 1, None), ("two", 2, None), ("three", 4, None)),
    ]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("text,tag,tag\nx,1,2\n", "a.csv:1 has two fields named tag"),
        ("\ntext,text\nx,y\n", "a.csv:2 has two fields named text"),
        ("text,,\nx,1,2\n", "a.csv:1 has two fields named ''"),
    ],
)
def test_a_header_with_a_name_twice(made: Jtv, data: str, says: str) -> None:
    made.write("a.csv", data)
    result = made("ingest", "a.csv")
    assert (result.code, result.is_one_error) == (2, True)
    assert says in result.error


@pytest.mark.parametrize("number", [-(2**63), 2**64 - 1, 0.1234567890123456789])
def test_numbers_are_kept(made: Jtv, number: float) -> None:
    made.write("a.jsonl", json.dumps({"text": "x", "n": [number], "s": "9" * 30}) + "\n")
    made.ok("ingest", "a.jsonl")
    assert stored(made) == [("x", 1, {"n": [number], "s": "9" * 30})]


@pytest.mark.parametrize("number", [-(2**63) - 1, 2**64, "9" * 5000])
def test_an_integer_that_would_become_a_float_is_refused(made: Jtv, number: object) -> None:
    made.write("a.jsonl", f'{{"text": "x"}}\n{{"text": "y", "n": [{number}]}}\n')
    result = made("ingest", "a.jsonl")
    assert result.code == 3
    assert "a.jsonl:2: it has an integer of more than 64 bits, skipped" in result.stderr
    assert [text for text, *_ in stored(made)] == ["x"]


@pytest.mark.parametrize(("name", "data", "says"), BAD)
def test_bad_records_are_named_and_skipped(made: Jtv, name: str, data: bytes, says: str) -> None:
    made.write(name, data)
    result = made("ingest", name)
    assert result.code == 3
    assert f"jtv: warning: {says}" in result.stderr
    assert [text for text, *_ in stored(made)] == ["x"]


def nested(levels: int) -> str:
    """Return a record whose metadata has an array in an array, and so on."""
    return json.dumps({"text": f"{levels} levels"})[:-1] + f', "in": {"[" * levels}{"]" * levels}}}'


@pytest.mark.parametrize("command", [("ingest",), ("sync", "--yes")])
def test_metadata_nested_too_deeply_is_named_and_not_paid_for(
    keyed: Jtv, api: JinaServer, command: tuple[str, ...]
) -> None:
    keyed.ok("init")
    lines = [nested(100), nested(251), nested(254), nested(800), '{"text": "x"}', nested(250)]
    keyed.write("a.jsonl", "\n".join(lines))
    result = keyed(*command, "a.jsonl")
    assert result.code == 3
    for line in (2, 3, 4):
        assert (
            f"jtv: warning: a.jsonl:{line}: its metadata is nested too deeply, skipped"
            in result.stderr
        )
    assert api.bill == ["100 levels", "x", "250 levels"]
    assert keyed(*command, "a.jsonl").code == 3
    assert len(api.bill) == 3


def test_metadata_nested_as_deeply_as_can_be_comes_back(made: Jtv) -> None:
    made.write("a.jsonl", nested(250))
    made.ok("ingest", "a.jsonl")
    for command in ("list", "--json"), ("search", "levels", "--json"), ("show", "1", "--json"):
        [record] = made.ok(*command).records
        assert json.dumps(record["metadata"]["in"]) == "[" * 250 + "]" * 250
    made.ok("search", "--queries", "-", "--json", stdin="levels\n")
    made.write("export", made.ok("export", "--vectors").stdout)
    made.ok("import", "export", "--table", "other")


def test_a_text_may_have_any_number_of_brackets(made: Jtv) -> None:
    made.write("a.jsonl", json.dumps({"text": "[{" * 1000, "n": 1}))
    made.ok("ingest", "a.jsonl")
    assert stored(made) == [("[{" * 1000, 1, {"n": 1})]


def test_strictly_the_first_one_ends_it(made: Jtv) -> None:
    made.write("a.txt", b"one\ntwo\n\xff\nthree\n\xff\n")
    result = made("ingest", "a.txt", "a.txt", "--strict")
    assert result.code == 3
    assert "stopped before the end: --strict, at a.txt:3" in result.stderr
    assert result.counts.startswith("2 stored, 0 known, 0 empty, 1 skipped")
    assert [text for text, *_ in stored(made)] == ["one", "two"]


def test_paragraphs(made: Jtv) -> None:
    made.write("a.txt", b"\n\none\r\nmore of it\r\n\r\ntwo \xff\nno\n \nthree\n")
    result = made("ingest", "a.txt", "--paragraphs")
    assert result.code == 3
    assert "a.txt:6: not UTF-8" in result.stderr
    assert stored(made) == [("one\nmore of it", 3, None), ("three", 9, None)]


def test_a_paragraph_longer_than_a_window(made: Jtv) -> None:
    text = "\n".join(f"line {number}" for number in range(20_000))
    made.write("a.txt", f"first\n\n{text}\n\nlast")
    made.ok("ingest", "a.txt", "--paragraphs")
    assert [(len(text), line) for text, line, _ in stored(made)] == [
        (5, 1),
        (len(text), 3),
        (4, 20_004),
    ]


class TestFolders:
    @pytest.fixture
    def folder(self, made: Jtv) -> Jtv:
        for name in ("b.md", "a.md", "sub/c.md", "sub/d.txt", ".hidden.md", ".git/e.md"):
            made.write(f"docs/{name}", name)
        return made

    def texts(self, jtv: Jtv, *arguments: str) -> list[str]:
        jtv.ok("ingest", *arguments)
        return [text for text, *_ in stored(jtv)]

    def test_by_name(self, folder: Jtv) -> None:
        assert self.texts(folder, "docs", "--glob", "*.md") == ["a.md", "b.md", "sub/c.md"]
        assert folder.ok("list", "--json").records[2]["source"] == "docs/sub/c.md"

    def test_two_stars_are_any_number_of_folders(self, folder: Jtv) -> None:
        assert self.texts(folder, "docs", "--glob", "**/*.md") == ["a.md", "b.md", "sub/c.md"]

    def test_a_pattern_excludes(self, folder: Jtv) -> None:
        assert self.texts(folder, "docs", "--glob", "*.md", "--glob", "!a.*") == [
            "b.md",
            "sub/c.md",
        ]

    def test_one_pattern_that_matches_nothing_is_named(self, folder: Jtv) -> None:
        result = folder.ok("ingest", "docs", "--glob", "*.md", "--glob", "*.pdf")
        assert result.stderr.count("no file matches --include '*.pdf'") == 1
        assert "'*.md'" not in result.stderr

    def test_by_path_and_several(self, folder: Jtv) -> None:
        globs = ("--glob", "sub/*", "--glob", "b.*")
        assert self.texts(folder, "docs/", *globs) == ["b.md", "sub/c.md", "sub/d.txt"]

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (["docs", "--glob", "*.pdf"], "no file in docs matches *.pdf"),
            (["docs/a.md", "--glob", "*.md"], "--include and --exclude are for directories"),
            (["docs/a.md", "--text-field", "x"], "--text-field is for jsonl, json, csv and tsv"),
            (["x.csv", "--paragraphs"], "--paragraphs is for plain text"),
        ],
    )
    def test_what_does_not_go_together(self, folder: Jtv, arguments: list[str], says: str) -> None:
        folder.write("x.csv", "text\nx\n")
        result = folder("ingest", *arguments)
        assert result.code == 2
        assert says in result.error

    @pytest.mark.parametrize("mode", [0, 0o444])
    @pytest.mark.parametrize("command", ["ingest", "sync"])
    def test_one_that_cannot_be_read_is_not_passed_over(
        self, folder: Jtv, as_a_user: list[str], command: str, mode: int
    ) -> None:
        folder.ok("ingest", "docs", "--glob", "*")
        documents = stored(folder)
        sub = folder.folder / "work/docs/sub"
        sub.chmod(mode)
        result = folder(command, "docs", "--glob", "*", prefix=as_a_user)
        alone = folder(command, "docs/sub/c.md", prefix=as_a_user)
        sub.chmod(0o700)
        assert (result.code, alone.code) == (2, 2)
        path = "docs/sub" if mode == 0 else "docs/sub/"
        assert result.stderr.startswith(f"jtv: error: cannot read {path}")
        assert result.stderr.endswith(": Permission denied\n")
        assert alone.stderr == "jtv: error: cannot read docs/sub/c.md: Permission denied\n"
        assert stored(folder) == documents

    def test_links_to_nothing_are_passed_over(self, folder: Jtv) -> None:
        docs = folder.folder / "work/docs"
        (docs / "x.md").symlink_to("nothing")
        (docs / "y.md").symlink_to("y.md")
        assert self.texts(folder, "docs", "--glob", "?.md") == ["a.md", "b.md", "sub/c.md"]

    def test_more_files_than_can_be_open_at_once(self, made: Jtv) -> None:
        for number in range(300):
            made.write(f"docs/{number:03}.txt", f"text {number}")
        limited = ["sh", "-c", 'ulimit -n 64; exec "$@"', "sh"]
        made.ok("ingest", "docs", "--glob", "*", prefix=limited)
        assert [text for text, *_ in stored(made)] == [f"text {n}" for n in range(300)]


class TestPacked:
    def test_standard_input_has_no_name_that_could_say_so(self, made: Jtv) -> None:
        packed = gzip.compress(b'{"text": "one"}\n' * 2000 + b'{"text": "two"}\n', mtime=0)
        made.ok("ingest", "-", "--input", "jsonl", stdin=packed)
        assert [text for text, *_ in stored(made)] == ["one", "two"]
        exported = gzip.compress(made.ok("export", "--vectors").raw_stdout, mtime=0)
        assert "2 stored" in made.ok("import", "-", "--table", "again", stdin=exported).counts
        assert made("ingest", "-", stdin=gzip.compress(b"one\n", mtime=0)[:-4]).code == 3

    def test_lines_of_several_members_and_padding(self, made: Jtv) -> None:
        made.write(
            "a.txt.gz",
            gzip.compress(b"one\ntw", mtime=0) + gzip.compress(b"o\n", mtime=0) + b"\0" * 99,
        )
        made.ok("ingest", "a.txt.gz")
        assert [text for text, *_ in stored(made)] == ["one", "two"]

    @pytest.mark.parametrize("cut", [-1000, -4])
    def test_a_damaged_one_is_read_as_far_as_it_goes(self, made: Jtv, cut: int) -> None:
        lines = "".join(f"{os.urandom(20).hex()}\n" for _ in range(4000))
        made.write("a.gz", gzip.compress(lines.encode(), mtime=0)[:cut])
        made.write("b.txt", "afterwards\n")
        result = made("ingest", "a.gz", "b.txt")
        assert result.code == 3
        texts = [text for text, *_ in stored(made)]
        assert texts[-1] == "afterwards"
        assert texts[:-1] == lines.splitlines()[: len(texts) - 1]
        assert f"a.gz:{len(texts)}: the end of the gzip data is missing, skipped" in result.stderr

    def test_where_it_is_damaged_is_said_by_its_line(self, made: Jtv) -> None:
        whole = gzip.compress(b"one\n\n\xff\n\n\nsix", mtime=0)
        made.write("a.gz", whole[:-4])
        result = made("ingest", "a.gz", "--lines")
        assert "jtv: warning: a.gz:6: the end of the gzip data is missing, skipped" in result.stderr
        assert result.counts.startswith("1 stored, 0 known, 3 empty, 2 skipped")

    def test_records_over_several_lines_before_the_damage_are_kept(self, made: Jtv) -> None:
        """Blocks never end with a record here, and so no window is full."""
        rows = [f'"{number}\n{os.urandom(600).hex()}"\n' for number in range(200)]
        made.write("a.csv.gz", gzip.compress("".join(["text\n", *rows]).encode(), mtime=0)[:-1000])
        result = made("ingest", "a.csv.gz")
        texts = [text for text, *_ in stored(made)]
        assert len(texts) > 190
        assert texts == [row.strip('"\n') for row in rows[: len(texts)]]
        assert result.code == 3
        assert "the end of the gzip data is missing, skipped" in result.stderr

    def test_one_that_is_none(self, made: Jtv) -> None:
        made.write("a.gz", "plain")
        result = made("ingest", "a.gz")
        assert (result.code, "not compressed with gzip" in result.error) == (2, True)

    def test_one_that_unpacks_to_very_much(self, made: Jtv) -> None:
        made.write("a.gz", gzip.compress(b"same\n" * 200_000, mtime=0))
        result = made.ok("ingest", "a.gz")
        assert result.counts.startswith("1 stored, 199,999 known")


class TestDelimited:
    @pytest.mark.parametrize(
        ("name", "data"),
        [
            ("a.csv", "id;text\n1;Hallo, Welt\n2;zwei\n"),
            ("a.csv", "sep=;\r\nid;text\r\n1;Hallo, Welt\r\n2;zwei\r\n"),
            ("a.csv", '"sep=;"\nid;text\n1;"Hallo, Welt"\n2;zwei\n'),
            ("a.csv", "id\ttext\n1\tHallo, Welt\n2\tzwei\n"),
            ("a.csv", "id;text\r1;Hallo, Welt\r2;zwei\r"),
            ("a.csv.gz", gzip.compress(b"id;text\n1;Hallo, Welt\n2;zwei\n", mtime=0)),
        ],
    )
    def test_the_delimiter_is_recognised(self, made: Jtv, name: str, data: str | bytes) -> None:
        made.write(name, data)
        made.ok("ingest", name)
        assert [(text, more) for text, _, more in stored(made)] == [
            ("Hallo, Welt", {"id": "1"}),
            ("zwei", {"id": "2"}),
        ]

    def test_one_column_of_text_is_not_split(self, made: Jtv) -> None:
        made.write("a.csv", "text\nthis; and that\nhere; there; anywhere\n")
        made.ok("ingest", "a.csv")
        assert stored(made)[0] == ("this; and that", 2, None)

    @pytest.mark.parametrize(
        ("option", "character"), [("|", "|"), ("\\t", "\t"), ("\t", "\t"), (";", ";")]
    )
    def test_the_delimiter_is_given(self, made: Jtv, option: str, character: str) -> None:
        made.write("a.csv", f"n,o{character}text\n1,2{character}x\n")
        made.ok("ingest", "a.csv", "--delimiter", option)
        assert stored(made) == [("x", 2, {"n,o": "1,2"})]

    def test_a_file_without_a_header(self, made: Jtv) -> None:
        made.write("a.tsv", "en\tone\nfr\tdeux\n")
        made.ok("ingest", "a.tsv", "--no-header", "--text-field", "2")
        assert stored(made) == [("one", 1, {"1": "en"}), ("deux", 2, {"1": "fr"})]
        made.write("b.csv", "three\nfour\n")
        made.ok("ingest", "b.csv", "--no-header")
        assert [text for text, *_ in stored(made)] == ["one", "deux", "three", "four"]
        result = made("ingest", "a.tsv", "--no-header")
        assert (result.code, "the fields are: 1, 2" in result.error) == (2, True)

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (["a.txt", "--delimiter", ";"], "--delimiter is for csv and tsv"),
            (["a.txt", "--no-header"], "--no-header is for csv and tsv"),
            (["a.csv", "--delimiter", ";;"], "is not one character"),
            (["a.csv", "--delimiter", '"'], "is not one character"),
        ],
    )
    def test_options_that_do_not_fit(self, made: Jtv, arguments: list[str], says: str) -> None:
        made.write("a.txt", "x\n")
        made.write("a.csv", "text\nx\n")
        result = made("ingest", *arguments)
        assert (result.code, says in result.error) == (2, True)

    def test_in_tsv_a_quotation_mark_is_a_character(self, made: Jtv) -> None:
        made.write("a.tsv", 'text\tlang\n"hello there\ten\nsecond\ten\nthird one"\ten\n')
        made.ok("ingest", "a.tsv")
        assert [text for text, *_ in stored(made)] == ['"hello there', "second", 'third one"']

    def test_a_quotation_mark_that_nobody_closes_swallows_one_row(self, made: Jtv) -> None:
        rows = [f"row {number},en\n" for number in range(200)]
        rows[100] = '"row 100,en\n'
        made.write("a.csv", "".join(["text,lang\n", *rows]))
        result = made("ingest", "a.csv")
        assert result.code == 3
        assert "a.csv:102: a quotation mark opens in it and is not closed" in result.stderr
        texts = [text for text, *_ in stored(made)]
        assert texts == [f"row {number}" for number in range(200) if number != 100]

    def test_two_that_are_far_apart_do_not_merge_the_rows_between(self, made: Jtv) -> None:
        rows = [f"row {number},en\n" for number in range(200)]
        rows[10], rows[150] = '"row 10,en\n', 'row 150",en\n'
        made.write("a.csv", "".join(["text,lang\n", *rows]))
        result = made("ingest", "a.csv")
        assert result.code == 3
        assert len(stored(made)) == 199

    def test_a_record_of_fifty_lines_is_one(self, made: Jtv) -> None:
        cell = "\n".join(f"line {number}" for number in range(50))
        made.write("a.csv", f'id,text\n1,"{cell}"\n2,last\n')
        made.ok("ingest", "a.csv")
        assert [(text, line) for text, line, _ in stored(made)] == [(cell, 2), ("last", 52)]

    def test_rows_around_an_error_are_kept(self, made: Jtv) -> None:
        made.write("a.csv", 'text,b\n"one\ntwo,1\nthree,"x"y,1\nfour,1\n')
        result = made("ingest", "a.csv")
        assert result.code == 3
        assert [text for text, *_ in stored(made)] == ["two", "four"]


class TestSeveralTextFields:
    def test_they_are_joined(self, made: Jtv) -> None:
        made.write("a.csv", "id,subject,body\n1,Printer,It is on fire\n2,,Help\n")
        fields = ("--text-field", "subject", "--text-field", "body")
        result = made.ok("ingest", "a.csv", *fields)
        assert 'text from fields "subject" and "body"' in result.stderr
        assert stored(made) == [
            ("Printer\nIt is on fire", 2, {"id": "1"}),
            ("Help", 3, {"id": "2"}),
        ]

    def test_some_may_be_missing(self, made: Jtv) -> None:
        lines = ['{"subject": "a", "n": 1}', '{"body": "b", "subject": null}', '{"n": 2}']
        lines += ['{"subject": "c", "body": 3}', '{"subject": "d", "body": "e"}']
        made.write("a.jsonl", "\n".join(lines))
        result = made("ingest", "a.jsonl", "--text-field", "subject", "--text-field", "body")
        assert result.code == 3
        assert [text for text, *_ in stored(made)] == ["a", "b", "d\ne"]
        assert "a.jsonl:3: fields subject and body are missing" in result.stderr
        assert 'a.jsonl:4: field "body" is not text' in result.stderr

    @pytest.mark.parametrize(
        ("name", "data"), [("a.csv", "text,n\nx,1\n"), ("a.jsonl", '{"text": "x"}\n' * 9)]
    )
    def test_one_that_no_record_has_is_an_error(self, made: Jtv, name: str, data: str) -> None:
        made.write(name, data)
        result = made("ingest", name, "--text-field", "text", "--text-field", "bodi")
        assert (result.code, "has no field bodi" in result.error) == (2, True)
        assert stored(made) == []


class TestJson:
    RECORDS = tuple({"text": f'té[x]t "{n}" \\', "n": {"a": [n, "]}"]}} for n in range(3000))

    @pytest.mark.parametrize("indent", [None, 2])
    @pytest.mark.parametrize("name", ["a.json", "a.json.gz", "-"])
    def test_an_array_of_records(self, made: Jtv, name: str, indent: int | None) -> None:
        data = json.dumps(self.RECORDS, indent=indent, ensure_ascii=indent is None).encode()
        if name != "-":
            made.write(name, gzip.compress(data, mtime=0) if name.endswith("gz") else data)
        made.ok("ingest", name, "--input", "json", stdin=data)
        found = stored(made)
        assert [(text, more) for text, _, more in found] == [
            (record["text"], {"n": record["n"]}) for record in self.RECORDS
        ]
        assert [line for _, line, _ in found[:2]] == ([1, 1] if indent is None else [2, 11])

    def test_one_object(self, made: Jtv) -> None:
        made.write("a.json", '\ufeff\n {"text": "x",\n "n": 1}\n')
        result = made.ok("ingest", "a.json")
        assert 'Reading a.json as json with text from field "text"' in result.stderr
        assert stored(made) == [("x", 2, {"n": 1})]

    @pytest.mark.parametrize("data", ["", "[]", " [ ] \n"])
    def test_nothing(self, made: Jtv, data: str) -> None:
        made.write("a.json", data)
        made.ok("ingest", "a.json")
        assert stored(made) == []

    @pytest.mark.parametrize(
        ("data", "says"),
        [
            ('{"text": "x"}\n{"text": "y"}\n', "a.json:2: more than one JSON value"),
            ('["one", "two"]', "a.json is not an array of JSON objects"),
            ("[[1]]", "a.json is not an array of JSON objects"),
            ('"text"', "a.json is not JSON"),
            ("plain text\n", "a.json is not JSON"),
            ('[{"text": "x"}] more', "a.json:1: more than one JSON value"),
            ('{"rows": [{"text": "x"}]}', "the fields are: rows"),
        ],
    )
    def test_anything_else_is_refused(self, made: Jtv, data: str, says: str) -> None:
        made.write("a.json", data)
        result = made("ingest", "a.json")
        assert result.code == 2
        assert says in result.stderr
        assert stored(made) == []
        made.ok("ingest", "a.json", "--input", "lines")

    def test_bad_elements_are_named_and_skipped(self, made: Jtv) -> None:
        made.write(
            "a.json",
            '[\n{"text": "x"},\n5, "a, [string]", true,\n{"text": \\},\n[{"text": "in"}],\n'
            '{"text": 1},\n{"text": "big", "n": 99999999999999999999},\n{"text": "y"}\n]\n',
        )
        result = made("ingest", "a.json")
        assert result.code == 3
        assert [text for text, *_ in stored(made)] == ["x", "y"]
        assert result.stderr.count("a.json:3: not a JSON object") == 3
        for line, reason in ((4, "not JSON ("), (5, "not a JSON object"), (6, 'field "text"')):
            assert f"a.json:{line}: {reason}" in result.stderr
        assert "a.json:7: it has an integer of more than 64 bits" in result.stderr

    @pytest.mark.parametrize(
        ("data", "says"),
        [
            ('[{"text": "x"},\n{"text": "y', "a.json:2: the file ends within this record"),
            ('[{"text": "x"},\n', "a.json:2: the array is not closed"),
        ],
    )
    def test_one_that_was_cut(self, made: Jtv, data: str, says: str) -> None:
        made.write("a.json", data)
        result = made("ingest", "a.json")
        assert (result.code, says in result.stderr) == (3, True)
        assert [text for text, *_ in stored(made)] == ["x"]


PDF = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<< /Type /Catalog >>\nendobj\n"


class TestNotText:
    @pytest.mark.parametrize(
        ("data", "says"),
        [
            (PDF, "a PDF document"),
            (b"some text\nand \0 more\n", "a binary file"),
            (b"SQLite format 3\0" + bytes(84), "an SQLite database"),
            ("Grüße\nnächste\n".encode("utf-16-le"), "UTF-16 text"),
            ("Grüße\nnächste\n".encode("utf-16-be"), "UTF-16 text"),
            (gzip.compress(b"x\n", mtime=0), "compressed with gzip"),
            (b"PK\x03\x04rest", "a ZIP archive"),
            (b"\xff\xd8\xff\xe0\x10JFIF", "a JPEG image"),
        ],
    )
    def test_it_is_left_out(self, made: Jtv, data: bytes, says: str) -> None:
        made.write("b.bin", data)
        made.write("a.txt", "one\n")
        alone = made("ingest", "b.bin")
        assert (alone.code, says in alone.error) == (2, True)
        beside = made("ingest", "b.bin", "a.txt")
        assert beside.code == 3
        assert beside.stderr.count("b.bin: it is ") == 1
        assert stored(made) == [("one", 1, None)]

    def test_the_hint_is_a_command(self, made: Jtv) -> None:
        made.write("my file", PDF)
        result = made("ingest", "my file")
        assert "store its text with: jtv ingest --input pdf 'my file'\n" in result.stderr

    def test_the_command_reads_the_same_format(self, made: Jtv) -> None:
        text = '{"text": "one"}\n'
        made.write("a.jsonl", text.encode("utf-16"))
        result = made("ingest", "a.jsonl")
        convert, _, command = result.stderr.partition("hint: ")[2].strip().partition(" | ")
        assert convert == "iconv -f UTF-16 -t UTF-8 a.jsonl"
        made.ok(*shlex.split(command)[1:], stdin=text)
        assert stored(made) == [("one", 1, None)]

    def test_beside_others_the_command_names_the_table_too(self, made: Jtv) -> None:
        made.write("a.txt", "one\n")
        made.write("b.dat", PDF)
        made.ok("init", "--table", "other")
        result = made("ingest", "a.txt", "b.dat", "--table", "other")
        command = "jtv ingest --table other --input pdf b.dat"
        assert f"(store its text with: {command})" in result.stderr

    @pytest.mark.parametrize("arguments", [["ingest", "-"], ["search", "--queries", "-"]])
    def test_standard_input(self, made: Jtv, arguments: list[str]) -> None:
        made.ok("ingest", "-", stdin="one\n")
        result = made(*arguments, stdin=PDF)
        assert (result.code, "- is a PDF document" in result.error) == (2, True)
        assert "hint: store its text with: jtv ingest --input pdf FILE" in result.stderr
        assert len(stored(made)) == 1

    @pytest.mark.parametrize("arguments", [["delete", "--texts", "b", "--yes"], ["import", "b"]])
    def test_other_files(self, made: Jtv, arguments: list[str]) -> None:
        made.write("b", PDF)
        result = made(*arguments)
        assert (result.code, "b is a PDF document" in result.error) == (2, True)

    def test_a_zero_further_on_is_text(self, made: Jtv) -> None:
        made.write("a.txt", b"line\n" * 20_000 + b"a\0b\n")
        made.ok("ingest", "a.txt")
        assert [text for text, *_ in stored(made)] == ["line", "a\0b"]


@cache
def gibibyte() -> bytes:
    """Return 1 GiB, packed."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    data = b"".join(packer.compress(b"x" * (1 << 20)) for _ in range(1 << 10))
    return data + packer.flush()


class TestLimits:
    """However large the input, memory stays small: 1 GB of address space is enough."""

    LARGE = b"x" * (65 << 20)

    def limited(self, jtv: Jtv, *arguments: str, **options: Any) -> Result:
        return jtv(
            *arguments,
            env={"OPENBLAS_NUM_THREADS": "1"},
            prefix=["sh", "-c", 'ulimit -v 1000000; exec "$@"', "sh"],
            **options,
        )

    @pytest.mark.parametrize(
        ("name", "start", "end", "options"),
        [
            ("a.txt.gz", b"one\n", b"\ntwo\n", ("--lines",)),
            ("a.txt.gz", b"one\n\n", b"\nmore\n\ntwo\n", ("--paragraphs",)),
            ("a.jsonl.gz", b'{"text": "one"}\n{"text": "', b'"}\n{"text": "two"}\n', ()),
            ("a.json.gz", b'[{"text": "one"},\n{"text": "', b'"},{"text": "two"}]', ()),
            ("a.csv.gz", b"text\none\n", b"\ntwo\n", ()),
            ("a.tsv.gz", b"text\tb\none\tc\n", b"\ntwo\tc\n", ()),
        ],
    )
    def test_a_record_that_is_too_large(
        self, made: Jtv, name: str, start: bytes, end: bytes, options: tuple[str, ...]
    ) -> None:
        made.write(name, gzip.compress(start + self.LARGE + end, 1, mtime=0))
        result = self.limited(made, "ingest", name, *options)
        assert result.code == 3
        line = start.count(b"\n") + 1
        assert f"{name}:{line}: it is larger than 64 MiB" in result.stderr
        assert [text for text, *_ in stored(made)] == ["one", "two"]

    @pytest.mark.parametrize(
        "arguments",
        [
            ["ingest", "bomb.gz"],
            ["sync", "bomb.gz"],
            ["ingest", "bomb.gz", "--dry-run"],
            ["search", "--queries", "bomb.gz"],
        ],
    )
    def test_a_bomb(self, made: Jtv, arguments: list[str]) -> None:
        made.ok("ingest", "-", stdin="one\n")
        made.write("bomb.gz", gibibyte())
        result = self.limited(made, *arguments)
        assert (result.code, "bomb.gz:1: it is larger than 64 MiB" in result.stderr) == (3, True)

    def test_a_bomb_among_texts_to_delete_and_exports(self, made: Jtv) -> None:
        made.ok("ingest", "-", stdin="one\n")
        made.write("bomb.gz", gzip.compress(self.LARGE * 5, 1, mtime=0))
        result = self.limited(made, "delete", "--texts", "bomb.gz", "--yes")
        assert (result.code, "bomb.gz:1: it is larger than 64 MiB" in result.error) == (2, True)
        result = self.limited(made, "import", "bomb.gz")
        assert (result.code, "bomb.gz:1: the line is too large" in result.error) == (2, True)
        assert len(stored(made)) == 1

    @pytest.mark.parametrize("path", ["/dev/zero", "sparse"])
    @pytest.mark.parametrize("command", [["ingest"], ["sync"], ["import"]])
    def test_zeros(self, made: Jtv, command: list[str], path: str) -> None:
        with made.write("sparse", "").open("wb") as file:
            file.truncate(10 << 30)
        result = self.limited(made, *command, path)
        assert (result.code, "a binary file" in result.error) == (2, True)


def test_a_fifo_of_records(made: Jtv) -> None:
    os.mkfifo(made.folder / "work/a.jsonl")
    path = made.folder / "work/a.jsonl"
    writer = threading.Thread(target=path.write_bytes, args=(JSONL,))
    writer.start()
    made.ok("ingest", "a.jsonl")
    writer.join()
    assert len(stored(made)) == 2


class TestDryRun:
    def test_it_says_what_would_be_and_does_nothing(self, keyed: Jtv, api: JinaServer) -> None:
        keyed.ok("init")
        keyed.ok("ingest", "-", stdin="known\n")
        paid = list(api.bill)
        lines = "known\n\nnew one\nnew one\nnew two\n"
        result = keyed.ok("ingest", "-", "--dry-run", stdin=lines)
        texts, price, size = result.stderr.splitlines()
        assert texts == (
            "Would embed 2 of 4 texts (1 already stored, 1 duplicate, 0 skipped, 1 empty line)"
        )
        assert price.startswith("About ")
        assert (
            "-base-en: less than 0.0001 USD, at 0.05 USD per million tokens (prices of Sep" in price
        )
        assert size.startswith("About 6.")
        assert size.endswith("KiB in the store")
        assert (api.bill, len(stored(keyed))) == (paid, 1)
        assert len(api.requests) == 1

    def test_one_text(self, jtv: Jtv) -> None:
        texts, price, _ = jtv.ok("ingest", "-", "--dry-run", stdin="\n").stderr.splitlines()
        assert texts == "Would embed 0 of 0 texts (0 already stored, 0 skipped, 1 empty line)"
        assert price.startswith("About 0 tokens with static-v1: free")
        texts, price, _ = jtv.ok("ingest", "-", "--dry-run", stdin="a").stderr.splitlines()
        assert texts.startswith("Would embed 1 of 1 text (0 already stored,")
        assert price.startswith("About 1 token with static-v1")

    def test_as_json_without_a_table(self, jtv: Jtv) -> None:
        result = jtv("ingest", "-", "--dry-run", "--json", stdin=b"a\nb\n\xff\n")
        assert result.code == 3
        report = json.loads(result.stdout)
        assert report["model"] == "static-v1"
        assert (report["texts"], report["to_embed"], report["skipped"]) == (2, 2, 1)
        assert not jtv.database.exists()
