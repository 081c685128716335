"""The settings, one by one: what each is, where it came from, whether it can be used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jtv_cli import config
from jtv_cli.embedders.models import resolve_model
from jtv_cli.errors import UsageError
from jtv_cli.records import Check, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jtv_cli.config import Settings


def check_settings(settings: Settings) -> Iterator[Check]:
    """Yield a check for each setting. The API key and passwords are not shown."""
    yield _check("store", lambda: _store(settings))
    yield _check("table name", lambda: _said(settings.table))
    yield _check("model", lambda: _model(settings))
    yield _check("API key", lambda: _key(settings))
    yield _check("API base", lambda: _base(settings))


def _check(name: str, say: Callable[[], str]) -> Check:
    try:
        return Check(name, Outcome.OK, say())
    except UsageError as error:
        return Check(name, Outcome.FAILED, str(error))


def _said(setting: config.Setting) -> str:
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
        return "none is named: a table has its own"
    resolve_model(settings.model.value, is_served=settings.api_base.source != "default")
    return _said(settings.model)


def _key(settings: Settings) -> str:
    key = settings.api_key
    return "none is set" if key.value is None else f"*** ({key.source})"


def _base(settings: Settings) -> str:
    from jtv_cli.embedders.api.endpoint import parse_base

    base, _ = config.find_api(settings)
    parse_base(base, f"the API base ({settings.api_base.source})")
    return _said(settings.api_base)
