"""The layout of `--help`: commands and options in groups."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar

from typer.core import TyperCommand, TyperGroup

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_OPTIONS = "Options"
_SELECTION = "Which documents"
_OUTPUT = "Output"
_CONNECTION = "Store, model and API"

# The options of the last two groups, by the names of their parameters.
_OF_OUTPUT = {"format", "json", "nul", "snippet", "explain", "color", "quiet", "debug"}
_OF_CONNECTION = {"database", "table", "model", "api_base", "no_key", "max_wait", "concurrency"}
# Those that select documents do so in these commands alone: elsewhere --source means another thing.
_SELECTING = {"search", "list"}
_SELECTS = re.compile(r"--(source|where.*|max-distance|per-source|diverse|after|before|not-.*)")
# A range without a limit that a user would meet.
_UNLIMITED = re.compile(r"(; |  \[)\d+<=x<=(2147483647|9223372036854775807)\]")

_COMMON_OPTIONS = "Common options: --table NAME, --database STORE, --json, --quiet, --help"
# Where the lines about commands begin.
_COLUMN = 10


class GroupedCommand(TyperCommand):
    """A command whose options are shown in groups."""

    def format_options(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401
        """Write the arguments, then each group of options."""
        sections: dict[str, list[tuple[str, str]]] = {
            name: [] for name in ("Arguments", _OPTIONS, _SELECTION, _OUTPUT, _CONNECTION)
        }
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                is_argument = parameter.param_type_name == "argument"
                name = "Arguments" if is_argument else self._group(parameter)
                sections[name].append((record[0], _without_limit(record[1])))
        for name, records in sections.items():
            if records:
                with formatter.section(name):
                    formatter.write_dl(records)

    def _group(self, option: Any) -> str:  # noqa: ANN401
        if self.name in _SELECTING and any(map(_SELECTS.fullmatch, option.opts)):
            return _SELECTION
        if option.name in _OF_OUTPUT:
            return _OUTPUT
        return _CONNECTION if option.name in _OF_CONNECTION else _OPTIONS


class RootGroup(TyperGroup):
    """All commands, in groups and in the order of their use, on a screen of 80 by 24."""

    groups: ClassVar[Mapping[str, Sequence[str]]] = {
        "Start here": ("init", "ingest", "search", "list", "show"),
        "Look after a table": ("sync", "delete", "info", "tables", "index", "doctor"),
        "Move it": ("export", "import", "copy"),
    }
    """The commands with a line of their own; of all others, only the names are shown."""

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401
        """Write the groups, the names of the other commands, and where there is more."""
        others = dict.fromkeys(self.list_commands(ctx))
        formatter.write(f"Usage: jtv COMMAND [OPTIONS]\n{self.help}\n{_COMMON_OPTIONS}\n")
        for heading, names in self.groups.items():
            formatter.write(f"{heading}:\n")
            for name in names:
                others.pop(name)
                line = self.commands[name].get_short_help_str(formatter.width - _COLUMN)
                formatter.write(f"  {name:<{_COLUMN - 2}}{line}\n")
        formatter.write(f"More: {', '.join(sorted(others))}\n{self.epilog}\n")


def _without_limit(text: str) -> str:
    """Return the help of an option without a range that only says that a number is positive."""
    return _UNLIMITED.sub(lambda match: "]" if match[1] == "; " else "", text)
