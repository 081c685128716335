"""The options and arguments of the commands."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer
from typer import Argument, Option

from jtv_cli.embedders import DEFAULT_RERANKER, MOST_AT_ONCE
from jtv_cli.render.formats import Format
from jtv_cli.sources.source import InputFormat as SourceFormat

# As in pipeline.rerank, which is imported only where it is needed.
_CANDIDATES = 50
_MOST_CANDIDATES = 100
_MOST_SHOWN = (1 << 31) - 1
LARGEST_ID = (1 << 63) - 1  # that a store can keep


class Color(str, Enum):
    """When to use colors."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


class Sort(str, Enum):
    """The order of `list`."""

    ID = "id"
    DISTANCE = "distance"


def _checked_distance(distance: float | None) -> float | None:
    """Return a valid distance; Typer's own ranges accept NaN."""
    if distance is not None and not 0 <= distance <= 2:
        raise typer.BadParameter(f"{distance} is not between 0 and 2")
    return distance


def _checked_seconds(seconds: float) -> float:
    """Return a valid number of seconds, perhaps `inf`; Typer's own ranges accept NaN."""
    if not seconds >= 0:
        raise typer.BadParameter(f"{seconds} is not a number of seconds")
    return seconds


def _checked_delimiter(delimiter: str | None) -> str | None:
    r"""Return the delimiter; \t and tab stand for a tab character."""
    if delimiter is None:
        return None
    delimiter = {"\\t": "\t", "tab": "\t"}.get(delimiter, delimiter)
    if len(delimiter) != 1 or delimiter in '"\r\n\0':
        raise typer.BadParameter(f"{delimiter!r} is not one character that can separate fields")
    return delimiter


# The options that every command has; `session.with_session` adds them.
Database = Annotated[
    str | None,
    Option(
        metavar="STORE",
        help="Use this store: 'embedded', 'tidb', a path or a database URL."
        " [env: JTV_DATABASE, TIDB_DATABASE_URL]",
    ),
]
Table = Annotated[str | None, Option(metavar="NAME", help="Use this table. [env: JTV_TABLE]")]
Model = Annotated[
    str | None, Option(metavar="NAME", help="Require this model of the table. [env: JTV_MODEL]")
]
ApiBase = Annotated[
    str | None,
    Option(metavar="URL", help="Send requests to this embeddings API. [env: JINA_API_BASE]"),
]
NoKey = Annotated[bool, Option("--no-key", help="Send no API key. [env: JINA_API_KEY=]")]
Colors = Annotated[Color, Option("--color", help="When to use colors.")]
Quiet = Annotated[bool, Option("--quiet", "-q", help="Print only errors.")]
Debug = Annotated[bool, Option("--debug", help="Print a traceback with errors.")]

