"""Every row of what an API can answer: a complete table in the end, or an honest exit code.

After an honest exit code, the same command completes the table, and pays for nothing
that was stored.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import TYPE_CHECKING

import pytest

import jina_api
import jina_faults
from jina_faults import answer, instead, raw, web_page
from jtv_cli.embedders.models import MODELS

if TYPE_CHECKING:
    from conftest import Jtv, Result
    from jina_faults import Fault
    from jina_http import Request
    from jina_server import JinaServer

LINES = [f"line {number} of the file" for number in range(1400)]


@pytest.fixture
def ready(keyed: Jtv, user_store: str) -> Jtv:  # noqa: ARG001
    keyed.ok("init")
    keyed.write("lines.txt", "\n".join(LINES))
    return keyed


def is_second(request: Request) -> bool:
    """Whether it is the batch that stands second in the file."""
    return LINES[600] in request.texts


def contents(jtv: Jtv) -> list[str]:
    return [row[2] for row in jtv.ok("list").rows]


def in_a_second() -> str:
    return format_datetime(datetime.now(timezone.utc) + timedelta(seconds=1), usegmt=True)


def limited(reply: jina_api.Reply, **headers: str) -> Fault:
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return instead(jina_api.Reply(reply.status, reply.body, {**reply.headers, **headers}))


TOKENS = jina_api.token_limit(101_274, 100_000)

PASSING: dict[str, Fault] = {
    **{str(status): answer(status, {"detail": "Later"}) for status in (408, 409, 500, 502, 503)},
    **{f"page {status}": web_page(status) for status in (504, 520, 522, 524, 525)},
    "503, with a time": answer(503, b"", {"Retry-After": "1"}),
    "dropped": raw(b""),
    "cut": jina_faults.cut,
    "no JSON": answer(200, b"{"),
    "vectors missing": jina_faults.missing_item,
    "concurrency": instead(jina_api.concurrency_limit(2)),
    "tokens, seconds": limited(TOKENS, Retry_After="1"),
    "tokens, a date": limited(TOKENS, Retry_After=in_a_second()),
    "requests": limited(jina_api.request_limit(101, 100), Retry_After="0"),
    "too large": answer(413, {"detail": "Payload too large"}),
    "too large, page": web_page(413),
    "too many": answer(422, {"detail": "Each input list can contain at most 100 items"}),
}

# Answers that were paid for, and of which nothing is left.
SPOILED = {"cut", "no JSON", "vectors missing"}

LASTING: dict[str, tuple[Fault, str]] = {
    "401": (answer(401, {"detail": "Unauthorized"}), "the API key"),
    "402": (answer(402, {"detail": "Payment required"}), "top up"),
    "403": (instead(jina_api.no_balance()), "top up"),
    "404": (answer(404, {"detail": "Not Found"}), "check JINA_API_BASE"),
}

# Answers to a request that has one bad text in it.
BAD_TEXT: dict[str, Fault] = {
    "500": answer(500, {"error": {"message": "unsupported value: NaN"}}),
    "500, too large": answer(
        500,
        {
            "error": {
                "message": "input (600 tokens) is too large to process. increase the physical"
                " batch size (current batch size: 512)"
            }
        },
    ),
    "400": answer(400, {"detail": "Bad"}),
    "400, context": answer(
        400, {"error": {"message": "request (600 tokens) exceeds the available context size"}}
    ),
    "422": answer(422, {"detail": "Bad"}),
    "422, characters": answer(
        422, {"detail": [{"msg": "String should have at most 122880 characters"}]}
    ),
    "null": jina_faults.edited(lambda payload: payload["data"][-1].update(embedding=None)),
    "zeros": jina_faults.filled(0.0),
    "NaN": jina_faults.filled(float("nan")),
    "no JSON": answer(200, b"{"),
    "vectors missing": jina_faults.missing_item,
}


@pytest.mark.parametrize("name", PASSING)
def test_what_passes_ends_in_a_complete_table(ready: Jtv, api: JinaServer, name: str) -> None:
    api.misbehave(PASSING[name], times=2, when=is_second)
    ready.ok("ingest", "lines.txt")
    assert contents(ready) == LINES
    assert sorted(set(api.bill) if name in SPOILED else api.bill) == sorted(LINES)
    assert sum(map(is_second, api.requests)) == 3


@pytest.mark.parametrize("name", LASTING)
def test_what_lasts_ends_at_once_and_keeps_what_was_paid_for(
    ready: Jtv, api: JinaServer, name: str
) -> None:
    fault, says = LASTING[name]
    api.misbehave(fault, times=None, when=is_second)
    result = ready("ingest", "lines.txt")
    assert result.code == 4
    assert says in result.error
    assert sum(map(is_second, api.requests)) == 1
    paid = set(api.bill)
    assert LINES[0] in paid
    assert contents(ready) == [line for line in LINES if line in paid]
    assert_goes_on(ready, api)


@pytest.mark.parametrize("name", BAD_TEXT)
def test_one_bad_text_is_found_named_and_skipped(ready: Jtv, api: JinaServer, name: str) -> None:
    api.misbehave(BAD_TEXT[name], times=None, when=is_second)
    for stored in (1399, 0):
        result = ready("ingest", "lines.txt")
        assert result.code == 3, result.stderr
        skipped = [line for line in result.stderr.splitlines() if line.endswith("skipped")]
        assert [line.split(":")[2:4] for line in skipped] == [[" lines.txt", "601"]]
        assert result.counts.startswith(f"{stored:,} stored, {1399 - stored:,} known")
        assert contents(ready) == [line for line in LINES if line != LINES[600]]
    assert len(api.requests) < 40


@pytest.mark.parametrize("limit", [8, 1])
def test_a_service_that_fails_for_more_texts_than_it_takes(
    ready: Jtv, api: JinaServer, limit: int
) -> None:
    ready.write("lines.txt", "\n".join(LINES[:60]))
    api.misbehave(
        answer(500, {"detail": "Out of memory"}),
        times=None,
        when=lambda request: len(request.texts) > limit,
    )
    ready.ok("ingest", "lines.txt")
    assert sorted(api.bill) == sorted(LINES[:60])
    assert contents(ready) == LINES[:60]


@pytest.mark.parametrize("status", [400, 422, 500])
def test_a_service_that_refuses_every_text_ends_it(
    ready: Jtv, api: JinaServer, status: int
) -> None:
    """Then the texts are not at fault, and none is skipped."""
    api.misbehave(answer(status, {"detail": "Bad"}), times=None)
    result = ready("ingest", "lines.txt", "--max-wait", "3")
    assert result.code == 4
    assert f"answered {status}: Bad" in result.stderr
    assert "Stored" not in result.stderr
    assert "skipped" not in result.stderr
    assert_goes_on(ready, api)


def test_a_request_that_is_never_answered_ends_with_max_wait(ready: Jtv, api: JinaServer) -> None:
    """Whatever drips in meanwhile; what else was answered is stored."""
    reply = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
    api.misbehave(jina_faults.dripping(reply, b" ", 0.1), times=None, when=is_second)
    result = ready("ingest", "lines.txt", "--max-wait", "2", "--json")
    assert result.code == 4
    assert "did not answer within 2 s" in result.stderr
    [report] = result.records
    assert 2 <= report["seconds"] < 20
    assert report["stored"] == len(api.bill) - 512 * api.bill.count(LINES[600])
    assert report["lost"] == 512


@pytest.mark.parametrize("seconds", ["inf", "1e10", "0"])
def test_a_query_waits_for_as_long_as_one_likes(ready: Jtv, api: JinaServer, seconds: str) -> None:
    ready.ok("ingest", "-", stdin="a\n")
    api.misbehave(PASSING["500"])
    result = ready("search", "a", "--max-wait", seconds)
    assert result.code == (4 if seconds == "0" else 0), result.stderr


@pytest.mark.parametrize("name", ["503", "dropped", "concurrency", "requests"])
def test_patience_has_an_end(ready: Jtv, api: JinaServer, name: str) -> None:
    api.misbehave(PASSING[name], times=None, when=is_second)
    result = ready("ingest", "lines.txt", "--max-wait", "2")
    assert result.code == 4
    assert sum(map(is_second, api.requests)) > 1
    assert set(contents(ready)) == set(api.bill)
    assert_goes_on(ready, api)


@pytest.mark.parametrize("stray", [1, 2, 5])
def test_stray_refusals_of_a_size_are_forgotten(ready: Jtv, api: JinaServer, stray: int) -> None:
    """413 for a few requests halves the batches for a while, not for the rest of the run."""
    lines = [f"line {number}" for number in range(100 * 512)]
    ready.write("many.txt", "\n".join(lines))
    api.misbehave(answer(413), times=stray)
    ready.ok("ingest", "many.txt")
    assert sorted(api.bill) == sorted(lines)
    # 100 are enough without a refusal; with each, the limit takes some answers to grow back.
    assert len(api.requests) < 100 * 2
    sizes = [len(request.texts) for request in api.requests[-10:]]
    assert max(sizes) == 512


def test_the_seconds_are_those_of_the_whole_run(ready: Jtv, api: JinaServer) -> None:
    """The time after the last answer is counted too: here, it is all there is."""
    api.misbehave(PASSING["503"], times=None)
    result = ready("ingest", "lines.txt", "--max-wait", "2", "--json")
    assert (result.code, api.bill) == (4, [])
    [report] = result.records
    # The first two pauses alone: of a quarter of a second, and of half a one, at least.
    assert report["seconds"] >= 0.75


@pytest.mark.parametrize("command", [["ingest"], ["sync", "--yes"]])
def test_as_json_it_is_reported_what_was_paid_for_before_it_failed(
    ready: Jtv, api: JinaServer, command: list[str]
) -> None:
    api.misbehave(answer(401, {"detail": "Unauthorized"}), times=None, when=is_second)
    result = ready(*command, "lines.txt", "--json")
    assert result.code == 4
    [report] = result.records
    assert report["stored"] == len(contents(ready)) > 0
    assert report["tokens"] == api.tokens > 0
    assert report["stopped"].startswith("the API key is missing or not accepted: 127.0.0.1:")
    assert report.get("removed", {"documents": 0, "occurrences": 0}) == {
        "documents": 0,
        "occurrences": 0,
    }
    assert f"jtv: error: {report['stopped']}".replace("; check", "\nhint: check") in result.stderr


def assert_goes_on(ready: Jtv, api: JinaServer) -> Result:
    """The same command completes the table; what was stored is not paid for again."""
    api.behave()
    result = ready.ok("ingest", "lines.txt")
    assert sorted(contents(ready)) == sorted(LINES)
    assert sorted(api.bill) == sorted(LINES)
    return result


def test_a_minute_is_waited_out_which_is_said_and_can_be_interrupted(
    ready: Jtv, api: JinaServer
) -> None:
    api.misbehave(instead(TOKENS), times=None, when=is_second)
    process = ready.start("ingest", "lines.txt", stderr=subprocess.PIPE)
    assert process.stderr
    # On TiDB without TiFlash, a note on its index comes first.
    said = next(line.decode() for line in process.stderr if b"waiting" in line)
    assert said.startswith("waiting 60 s: a limit is reached: 127.0.0.1:")
    assert said.endswith("101,274/100,000 tokens per minute\n")
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=10)
    assert process.returncode == 130
    assert b"run the same command to resume" in stderr
    assert_goes_on(ready, api)


def test_a_limit_of_two_at_once_makes_eight_two(ready: Jtv, api: JinaServer) -> None:
    api.concurrent, api.latency, api.max_items = 2, 0.2, 512
    ready.write("lines.txt", "\n".join(f"{number} {'word ' * 1000}" for number in range(140)))
    ready.ok("ingest", "lines.txt", "--lines", "--concurrency", "8")
    assert len(api.bill) == 140
    refused = sum(len(request.texts) for request in api.requests) - len(api.bill)
    assert refused > 0
    # Once there are as few as the limit allows, next to none is refused any more.
    paid = [request for request in api.requests if request.texts[0] in api.bill]
    assert len(paid) - len({request.texts[0] for request in paid}) < 20


@pytest.mark.parametrize("limit", [1, 7, 100])
def test_what_the_service_takes_is_remembered(ready: Jtv, api: JinaServer, limit: int) -> None:
    api.max_items = limit
    ready.write("lines.txt", "\n".join(LINES[:300]))
    ready.ok("ingest", "lines.txt", "--concurrency", "1")
    assert contents(ready) == LINES[:300]
    assert [len(request.texts) > limit for request in api.requests].count(True) == 1


def test_a_batch_of_too_many_bytes_is_remembered(ready: Jtv, api: JinaServer) -> None:
    api.misbehave(web_page(413), times=None, when=lambda request: len(request.texts) > 200)
    ready.ok("ingest", "lines.txt", "--concurrency", "1")
    assert contents(ready) == LINES
    assert [len(request.texts) > 200 for request in api.requests].count(True) <= 4


class TestOneTextTooLong:
    LONG = "mammoth " * 5000

    def lines(self) -> list[str]:
        return [*LINES[:700], self.LONG, *LINES[700:]]

    def test_it_is_found_named_and_left_out(self, ready: Jtv, api: JinaServer) -> None:
        ready.write("lines.txt", "\n".join(self.lines()))
        result = ready("ingest", "lines.txt", "--lines", "--no-chunk")
        assert result.code == 3
        assert "jtv: warning: lines.txt:701: it is too long for the model, skipped" in result.stderr
        assert result.counts.startswith("1,400 stored, 0 known, 0 empty, 1 skipped")
        assert contents(ready) == LINES
        assert sorted(api.bill) == sorted(LINES)

    def test_though_nothing_told_that_it_is(self, ready: Jtv, api: JinaServer) -> None:
        """The service counts otherwise than we do, and the culprit must be searched for."""
        too_long = jina_api.too_long(MODELS["jina-embeddings-v2-base-en"])
        api.misbehave(
            instead(too_long), times=None, when=lambda request: LINES[700] in request.texts
        )
        result = ready("ingest", "lines.txt", "--lines", "--no-chunk")
        assert result.code == 3
        assert "jtv: warning: lines.txt:701: it is too long for the model, skipped" in result.stderr
        assert contents(ready) == [line for line in LINES if line != LINES[700]]
        assert len(api.requests) < 24

    def test_everywhere_it_was_read(self, ready: Jtv, api: JinaServer) -> None:
        uncut = ("--lines", "--no-chunk")
        result = ready("ingest", "-", *uncut, stdin=f"a\n{self.LONG}\nb\n{self.LONG}\n")
        assert result.code == 3
        assert [line for line in result.stderr.splitlines() if "skipped" in line][:2] == [
            "jtv: warning: -:2: it is too long for the model, skipped",
            "jtv: warning: -:4: it is too long for the model, skipped",
        ]
        assert result.counts.startswith("2 stored, 0 known, 0 empty, 2 skipped")
        assert sorted(api.bill) == ["a", "b"]

    def test_several_are_named_in_the_order_of_the_input(self, ready: Jtv) -> None:
        lines = "".join(f"{'mammoth ' * many}\n" for many in (5000, 1, 4500))
        uncut = ("--lines", "--no-chunk", "--concurrency", "1")
        result = ready("ingest", "-", *uncut, stdin=lines)
        named = [line[:18] for line in result.stderr.splitlines() if line.endswith("skipped")]
        assert named == ["jtv: warning: -:1:", "jtv: warning: -:3:"]

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [(["search"], "the query is"), (["search", "--queries", "-"], "one of these queries is")],
    )
    def test_a_query_is(self, ready: Jtv, arguments: list[str], says: str) -> None:
        given = [self.LONG] if len(arguments) == 1 else []
        result = ready(*arguments, *given, stdin=f"short\n{self.LONG}\n")
        assert result.code == 4
        said = "too long for model jina-embeddings-v2-base-en, which takes 8,192 tokens"
        assert result.stderr == f"jtv: error: {says} {said}\nhint: shorten it\n"

    def test_truncated_it_is_stored(self, ready: Jtv, api: JinaServer) -> None:
        ready.write("lines.txt", "\n".join(self.lines()))
        ready.ok("ingest", "lines.txt", "--truncate")
        assert contents(ready) == [line.strip() for line in self.lines()]
        assert all(request.body["truncate"] is True for request in api.requests)

    def test_strictly_it_ends_there(self, ready: Jtv, api: JinaServer) -> None:
        api.latency = 0.3
        ready.write("lines.txt", "\n".join(self.lines() * 3))
        result = ready("ingest", "lines.txt", "--lines", "--no-chunk", "--strict")
        assert result.code == 3
        assert "stopped before the end: --strict, at lines.txt:701" in result.stderr
        assert set(contents(ready)) == set(api.bill)
        assert "skipped" in result.counts


@pytest.mark.parametrize("command", [("search", "a"), ("ingest", "lines.txt")])
def test_a_name_lookup_that_hangs_ends_with_max_wait(jtv: Jtv, command: tuple[str, ...]) -> None:
    jtv.environment |= {"JINA_API_KEY": "key", "JINA_API_BASE": "https://api.example.com/v1"}
    jtv.ok("init")
    jtv.write("lines.txt", "a\n")
    script = (
        "import socket, sys, threading\n"
        "socket.getaddrinfo = lambda *_, **__: threading.Event().wait()\n"
        "from jtv_cli.__main__ import main\n"
        "sys.argv[:2] = ['jtv']\n"
        "main()\n"
    )
    result = jtv(*command, "--max-wait", "1", prefix=[sys.executable, "-c", script])
    assert result.code == 4
    assert "did not answer" in result.error
