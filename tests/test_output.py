"""stdout and stderr: formats, streams, control characters, closed pipes, terminals."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from conftest import SCRIPT
from terminal import Terminal

if TYPE_CHECKING:
    from conftest import Jtv

# A colour, a C1 control (CSI), and an override that reverses what follows.
WILD = "\x1b[31mred\x1b[0m \x9b2J \u202etxet \x07"
TAME = r"\u001b[31mred\u001b[0m \u009b2J \u202etxet \u0007"


@pytest.fixture
def wild(jtv: Jtv) -> Jtv:
    """A table with one text that would drive a terminal, and has a tab in it."""
    jtv.ok("init")
    jtv.ok("ingest", "-", stdin=f"{WILD}\tend\n")
    return jtv


class TestFormats:
    def test_tab_separated_is_the_default_off_a_terminal(self, sampled: Jtv) -> None:
        default = sampled.ok("search", "What is TiDB?").stdout
        assert default == sampled.ok("search", "What is TiDB?", "--format", "tsv").stdout
        for line in default.splitlines():
            distance, number, _, source, at = line.split("\t")
            assert f"{float(distance):.6f}" == distance
            assert number == at
            assert source.endswith("sample_texts.txt")

    def test_only_separators_are_escaped_off_a_terminal(self, wild: Jtv) -> None:
        assert wild.ok("list").stdout == f"-\t1\t{WILD}\\tend\t-\t1\n"

    def test_json_lines(self, sampled: Jtv) -> None:
        result = sampled.ok("search", "What is TiDB?", "--json")
        assert result.stdout == sampled.ok("search", "What is TiDB?", "-f", "jsonl").stdout
        for record, row in zip(
            result.records, sampled.ok("search", "What is TiDB?").rows, strict=True
        ):
            assert list(record) == [
                *("id", "distance", "content", "source", "line", "metadata", "end_line", "heading")
            ]
            assert f"{record['distance']:.6f}" == row[0]
            assert [str(record[key]) for key in ("id", "content", "source", "line")] == row[1:]
            assert record["metadata"] is None

    def test_json_has_null_for_what_is_missing(self, jtv: Jtv) -> None:
        jtv.ok("init")
        jtv.ok("ingest", "-", stdin="a\n")
        [record] = jtv.ok("list", "--json").records
        assert record == {
            "id": 1, "distance": None, "content": "a", "source": None, "line": 1, "metadata": None,
            "end_line": None, "heading": None,
        }  # fmt: skip

    @pytest.mark.parametrize("texts", ["", "a\n", "a\nb\nc\n"])
    def test_json_is_one_array(self, jtv: Jtv, texts: str) -> None:
        jtv.ok("init")
        jtv.ok("ingest", "-", stdin=texts)
        array = json.loads(jtv.ok("list", "--format", "json").stdout)
        assert [record["content"] for record in array] == texts.split()

    def test_an_empty_search_is_an_empty_array(self, jtv: Jtv) -> None:
        jtv.ok("init")
        result = jtv("search", "x", "--format", "json")
        assert (result.code, result.stdout) == (1, "[]\n")

    def test_csv(self, jtv: Jtv) -> None:
        jtv.ok("init")
        jtv.ok("ingest", "-", "--source", 'a "b"', stdin="one, two\nthree\n")
        rows = list(csv.reader(io.StringIO(jtv.ok("list", "three", "--format", "csv").stdout)))
        assert rows[0] == ["distance", "id", "content", "source", "line"]
        assert rows[1][1:] == ["1", "one, two", 'a "b"', "1"]
        assert rows[2] == ["0.000000", "2", "three", 'a "b"', "2"]
        assert jtv.ok("list", "--format", "csv", "--limit", "0").stdout == ",".join(rows[0]) + "\n"

    def test_csv_can_be_read_back(self, jtv: Jtv) -> None:
        jtv.ok("init")
        texts = ["a\rb", 'c\r"d", e', "two\nlines\r\nthree"]
        lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
        jtv.ok("ingest", "-", "--input", "jsonl", stdin=lines)
        jtv.write("x.csv", jtv.ok("list", "--format", "csv").raw_stdout)
        jtv.ok("init", "--table", "again")
        jtv.ok("ingest", "x.csv", "--table", "again")
        again = jtv.ok("list", "--table", "again", "--json").records
        assert [record["content"] for record in again] == texts

    def test_text_alone(self, wild: Jtv) -> None:
        assert wild.ok("list", "--format", "text").stdout == f"{WILD}\\tend\n"

    def test_nul_ends_records(self, wild: Jtv) -> None:
        assert wild.ok("list", "-0", "--format", "text").stdout == f"{WILD}\tend\0"
        assert wild.ok("list", "-0").stdout.count("\0") == 1
        assert wild.ok("list", "-0", "--json").stdout.endswith("}\0")

    @pytest.mark.parametrize(
        "options",
        [
            ["-0", "-f", "csv"],
            ["-0", "-f", "json"],
            ["-0", "-f", "table"],
            ["--json", "-f", "csv"],
            ["-f", "xml"],
        ],
    )
    def test_options_that_do_not_go_together(self, sampled: Jtv, options: list[str]) -> None:
        result = sampled("list", *options)
        assert (result.code, result.stdout) == (2, "")

    def test_a_small_distance_has_no_exponent(self, jtv: Jtv) -> None:
        jtv.ok("init")
        jtv.ok("ingest", "-", stdin="exactly this\n")
        assert jtv.ok("search", "exactly this").rows[0][0] == "0.000000"

    @pytest.mark.parametrize("locale", ["C", "POSIX", "en_US.ISO-8859-1"])
    def test_data_is_utf8_whatever_the_locale(self, jtv: Jtv, locale: str) -> None:
        env = {"LC_ALL": locale, "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
        jtv.ok("init", env=env)
        jtv.ok("ingest", "-", stdin="漢字 🦣\n", env=env)
        assert jtv.ok("list", "--format", "text", env=env).stdout == "漢字 🦣\n"


class TestStreams:
    def test_a_reader_that_leaves(self, sampled: Jtv) -> None:
        sampled.ok("ingest", "-", stdin="".join(f"line {number}\n" for number in range(5000)))
        script = f'{SCRIPT} list | head -1; echo "$?"; {SCRIPT} list | (exec <&-; sleep 1)'
        result = subprocess.run(
            ["bash", "-c", f"set -o pipefail; {script}; echo $?"],
            env=sampled.variables(),
            cwd=sampled.folder,
            capture_output=True,
            timeout=60,
        )
        first, *codes = result.stdout.decode().splitlines()
        assert first.startswith("-\t1\t")
        assert codes == ["0", "0"]
        assert result.stderr == b""

    def test_pipelines(self, sampled: Jtv) -> None:
        script = (
            f"{SCRIPT} search 'What is TiDB?' | head -1 | cut -f3; {SCRIPT} list | cut -f3 | wc -l"
        )
        output = subprocess.run(
            ["bash", "-c", script], env=sampled.variables(), capture_output=True, timeout=60
        ).stdout.decode()
        assert output.startswith("TiDB is an open-source")
        assert output.split()[-1] == "34"

    @pytest.mark.skipif(not shutil.which("jq"), reason="needs jq")
    def test_jq(self, sampled: Jtv) -> None:
        script = f"{SCRIPT} search 'What is TiDB?' --json | jq -r .id"
        output = subprocess.run(
            ["bash", "-c", script], env=sampled.variables(), capture_output=True, timeout=60
        ).stdout
        assert output.splitlines()[0] == b"2"

    @pytest.mark.parametrize(
        "command", [["search", "x"], ["list"], ["--help"], ["--version"], ["init", "--json"]]
    )
    def test_a_full_disk(self, sampled: Jtv, command: list[str]) -> None:
        with open("/dev/full", "wb") as full:  # noqa: PTH123
            result = sampled(*command, stdout=full)
        assert result.code == 74
        assert result.error == "jtv: error: cannot write to stdout: No space left on device"
        assert "Traceback" not in result.stderr

    @pytest.mark.parametrize("command", ["list", "--help", "--version"])
    def test_stdout_that_is_closed(self, sampled: Jtv, command: str) -> None:
        result = sampled(command, prefix=["sh", "-c", 'exec "$@" >&-', "sh"])
        assert result.code == 74
        assert result.stderr == "jtv: error: stdout is closed\n"

    @pytest.mark.parametrize(
        "command",
        [
            ["init"],
            ["ingest", "-"],
            ["sync", "-", "--source", "s", "--yes"],
            ["delete", "1", "--yes"],
            ["index", "build"],
            ["copy", "--from", "embedded", "--to", "b.db"],
        ],
        ids=" ".join,
    )
    def test_a_command_that_prints_no_data_needs_no_stdout(
        self, sampled: Jtv, command: list[str]
    ) -> None:
        closed = ["sh", "-c", 'exec "$@" >&-', "sh"]
        sampled.ok(*command, stdin="a new text\n", prefix=closed)
        if command[0] == "ingest":
            assert len(sampled.ok("list").rows) == 35

    @pytest.mark.parametrize("command", ["--help", "--version"])
    def test_a_reader_that_was_never_there(self, jtv: Jtv, command: str) -> None:
        reader, writer = os.pipe()
        os.close(reader)
        result = jtv(command, stdout=writer)
        os.close(writer)
        assert (result.code, result.stderr) == (0, "")

    @pytest.mark.parametrize("where", ["2>&-", "2>/dev/full"])
    def test_stderr_that_takes_nothing(self, jtv: Jtv, where: str) -> None:
        assert jtv("init", prefix=["sh", "-c", f'exec "$@" {where}', "sh"]).code == 0
        assert len(jtv("list", prefix=["sh", "-c", f'exec "$@" {where}', "sh"]).rows) == 0

    def test_help_and_version_are_data(self, jtv: Jtv) -> None:
        for arguments in ([], ["--help"], ["search", "-h"], ["--version"]):
            result = jtv.ok(*arguments)
            assert result.stderr == ""
            assert result.stdout

    def test_an_error_is_one_line_whatever_is_in_it(self, jtv: Jtv) -> None:
        result = jtv("ingest", f"a\n{WILD}.txt")
        assert result.code == 2
        assert result.stderr == (
            f"jtv: error: cannot read a\\n{TAME}.txt: No such file or directory\n"
            "hint: check the name: ls .\n"
        )


class TestTerminal:
    def test_search_is_a_table(self, sampled: Jtv) -> None:
        with Terminal(
            sampled, "search", "What is TiDB?", "-k", "2", env={"NO_COLOR": "1"}
        ) as terminal:
            assert terminal.wait() == 0
        lines = list(filter(None, terminal.lines))
        assert lines[0].split() == ["rank", "distance", "id", "text"]
        assert lines[2].split()[0] == "1"
        assert "TiDB is an open-source" in lines[2]

    def uncut(self, jtv: Jtv, command: list[str], columns: int) -> Terminal:
        """Run a command on a terminal, and hold that all it prints fits there and is whole."""
        with Terminal(jtv, *command, columns=columns, env={"NO_COLOR": "1"}) as terminal:
            assert terminal.wait() == 0
        assert max(map(len, terminal.lines)) <= columns
        assert "…" not in "".join(terminal.lines)
        return terminal

    @pytest.mark.parametrize("columns", [60, 30, 200])
    @pytest.mark.parametrize("command", [["search", "What is TiDB?"], ["list", "What is TiDB?"]])
    def test_it_fits_and_nothing_is_cut(
        self, sampled: Jtv, command: list[str], columns: int
    ) -> None:
        terminal = self.uncut(sampled, command, columns)
        shown = "".join("".join(terminal.lines).split())
        for word in ("HTAP", "MySQL-", "workloads."):
            assert word in shown or columns == 30

    @pytest.mark.parametrize("columns", [24, 14])
    @pytest.mark.parametrize("command", [["search", "vitamins"], ["list", "vitamins"]])
    def test_where_it_is_narrow_the_text_stays(
        self, sampled: Jtv, command: list[str], columns: int
    ) -> None:
        terminal = self.uncut(sampled, command, columns)
        header, *_ = filter(None, terminal.lines)
        assert header.split() == (["id", "text"] if columns == 24 else ["text"])
        assert "prevents" in terminal.screen

    def test_wide_characters_fit_too(self, jtv: Jtv) -> None:
        jtv.ok("init")
        jtv.ok("ingest", "-", stdin="漢字かな交じり文" * 20 + "\n" + "🦣" * 100 + "\n")
        for command in (["search", "漢字"], ["list"]):
            with Terminal(jtv, *command, columns=60, env={"NO_COLOR": "1"}) as terminal:
                assert terminal.wait() == 0
            assert terminal.screen.count("漢") == 20
            assert terminal.screen.count("🦣") == 100

    def test_a_text_cannot_drive_it(self, wild: Jtv) -> None:
        commands = (
            ["search", "red"],
            ["list"],
            ["list", "--json"],
            ["list", "-f", "tsv"],
            ["list", "-f", "text"],
            ["list", "-f", "csv"],
            ["list", "-f", "json"],
        )
        for command in commands:
            with Terminal(wild, *command, env={"NO_COLOR": "1"}) as terminal:
                assert terminal.wait() == 0
            shown = "\n".join(terminal.lines)
            for control in "\x1b\x9b\u202e\x07":
                assert control not in shown, command
            assert r"\u001b[31mred" in shown

    @pytest.mark.parametrize("command", [["list"], ["search", "--queries", "queries.txt"]])
    def test_tab_separated_is_separated_by_tabs_there_too(
        self, wild: Jtv, command: list[str]
    ) -> None:
        wild.write("queries.txt", "one\ttwo\n")
        with Terminal(wild, *command, "-f", "tsv") as terminal:
            assert terminal.wait() == 0
        [line] = filter(None, terminal.lines)
        *_, number, text, source, at = line.split("\t")
        assert (number, text, source, at) == ("1", rf"{TAME}\tend", "-", "1")

    def test_markup_is_text(self, jtv: Jtv) -> None:
        jtv.ok("init")
        jtv.ok("ingest", "-", stdin="[bold]loud[/bold] :smile: [/]\n")
        for command in (["search", "loud"], ["list"]):
            with Terminal(jtv, *command, env={"NO_COLOR": "1"}) as terminal:
                assert terminal.wait() == 0
            assert "[bold]loud[/bold] :smile: [/]" in terminal.screen

    def test_colours_are_asked_for_or_not(self, sampled: Jtv) -> None:
        def is_colored(*options: str, **env: str) -> bool:
            with Terminal(sampled, "search", "TiDB", *options, env=env) as terminal:
                assert terminal.wait() == 0
            return "\x1b[" in "".join(terminal.lines)

        assert is_colored()
        assert not is_colored(NO_COLOR="1")
        assert not is_colored(TERM="dumb")
        assert not is_colored("--color", "never")
        assert is_colored("--color", "always", NO_COLOR="1")

    def test_colours_off_a_terminal_only_when_demanded(self, sampled: Jtv) -> None:
        env = {"TERM": "xterm-256color", "FORCE_COLOR": "1", "CLICOLOR_FORCE": "1"}
        for options in ([], ["-f", "table"], ["-f", "table", "--color", "never"]):
            assert b"\x1b" not in sampled.ok("search", "TiDB", *options, env=env).raw_stdout
        demanded = sampled.ok("search", "TiDB", "-f", "table", "--color", "always", env=env)
        assert b"\x1b[" in demanded.raw_stdout

    def test_nothing_found_is_said(self, sampled: Jtv) -> None:
        with Terminal(sampled, "search", "xylophone", "--max-distance", "0.01") as terminal:
            assert terminal.wait() == 1
        assert "Nothing found" in terminal.screen

    def test_ingest_shows_how_far_it_is(self, jtv: Jtv) -> None:
        jtv.ok("init")
        reader, writer = os.pipe()
        with Terminal(jtv, "ingest", "-", stdin=reader) as terminal:
            os.close(reader)
            terminal.wait_for("reading")
            os.write(writer, b"".join(b"line %d\n" % number for number in range(2000)))
            terminal.wait_for("1,024 stored")
            os.close(writer)
            assert terminal.wait() == 0
        assert "Stored 2,000 new documents (0 already stored, 0 skipped)" in terminal.screen

    def test_what_is_skipped_is_said_beside_what_moves(self, jtv: Jtv) -> None:
        jtv.ok("init")
        jtv.write("mixed.txt", b"good\n\xff\n" * 3)
        with Terminal(jtv, "ingest", "mixed.txt") as terminal:
            assert terminal.wait() == 3
        said = [line for line in terminal.lines if "skipped" in line]
        assert said[:3] == [
            f"jtv: warning: mixed.txt:{line}: not UTF-8 (byte 0xff at position 1), skipped"
            for line in (2, 4, 6)
        ]
