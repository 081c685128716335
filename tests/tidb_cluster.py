"""A real TiDB for the tests, built from `tidb_server/` once and run as a process of its own.

    with TidbServer(binary(print), tiflash=2) as server:
        server.execute("CREATE DATABASE d")
        server.set_index("building")
        ... server.url("d"), server.kill(), server.restart() ...

By hand: python tests/tidb_cluster.py --tiflash 2
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qs, quote, unquote, urlsplit
from uuid import uuid4

import pymysql

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SOURCES = Path(__file__).with_name("tidb_server")
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jtv-tests"
VERSION = "v8.5.4"
BUILD = (
    "build",
    "-trimpath",
    "-ldflags",
    f"-s -w -X github.com/pingcap/tidb/pkg/parser/mysql.TiDBReleaseVersion={VERSION}",
)
SECONDS_TO_START = 120  # takes 1 to 2 where nothing else runs
SECONDS_TO_KEEP = 30 * 24 * 3600

Index = Literal["ready", "building", "failing"]
Certificate = Literal["server", "wrong-host", "expired"]


class NoServerError(Exception):
    """The server could not be built or started."""


def binary(say: Callable[[str], object]) -> Path:
    """The server, built unless it is in the cache. `say` is told if that takes a while.

    Raises NoServerError if there is no Go, or the build fails.
    """
    go = _go()
    run = subprocess.run([go, "env", "GOVERSION"], cwd=SOURCES, capture_output=True, text=True)
    key = hashlib.sha256("\0".join((run.stdout, *BUILD)).encode())
    for source in sorted(SOURCES.iterdir()):
        key.update(source.name.encode() + b"\0" + source.read_bytes())
    program = CACHE / f"tidb-server-{key.hexdigest()[:16]}"
    if not program.exists():
        say(f"building {program}: half a minute, or 5 and 2 GB of modules the first time ...")
        CACHE.mkdir(parents=True, exist_ok=True)
        with (CACHE / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not program.exists():
                _build(go, program)
    program.touch()
    return program


def _go() -> str:
    go = shutil.which("go") or shutil.which("/usr/local/go/bin/go")
    if not go:
        raise NoServerError("the TiDB of the tests is built with Go: install Go 1.23.6 or later")
    return go


def _build(go: str, program: Path) -> None:
    for old in CACHE.glob("tidb-server-*"):
        if old.stat().st_mtime < time.time() - SECONDS_TO_KEEP:
            old.unlink()
    unfinished = program.with_suffix(".unfinished")
    run = subprocess.run(
        [go, *BUILD, "-o", str(unfinished), "."],
        cwd=SOURCES,
        env=os.environ | {"GOWORK": "off"},
        stderr=subprocess.PIPE,
        text=True,
    )
    if run.returncode:
        raise NoServerError(f"the TiDB of the tests could not be built:\n{run.stderr}")
    unfinished.rename(program)


class Cluster:
    """A TiDB that is there; its URL names the user who may do everything, here the admin.

    So `Cluster(url).execute(sql)` runs a statement in the database of any such URL.
    """

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)

    @property
    def host(self) -> str:
        return self._parts.hostname or "127.0.0.1"

    @property
    def port(self) -> int:
        return self._parts.port or 4000

    def url(self, database: str, *, user: str | None = None, password: str = "") -> str:
        """A URL as a user would write it, of the admin unless `user` is given."""
        _, _, place = self._parts.netloc.rpartition("@")
        given = self._parts.netloc.removesuffix(place)
        own = given if user is None else f"{quote(user, '')}:{quote(password, '')}@"
        query = f"?{self._parts.query}" if self._parts.query else ""
        return f"mysql+pymysql://{own}{place}/{database}{query}"

    def connect(self, **options: Any) -> pymysql.Connection[Any]:
        """A connection of the admin that commits each statement."""
        return pymysql.connect(
            host=self.host,
            port=self.port,
            user=unquote(self._parts.username or "root"),
            password=unquote(self._parts.password or ""),
            database=self._parts.path[1:] or None,
            autocommit=True,
            **{"ssl": self._tls} | options,
        )

    @cached_property
    def _tls(self) -> ssl.SSLContext | None:
        authority = parse_qs(self._parts.query).get("ssl_ca", [None])[0]
        if authority or self.host.endswith(".tidbcloud.com"):
            return ssl.create_default_context(cafile=authority)
        return None

    def execute(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Run one statement in a session of its own."""
        with closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(sql, parameters or None)
            return list(cursor.fetchall())

    @contextmanager
    def database(self, name: str = "") -> Iterator[str]:
        """The URL of a database that exists within this block."""
        name = name or f"jtv_test_{uuid4().hex[:12]}"
        self.execute(f"CREATE DATABASE {name}")
        try:
            yield self.url(name)
        finally:
            self.reset()
            self.execute(f"DROP DATABASE {name}")

    def limited_url(self, database: str, rights: str) -> str:
        """The URL of a user, made anew, who has these rights in a database and no others."""
        self.execute("DROP USER IF EXISTS 'some.user'")
        self.execute("CREATE USER 'some.user' IDENTIFIED BY 'hunter2'")
        self.execute(f"GRANT {rights} ON {database}.* TO 'some.user'")
        return self.url(database, user="some.user", password="hunter2")

    def reset(self) -> None:
        """Undo what a test did to the cluster; of one's own it may do nothing."""


