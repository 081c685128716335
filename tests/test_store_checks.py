"""What a store finds when it looks at its database."""

from __future__ import annotations

import os
import shutil
import socket
from typing import TYPE_CHECKING

import pytest

from jtv_cli.records import Check, Outcome
from jtv_cli.stores import open_store
from jtv_cli.stores.sqlite import health
from tables import documents, make, vectors

if TYPE_CHECKING:
    from pathlib import Path


def checks(database: str, *, filled: bool = False) -> list[Check]:
    store = open_store(database, writable=True)
    try:
        if filled:
            make(store).add(documents(2000), vectors(2000))
        return list(store.checks())
    finally:
        store.close()


def outcomes(found: list[Check]) -> list[tuple[str, str]]:
    return [(check.name, check.outcome.value) for check in found]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A sound file."""
    found = checks(str(tmp_path / "jtv.db"), filled=True)
    assert outcomes(found) == [("file", "ok"), ("integrity", "ok"), ("disk space", "ok")]
    assert found[0].detail == f"{tmp_path / 'jtv.db'}, mode 0600"
    return tmp_path / "jtv.db"


def test_no_file_yet(tmp_path: Path) -> None:
    [found] = checks(str(tmp_path / "jtv.db"))
    assert (found.name, found.outcome) == ("file", Outcome.WARNING)
    assert "jtv init" in found.detail
    assert list(tmp_path.iterdir()) == []


def test_others_may_read_it(path: Path) -> None:
    path.chmod(0o644)
    first, *rest = checks(str(path))
    assert first.outcome is Outcome.WARNING
    assert f"chmod 600 {path}" in first.detail
    assert {check.outcome for check in rest} == {Outcome.OK}


def test_a_damaged_file(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(3 * 16384)
        file.write(os.urandom(10 * 16384))
    found = checks(str(path))
    assert outcomes(found) == [("file", "ok"), ("integrity", "failed")]
    assert "is damaged" in found[-1].detail
    assert "a backup" in found[-1].detail


def test_a_file_too_large_to_look_at_all_of_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_SECONDS", 0.0)
    monkeypatch.setattr(health, "_STEPS", 10)
    found = checks(str(path))
    assert outcomes(found) == [("file", "ok"), ("integrity", "warning"), ("disk space", "ok")]
    assert "quick_check" in found[1].detail


def test_a_full_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(path)._replace(free=5 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    *_, last = checks(str(path))
    assert last == Check(
        "disk space", Outcome.WARNING, f"only 5 MiB free for {path}; free some space"
    )


def test_a_server_that_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    [found] = checks(f"mysql://root@127.0.0.1:{port}/test")
    assert found == Check(
        "connection",
        Outcome.FAILED,
        f"cannot connect to 127.0.0.1:{port}/test;"
        " check the host and the port, and that the cluster is running",
    )


def test_a_server_without_tiflash(plain_tidb: str) -> None:
    connection, server, tiflash = checks(plain_tidb)
    assert connection.outcome is Outcome.OK
    assert connection.detail.endswith(", not encrypted")
    assert server.outcome is Outcome.OK
    assert "TiDB-v8" in server.detail
    assert tiflash.outcome is Outcome.WARNING
    assert "searches are full scans" in tiflash.detail


def test_a_server_with_tiflash(tiflash_tidb: str) -> None:
    *_, tiflash = checks(tiflash_tidb)
    assert tiflash == Check("TiFlash", Outcome.OK, "2 nodes", has_index=True)


def test_how_the_connection_is_secured(tls_tidb: str, certificates: Path) -> None:
    ca = f"ssl_ca={certificates}/ca.pem"
    first, *_ = checks(f"{tls_tidb}?{ca}")
    assert first.outcome is Outcome.OK
    assert ", TLSv1.3, TLS_" in first.detail
    assert first.detail.endswith("ca.pem, host name checked")
    first, *_ = checks(f"{tls_tidb}?{ca}&ssl_verify_identity=false")
    assert first.outcome is Outcome.WARNING
    assert "host name checked" not in first.detail
    assert "host name" in first.detail
    first, *_ = checks(f"{tls_tidb}?ssl_mode=PREFERRED")
    assert first.detail.endswith(", not verified")
    [first] = checks(f"{tls_tidb}?ssl_ca={certificates}/other-ca.pem")
    assert first.outcome is Outcome.FAILED
    assert "not signed by" in first.detail
