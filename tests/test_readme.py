"""The README and docs are true: commands run as printed, tables are complete."""

from __future__ import annotations

import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer

from jtv_cli.cli.run import make_app
from jtv_cli.config import NAMES
from jtv_cli.embedders.models import MODELS
from jtv_cli.errors import ExitCode
from jtv_cli.render.formats import Format

if TYPE_CHECKING:
    from collections.abc import Iterator


ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
DOCS = README + "".join(page.read_text() for page in sorted((ROOT / "docs").glob("*.md")))


def block(marker: str) -> str:
    match = re.search(rf"<!-- {marker} -->\n```\w+\n(.*?)```", README, re.DOTALL)
    assert match
    return match[1]


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


def test_contributing_sets_up_with_the_same_commands() -> None:
    """CI runs those of the README from a clean clone."""
    page = (ROOT / "CONTRIBUTING.md").read_text()
    match = re.search(r"## Set up\n\n```sh\n(.*?)```", page, re.DOTALL)
    assert match
    _, commands = match[1].split("cd jtv\n")
    steps = block("test command").replace(" --quiet", "").strip().split(" && ")
    assert re.split(r" && |\n", commands.strip()) == steps


def test_trying_it_sets_nothing_that_later_commands_would_use() -> None:
    """A store that stays in the environment would be used in the place of a cluster."""
    tried = block("try command")
    assert tried.count(" --database try.db") == tried.count("jtv ")
    assert not any(name in tried for name in NAMES)


def test_the_readme_is_short_and_its_measurements_are_those_of_the_docs() -> None:
    assert README.count("\n") <= 200
    table = README.partition("| what | measured |\n|---|---|\n")[2].partition("\n\n")[0]
    assert table in (ROOT / "docs/performance.md").read_text()
    assert table.count("\n") > 2


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
