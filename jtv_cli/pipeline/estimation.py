"""The dry run of an ingest: what it would embed and store, and what that would cost."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from jtv_cli.pipeline.ingestion import BYTES_PER_DOCUMENT
from jtv_cli.pipeline.long_texts import TextCutter, fitted
from jtv_cli.records import IngestEstimate
from jtv_cli.text import estimated_tokens, short_key, text_hashes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from jtv_cli.embedders import Model
    from jtv_cli.pipeline.reembedding import Block
    from jtv_cli.stores import Table


def estimate(
    blocks: Iterable[Block],
    table: Table | None,
    model: Model,
    *,
    truncate: bool,
    cutter: TextCutter | None,
    on_skipped: Callable[[str, str], None],
) -> IngestEstimate:
    """Read the whole input and return what an ingest into the table would do.

    Without a table, every text counts as new. `cutter` cuts texts that are too long. `on_skipped`
    is called with where a text that would be skipped was read, as file:line, and why. Of each
    new text, 24 bytes are held in memory.
    """
    import numpy as np

    keys, tokens, sizes = array("Q"), array("Q"), array("Q")
    longest = model.max_tokens if truncate else None
    texts = empty = bad = 0
    for read in blocks:
        block = fitted(read, cutter, table, model)
        hashes = text_hashes(text for _, text, _, _ in block.texts)
        stored = table.known(hashes) if table else {}
        for key, (_, text, _, _) in zip(hashes, block.texts, strict=True):
            if key not in stored:
                keys.append(short_key(key))
                tokens.append(estimated_tokens(text, longest))
                sizes.append(len(text.encode()))
        texts, empty, bad = texts + len(hashes), empty + block.empty, bad + len(block.bad)
        for place, reason in block.bad_places():
            on_skipped(place, reason)
    first = np.unique(np.asarray(keys), return_index=True)[1]
    total = int(np.asarray(tokens)[first].sum())
    content = int(np.asarray(sizes)[first].sum())
    return IngestEstimate(
        texts=texts,
        known=texts - len(first),
        empty=empty,
        skipped=bad,
        to_embed=len(first),
        tokens=total,
        usd=None if model.price is None else total * model.price / 1e6,
        bytes=content + len(first) * (4 * model.dimensions + BYTES_PER_DOCUMENT),
        duplicates=len(keys) - len(first),
    )
