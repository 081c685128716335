"""The data's way: windows → known? → batches → embedder → table, and query → vector.

`ingest` has the threads, `keeper` what they work for, `intake` and `batches` sort and
cut, `desk` sends, and `patience` says when it sends again.
"""

from jtv_cli.pipeline.ingest import ingest
from jtv_cli.pipeline.patience import Patience
from jtv_cli.pipeline.query import embed_query
from jtv_cli.pipeline.survey import survey
from jtv_cli.pipeline.terms import Terms

__all__ = ["Patience", "Terms", "embed_query", "ingest", "survey"]
