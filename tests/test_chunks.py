"""Chunks of documents: where they are cut, their lines, headings and metadata."""

from __future__ import annotations

import itertools
import random
import time
from typing import TYPE_CHECKING, Any

import pytest

from jtv_cli.sources import chunks as sources_chunks
from jtv_cli.sources.chunks import Kind, cut
from jtv_cli.sources.sections import cut_document
from jtv_cli.text import estimated_tokens

if TYPE_CHECKING:
    from jtv_cli.sources.blocks import Text


def chunks(text: str, size: int = 256, kind: Kind = Kind.MARKDOWN) -> list[Text]:
    return list(cut_document(text.split("\n"), kind, size))


def paths(text: str, size: int = 256) -> list[tuple[str, Any]]:
    return [(each[1], (each[2] or {}).get("heading")) for each in chunks(text, size)]


def sentences(count: int, seed: int = 1) -> str:
    chosen = random.Random(seed)
    words = ("valve", "pump", "opens", "slowly", "and", "water", "of", "a", "cold", "river")
    every = (" ".join(chosen.choices(words, k=12)).capitalize() + "." for _ in range(count))
    return " ".join(every)


def require_lines(text: str, found: list[Text]) -> None:
    """Every chunk is what stands in its lines, and nothing but blank lines is in no chunk."""
    lines = [line.rstrip("\r") for line in text.split("\n")]
    covered: set[int] = set()
    for first, chunk, _, last in found:
        assert last is not None
        assert chunk in "\n".join(lines[first - 1 : last])
        assert chunk.count("\n") == last - first
        covered.update(range(first, last + 1))
    left = [line for number, line in enumerate(lines, 1) if number not in covered]
    assert not any(line.strip() for line in left)


