"""Any cross-encoder in ONNX's format, from a directory, on ONNX Runtime.

The directory has `model.onnx`, which returns one score for a query and a text, and
`tokenizer.json`; see docs/searching.md.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from jtv_cli.batching import batched_by_length
from jtv_cli.embedders.onnx import open_session, open_tokenizer, padded, require_model_files, run
from jtv_cli.errors import ServiceRefused, UsageError
from jtv_cli.records import RerankScores
from jtv_cli.text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from jtv_cli.records import Vectors

_KIND = "a cross-encoder with one score, for text classification"
_CONFIG = "tokenizer_config.json"
_USUAL_TOKENS = 512
# Tokenizers without a limit of their own state an enormous one.
_MOST_TOKENS = 1 << 17
_LEAST_TOKENS = 16
_TOKENS_AT_ONCE = 4096
# Windows of a long text overlap by this share, so that a sentence is whole in one of them.
_OVERLAP = 4


class _Window(NamedTuple):
    """The tokens of the query and of a part of a text; `types` tells the one from the other."""

    text: int
    ids: Sequence[int]
    types: Sequence[int]

    def __len__(self) -> int:
        return len(self.ids)


class OnnxReranker:
    """Scores pairs of a query and a text, from 0 to 1, in this process.

    A text that is too long for the model is scored window by window: the best one counts. Of a
    query, no more is read than half of the model's longest text.

    Raises UsageError if the directory has no such model, or ONNX Runtime is not installed.
    """

    runs_in_process = True

    def __init__(self, directory: Path) -> None:
        self.model = f"onnx:{directory}"
        self._where = printable(str(directory))
        require_model_files(directory)
        self._tokenizer = open_tokenizer(directory)
        self._most = _most_tokens(directory, self._tokenizer.truncation)
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._session = open_session(directory, _KIND)
        output = self._session.get_outputs()[0]
        if len(output.shape) not in (1, 2) or output.shape[1:] not in ([], [1]):
            raise UsageError(
                f"the model in {self._where} does not return one score for each text",
                hint=f"export it as {_KIND}",
            )
        self._output = output.name

    def rerank(self, query: str, documents: Sequence[str]) -> RerankScores:
        """Return the relevance of each document to the query.

        Raises ServiceRefused if the model fails, or returns what is no number.
        """
        windows = self._windows(self._shortened(query), documents)
        scores = np.full(len(documents), -np.inf, np.float32)
        for rows in batched_by_length(windows, _TOKENS_AT_ONCE):
            batch = [windows[row] for row in rows]
            np.maximum.at(scores, [window.text for window in batch], self._logits(batch))
        # Beyond this, the sigmoid is 0 or 1 in float64 too.
        logits = scores.astype(np.float64).clip(-700, 700)
        return RerankScores((1 / (1 + np.exp(-logits))).tolist())

    def _shortened(self, query: str) -> str:
        encoded = self._tokenizer.encode(query, add_special_tokens=False)
        most = self._most // 2
        return query if len(encoded.ids) <= most else query[: encoded.offsets[most - 1][1]]

    def _windows(self, query: str, documents: Sequence[str]) -> list[_Window]:
        """Return the windows of all texts, in order; each text has at least one."""
        used = len(self._tokenizer.encode(query, "").ids)
        room = max(1, self._most - used)
        self._tokenizer.enable_truncation(
            used + room, stride=room // _OVERLAP, strategy="only_second"
        )
        try:
            encoded = self._tokenizer.encode_batch([(query, text) for text in documents])
        finally:
            self._tokenizer.no_truncation()
        return [
            _Window(place, window.ids, window.type_ids)
            for place, first in enumerate(encoded)
            for window in (first, *first.overflowing)
        ]

    def _logits(self, batch: Sequence[_Window]) -> Vectors:
        ids, types = padded([each.ids for each in batch]), padded([each.types for each in batch])
        mask = padded([[1] * len(each) for each in batch])
        try:
            logits = run(self._session, self._output, ids, mask, types)
        except Exception as error:  # ONNX Runtime has no base for its errors
            reason = printable(" ".join(str(error).split())[:200])
            raise ServiceRefused(f"the model in {self._where} failed: {reason}") from error
        if logits.size != len(batch) or np.isnan(logits).any():
            raise ServiceRefused(f"the model in {self._where} returned what is no score")
        return logits.reshape(-1)


def _most_tokens(directory: Path, truncation: dict[str, int] | None) -> int:
    """Return the length of the longest text that the model takes, as its tokenizer states it."""
    try:
        stated = json.loads((directory / _CONFIG).read_text("utf-8"))["model_max_length"]
    except (OSError, ValueError, KeyError, TypeError):
        stated = None
    for most in (stated, (truncation or {}).get("max_length")):
        if isinstance(most, int | float) and _LEAST_TOKENS <= most <= _MOST_TOKENS:
            return int(most)
    return _USUAL_TOKENS
