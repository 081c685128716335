"""The data's way: record blocks → known? → batches → embedder → table, and query → vector.

In an ingest, `ingest` starts the threads, of which `coordinator` is the one that decides;
`intake` finds the new texts, `batches` cuts them, `dispatcher` sends them, and `patience`
says when a failed request is made again. `survey` is an ingest's dry run, `search` embeds
queries and searches, and `removal`, with `spool`, finds and removes what is to go.
"""

from jtv_cli.pipeline.ingest import ingest
from jtv_cli.pipeline.options import IngestOptions
from jtv_cli.pipeline.removal import (
    Marked,
    count_documents,
    count_marked,
    delete_documents,
    find_texts,
    missing,
    remove_marked,
)
from jtv_cli.pipeline.retry import RetryPolicy
from jtv_cli.pipeline.search import (
    SearchOptions,
    SearchResult,
    embed_query,
    list_documents,
    search,
    search_many,
)
from jtv_cli.pipeline.spool import Spool
from jtv_cli.pipeline.survey import survey

__all__ = [
    "IngestOptions",
    "Marked",
    "RetryPolicy",
    "SearchOptions",
    "SearchResult",
    "Spool",
    "count_documents",
    "count_marked",
    "delete_documents",
    "embed_query",
    "find_texts",
    "ingest",
    "list_documents",
    "missing",
    "remove_marked",
    "search",
    "search_many",
    "survey",
]
