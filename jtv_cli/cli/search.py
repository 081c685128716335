"""`jtv search`, `jtv list` and `jtv show`: documents near a query, all of them, or some by id."""

from __future__ import annotations

import sys
from contextlib import suppress
from fnmatch import fnmatchcase
from itertools import chain, islice
from typing import TYPE_CHECKING, NamedTuple

from jtv_cli import model_choice
from jtv_cli.cli import options
from jtv_cli.cli.ahead import EmbeddingAhead
from jtv_cli.cli.arguments import (
    LIST_IDS,
    Conditions,
    Results,
    empty_table,
    first_few,
    missing_documents,
    require_alone,
    require_one,
    require_utf8,
    split_after,
)
from jtv_cli.cli.options import QUERY_SECONDS, Sort
from jtv_cli.cli.session import Session
from jtv_cli.errors import ExitCode, UsageError
from jtv_cli.records import STDIN, Filter, SearchMode
from jtv_cli.render.output import OutputClosed
from jtv_cli.render.units import format_count
from jtv_cli.source_names import shown_source, source_patterns

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from jtv_cli.errors import ServiceError
    from jtv_cli.pipeline.rerank import Reranking
    from jtv_cli.pipeline.search import SearchOptions, SearchResult
    from jtv_cli.records import Answer
    from jtv_cli.render.formats import ResultWriter
    from jtv_cli.sources.blocks import RecordBlock
    from jtv_cli.stores import Table

    Group = Sequence[tuple[str, SearchResult]]

# In this many documents, the fields of metadata are looked up: enough, and not slow.
_MANY = 20_000


class _RerankOptions(NamedTuple):
    """Whether and how hits are reranked."""

    rerank: options.Rerank = None
    rerank_base: options.RerankBase = None
    candidates: options.Candidates = None
    strict: options.StrictRerank = False

    def reranking(
        self, session: Session, max_wait: float, *, are_many: bool, others: Mapping[str, bool]
    ) -> Reranking | None:
        """Return how hits are reranked, None if they are not.

        Raises UsageError for options that need --rerank, or that it cannot be combined with.
        """
        if self.rerank is None:
            for name, value in self._asdict().items():
                if value not in (None, False):
                    option = f"--{name.replace('_', '-')}"
                    raise UsageError(f"{option} needs --rerank", hint="add --rerank")
            return None
        require_alone("--rerank", others)
        from jtv_cli.pipeline.rerank import CANDIDATES, Reranking

        def warn(error: ServiceError) -> None:
            session.console.warning(
                f"the hits are not reranked: {error.message}",
                hint=f"{error.hint}; --strict makes this an error" if error.hint else None,
            )

        return Reranking(
            model_choice.open_reranker(session.settings, self.rerank, self.rerank_base),
            candidates=self.candidates or CANDIDATES,
            max_wait=max_wait,
            are_many=are_many,
            strict=self.strict,
            on_failure=warn,
        )