Files = Annotated[
    list[str], Argument(metavar="FILE...", help="Files or directories; - is standard input.")
]
Include = Annotated[
    list[str] | None,
    Option(
        "--include",
        "--glob",
        metavar="PATTERN",
        help="In directories, read only files that match PATTERN, as in .gitignore.",
    ),
]
Exclude = Annotated[
    list[str] | None,
    Option(
        metavar="PATTERN", help="In directories, read no files or directories that match PATTERN."
    ),
]
NoIgnore = Annotated[
    bool, Option("--no-ignore", help="Read files that .gitignore, .ignore or .jtvignore exclude.")
]
Checksum = Annotated[
    bool,
    Option(
        "--checksum",
        help="In directories, also read files whose modification time and size are unchanged.",
    ),
]
Follow = Annotated[bool, Option("--follow", help="Follow links to directories.")]
InputFormat = Annotated[
    SourceFormat | None,
    Option("--input", help="Read the files in this format. Default: by their names."),
]
TextFields = Annotated[
    list[str] | None,
    Option(
        "--text-field",
        metavar="NAME",
        help="Use this field as the text; repeat to join several. Default: text, else content.",
    ),
]
Paragraphs = Annotated[
    bool, Option("--paragraphs", help="Split text at blank lines instead of at line ends.")
]
Lines = Annotated[
    bool, Option("--lines", help="Read each line as a document. Short for --input lines.")
]
Chunk = Annotated[
    int | None,
    Option(
        "--chunk",
        metavar="N",
        min=16,
        max=100_000,
        help="Cut documents into chunks of up to N estimated tokens. Default: 256.",
    ),
]
NoChunk = Annotated[
    bool,
    Option(
        "--no-chunk",
        help="Store each document as one text; skip texts that are too long for the model.",
    ),
]
Delimiter = Annotated[
    str | None,
    Option(
        metavar="CHAR",
        callback=_checked_delimiter,
        help="Split csv and tsv at this character. Default: detected.",
    ),
]
NoHeader = Annotated[
    bool, Option("--no-header", help="Read the first record as data; name the fields 1, 2, ...")
]
Concurrency = Annotated[
    int, Option(metavar="N", min=1, max=MOST_AT_ONCE, help="Send up to N requests at a time.")
]
# The concurrency limit of a free Jina AI key.
CONCURRENCY = 2
# A person waits for a search, but rarely for an ingest.
QUERY_SECONDS = 15.0
INGEST_SECONDS = 900.0
MaxWait = Annotated[
    float,
    Option(
        metavar="SECONDS",
        callback=_checked_seconds,
        help="How long to keep retrying a failed request; 0 disables retries.",
    ),
]
MaxTokens = Annotated[
    int | None, Option(metavar="N", min=1, help="Stop before using more than N tokens.")
]
Truncate = Annotated[
    bool,
    Option("--truncate", help="Embed only the beginning of texts that are too long for the model."),
]
Strict = Annotated[
    bool, Option("--strict", help="Stop at the first record that cannot be read or embedded.")
]
DryRun = Annotated[
    bool, Option("--dry-run", help="Only print what would be embedded, and its cost.")
]
SourceName = Annotated[
    str | None, Option("--source", metavar="NAME", help="Store NAME as the source of the texts.")
]
Drop = Annotated[bool, Option("--drop", help="Drop the table with all its documents first.")]
Dimensions = Annotated[
    int | None,
    Option(metavar="N", min=1, max=16_000, help="Shorten the model's vectors to N dimensions."),
]
QueryPrefix = Annotated[str | None, Option(metavar="TEXT", help="Put TEXT before each query.")]
DocumentPrefix = Annotated[
    str | None, Option(metavar="TEXT", help="Put TEXT before each document.")
]
NoIndex = Annotated[bool, Option("--no-index", help="Do not build a vector index.")]
FullText = Annotated[
    bool, Option("--full-text", help="Also create a full-text index, for --hybrid and --keyword.")
]
OnlyFullText = Annotated[bool, Option("--full-text", help="Only the full-text index.")]
NoWait = Annotated[bool, Option("--no-wait", help="Do not wait until the index is built.")]
Yes = Annotated[bool, Option("--yes", "-y", help="Do not ask for confirmation.")]
DocumentIds = Annotated[list[int], Argument(metavar="ID...", help="Ids of documents.")]
OptionalIds = Annotated[list[int] | None, Argument(metavar="[ID...]", help="Ids of documents.")]
SyncedSource = Annotated[
    str | None,
    Option("--source", metavar="NAME", help="Use NAME as the source; required for standard input."),
]
DeletedSource = Annotated[
    str | None,
    Option(
        "--source",
        metavar="NAME",
        help="Delete what was read from this source; - is standard input. With a filter: only"
        " what matches.",
    ),
]
DeletedTexts = Annotated[
    str | None,
    Option("--texts", metavar="FILE", help="Delete the texts in FILE; - is standard input."),
]
DeleteDryRun = Annotated[bool, Option("--dry-run", help="Only print what would be deleted.")]
SyncDryRun = Annotated[
    bool, Option("--dry-run", help="Only print what would be added and removed.")
]
Watch = Annotated[bool, Option("--watch", help="Keep the table up to date until interrupted.")]
Report = Annotated[bool, Option("--json", help="Print the report as a JSON object on stdout.")]

StatusJson = Annotated[bool, Option("--json", help="Print a JSON object.")]
Timeout = Annotated[
    float, Option(metavar="SECONDS", callback=_checked_seconds, help="Wait no longer than this.")
]
Queries = Annotated[int, Option(metavar="N", min=1, max=1000, help="Use N documents as queries.")]

SearchQuery = Annotated[
    list[str] | None,
    Argument(metavar="[QUERY]...", help="What to search for; - reads it from stdin."),
]
Like = Annotated[
    int | None, Option("--like", metavar="ID", help="Find documents similar to this one.")
]
QueryFile = Annotated[
    str | None,
    Option("--queries", metavar="FILE", help="Search for each line of FILE; - is standard input."),
]
SourceGlob = Annotated[
    str | None,
    Option("--source", metavar="GLOB", help="Search only sources that match GLOB; - is stdin."),
]
Where = Annotated[
    list[str] | None,
    Option(
        "--where",
        metavar="CONDITION",
        help="Use only documents whose metadata meets this: lang=en, 'year >= 2020',"
        " 'lang in (en, de)', 'title contains x', 'doi exists'. Repeat to require several.",
    ),
]
WhereAny = Annotated[
    list[str] | None,
    Option(
        "--where-any", metavar="CONDITION", help="Like --where; repeat to require one of several."
    ),
]
ModifiedAfter = Annotated[
    str | None,
    Option(
        "--after", metavar="DATE", help="Use only files modified at or after this date or time."
    ),
]
ModifiedBefore = Annotated[
    str | None,
    Option("--before", metavar="DATE", help="Use only files modified before this date or time."),
]
WithVectors = Annotated[
    bool, Option("--vectors", help="Include the vectors, which jtv import needs.")
]
ExportFile = Annotated[
    str, Argument(metavar="FILE", help="The output of jtv export --vectors; - is standard input.")
]
From = Annotated[
    str, Option("--from", metavar="STORE", help="Copy from 'embedded', 'tidb', a path or a URL.")
]
To = Annotated[
    str, Option("--to", metavar="STORE", help="Copy to this store, named in the same way.")
]

