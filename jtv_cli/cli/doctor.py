"""`jtv doctor`: what is wrong, and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jtv_cli.checks.service import check_embedder
from jtv_cli.checks.settings import check_settings
from jtv_cli.checks.table import check_table
from jtv_cli.checks.timing import Look, findings
from jtv_cli.cli import options
from jtv_cli.cli.session import Session
from jtv_cli.embedders.models import TUTORIAL_MODEL, find_model, model_of
from jtv_cli.errors import ExitCode, StoreError, mask_secrets
from jtv_cli.records import TIFLASH, Check, Outcome, TableSpec
from jtv_cli.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

_SECONDS = 20.0
_API_SECONDS = 10.0
# Of the outcome and the name, on a terminal.
_WIDTHS = (8, 12)


def doctor(session: Session, no_api: options.NoApi = False, json: options.Records = False) -> int:
    """Check settings, database, table and API, and say what to do about what is wrong.

    A line for each check: ok, warning or failed. The exit code is 0 if nothing failed,
    else that of what failed first: 2 for settings, 4 for the API, 5 for the database. No
    check takes longer than 20 seconds. The API is called once, to embed one word; with
    --no-api it is not.
    """
    code = ExitCode.OK
    for look in _Visit(session).looks(with_api=not no_api):
        answers = findings(look)
        while True:
            with session.console.status(f"looking at {look.name}"):
                found = next(answers, None)
            if found is None:
                break
            _print(session, found.check, json=json)
            if found.check.outcome is Outcome.FAILED:
                code = code or found.exit_code
    return code


class _Visit:
    """The checks in their order. The API is tried with the model of the table that was found."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._table: TableSpec | None = None

    def looks(self, *, with_api: bool) -> Iterator[Look]:
        """Yield what to look at."""
        yield Look("settings", ExitCode.USAGE, _SECONDS, self._settings)
        yield Look("database", ExitCode.STORE, _SECONDS, self._database)
        if with_api:
            yield Look("API", ExitCode.SERVICE, _API_SECONDS, self._api)

    def _settings(self) -> Iterator[Check]:
        return check_settings(self._session.settings)

    def _database(self) -> Iterator[Check]:
        with self._session.store() as store:
            has_tiflash = False
            for check in store.checks():
                yield check
                if check.outcome is Outcome.FAILED:
                    return
                has_tiflash |= check.name == TIFLASH and check.outcome is Outcome.OK
            try:
                table = store.open(self._session.table_name)
                self._session.require_model(table.spec)
                self._table = table.spec
            except StoreError as error:
                yield Check("table", Outcome.FAILED, str(error))
            else:
                yield from check_table(table, has_tiflash=has_tiflash)

    def _api(self) -> Iterator[Check]:
        session = self._session
        spec = self._table or session.new_spec(session.model_for_new_table())
        model = model_of(spec)
        if model.runs_in_process:
            if not model.is_builtin:
                yield from check_embedder(session.embedder(spec), name="model")
            if session.settings.api_key.value is None:
                detail = f"none is needed: {spec.model} works offline"
                yield Check("API", Outcome.OK, detail)
                return
            spec = session.new_spec(find_model(TUTORIAL_MODEL))
        yield from check_embedder(session.embedder(spec))


def _print(session: Session, check: Check, *, json: bool) -> None:
    detail = printable(mask_secrets(check.detail))
    if json:
        session.print_json(check._replace(detail=detail)._asdict())
    else:
        session.output.write_fields((check.outcome.value, check.name, detail), _WIDTHS)
