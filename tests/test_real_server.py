"""A real server of OpenAI's shape, for those who have one running.

    JTV_TEST_API_BASE=http://localhost:8080 JTV_TEST_MODEL=NAME pytest tests/test_real_server.py

JTV_TEST_API_KEY is sent if the server needs one.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from conftest import SAMPLE_TEXTS

if TYPE_CHECKING:
    from conftest import Jtv

BASE, MODEL = os.environ.get("JTV_TEST_API_BASE"), os.environ.get("JTV_TEST_MODEL", "")

pytestmark = pytest.mark.skipif(BASE is None, reason="JTV_TEST_API_BASE names no server")


@pytest.fixture
def ready(jtv: Jtv) -> Jtv:
    jtv.environment["JINA_API_BASE"] = BASE or ""
    jtv.environment["JINA_API_KEY"] = os.environ.get("JTV_TEST_API_KEY", "")
    jtv.ok("init", "--model", MODEL)
    return jtv


def test_the_main_job(ready: Jtv) -> None:
    ready.ok("ingest", str(SAMPLE_TEXTS))
    rows = ready.ok("search", "What is TiDB?").rows
    assert rows[0][2].startswith("TiDB is an open-source")
    assert len(ready.ok("list").rows) == 34
    ready.ok("doctor")


def test_batches_larger_than_the_server_takes(ready: Jtv) -> None:
    ready.ok("ingest", "-", stdin="".join(f"line {number} of many\n" for number in range(600)))
    assert len(ready.ok("list").rows) == 600


def test_a_text_longer_than_any_model_takes_harms_no_other(ready: Jtv) -> None:
    lines = [f"line {number}" for number in range(20)]
    result = ready("ingest", "-", stdin="\n".join([*lines, "mammoth " * 50_000]))
    assert result.code in (0, 3)  # some servers cut such a text
    assert {row[2] for row in ready.ok("list").rows} >= set(lines)
