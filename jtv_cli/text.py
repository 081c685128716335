"""What can be written: as UTF-8, as JSON, into a store; not all that is read can be."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# orjson reads JSON nested in more levels than the 254 that it writes; so many bytes of it,
# two for each level, are certainly in fewer.
_SHALLOW_BYTES = 400
_CHARACTER_BYTES = 4  # of UTF-8, at most
# Bytes of which several make one token. Every other byte counts as a token of its own.
_SPARSE = (string.ascii_letters + " ").encode()
_ASCII = bytes(range(128))


def printable(text: str) -> str:
    """Return a path or an argument, bytes of it that are not UTF-8 escaped."""
    return text.encode(errors="surrogateescape").decode(errors="backslashreplace")


def may_nest_deeply(line: bytes) -> bool:
    """Return whether an object could be nested too deeply: long enough, with a bracket inside."""
    return len(line) > _SHALLOW_BYTES and (b"[" in line or line.find(b"{", 1) > 0)


def is_metadata(value: object) -> bool:
    """Return whether it is an object that can be written again, within a document's record."""
    import orjson

    try:
        orjson.dumps([[[value]]])
    except orjson.JSONEncodeError:
        return False
    return isinstance(value, dict)


def too_long(
    text: str, most_bytes: int | None, metadata: Mapping[str, Any] | None = None
) -> str | None:
    """Return why a store that takes so many bytes, or any number, does not take a text.

    Its metadata goes into the same transaction, and counts.
    """
    if most_bytes is None:
        return None
    if metadata is None and len(text) * _CHARACTER_BYTES <= most_bytes:
        return None
    beside = _json_size(metadata)
    size = len(text.encode()) + beside
    if size <= most_bytes:
        return None
    what = "with its metadata, " if beside else ""
    return f"{what}{size:,} bytes are more than the {most_bytes:,} the store takes"


def _json_size(metadata: Mapping[str, Any] | None) -> int:
    if metadata is None:
        return 0
    import orjson

    return len(orjson.dumps(metadata))


def estimated_tokens(text: str, most: int | None = None) -> int:
    """Return an estimate of a text's tokens that few tokenizers exceed, and at most `most`.

    Three ASCII letters or spaces count as one token (English has four or five to one), and
    so does every digit and every punctuation mark, of which code is full. In all other
    scripts two bytes count as one: a CJK character has three bytes, and is seldom more
    than one token.
    """
    encoded = text.encode()
    dense = len(encoded.translate(None, _SPARSE))
    letters = (len(encoded) - dense) // 3
    others = 0 if text.isascii() else len(encoded.translate(None, _ASCII))
    estimate = 1 + letters + dense - others // 2
    return estimate if most is None else min(estimate, most)


def text_hash(text: str) -> bytes:
    """Return the SHA-256 of the text's UTF-8 form (32 bytes): what makes two texts the same."""
    return text_hashes([text])[0]


def text_hashes(texts: Iterable[str]) -> list[bytes]:
    """Return the hash of each text."""
    from hashlib import sha256  # it loads OpenSSL, which only writing has a use for

    return [sha256(text.encode()).digest() for text in texts]


def short_key(text_hash: bytes) -> int:
    """Return the first 8 bytes of a text's hash as an unsigned integer, for counts and estimates.

    Among a hundred million texts, the chance that any two have the same is 1 in 3,700, and
    then the count is wrong by one.
    """
    return int.from_bytes(text_hash[:8], "big")