class TestMarkdown:
    def test_a_section_is_a_chunk_below_the_path_of_its_headings(self) -> None:
        text = "# Install\n\nFirst.\n\n## Linux\n\nRun it.\n\n## Windows\n\nClick.\n\n# Use\n\nNow."
        assert paths(text) == [
            ("# Install\n\nFirst.", "Install"),
            ("## Linux\n\nRun it.", "Install > Linux"),
            ("## Windows\n\nClick.", "Install > Windows"),
            ("# Use\n\nNow.", "Use"),
        ]
        assert {(each[2] or {})["title"] for each in chunks(text)} == {"Install"}

    def test_a_heading_without_text_is_not_a_chunk(self) -> None:
        assert paths("# A\n\n## B\n\ntext\n\n## C\n") == [("# A\n\n## B\n\ntext\n\n## C", "A > B")]
        assert paths("# A\n## B\n### C\n") == [("# A\n## B\n### C", "A > B > C")]
        long = f"## Title\n\n{sentences(60)}"
        assert "Title" in chunks(long, 64)[0][1]
        assert len(chunks(long, 64)[0][1]) > 50

    @pytest.mark.parametrize("kind", [Kind.MARKDOWN, Kind.RST])
    @pytest.mark.parametrize(
        "text",
        [
            "".join(f"## Chapter {number} of an outline\n" for number in range(99)),
            "A title\n=======\n\n" * 99,
            "# " + "word " * 999 + "\n\n",
        ],
    )
    def test_nothing_is_lost_of_a_document_of_nothing_but_headings(
        self, text: str, kind: Kind
    ) -> None:
        found = chunks(text, 64, kind)
        assert "".join("".join(each[1].split()) for each in found) == "".join(text.split())
        require_lines(text, found)

    @pytest.mark.parametrize("fence", ["```", "~~~", "````"])
    def test_a_fence_has_no_headings_and_stays_whole(self, fence: str) -> None:
        code = f"{fence}sh\n# not a heading\n\nmake all\n\n## neither\n{fence}"
        text = f"# A\n\n{sentences(5)}\n\n{code}\n\n{sentences(5)}\n"
        found = chunks(text, 96)
        assert {(each[2] or {})["heading"] for each in found} == {"A"}
        assert sum(code in each[1] for each in found) == 1

    def test_underlined_headings_of_markdown_and_restructured_text(self) -> None:
        assert paths("Guide\n=====\n\none\n\nPart\n----\n\ntwo") == [
            ("Guide\n=====\n\none", "Guide"),
            ("Part\n----\n\ntwo", "Guide > Part"),
        ]
        text = "=====\nGuide\n=====\n\none\n\nPart\n====\n\ntwo\n\nDeep\n~~~~\n\nthree"
        found = [(each[2] or {})["heading"] for each in chunks(text, kind=Kind.RST)]
        assert found == ["Guide", "Guide > Part", "Guide > Part > Deep"]

    def test_underlined_headings_of_plain_text(self) -> None:
        text = (
            "=====\nGuide\n=====\n\none\n\n.. _part:\n\nPart\n----\n\ntwo\n\nDeep\n~~~~~\n\nthree"
        )
        found = chunks(text, kind=Kind.TEXT)
        assert [(each[0], (each[2] or {})["heading"]) for each in found] == [
            (1, "Guide"),
            (7, "Guide > Part"),
            (14, "Guide > Part > Deep"),
        ]
        require_lines(text, found)

    def test_a_man_page(self) -> None:
        options = "\n".join(f".TP\n.B \\-{n}\n{sentences(2, n)}" for n in range(9))
        text = f'.TH JTV 1\n.SH NAME\njtv\n.SH "OPTIONS"\n{options}\n.SS More\n.PP\nx'
        found = chunks(text, 96, Kind.TEXT)
        headings = [(each[2] or {}).get("heading") for each in found]
        assert list(dict.fromkeys(headings)) == [None, "NAME", "OPTIONS", "OPTIONS > More"]
        assert all(each[1].startswith((".TP", ".SH")) for each in found[1:-1])
        require_lines(text, found)

    @pytest.mark.parametrize(
        "text",
        [
            "one\ntwo\n---\nthree",
            "one\n\ntwo\n----------\n\nthree",
            "12\n--\n\nthree",
            "one\n\na much longer line\n-----\n\nthree",
            "Name  Size\n----  ----\none   1",
            "Dear all,\n\n-- \nJane",
        ],
    )
    def test_a_rule_in_plain_text_is_no_heading(self, text: str) -> None:
        found = chunks(text, kind=Kind.TEXT)
        assert [each[2] for each in found] == [None]
        require_lines(text, found)

    def test_the_name_of_a_heading_belongs_to_its_section(self) -> None:
        link = ".. _site: https://example.com"
        text = f".. _guide:\n\nGuide\n=====\n\none\n\n{link}\n\n.. _a:\n.. _b:\n\nPart\n----\n\ntwo"
        found = chunks(text, kind=Kind.RST)
        assert [each[1] for each in found] == [
            f".. _guide:\n\nGuide\n=====\n\none\n\n{link}",
            ".. _a:\n.. _b:\n\nPart\n----\n\ntwo",
        ]
        assert [each[0] for each in found] == [1, 10]
        require_lines(text, found)

    @pytest.mark.parametrize(
        "text",
        ["- one\n---\n- two", "text\n\n---\n\nmore", "a | b\n--- | ---\n1 | 2", "| a |\n|---|"],
    )
    def test_a_rule_or_a_table_is_no_heading(self, text: str) -> None:
        assert paths(text) == [(text, None)]

    def test_front_matter_is_metadata(self) -> None:
        text = "---\ntitle: 'My notes'\ntags: [a, \"b c\"]\nlinks:\n  - x\n  - y\ndraft: true\n"
        text += "---\nText"
        assert chunks(text) == [
            (
                9,
                "Text",
                {"title": "My notes", "tags": ["a", "b c"], "links": ["x", "y"], "draft": "true"},
                9,
            )
        ]
        assert chunks('+++\ntitle = "T"\n+++\n\nText') == [(5, "Text", {"title": "T"}, 5)]

    @pytest.mark.parametrize("text", ["---\nOnce upon a time\n---\nText", "---\ntitle: x\n\nText"])
    def test_what_is_no_front_matter_is_text(self, text: str) -> None:
        assert "".join(each[1] for each in chunks(text)) == text
        require_lines(text, chunks(text))

    def test_a_long_list_is_cut_between_items_and_a_table_between_rows(self) -> None:
        items = "\n".join(f"- item {n} of the list\n  - nested {n}" for n in range(60))
        for _, chunk, _, _ in chunks(items, 64):
            assert chunk.startswith("- item")
        rows = "\n".join(f"| row {n} | value |" for n in range(90))
        assert all(chunk.startswith("| row") for _, chunk, _, _ in chunks(rows, 64))

    @pytest.mark.parametrize("kind", [Kind.MARKDOWN, Kind.RST, Kind.TEXT])
    def test_an_example_stays_below_the_line_that_announces_it(self, kind: Kind) -> None:
        parts = [f"{sentences(1, n)} For example:\n\nrun {n}, then\nwait" for n in range(60)]
        text = "\n\n".join(parts)
        found = chunks(text, 128, kind)
        assert len(found) > 20
        assert not [each for each in found if each[1].endswith(":")]
        require_lines(text, found)


