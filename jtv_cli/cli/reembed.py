"""`jtv reembed`: embed the texts of a table with another model, into another table."""

from __future__ import annotations

import re
import shlex
from contextlib import ExitStack
from typing import TYPE_CHECKING

from jtv_cli import config
from jtv_cli.cli import options
from jtv_cli.cli.arguments import Requests
from jtv_cli.cli.ingest import IngestRun, confirm_estimate, estimate_record, print_estimate
from jtv_cli.cli.interrupts import if_interrupted
from jtv_cli.cli.session import RESUME, Session
from jtv_cli.cli.transfer import Target
from jtv_cli.embedders.models import model_of, spec_for
from jtv_cli.errors import ExitCode, StoreError, TableMismatch, UsageError
from jtv_cli.model_choice import VectorOptions
from jtv_cli.records import IndexState, TableSpec, find_spec
from jtv_cli.render.units import format_count

if TYPE_CHECKING:
    from jtv_cli.records import IngestReport
    from jtv_cli.stores import Store, Table

# Of the names of tables.
_LONGEST_NAME = 52
_LONGEST_SUFFIX = 30


def reembed(
    session: Session,
    model: options.NewModel,
    to: options.NewTable = None,
    dimensions: options.Dimensions = None,
    query_prefix: options.QueryPrefix = None,
    document_prefix: options.DocumentPrefix = None,
    *,
    requests: Requests,
    no_index: options.NoIndex = False,
    no_wait: options.NoWait = False,
    dry_run: options.DryRun = False,
    yes: options.Yes = False,
    json: options.Report = False,
) -> int:
    """Embed the texts of the table with another model, into a new table of the same store.

    The new table gets the same texts, occurrences and metadata, and a full-text index if the old
    one has one. The old table stays as it is; jtv tables rename --replace puts the new one
    in its place.

    jtv prints an estimate first. More than 1,000,000 tokens of a model that costs money need
    confirmation. To resume after an interrupt, or to add what the old table has got since,
    run the same command again: no text is embedded twice.

    Examples:
      jtv reembed --model jina-embeddings-v5-text-small --dry-run
      jtv reembed --table notes --model jina-embeddings-v5-text-small --to notes_v5

    """
    from jtv_cli.pipeline.estimation import estimate
    from jtv_cli.pipeline.reembedding import read_documents

    settings = session.settings._replace(model=config.flagged(model, "--model"))
    session = session._replace(settings=settings)
    database = session.database
    vectors = VectorOptions(dimensions, query_prefix, document_prefix)
    # One thread reads the old table while another writes to the new one.
    with session.store(database) as old_store, ExitStack() as stack:
        with session.looking_at(old_store):
            old = old_store.open(session.table_name)
        spec = _new_spec(session, old.spec, to, vectors)
        store = stack.enter_context(session.store(database, writable=not dry_run))
        target = _open_target(session, store, spec)
        there = store.open(spec.name) if find_spec(store.tables(), spec.name) else None
        with session.console.status("reading"):
            survey = estimate(
                read_documents(old),
                there,
                model_of(spec),
                truncate=requests.truncate,
                cutter=None,
                on_skipped=session.console.skipped if dry_run else lambda *_: None,
            )
        if dry_run and json:
            session.print_json(estimate_record(survey, model_of(spec)) | {"table": spec.name})
        elif survey.to_embed or dry_run:
            verb = "Would embed" if dry_run else "Embedding"
            print_estimate(session, survey, model_of(spec), verb=verb)
        if dry_run:
            return ExitCode.IN_PART if survey.skipped else ExitCode.OK
        if not yes:
            if there is not None and survey.to_embed and not survey.known:
                _confirm_mixing(session, there, survey.to_embed)
            confirm_estimate(session, survey, model_of(spec))
        new = target.open()
        with IngestRun(session, store, new, json=json) as run:
            run.facts = {"table": spec.name, "model": spec.model}
            run.embed(read_documents(old), requests.ingest_options(), size=old.count())
            if run.report.stopped is None:
                with if_interrupted(RESUME):
                    _complete(session, old, new, vectors, run.report)
                    if not no_index:
                        target.index(wait=not no_wait)
        session.sign_off(store, new.spec)
        if run.report.stopped is None:
            command = f"jtv tables rename --replace {new.spec.name} {old.spec.name}"
            session.console.report(
                f"To put it in place of table {old.spec.name}, run:"
                f" {session.console.complete_hint(command)}"
            )
    return ExitCode.OK if run.report.is_complete else ExitCode.IN_PART


