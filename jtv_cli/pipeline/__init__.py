"""The data's way: windows → known? → batches → embedder → table, and query → vector.

`ingest` has the threads, `coordinator` what they work for, `intake` and `batches` sort and
cut, `dispatcher` sends, and `patience` says when it sends again. `removal` and `spool` are
for what is to go again.
"""

from jtv_cli.pipeline.ingest import ingest
from jtv_cli.pipeline.patience import Patience
from jtv_cli.pipeline.query import answers, embed_query
from jtv_cli.pipeline.removal import (
    Marked,
    count_documents,
    count_marked,
    delete_documents,
    find_texts,
    missing,
)
from jtv_cli.pipeline.spool import Spool
from jtv_cli.pipeline.survey import survey
from jtv_cli.pipeline.terms import Terms

__all__ = [
    "Marked",
    "Patience",
    "Spool",
    "Terms",
    "answers",
    "count_documents",
    "count_marked",
    "delete_documents",
    "embed_query",
    "find_texts",
    "ingest",
    "missing",
    "survey",
]
