"""Commands on a TiDB and an API that are far away, beside the tutorial's own script.

    python benchmarks/network.py [--delays 0 20 100 200] [--write]

Round trips are counted, and the whole processes timed with each of the delays, by
relays without TLS. The server is the one of the tests, and the API's stand-in replies at once.
The tutorial's script embeds with one request, as jtv does, and uses SQLAlchemy's ORM.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from socket import SHUT_RDWR, create_connection, create_server, socket
from threading import Thread
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from timing import JTV, machine

sys.path.append(str(Path(__file__).parent.parent / "tests"))

import tidb_cluster
from jina_server import JinaServer
from round_trips import Network

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "performance.md"
BEGIN, END = "<!-- network: begin -->\n", "<!-- network: end -->"
TEXTS = str(HERE.parent / "sample_texts.txt")
ROUNDS = 2
NEW = "new.txt"

TUTORIAL = """
import os, sys
import requests
from sqlalchemy import Column, Integer, String, create_engine
from sqlalchemy.orm import Session, declarative_base
from tidb_vector.sqlalchemy import VectorType

def embed(texts):
    answer = requests.post(
        os.environ["JINA_API_BASE"] + "/v1/embeddings",
        headers={"Authorization": "Bearer " + os.environ["JINA_API_KEY"]},
        json={"input": texts, "model": "jina-embeddings-v2-base-en"},
    )
    return [each["embedding"] for each in answer.json()["data"]]

Base = declarative_base()

class Document(Base):
    __tablename__ = "tutorial"
    id = Column(Integer, primary_key=True)
    content = Column(String(255), nullable=False)
    content_vec = Column(VectorType(dim=768))

engine = create_engine(os.environ["TIDB_DATABASE_URL"])
if sys.argv[1] != "search":
    Base.metadata.create_all(engine)
if sys.argv[1] == "ingest":
    texts = open(sys.argv[2]).read().splitlines()
    with Session(engine) as session:
        session.add_all(
            Document(content=text, content_vec=vector)
            for text, vector in zip(texts, embed(texts))
        )
        session.commit()
if sys.argv[1] == "search":
    with Session(engine) as session:
        [query] = embed([sys.argv[2]])
        distance = Document.content_vec.cosine_distance(query).label("distance")
        for document, distance in session.query(Document, distance).order_by(distance).limit(5):
            print(distance, document.content)
"""

COMMANDS = {
    "init, the table exists": (["init"], ["init"]),
    "ingest 100 new lines": (["ingest", NEW], ["ingest", NEW]),
    "ingest 34 stored lines": (["ingest", TEXTS], None),
    "search": (["search", "animals"], ["search", "animals"]),
    "list 5 documents": (["list", "--limit", "5"], None),
}


class Relay:
    """A port that stands for a server, with half a delay each way."""

    def __init__(self, host: str, port: int, delay: float) -> None:
        self._address, self._delay = (host, port), delay
        self._listener = create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            server = create_connection(self._address)
            # TCP itself takes a round trip, which a connection to this port does not.
            ready = time.monotonic() + self._delay
            for source, target in ((client, server), (server, client)):
                pieces: SimpleQueue[tuple[float, bytes]] = SimpleQueue()
                Thread(target=self._receive, args=(source, pieces, ready), daemon=True).start()
                Thread(target=self._send, args=(target, pieces), daemon=True).start()

    def _receive(
        self, source: socket, pieces: SimpleQueue[tuple[float, bytes]], ready: float
    ) -> None:
        data = b"."
        while data:
            data = b""
            with suppress(OSError):
                data = source.recv(1 << 20)
            pieces.put((max(time.monotonic(), ready) + self._delay / 2, data))

    def _send(self, target: socket, pieces: SimpleQueue[tuple[float, bytes]]) -> None:
        with suppress(OSError):
            while True:
                due, data = pieces.get()
                time.sleep(max(0.0, due - time.monotonic()))
                if not data:
                    target.shutdown(SHUT_RDWR)
                    return
                target.sendall(data)


class Bench:
    """A database, an API, and a directory of the user's."""

    def __init__(self, url: str, api: JinaServer, directory: Path) -> None:
        self._url, self._api, self._directory = url, api, directory
        self._run = 0

    def environment(self, relay: Callable[[str, int], int]) -> dict[str, str]:
        """Return variables with which both servers are reached through relays."""
        places = [urlsplit(self._url), urlsplit(self._api.url)]
        database, api = (
            url.replace(f":{place.port}", f":{relay(place.hostname or '', place.port or 0)}")
            for url, place in zip((self._url, self._api.url), places, strict=True)
        )
        home = str(self._directory)
        return {
            **{name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ},
            "HOME": home,
            "TIDB_DATABASE_URL": database,
            "JINA_API_BASE": api,
            "JINA_API_KEY": self._api.key or "",
        }

    def start(
        self, command: Sequence[str], variables: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        """Start a command; lines that are new are new each time."""
        self._run += 1
        lines = (f"line {number} of run {self._run}\n" for number in range(100))
        (self._directory / NEW).write_text("".join(lines))
        return subprocess.Popen(
            command,
            cwd=self._directory,
            env=variables,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def trips(self, command: Sequence[str]) -> float:
        """Return the round trips that follow one another, once jtv remembers the table."""
        with Network() as network:
            variables = self.environment(network.relay)
            network.count(self.start(command, variables))
            return network.count(self.start(command, variables))

    def seconds(self, command: Sequence[str], delay: int) -> float:
        """Return the shortest time of some runs, with a delay in milliseconds."""
        variables = self.environment(lambda host, port: Relay(host, port, delay / 1000).port)
        best = float("inf")
        for _ in range(ROUNDS):
            started = time.perf_counter()
            if self.start(command, variables).wait():
                sys.exit(f"failed: {' '.join(command)}")
            best = min(best, time.perf_counter() - started)
        return best


def rows(bench: Bench, delays: Sequence[int]) -> Iterator[str]:
    """Yield the lines of the table."""
    yield _row("command", "", "round trips", *(f"{delay} ms" for delay in delays))
    yield "|---|---|---|" + "---|" * len(delays)
    for name, (jtv, tutorial) in COMMANDS.items():
        ways = {"jtv": [JTV, *jtv]}
        if tutorial is not None:
            ways["tutorial"] = [sys.executable, "-c", TUTORIAL, *tutorial]
        for way, command in ways.items():
            bench.start(command, bench.environment(lambda _, port: port)).wait()
            times = (f"{bench.seconds(command, delay):.2f} s" for delay in delays)
            yield _row(name, way, f"{bench.trips(command):g}", *times)


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the table to docs/")
    parser.add_argument(
        "--delays", type=int, nargs="*", default=(0, 20, 100, 200), help="of a round trip, in ms"
    )
    arguments = parser.parse_args()
    program = tidb_cluster.binary(print)
    with (
        tidb_cluster.TidbServer(program, tiflash=1) as server,
        server.database() as url,
        JinaServer() as api,
        tempfile.TemporaryDirectory() as directory,
    ):
        bench = Bench(url, api, Path(directory))
        for command in ([JTV, "init"], [JTV, "ingest", TEXTS]):
            bench.start(command, bench.environment(lambda _, port: port)).wait()
        print(machine())
        found = []
        for row in rows(bench, arguments.delays):
            print(row, flush=True)
            found.append(row)
    if arguments.write:
        before, rest = PAGE.read_text("utf-8").split(BEGIN)
        table = "\n".join(found)
        PAGE.write_text(f"{before}{BEGIN}{table}\n{END}{rest.split(END)[1]}", "utf-8")


if __name__ == "__main__":
    main()
