"""Choose the model of a new table, and the model to use with an existing one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from jtv_cli import config
from jtv_cli.embedders import EmbedderOptions, Model, open_embedder
from jtv_cli.embedders.models import (
    JINA_KEYS_PAGE,
    MODELS,
    ONNX,
    SENTENCE_MODEL,
    STATIC_MODEL,
    TUTORIAL_MODEL,
    find_model,
    model_of,
    resolve_model,
    spec_for,
    with_dimensions,
)
from jtv_cli.embedders.weights import DOWNLOADS, find_weights, is_pulled
from jtv_cli.errors import TableMismatch, UsageError
from jtv_cli.records import Purpose
from jtv_cli.text import printable

if TYPE_CHECKING:
    from jtv_cli.embedders import Embedder, Reranker
    from jtv_cli.records import TableSpec
    from jtv_cli.stores import Table

_LONGEST_PREFIX = 200


class VectorOptions(NamedTuple):
    """The options for the vectors of a new table; None for those that are not given."""

    dimensions: int | None = None
    query_prefix: str | None = None
    document_prefix: str | None = None


def model_for_new_table(
    settings: config.Settings, *, is_embedded: bool, options: VectorOptions | None = None
) -> Model:
    """Return the model that the settings name, or the default for a new table.

    With an API key, the default is the tutorial's model; without one, in an embedded
    store, the sentence model if it was downloaded, else the built-in one. On TiDB there
    is none, and UsageError is raised.

    A model that jtv does not list is asked for one vector, to learn its dimensions.

    Raises UsageError for an unknown model, or dimensions or a prefix that it cannot have.
    """
    options = options or VectorOptions()
    model = _named_model(settings) or _default_model(settings, is_embedded=is_embedded)
    if model.name in DOWNLOADS:
        find_weights(model.name, config.models_directory(settings))
    if options.dimensions is not None:
        model = with_dimensions(model, options.dimensions)
    recipe = model.recipe._replace(
        query_prefix=_checked_prefix(
            options.query_prefix, "--query-prefix", model.recipe.query_prefix
        ),
        document_prefix=_checked_prefix(
            options.document_prefix, "--document-prefix", model.recipe.document_prefix
        ),
    )
    model = model._replace(recipe=recipe)
    if model.recipe.provider:
        from jtv_cli.embedders.fingerprint import learn

        return learn(open_model(settings, model))
    return model


def open_model(settings: config.Settings, model: Model, *, truncate: bool = False) -> Embedder:
    """Open the embedder of a model, with the API base and the key of the settings.

    Raises UsageError if the API key is missing or the API base cannot be used.
    """
    if model.runs_in_process:
        directory = None if model.is_builtin else config.models_directory(settings)
        embedder = open_embedder(
            model, EmbedderOptions(truncate=truncate, models_directory=directory)
        )
        if model.recipe.fingerprint:
            _require_same_weights(embedder)
        return embedder
    from jtv_cli.embedders.api.endpoint import parse_base

    api_base, api_key = config.find_api(settings)
    parse_base(api_base, f"the API base ({settings.api_base.source})")
    return open_embedder(model, EmbedderOptions(api_base, api_key, truncate))


def open_reranker(settings: config.Settings, name: str, base: str | None = None) -> Reranker:
    """Open a reranker: `onnx:DIR`, or a model of the API at `base`, None for the settings' own.

    Raises UsageError if the API key is missing, or the base or the directory cannot be used.
    """
    if name.startswith(ONNX):
        if base is not None:
            raise UsageError(
                f"--rerank-base and {ONNX}DIR cannot be combined", hint="keep one of them"
            )
        from jtv_cli.embedders.onnx_reranker import OnnxReranker

        return OnnxReranker(Path(name.removeprefix(ONNX)).expanduser())
    from jtv_cli.embedders.api.reranker import ApiReranker

    if base is not None:
        settings = settings._replace(api_base=config.Setting(base, "--rerank-base"))
    api_base, key = config.find_api(settings)
    where = f"the API base ({settings.api_base.source})"
    return ApiReranker(name, api_base=api_base, api_key=key, name=where)


def model_for_table(settings: config.Settings, spec: TableSpec) -> Model:
    """Return the model to use with a table: its own, or a named one of the same space.

    Raises UsageError if this version does not have the table's model.
    """
    named = _demanded_model(settings)
    if named is None or not _is_same_space(named, spec):
        return model_of(spec)
    if named.recipe.provider == spec.recipe.provider and named.name == spec.model:
        own = model_of(spec)
        location = named.recipe.location or own.recipe.location
        return own._replace(recipe=own.recipe._replace(location=location))
    return with_dimensions(named, spec.dimensions)


def require_model(settings: config.Settings, spec: TableSpec) -> None:
    """Raise TableMismatch if --model names another model than the table's."""
    named = _demanded_model(settings)
    if named is None or _is_same_space(named, spec):
        return
    if not named.dimensions:
        # They are not known without asking the model.
        named = named._replace(dimensions=spec.dimensions)
    elif spec.dimensions in named.smaller:
        named = with_dimensions(named, spec.dimensions)
    spec.require_same_vectors(spec_for(spec.name, named))


