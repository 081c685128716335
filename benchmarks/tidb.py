"""Writing to TiDB: the loop of TiDB's tutorial against jtv's batches, as a ratio in one run.

    python benchmarks/tidb.py [--rows 3000]

Both store the same vectors on the same server, the tutorial as it does it: one
`session.add_all` of ORM objects with lists of floats. The server is the one of the
tests, or a cluster of your own: JTV_TEST_TIDB_URL.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Session
from tidb_vector.sqlalchemy import VectorType

from jtv_cli.records import Document, Occurrence, TableSpec, find_spec
from jtv_cli.stores.tidb import TidbStore
from jtv_cli.text import text_hash

sys.path.append(str(Path(__file__).parent.parent / "tests"))

import tidb_cluster

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from jtv_cli.records import Vectors

BATCH = 1024
DIMENSIONS = 768
ROUNDS = 3


class Base(DeclarativeBase):
    """SQLAlchemy's register of tables."""


class TutorialDocument(Base):
    """The tutorial's table."""

    __tablename__ = "tutorial"
    id = sa.Column(sa.Integer, primary_key=True)
    content = sa.Column(sa.String(255), nullable=False)
    content_vec = sa.Column(VectorType(dim=DIMENSIONS))


def tutorial(url: str, texts: Sequence[str], vectors: Vectors) -> float:
    """Store everything as the tutorial does; return the seconds."""
    engine = sa.create_engine(url)
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    lists = vectors.tolist()
    started = time.perf_counter()
    with Session(engine) as session:
        session.add_all(
            TutorialDocument(content=text, content_vec=vector)
            for text, vector in zip(texts, lists, strict=True)
        )
        session.commit()
    seconds = time.perf_counter() - started
    engine.dispose()
    return seconds


def ours(url: str, texts: Sequence[str], vectors: Vectors) -> float:
    """Store everything as `jtv ingest` does, hashes and occurrences too; return the seconds."""
    spec = TableSpec("ours", "model", None, DIMENSIONS)
    with closing(TidbStore(url, notice=print)) as store:
        if find_spec(store.tables(), spec.name):
            store.drop(spec.name)
        store.apply(spec, store.plan(spec, index=False))
        table = store.open(spec.name)
        started = time.perf_counter()
        for start in range(0, len(texts), BATCH):
            documents = [
                Document(text, text_hash(text), [Occurrence("file.txt", start + number)])
                for number, text in enumerate(texts[start : start + BATCH], 1)
            ]
            table.add(documents, vectors[start : start + BATCH])
        return time.perf_counter() - started


@contextmanager
def database() -> Iterator[str]:
    """Give the URL of an empty database."""
    if own := os.environ.get("JTV_TEST_TIDB_URL"):
        with tidb_cluster.Cluster(own).database() as url:
            yield url
    else:
        server = tidb_cluster.TidbServer(tidb_cluster.binary(print))
        with server, server.database() as url:
            yield url


def main() -> None:
    """Measure, and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=3000)
    count = parser.parse_args().rows
    vectors = np.random.default_rng(0).normal(size=(count, DIMENSIONS)).astype(np.float32)
    texts = [f"the text of document {number}, as long as a line is" for number in range(count)]
    best: dict[Callable[..., float], float] = dict.fromkeys((tutorial, ours), float("inf"))
    try:
        with database() as url:
            for _ in range(ROUNDS):
                for store in best:
                    best[store] = min(best[store], store(url, texts, vectors))
    except tidb_cluster.NoServerError as error:
        print(f"left out: {error}")
        return
    print(f"{count:,} rows of {DIMENSIONS} dimensions, best of {ROUNDS} rounds")
    for store, seconds in best.items():
        print(f"{store.__name__:10}{count / seconds:>8,.0f} rows/s")
    print(f"ratio     {best[tutorial] / best[ours]:>8.1f}   (at least 4)")


if __name__ == "__main__":
    main()
