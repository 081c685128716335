"""The house: which room may import what, and what each command loads when it starts."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import jtv_cli

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Jtv

PACKAGE = Path(jtv_cli.__file__).parent

SHARED = {"errors", "records", "text", "source_names", "batching", "hosts", "threads"}
# Which of jtv's own packages and modules each may import, beside itself and the shared ones.
MAY_IMPORT = {
    "__init__": {"api"},
    "__main__": {"jtv_cli", "cli", "config"},
    "cli": {
        *("jtv_cli", "config", "sources", "pipeline", "transfer", "render"),
        *("embedders", "stores", "model_choice", "api", "mcp_server"),
    },
    "api": {"config", "sources", "pipeline", "embedders", "stores", "connections"},
    "connections": {"config", "embedders", "stores", "model_choice"},
    "mcp_server": {"jtv_cli", "api", "config", "pipeline"},
    "model_choice": {"jtv_cli", "config", "embedders", "stores"},
    "config": set(),
    "errors": set(),
    "records": set(),
    "text": set(),
    "source_names": set(),
    "batching": set(),
    "hosts": set(),
    "threads": set(),
    "sources": set(),
    "pipeline": {"sources", "embedders", "stores"},
    "transfer": {"stores"},
    "render": set(),
    "embedders": {"jtv_cli"},
    "stores": set(),
}

# The only places that may import these.
ONLY_IN = {
    "typer": ("cli/",),
    "rich": ("render/",),
    "sqlalchemy": ("stores/tidb",),
    "pymysql": ("stores/tidb",),
    "tidb_vector": ("stores/tidb",),
    "mcp": ("mcp_server.py",),
    "kreuzberg": ("sources/extracted.py",),
    "selectolax": ("sources/html.py",),
    "requests": ("embedders/api/transport.py", "embedders/download.py"),
    "urllib3": ("embedders/api/transport.py", "embedders/download.py"),
    "dotenv": ("config.py",),
    "platformdirs": ("config.py",),
    "watchfiles": ("sources/watching.py",),
}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path) -> None:
    allowed = MAY_IMPORT[room(path)] | SHARED | {room(path)}
    for name in imports(path):
        top, _, rest = name.partition(".")
        if top == "jtv_cli":
            part = rest.split(".")[0]
            wanted = part if part in MAY_IMPORT else "jtv_cli"
            assert wanted in allowed, f"{path.name} imports {name}"
        elif top in ONLY_IN:
            assert str(path.relative_to(PACKAGE)).startswith(ONLY_IN[top]), f"{path.name}: {name}"


def imported_modules(path: Path, names: set[str]) -> set[str]:
    """Which of jtv's modules a module imports, for type checking too."""
    found = set()
    for name in imports(path):
        parts = name.split(".")
        longest = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
        found.add(next((each for each in longest if each in names), ""))
    return found - {""}


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


def test_no_module_imports_itself_around_others() -> None:
    """Not even for type checking."""
    paths = {module_name(path): path for path in modules()}
    imported = {
        name: imported_modules(path, set(paths)) - {name, "jtv_cli"} for name, path in paths.items()
    }
    # Take away what imports nothing that is left, until there is no more of it.
    while leaves := [name for name, others in imported.items() if not others & imported.keys()]:
        for name in leaves:
            del imported[name]
    assert sorted(imported) == []


def test_only_config_reads_the_environment() -> None:
    readers = [
        path.name for path in modules() if "environ" in path.read_text().replace("environment", "")
    ]
    assert readers == ["config.py"]


HEAVY = (
    *("numpy", "requests", "sqlalchemy", "rich", "orjson", "dotenv", "platformdirs", "pymysql"),
    # What takes a millisecond or more, and only some commands have a use for.
    *("hashlib", "numpy.random", "jtv_cli.stores.sqlite.recall", "jtv_cli.stores.sqlite.codes"),
    *("jtv_cli.cli.ingest", "jtv_cli.cli.index", "jtv_cli.cli.init"),
    *("jtv_cli.pipeline.ingestion", "jtv_cli.sources.open"),
)
FILES = "jtv_cli.sources.open"
READS = {"jtv_cli.pipeline.ingestion", FILES}
ALL_COMMANDS = {
    f"jtv_cli.{name}" for name in ("cli.ingest", "cli.index", "cli.init", "sources.open")
}


