"""Full-text indexes on TiDB: what is sent, and what a cluster without them answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from jtv_cli.errors import NoFullText
from jtv_cli.records import IndexState, TableSpec
from jtv_cli.stores.tidb.full_text import FullTextIndex, match_statement
from jtv_cli.stores.tidb.schema import Schema
from tidb_proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Jtv

WITH_INDEX = """CREATE TABLE `notes` (
  `id` bigint NOT NULL AUTO_INCREMENT,
  `content` mediumtext NOT NULL,
  FULLTEXT INDEX `by hand``s 50%`(`content`) WITH PARSER MULTILINGUAL
)"""
WITHOUT_INDEX = "CREATE TABLE `notes` (`content` mediumtext, FULLTEXT INDEX `x`(`title`))"


class Connection:
    """Stands in for one to a cluster with full-text indexes, and keeps what is sent."""

    def __init__(self, created: str, version: str) -> None:
        self.sent: list[str] = []
        self._created = created
        self._version = version

    def run(self, sql: str) -> int:
        self.sent.append(sql)
        return 0

    def rows(self, sql: str) -> list[tuple[str, str]]:
        self.sent.append(sql)
        return [("notes", self._created)]

    def scalar(self, _: object) -> str:
        return self._version


class Database:
    """Stands in for the database of that connection."""

    def __init__(self, created: str, version: str = "8.0.11-TiDB-v7.5.2-serverless") -> None:
        self.connection = Connection(created, version)

    def read(self, work: Callable[[Any], Any], *, is_slow: bool = False) -> Any:  # noqa: ARG002
        return work(self.connection)


def index_of(database: Database) -> FullTextIndex:
    return FullTextIndex(database, "notes", "tidb.example/test")  # type: ignore[arg-type]


def test_adding_it() -> None:
    database = Database(WITHOUT_INDEX)
    index_of(database).build(lambda _: None)
    assert database.connection.sent[-1] == (
        "ALTER TABLE `notes` ADD FULLTEXT INDEX jtv_full_text (content)"
        " WITH PARSER MULTILINGUAL ADD_COLUMNAR_REPLICA_ON_DEMAND"
    )


def test_one_that_exists_is_kept() -> None:
    database = Database(WITH_INDEX)
    index_of(database).build(lambda _: None)
    assert database.connection.sent == ["SHOW CREATE TABLE `notes`"]
    assert index_of(database).status().state is IndexState.READY
    index_of(database).require()


def test_dropping_it() -> None:
    """Under its own name."""
    database = Database(WITH_INDEX)
    assert index_of(database).drop()
    assert database.connection.sent[-1] == "ALTER TABLE `notes` DROP INDEX `by hand``s 50%`"
    assert not index_of(Database(WITHOUT_INDEX)).drop()


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("8.0.11-TiDB-v7.5.2-serverless", "table notes has no full-text index"),
        ("8.0.11-TiDB-v8.5.4", "tidb.example/test has no full-text indexes"),
    ],
)
def test_a_table_without_one(version: str, words: str) -> None:
    with pytest.raises(NoFullText, match=words):
        index_of(Database(WITHOUT_INDEX, version)).require()


def test_the_statement_that_searches() -> None:
    spec = TableSpec("notes", "model", None, 8)
    match = "FTS_MATCH_WORD('a ''quoted'' word', content)"
    assert match_statement(Schema(spec), "a 'quoted' word", 5) == (
        f"SELECT id FROM `notes` WHERE {match} ORDER BY {match} DESC LIMIT 5"
    )


@pytest.mark.tidb
def test_a_cluster_without_them(jtv: Jtv, tidb: str) -> None:
    jtv.environment["TIDB_DATABASE_URL"] = tidb
    jtv.ok("init", "--model", "hashing-v1")
    jtv.ok("ingest", "-", stdin="one\ntwo\n")
    with Proxy(tidb) as proxy:
        jtv.environment["TIDB_DATABASE_URL"] = proxy.url
        for command in (
            ("index", "build", "--full-text"),
            ("search", "--hybrid", "one"),
            ("search", "--keyword", "one"),
        ):
            result = jtv(*command)
            assert result.code == 2
            assert "has no full-text indexes: only TiDB Cloud Starter has them" in result.error
            assert "hint: " in result.error
    jtv.environment["TIDB_DATABASE_URL"] = tidb
    assert any("ADD FULLTEXT INDEX jtv_full_text (content)" in sql for sql in proxy.statements)
    assert "full text" not in jtv.ok("index", "status").stdout
    jtv.ok("init", "--drop", "--yes", "--model", "hashing-v1")
