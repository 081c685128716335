"""The metadata of an occurrence, as the stores keep it: JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def encode_metadata(metadata: Mapping[str, Any] | None) -> str | None:
    """Return the text to store."""
    if metadata is None:
        return None
    import orjson

    return orjson.dumps(metadata).decode()


def decode_metadata(stored: str | None) -> Mapping[str, Any] | None:
    """Return what was stored."""
    if stored is None:
        return None
    import orjson

    metadata: Mapping[str, Any] = orjson.loads(stored)
    return metadata