def _new_spec(
    session: Session, old: TableSpec, name: str | None, vectors: VectorOptions
) -> TableSpec:
    """Return the spec of the new table.

    Raises UsageError for the name of the old table, and for its own model.
    """
    model = session.model_for_new_table(vectors)
    name = name or _default_name(old.name, model.name, vectors.dimensions)
    config.check_table(config.Setting(name, "--to"))
    if name.lower() == old.name.lower():
        raise UsageError(f"--to names the table itself, {old.name}", hint="name another table")
    spec = spec_for(name, model)
    try:
        old.require_same_vectors(spec)
    except TableMismatch:
        return spec
    raise UsageError(
        f"table {old.name} already has model {old.model}",
        hint="name another one with --model; list them with: jtv models",
    )


def _default_name(table: str, model: str, dimensions: int | None) -> str:
    """Return a name for the new table that is the same each time."""
    words = [model, *([] if dimensions is None else [str(dimensions)])]
    suffix = re.sub(r"[^a-z0-9]+", "_", "_".join(words).lower()).strip("_")[-_LONGEST_SUFFIX:]
    return f"{table[: _LONGEST_NAME - len(suffix) - 1]}_{suffix.lstrip('_')}"


def _open_target(session: Session, store: Store, spec: TableSpec) -> Target:
    """Return the new table, which may exist. Raises TableMismatch if it has another model."""
    try:
        return Target(session, store, spec)
    except TableMismatch as mismatch:
        raise TableMismatch(mismatch.message, hint="name another table with --to") from mismatch


def _confirm_mixing(session: Session, table: Table, new: int) -> None:
    """Ask before documents go into a table that has others, and none of them.

    Raises UsageError unless the user agrees.
    """
    if others := table.count():
        session.confirm(
            "add",
            f"{format_count(new, 'document')} to table {table.spec.name}, which has"
            f" {format_count(others, 'other document')}",
            otherwise="nothing was embedded",
        )


def _complete(
    session: Session, old: Table, new: Table, vectors: VectorOptions, report: IngestReport
) -> None:
    """Add what belongs to the table besides its documents, and verify that these are all there.

    Raises StoreError if some are missing, because others delete them.
    """
    from jtv_cli.transfer.copy import add_source_details, count_missing, details_of

    with session.console.status("verifying") as show:
        add_source_details(details_of(old), new)
        missing = count_missing(
            old.read(), new, lambda count: show(f"verifying: {format_count(count, 'document')}")
        )
        if missing > report.skipped:
            raise StoreError(
                f"{format_count(missing, 'document')} of table {old.spec.name} are missing in"
                f" table {new.spec.name}: others write to these tables",
                hint=RESUME,
            )
        if old.full_text_status().state is not IndexState.NONE:
            new.build_full_text(progress=show)
        more = new.count() - (old.count() - missing)
    which = "every other document" if missing else "every document"
    session.console.report(f"Verified: {which} of table {old.spec.name} is in the new table")
    if more > 0:
        made = {
            "--table": new.spec.name,
            "--model": new.spec.model,
            "--dimensions": vectors.dimensions,
            "--query-prefix": vectors.query_prefix,
            "--document-prefix": vectors.document_prefix,
        }
        words = [str(each) for name, value in made.items() if value for each in (name, value)]
        session.console.warning(
            f"table {new.spec.name} has {format_count(more, 'document')} that table"
            f" {old.spec.name} does not have",
            hint=f"to begin anew, drop them with: jtv init --drop {shlex.join(words)}",
        )