NewModel = Annotated[
    str, Option("--model", metavar="NAME", help="Embed the texts with this model.")
]
NewTable = Annotated[
    str | None,
    Option("--to", metavar="TABLE", help="Store them in this table. Default: named after both."),
]

Measure = Annotated[bool, Option("--measure", help="Measure the speed of models on this machine.")]
PulledModel = Annotated[str, Argument(metavar="MODEL", help="The model's name.")]
OptionalModel = Annotated[str | None, Argument(metavar="[MODEL]", help="The model's name.")]

Records = Annotated[bool, Option("--json", help="Print one JSON object per line.")]
AllSources = Annotated[
    bool, Option("--sources", help="Show all sources on a terminal, not only the ten largest.")
]
OldName = Annotated[str, Argument(metavar="OLD", help="The name of a table.")]
NewName = Annotated[str, Argument(metavar="NEW", help="The name that it gets.")]
ReplaceTable = Annotated[
    bool, Option("--replace", help="Drop the table that is called NEW so far.")
]
NoApi = Annotated[bool, Option("--no-api", help="Do not call the embeddings API.")]

OptionalQuery = Annotated[
    list[str] | None,
    Argument(metavar="[QUERY]...", help="Print the distance of each document to this text."),
]
K = Annotated[
    int,
    Option("--k", "-k", "--limit", "-n", metavar="N", min=1, max=_MOST_SHOWN, help="Print N hits."),
]
Rerank = Annotated[
    str | None,
    Option(
        "--rerank",
        metavar="[MODEL]",
        help="Order the best hits anew with this reranker: a model of the API, or onnx:DIR."
        f" Default: {DEFAULT_RERANKER}.",
    ),
]
AgentsReranker = Annotated[
    str | None,
    Option(
        "--rerank",
        metavar="MODEL",
        help="Let the agent rerank hits with this model, as with jtv search.",
    ),
]
RerankBase = Annotated[
    str | None,
    Option(
        "--rerank-base",
        metavar="URL",
        help="Send rerank requests to this API. Default: that of the embeddings.",
    ),
]
Candidates = Annotated[
    int | None,
    Option(
        "--candidates",
        metavar="N",
        min=1,
        max=_MOST_CANDIDATES,
        help=f"Rerank the best N hits. Default: {_CANDIDATES}.",
    ),
]
StrictRerank = Annotated[
    bool, Option("--strict", help="Fail if reranking fails, with exit code 4.")
]
PerSource = Annotated[
    int | None,
    Option(
        "--per-source",
        metavar="N",
        min=1,
        max=_MOST_SHOWN,
        help="Print no more than N hits of each source; 1 for the best hit of each file.",
    ),
]
Diverse = Annotated[bool, Option("--diverse", help="Prefer hits that differ from one another.")]
Snippet = Annotated[
    int | None,
    Option(
        metavar="N",
        min=40,
        max=_MOST_SHOWN,
        help="Cut each text to N characters, those most relevant to the query.",
    ),
]
Directories = Annotated[
    list[str] | None, Option("--directory", metavar="DIR", help="Let the agent read files in DIR.")
]
Write = Annotated[bool, Option("--write", help="Let the agent store and delete documents.")]
MaxDistance = Annotated[
    float | None,
    Option(
        metavar="D",
        callback=_checked_distance,
        help="Omit documents farther than D: 0 is the same, 2 the opposite.",
    ),
]
DuplicateDistance = Annotated[
    float,
    Option(
        "--max-distance",
        metavar="D",
        callback=_checked_distance,
        help="Find documents no farther apart than D: 0 is the same, 2 the opposite.",
    ),
]
PairLimit = Annotated[
    int | None,
    Option(
        "--limit", "-n", metavar="N", min=1, max=_MOST_SHOWN, help="Print no more than N pairs."
    ),
]
ExactPairs = Annotated[
    bool, Option("--exact", help="Compare every document with every other, however many.")
]
Exact = Annotated[bool, Option("--exact", help="Compare every vector instead of using the index.")]
Explain = Annotated[
    bool, Option("--explain", help="Print on stderr whether an index was used, or why not.")
]
Hybrid = Annotated[
    bool | None,
    Option(
        "--hybrid/--no-hybrid",
        help="Combine the nearest documents with matching words. Default: by model.",
        show_default=False,
    ),
]
Keyword = Annotated[
    bool, Option("--keyword", help="Search for the words of the query, without vectors.")
]
Limit = Annotated[
    int | None,
    Option(
        "--limit",
        "-n",
        "-k",
        metavar="N",
        min=0,
        max=_MOST_SHOWN,
        help="Print no more than N documents.",
    ),
]
After = Annotated[
    str | None,
    Option(
        "--after",
        metavar="ID|DATE",
        help="Start after this id; or use only files modified at or after this date or time.",
    ),
]
SortBy = Annotated[Sort, Option("--sort", help="Order by id or by distance to QUERY.")]
OutputFormat = Annotated[
    Format | None,
    Option("--format", "-f", help="Output format. Default: table on a terminal, else tsv."),
]
Json = Annotated[bool, Option("--json", help="Short for --format jsonl.")]
Nul = Annotated[bool, Option("-0", help="End records with NUL instead of a newline.")]