def search(
    session: Session,
    query: options.SearchQuery = None,
    like: options.Like = None,
    queries: options.QueryFile = None,
    k: options.K = 5,
    max_distance: options.MaxDistance = None,
    source: options.SourceGlob = None,
    *,
    conditions: Conditions,
    per_source: options.PerSource = None,
    diverse: options.Diverse = False,
    exact: options.Exact = False,
    snippet: options.Snippet = None,
    hybrid: options.Hybrid = None,
    keyword: options.Keyword = False,
    reranking: _RerankOptions,
    max_wait: options.MaxWait = QUERY_SECONDS,
    explain: options.Explain = False,
    results: Results,
) -> int:
    """Find the documents nearest to a query, to a document, or to each line of a file.

    The words of a query need no quotation marks. Put -- before a query that begins with "-".

    If the output is not a terminal, print one hit per line: distance, id, text, source and
    line number, separated by tabs. With --queries, the query comes first. --source, --where,
    --where-any, --after and --before select the documents to search: one occurrence must
    match all of them. The exit code is 1 if nothing is found. With --snippet, of each text
    only what is most relevant to the query is printed.

    --rerank sends the query and the texts of the best hits to the rerank API, one request
    a query, and prints the most relevant first. If that fails, the hits keep their order.
    --rerank onnx:DIR does it on this machine, with the extra local: pip install 'jtv-cli[local]'.

    --hybrid and --keyword need a full-text index: jtv index build --full-text. --hybrid is the
    default for a table that has one if its model is all-minilm-l6-v2. --keyword needs no API
    key, and its hits have no distance.

    Examples:
      jtv search what to cook with spinach
      jtv search "invoices from May" --source 'mail/*' --limit 3 --json
      jtv search --hybrid error E0425
      jtv search "how do heat pumps work" --rerank
      jtv search "heat pumps" --where 'year >= 2020' --where 'lang in (en, de)'

    """
    from jtv_cli.pipeline import search
    from jtv_cli.pipeline.search import SearchOptions
    from jtv_cli.pipeline.snippets import with_snippets

    require_one({"QUERY": query, "--like": like, "--queries": queries}, command="search")
    text = _joined(query)
    writer = results.writer(session)
    filter_ = conditions.filter(source)
    search_options = SearchOptions(
        *(k, max_distance, filter_, exact, explain, max_wait),
        per_source=per_source,
        diverse=diverse,
        mode=_mode(
            hybrid=hybrid,
            keyword=keyword,
            others={
                "--like": like is not None,
                "--max-distance": max_distance is not None and not hybrid,
                "--exact": exact and not hybrid,
                "--diverse": diverse and not hybrid,
            },
        ),
        reranking=reranking.reranking(
            session,
            max_wait,
            are_many=queries is not None,
            others={"--like": like is not None, "--diverse": diverse},
        ),
    )
    if queries is not None:
        return _search_many(session, queries, search_options, writer, snippet)
    with session.console.status("searching"), session.store() as store:
        is_embedded = text is not None and search_options.mode is not SearchMode.KEYWORD
        ahead = EmbeddingAhead(session, text or "") if is_embedded else None
        table = session.open_table(store)
        if like is not None:
            found = search.search(like, table, options=search_options)
        else:
            embedder = None if ahead is None else ahead.embedder(table.spec)
            found = search.search(text or "", table, embedder, search_options)
        hits, explanation = found
        if snippet is not None and hits:
            asked = text if like is None else table.get([like])[0].text
            hits = with_snippets(hits, asked or "", snippet)
        _warn_of_pending(session, table, search_options)
        unmatched = _unmatched(table, filter_) if filter_ and not hits else None
        if not hits and not unmatched and writer.is_table:
            session.console.report(_nothing_found(session, table, search_options))
    if explanation:
        session.console.report(explanation)
    if unmatched:
        session.console.warning(unmatched[0], hint=unmatched[1])
    writer.write_hits(hits, text or "")
    return ExitCode.OK if hits else ExitCode.NOTHING_FOUND


def list_documents(
    session: Session,
    query: options.OptionalQuery = None,
    limit: options.Limit = None,
    source: options.SourceGlob = None,
    where: options.Where = None,
    where_any: options.WhereAny = None,
    after: options.After = None,
    before: options.ModifiedBefore = None,
    sort: options.SortBy = Sort.ID,
    max_wait: options.MaxWait = QUERY_SECONDS,
    *,
    results: Results,
) -> int:
    """List all documents, with their distance to a query if there is one.

    Documents are ordered by id. With --sort distance, they are ordered by their distance
    to the query. The filters are those of `jtv search`.

    Examples:
      jtv list --limit 20
      jtv list "big animals" --sort distance

    """
    from jtv_cli.pipeline import search

    text = _joined(query)
    by_distance = sort is Sort.DISTANCE
    if by_distance and text is None:
        raise UsageError(
            "--sort distance needs a query", hint="run: jtv list QUERY --sort distance"
        )
    after_id, after_date = split_after(after)
    filter_ = Conditions(where, where_any, after_date, before).filter(source)
    if by_distance and after_id is not None:
        raise UsageError(
            "--after and --sort distance cannot be combined", hint="remove one of them"
        )
    writer = results.writer(session)
    with session.store() as store:
        with session.console.status("reading"):
            ahead = None if text is None else EmbeddingAhead(session, text)
            table = session.open_table(store)
            hits = search.list_documents(
                table,
                text,
                None if ahead is None else ahead.embedder(table.spec),
                by_distance=by_distance,
                after=after_id,
                limit=limit,
                filter=filter_,
                max_wait=max_wait,
            )
            # The first hit takes the longest, so the status line stays until it is there.
            first = [*islice(hits, 1)]
            hits = chain(first, hits)
        if filter_ and not first and (unmatched := _unmatched(table, filter_)):
            session.console.warning(unmatched[0], hint=unmatched[1])
        if not first and session.output.is_terminal and not table.count():
            session.console.report(empty_table(session, table))
        else:
            writer.write_list(hits, text)
    return ExitCode.OK


