"""`jtv completion`: shell completion. It is fast and never uses the network."""

from __future__ import annotations

from contextlib import closing
from enum import Enum
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from jtv_cli import config
from jtv_cli.cli.session import Streams
from jtv_cli.embedders.models import MODELS
from jtv_cli.errors import ExitCode, JtvError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Shell(str, Enum):
    """The supported shells."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


class Candidate(NamedTuple):
    """A completion of a word, and its description."""

    value: str
    help: str = ""


# Each script runs `jtv completion SHELL -- WORD...`, where the last word is to be completed.
# If that prints nothing, the shell completes file names.
_SCRIPTS = {
    Shell.BASH: """\
_jtv() {
  local IFS=$'\\n'
  COMPREPLY=($("$1" completion bash -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _jtv jtv
""",
    Shell.ZSH: """\
#compdef jtv
_jtv() {
  local -a found
  found=("${(@f)$("$words[1]" completion zsh -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ -n "$found" ]]; then _describe -V jtv found; else _files; fi
}
if [[ "$zsh_eval_context[-1]" == loadautofunc ]]; then _jtv "$@"; else compdef _jtv jtv; fi
""",
    Shell.FISH: """\
function __jtv_complete
  set -l words (commandline -opc) (commandline -ct)
  set -l found ($words[1] completion fish -- $words[2..-1] 2>/dev/null)
  if test (count $found) -gt 0
    printf '%s\\n' $found
  else
    __fish_complete_path (commandline -ct)
  end
end
complete -c jtv -f -a '(__jtv_complete)'
""",
}


def completion(
    context: typer.Context,
    shell: Annotated[Shell, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")],
) -> int:
    """Print a script that completes commands, options, models and tables.

    For bash, add the first example to ~/.bashrc. For zsh, add the same with "zsh" to
    ~/.zshrc, after compinit. For fish, run the second example once. Tables of the embedded
    store are completed; jtv never connects to a server for this.

    Examples:
      eval "$(jtv completion bash)"
      jtv completion fish > ~/.config/fish/completions/jtv.fish

    """
    streams: Streams = context.obj
    # Only the scripts pass words.
    if not context.args:
        streams.output.write(_SCRIPTS[shell])
        return ExitCode.OK
    for candidate in candidates(context.find_root().command, context.args):
        streams.output.write(f"{_line(candidate, shell)}\n")
    return ExitCode.OK


def candidates(root: Any, words: Sequence[str]) -> Iterator[Candidate]:  # noqa: ANN401
    """Yield the completions of the last of the words after `jtv`; none where a file is expected.

    `root` is Typer's command. Bash splits words at =, other shells pass --table=x as one.
    """
    before = [part for word in words[:-1] for part in _parts(word) if part != "="]
    *options, word = _parts(words[-1].removeprefix("="))
    before += options
    prefix = "".join(f"{option}=" for option in options)
    for value, meaning in _possible(_command(root, before), before, word):
        if value.startswith(word):
            yield Candidate(prefix + value, meaning)


def _parts(word: str) -> list[str]:
    """Return the option and the value in a word such as --table=x."""
    return word.split("=", 1) if word.startswith("--") else [word]


def _command(root: Any, words: Sequence[str]) -> Any:  # noqa: ANN401
    """Return the command that the words lead to."""
    for word in words:
        root = getattr(root, "commands", {}).get(word, root)
    return root


def _possible(command: Any, before: Sequence[str], word: str) -> Iterator[Candidate]:  # noqa: ANN401
    options = [p for p in command.params if p.param_type_name == "option" and not p.hidden]
    if "--" not in before:
        for option in options:
            if before and before[-1] in option.opts and not option.is_flag:
                yield from _values(option, before)
                return
        if word.startswith("-"):
            for option in options:
                yield from (Candidate(name, option.help or "") for name in option.opts)
            yield Candidate("--help", "Show this message and exit.")
            return
    for name, child in getattr(command, "commands", {}).items():
        yield Candidate(name, child.get_short_help_str(limit=80))
    for argument in command.params:
        if argument.param_type_name == "argument":
            yield from _values(argument, before)


def _values(parameter: Any, before: Sequence[str]) -> Iterator[Candidate]:  # noqa: ANN401
    if parameter.name == "model":
        yield from map(Candidate, MODELS)
    elif parameter.name == "table":
        yield from map(Candidate, _tables(before))
    else:
        yield from map(Candidate, getattr(parameter.type, "choices", ()))


def _tables(before: Sequence[str]) -> list[str]:
    """Return the tables of the selected store, if it is an embedded one."""
    from jtv_cli.stores import open_store

    named = [value for name, value in pairwise(before) if name == "--database"]
    try:
        database = config.find_database(
            config.load_settings(config.Flags(database=named[-1] if named else None))
        )
        if not database.is_embedded:
            return []
        with closing(open_store(database.location, writable=False)) as store:
            return [spec.name for spec in store.tables()]
    except JtvError:
        return []


def _line(candidate: Candidate, shell: Shell) -> str:
    if shell is Shell.ZSH:
        value = candidate.value.replace("\\", "\\\\").replace(":", "\\:")
        return f"{value}:{candidate.help}" if candidate.help else value
    if shell is Shell.FISH and candidate.help:
        return "\t".join(candidate)
    return candidate.value
