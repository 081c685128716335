"""Search tasks on text that the table is not fitted to, for choosing settings.

They are made of the packages' own structure, without a label by anyone: a definition finds
its word, a heading the paragraph below it, a question of an FAQ its answer.
"""

from __future__ import annotations

import gzip
import random
import re
from typing import TYPE_CHECKING, NamedTuple

from static_model.texts import is_held_out, paragraphs, synsets

if TYPE_CHECKING:
    from pathlib import Path

MOST = 2500
"""How many queries a task has at most."""

_QUESTION_WORDS = ("What", "Who", "When", "How many", "Which", "Where", "Why")


class Task(NamedTuple):
    """Queries and documents; query i should find document i, documents may be more."""

    queries: list[str]
    documents: list[str]


def tasks(packages: Path) -> dict[str, Task]:
    """Return all tasks by name; `de`, `fr`, `zh`, `ja` and `ru` are in those languages."""
    handbook = packages / "debian-handbook/usr/share/doc/debian-handbook/html"
    found = {
        "words": _words(packages),
        "examples": _examples(packages),
        "perl faq": _perl_faq(packages),
        "foldoc": _foldoc(packages),
        "questions": _questions(packages),
        "handbook": _headings(handbook / "en-US"),
    }
    for name in ("de-DE", "fr-FR", "zh-CN", "ja-JP", "ru-RU"):
        found[name[:2]] = _headings(handbook / name)
    return found


def _words(packages: Path) -> Task:
    entries = [e for e in synsets(packages) if is_held_out(e.definition)]
    entries = [e for e in entries if len(e.words) > 1 and "genus" not in e.definition][:MOST]
    return Task([e.definition for e in entries], [", ".join(e.words) for e in entries])


def _examples(packages: Path) -> Task:
    """Return definitions, and sentences that use a word in that sense: few share a word."""
    entries = [e for e in synsets(packages) if is_held_out(e.definition) and e.examples]
    return Task([e.definition for e in entries[:MOST]], [e.examples[0] for e in entries[:MOST]])


def _perl_faq(packages: Path) -> Task:
    pairs = []
    for path in sorted(packages.glob("perl-doc/usr/share/perl/*/pod/perlfaq*.pod")):
        for section in path.read_text("utf-8", "replace").split("\n=head2 ")[1:]:
            question, _, rest = section.partition("\n\n")
            answer = [p for p in rest.split("\n\n") if p[:1] not in (" ", "=", "(", "")]
            if answer:
                plain = re.sub(r"[A-Z]<+ ?([^<>]*?) ?>+", r"\1", " ".join(answer[:2]))
                pairs.append((re.sub(r"[A-Z]<([^<>]*)>", r"\1", question), " ".join(plain.split())))
    return Task([q for q, _ in pairs], [a[:600] for _, a in pairs])


def _foldoc(packages: Path) -> Task:
    pairs = [(head, body) for head, body in _foldoc_entries(packages) if " " in head]
    return Task([q for q, _ in pairs[:MOST]], [a for _, a in pairs[:MOST]])


def _foldoc_entries(packages: Path) -> list[tuple[str, str]]:
    """Return every fourth term of FOLDOC with the first paragraph of its definition."""
    path = packages / "dict-foldoc/usr/share/dictd/foldoc.dict.dz"
    entries = re.split(r"\n\n(?=\S)", gzip.decompress(path.read_bytes()).decode("utf-8", "replace"))
    pairs = []
    for entry in entries[60::4]:
        head, _, body = entry.partition("\n\n")
        body = " ".join(re.sub(r"<[^>]*>|[{}]", "", body.split("\n\n")[0]).split())
        if len(body) > 60:
            pairs.append((head.strip(), body))
    return pairs


def _questions(packages: Path) -> Task:
    """Return sentences of FOLDOC, and what someone might ask who read half of one.

    A question keeps 5 to 9 words in a row of its sentence, some of them exchanged for
    synonyms, and begins with a question word.
    """
    rng = random.Random(16)
    synonyms: dict[str, list[str]] = {}
    for entry in synsets(packages):
        for word in entry.words:
            synonyms.setdefault(word, []).extend(w for w in entry.words if w != word)
    queries, documents = [], []
    for body in (body for _, body in _foldoc_entries(packages)):
        for sentence in re.split(r"(?<=[.!?])\s+(?=[A-Z])", body):
            words = re.findall(r"[\w'-]+", sentence)
            if len(words) < 12:
                continue
            length = rng.randint(5, 9)
            start = rng.randint(0, len(words) - length)
            kept = [
                rng.choice(synonyms[word]) if synonyms.get(word) and rng.random() < 0.3 else word
                for word in words[start : start + length]
            ]
            queries.append(f"{rng.choice(_QUESTION_WORDS)} {' '.join(kept)}?")
            documents.append(sentence)
    return Task(queries[:MOST], documents[: 2 * MOST])


def _headings(folder: Path) -> Task:
    queries: dict[str, str] = {}
    others = []
    for path in sorted(folder.glob("*.html")):
        heading = ""
        for tag, raw in paragraphs(path):
            text = " ".join(re.sub(r"^[\d.\s]+", "", raw).split())
            if tag in ("h1", "h2", "h3"):
                heading = re.sub(r"^\D{0,10}[\d.]+\s*", "", text)
            elif tag in ("p", "para") and len(text) > (80 if text.isascii() else 40):
                if heading and heading not in queries:
                    queries[heading] = text
                else:
                    others.append(text)
                heading = ""
    documents = list(queries.values())
    return Task(list(queries), documents + others[: max(0, MOST - len(documents))])
