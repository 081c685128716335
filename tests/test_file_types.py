"""PDF, Office, EPUB and HTML: files that real programs made, see data/README.md."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile

import pytest

if TYPE_CHECKING:
    from conftest import Jtv

DATA = Path(__file__).with_name("data")
INSTALL = "pip install 'jtv-cli[files]'"
GOOD = ("manual.pdf", "manual.docx", "manual.pptx", "manual.epub", "manual.html", "parts.xlsx")


def put(jtv: Jtv, *names: str, into: str = "") -> None:
    directory = jtv.folder / "work" / into
    directory.mkdir(exist_ok=True)
    for name in names:
        shutil.copy(DATA / name, directory)


def records(jtv: Jtv) -> list[dict[str, Any]]:
    return jtv.ok("list", "--json").records


@pytest.fixture
def without_extra(made: Jtv) -> Jtv:
    """A user who has not installed the extra."""
    blocked = made.folder / "blocked"
    blocked.mkdir()
    (blocked / "sitecustomize.py").write_text("import sys\nsys.modules['kreuzberg'] = None\n")
    made.environment["PYTHONPATH"] = str(blocked)
    return made


@pytest.mark.parametrize("name", GOOD)
def test_the_text_is_found(made: Jtv, name: str) -> None:
    put(made, name)
    said = made.ok("ingest", name).stderr
    assert f"Reading {name} as {name.rpartition('.')[2]}, in chunks" in said
    every = " ".join(word for each in records(made) for word in each["content"].split())
    wanted = ("Filter", "30 days") if name == "parts.xlsx" else ("aus Köln", "Close the valve")
    assert all(each in every for each in wanted)
    assert {each["source"] for each in records(made)} == {name}
    assert "0 stored" in made.ok("ingest", name).counts


@pytest.mark.parametrize("name", ["manual.docx", "manual.epub", "manual.html"])
def test_headings_and_titles(made: Jtv, name: str) -> None:
    put(made, name)
    made.ok("ingest", name)
    [found] = [each for each in records(made) if "Close the" in each["content"]]
    assert found["heading"] == "Pump manual > Installation"
    assert found["metadata"]["title"] == "Pump manual"
    assert found["content"].startswith("## Installation")


def test_pages_of_a_pdf(made: Jtv) -> None:
    put(made, "manual.pdf")
    made.ok("ingest", "manual.pdf")
    pages = {each["metadata"]["page"]: each["content"] for each in records(made)}
    assert sorted(pages) == [1, 2]
    assert "Installation" in pages[1]
    assert "filter every thirty days" in pages[2]
    lines = [each["line"] for each in records(made)]
    assert lines == sorted(set(lines))
    [hit] = made.ok("search", "filter", "--where", "page=2", "--json").records
    assert hit["metadata"] == {"title": "Pump manual", "page": 2}
    shown = made.ok("search", "filter every thirty days", "-k1", "--format", "table").stdout
    assert "manual.pdf, page 2" in shown


def test_whole(made: Jtv) -> None:
    put(made, "manual.pdf", "manual.docx")
    made.ok("ingest", "manual.pdf", "manual.docx", "--no-chunk")
    assert len(records(made)) == 2


def test_a_page_loses_navigation_scripts_and_styles(made: Jtv) -> None:
    made.write(
        "a.html",
        "<html><head><title>A &amp; B</title><meta name='x' content='secret'>"
        "<style>p {color: red}</style></head><body><nav>Navigation</nav><h1>Body</h1>"
        "<script>var tracking</script><p>Text &lt;here&gt;.</p>"
        "<img alt='pump' src='data:image/png;base64,AAAAAAAA'></body></html>",
    )
    made.ok("ingest", "a.html")
    [found] = records(made)
    assert found["metadata"] == {"title": "A & B", "heading": "Body"}
    assert found["content"].startswith("# Body\n\nText <here>.")
    for gone in ("Navigation", "tracking", "color", "secret", "base64", "A & B"):
        assert gone not in found["content"]


@pytest.mark.parametrize(
    ("charset", "declared"),
    [("latin-1", "iso-8859-1"), ("utf-8", "utf-8"), ("cp1252", None), ("utf-8", "no-such-one")],
)
def test_characters_of_a_page(made: Jtv, charset: str, declared: str | None) -> None:
    meta = f'<meta charset="{declared}">' if declared else ""
    made.write("a.htm", f"<head>{meta}</head><p>Grüße aus Köln</p>".encode(charset))
    made.ok("ingest", "a.htm")
    assert [each["content"] for each in records(made)] == ["Grüße aus Köln"]


def test_a_page_from_a_pipe(made: Jtv) -> None:
    made.ok("ingest", "-", "--input", "html", stdin="<p>From <b>a</b> pipe</p>")
    assert [each["content"] for each in records(made)] == ["From **a** pipe"]


def test_speaker_notes_are_sections(made: Jtv) -> None:
    put(made, "notes.pptx")
    made.ok("ingest", "notes.pptx")
    every = {each["heading"]: each["content"] for each in records(made)}
    for slide in range(3):
        [found] = [text for path, text in every.items() if f"Notes of slide {slide + 1}" in path]
        assert found == f"## Notes of slide {slide + 1}\n\nSpeaker note xray{slide} ü"


def paragraphs(count: int, start: str, end: str) -> str:
    return "".join(f"{start}Paragraph {number} of the page.{end}\n" for number in range(count))


@pytest.mark.parametrize(
    ("page", "count"),
    [
        pytest.param("<div>" * 200_000 + paragraphs(1, "", "") + "</div>" * 200_000, 1, id="divs"),
        pytest.param(paragraphs(500, "<p>", ""), 500, id="no end tags"),
        pytest.param(paragraphs(500, "<p><font color='red'>", "<br>"), 500, id="open fonts"),
        pytest.param(f"<ul>{paragraphs(500, '<li><p>', '')}</ul>", 500, id="a list"),
        pytest.param("<ul><li>" * 100 + paragraphs(500, "<p>", ""), 500, id="nested lists"),
        pytest.param(f"<table>{paragraphs(500, '<tr><td><p>', '')}</table>", 500, id="a table"),
        pytest.param("<b>" * 200_000 + paragraphs(1, "<p>", ""), 1, id="bold"),
        pytest.param("<table><tr><td>" * 50_000 + paragraphs(1, "<p>", ""), 1, id="tables"),
        pytest.param(f"<table><caption>A{paragraphs(9, '<tr><td>', '')}</table>", 9, id="caption"),
        pytest.param(f"<table><colgroup>{paragraphs(9, '<tr><td>', '')}", 9, id="columns"),
        pytest.param(
            f"<table><tr><td><table>{paragraphs(9, '<tr><td>', '')}</table><td></table>",
            9,
            id="a table in a table",
        ),
    ],
)
def test_a_page_is_read_whole_however_it_nests(made: Jtv, page: str, count: int) -> None:
    made.write("a.html", f"<h1>Top</h1>{page}<h1>Below</h1><p>The last.</p>")
    made.ok("ingest", "a.html")
    every = "\n".join(each["content"] for each in records(made))
    assert [f"Paragraph {number} of the page." in every for number in range(count)] == [
        True
    ] * count
    assert "The last." in every
    assert every.count("Paragraph") == count


@pytest.mark.parametrize("right", ["manual.docx", "manual.pptx", "manual.epub", "parts.xlsx"])
@pytest.mark.parametrize("wrong", ["docx", "pptx", "epub", "xlsx"])
def test_an_office_document_with_the_name_of_another(made: Jtv, right: str, wrong: str) -> None:
    put(made, right)
    made.ok("ingest", right)
    expected = [(each["content"], each["heading"]) for each in records(made)]
    (made.folder / "work" / right).rename(made.folder / "work" / f"x.{wrong}")
    made.ok("init", "--table", "other")
    made.ok("ingest", f"x.{wrong}", "--table", "other")
    found = made.ok("list", "--table", "other", "--json").records
    assert [(each["content"], each["heading"]) for each in found] == expected


def test_another_archive_is_not_called_damaged(made: Jtv) -> None:
    with ZipFile(made.folder / "work" / "a.docx", "w") as archive:
        archive.writestr("notes.txt", "text")
    result = made("ingest", "a.docx")
    assert "it is not a Word document, as its name says (rename it), skipped" in result.stderr
    assert result.code == 3


def test_a_pdf_read_by_lines_is_named_with_the_command_that_reads_it(made: Jtv) -> None:
    put(made, "manual.pdf")
    result = made("ingest", "manual.pdf", "--lines")
    assert result.code == 2
    assert result.stderr.endswith("hint: store its text with: jtv ingest --input pdf manual.pdf\n")
    made.ok("ingest", "--input", "pdf", "manual.pdf")


@pytest.mark.parametrize("name", GOOD)
def test_from_a_pipe_in_a_named_format(made: Jtv, name: str) -> None:
    content = (DATA / name).read_bytes()
    made.ok("ingest", "-", "--input", name.rpartition(".")[2], stdin=content)
    assert records(made)


UNREADABLE = {
    "scanned.pdf": "it is a PDF document without text (make it searchable with OCR",
    "encrypted.pdf": "it is a PDF document with a password",
    "cut.pdf": "it is a PDF document that is damaged",
    "cut.docx": "it is a Word document that is damaged",
    "cut.xlsx": "it is an Excel workbook that is damaged",
    "cut.pptx": "it is a PowerPoint presentation that is damaged",
    "cut.epub": "it is an EPUB book that is damaged",
    "old.docx": "it is a Word document with a password, or of an old format",
    "text.pdf": "it is not a PDF document, as its name says",
    "empty.html": "it is an HTML page without text",
}


@pytest.fixture
def unreadable(made: Jtv) -> Jtv:
    put(made, "scanned.pdf", "encrypted.pdf", into="d")
    for kind in ("pdf", "docx", "pptx", "epub"):
        content = (DATA / f"manual.{kind}").read_bytes()
        made.write(f"d/cut.{kind}", content[: len(content) // 3])
    made.write("d/cut.xlsx", (DATA / "parts.xlsx").read_bytes()[:2000])
    made.write("d/old.docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600))
    made.write("d/text.pdf", "just text\n")
    made.write("d/empty.html", "<html><body></body></html>")
    return made


class TestUnreadable:
    def test_all_are_named_and_others_stored(self, unreadable: Jtv) -> None:
        put(unreadable, "manual.docx", into="d")
        result = unreadable("ingest", "d", "--include", "*")
        assert result.code == 3
        for name, reason in UNREADABLE.items():
            assert f"d/{name}: {reason}" in result.stderr
        assert f"{len(UNREADABLE)} skipped" in result.counts
        assert {each["source"] for each in records(unreadable)} == {"d/manual.docx"}

    @pytest.mark.parametrize("name", UNREADABLE)
    def test_alone(self, unreadable: Jtv, name: str) -> None:
        result = unreadable("ingest", f"d/{name}")
        assert result.code in (2, 3)
        assert UNREADABLE[name].removeprefix("it ").split(" (")[0] in result.stderr
        assert records(unreadable) == []

    def test_sync_keeps_what_a_damaged_file_had(self, made: Jtv) -> None:
        put(made, "manual.docx", "manual.pdf", into="d")
        made.ok("sync", "d", "--yes")
        count = len(records(made))
        content = (DATA / "manual.pdf").read_bytes()
        made.write("d/manual.pdf", content[: len(content) // 2])
        assert made("sync", "d", "--yes").code == 3
        assert len(records(made)) == count


class TestWithoutTheExtra:
    def test_a_file_is_named_with_the_command(self, without_extra: Jtv) -> None:
        put(without_extra, *GOOD)
        result = without_extra("ingest", "manual.pdf")
        assert result.code == 2
        assert result.stderr == (
            f"jtv: error: manual.pdf is a PDF document\nhint: run: {INSTALL}\n"
        )
        without_extra.write("a.txt", "text\n")
        result = without_extra("ingest", "a.txt", *GOOD)
        assert result.code == 3
        assert result.stderr.count(f"(run: {INSTALL}), skipped") == len(GOOD)

    def test_a_pdf_read_by_lines_is_named_with_another_program(self, without_extra: Jtv) -> None:
        put(without_extra, "manual.pdf")
        result = without_extra("ingest", "manual.pdf", "--lines")
        assert "hint: pdftotext manual.pdf - | jtv ingest - --source manual.pdf" in result.stderr

    def test_a_directory_counts_them(self, without_extra: Jtv) -> None:
        put(without_extra, *GOOD, into="d")
        without_extra.write("d/a.txt", "text\n")
        result = without_extra.ok("ingest", "d")
        assert f"Excluded 6 files and directories: 6 that need: {INSTALL}" in result.stderr
        assert "1 stored" in result.counts

    def test_a_directory_of_nothing_else(self, without_extra: Jtv) -> None:
        put(without_extra, *GOOD, into="d")
        result = without_extra("ingest", "d")
        assert (result.code, f"hint: run: {INSTALL}" in result.stderr) == (2, True)


def test_a_directory_is_not_read_again(on_each_store: Jtv) -> None:
    on_each_store.ok("init")
    put(on_each_store, *GOOD, into="d")
    for path in (on_each_store.folder / "work/d").iterdir():
        os.utime(path, (10**9, 10**9))
    first = on_each_store.ok("ingest", "d")
    assert "0 skipped" in first.counts
    assert "6 files unchanged, not read" in on_each_store.ok("ingest", "d").stderr
    assert "Removed 0 documents" in on_each_store.ok("sync", "d").stderr


def test_a_page_that_was_read_as_text_stays_so(made: Jtv) -> None:
    page = "<p>one</p>\n\n<p>two</p>\n"
    made.write("a.html", page)
    made.ok("ingest", "a.html", "--input", "text")
    assert "as before" in made.ok("ingest", "a.html").stderr
    assert "<p>one</p>" in records(made)[0]["content"]
