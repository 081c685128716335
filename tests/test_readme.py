"""The README and docs are true: commands run as printed, tables are complete."""

from __future__ import annotations

import re
import shutil
import subprocess
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer

from conftest import SAMPLE_TEXTS, SCRIPT
from jtv_cli.cli.run import make_app
from jtv_cli.config import NAMES
from jtv_cli.embedders.models import MODELS
from jtv_cli.errors import ExitCode
from jtv_cli.render.formats import Format

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Jtv

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
DOCS = README + "".join(page.read_text() for page in sorted((ROOT / "docs").glob("*.md")))


def block(marker: str) -> str:
    match = re.search(rf"<!-- {marker} -->\n```sh\n(.*?)```", README, re.DOTALL)
    assert match
    return match[1]


def test_the_commands_run_as_printed(jtv: Jtv) -> None:
    shutil.copy(SAMPLE_TEXTS, jtv.folder / "work")
    commands = block("run")
    assert commands.count("\n") > 8
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        env=jtv.variables({"PATH": f"{SCRIPT.parent}:/usr/bin:/bin"}),
        cwd=jtv.folder / "work",
        capture_output=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr.decode()
    assert "Canberra, not Sydney, is the capital of Australia." in result.stdout.decode()


def test_the_example_is_what_jtv_prints(sampled: Jtv) -> None:
    shown = sampled.ok("search", "What is TiDB?", "-k", "2").rows
    for distance, number, text, *_ in shown:
        assert f"{distance}  {number:>2}" in README
        assert text.split()[0] in README


def test_the_picture_is_what_jtv_prints() -> None:
    path = ROOT / "tools/screenshot.py"
    spec = spec_from_file_location("screenshot", path)
    assert spec is not None
    assert spec.loader is not None
    screenshot = module_from_spec(spec)
    spec.loader.exec_module(screenshot)
    # Releases of rich may draw the same text in another way.
    drawn, shown = (
        re.findall(">([^<]+)</text>", svg)
        for svg in (screenshot.picture(), screenshot.PICTURE.read_text())
    )
    assert drawn == shown, f"run python tools/{path.name}"
    assert len(shown) > 5


@pytest.mark.parametrize("marker", ["try command", "test command"])
def test_set_up_is_one_line(marker: str) -> None:
    assert block(marker).count("\n") == 1


def test_trying_it_leaves_nothing_that_later_commands_would_use(jtv: Jtv) -> None:
    """A store that stays in the environment would be used in the place of a cluster."""
    shutil.copy(SAMPLE_TEXTS, jtv.folder / "work")
    _, _, tried = block("try command").partition("pip install --quiet . && ")
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", f"{tried}\necho; env"],
        env=jtv.variables({"PATH": f"{SCRIPT.parent}:/usr/bin:/bin"}),
        cwd=jtv.folder / "work",
        capture_output=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr.decode()
    hits, _, variables = result.stdout.decode().partition("\n\n")
    assert "TiDB is an open-source MySQL-compatible database" in hits
    assert not any(line.startswith(NAMES) for line in variables.splitlines())
    assert not jtv.database.exists()


def commands(group: Any, prefix: str = "jtv") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{prefix} {name}")
        else:
            yield f"{prefix} {name}", command


def test_every_command_and_option_is_there() -> None:
    names = dict(commands(typer.main.get_command(make_app())))
    assert "jtv index status" in names
    for name, command in names.items():
        assert f"| `{name}" in DOCS
        for parameter in command.params:
            for option in parameter.opts:
                if option.startswith("-") and option not in ("--help", "-h", "-y"):
                    assert f"`{option}" in DOCS, f"{option} of {name}"


def test_the_command_reference_is_up_to_date() -> None:
    path = ROOT / "tools/command_reference.py"
    spec = spec_from_file_location("command_reference", path)
    assert spec
    assert spec.loader
    tool = module_from_spec(spec)
    spec.loader.exec_module(tool)
    for page, write in tool.PAGES.items():
        assert page.read_text() == write(), "run: python tools/command_reference.py"


def test_every_setting_model_format_and_exit_code_is_there() -> None:
    for name in (*NAMES, *(form.value for form in Format)):
        assert f"`{name}`" in DOCS
    for model in MODELS:
        stem, _, last = model.rpartition("-")
        assert f"`{model}`" in DOCS or (f"`{stem}-" in DOCS and f"`-{last}`" in DOCS)
    for code in ExitCode:
        assert re.search(rf"^\| .*\b{code.value}\b.* \|", DOCS, re.MULTILINE), code
