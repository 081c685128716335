"""A server of the Model Context Protocol: one table as tools for an agent.

Answers are short: snippets instead of texts, and never more than a limit.
"""

from __future__ import annotations

import os
from functools import wraps
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import unquote

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ResourceError, ToolError
from mcp.server.mcpserver.resources import ResourceSecurity
from mcp_types import CallToolResult, ContentBlock, ResourceLink, TextContent, ToolAnnotations
from pydantic import Field

from jtv_cli import __version__
from jtv_cli.api import Table, open_table
from jtv_cli.errors import JtvError, UsageError, mask_secrets
from jtv_cli.pipeline.snippets import with_snippets
from jtv_cli.source_names import shown_source
from jtv_cli.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from jtv_cli.config import Settings
    from jtv_cli.records import Hit, StoredDocument

MOST_HITS = 50
MOST_SHOWN = 20
MOST_CHARACTERS = 20_000
"""Of the texts in one answer."""
MOST_SOURCES = 200
LARGEST_FILE = 1 << 20
"""The bytes of a file that an agent can read."""
MOST_INGESTED = 1 << 20
"""The characters of a text that an agent can store."""

_SNIPPET = 300
_INSTRUCTIONS = (
    "Semantic search in one table of documents. Call search with a question or a few words; each"
    " hit has an id, a distance (smaller is nearer), its source, and a snippet. Call show with"
    " ids to read whole documents."
)

K = Annotated[int, Field(ge=1, le=MOST_HITS, description="The largest number of hits.")]
Snippet = Annotated[
    int, Field(ge=40, le=2000, description="The largest number of characters of each snippet.")
]
Query = Annotated[str, Field(min_length=1, max_length=4000, description="What to search for.")]
Source = Annotated[
    str | None, Field(description="Search only sources that match this shell pattern.")
]
Mode = Annotated[
    Literal["vector", "keyword", "hybrid"] | None,
    Field(description="Search by meaning, by words, or both; the last two need a full-text index."),
]
Where = Annotated[
    list[str] | None,
    Field(
        max_length=20,
        description="Conditions on metadata that all must hold, such as: year >= 2020,"
        " lang in (en, de), title contains pump, doi exists.",
    ),
]
WhereAny = Annotated[
    list[str] | None,
    Field(max_length=20, description="Conditions on metadata of which one must hold."),
]
After = Annotated[
    str | None, Field(description="Search only files modified at or after this ISO date or time.")
]
Before = Annotated[
    str | None, Field(description="Search only files modified before this ISO date or time.")
]
Rerank = Annotated[
    bool,
    Field(description="Order the hits anew with a reranker, if the user named one. It is slower."),
]
Ids = Annotated[list[int], Field(min_length=1, max_length=MOST_SHOWN)]
Offset = Annotated[int, Field(ge=0)]


def serve(
    settings: Settings, directories: Sequence[str], *, write: bool, reranker: str | None = None
) -> None:
    """Answer requests on stdin until it ends. Without a `reranker`, agents cannot rerank.

    The table is opened by the first call that needs it, so that an agent sees what is wrong.

    Raises UsageError for a directory that does not exist.
    """
    allowed = [_directory(each) for each in directories]
    tools = _Tools(settings, allowed, write=write, reranker=reranker)
    server: MCPServer[Any] = MCPServer(
        "jtv", version=__version__, instructions=_INSTRUCTIONS, log_level="ERROR"
    )
    reads = ToolAnnotations(read_only_hint=True, open_world_hint=False)
    for tool in (tools.search, tools.show, tools.list_sources, tools.table_info):
        server.add_tool(_explained(tool), annotations=reads, structured_output=False)
    if write:
        adds = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=True)
        server.add_tool(_explained(tools.ingest_text), annotations=adds, structured_output=False)
        deletes = ToolAnnotations(read_only_hint=False, destructive_hint=True)
        server.add_tool(_explained(tools.delete), annotations=deletes, structured_output=False)
    if directories:
        # The check of `read_file` is stricter.
        server.resource(
            "file://{+path}", security=ResourceSecurity(exempt_params={"path"}), name="file"
        )(tools.read_file)
    server.run("stdio")


