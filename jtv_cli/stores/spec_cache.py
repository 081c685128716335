"""What tables were when they were last opened: a cache in files, to start work before they are.

What it says may be out of date, so whoever uses it compares it with the table afterwards.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from jtv_cli.records import Recipe, TableSpec

if TYPE_CHECKING:
    from pathlib import Path


class SpecCache:
    """The spec of one table of a TiDB cluster, in a file of a directory.

    `url` is the database URL; no part of it is stored. A file that cannot be read or written
    is not an error: nothing is remembered then.
    """

    def __init__(self, directory: Path, url: str, table: str) -> None:
        from jtv_cli.stores.tidb.url import parse_url

        key = json.dumps([*parse_url(url).place, table.lower()])
        self._path = directory / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"

    def read(self) -> TableSpec | None:
        """Return the spec that was written last, None if there is none."""
        with suppress(OSError, ValueError, TypeError, LookupError):
            record = json.loads(self._path.read_bytes())
            recipe = Recipe.from_record(record.pop("recipe"))
            return TableSpec(**record, recipe=recipe)
        return None

    def write(self, spec: TableSpec) -> None:
        """Remember a spec."""
        content = json.dumps(spec._asdict() | {"recipe": spec.recipe.to_record()})
        unfinished = self._path.with_suffix(f".{os.getpid()}")
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            unfinished.write_text(content)
            unfinished.replace(self._path)
