"""The API: one tiny call, with the model that will be asked for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from jtv_cli.embedders.fingerprint import FARTHEST, distance_to_fingerprint
from jtv_cli.records import Check, Outcome, Purpose

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jtv_cli.embedders import Embedder


def check_embedder(embedder: Embedder, *, name: str = "API") -> Iterator[Check]:
    """Yield a check of that name: whether the embedder returns the vectors of the table's model.

    Raises what `Embedder.embed` raises.
    """
    model = embedder.model
    started = time.monotonic()
    if model.recipe.fingerprint:
        distance = distance_to_fingerprint(embedder)
        said = f"with {model.dimensions} dimensions, as when the table was created"
    else:
        answer = embedder.embed(["jtv"], Purpose.QUERY)
        distance = 0.0
        said = f"with {answer.vectors.shape[1]} dimensions, for {answer.tokens} tokens"
    seconds = time.monotonic() - started
    if distance <= FARTHEST:
        yield Check(name, Outcome.OK, f"{model.name} answers in {seconds:.1f} s, {said}")
        return
    yield Check(
        name,
        Outcome.FAILED,
        f"{model.name} is not the model that the table was made with: a fixed text's vector has"
        f" moved by a cosine distance of {distance:.2f}; point JINA_API_BASE to the server that"
        " ran it, or create the table anew with: jtv init --drop",
    )
