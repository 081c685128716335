"""What jtv does with texts: ingest, search, estimate and removal, as plain functions.

They work on a `Table` and an `Embedder`, whichever they are. `ingest` has a whole run from
top to bottom: `deduplication` finds the new texts, `batches` cuts them into requests,
`scheduler` decides which request is sent when, and `retry` whether a failed one is sent
again. `observer` is how the caller learns what happens meanwhile.
"""

from typing import TYPE_CHECKING

from jtv_cli.lazy import importer

# Most commands search, and the module would hide the function of its name.
from jtv_cli.pipeline.search import (
    SearchOptions,
    SearchResult,
    embed_query,
    list_documents,
    search,
    search_many,
)

if TYPE_CHECKING:
    from jtv_cli.pipeline.duplicates import find_duplicates
    from jtv_cli.pipeline.estimation import estimate
    from jtv_cli.pipeline.ingestion import ingest
    from jtv_cli.pipeline.known_sources import Recalled, recall_sources
    from jtv_cli.pipeline.long_texts import TextCutter
    from jtv_cli.pipeline.matching import read_matching
    from jtv_cli.pipeline.observer import NullObserver, Observer
    from jtv_cli.pipeline.options import IngestOptions
    from jtv_cli.pipeline.reembedding import read_documents
    from jtv_cli.pipeline.removal import (
        MarkedLines,
        count_documents,
        count_marked,
        delete_documents,
        find_texts,
        mark_matching,
        mark_missing,
        mark_source,
        remove_marked,
    )
    from jtv_cli.pipeline.rerank import CANDIDATES, MOST_CANDIDATES, Reranking
    from jtv_cli.pipeline.retry import RetryPolicy
    from jtv_cli.pipeline.snippets import with_snippets
    from jtv_cli.pipeline.spool import Spool
    from jtv_cli.pipeline.unchanged import Remembered, recall_files, remember_files

__all__ = [
    "CANDIDATES",
    "MOST_CANDIDATES",
    "IngestOptions",
    "MarkedLines",
    "NullObserver",
    "Observer",
    "Recalled",
    "Remembered",
    "Reranking",
    "RetryPolicy",
    "SearchOptions",
    "SearchResult",
    "Spool",
    "TextCutter",
    "count_documents",
    "count_marked",
    "delete_documents",
    "embed_query",
    "estimate",
    "find_duplicates",
    "find_texts",
    "ingest",
    "list_documents",
    "mark_matching",
    "mark_missing",
    "mark_source",
    "read_documents",
    "read_matching",
    "recall_files",
    "recall_sources",
    "remember_files",
    "remove_marked",
    "search",
    "search_many",
    "with_snippets",
]

_MODULES = {
    "duplicates": ("find_duplicates",),
    "estimation": ("estimate",),
    "ingestion": ("ingest",),
    "known_sources": ("Recalled", "recall_sources"),
    "long_texts": ("TextCutter",),
    "matching": ("read_matching",),
    "observer": ("NullObserver", "Observer"),
    "options": ("IngestOptions",),
    "reembedding": ("read_documents",),
    "removal": (
        "MarkedLines",
        "count_documents",
        "count_marked",
        "delete_documents",
        "find_texts",
        "mark_matching",
        "mark_missing",
        "mark_source",
        "remove_marked",
    ),
    "rerank": ("CANDIDATES", "MOST_CANDIDATES", "Reranking"),
    "retry": ("RetryPolicy",),
    "snippets": ("with_snippets",),
    "spool": ("Spool",),
    "unchanged": ("Remembered", "recall_files", "remember_files"),
}
__getattr__ = importer(__name__, _MODULES)
