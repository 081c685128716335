"""Open a store: a file or a TiDB cluster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from jtv_cli.stores.contract import Store, Table

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Store", "Table", "is_same_store", "open_store"]


def open_store(
    database: str,
    *,
    writable: bool,
    make_folder: bool = False,
    notice: Callable[[str], None] = lambda _: None,
) -> Store:
    """Return the store that a path or a database URL names.

    `make_folder` lets it make the folder of a new file. `notice` hears of what a user
    should know while it happens: an attempt that is made again, an index that cannot be.

    Raises UsageError for a URL that cannot be used.
    """
    if "://" in database:
        from jtv_cli.stores.tidb import TidbStore

        return TidbStore(database, writable=writable, notice=notice)
    from jtv_cli.stores.sqlite import SqliteStore

    return SqliteStore(Path(database), writable=writable, make_folder=make_folder)


def is_same_store(one: str, other: str) -> bool:
    """Return whether two paths or database URLs name the same store, in whatever words.

    Raises UsageError for a URL that cannot be used.
    """
    if "://" in one and "://" in other:
        from jtv_cli.stores.tidb.url import parse_url

        return parse_url(one).place == parse_url(other).place
    if "://" in one or "://" in other:
        return False
    paths = Path(one), Path(other)
    if all(path.exists() for path in paths):
        return paths[0].samefile(paths[1])
    return paths[0].resolve() == paths[1].resolve()
