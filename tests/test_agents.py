"""What agents use: `jtv mcp`, with the SDK's own client, and `jtv search --snippet`."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import jina_faults
from conftest import SCRIPT
from jina_api import no_balance
from jtv_cli.pipeline.snippets import with_snippets
from jtv_cli.records import Hit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from conftest import Jtv
    from jina_server import JinaServer

ANSWERS = Path(__file__).parent.parent / "benchmarks/data/answers"
READERS = {"search", "show", "list_sources", "table_info"}
# The protocol with a handshake, and the one without.
MODES = ("legacy", "2026-07-28")


def talk(
    jtv: Jtv, *arguments: str, calls: Callable[[Any], Awaitable[None]], mode: str = "auto"
) -> None:
    """Start `jtv mcp` and let a client make calls."""
    mcp = pytest.importorskip("mcp")
    stdio = pytest.importorskip("mcp.client.stdio")
    server = stdio.StdioServerParameters(
        command=str(SCRIPT),
        args=["mcp", *arguments],
        env=jtv.variables(),
        cwd=str(jtv.folder / "work"),
    )

    async def run() -> None:
        async with mcp.Client(server, mode=mode, read_timeout_seconds=60) as client:
            await calls(client)

    asyncio.run(run())


async def text_of(client: Any, tool: str, **arguments: Any) -> str:
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result
    return str(result.content[0].text)


@pytest.mark.parametrize("mode", MODES)
def test_an_agent_searches_and_reads(sampled: Jtv, mode: str) -> None:
    async def calls(client: Any) -> None:
        tools = (await client.list_tools()).tools
        assert {tool.name for tool in tools} == READERS
        assert all(tool.annotations.read_only_hint for tool in tools)
        found = await text_of(client, "search", query="What is TiDB?", k=2)
        first, second = found.split("\n\n")
        heading, snippet = first.split("\n")
        assert re.fullmatch(r"\[2\] distance 0\.\d{3} .*sample_texts.txt:2", heading)
        assert snippet.startswith("TiDB is an open-source")
        assert second.startswith("[")
        assert await text_of(client, "show", ids=[2]) == f"[2] {heading.split()[-1]}\n{snippet}"
        assert (await text_of(client, "show", ids=[99])) == "No document 99."
        assert "sample_texts.txt\t34" in await text_of(client, "list_sources")
        assert "documents: 34" in await text_of(client, "table_info")
        assert await text_of(client, "search", query="a", source="none*") == "Nothing found."

    talk(sampled, calls=calls, mode=mode)


def test_an_agent_filters_and_reranks(keyed: Jtv, api: JinaServer) -> None:
    records = [{"text": f"pump number {n}", "year": 2000 + n} for n in range(4)]
    keyed.write("pumps.jsonl", "\n".join(map(json.dumps, records)))
    keyed.ok("init", "--model", "hashing-v1", "--full-text")
    keyed.ok("ingest", "pumps.jsonl")
    api.requests.clear()

    async def calls(client: Any) -> None:
        async def numbers(**arguments: Any) -> list[int]:
            found = await text_of(client, "search", query="number 2 pump", **arguments)
            return [int(number) for number in re.findall(r"pump number (\d)", found)]

        assert sorted(await numbers(where=["year >= 2001", "year != 2003"])) == [1, 2]
        assert sorted(await numbers(where_any=["year=2000", "year=2003"])) == [0, 3]
        assert sorted(await numbers(after="2020-01-01")) == [0, 1, 2, 3]
        assert await numbers(before="2020-01-01") == []
        assert (await numbers(mode="keyword"))[0] == 2
        wrong = await client.call_tool("search", {"query": "a", "where": ["year"]})
        assert wrong.is_error
        assert api.requests == []
        assert (await numbers(rerank=True, mode="hybrid"))[0] == 2
        assert len(api.requests) == 1
        api.misbehave(jina_faults.instead(no_balance()), times=None)
        refused = await client.call_tool("search", {"query": "a pump", "rerank": True})
        assert refused.is_error
        assert api.key is not None
        assert api.key not in str(refused)

    talk(keyed, "--rerank", "jina-reranker-v3.5", calls=calls)

    async def without(client: Any) -> None:
        refused = await client.call_tool("search", {"query": "a pump", "rerank": True})
        assert refused.is_error
        assert "jtv mcp --rerank MODEL" in str(refused)
        assert len(api.requests) == sent

    sent = len(api.requests)
    talk(keyed, calls=without)


def test_only_with_write_can_an_agent_change_anything(sampled: Jtv) -> None:
    async def calls(client: Any) -> None:
        assert (await client.call_tool("delete", {"ids": [1]})).is_error

    talk(sampled, calls=calls)

    async def changes(client: Any) -> None:
        tools = {tool.name for tool in (await client.list_tools()).tools}
        assert tools == {*READERS, "ingest_text", "delete"}
        for answer in ("Stored.", "Already stored."):
            stored = await text_of(client, "ingest_text", text="Zebras graze.", source="agent")
            assert stored == answer
        assert await text_of(client, "delete", ids=[1, 99]) == "Deleted 1 of 2 documents."

    talk(sampled, "--write", calls=changes)
    assert sampled.ok("list", "--format", "text").stdout.endswith("Zebras graze.\n")
    assert sampled("show", "1").code == 1


def test_answers_are_bounded(made: Jtv) -> None:
    long = "word " * 20_000
    made.ok("ingest", "-", stdin=f"{long}\n")

    async def calls(client: Any) -> None:
        assert len(await text_of(client, "search", query="word", snippet=100)) < 200
        shown = await text_of(client, "show", ids=[1])
        assert len(shown) < 21_000
        assert shown.endswith("[cut: show id 1 with offset 20000 has the rest]")
        rest = await text_of(client, "show", ids=[1], offset=99_990)
        assert rest == f"[1]\n{long.strip()[99_990:]}"
        for arguments in ({"query": "a", "k": 51}, {"query": "", "k": 1}, {"query": " "}):
            assert (await client.call_tool("search", arguments)).is_error

    talk(made, calls=calls)


def test_only_files_in_given_directories_are_read(made: Jtv) -> None:
    inside = made.write("notes/a.txt", "apples\n")
    outside = made.write("secret.txt", "oranges\n")
    link = inside.with_name("link.txt")
    link.symlink_to(outside)
    made.ok("ingest", "notes/a.txt", "secret.txt")

    async def calls(client: Any) -> None:
        found = await client.call_tool("search", {"query": "apples oranges"})
        links = [each.uri for each in found.content if each.type == "resource_link"]
        assert links == [inside.as_uri()]
        [content] = (await client.read_resource(links[0])).contents
        assert content.text == "apples\n"
        dotted = f"{inside.parent.as_uri()}/../secret.txt"
        for uri in (outside.as_uri(), dotted, link.as_uri(), "file:///etc/passwd"):
            with pytest.raises(Exception, match="not in a directory that jtv was given"):
                await client.read_resource(uri)

    talk(made, "--directory", "notes", calls=calls)

    async def without(client: Any) -> None:
        found = await client.call_tool("search", {"query": "apples oranges"})
        assert [each.type for each in found.content] == ["text"]
        with pytest.raises(Exception, match=r"(?i)resource"):
            await client.read_resource(inside.as_uri())

    talk(made, calls=without)


def test_an_agent_reads_what_is_wrong(jtv: Jtv) -> None:
    async def calls(client: Any) -> None:
        result = await client.call_tool("search", {"query": "a"})
        assert result.is_error
        assert "jtv init" in result.content[0].text

    talk(jtv, calls=calls)
    assert jtv("mcp", "--directory", "missing").code == 2


def test_without_the_extra_it_is_named(jtv: Jtv) -> None:
    program = "import sys; sys.modules['mcp'] = None; from jtv_cli.__main__ import main; main()"
    code = f"import sys; sys.argv[1:2] = []; {program}"
    result = jtv("mcp", prefix=[sys.executable, "-c", code])
    assert result.code == 2
    assert "pip install 'jtv-cli[mcp]'" in result.stderr


def test_a_snippet_has_the_answer_in_a_quarter_of_the_tokens() -> None:
    """On the labelled set, with whole files as documents."""
    kept = tokens = tokens_left = 0
    lines = (ANSWERS / "long_questions.jsonl").read_text().splitlines()
    questions = [json.loads(line) for line in lines]
    for question in questions:
        text = (ANSWERS / "long" / question["file"]).read_text().strip()
        [hit] = with_snippets([Hit(1, text)], question["question"], len(text) // 4)
        assert len(hit.content) <= len(text) // 4
        section = text.partition(f"## {question['heading']}\n")[2].partition("\n## ")[0]
        answer = " ".join(section.split())
        passages = [part.strip() for part in hit.content.split("…")]
        kept += any(part and (part[:25] in answer or part[-25:] in answer) for part in passages)
        tokens += count_tokens(text)
        tokens_left += count_tokens(hit.content)
    assert tokens_left / tokens <= 0.25
    assert kept / len(questions) >= 0.95


def count_tokens(text: str) -> int:
    """Return about how many tokens a text has: pieces of words, numbers and other characters."""
    return len(re.findall(r"[A-Za-zÀ-ɏ]{1,6}|\d{1,3}|[^A-Za-zÀ-ɏ\d\s]", text))


def test_short_texts_stay_as_they_are() -> None:
    hits = [Hit(1, "short\ttext"), Hit(2, "x" * 100)]
    short, cut = with_snippets(hits, "query", 40)
    assert short == hits[0]
    assert 20 < len(cut.content) <= 40
    assert cut.content.startswith("xxx")


def test_snippets_on_the_command_line(made: Jtv) -> None:
    text = "Bees fly far.\n\n" * 30 + "The queen lays eggs.\n\n" + "Wax melts early.\n\n" * 30
    made.write("a.jsonl", json.dumps({"text": text}))
    made.ok("ingest", "a.jsonl")
    [record] = made.ok("search", "eggs of the queen", "--snippet", "60", "--json").records
    assert len(record["content"]) <= 60
    assert "The queen lays eggs." in record["content"]
    [row] = made.ok("search", "--queries", "-", "--snippet", "60", stdin="queen eggs\n").rows
    assert "The queen lays eggs." in row[3]
    assert made("search", "a", "--snippet", "5").code == 2
