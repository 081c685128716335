"""The Python API: `jtv_cli.connect` opens a table to ingest into, search, list and delete from.

Nothing here prints, exits, or reads the environment unless `from_environment` asks for it.
Notices, such as that a request is retried, go to the logger `jtv_cli`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

from jtv_cli import config
from jtv_cli.connections import Connections, masked_errors
from jtv_cli.embedders import DEFAULT_RERANKER
from jtv_cli.errors import UsageError, mask_secrets
from jtv_cli.records import STDIN, Condition, Filter, IndexStatus, SearchMode
from jtv_cli.sources.directory import Selection
from jtv_cli.sources.memory import blocks_of_records
from jtv_cli.sources.open import open_sources, read_blocks
from jtv_cli.sources.repository import GitSettings
from jtv_cli.sources.source import InputFormat, ReadOptions

if TYPE_CHECKING:
    # For annotations in a class that has a method called `list`.
    import builtins
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import date
    from types import TracebackType

    from jtv_cli import stores
    from jtv_cli.config import Settings
    from jtv_cli.embedders import Embedder
    from jtv_cli.errors import ServiceError
    from jtv_cli.pipeline.rerank import Reranking
    from jtv_cli.pipeline.search import SearchOptions
    from jtv_cli.records import (
        Hit,
        IngestProgress,
        IngestReport,
        Pair,
        Removed,
        SourceCount,
        StoredDocument,
    )
    from jtv_cli.sources.blocks import RecordBlock

    StrPath = str | os.PathLike[str]
    Where = str | Sequence[str] | Mapping[str, object]

Choice = TypeVar("Choice", SearchMode, InputFormat)

_logger = logging.getLogger("jtv_cli")
_logger.addHandler(logging.NullHandler())

# Seconds for which a failed request is retried: a user waits for a search.
_QUERY_SECONDS = 15.0
_INGEST_SECONDS = 900.0
_CANDIDATES = 50  # as in pipeline.rerank, which is imported only where it is needed
_MAX_DISTANCE = 2.0


class TableInfo(NamedTuple):
    """What a table is and has.

    `size` is in bytes, its index included; None where the database does not tell.
    """

    name: str
    location: str
    model: str
    dimensions: int
    documents: int
    size: int | None
    index_status: IndexStatus


def connect(
    database: StrPath | None = None,
    *,
    table: str | None = None,
    model: str | None = None,
    api_key: str | None = None,
    api_base: str | None = None,
    models_directory: StrPath | None = None,
    create: bool = True,
    read_only: bool = False,
    from_environment: bool = False,
) -> Table:
    """Open a table. Close it with `close`, or use it in a `with` statement.

    Args:
        database: A path, a database URL, or "embedded", the default: jtv's own file in the
            user's data directory.
        table: The name of the table. The default is that of the commands.
        model: The model that the table must have, and the model of a new table. The default
            is the table's own; for a new table, it is chosen as `jtv init` chooses it.
        api_key: The key for the embeddings API, for models that need one.
        api_base: The URL of the embeddings API, if it is not Jina AI's.
        models_directory: Where downloaded models are.
        create: Let the first `ingest` create the table if it does not exist. Until then,
            every method that reads raises NoTable.
        read_only: Create and change nothing. A file without write permission needs this.
        from_environment: Take what is not given here from the environment and from `.env`
            and `config.env`, as the commands do.

    Raises:
        UsageError: A setting cannot be used, or the API key is missing.
        NoTable: The table does not exist, and `create` is false.
        TableMismatch: The table has another model.
        StoreError: The database refused or failed.
        ServiceError: The embeddings service refused or failed.

    """
    flags = config.Flags(
        _path(database),
        table,
        model,
        api_base,
        api_key=api_key,
        models=_path(models_directory),
        is_from_python=True,
    )
    with masked_errors():
        settings = config.load_settings(flags, from_environment=from_environment)
        return open_table(settings, create=create, read_only=read_only)


def open_table(settings: Settings, *, create: bool = False, read_only: bool = False) -> Table:
    """Open the table that settings name: what `connect` does with its own.

    Raises the errors of `connect`.
    """
    with masked_errors():
        connections = Connections(settings, read_only=read_only)
        try:
            connections.open_first(create=create and not read_only)
        except BaseException:
            connections.close()
            raise
    return Table(connections)


class Table:
    """An open table. Threads may share it: each operation has a connection of its own.

    Open it after a process forks, not before. Every method raises StoreError if the
    database refuses or fails, and UsageError for an argument that cannot be used.
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def __enter__(self) -> Table:
        """Return the table itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the table."""
        self.close()

    def __repr__(self) -> str:
        return f"<jtv_cli.Table {self.name!r} (model {self.model}) in {self.location}>"

    @property
    def name(self) -> str:
        """The name of the table."""
        return self._connections.spec.name

    @property
    def location(self) -> str:
        """The file, or the host and database."""
        return self._connections.location

    @property
    def model(self) -> str:
        """The model that embeds the documents."""
        return self._connections.spec.model

    @property
    def dimensions(self) -> int:
        """The length of the vectors."""
        return self._connections.spec.dimensions

    def close(self) -> None:
        """Close the connections; those in use by other threads when their operation ends."""
        self._connections.close()

    def ingest(
        self,
        texts: str | Mapping[str, Any] | Iterable[str | Mapping[str, Any]] = (),
        *,
        files: StrPath | Iterable[StrPath] = (),
        source: str | None = None,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        glob: Sequence[str] = (),
        input: str | None = None,  # noqa: A002
        text_field: Sequence[str] = (),
        paragraphs: bool = False,
        chunk: int | None = None,
        no_chunk: bool = False,
        truncate: bool = False,
        strict: bool = False,
        concurrency: int = 2,
        max_tokens: int | None = None,
        max_wait: float = _INGEST_SECONDS,
        on_progress: Callable[[IngestProgress], None] | None = None,
        on_skipped: Callable[[str, str], None] | None = None,
    ) -> IngestReport:
        """Embed and store texts, or the texts of files. What is already stored costs nothing.

        A record that cannot be stored, because it is not UTF-8, say, is skipped:
        `IngestReport.skipped` counts it and the logger `jtv_cli` warns of it. A text that is
        too long for the model is cut into chunks.

        Args:
            texts: Texts, or mappings with a field `text` (or `content`) and metadata.
            files: Files or directories, read as `jtv ingest` reads them.
            source: The name to store as the source of the texts or files.
            include: In directories, read only files that match one of these patterns.
            exclude: In directories, read no files that match one of these patterns.
            glob: Another name for `include`.
            input: The format of the files, such as "lines" or "markdown". The default is
                chosen by their names.
            text_field: The fields of records in files that have the text.
            paragraphs: Split plain text files at blank lines instead of at line ends.
            chunk: Cut documents into chunks of up to so many estimated tokens.
            no_chunk: Store each document as one text, and skip texts that are too long for the
                model.
            truncate: Embed only the beginning of texts that are too long for the model.
            strict: Stop at the first record that would be skipped.
            concurrency: The number of requests in flight, for a model behind an API.
            max_tokens: Stop before using more tokens than this.
            max_wait: How long to keep retrying a failed request, in seconds.
            on_progress: Called after every step, from another thread.
            on_skipped: Called with the place and the reason of each skipped record, from
                another thread, instead of a warning in the log.

        Raises:
            TypeError: A record is neither a text nor a mapping with a text.
            ServiceError: The embeddings service refused or failed. What it answered before
                is stored.

        """
        from jtv_cli.pipeline.ingestion import ingest
        from jtv_cli.pipeline.known_sources import recall_sources
        from jtv_cli.pipeline.long_texts import TextCutter
        from jtv_cli.pipeline.options import IngestOptions
        from jtv_cli.pipeline.retry import RetryPolicy

        self._connections.require_writable()
        if texts and files:
            raise UsageError("texts and files cannot be combined", hint="call ingest twice")
        if chunk is not None and (no_chunk or chunk < 1):
            raise UsageError("chunk must be at least 1, and cannot be combined with no_chunk")
        if source is not None and (not source.strip() or source == STDIN):
            raise UsageError(f"{source!r} cannot be the name of a source")
        cutter = None if truncate or no_chunk else TextCutter(chunk)
        options = IngestOptions(
            concurrency=concurrency,
            retry_policy=RetryPolicy(max_wait),
            max_tokens=max_tokens,
            strict=strict,
            truncate=truncate,
        )
        observer = _Callbacks(on_progress, on_skipped)

        def run(table: stores.Table, blocks: Iterable[RecordBlock]) -> IngestReport:
            embedder = self._connections.embedder(truncate=truncate)
            # Fail before anything is paid for.
            table.require_writable()
            return ingest(blocks, embedder, table, options, observer, cutter)

        paths = [files] if isinstance(files, str | os.PathLike) else list(files)
        with self._connections.borrow(create=True) as table:
            if not paths:
                records = [texts] if isinstance(texts, str | Mapping) else texts
                return run(table, blocks_of_records(records, source))
            read_options = ReadOptions(
                name=source,
                format=_choice(InputFormat, input, "input format"),
                text_fields=tuple(text_field),
                selection=Selection(
                    (*include, *glob),
                    tuple(exclude),
                    git=GitSettings(*config.git_configuration()),
                ),
                paragraphs=paragraphs,
                chunk=chunk,
                whole=no_chunk,
            )
            with open_sources(list(map(_file, paths)), read_options, _logger.warning) as sources:
                recall_sources(table, sources).record(table)
                return run(table, read_blocks(sources))

    def search(
        self,
        query: str,
        k: int = 5,
        *,
        mode: Literal["vector", "keyword", "hybrid"] | None = None,
        max_distance: float | None = None,
        source: str | None = None,
        where: Where = (),
        where_any: Where = (),
        after: str | date | None = None,
        before: str | date | None = None,
        per_source: int | None = None,
        diverse: bool = False,
        exact: bool = False,
        rerank: bool | str = False,
        candidates: int = _CANDIDATES,
        strict: bool = False,
        max_wait: float = _QUERY_SECONDS,
    ) -> builtins.list[Hit]:
        """Return the `k` documents nearest to a query, nearest first.

        Args:
            query: What to search for.
            k: The largest number of hits.
            mode: What finds documents: vectors, the words of the query, or both. The last two
                need a full-text index; see `build_index`. The default is that of `jtv search`.
            max_distance: Omit documents farther than this, from 0 to 2.
            source: Search only sources that match this shell pattern, such as "mail/*".
            where: Search only documents whose metadata meets all conditions: such texts as
                "year >= 2020", as for `jtv search --where`, or a mapping of fields to values.
            where_any: Search only documents whose metadata meets one of these conditions.
            after: Search only files that were modified at or after this date or time, in the
                time zone of this machine unless it has its own.
            before: Search only files that were modified before this date or time.
            per_source: The largest number of hits of one source.
            diverse: Pick hits that differ from one another.
            exact: Compare every vector instead of using the index.
            rerank: Order the best hits anew with a reranker: True for the API's default, or
                the name of a model, or `onnx:DIR`. If that fails, hits keep their order, and
                the logger `jtv_cli` warns.
            candidates: How many hits are reranked.
            strict: Raise ServiceError if reranking fails.
            max_wait: How long to keep retrying a failed request, in seconds.

        Raises:
            ServiceError: The embeddings service refused or failed.

        """
        from jtv_cli.pipeline.search import search

        _check_query(query)
        options = _search_options(
            k,
            max_distance,
            _filter(source, where, where_any, after, before),
            exact=exact,
            max_wait=max_wait,
            per_source=per_source,
            diverse=diverse,
            mode=_choice(SearchMode, mode, "search mode"),
            reranking=self._reranking(rerank, candidates, max_wait, strict=strict, diverse=diverse),
        )
        with self._connections.borrow() as table:
            return search(query, table, self._embedder(options), options).hits

    def search_many(
        self,
        queries: Iterable[str],
        k: int = 5,
        *,
        mode: Literal["vector", "keyword", "hybrid"] | None = None,
        max_distance: float | None = None,
        source: str | None = None,
        where: Where = (),
        where_any: Where = (),
        after: str | date | None = None,
        before: str | date | None = None,
        per_source: int | None = None,
        diverse: bool = False,
        exact: bool = False,
        rerank: bool | str = False,
        candidates: int = _CANDIDATES,
        strict: bool = False,
        max_wait: float = _QUERY_SECONDS,
    ) -> builtins.list[builtins.list[Hit]]:
        """Return the hits of each query, in order. Queries are embedded together.

        The arguments and the errors are those of `search`.
        """
        from jtv_cli.pipeline.search import search_many

        texts = list(queries)
        for text in texts:
            _check_query(text)
        options = _search_options(
            k,
            max_distance,
            _filter(source, where, where_any, after, before),
            exact=exact,
            max_wait=max_wait,
            per_source=per_source,
            diverse=diverse,
            mode=_choice(SearchMode, mode, "search mode"),
            reranking=self._reranking(
                rerank, candidates, max_wait, strict=strict, diverse=diverse, are_many=True
            ),
        )
        with self._connections.borrow() as table:
            groups = search_many([texts], table, self._embedder(options), options)
            return [result.hits for group in groups for _, result in group]

    def similar(
        self,
        document: int,
        k: int = 5,
        *,
        max_distance: float | None = None,
        source: str | None = None,
        where: Where = (),
        where_any: Where = (),
        after: str | date | None = None,
        before: str | date | None = None,
        per_source: int | None = None,
        diverse: bool = False,
        exact: bool = False,
    ) -> builtins.list[Hit]:
        """Return the documents nearest to the document with this id, itself left out.

        The arguments are those of `search`. Nothing is embedded.
        """
        from jtv_cli.pipeline.search import search

        options = _search_options(
            k,
            max_distance,
            _filter(source, where, where_any, after, before),
            exact=exact,
            per_source=per_source,
            diverse=diverse,
        )
        with self._connections.borrow() as table:
            return search(document, table, options=options).hits

    def duplicates(
        self, max_distance: float = 0.05, *, exact: bool | None = None
    ) -> Iterator[Pair]:
        """Yield pairs of documents that are almost the same, by the smaller id.

        Args:
            max_distance: The largest cosine distance of a pair.
            exact: Compare every document with every other, or ask the index, which may miss a
                few. The default depends on the size of the table.

        """
        from jtv_cli.pipeline.duplicates import find_duplicates

        _check_distance(max_distance)

        def pairs() -> Iterator[Pair]:
            with self._connections.borrow() as table:
                yield from find_duplicates(table, max_distance, exact=exact)

        return pairs()

    def get(self, ids: int | Iterable[int]) -> builtins.list[StoredDocument]:
        """Return documents with all their occurrences, in the order of the ids.

        Ids that do not exist are left out.
        """
        with self._connections.borrow() as table:
            return table.get(_ids(ids))

    def delete(
        self, ids: int | Iterable[int] | None = None, *, source: str | None = None
    ) -> Removed:
        """Delete documents by id, or all that was read in a source.

        Ids that do not exist are ignored. With `source`, documents that were also read
        elsewhere stay.
        """
        from jtv_cli.pipeline.removal import delete_documents, mark_source, remove_marked

        self._connections.require_writable()
        if (ids is None) == (source is None):
            raise UsageError("delete takes either ids or a source")
        with self._connections.borrow() as table:
            if ids is not None:
                return delete_documents(table, _ids(ids))
            marked = mark_source(table, source or "")
            return remove_marked(table, [marked])

    def sources(self) -> builtins.list[SourceCount]:
        """Return the sources with their numbers of occurrences and documents, by name."""
        with self._connections.borrow() as table:
            return table.sources()

    def count(self) -> int:
        """Return the number of documents."""
        with self._connections.borrow() as table:
            return table.count()

    def build_index(self, *, full_text: bool = False) -> None:
        """Build the index, or rebuild it; with `full_text`, the one for searches by keyword.

        The index of an embedded store builds itself. Searches go on meanwhile.
        """
        self._connections.require_writable()
        with self._connections.borrow() as table:
            if full_text:
                table.build_full_text(progress=_logger.debug)
            else:
                table.build_index(progress=_logger.debug)

    def info(self) -> TableInfo:
        """Return what the table is and has."""
        with self._connections.borrow() as table:
            return TableInfo(
                self.name,
                self.location,
                self.model,
                self.dimensions,
                table.count(),
                table.size(),
                table.index_status(),
            )

    def list(
        self,
        query: str | None = None,
        *,
        by_distance: bool = False,
        source: str | None = None,
        where: Where = (),
        where_any: Where = (),
        after: int | None = None,
        limit: int | None = None,
        max_wait: float = _QUERY_SECONDS,
    ) -> Iterator[Hit]:
        """Yield all documents by id, with their distance to a query if there is one.

        Args:
            query: What to compute distances to.
            by_distance: Order by distance to the query instead of by id.
            source: List only documents of sources that match this shell pattern.
            where: List only documents whose metadata meets all conditions, as for `search`.
            where_any: List only documents whose metadata meets one of these conditions.
            after: Start after this id.
            limit: Yield no more than this.
            max_wait: How long to keep retrying a failed request, in seconds.

        """
        from jtv_cli.pipeline.search import list_documents

        if query is not None:
            _check_query(query)
        if by_distance and query is None:
            raise UsageError("by_distance needs a query")
        if by_distance and after is not None:
            raise UsageError("after and by_distance cannot be combined")
        filter = _filter(source, where, where_any, None, None)

        def hits() -> Iterator[Hit]:
            with self._connections.borrow() as table:
                yield from list_documents(
                    table,
                    query,
                    None if query is None else self._connections.embedder(),
                    by_distance=by_distance,
                    after=after,
                    limit=limit,
                    filter=filter,
                    max_wait=max_wait,
                )

        return hits()

    def _reranking(
        self,
        rerank: bool | str,
        candidates: int,
        max_wait: float,
        *,
        strict: bool,
        diverse: bool,
        are_many: bool = False,
    ) -> Reranking | None:
        if rerank is False:
            return None
        from jtv_cli.pipeline.rerank import MOST_CANDIDATES, Reranking

        if diverse:
            raise UsageError("rerank and diverse cannot be combined", hint="keep one of them")
        if not 1 <= candidates <= MOST_CANDIDATES:
            raise UsageError(f"candidates is {candidates}, not from 1 to 100")

        def warn(error: ServiceError) -> None:
            _logger.warning("the hits are not reranked: %s", mask_secrets(error.message))

        return Reranking(
            self._connections.reranker(DEFAULT_RERANKER if rerank is True else rerank),
            candidates=candidates,
            max_wait=max_wait,
            are_many=are_many,
            strict=strict,
            on_failure=warn,
        )

    def _embedder(self, options: SearchOptions) -> Embedder | None:
        """Return the embedder, None for a search that needs none, and so no API key."""
        is_needed = options.mode is not SearchMode.KEYWORD
        return self._connections.embedder() if is_needed else None


