"""What is done to a file of the embedded store from outside: damage, mode, space, other owners."""

from __future__ import annotations

import random
import shutil
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
import pytest

from conftest import SAMPLE_TEXTS
from jtv_cli.errors import StoreError
from jtv_cli.records import Condition, Filter, Occurrence, SourceLine
from jtv_cli.stores.sqlite import SqliteStore
from jtv_cli.text import text_hash
from tables import add, document, documents, make, table_of, vectors

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Jtv
    from jina_server import JinaServer
    from jtv_cli.stores.sqlite.table import SqliteTable


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


class TestPermissions:
    def test_an_empty_file_that_exists_becomes_private(self, jtv: Jtv) -> None:
        path = jtv.write("mine.db", b"")
        path.chmod(0o644)
        jtv.ok("init", "--database", str(path))
        assert mode(path) == 0o600
        jtv.ok("ingest", str(SAMPLE_TEXTS), "--database", str(path))
        path.chmod(0o644)
        jtv.ok("init", "--database", str(path), "--table", "more")
        assert mode(path) == 0o644, "a mode that was chosen for a filled file stays"

    def test_no_umask_makes_anything_of_it_public(self, jtv: Jtv) -> None:
        free = ["sh", "-c", 'umask 000; exec "$@"', "sh"]
        jtv.ok("init", prefix=free)
        assert mode(jtv.database) == 0o600
        for directory in (jtv.data_folder, *list(jtv.data_folder.parents)[:2]):
            assert mode(directory) == 0o700, directory


