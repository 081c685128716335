"""Write `docs/commands.md` from the commands themselves.

python tools/command_reference.py
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from jtv_cli.cli.run import make_app

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).parent.parent / "docs/commands.md"
# The parameters that `with_session` adds to a command.
_SHARED = ("database", "table", "model", "api_base", "no_key", "color", "quiet", "debug")
_HEAD = """\
# Commands

<!-- written by tools/command_reference.py -->
"""


def reference() -> str:
    """Return the page."""
    commands = list(_commands(typer.main.get_command(make_app()), "jtv"))
    lines = [_HEAD, "| command | what it does |", "|---|---|"]
    lines += [f"| `{name}` | {command.get_short_help_str(200)} |" for name, command in commands]
    shared: dict[str, Any] = {}
    for _, command in commands:
        for parameter in command.params:
            if parameter.name in _SHARED:
                shared.setdefault(parameter.name, parameter)
    lines += [
        "\n`jtv ls` is short for `jtv list`, `jtv rm` for `jtv delete`.",
        "\n## Options of most commands\n",
        *_table(shared.values()),
    ]
    for name, command in commands:
        lines += _section(name, command, shared)
    return "\n".join(lines) + "\n"


def _commands(group: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{prefix} {name}")
        else:
            yield f"{prefix} {name}", command


def _section(name: str, command: Any, shared: dict[str, Any]) -> list[str]:
    own = [parameter for parameter in command.params if parameter.name not in _SHARED]
    names = {parameter.name for parameter in command.params}
    arguments = [_name(p) for p in own if p.param_type_name == "argument"]
    lines = [f"\n## {name}\n", f"`{' '.join((name, '[OPTIONS]', *arguments))}`\n", command.help]
    if own:
        lines += ["", *_table(own)]
    missing = [f"`{parameter.opts[0]}`" for key, parameter in shared.items() if key not in names]
    if missing and len(missing) < len(shared):
        lines.append(f"\nDoes not take {', '.join(missing)}.")
    examples = (command.epilog or "").partition("Examples:\n")[2].partition("\n\n")[0]
    if examples:
        example_lines = [line.strip() for line in examples.splitlines()]
        lines += ["\n```sh", *example_lines, "```"]
    return lines


def _table(parameters: Any) -> list[str]:
    rows = [f"| {_spelled(each)} | {_help(each)} |" for each in parameters]
    return ["| option | what it does |", "|---|---|", *rows]


def _spelled(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{_name(parameter)}`"
    *others, last = sorted(parameter.opts, key=len)
    value = "" if parameter.is_flag else f" {_value(parameter)}"
    return ", ".join((*(f"`{name}`" for name in others), f"`{last}{value}`"))


def _value(parameter: Any) -> str:
    choices = getattr(parameter.type, "choices", None)
    if choices:
        return "\\|".join(str(getattr(choice, "value", choice)) for choice in choices)
    return str(parameter.metavar or parameter.type.name.upper())


def _name(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name.upper())


def _help(parameter: Any) -> str:
    text = str(parameter.help or "").replace("|", "\\|")
    default = getattr(parameter.default, "value", parameter.default)
    if parameter.param_type_name == "option" and not parameter.is_flag and default is not None:
        number = f"{default:g}" if isinstance(default, float) else default
        text += f" Default: {number}."
    return text


if __name__ == "__main__":
    PAGE.write_text(reference())
