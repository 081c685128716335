"""Random operations on a store, compared after each with a reference of plain Python."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from jtv_cli.records import (
    Added,
    Condition,
    Document,
    Filter,
    Occurrence,
    Removed,
    SourceCount,
    SourceLine,
)
from jtv_cli.text import text_hash
from tables import DIMENSIONS, SPEC, make

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from conftest import OpenStore
    from jtv_cli.records import Vectors
    from jtv_cli.stores import Table

SOURCES = [None, "a.txt", "b.txt", "docs/c.md"]
DETAILS: list[Mapping[str, Any] | None] = [None, {"input": "lines"}, {"input": "csv", "n": 1}]

ADDER = """
import sys
sys.path.insert(0, sys.argv[1])
from jtv_cli.stores import open_store
from test_store_model import batch
table = open_store(sys.argv[2], writable=True).open("documents")
for number in range(int(sys.argv[3]), 1 << 30):
    documents, vectors = batch(number)
    table.add(documents, vectors)
    print(number, flush=True)
"""


def vector_of(text: str) -> Vectors:
    """A vector that depends on the text alone; some texts share one."""
    seed = int.from_bytes(text_hash(text)[:1], "big") % 40
    vector: Vectors = np.random.default_rng(seed).normal(size=DIMENSIONS).astype(np.float32)
    return vector


def batch(number: int) -> tuple[list[Document], Vectors]:
    """The documents that a process which is killed adds together."""
    texts = [f"killed {number}.{part}" for part in range(5)]
    where = [Occurrence("killed.txt", 5 * number + part + 1) for part in range(5)]
    documents = [
        Document(text, text_hash(text), [place]) for text, place in zip(texts, where, strict=True)
    ]
    return documents, np.stack([vector_of(text) for text in texts])


class Reference:
    """What a table should hold: of each text its id and its occurrences by source and line."""

    def __init__(self) -> None:
        self.ids: dict[str, int] = {}
        self.where: dict[str, dict[tuple[str | None, int], Occurrence]] = {}
        self.details: dict[str, Mapping[str, Any] | None] = {}

    def add(self, documents: list[Document]) -> Added:
        new = occurrences = 0
        for document in documents:
            new += document.text not in self.where
            there = self.where.setdefault(document.text, {})
            for place in document.occurrences:
                key = place.source, place.line or 0
                if key not in there:
                    there[key] = place
                    occurrences += 1
        return Added(new, occurrences)

    def add_occurrences(self, source: str | None, places: list[tuple[str, Occurrence]]) -> int:
        changed = 0
        for text, place in places:
            there = self.where[text]
            changed += there.get((source, place.line or 0)) != place
            there[source, place.line or 0] = place
        return changed

    def remove(self, source: str | None, places: list[tuple[str, int]]) -> Removed:
        occurrences, touched = 0, set()
        for text, line in places:
            if self.where.get(text, {}).pop((source, line), None):
                occurrences += 1
                touched.add(text)
        gone = [text for text in touched if not self.where[text]]
        for text in gone:
            del self.where[text]
        return Removed(len(gone), occurrences)

    def delete(self, texts: list[str]) -> Removed:
        occurrences = sum(len(self.where.pop(text)) for text in texts)
        return Removed(len(texts), occurrences)

    def rename(self, old: str, new: str) -> int:
        count = 0
        for there in self.where.values():
            for key in [key for key in there if key[0] == old]:
                place = there.pop(key)
                there.setdefault((new, key[1]), place._replace(source=new))
                count += 1
        if old in self.details:
            self.details[new] = self.details.get(new) or self.details[old]
            self.details[old] = None
        return count

    def counts(self) -> list[SourceCount]:
        lines, texts = defaultdict[Any, int](int), defaultdict[Any, set[str]](set)
        for text, there in self.where.items():
            for source, _ in there:
                lines[source] += 1
                texts[source].add(text)
        return [
            SourceCount(source, lines[source], len(texts[source]), self.details.get(source or ""))
            for source in sorted(lines, key=lambda source: source or "")
        ]


class Run:
    """One series of operations on a table and on its reference, by one seed."""

    def __init__(self, open_one: OpenStore, database: str, seed: int) -> None:
        self.chance = random.Random(seed)
        self.reference = Reference()
        self.open_one = open_one
        self.database = database
        self.table: Table = make(open_one())
        self.killed = 0
        self.number = 0

    def occurrence(self, source: str | None) -> Occurrence:
        metadata = self.chance.choice([None, None, {"n": self.chance.randrange(3), "s": "é"}])
        line = self.chance.choice([None, self.chance.randrange(1, 30)])
        ends = line is not None and self.chance.random() < 0.3
        return Occurrence(source, line, metadata, line + 2 if ends and line else None)

    def texts(self, count: int) -> list[str]:
        return self.chance.sample(
            sorted(self.reference.where), min(count, len(self.reference.where))
        )

    def add(self) -> None:
        documents = {}
        for _ in range(self.chance.randrange(1, 30)):
            text = f"text {self.chance.randrange(300)}"
            places = {}
            for _ in range(self.chance.choice([1, 1, 1, 4])):
                place = self.occurrence(self.chance.choice(SOURCES))
                places[place.source, place.line] = place
            documents[text] = Document(text, text_hash(text), list(places.values()))
        vectors = np.stack([vector_of(text) for text in documents])
        added = self.table.add(list(documents.values()), vectors)
        assert added == self.reference.add(list(documents.values()))

    def add_occurrences(self) -> None:
        source = self.chance.choice(SOURCES)
        known = self.table.known([text_hash(text) for text in self.reference.where])
        places = [(text, self.occurrence(source)) for text in self.texts(20)]
        lines = [
            SourceLine(place.line or 0, known[text_hash(text)], place.metadata, place.end_line)
            for text, place in places
        ]
        assert self.table.add_occurrences(source, lines) == self.reference.add_occurrences(
            source, places
        )

    def sync(self) -> None:
        """Remove what a source no longer has, as `jtv sync` does."""
        source = self.chance.choice(SOURCES)
        gone = [line for line in self.table.source_lines(source) if self.chance.random() < 0.3]
        texts = {document.id: document.text for document in self.table.read()}
        expected = self.reference.remove(source, [(texts[at.document], at.line) for at in gone])
        assert self.table.remove(source, gone) == expected

    def delete(self) -> None:
        texts = self.texts(self.chance.randrange(1, 15))
        ids = self.table.known([text_hash(text) for text in texts])
        assert self.table.delete(list(ids.values())) == self.reference.delete(texts)

    def rename(self) -> None:
        old, new = self.chance.sample(SOURCES[1:], 2)
        assert old is not None
        assert new is not None
        assert self.table.rename_source(old, new) == self.reference.rename(old, new)

    def set_details(self) -> None:
        source = self.chance.choice(SOURCES[1:])
        assert source is not None
        self.reference.details[source] = self.chance.choice(DETAILS)
        self.table.set_source_details({source: self.reference.details[source]})

    def reopen(self) -> None:
        self.table = self.open_one().open(SPEC.name)

    def kill(self) -> None:
        """Kill a process that adds batches: each is stored whole or not at all."""
        here = str(Path(__file__).parent)
        process = subprocess.Popen(
            [sys.executable, "-c", ADDER, here, self.database, str(self.killed)],
            stdout=subprocess.PIPE,
        )
        assert process.stdout
        for _ in range(self.chance.randrange(1, 6)):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        said = [int(line) for line in process.communicate()[0].split()]
        assert said == sorted(said)
        while True:
            documents, _ = batch(self.killed)
            known = self.table.known([document.hash for document in documents])
            if not known:
                break
            assert len(known) == len(documents)
            self.reference.add(documents)
            self.killed += 1
        assert self.killed > max(said, default=-1)

    def search(self) -> None:
        noise = np.random.default_rng(self.chance.randrange(1000)).normal(size=DIMENSIONS)
        query: Vectors = noise.astype(np.float32)
        k = self.chance.choice([1, 3, 10, 1000])
        filter = self.chance.choice(
            [None, None, Filter("a.txt"), Filter(None, (Condition("n", "1"),))]
        )
        texts = [
            text
            for text, there in self.reference.where.items()
            if filter is None or any(_matches(filter, place) for place in there.values())
        ]
        exact = self.chance.random() < 0.5
        [hits] = self.table.search(query[None], k, filter=filter, exact=exact).hits
        assert len(hits) == min(k, len(texts))
        expected = sorted(_distance(query, vector_of(text)) for text in texts)
        np.testing.assert_allclose(
            [hit.distance or 0 for hit in hits], expected[: len(hits)], atol=1e-5
        )
        assert {hit.content for hit in hits} <= set(texts)
        assert [(hit.distance, hit.id) for hit in hits] == sorted(
            (hit.distance, hit.id) for hit in hits
        )

    def check(self) -> None:
        """Compare all there is."""
        reference = self.reference.where
        stored = list(self.table.read(vectors=True))
        assert self.table.count() == len(reference)
        assert {document.text for document in stored} == set(reference)
        assert [document.id for document in stored] == sorted(each.id for each in stored)
        for document in stored:
            there = {(place.source, place.line or 0): place for place in document.occurrences}
            assert len(there) == len(document.occurrences)
            assert there == reference[document.text], document.text
            assert np.array_equal(document.vector, vector_of(document.text))  # type: ignore[arg-type]
            # An id never belongs to another text.
            assert self.reference.ids.setdefault(document.text, document.id) == document.id
        for text in [text for text in self.reference.ids if text not in reference]:
            del self.reference.ids[text]
        assert self.table.sources() == self.reference.counts()
        assert [hit.id for hit in self.table.scan()] == [document.id for document in stored]

    def go(self, steps: int) -> None:
        operations: list[tuple[Callable[[], None], int]] = [
            *((self.add, 6), (self.add_occurrences, 4), (self.sync, 3), (self.delete, 2)),
            *((self.rename, 1), (self.set_details, 2), (self.reopen, 1), (self.search, 6)),
        ]
        which, weights = zip(*operations, strict=True)
        for step in range(steps):
            operation = self.kill if step % 40 == 20 else self.chance.choices(which, weights)[0]
            operation()
            if operation != self.search:
                self.check()


def _matches(filter: Filter, place: Occurrence) -> bool:
    if filter.source is not None and place.source != filter.source:
        return False
    metadata = place.metadata or {}
    return all(str(metadata.get(each.field)) == each.operand for each in filter.where)


def _distance(one: Vectors, other: Vectors) -> float:
    first, second = one.astype(np.float64), other.astype(np.float64)
    return float(1 - first @ second / np.linalg.norm(first) / np.linalg.norm(second))


@pytest.mark.parametrize("seed", range(2))
def test_a_store_agrees_with_a_reference(open_one: OpenStore, database: str, seed: int) -> None:
    Run(open_one, database, seed).go(60)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 110))
def test_a_store_agrees_with_a_reference_for_long(
    open_one: OpenStore, database: str, seed: int
) -> None:
    Run(open_one, database, seed).go(1500)
