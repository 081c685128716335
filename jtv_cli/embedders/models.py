"""The registry of models: one row for each, and the module that runs it.

To add an embedder, write a module in this package with a function
`open_embedder(model, options)`, and a row here that names it as its provider.

Jina AI's sizes, limits and prices are those of its published model pages and API
description.
"""

from __future__ import annotations

from pathlib import Path

from jtv_cli.embedders import Model
from jtv_cli.errors import StoreError, UsageError
from jtv_cli.records import Recipe, TableSpec

JINA_KEYS_PAGE = "https://jina.ai/embeddings"
"""Where Jina AI issues keys and takes money."""

PRICES_DATE = "September 2026"
"""When the prices were read."""

TUTORIAL_MODEL = "jina-embeddings-v2-base-en"
HASHING_MODEL = "hashing-v1"
STATIC_MODEL = "static-v1"
SENTENCE_MODEL = "all-minilm-l6-v2"

ONNX = "onnx:"
"""What a directory is named by in the place of a model."""

# The providers of models that are not listed.
_UNLISTED = ("api", "onnx")
_NO_LIMIT = 1 << 30
# What is assumed of a model that is not listed: the server refuses what is too long for it.
_SERVED_TOKENS = 8192
_LONGEST_NAME = 200
_TO_32 = (32, 64, 128, 256, 512)
_CODE = "English, code"

_V3 = Model(
    "jina-embeddings-v3",
    "api",
    1024,
    8192,
    price=0.05,
    task="retrieval",
    smaller=(*_TO_32, 768),
    license="CC-BY-NC-4.0",
)
_V5_SMALL = _V3._replace(name="jina-embeddings-v5-text-small", max_tokens=32768)
_V5_NANO = _V3._replace(
    name="jina-embeddings-v5-text-nano", dimensions=768, price=0.02, smaller=_TO_32
)
_CODE_SMALL = Model(
    "jina-code-embeddings-0.5b",
    "api",
    896,
    32768,
    price=0.05,
    task="nl2code",
    smaller=(64, 128, 256, 512),
    languages=_CODE,
    license="CC-BY-NC-4.0",
)
_V2 = Model(TUTORIAL_MODEL, "api", 768, 8192, price=0.05, languages="English", license="Apache-2.0")

MODELS = {
    model.name: model
    for model in (
        Model(
            STATIC_MODEL,
            "static",
            1024,
            _NO_LIMIT,
            price=0.0,
            is_builtin=True,
            runs_in_process=True,
            languages="English, others by letters",
            license="Apache-2.0",
        ),
        Model(
            HASHING_MODEL,
            "hashing",
            768,
            _NO_LIMIT,
            price=0.0,
            is_builtin=True,
            runs_in_process=True,
            languages="all, by letters",
        ),
        Model(
            SENTENCE_MODEL,
            "minilm",
            384,
            _NO_LIMIT,
            price=0.0,
            runs_in_process=True,
            languages="English",
            license="Apache-2.0",
            prefers_hybrid=True,
        ),
        _V2,
        _V2._replace(name="jina-embeddings-v2-base-zh", languages="Chinese, English"),
        _V2._replace(name="jina-embeddings-v2-base-de", languages="German, English"),
        _V2._replace(name="jina-embeddings-v2-base-es", languages="Spanish, English"),
        _V2._replace(name="jina-embeddings-v2-base-code", languages=_CODE),
        _V3,
        Model(
            "jina-embeddings-v4",
            "api",
            2048,
            32768,
            price=0.05,
            task="retrieval",
            smaller=(128, 256, 512, 1024),
            license="Qwen Research License",
        ),
        _V5_SMALL,
        _V5_NANO,
        # The text vectors of the omni models are those of the text models, bit for bit.
        _V5_SMALL._replace(
            name="jina-embeddings-v5-omni-small", price=None, same_space_as=_V5_SMALL.name
        ),
        _V5_NANO._replace(
            name="jina-embeddings-v5-omni-nano", price=None, same_space_as=_V5_NANO.name
        ),
        _CODE_SMALL,
        _CODE_SMALL._replace(
            name="jina-code-embeddings-1.5b", dimensions=1536, smaller=(128, 256, 512, 1024)
        ),
        Model(
            "jina-clip-v2",
            "api",
            1024,
            8192,
            smaller=(64, 128, 256, 512, 768),
            license="CC-BY-NC-4.0",
        ),
    )
}


