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
    from jtv_cli.api import (
        Hit,
        IndexState,
        IndexStatus,
        IngestProgress,
        IngestReport,
        JtvError,
        NoTable,
        Occurrence,
        Pair,
        Removed,
        ServiceError,
        SourceCount,
        StoredDocument,
        StoreError,
        Table,
        TableInfo,
        TableMismatch,
        UsageError,
        connect,
    )


def __getattr__(name: str) -> object:
    """Return a name of the Python API, which is imported when it is first used."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from jtv_cli import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted(__all__)
