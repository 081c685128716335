"""What all tests share: a home of their own, the real console script, an API stand-in, TiDB."""

from __future__ import annotations

import functools
import gc
import json
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import threading
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import pytest

# The workers share the cores, so that BLAS with as many threads would only take turns. What
# the tests start does not inherit this.
with pytest.MonkeyPatch.context() as _patch:
    _patch.setenv("OPENBLAS_NUM_THREADS", "1")
    import numpy as np  # noqa: F401

import sentence_model
import tidb_cluster
from fork_server import ForkServer
from jina_server import JinaServer
from jtv_cli.config import NAMES
from jtv_cli.embedders.weights import DOWNLOADS
from jtv_cli.stores import open_store
from jtv_cli.stores.sqlite import index
from model_hub import Hub
from tables import make
from tidb_cluster import Cluster, NoServerError, TidbServer

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence

    from jtv_cli.stores import Store, Table

    OpenStore = Callable[[], Store]

SCRIPT = Path(sys.executable).with_name("jtv")
SAMPLE_TEXTS = Path(__file__).parent.parent / "sample_texts.txt"


_starting = threading.Lock()


def fork_server() -> ForkServer:
    """Return the one fork server of this process, for any thread of it."""
    with _starting:
        return _fork_server()


_fork_server = functools.cache(ForkServer)