def find_model(name: str) -> Model:
    """Return the model of that name.

    Raises UsageError, with the names there are, for any other.
    """
    try:
        return MODELS[name]
    except KeyError:
        raise UsageError(
            f"there is no model {name}",
            hint=f"choose one of: {', '.join(MODELS)}; or name the server that runs it: --api-base",
        ) from None


def resolve_model(name: str, *, is_served: bool) -> Model:
    """Return the model of that name, listed or not.

    `onnx:DIR` is the one in a directory. `is_served` says that the user names a server,
    which may run a model that is not listed. Dimensions of 0 are yet to be learned.

    Raises UsageError for a name that no model has.
    """
    if name.startswith(ONNX):
        from jtv_cli.embedders.onnx import describe

        return describe(Path(name.removeprefix(ONNX)).expanduser())
    if name in MODELS or not is_served:
        return find_model(name)
    if not (0 < len(name) <= _LONGEST_NAME and name.isprintable()):
        raise UsageError(f"{name[:_LONGEST_NAME]!r} cannot be a model's name")
    return Model(name, "api", 0, _SERVED_TOKENS, recipe=Recipe(provider="api"))


def with_dimensions(model: Model, dimensions: int) -> Model:
    """Return the model with vectors shortened to that length.

    Raises UsageError for a length that it cannot have.
    """
    possible = {*model.smaller, model.dimensions}
    if model.dimensions and dimensions not in possible:
        lengths = ", ".join(map(str, sorted(possible)))
        raise UsageError(
            f"{model.name} has no vectors of {dimensions} dimensions",
            hint=f"choose one of: {lengths}" if model.smaller else "leave out --dimensions",
        )
    if dimensions == model.dimensions:
        return model
    return model._replace(dimensions=dimensions, recipe=model.recipe._replace(is_shortened=True))


def model_of(spec: TableSpec) -> Model:
    """Return the model that a table was created with.

    Raises UsageError if this version has no such model, and StoreError if the table says
    of itself what cannot be.
    """
    if spec.recipe.provider:
        if spec.recipe.provider not in _UNLISTED:
            raise UsageError(
                f"this version of jtv cannot run the model {spec.model} of table {spec.name}",
                hint="upgrade jtv, or name another --table",
            )
        return Model(
            spec.model,
            spec.recipe.provider,
            spec.dimensions,
            _SERVED_TOKENS,
            task=spec.task,
            recipe=spec.recipe,
            price=None if spec.recipe.provider == "api" else 0.0,
            runs_in_process=spec.recipe.provider != "api",
        )
    model = find_model(spec.model)
    if not has_possible_vectors(spec):
        raise StoreError(
            f"table {spec.name} has {spec.dimensions} dimensions, which its model"
            f" {spec.model} cannot have",
            hint="name another --table, or recreate this one with: jtv init --drop",
        )
    return model._replace(dimensions=spec.dimensions, recipe=spec.recipe)


def has_possible_vectors(spec: TableSpec) -> bool:
    """Return whether the model of a table can have vectors of the table's dimensions.

    Of a model that is not listed, nothing is known, so that is true.
    """
    model = MODELS.get(spec.model)
    if spec.recipe.provider or model is None:
        return True
    return spec.dimensions in (model.dimensions, *model.smaller)


def spec_for(name: str, model: Model) -> TableSpec:
    """Return what a new table of that name would be with a model."""
    return TableSpec(name, model.name, model.task, model.dimensions, recipe=model.recipe)
