"""Labelled sets for `quality.py`: the project's own, and public ones from a directory."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Key = TypeVar("Key", int, str)

HERE = Path(__file__).parent

_SENTENCE_END = re.compile(r"[.!?。！？।؟]+[\s\u200b]*(?:\[\d+\])*")
_SHORTEST_SENTENCE = 25
_CRANFIELD_DOCUMENTS = 1400


class RetrievalSet(NamedTuple):
    """Documents, queries, and the indices of the documents that are relevant to each query.

    `kinds` has the kind of each query, if they differ.
    """

    documents: list[str]
    queries: list[str]
    relevant: list[set[int]]
    kinds: list[str] | None = None


def paraphrases() -> RetrievalSet:
    """Return 40 queries that share no content word with the sample text they should find."""
    documents = (HERE.parent / "sample_texts.txt").read_text("utf-8").splitlines()
    lines = (HERE / "data" / "paraphrases.tsv").read_text("utf-8").splitlines()
    queries, beginnings = zip(*(line.split("\t") for line in lines), strict=True)
    relevant = [
        {index for index, text in enumerate(documents) if text.startswith(beginning)}
        for beginning in beginnings
    ]
    return RetrievalSet(documents, list(queries), relevant)


def answers() -> dict[str, RetrievalSet]:
    """Return the labelled set in `data/answers`, a set for each language.

    Questions that no document answers are left out: nothing is relevant to them.
    """
    directory = HERE / "data" / "answers"
    documents = _records(directory / "documents.jsonl")
    questions = [q for q in _records(directory / "questions.jsonl") if q["relevant"]]
    sets = {}
    for language in dict.fromkeys(document["language"] for document in documents):
        texts = {d["id"]: d["text"] for d in documents if d["language"] == language}
        asked = [q for q in questions if q["language"] == language]
        labelled = _indexed(
            texts,
            {str(place): question["question"] for place, question in enumerate(asked)},
            {str(place): set(question["relevant"]) for place, question in enumerate(asked)},
        )
        assert len(labelled.queries) == len(asked)
        sets[language] = labelled._replace(kinds=[question["kind"] for question in asked])
    return sets


def _records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def public_sets(directory: Path) -> dict[str, RetrievalSet]:
    """Return the sets in a directory: Cranfield in `cran/`, XQuAD in `xquad/LANGUAGE.json`."""
    sets = {}
    for path in sorted((directory / "xquad").glob("*.json")):
        sets[f"xquad-{path.stem}"] = xquad(path)
    if (directory / "cran").is_dir():
        sets["cranfield"] = cranfield(directory / "cran")
    return sets


def cranfield(directory: Path) -> RetrievalSet:
    """Read the Cranfield collection: `docs`, `qry` and `rel`, of 1,400 abstracts."""
    documents = {
        number: fields.get("W") or fields.get("T") or "-"
        for number, fields in _smart(directory / "docs")
        if number <= _CRANFIELD_DOCUMENTS
    }
    # The judgments count the queries from 1, whatever their own numbers are.
    queries = {
        str(place): fields.get("W", "")
        for place, (_, fields) in enumerate(_smart(directory / "qry"), 1)
    }
    relevant: dict[str, set[int]] = {}
    for line in (directory / "rel").read_text("latin-1").splitlines():
        query, document, grade = line.split()[:3]
        if 1 <= int(grade) <= 4:
            relevant.setdefault(query, set()).add(int(document))
    return _indexed(documents, queries, relevant)


def _smart(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the number and the fields of each record of a file in SMART's format."""
    for record in re.split(r"^\.I\s+", path.read_text("latin-1"), flags=re.MULTILINE)[1:]:
        number, *parts = re.split(r"^\.([A-Z])\s*$", record, flags=re.MULTILINE)
        fields: dict[str, str] = {}
        for name, text in zip(parts[::2], parts[1::2], strict=True):
            fields[name] = " ".join(f"{fields.get(name, '')} {text}".split())
        yield int(number.split()[0]), fields


def xquad(path: Path) -> RetrievalSet:
    """Read an XQuAD file: a question should find the sentence in which its answer begins."""
    documents: dict[str, str] = {}
    queries: dict[str, str] = {}
    relevant: dict[str, set[str]] = {}
    for article in json.loads(path.read_text("utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            context = paragraph["context"]
            sentences = [
                (start, end, text)
                for start, end in _sentences(context)
                if (text := context[start:end].strip())
            ]
            documents.update((text, text) for _, _, text in sentences)
            for question in paragraph["qas"]:
                queries[question["id"]] = question["question"]
                answer = question["answers"][0]["answer_start"]
                relevant[question["id"]] = {
                    text for start, end, text in sentences if start <= answer < end
                }
    return _indexed(documents, queries, relevant)


def _sentences(text: str) -> Iterator[tuple[int, int]]:
    start = 0
    for match in _SENTENCE_END.finditer(text):
        if match.end() - start >= _SHORTEST_SENTENCE or match.end() == len(text):
            yield start, match.end()
            start = match.end()
    if start < len(text):
        yield start, len(text)


def _indexed(
    documents: Mapping[Key, str], queries: Mapping[str, str], relevant: Mapping[str, set[Key]]
) -> RetrievalSet:
    index = {key: place for place, key in enumerate(documents)}
    kept = [
        (" ".join(text.split()), found)
        for query, text in queries.items()
        if (found := {index[key] for key in relevant.get(query, ()) if key in index})
        and text.strip()
    ]
    return RetrievalSet(
        [" ".join(text.split()) for text in documents.values()],
        [query for query, _ in kept],
        [found for _, found in kept],
    )
