"""What is compared: each stores the same vectors, and has a command that searches them."""

from __future__ import annotations

import sqlite3
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from timing import JTV

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jtv_cli.records import Vectors

DIMENSIONS = 768
BATCH = 1024
K = 10
TABLE = "documents"


def batches(count: int) -> Iterator[tuple[int, Vectors]]:
    """Yield the number of the first and unit vectors, (n, DIMENSIONS): always the same.

    They lie in clusters of low rank and have a direction in common, as those of texts.
    """
    chance = np.random.default_rng(1)
    basis = chance.normal(size=(64, DIMENSIONS)).astype(np.float32)
    centres = chance.normal(size=(1000, 64)).astype(np.float32)
    common = 2 * chance.normal(size=DIMENSIONS).astype(np.float32)
    for start in range(0, count, BATCH):
        size = min(BATCH, count - start)
        inner = chance.standard_normal((size, 64), np.float32) * np.float32(0.7)
        inner += centres[chance.integers(0, len(centres), size)]
        vectors = inner @ basis + common + chance.standard_normal((size, DIMENSIONS), np.float32)
        yield start, vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


class Engine:
    """One way to store and search vectors, in a folder."""

    name = ""
    module = "numpy"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / f"{self.name.split()[0]}.db"

    @classmethod
    def is_installed(cls) -> bool:
        """Return whether it can be run here."""
        return find_spec(cls.module) is not None

    def make(self, count: int) -> None:
        """Store so many vectors."""
        raise NotImplementedError

    def command(self, query: Path) -> list[str]:
        """Return a command that finds the ten nearest to the vector in a file."""
        raise NotImplementedError


class Jtv(Engine):
    """What this is about: `jtv search`, with its index."""

    name = "jtv"

    def make(self, count: int) -> None:
        """Store documents of eighty characters, as `jtv ingest` does."""
        from jtv_cli.embedders.models import HASHING_MODEL
        from jtv_cli.records import Document, Occurrence, TableSpec
        from jtv_cli.stores.sqlite import SqliteStore
        from jtv_cli.text import text_hash

        store = SqliteStore(self.path, writable=True)
        spec = TableSpec("jinaai_tidb_demo_documents", HASHING_MODEL, None, DIMENSIONS)
        store.apply(spec, store.plan(spec))
        table = store.open(spec.name)
        for start, vectors in batches(count):
            texts = [f"{start + i} {'words ' * 12}" for i in range(len(vectors))]
            documents = [Document(t, text_hash(t), [Occurrence("file.txt", 1)]) for t in texts]
            table.add(documents, vectors)
        store.close()

    def command(self, query: Path) -> list[str]:  # noqa: ARG002
        """Return the command itself, which embeds a text."""
        return [JTV, "search", "some words", "-k", str(K), "--database", str(self.path)]


class JtvExact(Jtv):
    """The same, looking at every vector."""

    name = "jtv --exact"

    def make(self, count: int) -> None:
        """Nothing: it searches the file of the other."""

    def command(self, query: Path) -> list[str]:
        """Return the command itself."""
        return [*super().command(query), "--exact"]


class Floor(Engine):
    """A float32 matrix in memory: what any search that looks at every vector must read."""

    name = "float32 matrix"

    def make(self, count: int) -> None:
        """Write the matrix as it is."""
        with self.path.open("wb") as file:
            for _, vectors in batches(count):
                vectors.tofile(file)

    def command(self, query: Path) -> list[str]:
        """Read the matrix and multiply, in one thread."""
        program = (
            "import numpy as np\n"
            f"matrix = np.fromfile({str(self.path)!r}, np.float32).reshape(-1, {DIMENSIONS})\n"
            f"vector = np.fromfile({str(query)!r}, np.float32)\n"
            f"print(np.argpartition(-(matrix @ vector), {K})[:{K}])"
        )
        return ["env", "OPENBLAS_NUM_THREADS=1", sys.executable, "-c", program]


