"""The API: one tiny call, with the model that will be asked for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from jtv_cli.embedders.fingerprint import FARTHEST, distance_to_fingerprint
from jtv_cli.records import Check, Outcome, Purpose

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jtv_cli.embedders import Embedder


def check_embedder(embedder: Embedder) -> Iterator[Check]:
    """Yield whether the embedder answers, and with the vectors of the table's own model.

    Raises what `Embedder.embed` raises.
    """
    model = embedder.model
    started = time.monotonic()
    if not model.recipe.fingerprint:
        answer = embedder.embed(["jtv"], Purpose.QUERY)
        said = f"with {answer.vectors.shape[1]} dimensions, for {answer.tokens} tokens"
        yield _check(model.name, started, said)
        return
    distance = distance_to_fingerprint(embedder)
    if distance <= FARTHEST:
        said = f"with {model.dimensions} dimensions, as when the table was created"
        yield _check(model.name, started, said)
        return
    yield Check(
        "API",
        Outcome.FAILED,
        f"{model.name} is not the model that the table was made with: a fixed text's vector has"
        f" moved by a cosine distance of {distance:.2f}; point JINA_API_BASE to the server that"
        " ran it, or create the table anew with: jtv init --drop",
    )


def _check(name: str, started: float, said: str) -> Check:
    seconds = time.monotonic() - started
    return Check("API", Outcome.OK, f"{name} answers in {seconds:.1f} s, {said}")