class _Tools:
    """The tools, on a table that is opened when it is first needed."""

    def __init__(
        self,
        settings: Settings,
        directories: Sequence[Path],
        *,
        write: bool,
        reranker: str | None,
    ) -> None:
        self._settings = settings
        self._directories = directories
        self._write = write
        self._reranker = reranker
        self._lock = Lock()
        self._opened: Table | None = None

    def search(
        self,
        query: Query,
        k: K = 5,
        snippet: Snippet = _SNIPPET,
        source: Source = None,
        mode: Mode = None,
        where: Where = None,
        where_any: WhereAny = None,
        after: After = None,
        before: Before = None,
        rerank: Rerank = False,
    ) -> CallToolResult:
        """Find the documents nearest in meaning to a query, with a snippet of each."""
        if rerank and self._reranker is None:
            # The user decides where texts are sent.
            raise UsageError(
                "reranking is off", hint="start the server with: jtv mcp --rerank MODEL"
            )
        found = self._table.search(
            query,
            k,
            source=source,
            mode=mode,
            where=where or (),
            where_any=where_any or (),
            after=after,
            before=before,
            rerank=(rerank and self._reranker) or False,
            strict=True,
        )
        hits = with_snippets(found, query, snippet)
        if not hits:
            return _answer(["Nothing found."])
        lines = [f"{_place(hit)}\n{hit.content}" for hit in hits]
        return _answer(lines, self._links(hit.source for hit in hits))

    def show(self, ids: Ids, offset: Offset = 0) -> CallToolResult:
        """Read whole documents, by the ids of hits. `offset` skips characters of a long one."""
        documents = self._table.get(ids)
        found = {document.id for document in documents}
        missing = [str(number) for number in ids if number not in found]
        lines = [f"No document {', '.join(missing)}."] if missing else []
        left = MOST_CHARACTERS
        for document in documents:
            text = document.text[offset : offset + left]
            lines.append(f"{_heading(document)}\n{text}")
            left -= len(text)
            if offset + len(text) < len(document.text):
                end = offset + len(text)
                lines.append(f"[cut: show id {document.id} with offset {end} has the rest]")
        places = (each.source for document in documents for each in document.occurrences)
        return _answer(lines, self._links(places))

    def list_sources(self, offset: Offset = 0) -> CallToolResult:
        """List the files and other sources of the documents, with their numbers of documents."""
        sources = self._table.sources()
        part = sources[offset : offset + MOST_SOURCES]
        lines = [f"{shown_source(each.source) or '-'}\t{each.documents}" for each in part]
        if left := len(sources) - offset - len(part):
            lines.append(f"[{left} more: offset {offset + len(part)}]")
        return _answer(lines or ["No sources."], separator="\n")

    def table_info(self) -> CallToolResult:
        """Describe the table: its model, number of documents, size, and index."""
        info = self._table.info()
        index = info.index_status.state.value
        facts = info._asdict() | {"index_status": index, "writable": self._write}
        return _answer([f"{name}: {value}" for name, value in facts.items()], separator="\n")

    def ingest_text(
        self,
        text: Annotated[str, Field(min_length=1, max_length=MOST_INGESTED)],
        source: Annotated[str, Field(min_length=1, max_length=200)],
    ) -> CallToolResult:
        """Embed and store one text, in chunks if it is too long for the model.

        `source` says where it comes from.
        """
        skipped: list[str] = []
        report = self._table.ingest(
            [text], source=source, on_skipped=lambda _, reason: skipped.append(reason)
        )
        if skipped:
            raise ToolError(f"not stored: {skipped[0]}")
        return _answer(["Stored." if report.stored else "Already stored."])

    def delete(self, ids: Ids) -> CallToolResult:
        """Delete documents by id. This cannot be undone."""
        removed = self._table.delete(ids)
        return _answer([f"Deleted {removed.documents} of {len(set(ids))} documents."])

    def read_file(self, path: str) -> str:
        """Return the text of a file in one of the directories that jtv was given."""
        file = Path(os.path.realpath(unquote(path)))
        if not self._is_allowed(file):
            raise ResourceError(f"{path} is not in a directory that jtv was given")
        try:
            with file.open("rb") as stream:
                content = stream.read(LARGEST_FILE + 1)
            text = content[:LARGEST_FILE].decode(errors="replace")
        except OSError as error:
            raise ResourceError(f"cannot read {path}: {error.strerror}") from error
        return text + ("\n[cut: the file is larger]" if len(content) > LARGEST_FILE else "")

    @property
    def _table(self) -> Table:
        with self._lock:
            if self._opened is None:
                self._opened = open_table(self._settings, read_only=not self._write)
            return self._opened

    def _is_allowed(self, file: Path) -> bool:
        return any(file.is_relative_to(directory) for directory in self._directories)

    def _links(self, sources: Iterable[str | None]) -> list[ContentBlock]:
        """Return a link to each of the sources that is a file which `read_file` returns."""
        links: list[ContentBlock] = []
        for source in dict.fromkeys(sources):
            file = Path(source or "")
            if file.is_absolute() and self._is_allowed(Path(os.path.realpath(file))):
                link = ResourceLink(uri=file.as_uri(), name=shown_source(str(file)))
                links.append(link)
        return links


def _explained(tool: Callable[..., CallToolResult]) -> Callable[..., CallToolResult]:
    """Return the tool with the errors of jtv as errors that the agent can read."""

    @wraps(tool)
    def call(**arguments: object) -> CallToolResult:
        try:
            return tool(**arguments)
        except JtvError as error:
            raise ToolError(mask_secrets(str(error))) from None

    return call


def _answer(
    parts: Sequence[str], links: Sequence[ContentBlock] = (), *, separator: str = "\n\n"
) -> CallToolResult:
    text = printable(separator.join(parts))
    return CallToolResult(content=[TextContent(type="text", text=text), *links])


def _place(hit: Hit) -> str:
    """Return the line above a hit: its id, distance, and where it was read."""
    distance = "" if hit.distance is None else f" distance {hit.distance:.3f}"
    return f"[{hit.id}]{distance} {_named(hit.source, hit.line)}".rstrip()


def _heading(document: StoredDocument) -> str:
    places = [_named(each.source, each.line) for each in document.occurrences[:5]]
    return f"[{document.id}] {', '.join(filter(None, places))}".rstrip()


def _named(source: str | None, line: int | None) -> str:
    if source is None:
        return ""
    return f"{shown_source(source)}:{line}" if line is not None else shown_source(source)


def _directory(path: str) -> Path:
    directory = Path(os.path.realpath(Path(path).expanduser()))
    if not directory.is_dir():
        raise UsageError(f"{path} is not a directory")
    return directory
