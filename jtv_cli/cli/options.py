"""The options and arguments of the commands."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer

from jtv_cli.embedders import MOST_AT_ONCE
from jtv_cli.render.formats import Format
from jtv_cli.sources import InputFormat as SourceFormat

_MOST_SHOWN = (1 << 31) - 1
_LARGEST_ID = (1 << 63) - 1  # that a store can keep


class Color(str, Enum):
    """When to use colours."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


class Sort(str, Enum):
    """The order of `list`."""

    ID = "id"
    DISTANCE = "distance"


def _checked_distance(distance: float | None) -> float | None:
    """Return the distance, if it is one. Typer's own ranges let NaN pass."""
    if distance is not None and not 0 <= distance <= 2:
        raise typer.BadParameter(f"{distance} is not between 0 and 2")
    return distance


def _checked_seconds(seconds: float) -> float:
    """Return the seconds, `inf` too, if they are any. Typer's own ranges let NaN pass."""
    if not seconds >= 0:
        raise typer.BadParameter(f"{seconds} is no number of seconds")
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
    typer.Option(metavar="STORE", help="'embedded', 'tidb', a path or a database URL."),
]
Table = Annotated[str | None, typer.Option(metavar="NAME", help="The table to work on.")]
Model = Annotated[
    str | None, typer.Option(metavar="NAME", help="The model that the table must have.")
]
ApiBase = Annotated[str | None, typer.Option(metavar="URL", help="Where the embeddings API is.")]
NoKey = Annotated[bool, typer.Option("--no-key", help="Send no API key.")]
Colors = Annotated[Color, typer.Option("--color", help="When to use colours.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show where an error came from.")]

