"""The values that travel between the rooms of the house. None of them can be changed.

They are named tuples, as nearly all such values here: a frozen dataclass takes six times
as long to be made, at every start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jtv_cli.records.checks import (
    TIFLASH,
    Check,
    IndexCheck,
    IndexState,
    IndexStatus,
    Outcome,
)
from jtv_cli.records.documents import (
    STDIN,
    Answer,
    Document,
    Embeddings,
    Hit,
    Occurrence,
    Place,
    Purpose,
    StoredDocument,
    text_hash,
    text_hashes,
)
from jtv_cli.records.reports import (
    IngestProgress,
    IngestReport,
    Survey,
    Transferred,
    Wait,
)
from jtv_cli.records.tables import (
    Action,
    Added,
    Change,
    Filter,
    Removed,
    SourceCount,
    TableSpec,
    find_spec,
)
from jtv_cli.records.writable import (
    is_metadata,
    may_nest_deeply,
    printable,
    source_name,
    too_long,
)

if TYPE_CHECKING:
    from jtv_cli.records.documents import Vectors as Vectors

__all__ = [
    "STDIN",
    "TIFLASH",
    "Action",
    "Added",
    "Answer",
    "Change",
    "Check",
    "Document",
    "Embeddings",
    "Filter",
    "Hit",
    "IndexCheck",
    "IndexState",
    "IndexStatus",
    "IngestProgress",
    "IngestReport",
    "Occurrence",
    "Outcome",
    "Place",
    "Purpose",
    "Removed",
    "SourceCount",
    "StoredDocument",
    "Survey",
    "TableSpec",
    "Transferred",
    "Wait",
    "find_spec",
    "is_metadata",
    "may_nest_deeply",
    "printable",
    "source_name",
    "text_hash",
    "text_hashes",
    "too_long",
]
