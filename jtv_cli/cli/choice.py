"""Which model a new table gets, and which model a table is used with."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from jtv_cli import config
from jtv_cli.embedders import EmbedderOptions, open_embedder
from jtv_cli.embedders.models import (
    MODELS,
    OFFLINE_MODEL,
    SENTENCE_MODEL,
    TUTORIAL_MODEL,
    Model,
    find_model,
    model_of,
    resolve_model,
    spec_for,
    with_dimensions,
)
from jtv_cli.embedders.weights import DOWNLOADS, find_weights, is_pulled
from jtv_cli.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from jtv_cli.embedders import Embedder
    from jtv_cli.records import TableSpec

_LONGEST_PREFIX = 200


class VectorOptions(NamedTuple):
    """What the command line says of the vectors of a new table; None where it says nothing."""

    dimensions: int | None = None
    query_prefix: str | None = None
    document_prefix: str | None = None


def model_for_new_table(
    settings: config.Settings, *, is_embedded: bool, options: VectorOptions | None = None
) -> Model:
    """Return the model that the settings name, else the default.

    With an API key, the default is the tutorial's model; without one, in an embedded
    store, the sentence model if it was downloaded, else the offline model. On TiDB there
    is none, and UsageError is raised.

    A model that only a server has is asked for one vector, to learn its dimensions.

    Raises UsageError for a model, dimensions or a prefix that cannot be.
    """
    options = options or VectorOptions()
    model = _named_model(settings) or _default_model(settings, is_embedded=is_embedded)
    if model.name in DOWNLOADS:
        find_weights(model.name, config.models_directory(settings))
    if options.dimensions is not None:
        model = with_dimensions(model, options.dimensions)
    recipe = model.recipe._replace(
        query_prefix=_checked_prefix(options.query_prefix, "--query-prefix"),
        document_prefix=_checked_prefix(options.document_prefix, "--document-prefix"),
    )
    model = model._replace(recipe=recipe)
    if model.recipe.provider == "api":
        from jtv_cli.embedders.fingerprint import learn

        return learn(open_model(settings, model))
    return model


def open_model(settings: config.Settings, model: Model, *, truncate: bool = False) -> Embedder:
    """Open the embedder of a model with what the settings say of its service.

    Raises UsageError where the API key is missing, or the API base cannot be used.
    """
    if model.runs_in_process:
        directory = None if model.is_builtin else config.models_directory(settings)
        return open_embedder(model, EmbedderOptions(models_directory=directory))
    from jtv_cli.embedders.api.endpoint import parse_base

    api_base, api_key = config.find_api(settings)
    parse_base(api_base, f"the API base ({settings.api_base.source})")
    return open_embedder(model, EmbedderOptions(api_base, api_key, truncate))


def model_for_table(settings: config.Settings, spec: TableSpec) -> Model:
    """Return the model to use with a table: its own, or the one of the same space named.

    Raises UsageError if this version does not have the table's model.
    """
    named = _named_model(settings) if settings.model.source == "--model" else None
    if named is None or not _is_same_space(named, spec):
        return model_of(spec)
    if named.name == spec.model and named.provider == model_of(spec).provider:
        return model_of(spec)
    return with_dimensions(named, spec.dimensions)


def require_model(settings: config.Settings, spec: TableSpec) -> None:
    """Raise TableMismatch where --model names another model than the table's."""
    if settings.model.source != "--model":
        return
    named = _named_model(settings)
    assert named is not None
    if _is_same_space(named, spec):
        return
    if named.recipe.provider == "api":
        # Its dimensions are not known without asking the server.
        named = named._replace(dimensions=spec.dimensions)
    elif spec.dimensions in named.smaller:
        named = with_dimensions(named, spec.dimensions)
    spec.require_same_vectors(spec_for(spec.name, named))


def require_options(spec: TableSpec, options: VectorOptions) -> None:
    """Raise TableMismatch where the options ask for other vectors than a table has."""
    said = {name: value for name, value in options._asdict().items() if value is not None}
    dimensions = said.pop("dimensions", spec.dimensions)
    recipe = spec.recipe._replace(**said)
    spec.require_same_vectors(spec._replace(dimensions=dimensions, recipe=recipe))


def _is_same_space(named: Model, spec: TableSpec) -> bool:
    """Return whether a table's vectors can be compared with those of a model that is named."""
    if spec.recipe.provider == "api" or named.recipe.provider == "api":
        return (named.name, named.provider) == (spec.model, spec.recipe.provider)
    own = MODELS.get(spec.model)
    return (
        named.space == (own.space if own else spec.model)
        and named.task == spec.task
        and spec.dimensions in (named.dimensions, *named.smaller)
    )


def _named_model(settings: config.Settings) -> Model | None:
    if settings.model.value is None:
        return None
    return resolve_model(settings.model.value, is_served=settings.api_base.source != "default")


def _default_model(settings: config.Settings, *, is_embedded: bool) -> Model:
    if settings.api_key.value:
        return find_model(TUTORIAL_MODEL)
    if is_embedded:
        is_there = is_pulled(SENTENCE_MODEL, _models_directory(settings))
        return find_model(SENTENCE_MODEL if is_there else OFFLINE_MODEL)
    raise UsageError("there is no API key", hint="set JINA_API_KEY")


def _models_directory(settings: config.Settings) -> Path | None:
    try:
        return config.models_directory(settings)
    except UsageError:  # there is no home directory
        return None


def _checked_prefix(prefix: str | None, option: str) -> str:
    if prefix is not None and (len(prefix) > _LONGEST_PREFIX or not _is_unicode(prefix)):
        raise UsageError(f"{option} takes up to {_LONGEST_PREFIX} characters of UTF-8")
    return prefix or ""


def _is_unicode(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)
