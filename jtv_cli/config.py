"""Settings: a flag > the environment > the nearest `.env` > `config.env` > a default.

They are resolved once. Each value remembers where it came from, so that jtv can
say it, and so that a key is never sent where somebody else's `.env` points.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from jtv_cli.errors import DATABASE_URL_HINT, UsageError, register_secret
from jtv_cli.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DEFAULT_TABLE = "jinaai_tidb_demo_documents"
JINA_API = "https://api.jina.ai"

_DATABASE = ("JTV_DATABASE", "TIDB_DATABASE_URL")
_API_KEY = ("JINA_API_KEY", "JINAAI_API_KEY")
NAMES = (*_DATABASE, "JTV_TABLE", "JTV_MODEL", *_API_KEY, "JINA_API_BASE")
_OUR_LINE = re.compile(
    rf"^[ \t]*(?:export[ \t]+)?['\"]?(?P<name>{'|'.join(NAMES)})\b"
    r"(?P<equals>['\"]?[ \t]*=)?",
    re.MULTILINE,
)

# TiDB takes 64 characters, and the longest name made from a table's adds 12.
_TABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,51}")
_RESERVED = re.compile(r"(jtv|sqlite)_.*|.*_(occurrences|sources|by_document)", re.IGNORECASE)

# Something with a password and no ://, like Go's USER:PASSWORD@tcp(HOST:4000)/DATABASE.
_CREDENTIALS = re.compile(r"(//)?[^/]*:.*@", re.DOTALL)


class Setting(NamedTuple):
    """A value and where it came from, in words; `file` is the file it stood in, if any."""

    value: str | None
    source: str
    file: Path | None = None


class Settings(NamedTuple):
    """Everything a command can be told from outside."""

    database: Setting
    tidb_url: Setting
    table: Setting
    model: Setting
    api_key: Setting
    api_base: Setting


class Flags(NamedTuple):
    """What the command line says of the settings; None where it says nothing."""

    database: str | None = None
    table: str | None = None
    model: str | None = None
    api_base: str | None = None


class Database(NamedTuple):
    """Which store to open: a path or a URL. `is_default` is jtv's own file in the data folder."""

    location: str
    source: str
    is_embedded: bool
    is_default: bool = False


class _Layer(NamedTuple):
    """One place that settings come from, with those of jtv's names that it holds."""

    label: str
    values: Mapping[str, str]
    file: Path | None = None


def load_settings(flags: Flags) -> Settings:
    """Resolve every setting once. The environment is read, never changed.

    Raises UsageError for a value that cannot be used, or a settings file that
    cannot be read.
    """
    layers = list(_layers())
    settings = Settings(
        database=_flag(flags.database, "--database") or _from_layers(layers, _DATABASE, "embedded"),
        tidb_url=_from_layers(layers, ("TIDB_DATABASE_URL",)),
        table=_flag(flags.table, "--table") or _from_layers(layers, ("JTV_TABLE",), DEFAULT_TABLE),
        model=_flag(flags.model, "--model") or _from_layers(layers, ("JTV_MODEL",)),
        api_key=_from_layers(layers, _API_KEY),
        api_base=_flag(flags.api_base, "--api-base")
        or _from_layers(layers, ("JINA_API_BASE",), JINA_API),
    )
    _keep_secrets(settings)
    check_table(settings.table)
    return settings


def find_database(settings: Settings, named: Setting | None = None) -> Database:
    """Return the store that the settings name, or that `named` does in their place.

    A relative path in a settings file counts from that file's folder.

    Raises UsageError where that is none.
    """
    setting = named or settings.database
    value = setting.value or ""
    if value == "tidb":
        if settings.tidb_url.value is None:
            raise UsageError("TIDB_DATABASE_URL is not set", hint="set it to your cluster's URL")
        setting = settings.tidb_url
        value = settings.tidb_url.value
    if "://" in value:
        return Database(value, setting.source, is_embedded=False)
    if setting == settings.tidb_url or _CREDENTIALS.match(value):
        # Nothing of it is shown: there may be a password in it.
        raise UsageError(f"the database URL ({setting.source}) has no ://", hint=DATABASE_URL_HINT)
    if value == "embedded":
        path = _user_folder("data") / "jtv.db"
        return Database(str(path), setting.source, is_embedded=True, is_default=True)
    folder = setting.file.parent if setting.file else Path()
    return Database(str(folder / os.path.expanduser(value)), setting.source, is_embedded=True)  # noqa: PTH111


def flagged(value: str, name: str) -> Setting:
    """Return what a flag says; a password in it is never shown.

    Raises UsageError where it says nothing.
    """
    if not value.strip():
        raise UsageError(f"{name} is empty")
    setting = Setting(value, name)
    _keep_password(setting)
    return setting


