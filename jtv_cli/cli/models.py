"""`jtv models`: which models there are, and those that run on this machine."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING, NamedTuple

from jtv_cli import config, model_choice
from jtv_cli.cli import options
from jtv_cli.cli.session import Session
from jtv_cli.embedders import Model
from jtv_cli.embedders.models import MODELS, PRICES_DATE
from jtv_cli.embedders.weights import DOWNLOADS, HUB, Download, is_pulled
from jtv_cli.errors import ExitCode, UsageError
from jtv_cli.records import Purpose
from jtv_cli.render.formats import write_rows
from jtv_cli.render.units import format_size, format_value
from jtv_cli.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from jtv_cli.embedders import Embedder

# Columns for which a terminal must be so wide.
_WIDE, _ONLY_WIDE = 120, ("dimensions", "USD per 1M", "license")
_SPEED = "lines/s"

_SENTENCE = "The {} ferry leaves the old harbour at {} and reaches the island before noon."
_LINES = 128
_SECONDS = 2.0


class _Row(NamedTuple):
    """A model as it is listed; `lines_per_second` is None where that was not measured."""

    model: Model
    runs: str
    state: str
    lines_per_second: int | None = None


def list_models(
    session: Session, measure: options.Measure = False, json: options.Records = False
) -> int:
    """List the models that jtv has, where they run, and whether they can be used now.

    A model that is not listed can be used with the server that runs it: init --model NAME
    --api-base URL. With --measure, models that run on this machine embed 128 lines of some
    75 characters each, for up to two seconds; services are not asked.

    Off a terminal, a model is a line of fields separated by tabs: name, where it runs,
    dimensions, languages, price in USD per million tokens, license, state, lines per second.

    Examples:
      jtv models
      jtv models list --measure

    """
    rows = [_row(session, model) for model in MODELS.values()]
    if measure:
        with session.console.status("measuring") as show:
            rows = [_measured(session, row, show) for row in rows]
    if json:
        for row in rows:
            session.print_json(_record(row))
        return ExitCode.OK
    fields = [_fields(row) for row in rows]
    columns = list(fields[0])
    if session.output.is_terminal:
        is_wide = session.output.width >= _WIDE
        left_out = {*(() if is_wide else _ONLY_WIDE), *(() if measure else (_SPEED,))}
        columns = [name for name in columns if name not in left_out]
    write_rows(columns, [[row[name] for name in columns] for row in fields], session.output)
    if session.output.is_terminal:
        session.console.report(
            f"Prices are of {PRICES_DATE}."
            if is_wide
            else "Prices and licenses: jtv models --json, or a wider terminal."
        )
    return ExitCode.OK


def pull(session: Session, model: options.PulledModel, json: options.Report = False) -> int:
    """Download the weights of a model, to run it on this machine.

    They are kept in the directory that `jtv models path` prints, or in JTV_MODELS. An
    interrupted download is resumed by the same command. Each file must have the SHA-256
    that jtv expects. HF_ENDPOINT names a mirror of huggingface.co.

    Examples:
      jtv models pull all-minilm-l6-v2
      JTV_MODELS=/srv/models jtv models pull all-minilm-l6-v2

    """
    from jtv_cli.embedders import download

    wanted = _download(model)
    target = config.models_directory(session.settings) / model
    hub = config.hub() or HUB
    session.console.report(
        f"{model}: {format_size(wanted.size)}, license {wanted.license},"
        f" from {hub}/{wanted.repository}"
    )
    sizes = {file.name: format_size(file.size) for file in wanted.files}
    with session.console.status("connecting") as show:

        def progress(name: str, done: int) -> None:
            show(f"downloading {name}: {format_size(done)} of {sizes[name]}")

        download.pull(wanted, target, hub=hub, progress=progress)
    where = printable(str(target))
    if json:
        session.print_json({"model": model, "path": where, "bytes": wanted.size})
    session.console.report(f"{model} is in {where}")
    session.console.report(f"New tables use it: jtv init --model {model}")
    return ExitCode.OK


def path(session: Session, model: options.OptionalModel = None) -> int:
    """Print the directory that weights are kept in, or that of one model.

    Examples:
      jtv models path
      du -sh "$(jtv models path all-minilm-l6-v2)"

    """
    directory = config.models_directory(session.settings)
    if model is not None:
        _download(model)
        _require_pulled(model, directory)
        directory /= model
    session.output.write_line(printable(str(directory)))
    return ExitCode.OK


def remove(session: Session, model: options.PulledModel, yes: options.Yes = False) -> int:
    """Delete the weights of a model from this machine.

    Tables made with it stay; to search them, download it again.

    Examples:
      jtv models remove all-minilm-l6-v2
      jtv models remove all-minilm-l6-v2 --yes

    """
    _download(model)
    directory = config.models_directory(session.settings)
    target = directory / model
    if not target.is_dir():
        _require_pulled(model, directory)
    where = printable(str(target))
    if not yes:
        session.confirm("delete", where, otherwise="nothing was deleted")
    try:
        shutil.rmtree(target)
    except OSError as error:
        raise UsageError(f"cannot delete {where}: {error.strerror}") from error
    session.console.report(f"deleted {where}")
    return ExitCode.OK


def _download(name: str) -> Download:
    try:
        return DOWNLOADS[name]
    except KeyError:
        why = "needs no download" if name in MODELS else "cannot be downloaded by jtv"
        hint = f"models to download: {', '.join(DOWNLOADS)}"
        raise UsageError(f"{name} {why}", hint=hint) from None


def _require_pulled(name: str, directory: Path) -> None:
    if not is_pulled(name, directory):
        raise UsageError(
            f"{name} is not in {printable(str(directory))}",
            hint=f"download it: jtv models pull {name}",
        )


def _row(session: Session, model: Model) -> _Row:
    if model.is_builtin:
        return _Row(model, "built in", "ready")
    if model.runs_in_process:
        is_there = is_pulled(model.name, config.models_directory(session.settings))
        state = "ready" if is_there else f"download it: jtv models pull {model.name}"
        return _Row(model, "this machine", state)
    settings = session.settings
    if settings.api_base.source != "default":
        return _Row(model, "API", f"ready if {settings.api_base.source} serves it")
    return _Row(model, "API", "ready" if settings.api_key.value else "set JINA_API_KEY")


def _measured(session: Session, row: _Row, show: Callable[[str], None]) -> _Row:
    if not (row.model.runs_in_process and row.state == "ready"):
        return row
    show(f"measuring {row.model.name}")
    embedder = model_choice.open_model(session.settings, row.model)
    return row._replace(lines_per_second=_lines_per_second(embedder))


def _lines_per_second(embedder: Embedder) -> int:
    lines = [_SENTENCE.format(number, number % 24) for number in range(_LINES)]
    embedder.embed(lines[:32], Purpose.DOCUMENT)  # whatever is prepared at the first call
    started, done = time.perf_counter(), 0
    while not done or time.perf_counter() < started + _SECONDS:
        embedder.embed(lines, Purpose.DOCUMENT)
        done += _LINES
    return round(done / (time.perf_counter() - started))


def _fields(row: _Row) -> dict[str, str]:
    """Return the texts of a row by the names of their columns."""
    model = row.model
    price = "-" if model.price is None else "free" if model.is_free else f"{model.price:g}"
    return {
        "model": model.name,
        "runs": row.runs,
        "dimensions": str(model.dimensions),
        "languages": model.languages,
        "USD per 1M": price,
        "license": model.license or "-",
        "state": row.state,
        _SPEED: format_value(row.lines_per_second),
    }


def _record(row: _Row) -> dict[str, object]:
    model = row.model
    return {
        "model": model.name,
        "runs": row.runs,
        "dimensions": model.dimensions,
        "smaller_dimensions": list(model.smaller),
        "languages": model.languages,
        "usd_per_million_tokens": model.price,
        "license": model.license or None,
        "ready": row.state.startswith("ready"),
        "state": row.state,
        "lines_per_second": row.lines_per_second,
    }