HOT = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA journal_mode = WAL")
connection.executescript(sys.argv[2])
os._exit(0)
"""


def crash(path: Path, *scripts: str) -> None:
    """Write to a file and end without closing it, so that its log stays."""
    for script in scripts:
        subprocess.run([sys.executable, "-c", HOT, str(path), script], check=True)


class TestForeignFiles:
    @pytest.mark.parametrize(
        "scripts",
        [
            ["CREATE TABLE t (x); INSERT INTO t VALUES (1)"],
            ["PRAGMA application_id = 4711"],
            ["CREATE TABLE t (x); PRAGMA wal_checkpoint(TRUNCATE)", "INSERT INTO t VALUES (1)"],
        ],
        ids=["all in the log", "no table", "some in the log"],
    )
    @pytest.mark.parametrize("command", [["list"], ["init"], ["ingest", "-"], ["doctor"]], ids=str)
    def test_one_with_a_hot_log_is_not_changed(
        self, jtv: Jtv, scripts: list[str], command: list[str]
    ) -> None:
        path = jtv.write("theirs.db", b"")
        path.unlink()
        crash(path, *scripts)
        before = {each.name: each.read_bytes() for each in path.parent.iterdir()}
        assert "theirs.db-wal" in before
        before.pop("theirs.db-shm", None)
        result = jtv(*command, "--database", str(path), stdin="a\n")
        assert result.code == 5
        assert "jtv did not create" in result.stdout + result.stderr
        after = {each.name: each.read_bytes() for each in path.parent.iterdir()}
        after.pop("theirs.db-shm", None)
        assert after == before

    def test_ours_with_all_of_it_in_the_log_is_ours(self, jtv: Jtv, tmp_path: Path) -> None:
        with closing(SqliteStore(tmp_path / "a.db", writable=True)) as store:
            make(store).add(documents(3), vectors(3))
            path = jtv.write("crashed.db", (tmp_path / "a.db").read_bytes())
            shutil.copy(tmp_path / "a.db-wal", path.with_name("crashed.db-wal"))
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)) as raw:
            assert raw.execute("SELECT 1 FROM sqlite_master").fetchone() is None
        assert len(jtv.ok("list", "--database", str(path), "--table", "documents").rows) == 3


def use_all(path: Path) -> None:
    """Read and write a table in every way; StoreError is what may be raised."""

    def attempt(use: Callable[[SqliteTable], object]) -> None:
        try:
            with closing(SqliteStore(path, writable=True)) as store:
                use(store.open("documents"))
        except StoreError:
            pass

    query = vectors(1, seed=9)
    wide = np.resize(query, (1, 64)).astype(np.float32)
    for use in (
        lambda table: table.search(wide, 5, explain=True),
        lambda table: table.search(
            wide, 5, exact=True, filter=Filter(where=(Condition("n", "1"),))
        ),
        lambda table: list(table.scan(wide[0])),
        lambda table: list(table.rank(wide[0], limit=5)),
        lambda table: list(table.read(vectors=True)),
        lambda table: (table.get([1, 2, 3]), table.sources(), table.size(), table.count()),
        lambda table: (list(table.source_lines("a.txt")), table.source_details(["a.txt"])),
        lambda table: (table.index_status(), table.check_index(3)),
        lambda table: table.known([text_hash("text 1")]),
        lambda table: table.rename_source("a.txt", "c.txt"),
        lambda table: table.add([document("new")], wide),
        lambda table: table.add_occurrences("a.txt", [SourceLine(9, 1)]),
        lambda table: table.remove("a.txt", [SourceLine(1, 1)]),
        lambda table: table.delete([2]),
        lambda table: table.build_index(),
    ):
        attempt(use)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("damage") / "jtv.db"
    stored = np.random.default_rng(0).normal(size=(2100, 64)).astype(np.float32)
    with table_of(path, stored) as table:
        add(table, stored[:50] + 1, prefix="more")
        where = [Occurrence("a.txt", n, {"n": n % 3, "s": "x" * 50}, n + 1) for n in range(90)]
        table.add([document("many", *where)], stored[:1] - 1)
        table.set_source_details({"a.txt": {"input": "lines"}})
    return path


class TestDamage:
    @pytest.mark.parametrize("seed", range(12))
    def test_any_of_it_is_an_error_of_the_store(
        self, whole: Path, tmp_path: Path, seed: int
    ) -> None:
        """Bytes of a page are flipped, or a page is overwritten, zeroed or cut off."""
        chance = random.Random(seed)
        path = tmp_path / "jtv.db"
        content = whole.read_bytes()
        for _ in range(4):
            damaged = bytearray(content)
            # The first pages have the schema and the catalog.
            first = chance.choice([0, 0, chance.randrange(len(content) // 16384)]) * 16384
            page = first + chance.randrange(3) * 16384
            for _ in range(chance.choice([1, 3, 30, 3000])):
                damaged[min(page + chance.randrange(16384), len(damaged) - 1)] ^= (
                    1 << chance.randrange(8)
                )
            if chance.random() < 0.2:
                del damaged[page + 100 :]
            path.write_bytes(damaged)
            for side in ("-wal", "-shm"):
                path.with_name(f"jtv.db{side}").unlink(missing_ok=True)
            use_all(path)

    @pytest.mark.parametrize(
        ("statement", "command"),
        [
            ("UPDATE documents SET vector = x'00'", ["search", "x"]),
            ("UPDATE documents SET content = x'ff'", ["list"]),
            ("UPDATE documents SET content = CAST(x'ff' AS TEXT)", ["list"]),
            ("UPDATE documents_occurrences SET metadata = '{'", ["list"]),
            ("UPDATE documents_occurrences SET metadata = '[1]'", ["show", "1"]),
            ("UPDATE documents_sources SET source = x'00'", ["info"]),
            ("UPDATE jtv_tables SET dimensions = 'many'", ["list"]),
            ("UPDATE jtv_tables SET name = 'x\"; DROP'", ["tables"]),
            ("UPDATE jtv_tables SET recipe = '{'", ["list"]),
            ("UPDATE documents_sources SET details = '{'", ["info"]),
        ],
    )
    def test_rows_that_cannot_be_say_so(self, jtv: Jtv, statement: str, command: list[str]) -> None:
        jtv.environment["JTV_TABLE"] = "documents"
        jtv.ok("init")
        jtv.ok("ingest", str(SAMPLE_TEXTS))
        with closing(sqlite3.connect(jtv.database)) as connection:
            connection.execute(statement)
            connection.commit()
        result = jtv(*command)
        assert result.code == 5, result.stderr
        assert "is damaged" in result.stderr or "cannot be read" in result.stderr
        assert "Traceback" not in result.stderr


class TestSpace:
    def test_a_limit_for_files_refuses_before_anything_is_written(self, tmp_path: Path) -> None:
        path = tmp_path / "jtv.db"
        script = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(SAMPLE_TEXTS.parent / "tests")!r})
from jtv_cli.errors import StoreError
from jtv_cli.stores.sqlite import SqliteStore
from tables import make, documents, vectors
store = SqliteStore(Path({str(path)!r}), writable=True)
table = make(store)
table.reserve(100 << 10)
table.add(documents(100), vectors(100))
try:
    table.reserve(8 << 20)
except StoreError as error:
    print(error.message)
print(table.count())
"""
        limited = ["bash", "-c", 'ulimit -f 8000; exec "$@"', "bash"]
        command = [*limited, sys.executable, "-c", script]
        result = subprocess.run(command, capture_output=True, text=True, check=True)
        assert result.stdout.splitlines() == [f"no space left on the disk of {path}", "100"]

    def test_what_is_reserved_is_there_when_the_disk_is_full(self, small_disk: Path) -> None:
        path = small_disk / "jtv.db"
        with closing(SqliteStore(path, writable=True)) as store:
            table = make(store)
            many = documents(500)
            size = sum(len(each.text) for each in many) + vectors(500).nbytes
            table.reserve(size)
            fill(small_disk)
            assert table.add(many, vectors(500)).documents == 500
            with pytest.raises(StoreError, match="no space left"):
                table.reserve(size)
            (small_disk / "filler").unlink()
            table.reserve(size)
            assert table.count() == 500

    def test_nothing_is_paid_for_that_cannot_be_stored(
        self, keyed: Jtv, api: JinaServer, small_disk: Path
    ) -> None:
        keyed.environment["JTV_DATABASE"] = str(small_disk / "jtv.db")
        keyed.write("many.txt", "".join(f"{number} {'x' * 300}\n" for number in range(6000)))
        keyed.ok("init")
        before = -1
        # Each run stores what fits, and pays for no more than that.
        while before < len(api.bill):
            before = len(api.bill)
            result = keyed("ingest", "many.txt")
            assert result.code == 5
            assert "no space left" in result.stderr
            assert len(api.bill) == len(keyed.ok("list").rows)
        assert before > 0


def fill(directory: Path) -> None:
    """Take all the space that is left."""
    with (directory / "filler").open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            pass


@pytest.fixture
def small_disk(tmp_path: Path) -> object:
    """A directory on a file system of its own, of 8 MiB."""
    directory = tmp_path / "small"
    directory.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(directory)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs the permission to mount a file system")
    yield directory
    subprocess.run(["umount", "-l", str(directory)], check=True)