Files = Annotated[
    list[str], typer.Argument(metavar="FILE...", help="Files or directories; - is standard input.")
]
Globs = Annotated[
    list[str] | None,
    typer.Option("--glob", metavar="PATTERN", help="In directories, read only files that match."),
]
InputFormat = Annotated[
    SourceFormat | None,
    typer.Option("--input", help="Format of the files. Default: by their names."),
]
TextFields = Annotated[
    list[str] | None,
    typer.Option(
        "--text-field",
        metavar="NAME",
        help="Field with the text; repeat it to join several. Default: text, else content.",
    ),
]
Paragraphs = Annotated[
    bool, typer.Option("--paragraphs", help="Split text at blank lines instead of at line ends.")
]
Delimiter = Annotated[
    str | None,
    typer.Option(
        metavar="CHAR",
        callback=_checked_delimiter,
        help="Character between the fields of csv and tsv. Default: detected.",
    ),
]
NoHeader = Annotated[
    bool,
    typer.Option("--no-header", help="Read the first record as data; name the fields 1, 2, ..."),
]
Concurrency = Annotated[
    int, typer.Option(metavar="N", min=1, max=MOST_AT_ONCE, help="The most requests at a time.")
]
# What a free key of Jina AI is granted.
CONCURRENCY = 2
# Somebody waits for a search; nobody need wait for an ingest.
QUERY_SECONDS = 15.0
INGEST_SECONDS = 900.0
MaxWait = Annotated[
    float,
    typer.Option(
        metavar="SECONDS",
        callback=_checked_seconds,
        help="How long to repeat a request that fails; 0: never.",
    ),
]
MaxTokens = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Stop before more than N tokens are used.")
]
Truncate = Annotated[
    bool, typer.Option("--truncate", help="Cut texts that are too long for the model.")
]
Strict = Annotated[bool, typer.Option("--strict", help="Stop at the first bad record.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Only say what would be embedded, and its price.")
]
SourceName = Annotated[
    str | None,
    typer.Option("--source", metavar="NAME", help="Record NAME as the source of the texts."),
]
Drop = Annotated[
    bool, typer.Option("--drop", help="First drop the table, and all the documents in it.")
]
Dimensions = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=1, max=16_000, help="Shorten the model's vectors to N dimensions."
    ),
]
QueryPrefix = Annotated[
    str | None, typer.Option(metavar="TEXT", help="Put TEXT before each query.")
]
DocumentPrefix = Annotated[
    str | None, typer.Option(metavar="TEXT", help="Put TEXT before each document.")
]
NoIndex = Annotated[bool, typer.Option("--no-index", help="Build no vector index.")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Do not wait until the index is built.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
DocumentIds = Annotated[list[int], typer.Argument(metavar="ID...", help="Ids of documents.")]
OptionalIds = Annotated[
    list[int] | None, typer.Argument(metavar="[ID...]", help="Ids of documents.")
]
SyncedSource = Annotated[
    str | None,
    typer.Option("--source", metavar="NAME", help="Name of the source; standard input needs one."),
]
DeletedSource = Annotated[
    str | None,
    typer.Option(
        "--source", metavar="NAME", help="Delete what was read there; - is standard input."
    ),
]
DeletedTexts = Annotated[
    str | None,
    typer.Option("--texts", metavar="FILE", help="Delete the texts in FILE; - is standard input."),
]
DeleteDryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")]
SyncDryRun = Annotated[
    bool, typer.Option("--dry-run", help="Only say what would be added and removed.")
]
Report = Annotated[bool, typer.Option("--json", help="Report as a JSON object on stdout.")]

StatusJson = Annotated[bool, typer.Option("--json", help="Print a JSON object.")]
Timeout = Annotated[
    float,
    typer.Option(metavar="SECONDS", callback=_checked_seconds, help="How long to wait at most."),
]
Queries = Annotated[
    int, typer.Option(metavar="N", min=1, max=1000, help="How many documents to use as queries.")
]

SearchQuery = Annotated[str | None, typer.Argument(metavar="[QUERY]", help="What to look for.")]
Like = Annotated[
    int | None, typer.Option("--like", metavar="ID", help="Find what is near this document.")
]
QueryFile = Annotated[
    str | None,
    typer.Option("--queries", metavar="FILE", help="Search for each line; - is standard input."),
]
SourceGlob = Annotated[
    str | None,
    typer.Option("--source", metavar="GLOB", help="Search only sources that match; - is stdin."),
]
Where = Annotated[
    list[str] | None,
    typer.Option("--where", metavar="FIELD=VALUE", help="Search only what has this metadata."),
]
WithVectors = Annotated[
    bool, typer.Option("--vectors", help="Include the vectors; jtv import needs them.")
]
ExportFile = Annotated[
    str, typer.Argument(metavar="FILE", help="What jtv export wrote; - is standard input.")
]
From = Annotated[
    str,
    typer.Option("--from", metavar="STORE", help="Copy from 'embedded', 'tidb', a path or a URL."),
]
To = Annotated[
    str, typer.Option("--to", metavar="STORE", help="Copy to this store, named likewise.")
]

Measure = Annotated[
    bool, typer.Option("--measure", help="Measure the speed of models on this machine.")
]
PulledModel = Annotated[str, typer.Argument(metavar="MODEL", help="The model's name.")]
OptionalModel = Annotated[str | None, typer.Argument(metavar="[MODEL]", help="The model's name.")]

Records = Annotated[bool, typer.Option("--json", help="Print a JSON object for each.")]
AllSources = Annotated[
    bool, typer.Option("--sources", help="On a terminal, list all sources, not the ten largest.")
]
NoApi = Annotated[bool, typer.Option("--no-api", help="Do not call the API.")]

OptionalQuery = Annotated[
    str | None, typer.Argument(metavar="[QUERY]", help="What to measure distances to.")
]
K = Annotated[
    int, typer.Option("--k", "-k", metavar="N", min=1, max=_MOST_SHOWN, help="How many to show.")
]
MaxDistance = Annotated[
    float | None,
    typer.Option(
        metavar="D",
        callback=_checked_distance,
        help="Leave out what is farther: 0 is the same, 2 the opposite.",
    ),
]
Exact = Annotated[bool, typer.Option("--exact", help="Look at every vector, use no index.")]
Explain = Annotated[
    bool, typer.Option("--explain", help="Say on stderr whether an index was used, or why not.")
]
Limit = Annotated[
    int | None,
    typer.Option(metavar="N", min=0, max=_MOST_SHOWN, help="Show N at most."),
]
After = Annotated[
    int | None, typer.Option(metavar="ID", min=0, max=_LARGEST_ID, help="Start after this id.")
]
SortBy = Annotated[Sort, typer.Option("--sort", help="'distance' needs a QUERY.")]
OutputFormat = Annotated[
    Format | None,
    typer.Option("--format", "-f", help="Default: a table on a terminal, else tab-separated."),
]
Json = Annotated[bool, typer.Option("--json", help="Short for --format jsonl.")]
Nul = Annotated[bool, typer.Option("-0", help="End records with NUL instead of a new line.")]