def require_near(settings: config.Settings, table: Table) -> None:
    """Raise TableMismatch unless another provider's model makes the table's vectors.

    That is checked only if --model names such a model: the API's for a table created with a
    local one, or the reverse. A stored text is embedded again and the vectors are compared.
    """
    spec = table.spec
    named = _demanded_model(settings)
    if named is None or named.recipe.provider == spec.recipe.provider:
        return
    from jtv_cli.embedders.fingerprint import FARTHEST, cosine_distance

    ids = [hit.id for hit in table.scan(limit=1)]
    for document in table.get(ids, vectors=True):
        embedder = open_model(settings, model_for_table(settings, spec))
        [vector] = embedder.embed([document.text], Purpose.DOCUMENT).vectors
        assert document.vector is not None
        distance = cosine_distance(vector, document.vector)
        if distance > FARTHEST:
            raise TableMismatch(
                f"table {spec.name} was created with {spec.model}, and {settings.model.value}"
                f" makes other vectors: those of document {document.id} are {distance:.2f} apart",
                hint="leave out --model, or name another --table",
            )


def _require_same_weights(embedder: Embedder) -> None:
    """Raise TableMismatch if a local model is not the one that a table was created with."""
    from jtv_cli.embedders.fingerprint import FARTHEST, distance_to_fingerprint

    distance = distance_to_fingerprint(embedder)
    if distance > FARTHEST:
        location = printable(embedder.model.recipe.location)
        raise TableMismatch(
            f"the model in {location} is not the one that the table was created with: a fixed"
            f" text's vector has moved by a cosine distance of {distance:.2f}",
            hint="name the directory of the table's model: --model onnx:DIR",
        )


def require_options(spec: TableSpec, options: VectorOptions) -> None:
    """Raise TableMismatch if the options ask for other vectors than the table has."""
    said = {name: value for name, value in options._asdict().items() if value is not None}
    dimensions = said.pop("dimensions", spec.dimensions)
    recipe = spec.recipe._replace(**said)
    spec.require_same_vectors(spec._replace(dimensions=dimensions, recipe=recipe))


def _is_same_space(named: Model, spec: TableSpec) -> bool:
    """Return whether a table's vectors may be comparable with those of the model named."""
    providers = (named.recipe.provider, spec.recipe.provider)
    if providers[0] == providers[1] and providers[0]:
        ways = [(recipe.pooling, recipe.is_normalized) for recipe in (named.recipe, spec.recipe)]
        return named.name == spec.model and ways[0] == ways[1]
    if "api" in providers:
        return False
    return (
        _space(named.name) == _space(spec.model)
        and named.task == spec.task
        and spec.dimensions in (named.dimensions or spec.dimensions, *named.smaller)
    )


def _space(name: str) -> str:
    return MODELS[name].space if name in MODELS else name


def _demanded_model(settings: config.Settings) -> Model | None:
    """Return the model that the call names, which a table must then have."""
    return _named_model(settings) if settings.model.is_explicit else None


def _named_model(settings: config.Settings) -> Model | None:
    if settings.model.value is None:
        return None
    return resolve_model(settings.model.value, is_served=settings.api_base.source != "default")


def _default_model(settings: config.Settings, *, is_embedded: bool) -> Model:
    if settings.api_key.value:
        return find_model(TUTORIAL_MODEL)
    if is_embedded:
        is_there = is_pulled(SENTENCE_MODEL, _models_directory(settings))
        return find_model(SENTENCE_MODEL if is_there else STATIC_MODEL)
    raise UsageError(
        "no API key is set",
        hint=f"set JINA_API_KEY ({JINA_KEYS_PAGE}), or use the built-in model:"
        f" jtv init --model {STATIC_MODEL}",
    )


def _models_directory(settings: config.Settings) -> Path | None:
    try:
        return config.models_directory(settings)
    except UsageError:  # there is no home directory
        return None


def _checked_prefix(prefix: str | None, option: str, default: str) -> str:
    if prefix is None:
        return default
    is_unicode = not any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in prefix)
    if len(prefix) > _LONGEST_PREFIX or not is_unicode:
        raise UsageError(f"{option} takes up to {_LONGEST_PREFIX} characters of UTF-8")
    return prefix