def show(
    session: Session,
    ids: options.DocumentIds,
    *,
    results: Results,
) -> int:
    """Show documents in full, with all their occurrences.

    If the output is not a terminal, print one line per occurrence, as `jtv list` does. With
    --json, print one line per document. The exit code is 1 if an id does not exist.

    Examples:
      jtv show 7
      jtv show 7 12 --json

    """
    writer = results.writer(session)
    with session.store() as store, session.looking_at(store):
        table = session.open_table(store)
        documents = table.get(ids)
    with suppress(OutputClosed):  # the exit code still says whether an id is missing
        writer.write_documents(documents)
    found = {document.id for document in documents}
    if missing := [number for number in dict.fromkeys(ids) if number not in found]:
        session.console.error(missing_documents(table, missing), hint=LIST_IDS)
        return ExitCode.NOTHING_FOUND
    return ExitCode.OK


def _mode(*, hybrid: bool | None, keyword: bool, others: Mapping[str, bool]) -> SearchMode | None:
    """Return what is to find documents, None for the default of the table's model.

    Raises UsageError if one of the other options has no meaning then.
    """
    if not (hybrid or keyword):
        return None if hybrid is None else SearchMode.VECTOR
    name = "--keyword" if keyword else "--hybrid"
    require_alone(name, {"--hybrid": bool(hybrid and keyword), **others})
    return SearchMode.KEYWORD if keyword else SearchMode.HYBRID


def _warn_of_pending(session: Session, table: Table, search_options: SearchOptions) -> None:
    """Print how many documents a search for words did not look at, if there are any."""
    if search_options.mode in (None, SearchMode.VECTOR):
        return
    if pending := table.full_text_status().pending:
        session.console.warning(
            f"{format_count(pending, 'document')} missing from the full-text index",
            hint="add the rest with: jtv index build --full-text",
        )


def _joined(words: Sequence[str] | None) -> str | None:
    """Return the words of a query as one text, None if there are none; - is stdin.

    Raises UsageError if the query is empty or not UTF-8.
    """
    if not words:
        return None
    text = _stdin() if list(words) == [STDIN] else " ".join(words)
    if not (text := text.strip()):
        raise UsageError("the query is empty")
    require_utf8(text, "the query")
    return text


def _stdin() -> str:
    if sys.stdin is None:
        raise UsageError("standard input is closed")
    try:
        return sys.stdin.buffer.read().decode("utf-8", "surrogateescape")
    except OSError as error:
        raise UsageError(f"cannot read standard input: {error.strerror}") from error


def _nothing_found(session: Session, table: Table, search_options: SearchOptions) -> str:
    """Return why a search found nothing, and what to try."""
    if not table.count():
        return empty_table(session, table)
    if search_options.filter or search_options.max_distance is not None:
        return "Nothing found. Try again without --max-distance and filters."
    if search_options.mode is SearchMode.KEYWORD:
        return "Nothing found. Try again without --keyword, to search by meaning."
    return f"Nothing found. See what is stored: {session.console.complete_hint('jtv list')}"