def processor_seconds() -> float:
    """Return the processor time of all processes that were started here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime + (fork_server().seconds if Jtv.can_fork else 0)


class Prepare(Protocol):
    """Gives a user the home that these commands leave."""

    def __call__(self, jtv: Jtv, *commands: tuple[str, ...], stdin: str | None = None) -> Jtv: ...


@dataclass(frozen=True)
class Result:
    """How a run ended. stdout and stderr are text; their bytes stand beside them."""

    code: int
    raw_stdout: bytes
    raw_stderr: bytes

    @property
    def stdout(self) -> str:
        return self.raw_stdout.decode()

    @property
    def stderr(self) -> str:
        return self.raw_stderr.decode()

    @property
    def rows(self) -> list[list[str]]:
        """The fields of every tab-separated line."""
        return [line.split("\t") for line in self.stdout.splitlines()]

    @property
    def records(self) -> list[dict[str, Any]]:
        """Every line as JSON."""
        return [json.loads(line) for line in self.stdout.splitlines()]

    @property
    def counts(self) -> str:
        """What an ingest, an import or a copy says it did: see `ingest_counts`."""
        is_transfer = "new occurrence" in self.stderr
        return transfer_counts(self.stderr) if is_transfer else ingest_counts(self.stderr)

    @property
    def error(self) -> str:
        """The last error on stderr, with its hint and what comes after it."""
        _, label, rest = self.stderr.rpartition("jtv: error: ")
        assert label, self.stderr
        return (label + rest).rstrip("\n")

    @property
    def is_one_error(self) -> bool:
        """Whether stderr is one error, with or without a hint, and nothing else."""
        pattern = r"jtv: error: [^\n]+\n(hint: [^\n]+\n)?"
        return re.fullmatch(pattern, self.stderr) is not None

    @property
    def last_line(self) -> str:
        """The last line on stderr."""
        return self.stderr.splitlines()[-1]


def ingest_counts(text: str) -> str:
    """Return the counts of the one ingest summary in a text, without the seconds."""
    [found] = re.findall(
        r"Stored ([\d,]+) new documents? \(([\d,]+) already stored, ([\d,]+) skipped"
        r"(?:, ([\d,]+) empty lines?)?\) in [\d.,]+ s, ([\d,]+) tokens?\b",
        text,
    )
    stored, known, skipped, empty, tokens = found
    return f"{stored} stored, {known} known, {empty or 0} empty, {skipped} skipped, {tokens} tokens"


def transfer_counts(text: str) -> str:
    """Return the counts of the last summary of an import or a copy in a text."""
    *_, found = re.findall(
        r"Stored ([\d,]+) new documents? \(([\d,]+) already stored, ([\d,]+) skipped\),"
        r" ([\d,]+) new occurrences?",
        text,
    )
    stored, known, skipped, occurrences = found
    plural = "" if occurrences == "1" else "s"
    skips = "" if skipped == "0" else f", {skipped} skipped"
    return f"{stored} stored, {known} known, {occurrences} new occurrence{plural}{skips}"


@dataclass
class Jtv:
    """Runs the console script as a user would, with nothing of the tester's own settings."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    can_fork: ClassVar[bool] = True
    """Whether commands that need no Python of their own are run by the fork server."""

    @property
    def data_folder(self) -> Path:
        return self.folder / "home/.local/share/jtv"

    @property
    def database(self) -> Path:
        """The default store."""
        return self.data_folder / "jtv.db"

    def variables(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        clean = {
            name: value
            for name, value in os.environ.items()
            if name not in (*NAMES, "HF_ENDPOINT", "NO_COLOR", "COLUMNS", "LINES", "TERM")
            and not name.startswith("XDG_")
        }
        own = {"HOME": str(self.folder / "home"), "PYTHONWARNINGS": "error"}
        return clean | own | self.environment | dict(more or {})

    def start(
        self,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
        **options: Any,
    ) -> subprocess.Popen[bytes]:
        """Start a command; `prefix` is a program that runs it."""
        options = {"cwd": self.folder / "work", "stdin": subprocess.DEVNULL, **options}
        command = [*prefix, str(SCRIPT), *arguments]
        variables = self.variables(env)
        if self.can_fork and not prefix and fork_server().can_run(variables, options):
            return fork_server().start(command, env=variables, **options)
        process: subprocess.Popen[bytes] = subprocess.Popen(command, env=variables, **options)
        return process

    def __call__(
        self,
        *arguments: str,
        stdin: bytes | str | None = None,
        env: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Result:
        given = stdin.encode() if isinstance(stdin, str) else stdin
        process = self.start(
            *arguments,
            env=env,
            stdin=subprocess.DEVNULL if given is None else subprocess.PIPE,
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options,
        )
        stdout, stderr = process.communicate(given, timeout=120)
        return Result(process.returncode, stdout or b"", stderr or b"")

    def ok(self, *arguments: str, **options: Any) -> Result:
        """Run a command that must succeed."""
        result = self(*arguments, **options)
        assert result.code == 0, result.stderr
        return result

    def write(self, name: str, content: str | bytes) -> Path:
        """Write a file into the working folder."""
        path = self.folder / "work" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path


@pytest.fixture
def jtv(tmp_path: Path) -> Jtv:
    """A user with an empty home and an empty working folder."""
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    return Jtv(tmp_path)


@pytest.fixture
def as_a_user() -> list[str]:
    """A prefix under which rights of files count, for root too.

    Root without these two capabilities is held to the mode of a file like anyone.
    """
    if os.geteuid() != 0:
        return []
    return [sys.executable, str(Path(__file__).with_name("as_a_user.py"))]


@pytest.fixture(params=["embedded", pytest.param("tidb", marks=pytest.mark.tidb)])
def user_store(request: pytest.FixtureRequest, jtv: Jtv) -> str:
    """Each of the stores in turn, which is then the user's."""
    if request.param == "tidb":
        jtv.environment["JTV_DATABASE"] = request.getfixturevalue("tidb")
    return str(request.param)


@pytest.fixture
def on_each_store(jtv: Jtv, user_store: str) -> Jtv:  # noqa: ARG001
    """A user of each kind of store, who works offline."""
    jtv.environment["JTV_MODEL"] = "hashing-v1"
    return jtv


@pytest.fixture
def same_rotations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has every index rotate vectors in the same ways, so that recall is the same each time."""
    chance = random.Random(0)
    monkeypatch.setattr(index, "os", SimpleNamespace(urandom=chance.randbytes))


@pytest.fixture(scope="session")
def prepare(tmp_path_factory: pytest.TempPathFactory) -> Prepare:
    """Runs commands for a new user once, and gives every later user a copy of their home.

    For commands whose outcome does not depend on the working directory.
    """
    homes: dict[object, Path] = {}

    def prepare_user(jtv: Jtv, *commands: tuple[str, ...], stdin: str | None = None) -> Jtv:
        key = commands, stdin, tuple(sorted(jtv.environment.items()))
        if key not in homes:
            first = Jtv(tmp_path_factory.mktemp("prepared"), jtv.environment)
            (first.folder / "work").mkdir()
            for command in commands:
                first.ok(*command, stdin=stdin if "-" in command else None)
            homes[key] = first.folder / "home"
        shutil.copytree(homes[key], jtv.folder / "home", dirs_exist_ok=True)
        return jtv

    return prepare_user


@pytest.fixture
def made(jtv: Jtv, prepare: Prepare) -> Jtv:
    """A user with an empty table."""
    return prepare(jtv, ("init",))


@pytest.fixture
def sampled(jtv: Jtv, prepare: Prepare) -> Jtv:
    """A user who has stored the sample texts with the built-in embedder."""
    return prepare(jtv, ("init",), ("ingest", str(SAMPLE_TEXTS)))


@pytest.fixture(scope="session")
def models() -> Path:
    """A directory of models with the sentence model in it."""
    try:
        return sentence_model.models_directory()
    except sentence_model.NoWeightsError as error:
        pytest.skip(f"no weights of {sentence_model.NAME}: {error}")


@pytest.fixture
def real_hub(models: Path) -> Iterator[Hub]:
    """A stand-in that has the real weights."""
    offered = DOWNLOADS[sentence_model.NAME]
    prefix = f"/{offered.repository}/resolve/{offered.revision}/"
    files = {
        prefix + file.name: (models / sentence_model.NAME / file.name).read_bytes()
        for file in offered.files
    }
    with Hub(files) as hub:
        yield hub


@pytest.fixture
def api() -> Iterator[JinaServer]:
    """The API stand-in."""
    with JinaServer() as server:
        yield server


@pytest.fixture
def keyed(jtv: Jtv, api: JinaServer) -> Jtv:
    """A user with an API key, whose API is the stand-in."""
    jtv.environment |= {"JINA_API_KEY": api.key or "", "JINA_API_BASE": api.url}
    return jtv


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--tidb",
        action="store_true",
        help="run the tests marked tidb too, on a TiDB that is built with Go the first time "
        "(JTV_TEST_TIDB_URL: on a cluster of your own, where that will do)",
    )
    parser.addoption(
        "--fresh",
        action="store_true",
        help="start a new Python for every command, instead of forking one that has imported jtv",
    )
    parser.addoption("--long", action="store_true", help="run the tests marked long too")


def pytest_configure(config: pytest.Config) -> None:
    Jtv.can_fork = sys.platform == "linux" and not config.getoption("--fresh")
    config.addinivalue_line("markers", "long: takes minutes, so runs with --long only")
    config.addinivalue_line("markers", "tidb: needs a real TiDB, so runs with --tidb only")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tidb_program" in getattr(item, "fixturenames", ()):
            item.add_marker("tidb")


@pytest.hookimpl(optionalhook=True, wrapper=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> Generator[None, int, int]:
    """Start two workers per core, because tests wait for half of their time.

    With TiDB, fewer: each worker starts servers of its own, of half a gigabyte each.
    """
    workers = yield
    return workers + (workers + 1) // 2 if config.getoption("--tidb") else 2 * workers


def pytest_collection_finish() -> None:
    """Have later garbage collections pass over the thousands of tests, which stay anyway."""
    gc.collect()
    gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("tidb") and not item.config.getoption("--tidb"):
        pytest.skip("needs a real TiDB: --tidb")
    if item.get_closest_marker("long") and not item.config.getoption("--long"):
        pytest.skip("takes minutes: --long")


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest
) -> None:
    """Fail a test that asks for TiDB by a name only known when it runs, without the mark."""
    if fixturedef.argname == "tidb_program" and not request.config.getoption("--tidb"):
        pytest.fail(f"{request.node.nodeid} needs the mark tidb", pytrace=False)


@pytest.fixture(scope="session")
def tidb_program(pytestconfig: pytest.Config) -> Callable[[], Path]:
    """Finds or builds the server of the tests. Whatever needs a real TiDB is built on this."""
    plugin = pytestconfig.pluginmanager.getplugin

    def say(line: str) -> None:
        with plugin("capturemanager").global_and_fixture_disabled():
            plugin("terminalreporter").write_line(f"\n{line}")

    def program() -> Path:
        try:
            return tidb_cluster.binary(say)
        except NoServerError as error:
            reason = str(error)
        pytest.fail(reason, pytrace=False)

    return program


@pytest.fixture(scope="session")
def tidb_server(tidb_program: Callable[[], Path]) -> Iterator[Cluster]:
    """Any TiDB: the one that JTV_TEST_TIDB_URL names, or one without TiFlash and TLS."""
    if own := os.environ.get("JTV_TEST_TIDB_URL"):
        yield Cluster(own)
    else:
        with TidbServer(tidb_program()) as server:
            yield server


@pytest.fixture(scope="session")
def plain_server(tidb_server: Cluster, tidb_program: Callable[[], Path]) -> Iterator[TidbServer]:
    """A TiDB without TiFlash and TLS, whatever JTV_TEST_TIDB_URL names."""
    if isinstance(tidb_server, TidbServer):
        yield tidb_server
    else:
        with TidbServer(tidb_program()) as server:
            yield server


@pytest.fixture(scope="session")
def tiflash_server(tidb_program: Callable[[], Path]) -> Iterator[TidbServer]:
    """A TiDB with two nodes of the stand-in TiFlash."""
    with TidbServer(tidb_program(), tiflash=2) as server:
        yield server


@pytest.fixture(scope="session")
def certificates(
    tidb_program: Callable[[], Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder of certificates: see `make_certificates`."""
    folder = tmp_path_factory.mktemp("certificates")
    return tidb_cluster.make_certificates(tidb_program(), folder)


@pytest.fixture(scope="session")
def tls_server(tidb_program: Callable[[], Path], certificates: Path) -> Iterator[TidbServer]:
    """A TiDB that speaks TLS and knows clients' certificates."""
    with TidbServer(tidb_program(), certificates=certificates) as server:
        yield server


@pytest.fixture
def start_tidb(tidb_program: Callable[[], Path]) -> Iterator[Callable[..., TidbServer]]:
    """Starts servers for one test, to kill and restart; takes the options of TidbServer."""
    with ExitStack() as servers:
        yield lambda **options: servers.enter_context(TidbServer(tidb_program(), **options))


@pytest.fixture
def tidb(tidb_server: Cluster) -> Iterator[str]:
    """The URL of an empty database on `tidb_server`."""
    with tidb_server.database() as url:
        yield url


@pytest.fixture
def plain_tidb(plain_server: TidbServer) -> Iterator[str]:
    """The URL of an empty database on `plain_server`, which is reset afterwards."""
    with plain_server.database() as url:
        yield url


@pytest.fixture
def tiflash_tidb(tiflash_server: TidbServer) -> Iterator[str]:
    """The URL of an empty database on `tiflash_server`, which is reset afterwards."""
    with tiflash_server.database() as url:
        yield url


@pytest.fixture
def tls_tidb(tls_server: TidbServer) -> Iterator[str]:
    """The URL, without ssl keys, of an empty database on `tls_server`, reset afterwards."""
    with tls_server.database() as url:
        yield url


@pytest.fixture(params=["embedded", pytest.param("tidb", marks=pytest.mark.tidb)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store of each kind, with nothing in it."""
    if request.param == "embedded":
        return str(tmp_path / "jtv.db")
    url: str = request.getfixturevalue("tidb")
    return url


@pytest.fixture
def open_one(database: str) -> Iterator[OpenStore]:
    """Opens the same store anew each time, as another process would."""
    opened: list[Store] = []

    def open_it() -> Store:
        opened.append(open_store(database, writable=True))
        return opened[-1]

    yield open_it
    for store in opened:
        store.close()


@pytest.fixture
def store(open_one: OpenStore) -> Store:
    return open_one()


@pytest.fixture
def table(store: Store) -> Table:
    return make(store)