@pytest.mark.parametrize(
    ("command", "may_load"),
    [
        (["--version"], set()),
        (["--help"], set()),
        (["search", "--help"], set()),
        (["init"], {"jtv_cli.cli.init", "platformdirs"}),
        (["init", "--json"], {"jtv_cli.cli.init", "platformdirs", "orjson"}),
        (["ingest", "-"], {"jtv_cli.cli.ingest", "platformdirs", "numpy", "hashlib", *READS}),
        (["index", "status"], {"jtv_cli.cli.index", "platformdirs"}),
        (["search", "x"], {"platformdirs", "numpy"}),
        (["search", "x", "-f", "table"], {"platformdirs", "numpy", "rich"}),
        (["list"], {"platformdirs"}),
        (["list", "--json"], {"platformdirs", "orjson"}),
        (["show", "1"], {"platformdirs"}),
        (["show", "1", "--json"], {"platformdirs", "orjson"}),
        (["search", "--like", "1"], {"platformdirs", "numpy"}),
        (["delete", "1", "--yes"], {"platformdirs", FILES}),
        (["completion", "bash"], ALL_COMMANDS),
        (["completion", "zsh", "--", "search", "--"], ALL_COMMANDS),
        (["completion", "fish", "--", "list", "--model", ""], ALL_COMMANDS),
        (["completion", "bash", "--", "list", "--table", ""], {*ALL_COMMANDS, "platformdirs"}),
        (["info"], {"platformdirs", "orjson"}),
        (["tables"], {"platformdirs"}),
        (["doctor"], {"platformdirs"}),
        (["export"], {"platformdirs", "orjson", "hashlib", FILES}),
        (["export", "--vectors"], {"platformdirs", "orjson", "hashlib", "numpy", FILES}),
        (
            ["copy", "--from", "embedded", "--to", "b.db"],
            {"platformdirs", "numpy", "orjson", FILES},
        ),
    ],
    # A set's text differs between processes, and parallel runs need the same ids.
    ids=lambda part: " ".join(part if isinstance(part, list) else sorted(part)),
)
def test_a_command_loads_only_what_it_uses(
    sampled: Jtv, command: list[str], may_load: set[str]
) -> None:
    """Start-up time is a feature: see "Start-up" in the README."""
    program = (
        "import os, sys\n"
        "from jtv_cli.__main__ import main\n"
        "sys.argv[:2] = ['jtv']\n"
        "os._exit = sys.exit\n"
        "try:\n    main()\n"
        "except SystemExit:\n    pass\n"
        f"sys.stderr.write('LOADED ' + ' '.join(set({HEAVY}) & set(sys.modules)))"
    )
    result = sampled(*command, stdin="a\n", prefix=[sys.executable, "-c", program])
    loaded = set(result.stderr.rpartition("LOADED ")[2].split())
    assert loaded <= may_load


def test_version_imports_next_to_nothing(jtv: Jtv) -> None:
    program = (
        "import sys; before = set(sys.modules)\n"
        "from jtv_cli.__main__ import main\n"
        "sys.argv = ['jtv', '--version']; main()\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    version, loaded = jtv.ok(prefix=[sys.executable, "-c", program]).stdout.splitlines()
    assert version == f"jtv {jtv_cli.__version__}"
    assert loaded.split() == ["jtv_cli", "jtv_cli.__main__"]


def test_python_m(jtv: Jtv) -> None:
    result = jtv.ok(prefix=[sys.executable, "-m", "jtv_cli", "--version"])
    assert result.stdout == f"jtv {jtv_cli.__version__}\n"


def test_the_architecture_names_every_package_and_module() -> None:
    page = (PACKAGE.parent / "docs/architecture.md").read_text()
    for path in PACKAGE.iterdir():
        if path.is_dir() and (path / "__init__.py").exists():
            assert f"`{path.name}/`" in page
        elif path.suffix == ".py" and path.name != "__init__.py":
            assert f"`{path.name}`" in page
