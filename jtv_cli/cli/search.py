"""`jtv search` and `jtv list`: documents, near a query or all of them."""

from __future__ import annotations

from itertools import chain, islice
from typing import TYPE_CHECKING

from jtv_cli.cli import options
from jtv_cli.cli.arguments import (
    checked_query,
    chosen_filter,
    chosen_format,
    require_one,
)
from jtv_cli.cli.options import QUERY_SECONDS, Sort
from jtv_cli.cli.queries import answer_queries
from jtv_cli.cli.session import Session
from jtv_cli.errors import ExitCode, UsageError
from jtv_cli.render.formats import Format, format_hits

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jtv_cli.records import Hit


def search(
    session: Session,
    query: options.SearchQuery = None,
    like: options.Like = None,
    queries: options.QueryFile = None,
    k: options.K = 5,
    max_distance: options.MaxDistance = None,
    source: options.SourceGlob = None,
    where: options.Where = None,
    exact: options.Exact = False,
    max_wait: options.MaxWait = QUERY_SECONDS,
    explain: options.Explain = False,
    format: options.OutputFormat = None,  # noqa: A002
    json: options.Json = False,
    nul: options.Nul = False,
) -> int:
    """Find the documents nearest to a query, to a document, or to each line of a file.

    Off a terminal, a hit is a line: distance, id, text, source and line, separated
    by tabs; with --queries, the query stands before them. The exit code is 1 where
    nothing was found. --source and --where choose which documents are searched: one
    place where a document was read must match them all.
    """
    from jtv_cli import pipeline

    require_one({"QUERY": query, "--like": like, "--queries": queries})
    text = None if query is None else checked_query(query)
    form = chosen_format(session, format, json=json, nul=nul)
    search_options = pipeline.SearchOptions(
        k, max_distance, chosen_filter(source, where), exact, explain, max_wait
    )
    if queries is not None:
        return answer_queries(session, queries, search_options, form, nul=nul)
    with session.console.status("searching"), session.store() as store:
        table = session.open_table(store)
        if like is not None:
            hits, explanation = pipeline.search(like, table, options=search_options)
        else:
            embedder = session.embedder(table.spec)
            hits, explanation = pipeline.search(text or "", table, embedder, search_options)
    if explanation:
        session.console.report(explanation)
    if form is not Format.TABLE:
        _write(session, hits, form, nul=nul)
    elif hits:
        from jtv_cli.render.tables import print_hits

        print_hits(hits, session.output, query=text or "")
    else:
        session.console.note("nothing found")
    return ExitCode.OK if hits else ExitCode.NOTHING_FOUND


def list_documents(
    session: Session,
    query: options.OptionalQuery = None,
    limit: options.Limit = None,
    after: options.After = None,
    sort: options.SortBy = Sort.ID,
    max_wait: options.MaxWait = QUERY_SECONDS,
    format: options.OutputFormat = None,  # noqa: A002
    json: options.Json = False,
    nul: options.Nul = False,
) -> int:
    """Show every document, and its distance to a query.

    They come in the order of their ids, as they are read; --sort distance ranks them.
    """
    from jtv_cli import pipeline

    by_distance = sort is Sort.DISTANCE
    if by_distance and query is None:
        raise UsageError("--sort distance needs a query", hint="jtv list QUERY --sort distance")
    if by_distance and after is not None:
        raise UsageError("--after goes with the order of ids only", hint="leave out one of them")
    text = None if query is None else checked_query(query)
    form = chosen_format(session, format, json=json, nul=nul)
    with session.store() as store:
        with session.console.status("reading"):
            table = session.open_table(store)
            hits = pipeline.list_documents(
                table,
                text,
                None if text is None else session.embedder(table.spec),
                by_distance=by_distance,
                after=after,
                limit=limit,
                max_wait=max_wait,
            )
            # The others come quickly, once the first is there.
            hits = chain([*islice(hits, 1)], hits)
        if form is Format.TABLE:
            from jtv_cli.render.tables import print_list

            print_list(hits, session.output, query=text)
        else:
            _write(session, hits, form, nul=nul)
    return ExitCode.OK


def _write(session: Session, hits: Iterable[Hit], form: Format, *, nul: bool) -> None:
    for piece in format_hits(hits, form, session.output.escape, nul=nul):
        session.output.write(piece)
