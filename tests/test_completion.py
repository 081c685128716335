"""`jtv completion`: what the Tab key offers, in a real bash and by what other shells ask."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from conftest import SCRIPT
from jtv_cli.embedders.models import MODELS
from terminal import Terminal

if TYPE_CHECKING:
    from conftest import Jtv, Prepare

TABLES = ["jinaai_tidb_demo_documents", "other"]
FORMATS = ["table", "tsv", "csv", "json", "jsonl", "text"]


@pytest.fixture
def filled(jtv: Jtv, prepare: Prepare) -> Jtv:
    """A user with two tables."""
    prepare(jtv, ("init",), ("init", "--table", "other"))
    jtv.environment["PATH"] = f"{SCRIPT.parent}:/usr/bin:/bin"
    return jtv


def offered(jtv: Jtv, *words: str, shell: str = "bash") -> list[str]:
    result = jtv.ok("completion", shell, "--", *words)
    assert result.stderr == ""
    return result.stdout.splitlines()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["sea"], ["search"]),
        (["index", "b"], ["build"]),
        (["search", "--mod"], ["--model"]),
        (["search", "x", "--ex"], ["--exact", "--explain"]),
        (["search", "--model", ""], list(MODELS)),
        (["search", "--model", "hash"], ["hashing-v1"]),
        (["list", "--format", ""], FORMATS),
        (["list", "--table", ""], TABLES),
        (["list", "--table", "ot"], ["other"]),
        (["list", "--table", "=", "ot"], ["other"]),
        (["list", "--table", "="], TABLES),
        (["list", "--table=ot"], ["--table=other"]),
        (["list", "--json", "--color", "n"], ["never"]),
        (["completion", ""], ["bash", "zsh", "fish"]),
        (["ingest", "sam"], []),
        (["ingest", "--source", ""], []),
        (["search", "--", "--mod"], []),
        (["nonsense", "--"], ["--version", "--help"]),
    ],
    ids=" ".join,
)
def test_what_is_offered(filled: Jtv, words: list[str], expected: list[str]) -> None:
    assert offered(filled, *words) == expected


def test_every_command(filled: Jtv) -> None:
    commands = offered(filled, "")
    assert {"init", "ingest", "search", "list", "show", "delete", "sync", "index"} <= set(commands)


def test_the_tables_of_the_store_that_is_named(filled: Jtv) -> None:
    for words in (
        ["--database", "else.db"],
        ["--database=else.db"],
        ["--database", "=", "else.db"],
    ):
        filled.ok("init", "--database", "else.db", "--table", "elsewhere")
        assert offered(filled, "list", *words, "--table", "") == ["elsewhere"]


@pytest.mark.parametrize(
    "settings",
    [
        {"JTV_DATABASE": "mysql://user:secret@192.0.2.1:4000/db"},
        {"JTV_DATABASE": "tidb"},
        {"JTV_DATABASE": "nowhere.db"},
        {"JTV_DATABASE": "broken.db"},
        {"JTV_TABLE": "no name"},
    ],
    ids=str,
)
def test_no_tables_and_no_word_where_they_cannot_be_looked_up(
    filled: Jtv, settings: dict[str, str]
) -> None:
    """An address that swallows packets would hang, if it were asked."""
    filled.write("broken.db", "no database")
    result = filled.ok("completion", "bash", "--", "list", "--table", "", env=settings)
    assert (result.stdout, result.stderr) == ("", "")
    assert not (filled.folder / "work/nowhere.db").exists()


def test_meanings_for_the_shells_that_show_them(filled: Jtv) -> None:
    assert offered(filled, "sea", shell="fish")[0].startswith("search\tFind the documents")
    assert offered(filled, "sea", shell="zsh")[0].startswith("search:Find the documents")
    assert offered(filled, "list", "--table", "o", shell="zsh") == ["other"]


def test_a_shell_that_there_is_no_script_for(jtv: Jtv) -> None:
    assert jtv("completion", "tcsh").code == 2
    result = jtv("completion")
    assert (result.code, result.is_one_error) == (2, True)
    assert "Choose from: bash, zsh, fish\nhint: see: jtv completion --help" in result.error


def test_its_help_has_nothing_that_is_for_scripts_only(jtv: Jtv) -> None:
    usage, *lines = jtv.ok("completion", "--help").stdout.splitlines()
    shell = lines[lines.index("Arguments:") + 1]
    assert usage in {
        "Usage: jtv completion [OPTIONS] SHELL",
        "Usage: jtv completion [OPTIONS] {SHELL}",
    }
    assert shell.split(maxsplit=1) == ["SHELL", "bash, zsh or fish.  [required]"]


def test_in_a_real_bash(filled: Jtv) -> None:
    program = (
        'eval "$(jtv completion bash)"; complete -p jtv\n'
        'ask() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _jtv jtv; }\n'
        'for words in "jtv sea" "jtv list --table o" "jtv ingest x"; do\n'
        '  ask $words; echo "$words: ${COMPREPLY[*]}"\n'
        "done"
    )
    result = filled.ok(prefix=["bash", "--norc", "-euc", program])
    assert result.stdout.splitlines() == [
        "complete -o default -F _jtv jtv",
        "jtv sea: search",
        "jtv list --table o: other",
        "jtv ingest x: ",
    ]


def test_the_tab_key_in_a_real_bash(filled: Jtv) -> None:
    filled.write("sample file.txt", "a\n")
    bash = ["bash", "-c", "exec bash --norc --noprofile -i"]
    with Terminal(filled, prefix=bash, env={"INPUTRC": "/dev/null"}) as terminal:
        terminal.type('eval "$(jtv completion bash)"; echo rea""dy\n')
        terminal.wait_for("ready")
        terminal.type("jtv sea\t")
        terminal.wait_for("jtv search ")
        terminal.type("--table=ot\t")
        terminal.wait_for("--table=other ")
        terminal.type("--queries sam\t")
        terminal.wait_for(r"sample\ file.txt")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_script_is_one_that_the_shell_understands(jtv: Jtv, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell}")
    script = jtv.ok("completion", shell).stdout
    subprocess.run([shell, "-n"], input=script.encode(), check=True, timeout=60)
