"""How connections to TiDB are secured."""

from __future__ import annotations

import re
import ssl
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from discretion import PASSWORD, assert_discreet
from jtv_cli.errors import UsageError
from jtv_cli.stores.tidb.url import parse_url

if TYPE_CHECKING:
    from conftest import Jtv
    from jtv_cli.stores.tidb.tls import Tls
    from tidb_cluster import Certificate, TidbServer

GATEWAY = "gateway01.eu-central-1.prod.aws.tidbcloud.com"
CERTIFICATE_AND_KEY = Path(__file__).with_name("localhost.pem")

# Its passphrase is "nobody".
LOCKED_KEY = """\
-----BEGIN ENCRYPTED PRIVATE KEY-----
MIHrMFYGCSqGSIb3DQEFDTBJMCgGCSqGSIb3DQEFDDAbBAj3xaRRjHVKHgIBATAM
BggqhkiG9w0CCQUAMB0GCWCGSAFlAwQBAgQQozRHfCyFGq5tMPGvEPDtuwSBkCTy
M3C1DRyKLjkSDA8PUvr0Mo5stfeH8X1XoDWfaymvJ+dZfwkkQcbqD07DCnMsKxA9
YGG9usDetWpQxWVVMqmoNvOHvhcIBlI7gSx6LcvcNhSjoMjoLbS0aXOwbFiQp1Kx
SbhnVL1f4+rzl6lPPo7uM7/rS/ihZ2zvy+errEqt2R76pSQsWf6QTLiLzol4Mg==
-----END ENCRYPTED PRIVATE KEY-----
"""


# Runs jtv where every host name is this machine's.
EVERY_HOST_IS_HERE = (
    "import socket, sys; find = socket.getaddrinfo\n"
    "socket.getaddrinfo = lambda host, *rest: find('127.0.0.1', *rest)\n"
    "from jtv_cli.__main__ import main\n"
    "sys.argv[:2] = ['jtv']; main()"
)


def tls(host: str, query: str = "") -> Tls:
    return parse_url(f"mysql://u:{PASSWORD}@{host}/d?{query}").tls


def kind(tls: Tls) -> str:
    """Say how a connection would be made, as PyMySQL is told to."""
    context = tls.arguments.get("ssl")
    if not isinstance(context, ssl.SSLContext):
        return "none" if tls.arguments.get("ssl_disabled") else "offered"
    assert context.verify_mode == ssl.CERT_REQUIRED
    return "verified" if context.check_hostname else "any host name"


