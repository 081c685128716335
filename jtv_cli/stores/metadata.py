"""The metadata of an occurrence, as the stores keep it: JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence, Set

    from jtv_cli.records import Place

    Noted = tuple[int, int, str | None]
    """A place as a store keeps it: line, document, metadata."""


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


def new_places(places: Sequence[Place], noted: Set[Noted]) -> tuple[list[Place], list[Place]]:
    """Return the places that are not noted, and those that are noted with other metadata."""
    news = [
        place
        for place in places
        if (place if place.metadata is None else _noted(place)) not in noted
    ]
    there = {(line, document) for line, document, _ in noted} if news else set()
    new: list[Place] = []
    changed: list[Place] = []
    for place in news:
        (changed if place[:2] in there else new).append(place)
    return new, changed


def _noted(place: Place) -> Noted:
    return place.line, place.document, encode_metadata(place.metadata)
