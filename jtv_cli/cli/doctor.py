"""`jtv doctor`: check settings, database, table and API, each within a time limit."""

from __future__ import annotations

import time
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, NamedTuple

from jtv_cli import config
from jtv_cli.cli import options
from jtv_cli.cli.session import Session
from jtv_cli.embedders.fingerprint import FARTHEST, distance_to_fingerprint
from jtv_cli.embedders.models import TUTORIAL_MODEL, find_model, model_of, resolve_model
from jtv_cli.errors import ExitCode, JtvError, StoreError, UsageError, mask_secrets
from jtv_cli.records import Check, IndexState, Outcome, Purpose, TableSpec
from jtv_cli.render.output import OutputClosed
from jtv_cli.render.units import format_count, format_index
from jtv_cli.text import printable
from jtv_cli.threads import get_within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jtv_cli.config import Settings
    from jtv_cli.embedders import Embedder
    from jtv_cli.stores import Table

_SECONDS = 20.0
_API_SECONDS = 10.0
# A table with more documents than this should have an index.
_MANY = 10_000
# The columns of the outcome and the name, on a terminal.
_WIDTHS = (8, 12)


def doctor(session: Session, no_api: options.NoApi = False, json: options.Records = False) -> int:
    """Check settings, database, table and API, and say how to fix what is wrong.

    Print a line for each check: ok, warning or failed. The exit code is 0 if nothing
    failed. Otherwise it is that of the first failure: 2 for settings, 4 for the API, 5 for
    the database. Each check takes up to 20 seconds. The API is called once, to embed one
    word.

    Examples:
      jtv doctor
      jtv doctor --no-api --json

    """
    code = ExitCode.OK
    for group in _Checkup(session).groups(with_api=not no_api):
        results = run_checks(group)
        while True:
            with session.console.status(f"checking {group.name}"):
                result = next(results, None)
            if result is None:
                break
            _print(session, result.check, json=json)
            if result.check.outcome is Outcome.FAILED:
                code = code or result.exit_code
    return code


class CheckGroup(NamedTuple):
    """Related checks, such as those of the database; each may take this many `seconds`.

    `exit_code` is that of a failure.
    """

    name: str
    exit_code: ExitCode
    seconds: float
    checks: Callable[[], Iterator[Check]]


class CheckResult(NamedTuple):
    """A check, and the exit code of the process if it failed."""

    check: Check
    exit_code: ExitCode


def run_checks(group: CheckGroup) -> Iterator[CheckResult]:
    """Yield the results of a group as they come. A check that takes too long fails and ends it."""
    results: SimpleQueue[CheckResult | Exception | None] = SimpleQueue()
    # A daemon thread, because a check that hangs must not keep the process from ending.
    Thread(target=_run, args=(group, results), daemon=True).start()
    while True:
        try:
            result = get_within(group.seconds, results)
        except Empty:
            detail = f"no answer within {group.seconds:g} seconds"
            yield CheckResult(Check(group.name, Outcome.FAILED, detail), group.exit_code)
            return
        if result is None:
            return
        if isinstance(result, Exception):
            raise result
        yield result


def _run(group: CheckGroup, results: SimpleQueue[CheckResult | Exception | None]) -> None:
    try:
        for check in group.checks():
            results.put(CheckResult(check, group.exit_code))
    except JtvError as error:
        failed = Check(group.name, Outcome.FAILED, str(error))
        results.put(CheckResult(failed, error.exit_code))
    except Exception as error:
        results.put(error)
    results.put(None)


