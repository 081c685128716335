"""`jtv search` and `jtv list`: documents, near a query or all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jtv_cli.cli import options
from jtv_cli.cli.options import Sort
from jtv_cli.cli.session import Session
from jtv_cli.errors import ExitCode, UsageError
from jtv_cli.render.formats import NUL_FORMATS, Format, format_hits

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jtv_cli.records import Hit, Vectors
    from jtv_cli.stores import Table


def search(
    session: Session,
    query: options.Query,
    k: options.K = 5,
    max_distance: options.MaxDistance = None,
    exact: options.Exact = False,
    explain: options.Explain = False,
    format: options.OutputFormat = None,  # noqa: A002
    json: options.Json = False,
    nul: options.Nul = False,
) -> int:
    """Find the documents nearest to a query.

    Off a terminal, a hit is a line: distance, id, text, source and line, separated
    by tabs. The exit code is 1 where nothing was found.
    """
    text = _checked_query(query)
    form = _chosen_format(session, format, json=json, nul=nul)
    with session.talk.waiting("searching"), session.store() as store:
        from jtv_cli import pipeline

        table = store.open(session.table_name)
        vector = pipeline.embed_query(text, session.embedder(table.spec))
        [hits] = table.search(
            vector[None],
            k,
            exact=exact,
            max_distance=max_distance,
            explain=session.talk.report if explain else None,
        )
    if form is not Format.TABLE:
        _write(session, hits, form, nul=nul)
    elif hits:
        from jtv_cli.render.tables import print_ranking

        print_ranking(hits, session.output, colored=session.colored)
    else:
        session.talk.note("nothing found")
    return ExitCode.OK if hits else ExitCode.NOTHING_FOUND


def list_documents(
    session: Session,
    query: options.OptionalQuery = None,
    limit: options.Limit = None,
    after: options.After = None,
    sort: options.SortBy = Sort.ID,
    format: options.OutputFormat = None,  # noqa: A002
    json: options.Json = False,
    nul: options.Nul = False,
) -> int:
    """Show every document, and its distance to a query.

    They come in the order of their ids, as they are read; --sort distance ranks them.
    """
    by_distance = sort is Sort.DISTANCE
    if by_distance and query is None:
        raise UsageError("--sort distance needs a query", hint="jtv list QUERY --sort distance")
    if by_distance and after is not None:
        raise UsageError("--after goes with the order of ids only", hint="leave out one of them")
    text = None if query is None else _checked_query(query)
    form = _chosen_format(session, format, json=json, nul=nul)
    with session.store() as store:
        table = store.open(session.table_name)
        vector = None if text is None else _embed(session, table, text)
        if by_distance and vector is not None:
            hits = table.rank(vector, limit=limit)
        else:
            hits = table.scan(vector, after=after, limit=limit)
        if form is Format.TABLE:
            from jtv_cli.render.tables import print_list

            with_distance = vector is not None
            print_list(hits, session.output, with_distance=with_distance, colored=session.colored)
        else:
            _write(session, hits, form, nul=nul)
    return ExitCode.OK


def _embed(session: Session, table: Table, text: str) -> Vectors:
    with session.talk.waiting("embedding the query"):
        from jtv_cli import pipeline

        return pipeline.embed_query(text, session.embedder(table.spec))


def _write(session: Session, hits: Iterable[Hit], form: Format, *, nul: bool) -> None:
    for piece in format_hits(hits, form, for_terminal=session.output.is_terminal, nul=nul):
        session.output.write(piece)


def _checked_query(query: str) -> str:
    """Return the query without surrounding white space. Raises UsageError if that is nothing."""
    if not (text := query.strip()):
        raise UsageError("the query is empty")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError("the query is not UTF-8") from None
    return text


def _chosen_format(session: Session, asked: Format | None, *, json: bool, nul: bool) -> Format:
    if json and asked not in (None, Format.JSONL):
        raise UsageError(f"--json and --format {asked.value} do not go together")
    if nul and asked not in (None, *NUL_FORMATS):
        names = ", ".join(form.value for form in NUL_FORMATS)
        raise UsageError(f"-0 does not go with --format {asked.value}", hint=f"choose of: {names}")
    if json:
        return Format.JSONL
    if asked is not None:
        return asked
    return Format.TABLE if session.output.is_terminal and not nul else Format.TSV
