"""Settings: what wins over what, which files are read, and where a key may go."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from jina_server import JinaServer

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Jtv

# Runs a command in a working directory.
AT = "import os, sys; os.chdir(sys.argv[1]); os.execv(sys.argv[2], sys.argv[2:])"

KEY = "jina_0123456789abcdef"


class TestPrecedence:
    """flag > environment > nearest .env > config.env > default, shown by where `init` writes."""

    @pytest.fixture
    def told(self, jtv: Jtv) -> Jtv:
        """A user for whom every place names another file."""
        jtv.write(".env", "JTV_DATABASE=dotenv.db\n")
        self.config_file(jtv).write_text("JTV_DATABASE=config.db\n")
        return jtv

    @staticmethod
    def config_file(jtv: Jtv) -> Path:
        path = jtv.folder / "home/.config/jtv/config.env"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def where(self, jtv: Jtv, *options: str, **env: str) -> str:
        return jtv.ok("init", *options, env=env).last_line.partition(" in ")[2]

    def test_the_flag(self, told: Jtv) -> None:
        said = self.where(told, "--database", "flag.db", JTV_DATABASE="environment.db")
        assert said == "flag.db (--database)"

    def test_the_environment(self, told: Jtv) -> None:
        said = self.where(told, JTV_DATABASE="environment.db")
        assert said == "environment.db (JTV_DATABASE in the environment)"

    def test_the_dotenv(self, told: Jtv) -> None:
        folder = told.folder / "work"
        said = self.where(told)
        assert said == f"{folder}/dotenv.db (JTV_DATABASE in {folder}/.env)"

    def test_config_env(self, told: Jtv) -> None:
        (told.folder / "work/.env").unlink()
        config = self.config_file(told)
        assert self.where(told) == f"~/.config/jtv/config.db (JTV_DATABASE in {config})"

    def test_the_default(self, jtv: Jtv) -> None:
        assert self.where(jtv) == "~/.local/share/jtv/jtv.db"
        assert self.where(jtv, "--database", "embedded") == "~/.local/share/jtv/jtv.db (--database)"

    def test_an_empty_value_is_none(self, told: Jtv) -> None:
        assert "dotenv.db" in self.where(told, JTV_DATABASE="")

    def test_jtv_database_before_the_tutorials_name(self, told: Jtv) -> None:
        url = "mysql+pymysql://root@127.0.0.1:4000/test"
        assert "one.db" in self.where(told, JTV_DATABASE="one.db", TIDB_DATABASE_URL=url)

    def test_the_table(self, jtv: Jtv) -> None:
        jtv.write(".env", "export JTV_TABLE='from_dotenv' # a comment\n")
        assert "table from_dotenv" in jtv.ok("init").last_line
        assert "table from_env" in jtv.ok("init", env={"JTV_TABLE": "from_env"}).last_line
        assert "table from_flag" in jtv.ok("init", "--table", "from_flag").last_line


class TestFiles:
    def test_the_nearest_dotenv_that_speaks_of_jtv(self, jtv: Jtv) -> None:
        jtv.write(".env", "JTV_TABLE=above\n")
        jtv.write("a/.env", "OTHER=1\nPATH_TO_JTV_TABLE=no\n")
        jtv.write("a/b/.env/a_folder_of_that_name", "")
        folder = jtv.folder / "work/a/b"
        assert "table above" in jtv.ok("init", cwd=folder).last_line

    def test_a_path_in_a_file_counts_from_the_file(self, jtv: Jtv) -> None:
        jtv.write(".env", "JTV_DATABASE=notes.db\n")
        (jtv.folder / "work/sub").mkdir()
        jtv.ok("init", cwd=jtv.folder / "work/sub")
        assert (jtv.folder / "work/notes.db").exists()

    def test_a_tilde_is_the_home(self, jtv: Jtv) -> None:
        jtv.write(".env", "JTV_DATABASE=~/notes.db\n")
        jtv.ok("init")
        assert (jtv.folder / "home/notes.db").exists()

    def test_a_file_that_is_not_utf8(self, jtv: Jtv) -> None:
        jtv.write(".env", b"JTV_TABLE=caf\xe9\n")
        result = jtv("init")
        assert result.code == 2
        assert ".env is not UTF-8" in result.error

    def test_a_file_that_cannot_be_read(self, jtv: Jtv, as_a_user: list[str]) -> None:
        jtv.write(".env", "JTV_TABLE=x\n").chmod(0)
        result = jtv("init", prefix=as_a_user)
        assert result.code == 2
        assert "Permission denied" in result.error

    def test_lines_that_are_no_settings_are_passed_over_in_silence(self, jtv: Jtv) -> None:
        jtv.write(".env", "what is this?\n'\nJTV_TABLE=fine\n")
        result = jtv.ok("init", "--quiet")
        assert result.stderr == ""
        assert "table fine" in jtv.ok("init").last_line

    @pytest.mark.parametrize(
        "content",
        [
            'A=1\n\nJTV_TABLE="unclosed\n',
            "A=1\nB=2\n  export JTV_TABLE='x' junk\n",
            'A=1\nB="unclosed\nJTV_TABLE=swallowed\nC="x"\n',
        ],
    )
    def test_a_line_of_ours_that_is_broken_is_named(self, jtv: Jtv, content: str) -> None:
        path = jtv.write(".env", content)
        result = jtv("list")
        assert result.code == 2
        assert result.stderr.startswith(f"jtv: error: {path}:3: JTV_TABLE cannot be parsed\nhint: ")
        assert result.is_one_error

        assert result.error.endswith("hint: check the quotation marks on this line and above it")

    @pytest.mark.parametrize("line", ["JTV_TABLE: x", '"JTV_TABLE": "x"', "export JTV_TABLE x"])
    def test_a_setting_without_an_equals_sign(self, jtv: Jtv, line: str) -> None:
        jtv.write(".env", f"{line}\n")
        result = jtv("list")
        assert result.code == 2
        assert result.error.endswith(
            ".env:1: JTV_TABLE cannot be parsed\nhint: write JTV_TABLE=VALUE"
        )

    @pytest.mark.parametrize("content", ['A="unclosed\nB=2\n', 'MY_JTV_TABLE="x\nJTV_TABLES="\n'])
    def test_a_broken_line_of_others_is_not(self, jtv: Jtv, content: str) -> None:
        jtv.write(".env", f"{content}JTV_TABLE=fine\n")
        assert "table fine" in jtv.ok("init").last_line

    @pytest.mark.parametrize(
        "content", [b"NAME=caf\xe9\n", b"\xff\xfeA\x00=\x001\x00", b"\x00" * 9]
    )
    def test_a_file_of_others_may_be_anything(self, jtv: Jtv, content: bytes) -> None:
        jtv.write(".env", content)
        assert jtv.ok("tables").stderr == ""

    def test_a_file_of_others_may_be_large(self, jtv: Jtv) -> None:
        content = b"NAME=value\n" * 300_000
        jtv.write(".env", content)
        assert jtv.ok("tables").stderr == ""
        for place in (0, 1 << 20, len(content)):
            # Names across the border of two blocks are found too.
            at = place - 5 if place == 1 << 20 else place
            jtv.write(".env", content[:at] + b"\nJTV_TABLE=x\n" + content[at:])
            result = jtv("tables")
            assert result.code == 2
            assert ".env is larger than 1 MiB" in result.stderr

    def test_a_directory_that_cannot_be_searched(self, jtv: Jtv, as_a_user: list[str]) -> None:
        jtv.write("closed/sub/.env", "JTV_TABLE=x\n")
        (jtv.folder / "work/closed").chmod(0)
        prefix = [sys.executable, "-c", AT, str(jtv.folder / "work/closed/sub"), *as_a_user]
        try:
            jtv.ok("tables", "--database", str(jtv.folder / "work/x.db"), prefix=prefix)
        finally:
            (jtv.folder / "work/closed").chmod(0o755)

    def test_a_home_that_cannot_be_searched(self, jtv: Jtv, as_a_user: list[str]) -> None:
        (jtv.folder / "home").chmod(0)
        try:
            jtv.ok("tables", "--database", "x.db", prefix=as_a_user)
        finally:
            (jtv.folder / "home").chmod(0o755)

    @pytest.mark.parametrize(
        ("value", "hint"),
        [
            (r'"C:\Users\bin\v2.db"', "JTV_DATABASE='VALUE'"),
            ("a\x00b.db", "single quotes"),
            ('"a\nb.db"', "single quotes"),
            ("a\x1bb.db", "single quotes"),
        ],
    )
    def test_a_value_with_a_control_character(self, jtv: Jtv, value: str, hint: str) -> None:
        path = jtv.write(".env", f"A=1\nJTV_DATABASE={value}\n")
        result = jtv("tables")
        assert result.code == 2
        said = f"{path}:2: the value of JTV_DATABASE contains a control character"
        assert said in result.stderr
        assert hint in result.stderr
        jtv.write(".env", r"JTV_DATABASE='C:\Users\bin\v2.db'")
        jtv.ok("init")
        assert (jtv.folder / r"work/C:\Users\bin\v2.db").exists()

    @pytest.mark.parametrize(
        "content",
        ["JTV_TABLE\nJTV_TABLES=1\n", 'A="over\nJTV_TABLE=two lines"\n', "#JTV_TABLE='x\n"],
    )
    def test_a_name_that_sets_nothing(self, jtv: Jtv, content: str) -> None:
        jtv.write(".env", content)
        assert jtv.ok("tables").stderr == ""

    def test_a_working_folder_that_is_gone(self, jtv: Jtv) -> None:
        prefix = ["sh", "-c", 'mkdir gone && cd gone && rmdir ../gone && exec "$@"', "sh"]
        jtv.ok("init", prefix=prefix)

    def test_no_home_folder(self, jtv: Jtv) -> None:
        result = jtv("init", env={"HOME": "/dev/null/none"})
        assert result.code == 5
        assert "name another file with --database" in result.error
        env = {"HOME": "/dev/null/none", "JTV_DATABASE": "here.db"}
        jtv.ok("init", env=env)
        jtv.ok("list", env=env)


class TestValues:
    @pytest.mark.parametrize(
        "name",
        [
            "1st",
            "a b",
            "a;b",
            'a"b',
            "täble",
            "x" * 53,
            "",
            "jtv_tables",
            "sqlite_x",
            "a_occurrences",
            "a_sources",
        ],
    )
    def test_names_no_table_can_have(self, jtv: Jtv, name: str) -> None:
        result = jtv("init", "--table", name)
        assert result.code == 2
        assert not jtv.database.exists()

    @pytest.mark.parametrize("name", ["x", "_", "select", "Table_2", "x" * 52])
    def test_names_a_table_can_have(self, jtv: Jtv, name: str) -> None:
        jtv.ok("init", "--table", name)
        jtv.ok("ingest", "-", "--table", name, stdin="a\n")
        assert len(jtv.ok("search", "a", "--table", name).rows) == 1

    def test_an_api_base_that_cannot_be_is_named_by_its_source(self, jtv: Jtv) -> None:
        jtv.ok("init", "--model", "jina-embeddings-v3")
        env = {"JINA_API_KEY": KEY}
        named = jtv("search", "x", "--api-base", "ftp://h", env=env)
        assert (named.code, named.is_one_error) == (2, True)
        assert "(--api-base) is not an http or https URL\nhint: give one" in named.error
        set_there = jtv("search", "x", env=env | {"JINA_API_BASE": "ftp://h"})
        assert "(JINA_API_BASE in the environment)" in set_there.error

    def test_tidb_without_a_url(self, jtv: Jtv) -> None:
        result = jtv("list", "--database", "tidb")
        assert result.code == 2
        assert "TIDB_DATABASE_URL" in result.error

    def test_a_database_password_is_never_shown(self, jtv: Jtv) -> None:
        url = "mysql+pymysql://u.root:se%2Fcret-pw@127.0.0.1:1/test"
        for command in (["init"], ["list"], ["search", "x", "--debug"]):
            result = jtv(*command, env={"TIDB_DATABASE_URL": url})
            assert result.code in (2, 5)
            for secret in ("se%2Fcret-pw", "se/cret-pw"):
                assert secret not in result.stderr

    @pytest.mark.parametrize(
        "url",
        [
            "root:sekret123@tcp(127.0.0.1:4000)/test",
            "root:sekret123@h:4000/test",
            "root:sek/sekret123@h:4000/test",
            "//root:sekret123@h:4000/test",
            "mysql:/root:sekret123@h/test",
            "mysql:root:sekret123/test",
            "MySQL+pymysql:root:sekret123",
            "jdbc:mysql:root:sekret123",
            "tidb:root/sekret123",
        ],
    )
    def test_what_has_a_password_and_is_no_url_is_no_path(self, jtv: Jtv, url: str) -> None:
        to_copy = ["copy", "--to", "x.db", "--from"]
        for arguments, env in (
            (["list"], {"TIDB_DATABASE_URL": url}),
            (["init"], {"TIDB_DATABASE_URL": url}),
            (["init"], {"JTV_DATABASE": url}),
            (["init"], {"JTV_DATABASE": "tidb", "TIDB_DATABASE_URL": url}),
            (["list", "--database", url], {}),
            ([*to_copy, url], {}),
            (["copy", "--from", "embedded", "--to", url], {}),
            (["doctor"], {"TIDB_DATABASE_URL": url}),
        ):
            result = jtv(*arguments, env=env)
            assert result.code == 2
            assert result.is_one_error == (arguments != ["doctor"])
            assert "write mysql://USER:PASSWORD@HOST:4000/DATABASE" in result.stdout + result.stderr
            assert "sekret" not in result.stdout + result.stderr
        assert not list((jtv.folder / "work").iterdir())

    @pytest.mark.parametrize("value", ["jtv.db", "embedded", "tidb"])
    def test_the_tutorials_name_is_for_a_url(self, jtv: Jtv, value: str) -> None:
        result = jtv("init", env={"TIDB_DATABASE_URL": value})
        assert result.code == 2
        assert result.error == (
            "jtv: error: the database URL (TIDB_DATABASE_URL in the environment) has no ://\n"
            "hint: write mysql://USER:PASSWORD@HOST:4000/DATABASE"
        )

    @pytest.mark.parametrize("path", ["a@b.db", "a:b.db", "c/a:b@c.db", "a@b:c.db"])
    def test_a_path_may_have_such_characters(self, jtv: Jtv, path: str) -> None:
        (jtv.folder / "work/c").mkdir()
        jtv.ok("init", "--database", path)
        assert (jtv.folder / "work" / path).exists()


class TestWhereAKeyGoes:
    """A `.env` that came with somebody else's folder must not draw the user's key away."""

    @pytest.fixture
    def ready(self, jtv: Jtv) -> Jtv:
        jtv.ok("init", "--model", "jina-embeddings-v2-base-en")
        return jtv

    def refused(self, jtv: Jtv, api: JinaServer, **env: str) -> str:
        for command in (["search", "x"], ["list", "x"], ["ingest", "-"]):
            result = jtv(*command, env=env)
            assert result.code == 2
            assert result.is_one_error
            assert KEY not in result.stderr
        assert api.requests == []
        return result.error

    def test_a_foreign_base_gets_no_key_from_the_environment(
        self, ready: Jtv, api: JinaServer
    ) -> None:
        ready.write(".env", f"JINA_API_BASE={api.url}\n")
        error = self.refused(ready, api, JINA_API_KEY=KEY)
        assert "JINA_API_KEY in the environment" in error
        assert ".env" in error
        assert "--api-base" in error

    def test_nor_from_config_env(self, ready: Jtv, api: JinaServer) -> None:
        ready.write(".env", f"JINA_API_BASE={api.url}\n")
        config = ready.folder / "home/.config/jtv/config.env"
        config.parent.mkdir(parents=True)
        config.write_text(f"JINAAI_API_KEY={KEY}\n")
        self.refused(ready, api)

    def test_nor_by_a_key_of_its_own_that_the_environments_displaces(
        self, ready: Jtv, api: JinaServer
    ) -> None:
        ready.write(".env", f"JINA_API_BASE={api.url}\nJINA_API_KEY=theirs-0123\n")
        self.refused(ready, api, JINAAI_API_KEY=KEY)

    @pytest.mark.parametrize("trick", ["${JINA_API_KEY}", "$JINA_API_KEY", "${JINAAI_API_KEY:-x}"])
    def test_nor_by_interpolation(self, ready: Jtv, api: JinaServer, trick: str) -> None:
        ready.write(".env", f"JINA_API_BASE={api.url}/{trick}\nJINAAI_API_KEY={trick}\n")
        env = {"JINA_API_KEY": KEY}
        for command in (["search", "x"], ["ingest", "-"]):
            assert ready(*command, env=env).code == 2
        # With no key in the environment there is nothing to carry away.
        ready.write(".env", f"JINA_API_BASE={api.url}\nJINAAI_API_KEY={trick}\nX={KEY}\n")
        ready("search", "x")
        assert [KEY in str(request) for request in api.requests] == [False]
        assert api.requests[0].headers["authorization"] == f"Bearer {trick}"

    def test_a_key_from_the_same_file_goes_there(self, ready: Jtv, api: JinaServer) -> None:
        ready.write(".env", f"JINA_API_BASE={api.url}\nJINA_API_KEY={api.key}\n")
        ready.ok("ingest", "-", stdin="a\n")

    def test_a_base_named_on_the_command_line_is_trusted(self, ready: Jtv, api: JinaServer) -> None:
        ready.write(".env", "JINA_API_BASE=https://elsewhere.example\n")
        env = {"JINA_API_KEY": api.key or ""}
        ready.ok("ingest", "-", "--api-base", api.url, stdin="a\n", env=env)

    def test_commands_that_embed_nothing_do_not_mind(self, ready: Jtv, api: JinaServer) -> None:
        ready.write(".env", f"JINA_API_BASE={api.url}\n")
        ready.ok("list", env={"JINA_API_KEY": KEY})
        ready.ok("init", env={"JINA_API_KEY": KEY})

    def test_nor_do_tables_made_offline(self, jtv: Jtv, api: JinaServer) -> None:
        jtv.ok("init")
        jtv.write(".env", f"JINA_API_BASE={api.url}\n")
        jtv.ok("ingest", "-", stdin="a\n", env={"JINA_API_KEY": KEY})
        jtv.ok("search", "a", env={"JINA_API_KEY": KEY})

    def test_no_key_can_be_asked_for(self, ready: Jtv) -> None:
        """A key in the environment or a file is not for a server in the local network."""
        ready.write(".env", f"JINA_API_KEY={KEY}\n")
        with JinaServer(key=None) as server:
            env = {"JINA_API_BASE": server.url}
            for options, more in (
                (["--no-key"], {}),
                (["--no-key"], {"JINA_API_KEY": KEY}),
                ([], {"JINA_API_KEY": ""}),
                ([], {"JINAAI_API_KEY": " "}),
            ):
                assert ready("search", "x", *options, env=env | more).code == 1
            assert len(server.requests) == 4
            assert not [r for r in server.requests if "authorization" in r.headers]
            ready("search", "x", env=env | {"JINA_API_KEY": "", "JINAAI_API_KEY": KEY})
            assert server.requests[-1].headers["authorization"] == f"Bearer {KEY}"

    def test_plain_http_to_another_machine(self, ready: Jtv) -> None:
        env = {"JINA_API_KEY": KEY, "JINA_API_BASE": "http://192.0.2.1"}
        result = ready("search", "x", env=env)
        assert result.code == 2
        assert "plain http" in result.stderr
        assert "--no-key" in result.stderr
        assert KEY not in result.stderr


def test_a_store_whose_path_is_not_utf8(jtv: Jtv) -> None:
    """Its file is found, and what names it is printed with the byte escaped."""
    jtv.environment["JTV_DATABASE"] = "a\udcff/b.db"
    (jtv.folder / "work/a\udcff").mkdir()
    [made] = jtv.ok("init", "--json").records
    assert made["store"] == r"a\xff/b.db"
    assert (jtv.folder / "work/a\udcff/b.db").exists()
    jtv.ok("ingest", "-", stdin="one\n")
    assert jtv.ok("info").rows[0] == ["store", r"a\xff/b.db"]
    assert jtv.ok("info", "--json").records[0]["store"] == r"a\xff/b.db"
    assert r"a\xff/b.db" in jtv.ok("init").last_line
    [copied] = jtv.ok("copy", "--from", "a\udcff/b.db", "--to", "c\udcff.db", "--json").records
    assert (copied["from"], copied["to"]) == (r"a\xff/b.db", r"c\xff.db")
    assert [row[2] for row in jtv.ok("list", "--database", "c\udcff.db").rows] == ["one"]


def test_a_settings_file_whose_path_is_not_utf8(jtv: Jtv) -> None:
    jtv.write("a\udcff/.env", "JTV_DATABASE=b.db\n")
    said = jtv.ok("init", cwd=jtv.folder / "work/a\udcff").last_line
    assert said.count(r"work/a\xff/") == 2
    assert (jtv.folder / "work/a\udcff/b.db").exists()


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_doctor_prints_what_is_not_utf8(jtv: Jtv, options: tuple[str, ...]) -> None:
    jtv.environment["JTV_DATABASE"] = "a\udcff.db"
    jtv.ok("init")
    found = jtv("doctor", "--no-api", "--model", "m\udcff", *options)
    assert found.code == 2
    escape = r"\\xff" if options else r"\xff"
    assert f"a{escape}.db (JTV_DATABASE in the environment)" in found.stdout
    assert f"there is no model m{escape}" in found.stdout
