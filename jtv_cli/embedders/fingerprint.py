"""Fingerprints of models, to find out if a model returns other vectors than before.

A server may come to run other weights under the same name. A table keeps the fingerprint
of one fixed text's vector, to compare with what the server answers later.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import TYPE_CHECKING

from jtv_cli.records import Purpose

if TYPE_CHECKING:
    from jtv_cli.embedders import Embedder, Model
    from jtv_cli.records import Vectors

_TEXT = "The harbour master counted eleven blue boats before the rain began."
# Of so many dimensions a fingerprint keeps a byte each: it must fit into a table's comment.
_LENGTH = 96

FARTHEST = 0.02
"""The cosine distance up to which two vectors of a text count as those of one model."""


def learn(embedder: Embedder) -> Model:
    """Return the embedder's model with its dimensions and its fingerprint, from one call.

    Raises what `Embedder.embed` raises.
    """
    [vector] = embedder.embed([_TEXT], Purpose.DOCUMENT).vectors
    model = embedder.model
    recipe = model.recipe._replace(fingerprint=_encode(vector))
    return model._replace(dimensions=len(vector), recipe=recipe)


def distance_to_fingerprint(embedder: Embedder) -> float:
    """Return the cosine distance between the fixed text's vector and its fingerprint.

    The embedder's model must have a fingerprint. Raises what `Embedder.embed` raises.
    """
    import numpy as np

    [vector] = embedder.embed([_TEXT], Purpose.DOCUMENT).vectors
    kept = np.frombuffer(b64decode(embedder.model.recipe.fingerprint), np.int8)
    return cosine_distance(vector[: len(kept)], kept.astype(np.float32))


def cosine_distance(one: Vectors, other: Vectors) -> float:
    """Return the cosine distance of two vectors."""
    import numpy as np

    return float(1 - one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))


def _encode(vector: Vectors) -> str:
    import numpy as np

    first = vector[:_LENGTH]
    scaled = np.rint(first * (127 / max(float(np.abs(first).max()), 1e-30)))
    return b64encode(scaled.astype(np.int8).tobytes()).decode()