def find_api(settings: Settings) -> tuple[str, str | None]:
    """Return the API's base and the key to send there.

    A `.env` may have come with somebody else's folder: an API base from it is used
    with a key from the same file, or none.

    Raises UsageError where the key comes from elsewhere.
    """
    base, key = settings.api_base, settings.api_key
    assert base.value is not None
    foreign = base.file is not None and base.file.name == ".env" and base.file != key.file
    if foreign and key.value is not None:
        raise UsageError(
            f"the API key ({key.source}) is not sent to the API base of {base.file}",
            hint="if you trust it, name it with --api-base",
        )
    return base.value, key.value


def check_table(setting: Setting) -> None:
    """Raise UsageError for what cannot be a table's name."""
    name = setting.value or ""
    if not _TABLE_NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} ({setting.source}) cannot be a table's name",
            hint="take up to 52 ASCII letters, digits and underscores, no digit first",
        )
    if _RESERVED.fullmatch(name):
        raise UsageError(f"the table name {name} is jtv's own", hint="choose another")


def wants_color() -> bool:
    """Return whether the environment leaves a terminal its colours (https://no-color.org)."""
    return not os.environ.get("NO_COLOR") and not is_dumb_terminal()


def is_dumb_terminal() -> bool:
    """Return whether the terminal can only print line after line."""
    return os.environ.get("TERM") == "dumb"


def _flag(value: str | None, name: str) -> Setting | None:
    return None if value is None else flagged(value, name)


def _from_layers(
    layers: list[_Layer], names: tuple[str, ...], default: str | None = None
) -> Setting:
    """Return the first of the names that the first layer with any of them sets."""
    for layer in layers:
        for name in names:
            if value := layer.values.get(name):
                return Setting(value, f"{name} in {layer.label}", layer.file)
    return Setting(default, "default")


def _layers() -> Iterator[_Layer]:
    yield _Layer("the environment", _known_names(os.environ))
    yield from filter(None, (_nearest_dotenv(), _config_file()))


def _nearest_dotenv() -> _Layer | None:
    """Return the first `.env`, from the working folder upwards, that holds one of the names."""
    try:
        folder = Path.cwd()
    except FileNotFoundError:  # the working folder was deleted
        return None
    return next(filter(None, (_file_layer(f / ".env") for f in (folder, *folder.parents))), None)


def _config_file() -> _Layer | None:
    try:
        folder = _user_folder("config")
    except UsageError:
        return None
    return _file_layer(folder / "config.env")


def _file_layer(path: Path) -> _Layer | None:
    """Return what a settings file says, None where it says nothing of jtv's."""
    try:
        # A folder called .env is some people's virtual environment.
        text = path.read_text("utf-8-sig") if path.is_file() else ""
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8", hint="save it as UTF-8") from error
    if not any(name in text for name in NAMES):
        return None
    values = _known_names(_parse(text, path))
    return _Layer(printable(str(path)), values, path) if values else None


def _parse(text: str, path: Path) -> Mapping[str, str | None]:
    """Return the settings in a file; a line that names none of jtv's may be anything.

    Nothing is interpolated: ${JINA_API_KEY} in a foreign file would carry the key away.
    """
    import io

    from dotenv.parser import parse_stream

    values: dict[str, str | None] = {}
    for binding in parse_stream(io.StringIO(text)):
        broken = binding.original.string if binding.error else ""
        if ours := _OUR_LINE.search(broken):
            line = binding.original.line + broken.count("\n", 0, ours.start("name"))
            name, quotes = ours["name"], "look at the quotation marks there, and above"
            raise UsageError(
                f"{printable(str(path))}:{line}: {name} cannot be read",
                hint=quotes if ours["equals"] else f"write {name}=VALUE",
            )
        if binding.key is not None:
            values[binding.key] = binding.value
    return values


def _known_names(values: Mapping[str, str | None]) -> dict[str, str]:
    """Return those of jtv's names that are set; an empty value counts as none."""
    return {name: value.strip() for name in NAMES if (value := values.get(name)) and value.strip()}


def _user_folder(kind: str) -> Path:
    import platformdirs

    find = platformdirs.user_data_path if kind == "data" else platformdirs.user_config_path
    folder = find("jtv", appauthor=False)
    if not folder.is_absolute():
        raise UsageError(
            f"there is no home folder to keep jtv's {kind} in",
            hint="name a file with --database or JTV_DATABASE",
        )
    return folder


def _keep_secrets(settings: Settings) -> None:
    """Have the key and the passwords of URLs masked wherever they might be shown."""
    register_secret(settings.api_key.value or "")
    for setting in (settings.database, settings.tidb_url):
        _keep_password(setting)


def _keep_password(setting: Setting) -> None:
    rest = (setting.value or "").partition("://")[2]
    # A ? begins the query, which may have another @ in it, or is a character of the password.
    for part in (rest, rest.partition("?")[0]):
        register_secret(part.rpartition("@")[0].partition(":")[2])
