"""How many round trips follow one another in a command on TiDB; see `round_trips`."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from conftest import SAMPLE_TEXTS
from round_trips import Network
from tidb_cluster import Cluster

if TYPE_CHECKING:
    from conftest import Jtv
    from jina_server import JinaServer


@pytest.fixture
def user(jtv: Jtv, tiflash_tidb: str) -> Jtv:
    """A user with an indexed table of the sample texts, made with a built-in model."""
    jtv.environment |= {"TIDB_DATABASE_URL": tiflash_tidb, "JTV_MODEL": "hashing-v1"}
    jtv.ok("init")
    jtv.ok("ingest", str(SAMPLE_TEXTS))
    return jtv


def count(jtv: Jtv, *arguments: str, api: JinaServer | None = None) -> float:
    """Return the round trips of a command to the user's database, and to the API."""
    server = Cluster(jtv.environment["TIDB_DATABASE_URL"])
    with Network() as network:
        port = network.relay(server.host, server.port)
        url = jtv.environment["TIDB_DATABASE_URL"].replace(f":{server.port}/", f":{port}/")
        variables = {"TIDB_DATABASE_URL": url}
        if api is not None:
            place = urlsplit(api.url)
            port = network.relay(place.hostname or "", place.port or 0)
            variables["JINA_API_BASE"] = api.url.replace(f":{place.port}", f":{port}")
        process = jtv.start(
            *arguments, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        trips = network.count(process)
        _, stderr = process.communicate()
        assert process.returncode == 0, stderr.decode()
    return trips


@pytest.mark.parametrize(
    ("command", "most"),
    [
        # Of these, 2.5 are TCP, the server's greeting and the login.
        ("list", 4.5),
        ("list animals", 4.5),
        ("search animals", 4.5),
        ("search animals --exact", 4.5),
        (f"ingest {SAMPLE_TEXTS}", 6),
        ("init", 8),
        ("doctor --no-api", 10),
    ],
)
def test_round_trips(user: Jtv, command: str, most: float) -> None:
    assert count(user, *command.split()) <= most


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
    api_user: Jtv, api: JinaServer, command: str, most: float
) -> None:
    assert count(api_user, *command.split(), api=api) <= most
