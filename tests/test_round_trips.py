"""How many round trips follow one another in a command on TiDB; see `round_trips`."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from conftest import SAMPLE_TEXTS, Jtv
from openai_server import OpenAIServer
from round_trips import Network
from tidb_cluster import Cluster

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jina_server import JinaServer


@pytest.fixture
def user(jtv: Jtv, tiflash_tidb: str) -> Jtv:
    """A user with an indexed table of the sample texts, made with a built-in model."""
    jtv.environment |= {"TIDB_DATABASE_URL": tiflash_tidb, "JTV_MODEL": "hashing-v1"}
    jtv.ok("init")
    jtv.ok("ingest", str(SAMPLE_TEXTS))
    return jtv


class Remote:
    """The user's database, and perhaps the API, as if they were far away."""

    def __init__(self, network: Network, user: Jtv, api: JinaServer | None = None) -> None:
        self._network = network
        self._user = user
        url = user.environment["TIDB_DATABASE_URL"]
        server = Cluster(url)
        port = network.relay(server.host, server.port)
        self._variables = {"TIDB_DATABASE_URL": url.replace(f":{server.port}/", f":{port}/")}
        if api is not None:
            place = urlsplit(api.url)
            port = network.relay(place.hostname or "", place.port or 0)
            self._variables["JINA_API_BASE"] = api.url.replace(f":{place.port}", f":{port}")

    def count(self, *arguments: str) -> float:
        """Return the round trips of a command, which must succeed."""
        process = self._user.start(
            *arguments, env=self._variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        trips = self._network.count(process)
        _, stderr = process.communicate()
        assert process.returncode == 0, stderr.decode()
        return trips


@pytest.fixture
def network() -> Iterator[Network]:
    with Network() as network:
        yield network


@pytest.mark.parametrize(
    ("command", "most"),
    [
        # Of these, 2.5 are TCP, the server's greeting and the login.
        ("list", 4.5),
        ("list animals", 4.5),
        ("search animals", 4.5),
        ("search animals --exact", 4.5),
        (f"ingest {SAMPLE_TEXTS}", 5.5),
        ("init", 8),
        ("doctor --no-api", 10),
    ],
)
def test_round_trips(user: Jtv, network: Network, command: str, most: float) -> None:
    assert Remote(network, user).count(*command.split()) <= most


@pytest.mark.parametrize(
    # A statement is prepared for 81 documents of 768 dimensions, once. What is left over goes in
    # a round trip of its own.
    ("lines", "most"),
    [(100, 2), (512, 4)],
)
def test_a_batch_of_new_lines_takes_few_round_trips(
    user: Jtv, network: Network, lines: int, most: float
) -> None:
    """They are the documents, with the beginning of the transaction, and the rest, with its end."""
    user.write("new.txt", "".join(f"new {number}\n" for number in range(lines)))
    # To log in takes 2.5, to open the table 1, to record the file 3, to look up the lines 1.
    assert Remote(network, user).count("ingest", "new.txt") <= 2.5 + 1 + 3 + 1 + most


def test_small_batches_are_stored_together(jtv: Jtv, tiflash_tidb: str, network: Network) -> None:
    """While the first two batches, of 32 texts, are stored, others are answered."""
    jtv.environment["TIDB_DATABASE_URL"] = tiflash_tidb
    with OpenAIServer() as api:
        served = ("--api-base", api.url, "--no-key")
        jtv.ok("init", "--model", api.name, *served)
        jtv.write("new.txt", "".join(f"new {number}\n" for number in range(640)))
        trips = Remote(network, jtv).count("ingest", "new.txt", *served)
    # Before, as above. Each of at most three transactions may insert more than fits into one
    # statement; ten of 64 texts each would take 20 round trips.
    assert trips <= 2.5 + 1 + 3 + 1 + 3 * 4


def test_many_queries_take_few_round_trips(user: Jtv, network: Network) -> None:
    """64 are sent together, over several connections, which have to log in."""
    user.write("queries.txt", "".join(f"animals {number}\n" for number in range(192)))
    assert (
        Remote(network, user).count("search", "--queries", "queries.txt", "-k", "1")
        <= 3.5 + 2.5 + 192 / 64
    )


@pytest.fixture
def api_user(jtv: Jtv, keyed: Jtv, tiflash_tidb: str) -> Jtv:  # noqa: ARG001
    """A user with an indexed table of the sample texts, made with the API."""
    jtv.environment["TIDB_DATABASE_URL"] = tiflash_tidb
    jtv.ok("init")
    jtv.ok("ingest", str(SAMPLE_TEXTS))
    return jtv


@pytest.mark.parametrize(
    ("command", "most"), [(f"ingest {SAMPLE_TEXTS}", 6), ("doctor", 12)], ids=["ingest", "doctor"]
)
def test_round_trips_with_the_api(
    api_user: Jtv, api: JinaServer, network: Network, command: str, most: float
) -> None:
    assert Remote(network, api_user, api).count(*command.split()) <= most


@pytest.mark.parametrize("command", ["search", "list"])
def test_a_query_is_embedded_while_a_remembered_table_is_opened(
    api_user: Jtv, api: JinaServer, network: Network, command: str
) -> None:
    remote = Remote(network, api_user, api)
    assert remote.count(command, "animals") == 6.5
    requests = len(api.requests)
    assert remote.count(command, "animals") <= 4.5
    assert len(api.requests) == requests + 1


def test_what_is_remembered_of_a_table_may_be_out_of_date(
    api_user: Jtv, api: JinaServer, tmp_path: Path
) -> None:
    """Somebody else drops the table and creates it with other models."""
    api_user.ok("search", "animals")
    (tmp_path / "other/home").mkdir(parents=True)
    (tmp_path / "other/work").mkdir()
    other = Jtv(tmp_path / "other", dict(api_user.environment))
    for model in ("jina-embeddings-v3", "hashing-v1"):
        other.ok("init", "--drop", "--yes", "--model", model)
        other.ok("ingest", str(SAMPLE_TEXTS))
        requests = len(api.requests)
        found = api_user.ok("search", "animals").stdout
        # One request with the old model may be wasted.
        assert len(api.requests) - requests <= (2 if model.startswith("jina") else 1)
        assert found == other.ok("search", "animals").stdout
        assert found == api_user.ok("search", "animals").stdout


def test_a_search_for_words_sends_nothing_ahead(api_user: Jtv, api: JinaServer) -> None:
    api_user.ok("search", "animals")
    requests = len(api.requests)
    api_user("search", "animals", "--keyword")
    assert len(api.requests) == requests


def test_a_remembered_table_that_is_gone(api_user: Jtv, tiflash_tidb: str) -> None:
    api_user.ok("search", "animals")
    Cluster(tiflash_tidb).execute("DROP TABLE jinaai_tidb_demo_documents")
    result = api_user("search", "animals")
    assert result.code == 5
    assert result.is_one_error


@pytest.mark.parametrize("content", ["", "[]", "{", '{"name": "x"}', '{"recipe": {"pooling": 1}}'])
def test_a_cache_that_cannot_be_read_is_none(api_user: Jtv, content: str) -> None:
    expected = api_user.ok("search", "animals").stdout
    [cached] = (api_user.folder / "home/.cache/jtv/tables").iterdir()
    assert "@" not in cached.read_text()
    cached.write_text(content)
    assert api_user.ok("search", "animals").stdout == expected