class _Callbacks:
    """Passes what happens in an ingest to the functions of a caller, or to the log."""

    def __init__(
        self,
        on_progress: Callable[[IngestProgress], None] | None,
        on_skipped: Callable[[str, str], None] | None,
    ) -> None:
        self._on_progress = on_progress
        self._on_skipped = on_skipped

    def on_progress(self, progress: IngestProgress) -> None:
        """Pass the state on."""
        if self._on_progress:
            self._on_progress(progress)

    def on_notice(self, message: str) -> None:
        """Log the notice."""
        _logger.info(message)

    def on_skipped(self, place: str, reason: str) -> None:
        """Pass on, or log, which record was skipped."""
        if self._on_skipped:
            self._on_skipped(place, mask_secrets(reason))
        else:
            _logger.warning("%s: %s, skipped", place, mask_secrets(reason))


def _search_options(
    k: int,
    max_distance: float | None,
    filter_: Filter | None,
    **others: Any,  # noqa: ANN401
) -> SearchOptions:
    """Return the options of a search. Raises UsageError for values that make no sense."""
    from jtv_cli.pipeline.search import SearchOptions

    if k < 1:
        raise UsageError(f"k is {k}, not a positive number")
    if max_distance is not None:
        _check_distance(max_distance)
    if others["per_source"] is not None and others["per_source"] < 1:
        raise UsageError(f"per_source is {others['per_source']}, not a positive number")
    return SearchOptions(k, max_distance, filter_, **others)