class TidbServer(Cluster):
    """A TiDB of the tests' own on this machine; `root` needs no password.

    `tiflash` is the number of its stand-in TiFlash nodes, `data` a folder for what must
    outlive a kill (not together with TiFlash), `certificates` a folder made by
    `make_certificates`, with which it speaks TLS.

    It ends when this process does, however that ends.
    """

    def __init__(
        self,
        program: Path,
        *,
        tiflash: int = 0,
        data: Path | None = None,
        certificates: Path | None = None,
    ) -> None:
        self._scratch = Path(tempfile.mkdtemp(prefix="jtv-tidb-"))
        self._certificates = certificates
        self._command = [str(program), f"--scratch={self._scratch}", f"--tiflash={tiflash}"]
        if data:
            self._command.append(f"--data={data}")
        if certificates:
            self._show("server")
            self._command += [f"--cert={self._shown}", f"--key={self._shown.with_suffix('.key')}"]
            self._command.append(f"--ca={certificates / 'ca.pem'}")
        self._start(port=0)

    def __enter__(self) -> TidbServer:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop it and remove what it leaves, but for its data."""
        self.kill()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def kill(self) -> None:
        """End it as a power cut would."""
        with self._process as process:
            process.kill()

    def restart(self) -> None:
        """Start it again on its port, killed or not."""
        self.kill()
        self._start(self.port)

    def set_index(self, state: Index) -> None:
        """How all vector indexes of the stand-in TiFlash are doing from now on."""
        self._order(f"index {state}")

    def set_replica(self, state: Literal["ready", "building"]) -> None:
        """How the stand-in TiFlash's copies of tables are doing from now on."""
        self._order(f"replica {state}")

    def set_version(self, version: str = "") -> None:
        """What the server says it is, such as `8.0.36`; without `version`, what it is."""
        self._order(f"version {version}")

    def present(self, name: Certificate) -> None:
        """Show this certificate to new connections.

        While `require_secure_transport` is on this makes TiDB demand the clients' own.
        """
        self._show(name)
        self.execute("ALTER INSTANCE RELOAD TLS")

    def reset(self) -> None:
        """Undo what the orders above did; an index being built would hold up a DROP."""
        self._order("version", "index ready", "replica ready")
        if self._certificates:
            self.execute("SET GLOBAL require_secure_transport = OFF")
            self.present("server")

    @property
    def _shown(self) -> Path:
        return self._scratch / "shown.pem"

    def _show(self, name: Certificate) -> None:
        assert self._certificates
        for suffix in (".pem", ".key"):
            source = (self._certificates / name).with_suffix(suffix)
            shutil.copy(source, self._shown.with_suffix(suffix))

    @cached_property
    def _tls(self) -> ssl.SSLContext | None:
        """The admin gets in whatever certificate is shown, and with one of his own."""
        if not self._certificates:
            return None
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.load_cert_chain(
            self._certificates / "client.pem", self._certificates / "client.key"
        )
        return context

    def _start(self, port: int) -> None:
        self._process = subprocess.Popen(
            [*self._command, f"--port={port}"],
            stdin=subprocess.PIPE,  # it ends when this does
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # Ctrl-C is for the tests, which then end it
        )
        watchdog = threading.Timer(SECONDS_TO_START, self._process.kill)
        watchdog.start()
        try:
            address = self._answer("ready ")
        except NoServerError:
            self.close()
            raise
        finally:
            watchdog.cancel()
        self._parts = urlsplit(f"mysql+pymysql://root@{address}")

    def _order(self, *orders: str) -> None:
        for order in orders:
            assert self._process.stdin
            self._process.stdin.write(f"{order}\n")
            self._process.stdin.flush()
            self._answer("ok")

    def _answer(self, wanted: str) -> str:
        """The rest of the next line that starts so. TiDB's libraries talk in between."""
        talk = []
        assert self._process.stdout
        for line in self._process.stdout:
            if line.startswith(wanted):
                return line.removeprefix(wanted).rstrip("\n")
            talk.append(line)
        raise NoServerError("the TiDB of the tests ended:\n" + "".join(talk[-20:]))


def make_certificates(program: Path, folder: Path) -> Path:
    """Fill a folder with an authority, `ca.pem`, and what it signed.

    `server`, `wrong-host`, `expired` and `client` are each a `.pem` and a `.key`;
    `other-ca.pem` is an authority that signed none of them.
    """
    subprocess.run([program, "certificates", folder], check=True)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description="A real TiDB, gone when this ends.")
    parser.add_argument("--tiflash", type=int, default=0, help="stand-in TiFlash nodes")
    parser.add_argument("--data", type=Path, help="a folder that keeps the data")
    parser.add_argument("--certificates", type=Path, help="a folder to make some in, for TLS")
    options = vars(parser.parse_args())
    program = binary(lambda line: sys.stderr.write(f"{line}\n"))
    if options["certificates"]:
        make_certificates(program, options["certificates"])
    with TidbServer(program, **options) as server, suppress(KeyboardInterrupt):
        sys.stdout.write(f"export TIDB_DATABASE_URL={server.url('test')}\n")
        sys.stdout.flush()
        threading.Event().wait()


if __name__ == "__main__":
    main()
