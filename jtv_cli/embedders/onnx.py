"""Any sentence model in ONNX's format, from a directory, on ONNX Runtime.

The directory has `model.onnx`, `tokenizer.json`, and `jtv.json`, a record of what cannot be
told from the other two: see docs/models.md.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jtv_cli.batching import batched_by_length
from jtv_cli.embedders import BatchLimit, Model
from jtv_cli.errors import TextsFailed, TextTooLong, UsageError
from jtv_cli.records import Embeddings, Recipe
from jtv_cli.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt
    from onnxruntime import InferenceSession
    from tokenizers import Tokenizer

    from jtv_cli.embedders import EmbedderOptions
    from jtv_cli.records import Purpose, Vectors

    Tokens = npt.NDArray[np.int64]

RECORD = "jtv.json"

_POOLINGS = ("mean", "cls", "last", "none")
_FIELDS: dict[str, tuple[type, object]] = {
    "name": (str, ""),
    "pooling": (str, None),
    "query_prefix": (str, ""),
    "document_prefix": (str, ""),
    "dimensions": (int, 0),
    "max_tokens": (int, 512),
    "normalize": (bool, True),
}
"""The type and the default of each field of the record; None stands for none."""

_TOKENS_AT_ONCE = 4096
_LONGEST_NAME, _LONGEST_PREFIX, _LONGEST_PATH = 200, 200, 500


def describe(directory: Path) -> Model:
    """Return the model that a directory holds; 0 dimensions are yet to be learned.

    Raises UsageError where a file is missing, the record cannot be used, or ONNX Runtime is
    not installed.
    """
    require_packages()
    record = _read_record(directory)
    location = str(directory.absolute())
    if len(location) > _LONGEST_PATH:  # a table's comment in TiDB has to hold it
        raise UsageError(
            f"the path of a model has up to {_LONGEST_PATH} characters", hint="move it"
        )
    require_model_files(directory)
    return Model(
        record["name"] or directory.absolute().name,
        "onnx",
        record["dimensions"],
        record["max_tokens"],
        price=0.0,
        runs_in_process=True,
        recipe=Recipe(
            provider="onnx",
            query_prefix=record["query_prefix"],
            document_prefix=record["document_prefix"],
            pooling=record["pooling"],
            is_normalized=record["normalize"],
            location=location,
        ),
    )


def open_embedder(model: Model, options: EmbedderOptions) -> OnnxEmbedder:
    """Return the embedder of a model at the location that its recipe names.

    Raises UsageError where it is not there any more.
    """
    directory = Path(model.recipe.location)
    if not (directory / RECORD).is_file():
        raise UsageError(
            f"the model {model.name} is not in {printable(str(directory))} any more",
            hint="name its directory: --model onnx:DIR",
        )
    require_packages()
    max_tokens = _read_record(directory)["max_tokens"]
    return OnnxEmbedder(model._replace(max_tokens=max_tokens), directory, truncate=options.truncate)


class OnnxEmbedder:
    """Embeds with a model on ONNX Runtime; prefixes are put before texts elsewhere."""

    def __init__(self, model: Model, directory: Path, *, truncate: bool = False) -> None:
        self.model = model
        self.batch_limit = BatchLimit(texts=32, tokens=1 << 13)
        self._truncate = truncate
        where = printable(str(directory))
        self._tokenizer = open_tokenizer(directory)
        self._session = open_session(directory, "a model for feature extraction")
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._output = self._find_output(where)

    def embed(self, texts: Sequence[str], purpose: Purpose) -> Embeddings:  # noqa: ARG002
        """Return the texts' vectors, in their order.

        Raises TextTooLong for a text of more tokens than the model reads, and TextsFailed
        where the model returns what is no vector.
        """
        encoded = [list(one.ids) for one in self._tokenizer.encode_batch(list(texts))]
        most = self.model.max_tokens
        if any(len(ids) > most for ids in encoded) and not self._truncate:
            message = f"a text has more than the {most} tokens that {self.model.name} reads"
            raise TextTooLong(message, hint="split it, or cut it with --truncate")
        # Cut before the last token, which marks the end.
        encoded = [
            [*ids[: most - 1], ids[-1]] if len(ids) > most else ids or [0] for ids in encoded
        ]
        order: list[int] = []
        parts: list[Vectors] = []
        for rows in batched_by_length(encoded, _TOKENS_AT_ONCE):
            order += rows
            parts.append(self._compute([encoded[row] for row in rows]))
        if not parts:
            return Embeddings(np.empty((0, self.model.dimensions), np.float32))
        vectors = np.empty((len(order), parts[0].shape[1]), np.float32)
        vectors[order] = np.concatenate(parts)
        return Embeddings(vectors)

    def _compute(self, batch: Sequence[Sequence[int]]) -> Vectors:
        ids, mask = padded(batch), padded([[1] * len(one) for one in batch])
        output = run(self._session, self._output, ids, mask, np.zeros_like(ids))
        vectors = self._pooled(output, mask)
        if self.model.dimensions > vectors.shape[1]:
            raise UsageError(
                f"{self.model.name} has vectors of {vectors.shape[1]} dimensions, not of"
                f" {self.model.dimensions}",
                hint="ask for fewer",
            )
        if self.model.dimensions:
            vectors = vectors[:, : self.model.dimensions]
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not (np.isfinite(lengths).all() and lengths.all()):
            raise TextsFailed(f"{self.model.name} returned what is no vector", hint="skip the text")
        return vectors / lengths if self.model.recipe.is_normalized else vectors

    def _pooled(self, output: Vectors, mask: Tokens) -> Vectors:
        pooling = self.model.recipe.pooling
        if pooling == "none":
            return output
        lengths = mask.sum(axis=1)
        vectors: Vectors
        if pooling == "cls":
            vectors = output[:, 0]
        elif pooling == "last":
            vectors = output[np.arange(len(output)), lengths - 1]
        else:
            vectors = np.einsum("nld,nl->nd", output, mask.astype(np.float32))
            vectors /= lengths[:, None].astype(np.float32)
        return vectors

    def _find_output(self, where: str) -> str:
        """Return the name of the first output of the rank that the pooling takes."""
        rank = 2 if self.model.recipe.pooling == "none" else 3
        for output in self._session.get_outputs():
            if len(output.shape) == rank:
                name: str = output.name
                return name
        what = "one vector for each text" if rank == 2 else "vectors of tokens"
        raise UsageError(
            f"the model in {where} has no output with {what}",
            hint=f"check pooling in {RECORD}",
        )


def require_model_files(directory: Path) -> None:
    """Raise UsageError if there is no model with its tokenizer, or nothing to run it."""
    require_packages()
    for name in ("model.onnx", "tokenizer.json"):
        if not (directory / name).is_file():
            raise UsageError(
                f"there is no {name} in {printable(str(directory))}",
                hint="export the model to ONNX with its tokenizer (optimum-cli export onnx)",
            )


def open_tokenizer(directory: Path) -> Tokenizer:
    """Return the tokenizer of a model. Raises UsageError if it cannot be used."""
    import tokenizers

    with _opening(directory):
        return tokenizers.Tokenizer.from_file(str(directory / "tokenizer.json"))


def open_session(directory: Path, kind: str) -> InferenceSession:
    """Return what runs a model. Raises UsageError if it cannot be used as a model of the kind."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors are raised
    with _opening(directory):
        session = onnxruntime.InferenceSession(
            str(directory / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
    known = ("input_ids", "attention_mask", "token_type_ids", "position_ids")
    if unknown := {given.name for given in session.get_inputs()}.difference(known):
        raise UsageError(
            f"the model in {printable(str(directory))} has an input that jtv does not know:"
            f" {min(unknown)}",
            hint=f"export it as {kind}",
        )
    return session


def padded(rows: Sequence[Sequence[int]]) -> Tokens:
    """Return rows of numbers as one array, with zeros behind the shorter ones."""
    padded = np.zeros((len(rows), max(map(len, rows))), np.int64)
    for place, row in enumerate(rows):
        padded[place, : len(row)] = row
    return padded


def run(
    session: InferenceSession, output: str, ids: Tokens, mask: Tokens, types: Tokens
) -> Vectors:
    """Return an output, float32, for (n, length) tokens and what the model reads beside them."""
    feed = {
        "input_ids": ids,
        "attention_mask": mask,
        "token_type_ids": types,
        "position_ids": np.broadcast_to(np.arange(ids.shape[1]), ids.shape),
    }
    inputs = {given.name: feed[given.name] for given in session.get_inputs()}
    [found] = session.run([output], inputs)
    return np.asarray(found, np.float32)


@contextmanager
def _opening(directory: Path) -> Iterator[None]:
    # Neither library has a base for its errors.
    try:
        yield
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(
            f"the model in {printable(str(directory))} cannot be opened: {reason}",
            hint="export it again",
        ) from error


def require_packages() -> None:
    """Raise UsageError if the extra `local` is not installed."""
    if not (find_spec("onnxruntime") and find_spec("tokenizers")):
        raise UsageError(
            "models in ONNX's format need ONNX Runtime",
            hint="run: pip install 'jtv-cli[local]'",
        )


def _read_record(directory: Path) -> dict[str, Any]:
    """Return the record with its defaults. Raises UsageError if it cannot be used."""
    path = directory / RECORD
    where = printable(str(path))
    hint = f'write {where}, such as {{"pooling": "mean"}}: see docs/models.md'
    try:
        said = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {where}: {error.strerror}", hint=hint) from error
    except ValueError as error:
        raise UsageError(f"{where} is not JSON", hint=hint) from error
    if not isinstance(said, dict):
        raise UsageError(f"{where} is no JSON object", hint=hint)
    if unknown := said.keys() - _FIELDS.keys():
        raise UsageError(f"{where}: there is no field {min(unknown)!r}", hint=hint)
    record = {name: said.get(name, default) for name, (_, default) in _FIELDS.items()}
    for name, (kind, _) in _FIELDS.items():
        if type(record[name]) is not kind or not _can_be(name, record[name]):
            raise UsageError(f"{where}: {name!r} is missing or cannot be used", hint=hint)
    return record


def _can_be(name: str, value: Any) -> bool:  # noqa: ANN401
    if name == "pooling":
        return value in _POOLINGS
    if name == "name":
        return len(value) <= _LONGEST_NAME and value.isprintable()
    if isinstance(value, str):
        return len(value) <= _LONGEST_PREFIX and "\0" not in value
    return not isinstance(value, int) or value >= 0