class TestMeaning:
    @pytest.mark.parametrize(
        ("host", "query", "expected"),
        [
            (GATEWAY, "", "verified"),
            (GATEWAY.upper() + ".", "", "verified"),
            (GATEWAY, "ssl_mode=PREFERRED", "verified"),
            ("tidbcloud.com.example.com", "", "verified"),
            ("nottidbcloud.com", "", "verified"),
            ("db.example.com", "charset=utf8mb4", "verified"),
            ("db.example.com", "ssl_ca=&ssl_verify_cert=", "verified"),
            ("db.example.com", "ssl_mode=preferred", "offered"),
            ("db.example.com", "ssl_mode=required", "verified"),
            ("db.example.com", "ssl_mode=VERIFY_IDENTITY", "verified"),
            ("db.example.com", "ssl_mode=VERIFY_CA", "any host name"),
            ("db.example.com", "ssl_mode=VERIFY_CA&ssl_verify_identity=true", "verified"),
            ("db.example.com", f"ssl_ca={CERTIFICATE_AND_KEY}", "verified"),
            ("db.example.com", "ssl_verify_cert=TRUE", "verified"),
            ("db.example.com", "ssl_verify_cert=1&ssl_verify_identity=Yes", "verified"),
            ("db.example.com", "ssl_verify_identity=on", "verified"),
            ("db.example.com", "ssl_verify_identity=False", "any host name"),
            ("db.example.com", "ssl_verify_identity=0", "any host name"),
            ("db.example.com", "ssl_mode=REQUIRED&ssl_verify_identity=off", "any host name"),
            ("10.0.0.1", "", "verified"),
            ("localhost", "", "none"),
            ("LocalHost.", "", "none"),
            ("127.8.9.10", "", "none"),
            ("[::1]", "", "none"),
            ("localhost", "ssl_mode=DISABLED", "none"),
            ("localhost", "ssl_mode=PREFERRED", "offered"),
            ("localhost", "ssl_mode=REQUIRED", "verified"),
            ("127.0.0.1", "ssl_verify_cert=true", "verified"),
        ],
    )
    def test_keys(self, host: str, query: str, expected: str) -> None:
        found = tls(host, query)
        assert kind(found) == expected
        noted = {"offered": "not verified", "any host name": "not checked"}.get(expected)
        if noted is None or host == "localhost":
            assert found.notes == ()
        else:
            (note,) = found.notes
            assert noted in note

    def test_a_ca_that_is_not_here(self) -> None:
        found = tls(GATEWAY, "ssl_ca=/no/such/cert.pem&ssl_verify_cert=true")
        assert kind(found) == "verified"
        (note,) = found.notes
        assert note.startswith("no such file: /no/such/cert.pem; verifying ")

    def test_a_ca_alone_is_trusted(self) -> None:
        """Where a CA is named, the system's own are not trusted beside it."""
        context = tls(GATEWAY, f"ssl_ca={CERTIFICATE_AND_KEY}").context
        assert context is not None
        assert len(context.get_ca_certs()) == 1

    def test_a_client_certificate(self) -> None:
        pair = f"ssl_cert={CERTIFICATE_AND_KEY}&ssl_key={CERTIFICATE_AND_KEY}"
        assert kind(tls("localhost", pair)) == "verified"


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("ssl_verify_cert=false", "ssl_verify_cert=false .* not supported: .*ssl_ca=PATH"),
        ("ssl_verify_cert=maybe", "ssl_verify_cert=maybe .* neither true nor false"),
        ("ssl_verify_identity=nope", "ssl_verify_identity=nope .* neither true nor false"),
        (
            "ssl_mode=DISABLED",
            "ssl_mode=DISABLED .* would send texts to h unencrypted; .*ssl_mode=PREFERRED",
        ),
        ("ssl_mode=verify", "unknown ssl_mode=verify .*; .*VERIFY_IDENTITY"),
        ("ssl_ca=empty.pem", "cannot use ssl_ca=empty.pem .*: .*PEM"),
        ("ssl_ca=locked.key", "cannot use ssl_ca=locked.key .*: .*PEM"),
        ("ssl_ca=folder", "cannot use ssl_ca=folder .*: is a directory"),
        ("ssl_ca=a%00b", "cannot use ssl_ca=.*: embedded null"),
        ("ssl_ca=~no_such_user/ca.pem", "cannot use ssl_ca=~no_such_user/ca.pem"),
        ("ssl_cert=good.pem", "has ssl_cert without ssl_key; add ssl_key=PATH"),
        ("ssl_key=good.pem", "has ssl_key without ssl_cert; add"),
        ("ssl_cert=good.pem&ssl_key=none.key", "cannot use .* with ssl_key=none.key: no such file"),
        ("ssl_cert=empty.pem&ssl_key=good.pem", "cannot use ssl_cert=empty.pem "),
        ("ssl_cert=good.pem&ssl_key=locked.key", "ssl_key=locked.key has a passphrase"),
    ],
)
def test_keys_that_are_refused(
    query: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("good.pem").write_bytes(CERTIFICATE_AND_KEY.read_bytes())
    Path("locked.key").write_text(LOCKED_KEY)
    Path("empty.pem").touch()
    Path("folder").mkdir()
    with pytest.raises(UsageError, match=says) as caught:
        tls("h", query)
    assert_discreet(caught.value)


class TestOnAServer:
    """What a user sees of TLS, on a real server that shows one certificate or another."""

    @pytest.fixture
    def url(self, tls_tidb: str, tls_server: TidbServer) -> str:
        """The URL of a user whose name has a dot, and who has a password."""
        name = tls_tidb.rpartition("/")[2]
        tls_server.execute("DROP USER IF EXISTS 'prefix.root'")
        tls_server.execute(f"CREATE USER 'prefix.root' IDENTIFIED BY '{PASSWORD}'")
        tls_server.execute(f"GRANT ALL ON {name}.* TO 'prefix.root'")
        return f"mysql://prefix.root:{PASSWORD}@localhost:{tls_server.port}/{name}"

    def fails(self, jtv: Jtv, url: str, **options: Any) -> str:
        """Hold that no connection is made, and return the line that says why."""
        told = jtv("list", "--database", url, "--debug", **options)
        assert PASSWORD not in told.stdout + told.stderr
        result = jtv("list", "--database", url, **options)
        assert (result.code, result.stdout) == (5, "")
        assert result.is_one_error
        return result.error

    def init(self, jtv: Jtv, url: str, **options: Any) -> str:
        """Make a table and return what is said of it."""
        return jtv.ok("init", "--model", "hashing-v1", "--database", url, **options).stderr

    def test_the_right_ca(
        self, jtv: Jtv, url: str, tls_server: TidbServer, certificates: Path
    ) -> None:
        tls_server.execute("SET GLOBAL require_secure_transport = ON")
        said = self.init(jtv, f"{url}?ssl_ca={certificates}/ca.pem")
        # A hint repeats the URL of the call.
        assert "certificate" not in said.replace(str(certificates), "")

    @pytest.mark.parametrize(
        ("shown", "query", "says"),
        [
            (
                "server",
                "ssl_ca={}/other-ca.pem",
                "is not signed by .*/other-ca.pem\nhint: .*ssl_ca=",
            ),
            (
                "server",
                "ssl_mode=REQUIRED",
                "is not signed by a CA that this machine trusts\nhint: ",
            ),
            ("server", "ssl_ca=/no/ca.pem", "is not signed by .*no such file: /no/ca.pem"),
            ("wrong-host", "ssl_ca={}/ca.pem", "is for another host name"),
            ("wrong-host", "ssl_ca={}/ca.pem&ssl_verify_identity=true", "another host name"),
            ("expired", "ssl_ca={}/ca.pem", "is not valid: certificate has expired"),
        ],
    )
    def test_a_certificate_that_does_not_fit(
        self,
        jtv: Jtv,
        url: str,
        tls_server: TidbServer,
        certificates: Path,
        shown: Certificate,
        query: str,
        says: str,
    ) -> None:
        tls_server.present(shown)
        line = self.fails(jtv, f"{url}?{query.format(certificates)}")
        assert line.startswith("jtv: error: the certificate of localhost ")
        assert re.search(says, line)

    def test_a_server_that_demands_tls(self, jtv: Jtv, url: str, tls_server: TidbServer) -> None:
        tls_server.execute("SET GLOBAL require_secure_transport = ON")
        line = self.fails(jtv, url)
        assert line.startswith(
            "jtv: error: localhost requires TLS\nhint: add ssl_mode=VERIFY_IDENTITY"
        )

    def test_a_server_without_tls(self, jtv: Jtv, tiflash_tidb: str, certificates: Path) -> None:
        """Nobody in between can have the connection made without TLS."""
        line = self.fails(jtv, f"{tiflash_tidb}?ssl_ca={certificates}/ca.pem")
        assert line.startswith("jtv: error: 127.0.0.1 does not offer TLS\nhint: ")

    def test_any_host_name(
        self, jtv: Jtv, url: str, tls_server: TidbServer, certificates: Path
    ) -> None:
        tls_server.present("wrong-host")
        said = self.init(jtv, f"{url}?ssl_ca={certificates}/ca.pem&ssl_verify_identity=false")
        assert "the host name in the certificate of localhost is not checked" in said

    def test_a_ca_that_is_elsewhere(self, jtv: Jtv, url: str, certificates: Path) -> None:
        url = f"{url}?ssl_ca=/no/ca.pem&ssl_verify_cert=true&ssl_verify_identity=true"
        trusted = {"SSL_CERT_FILE": f"{certificates}/ca.pem"}
        assert "no such file: /no/ca.pem" in self.init(jtv, url, env=trusted)
        assert jtv.ok("list", "--database", url, env=trusted).stderr == ""

    def test_a_client_certificate(
        self, jtv: Jtv, url: str, tls_server: TidbServer, certificates: Path
    ) -> None:
        tls_server.execute("ALTER USER 'prefix.root' REQUIRE X509")
        url = f"{url}?ssl_ca={certificates}/ca.pem"
        assert "prefix.root" in self.fails(jtv, url)
        client = f"{certificates}/client"
        self.init(jtv, f"{url}&ssl_cert={client}.pem&ssl_key={client}.key")

    def test_a_user_whose_password_is_hashed_by_sha2(
        self, jtv: Jtv, url: str, tls_server: TidbServer, certificates: Path
    ) -> None:
        """The server may ask for the password itself, which only a verified one gets."""
        name = url.rpartition("/")[2]
        tls_server.execute("DROP USER IF EXISTS 'sha2'")
        tls_server.execute(
            f"CREATE USER 'sha2' IDENTIFIED WITH caching_sha2_password BY '{PASSWORD}'"
        )
        tls_server.execute(f"GRANT ALL ON {name}.* TO 'sha2'")
        url = url.replace("prefix.root:", "sha2:")
        for elsewhere in ("localhost", "db.example.com"):
            mode = "DISABLED" if elsewhere == "localhost" else "PREFERRED"
            unverified = f"{url.replace('localhost', elsewhere)}?ssl_mode={mode}"
            line = self.fails(jtv, unverified, prefix=[sys.executable, "-c", EVERY_HOST_IS_HERE])
            assert "asks for the password itself" in line
        self.init(jtv, f"{url}?ssl_ca={certificates}/ca.pem")
        wrong = url.replace(f":{PASSWORD}@", ":wrong@")
        assert "sha2" in self.fails(jtv, f"{wrong}?ssl_ca={certificates}/ca.pem")

    @pytest.mark.parametrize(
        ("trusts", "says"), [(True, "is for another host name"), (False, "is not signed by")]
    )
    def test_tidb_cloud_without_keys(
        self, jtv: Jtv, url: str, certificates: Path, trusts: bool, says: str
    ) -> None:
        """Chain and host name are verified, as the one and the other failure show."""
        line = self.fails(
            jtv,
            url.replace("localhost", GATEWAY),
            prefix=[sys.executable, "-c", EVERY_HOST_IS_HERE],
            env={"SSL_CERT_FILE": f"{certificates}/ca.pem"} if trusts else {},
        )
        assert line.startswith(f"jtv: error: the certificate of {GATEWAY} {says}")
