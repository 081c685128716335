"""The metadata of an occurrence, as the stores keep it: JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jtv_cli.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping


def encode_metadata(metadata: Mapping[str, Any] | None) -> str | None:
    """Return the text to store."""
    if metadata is None:
        return None
    import orjson

    return orjson.dumps(metadata).decode()


def decode_metadata(stored: str | None) -> Mapping[str, Any] | None:
    """Return stored metadata. Raises StoreError if the database has damaged it."""
    if stored is None:
        return None
    import orjson

    try:
        metadata: Mapping[str, Any] = orjson.loads(stored)
    except ValueError as error:
        raise StoreError(
            "the database returned metadata that cannot be read",
            hint="check the database with: jtv doctor",
        ) from error
    return metadata
