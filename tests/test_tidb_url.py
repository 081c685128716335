"""What a TiDB URL means, and which are refused."""

from __future__ import annotations

import shlex
from urllib.parse import quote

import pytest

from discretion import PASSWORD, assert_discreet
from jtv_cli.errors import UsageError, mask_secrets
from jtv_cli.stores.tidb.tls import Tls
from jtv_cli.stores.tidb.url import parse_url

GATEWAY = "gateway01.eu-central-1.prod.aws.tidbcloud.com"


@pytest.mark.parametrize(
    ("url", "location", "user", "password"),
    [
        ("mysql://root@127.0.0.1/test", "127.0.0.1:4000/test", "root", ""),
        ("mysql+pymysql://root:@h:/d", "h:4000/d", "root", ""),
        ("mysql+mysqldb://u:p@h:3306/d", "h:3306/d", "u", "p"),
        (" TIDB://u:p@H.example.COM.:65535/D\n", "h.example.com:65535/D", "u", "p"),
        (f"mysql://4Xy7Zab.root:p@{GATEWAY}/test", f"{GATEWAY}:4000/test", "4Xy7Zab.root", "p"),
        ("mysql://u:p@[::1]:4001/d", "[::1]:4001/d", "u", "p"),
        ("mysql://u:p@[2001:DB8::1]/d", "[2001:db8::1]:4000/d", "u", "p"),
        ("mysql://u:p@[FE80::1%25Wlan-0.5]:4001/d", "[fe80::1%Wlan-0.5]:4001/d", "u", "p"),
        ("mysql://u:p@[fe80::1%eth0]/d", "[fe80::1%eth0]:4000/d", "u", "p"),
        ("mysql://u:p@[fe80::1%2525]/d", "[fe80::1%25]:4000/d", "u", "p"),
        ("mysql://u:p@h/d/", "h:4000/d", "u", "p"),
        ("mysql://u:p@h:4001/d%2F/?charset=utf8", "h:4001/d/", "u", "p"),
        ("mysql://u:%3Cpassword%3E@h/d", "h:4000/d", "u", "<password>"),
        ("mysql://u%40x%3A:p@h/a%20b", "h:4000/a b", "u@x:", "p"),
        ("mysql://u:p:q@h/d", "h:4000/d", "u", "p:q"),
        ("mysql://u:p@@h/d", "h:4000/d", "u", "p@"),
        ("mysql://u:p/q?r#s[@h/d", "h:4000/d", "u", "p/q?r#s["),
        ("mysql://u:p/q?r@s@h/d?charset=utf8", "h:4000/d", "u", "p/q?r@s"),
        ("mysql://u:50%off@h/d", "h:4000/d", "u", "50%off"),
        ("mysql://u:p%2Bq+r@h/d", "h:4000/d", "u", "p+q+r"),
        ("mysql://u:Größe 数学@h/d", "h:4000/d", "u", "Größe 数学"),
    ],
)
def test_where_and_as_whom(url: str, location: str, user: str, password: str) -> None:
    address = parse_url(url)
    assert (address.location, address.user) == (location, user)
    assert address.connect_args()["password"] == password.encode()


def test_a_password_of_any_character() -> None:
    password = "".join(map(chr, range(256))) + "€数😀"
    assert parse_url(f"mysql://u:{quote(password, safe='')}@h/d").password == password.encode()


def test_a_password_that_is_not_utf8() -> None:
    assert parse_url("mysql://u:%FF%00@h/d").password == b"\xff\0"


def test_what_the_driver_is_given() -> None:
    given = parse_url("mysql://u:p@[::1]:4001/d?charset=UTF8").connect_args()
    tls = given.pop("tls")
    assert isinstance(tls, Tls)
    assert tls.arguments == {"ssl_disabled": True}
    password, charset = b"p", "utf8mb4"
    rest = {"host": "::1", "port": 4001, "user": "u", "password": password, "database": "d"}
    assert given == {**rest, "charset": charset}


@pytest.mark.parametrize("password", ["pass'wo", r"""pa\ss'w"o""", 'pass"wo', r"p\asswo", "''pass"])
def test_a_password_with_quotes_is_hidden_in_commands_and_tracebacks(password: str) -> None:
    url = f"mysql://me:{password}@host/db"
    parse_url(url)
    for text in (url, f"'{url}", f'"{url}', f"\"'{url}"):
        shown = [text, shlex.quote(text), repr(text), str(ValueError(1, text))]
        assert all("me:***@host" in mask_secrets(each) for each in shown)


