"""Texts that are too long for the model or the store: their chunks are stored."""

from __future__ import annotations

import json
import os
import random
from typing import TYPE_CHECKING

import pytest

import jina_api
from jina_faults import instead
from jtv_cli.embedders.models import MODELS

if TYPE_CHECKING:
    from conftest import Jtv
    from jina_server import JinaServer


def words(count: int, seed: int) -> str:
    """A text of so many words, about four estimated tokens each, none like another's."""
    chosen = random.Random(seed)
    return " ".join(f"word{chosen.randrange(10**6):06}" for _ in range(count))


LONG = words(4000, 1)
TOO_LONG = jina_api.too_long(MODELS["jina-embeddings-v2-base-en"])


@pytest.fixture
def ready(keyed: Jtv, user_store: str) -> Jtv:  # noqa: ARG001
    keyed.ok("init")
    return keyed


def listed(jtv: Jtv) -> list[tuple[str, int, dict[str, object] | None]]:
    records = jtv.ok("list", "--json").records
    return [(each["content"], each["line"], each["metadata"]) for each in records]


def paid_once(api: JinaServer) -> bool:
    return len(api.bill) == len(set(api.bill))


class TestLines:
    def test_its_chunks_have_its_line_and_everything_of_it(
        self, ready: Jtv, api: JinaServer
    ) -> None:
        ready.write("a.log", f"first\n{LONG}\nlast\n")
        ready.ok("ingest", "a.log")
        found = listed(ready)
        assert [line for _, line, _ in found] == [1, *[2] * (len(found) - 2), 3]
        assert " ".join(text for text, _, _ in found) == f"first {LONG} last"
        assert max(len(text) for text, _, _ in found) < 1500
        assert paid_once(api)

    def test_the_same_command_sends_nothing_anew(self, ready: Jtv, api: JinaServer) -> None:
        ready.write("a.log", f"first\n{LONG}\n")
        ready.ok("ingest", "a.log")
        sent = len(api.requests)
        assert ready.ok("ingest", "a.log").counts.startswith("0 stored")
        assert len(api.requests) == sent

    def test_a_size_of_chunks(self, ready: Jtv) -> None:
        ready.ok("ingest", "-", "--input", "lines", stdin=f"{LONG}\n")
        usual = len(listed(ready))
        ready.ok("delete", "--source", "-", "--yes")
        ready.write("a.jsonl", json.dumps({"text": LONG}))
        ready.ok("ingest", "a.jsonl", "--chunk", "1024")
        assert 2 < len(listed(ready)) * 3 < usual

    def test_uncut_it_is_skipped(self, ready: Jtv) -> None:
        result = ready("ingest", "-", "--lines", "--no-chunk", stdin=f"first\n{LONG}\n")
        assert result.code == 3
        assert "-:2: it is too long for the model, skipped" in result.stderr
        assert len(listed(ready)) == 1

    def test_what_was_stored_whole_stays(self, ready: Jtv, api: JinaServer) -> None:
        ready.ok("ingest", "-", "--truncate", stdin=f"{LONG}\n")
        assert "0 stored, 1 known" in ready.ok("ingest", "-", stdin=f"{LONG}\n").counts
        assert api.bill == [LONG]

    def test_stopped_it_is_resumed(self, ready: Jtv, api: JinaServer) -> None:
        ready.write("a.log", "\n".join(words(4000, seed) for seed in range(8)))
        stopped = ready("ingest", "a.log", "--max-tokens", "60000", "--concurrency", "1")
        assert stopped.code == 3
        assert len(api.bill) > 0
        before = len(listed(ready))
        ready.ok("ingest", "a.log")
        assert len(listed(ready)) > before
        assert paid_once(api)
        assert sorted(api.bill) == sorted(text for text, _, _ in listed(ready))


class TestRecords:
    def test_chunks_have_the_metadata_of_their_record(self, ready: Jtv) -> None:
        records = [{"text": LONG, "year": 2020}, {"text": "short", "year": 2021}]
        ready.write("a.jsonl", "\n".join(map(json.dumps, records)))
        ready.ok("ingest", "a.jsonl")
        *chunks, short = listed(ready)
        assert len(chunks) > 10
        assert {(line, str(more)) for _, line, more in chunks} == {(1, "{'year': 2020}")}
        assert short == ("short", 2, {"year": 2021})

    def test_of_csv(self, ready: Jtv) -> None:
        ready.write("a.csv", f'id,text\n7,"{LONG}"\n8,short\n')
        ready.ok("ingest", "a.csv")
        assert " ".join(text for text, _, _ in listed(ready)) == f"{LONG} short"
        assert {str(more) for _, line, more in listed(ready) if line == 2} == {"{'id': '7'}"}