class _Checkup:
    """The groups of checks in their order. The API is called with the table's model."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._table: TableSpec | None = None

    def groups(self, *, with_api: bool) -> Iterator[CheckGroup]:
        """Yield the groups."""
        yield CheckGroup(
            "settings", ExitCode.USAGE, _SECONDS, partial(_check_settings, self._session.settings)
        )
        yield CheckGroup("database", ExitCode.STORE, _SECONDS, self._database)
        if with_api:
            yield CheckGroup("API", ExitCode.SERVICE, _API_SECONDS, self._api)

    def _database(self) -> Iterator[Check]:
        with self._session.store() as store:
            can_index = False
            for check in store.checks():
                yield check
                if check.outcome is Outcome.FAILED:
                    return
                can_index |= check.has_index
            try:
                table = store.open(self._session.table_name)
                self._session.require_model(table.spec)
                self._table = table.spec
            except StoreError as error:
                yield Check("table", Outcome.FAILED, str(error))
            else:
                yield from _check_table(table, can_index=can_index)

    def _api(self) -> Iterator[Check]:
        session = self._session
        spec = self._table or session.new_spec(session.model_for_new_table())
        model = model_of(spec)
        if model.runs_in_process:
            if not model.is_builtin:
                yield _check_embedder(session.embedder(spec), "model")
            if session.settings.api_key.value is None:
                yield Check("API", Outcome.OK, f"not needed: {spec.model} runs on this machine")
                return
            spec = session.new_spec(find_model(TUTORIAL_MODEL))
        yield _check_embedder(session.embedder(spec), "API")


def _check_settings(settings: Settings) -> Iterator[Check]:
    """Yield a check for each setting. The API key and passwords are not shown."""
    yield _check_setting("store", lambda: _store(settings))
    yield _check_setting("table name", lambda: _with_source(settings.table))
    yield _check_setting("model", lambda: _model(settings))
    yield _check_setting("API key", lambda: _key(settings))
    yield _check_setting("API base", lambda: _base(settings))


def _check_setting(name: str, describe: Callable[[], str]) -> Check:
    try:
        return Check(name, Outcome.OK, describe())
    except UsageError as error:
        return Check(name, Outcome.FAILED, str(error))


def _with_source(setting: config.Setting) -> str:
    return f"{setting.value} ({setting.source})"


def _store(settings: Settings) -> str:
    database = config.find_database(settings)
    location = database.location
    if not database.is_embedded:
        from jtv_cli.stores.tidb.url import parse_url

        location = parse_url(location).location
    return f"{location} ({database.source})"


def _model(settings: Settings) -> str:
    if settings.model.value is None:
        return "not set: each table has its own"
    resolve_model(settings.model.value, is_served=settings.api_base.source != "default")
    return _with_source(settings.model)


def _key(settings: Settings) -> str:
    key = settings.api_key
    if key.value is None:
        return "not set" if key.source == "default" else f"not set ({key.source})"
    return f"*** ({key.source})"


def _base(settings: Settings) -> str:
    from jtv_cli.embedders.api.endpoint import parse_base

    base, _ = config.find_api(settings)
    parse_base(base, f"the API base ({settings.api_base.source})")
    return _with_source(settings.api_base)


def _check_table(table: Table, *, can_index: bool) -> Iterator[Check]:
    """Yield a check of the table and one of each of its indexes.

    `can_index` says that the database can have an index: none is then a warning, even if
    the table is small.
    """
    spec, documents = table.spec, table.count()
    what = (
        f"{spec.name}: model {spec.model}, {spec.dimensions} dimensions,"
        f" {format_count(documents, 'document')}"
    )
    if spec.identity:
        yield Check("table", Outcome.OK, what)
    else:
        yield Check(
            "table",
            Outcome.WARNING,
            f"{what}; it was created by TiDB's tutorial; to write to it, run: jtv init",
        )
    yield _check_index(table, needs_index=can_index or documents > _MANY, is_empty=not documents)
    full_text = table.full_text_status()
    if full_text.state is not IndexState.NONE:
        outcome = Outcome.OK if full_text.state is IndexState.READY else Outcome.WARNING
        yield Check("full text", outcome, format_index(full_text))


def _check_index(table: Table, *, needs_index: bool, is_empty: bool) -> Check:
    status = table.index_status()
    detail = f"{status.state.value}: {status.detail}"
    if status.state is IndexState.READY:
        explanation = "the table is empty" if is_empty else _explain_search(table)
        # In an embedded store the two say the same.
        detail = detail if explanation == status.detail else f"{detail}; {explanation}"
        return Check("index", Outcome.OK, detail)
    if status.state is IndexState.FAILED:
        return Check("index", Outcome.WARNING, f"{detail}; rebuild it with: jtv index build")
    if status.state is IndexState.NONE and needs_index:
        return Check("index", Outcome.WARNING, detail)
    return Check("index", Outcome.OK, detail)


def _explain_search(table: Table) -> str:
    """Return the explanation of a search, for any vector."""
    import numpy as np

    vector = np.ones((1, table.spec.dimensions), np.float32)
    return table.search(vector, 1, explain=True).explanation


def _check_embedder(embedder: Embedder, name: str) -> Check:
    """Return the check of that name: whether the embedder returns vectors of the table's model.

    Raises what `Embedder.embed` raises.
    """
    model = embedder.model
    started = time.monotonic()
    if model.recipe.fingerprint:
        distance = distance_to_fingerprint(embedder)
        details = f"{model.dimensions} dimensions, the same vectors as the table's"
    else:
        reply = embedder.embed(["jtv"], Purpose.QUERY)
        distance = 0.0
        tokens = format_count(reply.tokens, "token")
        details = f"{reply.vectors.shape[1]} dimensions, {tokens}"
    seconds = time.monotonic() - started
    if distance <= FARTHEST:
        return Check(name, Outcome.OK, f"{model.name} replied in {seconds:.1f} s: {details}")
    return Check(
        name,
        Outcome.FAILED,
        f"{model.name} is not the model that the table was created with: the vector of a fixed"
        f" text is at a cosine distance of {distance:.2f}; set JINA_API_BASE to the server that"
        " ran it, or recreate the table with: jtv init --drop",
    )


def _print(session: Session, check: Check, *, json: bool) -> None:
    detail = session.console.complete_hint(check.detail)
    detail = printable(mask_secrets(detail))
    if json:
        record = {"name": check.name, "outcome": check.outcome, "detail": detail}
        session.print_json(record)
        return
    try:
        session.output.write_fields((check.outcome.value, check.name, detail), _WIDTHS)
    except OutputClosed:  # the exit code still says what failed
        return
