"""The embedded index finds 99% of what an exact search finds, whatever the texts."""

from __future__ import annotations

import sysconfig
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from jtv_cli.embedders.hashing import HashingEmbedder
from jtv_cli.embedders.models import HASHING_MODEL, find_model
from jtv_cli.records import Purpose
from jtv_cli.stores.sqlite.index import SEGMENT
from tables import delete, recall, table_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from jtv_cli.records import Vectors

pytestmark = pytest.mark.usefixtures("same_rotations")

COUNT = 5 * SEGMENT
QUERIES = 50


def clustered(dimensions: int, *, shift: float = 0, drift: float = 0) -> Vectors:
    """Return vectors in clusters of low rank, which have a direction in common.

    `shift` is the length of that direction, beside that of about 1 of the rest; `drift`
    is how far it has turned elsewhere by the last of them.
    """
    chance = np.random.default_rng(1)
    basis = chance.normal(size=(48, dimensions)) / np.sqrt(48 * dimensions)
    centres = chance.normal(size=(COUNT // 100, 48))
    inner = centres[chance.integers(0, len(centres), COUNT + QUERIES)]
    inner = inner + 0.7 * chance.normal(size=inner.shape)
    here, there = chance.normal(size=(2, dimensions)) / np.sqrt(dimensions)
    way = np.linspace(0, drift, COUNT + QUERIES)[:, None]
    rest = 0.1 * chance.normal(size=(COUNT + QUERIES, dimensions)) / np.sqrt(dimensions)
    vectors: Vectors = (inner @ basis + shift * here + way * there + rest).astype(np.float32)
    return vectors


@cache
def lines() -> Vectors:
    """Return the vectors of real lines of text: those of the standard library."""
    texts: dict[str, None] = {}
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        for line in path.read_text("utf-8").splitlines():
            if len(line.strip()) > 20:
                texts[line.strip()] = None
    some = list(texts)[:: len(texts) // (COUNT + QUERIES)][: COUNT + QUERIES]
    return HashingEmbedder(find_model(HASHING_MODEL)).embed(some, Purpose.DOCUMENT).vectors


def log_lines() -> list[str]:
    """Return lines that have nearly everything in common, as those of a log."""
    return [
        f"2026-11-{n % 28 + 1:02d} {n % 24:02d}:{n % 60:02d} host{n % 17} sshd[{n * 31 % 30000}]:"
        f" Accepted publickey for user{n * 13 % 997} from 10.{n % 7}.{n * 3 % 255}"
        f" port {n * 37 % 60000}"
        for n in range(COUNT)
    ]


@pytest.mark.parametrize(
    "query",
    [
        *("who logged in to host{0} as user{1}", "host{0}", "sshd user{1} host{0}", "user{1}"),
        *("port {1}", "accepted publickey from 10.{0}.{1}"),
    ],
)
def test_what_is_typed_is_not_a_document(tmp_path: Path, query: str) -> None:
    """A query of few words is far from every line, and many lines are about as near."""
    embedder = HashingEmbedder(find_model(HASHING_MODEL))
    typed = [query.format(number, number * 31 % 256) for number in range(17)]
    queries = embedder.embed(typed, Purpose.QUERY).vectors
    stored = embedder.embed(log_lines(), Purpose.DOCUMENT).vectors
    with table_of(tmp_path / "jtv.db", stored) as table:
        assert recall(table, queries) >= 0.99


DATA: dict[str, Callable[[], Vectors]] = {
    "lines": lines,
    "clustered, 384": lambda: clustered(384),
    "clustered, 768": lambda: clustered(768),
    "shifted, 384": lambda: clustered(384, shift=3),
    "shifted, 768": lambda: clustered(768, shift=3),
    "drifting, 384": lambda: clustered(384, shift=1, drift=3),
    "drifting, 768": lambda: clustered(768, shift=1, drift=3),
}


@pytest.mark.parametrize("data", DATA)
def test_recall(tmp_path: Path, data: str) -> None:
    everything = DATA[data]()
    # Of every age, and not documents themselves.
    at = np.linspace(0, len(everything) - 1, QUERIES).astype(int)
    queries, stored = everything[at], np.delete(everything, at, axis=0)
    assert len(stored) == COUNT
    with table_of(tmp_path / "jtv.db", stored) as table:
        assert table.index_status().indexed == COUNT
        for deleted in ("id < 0", "id % 3 = 0", f"id < {COUNT // 2}"):
            delete(table, deleted)
            assert table.index_status().detail.startswith("index: ")
            assert recall(table, queries) >= 0.99
