"""`jtv search` and `jtv list`: documents, near a query or all of them."""

from __future__ import annotations

from itertools import chain, islice
from typing import TYPE_CHECKING

from jtv_cli.cli import options
from jtv_cli.cli.arguments import (
    checked_query,
    chosen_filter,
    chosen_format,
    no_documents,
    require_one,
)
from jtv_cli.cli.options import QUERY_SECONDS, Sort
from jtv_cli.cli.queries import Wanted, answer_queries
from jtv_cli.cli.session import Session
from jtv_cli.errors import ExitCode, UsageError
from jtv_cli.render.formats import Format, format_hits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from jtv_cli.records import Hit, Vectors
    from jtv_cli.stores import Table


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
    require_one({"QUERY": query, "--like": like, "--queries": queries})
    text = None if query is None else checked_query(query)
    form = chosen_format(session, format, json=json, nul=nul)
    wanted = Wanted(
        k,
        max_distance,
        chosen_filter(source, where),
        exact,
        _once(session.console.report) if explain else None,
    )
    if queries is not None:
        return answer_queries(session, queries, wanted, form, nul=nul, max_wait=max_wait)
    with session.console.status("searching"), session.store() as store:
        table = session.open_table(store)
        if like is not None:
            hits = _neighbours(table, like, wanted)
        else:
            [hits] = wanted.nearest(table, _embed(session, table, text or "", max_wait)[None])
    if form is not Format.TABLE:
        _write(session, hits, form, nul=nul)
    elif hits:
        from jtv_cli.render.tables import print_ranking

        print_ranking(hits, session.output, colored=session.colored)
    else:
        session.console.note("nothing found")
    return ExitCode.OK if hits else ExitCode.NOTHING_FOUND


def _neighbours(table: Table, like: int, wanted: Wanted) -> list[Hit]:
    """Return what is nearest to a document, itself left out."""
    found = table.get([like], vectors=True)
    if not found:
        raise UsageError(no_documents(table, [like]))
    vector = found[0].vector
    if vector is None:
        raise UsageError(f"document {like} has no vector", hint="choose another")
    [hits] = wanted.nearest(table, vector[None], more=1)
    return [hit for hit in hits if hit.id != like][: wanted.k]


def _once(say: Callable[[str], None]) -> Callable[[str], None]:
    """Return what says a thing the first time only."""
    said: set[str] = set()

    def say_once(what: str) -> None:
        if what not in said:
            said.add(what)
            say(what)

    return say_once


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
            vector = None if text is None else _embed(session, table, text, max_wait)
            if by_distance and vector is not None:
                hits = table.rank(vector, limit=limit)
            else:
                hits = table.scan(vector, after=after, limit=limit)
            # The others come quickly, once the first is there.
            hits = chain([*islice(hits, 1)], hits)
        if form is Format.TABLE:
            from jtv_cli.render.tables import print_list

            with_distance = vector is not None
            print_list(hits, session.output, with_distance=with_distance, colored=session.colored)
        else:
            _write(session, hits, form, nul=nul)
    return ExitCode.OK


def _embed(session: Session, table: Table, query: str, max_wait: float) -> Vectors:
    from jtv_cli import pipeline

    return pipeline.embed_query(query, session.embedder(table.spec), max_wait=max_wait)


def _write(session: Session, hits: Iterable[Hit], form: Format, *, nul: bool) -> None:
    for piece in format_hits(hits, form, session.output.escape, nul=nul):
        session.output.write(piece)