def test_the_password_is_kept_secret() -> None:
    address = parse_url(
        "mysql://u:secret%2Dof@this@h/d?ssl_ca=/home/me@work/ca.pem&ssl_mode=REQUIRED"
    )
    assert "secret" not in repr(address)
    masked = mask_secrets("secret%2Dof@this, secret-of@this")
    assert set(masked) == {"*", ",", " "}


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sqlite:///jtv.db", "cannot use a sqlite:// URL; .*--database FILE"),
        (
            "postgresql+psycopg://u:hunter2@h/d",
            r"cannot use a postgresql\+psycopg:// URL; .*mysql://",
        ),
        ("jdbc:mysql://h/d?user=u&password=hunter2", "cannot use this URL"),
        ("u:hunter2@h://d", "cannot use this URL"),
        ("mysql://root:hunter2/d", "has no user"),
        ("mysql://:hunter2@h/d", "has no user"),
        ("mysql://u:hunter2@/d", "has no valid host"),
        ("mysql://u:hunter2@:4000/d", "has no valid host"),
        ("mysql://u:hunter2@::1/d", "IPv6 address in brackets"),
        ("mysql://u:hunter2@a..b/d", "has no valid host"),
        ("mysql://u:hunter2@h\0i/d", "has no valid host"),
        (f"mysql://u:hunter2@{'h' * 64}/d", "has no valid host"),
        ("mysql://u:hunter2@höst/d", "has no valid host"),
        ("mysql://u:hunter2@h:0/d", "port"),
        ("mysql://u:hunter2@h:65536/d", "port"),
        ("mysql://u:hunter2@h:x/d", "port"),
        ("mysql://u:hunter2@h:٤/d", "port"),
        ("mysql://u%00:hunter2@h/d", "the user in .* has an unprintable"),
        ("mysql://u:hunter2@h/d%00", "the database in .* has an unprintable"),
        ("mysql://u:\udcffhunter2@h/d", "password in .* not UTF-8"),
        ("mysql://u:hunter2@h", "has no database; .*/test"),
        ("mysql://u:hunter2@h/?charset=utf8mb4", "has no database; .*/test"),
        ("mysql://u:hunter2@h//", "has no database; .*/test"),
        ("mysql://u:hunter2@h/sys/", "sys is a system database"),
        ("mysql://u:hunter2@[fe80::1%a b]/d", "has no valid host"),
        ("mysql://u:hunter2@h/sys", "sys is a system database.*; .*/test"),
        ("mysql://u:hunter2@h/%4DySQL", "MySQL is a system database"),
        ("mysql://u:hunter2@h/INFORMATION_SCHEMA", "INFORMATION_SCHEMA is a system"),
        ("mysql://u:<PASSWORD>@h/d", "^PASSWORD is still a placeholder"),
        ("mysql://u:<your_password>@h/d", "^your_password is still a placeholder"),
        ("mysql://<PREFIX>.root:hunter2@h/d", "^PREFIX is still a placeholder"),
        ("mysql://u:hunter2@<HOST>:4000/d", "^HOST is still a placeholder"),
        ("mysql://u:hunter2@h/<DATABASE>", "^DATABASE is still a placeholder"),
        ("mysql://u:hunter2@h/d?ssl_ca=%3CCA_PATH%3E", "^CA_PATH is still a placeholder"),
        ("mysql://u:hunter2@h/d?charset=latin1", "charset=latin1 .*cannot hold every text"),
        ("mysql://u:hunter2@h/d?read_default_file=x", "unsupported parameter read_default_file"),
        ("mysql://u:hunter2@h/d?local_infile=1", "unsupported parameter local_infile; .*ssl_ca"),
        ("mysql://u:hunter2@h/d?init_command", "unsupported parameter init_command"),
        ("mysql://u:hunter2@h/d?sslaccept=strict", "unsupported parameter sslaccept"),
        ("mysql://u:hunter2@h/d?ssl_ca=a&ssl_ca=b", "^the database URL has ssl_ca twice"),
        ("mysql://u:p@p?hunter2@h/d", r"invalid parameter after the \?"),
        ("mysql://u:p@p?hunter2=@h/d", r"invalid parameter after the \?"),
        ("mysql://u:p@p?charset=hunter2@h/d", r"invalid parameter after the \?"),
        ("mysql://u:p@p?hunter2 x=1@h/d", r"invalid parameter after the \?"),
    ],
)
def test_urls_that_are_refused(url: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        parse_url(url)
    assert_discreet(caught.value)
    assert PASSWORD not in mask_secrets(str(caught.value))
