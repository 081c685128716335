"""Semantic search from the shell and from Python: see docs/python.md."""

__version__ = "1.0.0"

__all__ = [
    "Hit",
    "IndexState",
    "IndexStatus",
    "IngestProgress",
    "IngestReport",
    "JtvError",
    "NoTable",
    "Occurrence",
    "Pair",
    "Removed",
    "ServiceError",
    "SourceCount",
    "StoreError",
    "StoredDocument",
    "Table",
    "TableInfo",
    "TableMismatch",
    "UsageError",
    "__version__",
    "connect",
]

TYPE_CHECKING = False  # type checkers take it for typing's, whose import would cost time
if TYPE_CHECKING:
    from jtv_cli.api import Table, TableInfo, connect
    from jtv_cli.errors import (
        JtvError,
        NoTable,
        ServiceError,
        StoreError,
        TableMismatch,
        UsageError,
    )
    from jtv_cli.records import (
        Hit,
        IndexState,
        IndexStatus,
        IngestProgress,
        IngestReport,
        Occurrence,
        Pair,
        Removed,
        SourceCount,
        StoredDocument,
    )


def __getattr__(name: str) -> object:
    """Return a name of the Python API, which is imported when it is first used."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from jtv_cli import api, errors, records

    return next(vars(home)[name] for home in (records, errors, api) if name in vars(home))


def __dir__() -> list[str]:
    return sorted(__all__)