class TestSizes:
    @pytest.mark.parametrize("kind", list(Kind))
    @pytest.mark.parametrize("size", [16, 64, 256])
    def test_chunks_are_within_the_size_and_have_everything(self, kind: Kind, size: int) -> None:
        text = "\n\n".join(sentences(n % 7 + 1, n) for n in range(40))
        found = chunks(text, size, kind)
        assert all(estimated_tokens(chunk) <= size * 1.25 for _, chunk, _, _ in found)
        assert "".join("".join(c.split()) for _, c, _, _ in found) == "".join(text.split())
        require_lines(text, found)

    @pytest.mark.parametrize(
        "text", ["日本語の文章です。とても長い文章が続きます。" * 200, "x" * 9000]
    )
    def test_a_text_without_spaces_is_cut(self, text: str) -> None:
        found = [chunk for _, chunk in cut(text, 128)]
        assert "".join(found) == text
        assert all(estimated_tokens(chunk) <= 160 for chunk in found)
        assert len(found) < 2 * estimated_tokens(text) / 128 + 2

    def test_chinese_is_cut_between_sentences(self) -> None:
        text = "今天的天气很好，我们去公园散步。" * 60
        assert all(chunk.endswith("。") for _, chunk in cut(text, 128))

    def test_code_is_cut_between_definitions(self) -> None:
        code = "\n\n".join(f"def f{n}(x):\n    y = x + {n}\n\n    return y" for n in range(40))
        found = chunks(code, 64, Kind.CODE)
        assert all(chunk.startswith("def f") for _, chunk, _, _ in found)
        require_lines(code, found)

    def test_windows_line_ends(self) -> None:
        text = "# A\r\n\r\none\r\ntwo\r\n\r\n## B\r\n\r\nthree\r\n"
        assert chunks(text) == [
            (1, "# A\n\none\ntwo", {"title": "A", "heading": "A"}, 4),
            (6, "## B\n\nthree", {"title": "A", "heading": "A > B"}, 8),
        ]


