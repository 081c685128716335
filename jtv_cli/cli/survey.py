"""`jtv ingest --dry-run`: what it would do, and cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jtv_cli.cli.session import Session
from jtv_cli.embedders.models import PRICES_DATE, Model, model_of
from jtv_cli.errors import ExitCode, NoTable
from jtv_cli.records import Removed
from jtv_cli.render.units import format_count, format_removed, format_size, format_usd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from jtv_cli.records import Survey
    from jtv_cli.sources import RecordBlock, Source
    from jtv_cli.stores import Store, Table

_FREE_STORAGE = "TiDB Cloud Starter has 5 GiB for free"


def report_survey(
    session: Session,
    sources: Sequence[Source],
    blocks: Iterable[RecordBlock],
    *,
    truncate: bool,
    json: bool,
    removal: Callable[[Table], Removed] | None = None,
) -> int:
    """Say what an ingest would do; a table that is yet to be made counts as empty.

    `removal` returns what would be removed afterwards, if nothing is skipped.
    """
    from jtv_cli import pipeline

    with session.store() as store:
        table, model = _open(session, store)
        if table is not None:
            with session.console.status("looking up the sources"):
                pipeline.recall_sources(table, sources)
        with session.console.status("reading"):
            survey = pipeline.estimate(
                blocks,
                table,
                model,
                truncate=truncate,
                on_skipped=session.name_skipped,
            )
            removed = Removed()
            left_out = sum(source.problem is not None for source in sources)
            if removal is not None and table is not None and survey.skipped == left_out:
                removed = removal(table)
    if json:
        found = {"model": model.name, "prices": PRICES_DATE} | survey._asdict()
        session.print_json(found if removal is None else found | {"removed": removed._asdict()})
    else:
        for line in _lines(session, survey, model):
            session.console.report(line)
        if removal is not None:
            session.console.report(f"{format_removed(removed)} to remove")
    return ExitCode.IN_PART if survey.skipped else ExitCode.OK


def _open(session: Session, store: Store) -> tuple[Table | None, Model]:
    try:
        table = session.open_table(store)
    except NoTable:
        return None, session.model_for_new_table()
    return table, model_of(table.spec)


def _lines(session: Session, survey: Survey, model: Model) -> list[str]:
    starter = "" if session.database.is_embedded else f"; {_FREE_STORAGE}"
    return [
        f"{format_count(survey.texts, 'text')}, {survey.known:,} known, {survey.empty:,} empty,"
        f" {survey.skipped:,} skipped, {survey.to_embed:,} to embed",
        f"about {format_count(survey.tokens, 'token')} with {model.name}: {_cost(survey, model)}",
        f"about {format_size(survey.bytes)} in the store{starter}",
    ]


def _cost(survey: Survey, model: Model) -> str:
    if survey.usd is None:
        return "price not known"
    if model.is_free:
        return "free"
    return f"{format_usd(survey.usd)} at {model.price:g} a million (price of {PRICES_DATE})"
