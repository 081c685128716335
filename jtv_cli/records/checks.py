"""How something is: an index, a database, a setting."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class IndexState(Enum):
    """How far the index of a table is."""

    READY = "ready"
    BUILDING = "building"
    FAILED = "failed"
    NONE = "none"


class IndexStatus(NamedTuple):
    """The index of a table: how many vectors are in it, how many wait, the rest in words."""

    state: IndexState
    indexed: int = 0
    pending: int = 0
    detail: str = ""


RECALL_AT = 10
"""Of how many nearest documents an index should find all: recall@10."""

GOOD_RECALL = 0.99
"""Which share of them an index should find."""


class IndexCheck(NamedTuple):
    """How well an index finds the ten documents nearest to each of a sample of `queries`.

    `recall` is the share of them that it finds with `candidates`, `needed` are the
    candidates that 0.99 would need, None where the store does not choose them. The
    seconds are those of one search. `verdict` says what becomes of it.
    """

    queries: int
    recall: float
    candidates: int | None
    needed: int | None
    index_seconds: float
    exact_seconds: float
    verdict: str


class Outcome(Enum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


TIFLASH = "TiFlash"
"""The name of the check that says whether a cluster can have vector indexes."""


class Check(NamedTuple):
    """One thing that was looked at: what it is, how it is, and what to do about it."""

    name: str
    outcome: Outcome
    detail: str
