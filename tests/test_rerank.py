"""`jtv search --rerank`, against the stand-in for the API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import jina_faults
from jina_api import error, no_balance
from jina_server import RERANK, JinaServer

if TYPE_CHECKING:
    from conftest import Jtv, Result
    from jina_faults import Fault
    from jina_http import Request

# The stand-in scores a document by the share of its words that the query has.
TEXTS = """\
red apples and green pears and many other fruits of the garden
red apples
blue sky
apples
red red red red red red sky
"""
QUERY = "red apples"


@pytest.fixture
def filled(keyed: Jtv, api: JinaServer) -> Jtv:
    keyed.write("texts.txt", TEXTS)
    keyed.ok("init", "--model", "hashing-v1")
    keyed.ok("ingest", "texts.txt")
    api.requests.clear()
    return keyed


def search(jtv: Jtv, *options: str, **more: Any) -> Result:
    return jtv("search", QUERY, *options, **more)


def ids(result: Result) -> list[int]:
    return [record["id"] for record in result.records]


def test_one_request_and_another_order(filled: Jtv, api: JinaServer) -> None:
    plain = search(filled, "--json")
    result = search(filled, "--rerank", "--json")
    assert (result.code, result.stderr) == (0, "")
    assert ids(result) != ids(plain)
    assert sorted(ids(result)) == sorted(ids(plain))
    scores = [record["score"] for record in result.records]
    assert scores == sorted(scores, reverse=True)
    assert result.records[0]["content"] == "red red red red red red sky"
    assert all(record["distance"] is not None for record in result.records)
    [request] = api.requests
    assert request.path == RERANK
    assert request.body["model"] == "jina-reranker-v3.5"
    assert request.body["return_documents"] is False
    assert len(request.body["documents"]) == request.body["top_n"] == 5


def test_candidates_are_more_than_k(filled: Jtv, api: JinaServer) -> None:
    result = search(filled, "--rerank", "-k", "1", "--json")
    assert len(result.records) == 1
    assert len(api.requests[0].body["documents"]) == 5
    few = search(filled, "--rerank", "-k", "4", "--candidates", "2", "--json")
    assert len(api.requests[1].body["documents"]) == 2
    assert [("score" in record) for record in few.records] == [True, True, False, False]
    assert len(search(filled, "--rerank", "--per-source", "1").rows) == 1


def test_a_model_is_named(filled: Jtv, api: JinaServer) -> None:
    for words in (["--rerank", "jina-reranker-m0"], ["--rerank=jina-reranker-m0"]):
        assert search(filled, *words).code == 0
        assert api.requests[-1].body["model"] == "jina-reranker-m0"


def test_the_query_may_follow(filled: Jtv, api: JinaServer) -> None:
    for words in (
        ["--rerank", "red", "apples"],
        ["red", "apples", "--rerank"],
        ["red", "--rerank", "apples"],
        ["--rerank", "--", "red", "apples"],
        ["--rerank", "-k", "1", "red", "apples"],
        ["--rerank", "jina-reranker-m0", "red", "apples"],
    ):
        assert filled("search", *words).code == 0
        assert api.requests[-1].body["query"] == "red apples"
    assert filled("search", "--", "--rerank").code == 0
    assert len(api.requests) == 6


def test_many_queries_take_one_request_each(filled: Jtv, api: JinaServer) -> None:
    filled.write("queries.txt", "red apples\nblue sky\n")
    result = filled.ok("search", "--queries", "queries.txt", "--rerank", "--json", "--explain")
    assert [record["query"] for record in result.records] == ["red apples", "blue sky"]
    assert [record["hits"][0]["id"] for record in result.records] == [5, 3]
    assert [request.body["query"] for request in api.requests] == ["red apples", "blue sky"]
    assert "reranked by jina-reranker-v3.5" in result.stderr


@pytest.mark.parametrize("way", ["--hybrid", "--keyword"])
class TestWithWords:
    """One request a query, for what both rankings found."""

    @pytest.fixture
    def indexed(self, filled: Jtv, api: JinaServer) -> Jtv:
        filled.ok("index", "build", "--full-text")
        api.requests.clear()
        return filled

    def test_one_query(self, indexed: Jtv, api: JinaServer, way: str) -> None:
        plain = search(indexed, way, "--json")
        result = search(indexed, way, "--rerank", "--json")
        assert result.stderr == ""
        assert ids(result) != ids(plain)
        assert sorted(ids(result)) == sorted(ids(plain))
        [request] = api.requests
        assert sorted(request.body["documents"]) == sorted(
            record["content"] for record in plain.records
        )
        scores = [record["score"] for record in result.records]
        assert scores == sorted(scores, reverse=True)
        assert result.records[0]["content"] == "red red red red red red sky"
        # Their ranks before stay.
        ranks = {record["id"]: record.get("keyword_rank") for record in plain.records}
        assert {record["id"]: record.get("keyword_rank") for record in result.records} == ranks

    def test_many_queries(self, indexed: Jtv, api: JinaServer, way: str) -> None:
        indexed.write("queries.txt", "red apples\nblue sky\nnothing_like_it\n")
        words = ("--queries", "queries.txt", way, "--rerank", "--candidates", "2", "-k", "1")
        result = indexed.ok("search", *words, "--json")
        assert len(result.records) == 3
        found = [record["query"] for record in result.records if record["hits"]]
        assert [request.body["query"] for request in api.requests] == found
        assert all(len(request.body["documents"]) <= 2 for request in api.requests)
        assert [record["hits"][0]["id"] for record in result.records[:2]] == [5, 3]

    def test_if_it_fails(self, indexed: Jtv, api: JinaServer, way: str) -> None:
        plain = search(indexed, way, "--json")
        api.misbehave(jina_faults.answer(500), times=None)
        result = search(indexed, way, "--rerank", "--json", "--max-wait", "0")
        assert (result.code, result.records) == (0, plain.records)
        assert result.stderr.count("warning") == 1


def test_a_rate_limit_is_waited_for(filled: Jtv, api: JinaServer) -> None:
    api.requests_a_minute, api.minute = 1, 1.0
    api.misbehave(jina_faults.answer(429, {"detail": "limit"}, {"Retry-After": "1"}))
    assert search(filled, "--rerank").stderr == ""
    assert len(api.requests) == 2


def test_long_texts_are_cut(filled: Jtv, api: JinaServer) -> None:
    filled.write("long.txt", "red apples " + "漢字" * 60_000)
    filled.ok("ingest", "long.txt", "--lines")
    assert search(filled, "--rerank").code == 0
    sent = api.requests[0].body["documents"]
    assert len(sent) == 6
    assert max(map(len, sent)) < 6_000
    assert all(sent)


FAULTS: dict[str, Fault] = {
    "no balance": jina_faults.instead(no_balance()),
    "a web page": jina_faults.web_page(200),
    "a redirect": jina_faults.redirect("https://example.com/"),
    "not JSON": jina_faults.answer(200, b"{"),
    "nothing in it": jina_faults.answer(200, {"results": []}),
    "not a list": jina_faults.answer(200, {"scores": [1]}),
    "an index twice": jina_faults.edited(lambda it: it["results"].__setitem__(0, it["results"][1])),
    "an index too large": jina_faults.edited(lambda it: it["results"][0].update(index=5)),
    "a negative index": jina_faults.edited(lambda it: it["results"][0].update(index=-1)),
    "an index that is a text": jina_faults.edited(lambda it: it["results"][0].update(index="0")),
    "one result fewer": jina_faults.edited(lambda it: it["results"].pop()),
    "one result more": jina_faults.edited(
        lambda it: it["results"].append({"index": 5, "relevance_score": 1})
    ),
    "NaN": jina_faults.answer(
        200, b'{"results": [{"index": 0, "relevance_score": NaN}], "usage": {}}'
    ),
    "NaN as a text": jina_faults.edited(lambda it: it["results"][0].update(relevance_score="NaN")),
    "infinity": jina_faults.edited(lambda it: it["results"][0].update(relevance_score="Infinity")),
    "too large a number": jina_faults.answer(
        200, b'{"results": [{"index": 0, "relevance_score": 1e999}], "usage": {}}'
    ),
    "no object": jina_faults.edited(lambda it: it["results"].__setitem__(0, [1])),
    "null": jina_faults.answer(200, b"null"),
    "not a number": jina_faults.edited(lambda it: it["results"][0].update(relevance_score="high")),
    "cut": jina_faults.cut,
    "dropped": jina_faults.raw(b""),
    "broken packing": jina_faults.broken_packing,
    "a wrong key": jina_faults.instead(
        error(401, "Unauthorized: jina_test is no key", "AUTHN_INVALID")
    ),
    "a limit": jina_faults.answer(429, {"detail": "limit"}),
    "503": jina_faults.answer(503),
    "500": jina_faults.answer(500, {"detail": "sorry"}),
    "a bomb": jina_faults.bomb,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_if_it_fails_the_hits_keep_their_order(filled: Jtv, api: JinaServer, fault: str) -> None:
    plain = search(filled, "--json")
    api.misbehave(FAULTS[fault], times=None)
    result = search(filled, "--rerank", "--json", "--max-wait", "0")
    assert (result.code, result.records) == (0, plain.records)
    assert result.stderr.startswith("jtv: warning: the hits are not reranked: ")
    assert result.stderr.count("warning") == 1
    assert api.key is not None
    assert api.key not in result.stderr
    assert QUERY not in result.stderr
    strict = search(filled, "--rerank", "--strict", "--max-wait", "0")
    assert (strict.code, strict.stdout) == (4, "")
    assert strict.is_one_error


def test_a_server_that_takes_fewer_texts(filled: Jtv, api: JinaServer) -> None:
    api.misbehave(jina_faults.answer(413, {"detail": "at most 4 documents"}), times=None)
    for options, code in (((), 0), (("--strict",), 4)):
        result = search(filled, "--rerank", "--max-wait", "0", *options)
        assert result.code == code
        assert "hint: rerank fewer than 5 hits: --candidates N" in result.stderr


def test_a_long_query_leaves_less_for_the_texts(filled: Jtv, api: JinaServer) -> None:
    filled.write("long.txt", "\n".join(f"red {n} " + "apples " * 2_000 for n in range(50)))
    filled.ok("ingest", "long.txt", "--lines")
    query = "red " * 500
    result = filled("search", "-", "--rerank", "--max-wait", "0", stdin=query)
    assert result.stderr == ""
    [request] = api.requests[-1:]
    sent = request.body["documents"]
    assert len(sent) == 50
    words = sum(len(text.split()) for text in sent)
    assert words + 50 * 500 <= 32_000


def test_a_failure_ends_reranking(filled: Jtv, api: JinaServer) -> None:
    api.misbehave(jina_faults.instead(no_balance()), times=None)
    filled.write("queries.txt", "one\ntwo\nthree\n")
    result = filled.ok("search", "--queries", "queries.txt", "--rerank")
    assert result.stderr.count("warning") == 1
    assert len(api.requests) == 1


def test_a_failure_that_passes_is_retried(filled: Jtv, api: JinaServer) -> None:
    api.misbehave(jina_faults.answer(503))
    assert search(filled, "--rerank").stderr == ""
    assert len(api.requests) == 2


class TestKeysAndBases:
    def test_another_base(self, filled: Jtv, api: JinaServer) -> None:
        with JinaServer(key=None) as other:
            for base in (other.url, f"{other.url}/v1", f"{other.url}/v1/rerank"):
                assert search(filled, "--rerank", "--rerank-base", base).stderr == ""
            assert [request.path for request in other.requests] == [RERANK] * 3
        assert api.requests == []

    def test_the_full_url_of_embeddings(self, filled: Jtv, api: JinaServer) -> None:
        filled.environment["JINA_API_BASE"] = f"{api.url}/v1/embeddings"
        assert search(filled, "--rerank").stderr == ""
        assert api.requests[0].path == RERANK

    def test_a_server_without_v1(self, filled: Jtv) -> None:
        def is_v1(request: Request) -> bool:
            return request.path == RERANK

        with JinaServer(key=None) as other:
            other.misbehave(jina_faults.answer(404), times=None, when=is_v1)
            assert "404" in search(filled, "--rerank", "--rerank-base", other.url).stderr
            assert [request.path for request in other.requests] == [RERANK, "/rerank"]

    def test_a_base_from_a_foreign_env_file_gets_no_key(self, filled: Jtv, api: JinaServer) -> None:
        base = filled.environment.pop("JINA_API_BASE")
        filled.write(".env", f"JINA_API_BASE={base}\n")
        result = search(filled, "--rerank")
        assert result.code == 2
        assert "is not sent to the API base" in result.error
        assert api.requests == []

    def test_no_key_over_plain_http(self, filled: Jtv) -> None:
        result = search(filled, "--rerank", "--rerank-base", "http://rerank.example")
        assert result.code == 2
        assert "refusing to send the API key" in result.error

    def test_without_a_key(self, filled: Jtv) -> None:
        del filled.environment["JINA_API_KEY"], filled.environment["JINA_API_BASE"]
        result = search(filled, "--rerank")
        assert result.code == 2
        assert "needs an API key" in result.error


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--candidates", "3", "x"], "--candidates needs --rerank"),
        (["--strict", "x"], "--strict needs --rerank"),
        (["--rerank-base", "http://127.0.0.1:1", "x"], "--rerank-base needs --rerank"),
        (["--like", "1", "--rerank"], "--rerank and --like cannot be combined"),
        (["x", "--diverse", "--rerank"], "--rerank and --diverse cannot be combined"),
        (["x", "--rerank=bge-reranker"], 'Jina AI has no reranker "bge-reranker"'),
    ],
)
def test_options_that_do_not_fit(jtv: Jtv, words: list[str], said: str) -> None:
    result = jtv("search", *words, env={"JINA_API_KEY": "jina_1234567890"})
    assert result.code == 2
    assert said in result.error
