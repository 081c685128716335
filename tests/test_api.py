"""The same commands with a key: the API stand-in over real HTTP, and what goes wrong with it."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

import jina_faults
from conftest import SAMPLE_TEXTS

if TYPE_CHECKING:
    from conftest import Jtv
    from jina_server import JinaServer

MODELS = (
    "jina-embeddings-v2-base-en",
    "jina-embeddings-v3",
    "jina-embeddings-v4",
    "jina-code-embeddings-0.5b",
)


@pytest.fixture
def ready(keyed: Jtv) -> Jtv:
    keyed.ok("init")
    return keyed


@pytest.mark.parametrize("model", MODELS)
def test_the_main_job(keyed: Jtv, api: JinaServer, model: str) -> None:
    keyed.ok("init", "--model", model)
    result = keyed.ok("ingest", str(SAMPLE_TEXTS))
    assert f"34 stored, 0 known, 0 empty, 0 skipped, {api.tokens:,} tokens" == result.counts
    assert sorted(api.bill) == sorted(SAMPLE_TEXTS.read_text().splitlines())
    rows = keyed.ok("search", "What is TiDB?").rows
    assert rows[0][2].startswith("TiDB is an open-source")
    assert len(keyed.ok("list", "What is TiDB?", "--sort", "distance").rows) == 34


def test_what_is_stored_is_never_paid_for_again(ready: Jtv, api: JinaServer) -> None:
    ready.ok("ingest", str(SAMPLE_TEXTS))
    paid = list(api.bill)
    assert "0 stored, 34 known" in ready.ok("ingest", str(SAMPLE_TEXTS)).counts
    ready.ok("ingest", "-", stdin="\n".join(paid))
    assert api.bill == paid
    ready.ok("ingest", "-", stdin="a new one\na new one\n")
    assert api.bill == [*paid, "a new one"]


def test_both_names_of_the_key(jtv: Jtv, api: JinaServer) -> None:
    env = {"JINA_API_BASE": api.url, "JINAAI_API_KEY": api.key or ""}
    jtv.ok("init", env=env)
    jtv.ok("ingest", "-", stdin="a\n", env=env)
    wrong = jtv("ingest", "-", stdin="b\n", env=env | {"JINA_API_KEY": "jina_another-key"})
    assert wrong.code == 4


def test_a_key_is_needed_only_to_embed(ready: Jtv) -> None:
    ready.ok("ingest", "-", stdin="a\n")
    ready.environment.clear()
    assert len(ready.ok("list").rows) == 1
    for command in (["search", "a"], ["list", "a"], ["ingest", "-"]):
        result = ready(*command)
        assert result.code == 2
        assert "JINA_API_KEY" in result.error
        assert "https://jina.ai/embeddings" in result.error


def test_a_server_without_keys_gets_only_what_every_server_knows(jtv: Jtv) -> None:
    from jina_server import JinaServer

    with JinaServer(key=None) as server:
        env = {"JINA_API_BASE": server.url, "JTV_MODEL": MODELS[0]}
        jtv.ok("init", env=env)
        jtv.ok("ingest", "-", stdin="a\nb\n", env=env)
        [request] = server.requests
    assert set(request.body) == {"model", "input"}
    assert "authorization" not in request.headers


def test_batches_are_as_large_as_the_api_takes(ready: Jtv, api: JinaServer) -> None:
    result = ready.ok("ingest", "-", stdin="".join(f"line {number}\n" for number in range(1300)))
    assert "1,300 stored" in result.counts
    assert sorted(len(request.texts) for request in api.requests) == [276, 512, 512]


def test_batches_are_bounded_in_tokens_too(ready: Jtv, api: JinaServer) -> None:
    lines = [f"{number} " + "word " * 2000 for number in range(40)]
    ready.ok("ingest", "-", stdin="\n".join(lines))
    assert len(api.requests) > 2
    assert len(api.bill) == 40


FAULTS = {
    "401": (jina_faults.answer(401, {"detail": "Unauthorized"}), "key"),
    "402": (jina_faults.answer(402, {"detail": "Payment required"}), "top up"),
    "403": (
        jina_faults.answer(
            403, {"detail": "Insufficient account balance.", "code": "AUTHZ_INSUFFICIENT_BALANCE"}
        ),
        "top up",
    ),
    "404": (jina_faults.answer(404, {"detail": "Not Found"}), "JINA_API_BASE"),
    "422": (jina_faults.answer(422, {"detail": "Validation error: no"}), "Validation error: no"),
    "429": (
        jina_faults.answer(
            429, {"detail": "Token rate limit exceeded", "code": "RATE_TOKEN_LIMIT_EXCEEDED"}
        ),
        "minute",
    ),
    "500": (jina_faults.answer(500, {"detail": "Internal error"}), "again"),
    "502 page": (jina_faults.web_page(502), "web page"),
    "200 page": (jina_faults.web_page(200), "web page"),
    "no JSON": (jina_faults.answer(200, b"{"), "not JSON"),
    "cut": (jina_faults.cut, "cut short"),
    "dropped": (jina_faults.raw(b""), "connection"),
    "redirect": (jina_faults.redirect("http://127.0.0.1:1/"), "redirect"),
    "wrong dimension": (jina_faults.wrong_dimension(512), "512 dimensions"),
    "not finite": (jina_faults.filled(float("nan")), "not finite"),
    "all zero": (jina_faults.filled(0.0), "all zero"),
    "missing item": (jina_faults.missing_item, "each text"),
    "duplicate index": (jina_faults.duplicate_index, "each text"),
}


# One text may be the cause of these.
BY_TEXT = ("422", "500", "no JSON", "not finite", "all zero", "missing item")


@pytest.mark.parametrize("name", BY_TEXT)
def test_a_text_that_always_fails_is_skipped_and_named(
    ready: Jtv, api: JinaServer, name: str
) -> None:
    fault, says = FAULTS[name]
    lines = "".join(f"line {number}\n" for number in range(700))
    api.misbehave(fault, times=None, when=lambda request: "line 699" in request.texts)
    result = ready("ingest", "-", "--max-wait", "5", stdin=lines)
    assert result.code == 3
    [skipped] = [line for line in result.stderr.splitlines() if "-:700" in line]
    assert says in skipped or name == "500"
    assert (api.key or "") not in result.stderr
    assert len(ready.ok("list").rows) == 699
    api.behave()
    assert "1 stored, 699 known" in ready.ok("ingest", "-", stdin=lines).counts


def test_a_batch_that_fails_only_as_a_whole_is_stored(ready: Jtv, api: JinaServer) -> None:
    lines = "".join(f"line {number}\n" for number in range(700))
    fault, _ = FAULTS["duplicate index"]
    api.misbehave(fault, times=None, when=lambda request: "line 699" in request.texts)
    ready.ok("ingest", "-", "--max-wait", "5", stdin=lines)
    assert len(ready.ok("list").rows) == 700


@pytest.mark.parametrize("name", sorted(FAULTS.keys() - {*BY_TEXT, "duplicate index"}))
def test_a_failure_is_one_line_and_nothing_half_stored(
    ready: Jtv, api: JinaServer, name: str
) -> None:
    fault, says = FAULTS[name]
    lines = "".join(f"line {number}\n" for number in range(700))
    api.misbehave(fault, when=lambda request: "line 699" in request.texts)
    result = ready("ingest", "-", "--max-wait", "0", stdin=lines)
    assert result.code == 4
    summary, error, hint = result.stderr.splitlines()
    assert summary.startswith("Stored 512 new documents (0 already stored, 0 skipped)")
    assert error.startswith("jtv: error: ")
    assert hint.startswith("hint: ")
    assert says in error + hint
    assert (api.key or "") not in result.stderr
    assert len(ready.ok("list").rows) == 512
    # The same command goes on from there.
    assert "188 stored, 512 known" in ready.ok("ingest", "-", stdin=lines).counts


@pytest.mark.parametrize("name", ["401", "404", "422", "429", "200 page", "wrong dimension"])
def test_a_query_that_is_refused_is_one_line(ready: Jtv, api: JinaServer, name: str) -> None:
    api.misbehave(FAULTS[name][0])
    result = ready("search", "x")
    assert (result.code, result.stdout) == (4, "")
    assert FAULTS[name][1] in result.stderr
    assert result.is_one_error
    assert len(api.requests) == 1


def test_a_query_is_tried_again(ready: Jtv, api: JinaServer) -> None:
    ready.ok("ingest", "-", stdin="a\n")
    api.misbehave(jina_faults.web_page(502), jina_faults.raw(b""))
    result = ready.ok("search", "a")
    assert (len(result.rows), result.stderr) == (1, "")


def test_nobody_there(ready: Jtv) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        base = f"http://127.0.0.1:{port}"
        result = ready("search", "x", "--max-wait", "2", env={"JINA_API_BASE": base})
    assert result.code == 4
    assert f"127.0.0.1:{port}" in result.error
    assert result.is_one_error


def test_debug_shows_the_traceback_but_no_key(ready: Jtv, api: JinaServer) -> None:
    api.misbehave(jina_faults.answer(401))
    result = ready("search", "x", "--debug")
    assert "Traceback" in result.stderr
    assert result.error.startswith("jtv: error: ")
    assert (api.key or "") not in result.stderr


@pytest.mark.parametrize("base", ["ftp://x", "https://u:p@x.example", "not a url", "https://x?y"])
def test_an_api_base_that_cannot_be(ready: Jtv, base: str) -> None:
    result = ready("search", "x", "--api-base", base)
    assert result.code == 2
    assert "API base" in result.error
