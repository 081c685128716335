"""The API: one tiny call, with the model that will be asked for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from jtv_cli.records import Check, Outcome, Purpose

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jtv_cli.embedders import Embedder


def check_embedder(embedder: Embedder) -> Iterator[Check]:
    """Yield whether the embedder answers. Raises what `Embedder.embed` raises."""
    started = time.monotonic()
    answer = embedder.embed(["jtv"], Purpose.QUERY)
    seconds = time.monotonic() - started
    yield Check(
        "API",
        Outcome.OK,
        f"{embedder.model.name} answers in {seconds:.1f} s,"
        f" with {answer.vectors.shape[1]} dimensions, for {answer.tokens} tokens",
    )
