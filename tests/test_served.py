"""Models that jtv does not list, on servers of OpenAI's shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from openai_server import OpenAIServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Jtv

NAME = "BAAI/bge-small-en-v1.5"
LINES = [f"line {number} about {'cats' if number % 2 else 'dogs'}" for number in range(70)]


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer(NAME) as server:
        yield server


def texts_sent(server: OpenAIServer) -> list[list[str]]:
    return [request.texts for request in server.requests]


def test_a_model_of_any_name(jtv: Jtv, server: OpenAIServer) -> None:
    served = ["--api-base", server.url]
    made = jtv.ok("init", "--model", NAME, *served, "--json").records[0]
    assert (made["model"], made["dimensions"]) == (NAME, 384)
    assert len(server.requests) == 1
    jtv.ok("ingest", "-", *served, stdin="\n".join(LINES))
    assert sorted(len(texts) for texts in texts_sent(server)[1:]) == [6, 32, 32]
    found = jtv.ok("search", "line 7 about cats", "-k", "1", *served)
    assert found.rows[0][2] == LINES[7]
    assert float(found.rows[0][0]) == pytest.approx(0, abs=1e-5)
    for request in server.requests:
        assert set(request.body) == {"model", "input"}
        assert "authorization" not in request.headers


def test_nothing_is_asked_for_what_is_known(jtv: Jtv, server: OpenAIServer) -> None:
    env = {"JINA_API_BASE": server.url, "JTV_MODEL": NAME}
    jtv.ok("init", env=env)
    jtv.ok("init", env=env)
    jtv.ok("init", "--model", NAME, env=env)
    jtv.ok("list", env=env)
    assert len(server.requests) == 1
    assert NAME in jtv.ok("info").stdout


def test_a_model_that_is_not_listed_needs_a_server(jtv: Jtv) -> None:
    result = jtv("init", "--model", NAME)
    assert result.code == 2
    assert f"there is no model {NAME}" in result.stderr
    assert "--api-base" in result.stderr


def test_another_model_is_refused(jtv: Jtv, server: OpenAIServer) -> None:
    served = ["--api-base", server.url]
    jtv.ok("init", "--model", NAME, *served)
    for command in (["init"], ["search", "x"], ["ingest", "-"]):
        result = jtv(*command, "--model", "another", *served)
        assert result.code == 5
        assert f"was created with model {NAME}" in result.stderr
        assert "not another" in result.stderr
    assert len(server.requests) == 1
    result = jtv("search", "x", "--model", "jina-embeddings-v3", *served)
    assert (result.code, len(server.requests)) == (5, 1)


def test_a_listed_table_is_no_served_models(jtv: Jtv, server: OpenAIServer) -> None:
    jtv.ok("init")
    result = jtv("search", "x", "--model", NAME, "--api-base", server.url)
    assert result.code == 5
    assert f"not {NAME}" in result.stderr


@pytest.mark.parametrize("path", ["/embeddings", "/v1/embeddings", "/gateway/v1/embeddings"])
def test_the_path_is_found(jtv: Jtv, path: str) -> None:
    with OpenAIServer(NAME, path=path) as server:
        base = server.url + ("/gateway" if "gateway" in path else "")
        jtv.ok("init", "--model", NAME, "--api-base", base)
        jtv.ok("ingest", "-", "--api-base", base, "--concurrency", "1", stdin="\n".join(LINES))
        missed = [request for request in server.requests if request.path != path]
        # Once for each command, and never again.
        assert len(missed) == (2 if path == "/embeddings" else 0)


def test_a_path_that_is_named_is_the_only_one(jtv: Jtv) -> None:
    with OpenAIServer(NAME, path="/embeddings") as server:
        result = jtv("init", "--model", NAME, "--api-base", f"{server.url}/v1")
        assert (result.code, len(server.requests)) == (4, 1)
        assert "404" in result.stderr
        assert not jtv.database.exists()


def drop_usage(answer: dict[str, Any]) -> None:
    del answer["usage"]


def drop_index(answer: dict[str, Any]) -> None:
    for item in answer["data"]:
        del item["index"]


@pytest.mark.parametrize("change", [drop_usage, drop_index])
@pytest.mark.parametrize("as_base64", [False, True])
def test_shapes_of_answers(jtv: Jtv, change: Any, as_base64: bool) -> None:
    with OpenAIServer(NAME, as_base64=as_base64, change=change) as server:
        served = ["--api-base", server.url]
        jtv.ok("init", "--model", NAME, *served)
        jtv.ok("ingest", "-", *served, stdin="\n".join(LINES))
        assert jtv.ok("search", LINES[9], "-k", "1", *served).rows[0][2] == LINES[9]


def test_a_smaller_limit_is_learned(jtv: Jtv) -> None:
    with OpenAIServer(NAME, max_items=10) as server:
        served = ["--api-base", server.url, "--concurrency", "1"]
        jtv.ok("init", "--model", NAME, *served[:2])
        jtv.ok("ingest", "-", *served, stdin="\n".join(LINES))
        assert len(jtv.ok("list").rows) == 70
        assert [len(texts) > 10 for texts in texts_sent(server)].count(True) == 1


def test_a_key_goes_to_this_machine(jtv: Jtv) -> None:
    with OpenAIServer(NAME, key="sk-0123456789") as server:
        result = jtv("init", "--model", NAME, "--api-base", server.url)
        assert result.code == 4
        env = {"JINA_API_KEY": "sk-0123456789"}
        jtv.ok("init", "--model", NAME, "--api-base", server.url, env=env)
        assert set(server.requests[-1].body) == {"model", "input"}


class TestDimensions:
    def test_of_a_served_model(self, jtv: Jtv, server: OpenAIServer) -> None:
        served = ["--api-base", server.url]
        made = jtv.ok("init", "--model", NAME, *served, "--dimensions", "64", "--json")
        assert made.records[0]["dimensions"] == 64
        jtv.ok("ingest", "-", *served, stdin="\n".join(LINES))
        assert jtv.ok("search", LINES[3], "-k", "1", *served).rows[0][2] == LINES[3]
        assert {request.body["dimensions"] for request in server.requests} == {64}
        result = jtv("init", *served, "--dimensions", "32")
        assert result.code == 5
        assert f"{NAME} (64 dimensions), not {NAME} (32 dimensions)" in result.stderr

    def test_of_a_server_that_cannot_shorten(self, jtv: Jtv) -> None:
        with OpenAIServer(NAME) as server:
            full = server.embed
            server.embed = lambda texts, dimensions=None: full(texts)  # type: ignore[method-assign]
            result = jtv("init", "--model", NAME, "--api-base", server.url, "--dimensions", "64")
        assert result.code == 4
        assert "vectors of 384 dimensions" in result.stderr
        assert not jtv.database.exists()

    @pytest.mark.parametrize("model", ["jina-embeddings-v3", "jina-embeddings-v5-omni-small"])
    def test_of_a_listed_model(self, keyed: Jtv, api: Any, model: str) -> None:
        keyed.ok("init", "--model", model, "--dimensions", "256")
        keyed.ok("ingest", "-", stdin="\n".join(LINES))
        assert keyed.ok("search", LINES[3], "-k", "1").rows[0][2] == LINES[3]
        assert keyed.ok("search", "x", "-k", "1", "--model", model).rows
        assert {request.body["dimensions"] for request in api.requests} == {256}
        assert keyed("init", "--model", model, "--dimensions", "1024").code == 5

    @pytest.mark.parametrize(
        ("model", "dimensions", "hint"),
        [
            ("jina-embeddings-v2-base-en", 256, "leave out --dimensions"),
            ("jina-embeddings-v3", 300, "32, 64, 128, 256, 512, 768, 1024"),
            ("jina-embeddings-v3", 2048, "choose one of"),
            ("hashing-v1", 64, "leave out"),
        ],
    )
    def test_that_a_model_cannot_have(
        self, keyed: Jtv, model: str, dimensions: int, hint: str
    ) -> None:
        result = keyed("init", "--model", model, "--dimensions", str(dimensions))
        assert result.code == 2
        assert hint in result.stderr

    def test_the_full_length_is_no_shortening(self, keyed: Jtv, api: Any) -> None:
        keyed.ok("init", "--model", "jina-embeddings-v3", "--dimensions", "1024")
        keyed.ok("ingest", "-", stdin="a\n")
        assert "dimensions" not in api.requests[0].body


class TestPrefixes:
    def test_they_are_put_before_each_text(self, jtv: Jtv, server: OpenAIServer) -> None:
        served = ["--api-base", server.url]
        prefixes = ["--query-prefix", "query: ", "--document-prefix", "passage: "]
        jtv.ok("init", "--model", NAME, *served, *prefixes)
        jtv.ok("ingest", "-", *served, stdin="one\n")
        jtv.ok("search", "one", *served)
        assert texts_sent(server)[1:] == [["passage: one"], ["query: one"]]
        assert texts_sent(server)[0][0].startswith("passage: ")
        assert jtv.ok("list").rows[0][2] == "one"
        jtv.ok("init", *prefixes)
        result = jtv("init", "--query-prefix", "")
        assert result.code == 5
        assert "query prefix 'query: '" in result.stderr
        assert "query prefix ''" in result.stderr

    def test_a_copy_and_an_export_keep_them(self, jtv: Jtv, server: OpenAIServer) -> None:
        served = ["--api-base", server.url]
        jtv.ok("init", "--model", NAME, *served, "--query-prefix", "q: ", "--dimensions", "32")
        jtv.ok("ingest", "-", *served, stdin="one\n")
        jtv.ok("copy", "--from", "embedded", "--to", "copy.db")
        exported = jtv.ok("export", "--vectors").stdout
        jtv.ok("import", "-", "--database", "imported.db", stdin=exported)
        for database in ("copy.db", "imported.db"):
            jtv.ok("search", "one", *served, "--database", database)
            body = server.requests[-1].body
            assert (body["input"], body["dimensions"]) == (["q: one"], 32)

    def test_one_that_is_too_long(self, jtv: Jtv, server: OpenAIServer) -> None:
        served = ["--model", NAME, "--api-base", server.url]
        result = jtv("init", *served, "--document-prefix", "x" * 201)
        assert result.code == 2
        assert "--document-prefix" in result.stderr


class TestFingerprint:
    def test_doctor_finds_other_weights_under_the_same_name(self, jtv: Jtv) -> None:
        with OpenAIServer(NAME) as server:
            jtv.environment["JINA_API_BASE"] = server.url
            jtv.ok("init", "--model", NAME)
            said = jtv.ok("doctor").stdout
            assert "the same vectors as the table" in said
            server.weights = "v2"
            result = jtv("doctor")
        assert result.code == 4
        assert f"{NAME} is not the model that the table was created with" in result.stdout
        assert len(server.requests) == 3


def test_a_table_whose_dimensions_cannot_be(jtv: Jtv) -> None:
    header = {
        "format": "jtv-export",
        "version": 1,
        "table": "small",
        "model": "hashing-v1",
        "task": None,
        "dimensions": 4,
        "metric": "cosine",
        "vectors": True,
    }
    import json

    result = jtv("import", "-", stdin=json.dumps(header) + "\n")
    assert result.code != 70
    for command in (["search", "x"], ["ingest", "-"]):
        result = jtv(*command, "--table", "small", stdin="x\n")
        assert result.code == 5, result.stderr