class TestLongLines:
    """What the library is given is bounded: its time may grow with the square of that."""

    @pytest.mark.parametrize("kind", [Kind.TEXT, Kind.MARKDOWN])
    @pytest.mark.parametrize(
        "text",
        [
            pytest.param(" ".join(f"{n}. A sentence ends." for n in range(40_000)), id="sentences"),
            pytest.param("valve pump river " * 60_000, id="words"),
            pytest.param("汉字没有空格也没有标点" * 20_000, id="no punctuation"),
            pytest.param("0123456789abcdef" * 60_000, id="no spaces"),
            pytest.param("a" + "\u0301" * 400_000, id="one letter"),
        ],
    )
    def test_the_library_is_given_little_at_a_time(
        self, text: str, kind: Kind, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        given: list[int] = []

        class Counting:
            def __init__(self, capacity: int, *, is_markdown: bool) -> None:
                self._splitter = splitter(capacity, is_markdown=is_markdown)
                self._capacity = capacity

            def chunk_indices(self, part: str) -> list[tuple[int, str]]:
                given.append(len(part))
                assert len(part) <= 8 * self._capacity
                return self._splitter.chunk_indices(part)

        splitter = sources_chunks._splitter
        monkeypatch.setattr(sources_chunks, "_splitter", Counting)
        found = [chunk for _, chunk in cut(text, 256, kind)]
        assert "".join("".join(found).split()) == "".join(text.split())
        assert len(text) <= sum(given) <= 1.5 * len(text)
        assert len(found) < 2.5 * estimated_tokens(text) / 256

    @pytest.mark.parametrize("text", ["# a" + " " * 100_000 + "x", "`" * 300_000, "~" * 300_000])
    def test_a_long_line_of_marks_takes_no_time(self, text: str) -> None:
        began = time.process_time()
        assert "".join(each[1] for each in chunks(f"{text}\n\nx")).startswith(text)
        assert time.process_time() - began < 10  # hours and a minute, if it is tried in every way

    @pytest.mark.parametrize("space", [" ", ""])
    def test_an_edit_in_a_long_line_changes_the_chunks_around_it(self, space: str) -> None:
        end = "." if space else "。"
        line = [f"{sentences(1, n)[:-1]}{end}" for n in range(6000)]
        before = {chunk for _, chunk in cut(space.join(line), 256)}
        assert len(before) > 500
        for at in (0, 1000, 2999, 5999):
            edited = [*line[:at], f"A new one{end}", *line[at:]]
            after = {chunk for _, chunk in cut(space.join(edited), 256)}
            assert len(after - before) <= 10


class TestEdits:
    """An edit of one paragraph changes two chunks at most, wherever it is."""

    @pytest.mark.parametrize("kind", [Kind.TEXT, Kind.MARKDOWN, Kind.CODE])
    def test_an_edit_changes_two_chunks_at_most(self, kind: Kind) -> None:
        paragraphs = [sentences(n % 5 + 1, n) for n in range(400)]
        before = {chunk for _, chunk, _, _ in chunks("\n\n".join(paragraphs), kind=kind)}
        assert len(before) > 60
        changed = []
        for at in range(0, 400, 7):
            edited = [*paragraphs]
            edited[at] = edited[at].replace(". ", ", then. ", 1) + " One sentence more."
            after = {chunk for _, chunk, _, _ in chunks("\n\n".join(edited), kind=kind)}
            changed.append(len(after - before))
        assert max(changed) <= 2

    def test_a_new_paragraph_in_a_long_file_changes_few_chunks(self) -> None:
        paragraphs = [sentences(n % 9 + 1, n) for n in range(4000)]
        before = {chunk for _, chunk, _, _ in chunks("\n\n".join(paragraphs))}
        for at in (0, 1999, 3999):
            edited = [*paragraphs[:at], "A new one, at that.", *paragraphs[at:]]
            after = {chunk for _, chunk, _, _ in chunks("\n\n".join(edited))}
            assert len(after - before) <= 2

    def test_files_of_sections_change_by_section(self) -> None:
        sections = [f"## Part {n}\n\n{sentences(3, n)}" for n in range(50)]
        before = {chunk for _, chunk, _, _ in chunks("\n\n".join(sections))}
        for at in range(50):
            edited = [*sections]
            edited[at] = f"## Part {at}\n\nNothing but this is left of it."
            after = {chunk for _, chunk, _, _ in chunks("\n\n".join(edited))}
            assert len(after - before) == 1


def test_every_way_to_mix_parts_keeps_its_lines() -> None:
    parts = [
        "# H",
        "```\n# c\n\n\nx\n```",
        "- a\n  - b\n\n  more",
        "text\ntext",
        "| a |\n|---|",
        "",
    ]
    for chosen in itertools.product(parts, repeat=3):
        text = "\n\n".join(chosen)
        require_lines(text, chunks(text, 16))