def _unmatched(table: Table, wanted: Filter) -> tuple[str, str] | None:
    """Return what is wrong with a filter, and a hint: a source or a field that does not exist.

    Of a large table, only the fields of the first documents are looked at, and the answer
    says so.
    """
    if wanted.source not in (None, STDIN):
        patterns = source_patterns(wanted.source or "")
        names = [count.source for count in table.sources() if count.source is not None]
        if not any(fnmatchcase(name, pattern) for name in names for pattern in patterns):
            shown = first_few([shown_source(name) for name in names])
            hint = f"the sources are: {shown}" if names else "no document has a source"
            return f'no source matches "{wanted.source}"', hint
    if not wanted.conditions:
        return None
    from jtv_cli.stores.filters import has_field

    fields: dict[str, None] = {}
    missing = {condition.field for condition in wanted.conditions}
    for document in islice(table.read(), _MANY):
        for occurrence in document.occurrences:
            fields.update(dict.fromkeys(occurrence.metadata or ()))
            missing -= {name for name in missing if has_field(occurrence.metadata, name)}
    required = [condition.field for condition in wanted.where]
    any_of = [condition.field for condition in wanted.where_any]
    for name in required + (any_of if missing.issuperset(any_of) else []):
        if name in missing:
            is_large = table.count() > _MANY
            which = f"none of the first {_MANY:,} documents" if is_large else "no document"
            known = first_few(sorted(fields))
            hint = f"the fields are: {known}" if fields else f"{which} has metadata"
            return f'{which} has a field "{name}"', hint
    return None


def _search_many(
    session: Session,
    path: str,
    search_options: SearchOptions,
    writer: ResultWriter,
    snippet: int | None,
) -> int:
    """Answer each line of a file, in order, as soon as it is read."""
    from jtv_cli.pipeline.search import search_many
    from jtv_cli.pipeline.snippets import with_snippets
    from jtv_cli.sources.open import open_sources, read_blocks
    from jtv_cli.sources.source import InputFormat, ReadOptions

    read_options = ReadOptions(format=InputFormat.LINES)
    with open_sources([path], read_options) as sources, session.store() as store:
        table = session.open_table(store)
        queries = _Queries(session, read_blocks(sources), are_typed=path == STDIN)
        is_embedded = search_options.mode is not SearchMode.KEYWORD
        embedder = session.embedder(table.spec) if is_embedded else None
        _warn_of_pending(session, table, search_options)
        results = search_many(queries.read(), table, embedder, search_options)
        answers = queries.answers(results)
        if snippet is not None:
            answers = ((query, with_snippets(hits, query, snippet)) for query, hits in answers)
        with suppress(OutputClosed):  # the exit code still says what was skipped
            writer.write_answers(answers)
    if queries.skipped:
        return ExitCode.IN_PART
    return ExitCode.OK if queries.has_hits else ExitCode.NOTHING_FOUND


class _Queries:
    """The queries of a file: how many were `skipped`, and whether there are hits.

    No status line is shown while a person may be typing queries on the terminal.
    """

    def __init__(self, session: Session, blocks: Iterable[RecordBlock], *, are_typed: bool) -> None:
        self.skipped = 0
        self.has_hits = False
        self._session = session
        self._blocks = blocks
        self._are_typed = are_typed
        self._explanations: set[str] = set()

    def read(self) -> Iterator[Sequence[str]]:
        """Yield the lines, as many at a time as can be read without waiting."""
        for block in self._blocks:
            for place, reason in block.bad_places():
                self._session.console.skipped(place, reason)
            self.skipped += len(block.bad)
            yield [text for _, text, _, _ in block.texts]

    def answers(self, groups: Iterator[Group]) -> Iterator[Answer]:
        """Yield queries with their hits; write out those of a group before waiting for the next."""
        while group := self._next(groups):
            for query, (hits, explanation) in group:
                if explanation and explanation not in self._explanations:
                    self._explanations.add(explanation)
                    self._session.console.report(explanation)
                self.has_hits = self.has_hits or bool(hits)
                yield query, hits
            self._session.output.flush()

    def _next(self, groups: Iterator[Group]) -> Group | None:
        if self._are_typed:
            return next(groups, None)
        with self._session.console.status("searching"):
            return next(groups, None)