class Llm(Engine):
    """`llm similar`, by the id of a document: no query is embedded."""

    name = "llm similar"
    module = "llm"

    def make(self, count: int) -> None:
        """Store a collection, as `llm embed-multi` does."""
        database = import_module("sqlite_utils").Database(self.path)
        # It has to be a model that llm knows; it is not used.
        collection = import_module("llm").Collection(
            TABLE, database, model_id="text-embedding-3-small"
        )
        rows = (
            {
                "collection_id": collection.id,
                "id": str(start + i),
                "embedding": vector.tobytes(),
                "content": f"{start + i} {'words ' * 12}",
                "content_hash": (start + i).to_bytes(16, "big"),
                "metadata": None,
                "updated": 0,
            }
            for start, vectors in batches(count)
            for i, vector in enumerate(vectors)
        )
        database["embeddings"].insert_all(rows, batch_size=BATCH)
        database.close()

    def command(self, query: Path) -> list[str]:  # noqa: ARG002
        """Return the command itself."""
        llm = str(Path(sys.executable).with_name("llm"))
        return [llm, "similar", TABLE, "0", "-n", str(K), "-d", str(self.path)]


class SqliteVec(Engine):
    """sqlite-vec: every vector, in C, as a loadable extension."""

    name = "sqlite-vec"
    module = "sqlite_vec"

    def make(self, count: int) -> None:
        """Store a virtual table."""
        connection = self._connect()
        connection.execute(
            f"CREATE VIRTUAL TABLE {TABLE} USING vec0"
            f"(vector float[{DIMENSIONS}] distance_metric=cosine)"
        )
        for _, vectors in batches(count):
            with connection:
                connection.executemany(
                    f"INSERT INTO {TABLE} (vector) VALUES (?)", [(v.tobytes(),) for v in vectors]
                )
        connection.close()

    def command(self, query: Path) -> list[str]:
        """Ask for the nearest."""
        program = (
            f"import {self._sqlite().__name__} as sqlite3, sqlite_vec\n"
            f"connection = sqlite3.connect({str(self.path)!r})\n"
            "connection.enable_load_extension(True)\n"
            "sqlite_vec.load(connection)\n"
            f"vector = open({str(query)!r}, 'rb').read()\n"
            f"print(connection.execute('SELECT rowid, distance FROM {TABLE}"
            f" WHERE vector MATCH ? AND k = {K}', (vector,)).fetchall())"
        )
        return [sys.executable, "-c", program]

    def _connect(self) -> sqlite3.Connection:
        connection: sqlite3.Connection = self._sqlite().connect(self.path)
        connection.enable_load_extension(True)
        import_module("sqlite_vec").load(connection)
        return connection

    def _sqlite(self) -> Any:  # noqa: ANN401
        """Return a module that can load extensions: not every Python's own can."""
        if hasattr(sqlite3.Connection, "enable_load_extension"):
            return sqlite3
        return import_module("pysqlite3")


class LanceDb(Engine):
    """LanceDB, without an index of its own: every vector."""

    name = "LanceDB"
    module = "lancedb"

    def make(self, count: int) -> None:
        """Store a table."""
        data = (
            [{"id": start + i, "vector": vector} for i, vector in enumerate(vectors)]
            for start, vectors in batches(count)
        )
        table = import_module("lancedb").connect(self.path).create_table(TABLE, next(data))
        for part in data:
            table.add(part)
        table.optimize()

    def command(self, query: Path) -> list[str]:
        """Ask for the nearest."""
        program = (
            "import lancedb, numpy as np\n"
            f"vector = np.fromfile({str(query)!r}, np.float32)\n"
            f"table = lancedb.connect({str(self.path)!r}).open_table({TABLE!r})\n"
            f"print(table.search(vector).distance_type('cosine').limit({K}).to_list())"
        )
        return [sys.executable, "-c", program]


ENGINES: tuple[type[Engine], ...] = (Jtv, JtvExact, Floor, Llm, SqliteVec, LanceDb)