def _choice(kind: type[Choice], name: str | None, what: str) -> Choice | None:
    """Return the member of that name. Raises UsageError if there is none."""
    if name is None:
        return None
    try:
        return kind(name)
    except ValueError:
        choices = ", ".join(each.value for each in kind)
        raise UsageError(f"no {what} {name!r}", hint=f"choose one of: {choices}") from None


def _filter(
    source: str | None,
    where: Where,
    where_any: Where,
    after: str | date | None,
    before: str | date | None,
) -> Filter | None:
    """Return the filter of a search, None if it selects everything."""
    found = Filter(
        source,
        _conditions("where", where),
        _conditions("where_any", where_any),
        _seconds("after", after),
        _seconds("before", before),
    )
    return None if found == Filter() else found


def _conditions(argument: str, where: Where) -> tuple[Condition, ...]:
    if not where:
        return ()
    from jtv_cli.stores.filters import parse_condition

    if isinstance(where, Mapping):
        return tuple(Condition(name, _json_text(value)) for name, value in where.items())
    texts = [where] if isinstance(where, str) else where
    return tuple(parse_condition(text, argument) for text in texts)


def _seconds(argument: str, value: str | date | None) -> float | None:
    if value is None:
        return None
    from jtv_cli.stores.filters import parse_seconds

    return parse_seconds(value if isinstance(value, str) else value.isoformat(), argument)


def _check_distance(max_distance: float) -> None:
    if not 0 <= max_distance <= _MAX_DISTANCE:
        raise UsageError(f"max_distance is {max_distance}, not between 0 and 2")


def _json_text(value: object) -> str:
    """Return a value as a filter compares it: a text as it is, anything else as JSON."""
    if isinstance(value, str):
        return value
    import orjson

    try:
        return orjson.dumps(value).decode()
    except TypeError:
        raise UsageError(f"where has a {type(value).__name__}, which is not JSON") from None


def _check_query(query: object) -> None:
    if not isinstance(query, str):
        raise TypeError(f"a query is a str, not {type(query).__name__}")
    if not query.strip():
        raise UsageError("the query is empty")
    try:
        query.encode()
    except UnicodeEncodeError:
        raise UsageError("the query has a surrogate, which UTF-8 cannot encode") from None


def _ids(ids: int | Iterable[int]) -> list[int]:
    return [ids] if isinstance(ids, int) else list(dict.fromkeys(ids))


def _path(path: StrPath | None) -> str | None:
    return None if path is None else os.fspath(path)


def _file(path: StrPath) -> str:
    """Return the path of a file; standard input is the program's own."""
    name = os.fspath(path)
    return f"./{name}" if name == STDIN else name