class TestRefusedByTheService:
    """The service counts otherwise than jtv, and takes less than the model is said to."""

    LINES = (*(f"line {number}" for number in range(40)), words(200, 3))

    @pytest.fixture
    def strict(self, ready: Jtv, api: JinaServer) -> Jtv:
        """A user of a service that takes texts of 1,000 characters."""
        api.misbehave(
            instead(TOO_LONG),
            times=None,
            when=lambda request: max(map(len, request.texts)) > 1000,
        )
        ready.write("a.log", "\n".join(self.LINES))
        return ready

    def test_it_is_cut_as_far_as_needed(self, strict: Jtv, api: JinaServer) -> None:
        result = strict.ok("ingest", "a.log")
        found = listed(strict)
        assert " ".join(text for text, _, _ in found) == " ".join(self.LINES)
        assert max(len(text) for text, _, _ in found) <= 1000
        assert [line for _, line, _ in found[40:]] == [41] * (len(found) - 40)
        assert result.counts.startswith(f"{len(found)} stored, 0 known, 0 empty, 0 skipped")
        assert paid_once(api)

    def test_again_nothing_is_paid(self, strict: Jtv, api: JinaServer) -> None:
        strict.ok("ingest", "a.log")
        paid = list(api.bill)
        assert strict.ok("ingest", "a.log").counts.startswith("0 stored")
        assert api.bill == paid

    def test_read_twice_it_is_cut_in_both_places(self, strict: Jtv) -> None:
        strict.ok("ingest", "-", stdin=f"{self.LINES[-1]}\n{self.LINES[-1]}\n")
        found = strict.ok("show", "1", "--json").records[0]
        assert [each["line"] for each in found["occurrences"]] == [1, 2]

    def test_lines_of_chunks_of_a_document(self, strict: Jtv) -> None:
        lines = [words(12, seed) for seed in range(40)]
        strict.write("a.md", "# Title\n\n" + "\n".join(lines))
        strict.ok("ingest", "a.md", "--chunk", "1000")
        text = (strict.folder / "work/a.md").read_text().split("\n")
        records = strict.ok("list", "--json").records
        assert len(records) > 5
        for each in records:
            assert each["content"] in "\n".join(text[each["line"] - 1 : each["end_line"]])
            assert each["heading"] == "Title"

    def test_one_that_cannot_be_cut_is_skipped(self, ready: Jtv, api: JinaServer) -> None:
        api.misbehave(
            instead(TOO_LONG), times=None, when=lambda request: "incredible" in request.texts
        )
        result = ready("ingest", "-", stdin="one\nincredible\ntwo\n")
        assert result.code == 3
        assert "-:2: it is too long for the model, skipped" in result.stderr
        assert sorted(api.bill) == ["one", "two"]

    def test_sync_keeps_its_chunks_until_it_changes(self, strict: Jtv, api: JinaServer) -> None:
        strict.ok("sync", "a.log", "--yes")
        count = len(listed(strict))
        strict.ok("sync", "a.log")
        assert len(listed(strict)) == count
        paid = len(api.bill)
        strict.write("a.log", "\n".join(self.LINES[:-1]))
        strict.ok("sync", "a.log", "--yes")
        assert len(listed(strict)) == 40
        assert len(api.bill) == paid


def test_sync_keeps_chunks_and_does_not_read_the_directory_again(ready: Jtv) -> None:
    ready.write("d/a.log", f"first\n{LONG}\nlast\n")
    os.utime(ready.folder / "work/d/a.log", (10**9, 10**9))
    ready.ok("sync", "d", "--yes")
    count = len(listed(ready))
    assert "1 file unchanged" in ready.ok("sync", "d").stderr
    ready.write("d/a.log", f"first\n{LONG} and more\nlast\n")
    result = ready.ok("sync", "d", "--yes")
    assert len(listed(ready)) == count
    assert result.counts.startswith("1 stored")


def test_a_dry_run_counts_chunks(ready: Jtv) -> None:
    ready.write("a.log", f"first\n{LONG}\n")
    wanted = ready.ok("ingest", "a.log", "--dry-run", "--json").records[0]
    stored = ready.ok("ingest", "a.log", "--json").records[0]
    assert wanted["to_embed"] == stored["stored"]
    assert ready.ok("ingest", "a.log", "--dry-run", "--json").records[0]["to_embed"] == 0
