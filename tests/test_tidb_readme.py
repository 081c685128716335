"""The README's tutorial section runs as printed, on a TiDB with TiFlash and an API."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

from conftest import SAMPLE_TEXTS, SCRIPT
from jtv_cli.config import DEFAULT_TABLE
from test_readme import DOCS, block
from tidb_cluster import VERSION, Cluster

if TYPE_CHECKING:
    from conftest import Jtv
    from jina_server import JinaServer


def test_the_tutorial_line_by_line(keyed: Jtv, api: JinaServer, tiflash_tidb: str) -> None:
    shutil.copy(SAMPLE_TEXTS, keyed.folder / "work")
    lines = block("tidb: tutorial").splitlines()
    assert [line.split()[1] for line in lines] == ["init", "ingest", "search", "list"]
    shown = []
    for line in lines:
        variables = {"PATH": f"{SCRIPT.parent}:/usr/bin:/bin", "TIDB_DATABASE_URL": tiflash_tidb}
        command = ["bash", "-euo", "pipefail", "-c", line]
        result = subprocess.run(
            command,
            env=keyed.variables(variables),
            cwd=keyed.folder / "work",
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert result.returncode == 0, result.stderr
        shown.append(result.stdout.splitlines())
    texts = SAMPLE_TEXTS.read_text().splitlines()
    _, _, found, listed = shown
    assert [row.split("\t")[2] for row in listed] == texts
    assert len(found) == 5
    assert [row.split("\t")[3] for row in found] == ["sample_texts.txt"] * 5
    assert api.bill == [*texts, "What is TiDB?", "What is TiDB?"]
    definition = Cluster(tiflash_tidb).execute(f"SHOW CREATE TABLE {DEFAULT_TABLE}")
    assert "VEC_COSINE_DISTANCE" in str(definition)


def test_the_table_of_what_was_run_names_the_version() -> None:
    assert f"| Self-Managed {VERSION.removeprefix('v')} | tested" in DOCS


def test_the_read_only_user_can_search_and_not_ingest(
    jtv: Jtv, tidb: str, tidb_server: Cluster
) -> None:
    jtv.environment |= {"JTV_DATABASE": tidb, "JTV_MODEL": "static-v1"}
    jtv.ok("init")
    jtv.ok("ingest", str(SAMPLE_TEXTS))
    database = tidb.rpartition("/")[2].partition("?")[0]
    statements = block("tidb: reader").replace("test.*", f"{database}.*").split(";\n")
    try:
        for statement in filter(None, statements):
            tidb_server.execute(statement)
        jtv.environment["JTV_DATABASE"] = tidb_server.url(
            database, user="reader", password="PASSWORD"
        )
        assert jtv.ok("search", "musical instruments").rows
        assert jtv("ingest", "-", stdin="a new text\n").code == 5
    finally:
        tidb_server.execute("DROP USER IF EXISTS 'reader'@'%'")
