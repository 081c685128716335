"""Settings: a flag > the environment > the nearest `.env` > `config.env` > a default.

They are resolved once. Each value keeps its source, so that messages can name it, and so
that a key is never sent to a server that somebody else's `.env` names.
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
    from typing import BinaryIO

DEFAULT_TABLE = "jinaai_tidb_demo_documents"
JINA_API = "https://api.jina.ai"

_DATABASE = ("JTV_DATABASE", "TIDB_DATABASE_URL")
_API_KEY = ("JINA_API_KEY", "JINAAI_API_KEY")
NAMES = (*_DATABASE, "JTV_TABLE", "JTV_MODEL", "JTV_MODELS", *_API_KEY, "JINA_API_BASE")
_OUR_LINE = re.compile(
    rf"^[ \t]*(?:export[ \t]+)?['\"]?(?P<name>{'|'.join(NAMES)})\b"
    r"(?P<equals>['\"]?[ \t]*=)?",
    re.MULTILINE,
)

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

# TiDB takes 64 characters, and the longest name made from a table's adds 12.
_TABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,51}")
# Those of SQLite, and of what belongs to a table; its full-text index has tables of its own.
_RESERVED = re.compile(
    r"(jtv|sqlite)_.*|.*_(occurrences|sources|by_document|full_text(_[a-z]+)?)", re.IGNORECASE
)

# A database URL that lacks its ://, such as Go's USER:PASSWORD@tcp(HOST:4000)/DATABASE or
# mysql:USER:PASSWORD/DATABASE: it may have a password in it.
_CREDENTIALS = re.compile(
    r"(//)?[^/]*:.*@|(jdbc:)?(mysql|mariadb|tidb)[0-9]?(\+\w+)?:", re.DOTALL | re.IGNORECASE
)

# Settings files are small; a larger file that names a setting was hardly meant as one.
_LARGEST_FILE = 1 << 20

_LEAST_COLUMNS = 10

# Of Windows: GetStdHandle, and ENABLE_VIRTUAL_TERMINAL_PROCESSING of SetConsoleMode.
_STDOUT, _STDERR = -11, -12
_ESCAPES = 4


class Setting(NamedTuple):
    """A value and its source, in words.

    `file` is the settings file it was in, if any. `is_explicit` says that the command line,
    or the call of a Python program, names it.
    """

    value: str | None
    source: str
    file: Path | None = None
    is_explicit: bool = False


class Settings(NamedTuple):
    """All settings, resolved."""

    database: Setting
    tidb_url: Setting
    table: Setting
    model: Setting
    api_key: Setting
    api_base: Setting
    models: Setting


class Flags(NamedTuple):
    """The settings given on the command line, or in Python; None for those not given."""

    database: str | None = None
    table: str | None = None
    model: str | None = None
    api_base: str | None = None
    no_key: bool = False
    api_key: str | None = None
    models: str | None = None
    is_from_python: bool = False

    def setting(self, name: str) -> Setting | None:
        """Return a setting that is given, None if it is not. Raises UsageError if it is empty."""
        value: str | None = getattr(self, name)
        if value is None:
            return None
        return flagged(value, f"{name}=" if self.is_from_python else f"--{name.replace('_', '-')}")


class Database(NamedTuple):
    """The store to open: a path or a URL. `is_default`: jtv's own file in the data directory."""

    location: str
    source: str
    is_embedded: bool
    is_default: bool = False


class _Layer(NamedTuple):
    """One source of settings, with the values of jtv's names that it sets."""

    label: str
    values: Mapping[str, str]
    file: Path | None = None


def load_settings(flags: Flags, *, from_environment: bool = True) -> Settings:
    """Resolve every setting once. The environment is read, never changed.

    Without `from_environment`, neither the environment nor settings files are read.

    Raises UsageError for a value that cannot be used, or a settings file that
    cannot be read.
    """
    layers = list(_layers()) if from_environment else []
    settings = Settings(
        database=flags.setting("database") or _from_layers(layers, _DATABASE, "embedded"),
        tidb_url=_from_layers(layers, ("TIDB_DATABASE_URL",)),
        table=flags.setting("table") or _from_layers(layers, ("JTV_TABLE",), DEFAULT_TABLE),
        model=flags.setting("model") or _from_layers(layers, ("JTV_MODEL",)),
        api_key=flags.setting("api_key") or _api_key(layers, no_key=flags.no_key),
        api_base=flags.setting("api_base") or _from_layers(layers, ("JINA_API_BASE",), JINA_API),
        models=flags.setting("models") or _from_layers(layers, ("JTV_MODELS",)),
    )
    _keep_secrets(settings)
    check_table(settings.table)
    return settings


def find_database(settings: Settings, named: Setting | None = None) -> Database:
    """Return the store that the settings name, or the one in `named` instead.

    A relative path in a settings file is relative to that file's directory.

    Raises UsageError if it is not a store.
    """
    setting = named or settings.database
    value = setting.value or ""
    if value == "tidb":
        if settings.tidb_url.value is None:
            raise UsageError("TIDB_DATABASE_URL is not set", hint=f"set it: {DATABASE_URL_HINT}")
        setting = settings.tidb_url
        value = settings.tidb_url.value
    source = setting.source
    ignored = settings.tidb_url.value
    if source.startswith("JTV_DATABASE") and ignored is not None and ignored != value:
        source += "; TIDB_DATABASE_URL is not used"
    if "://" in value:
        return Database(value, source, is_embedded=False)
    if setting == settings.tidb_url or _CREDENTIALS.match(value):
        # Nothing of it is shown: there may be a password in it.
        raise UsageError(f"the database URL ({setting.source}) has no ://", hint=DATABASE_URL_HINT)
    if value == "embedded":
        path = _user_folder("data") / "jtv.db"
        return Database(str(path), source, is_embedded=True, is_default=True)
    folder = setting.file.parent if setting.file else Path()
    return Database(str(folder / os.path.expanduser(value)), source, is_embedded=True)  # noqa: PTH111


def flagged(value: str, name: str) -> Setting:
    """Return the setting that a flag gives; a password in it is never shown.

    Raises UsageError if it is empty.
    """
    if not value.strip():
        raise UsageError(f"{name} is empty")
    setting = Setting(value, name, is_explicit=True)
    _keep_password(setting)
    return setting


def find_api(settings: Settings) -> tuple[str, str | None]:
    """Return the API base and the key to send to it.

    A `.env` may have come with somebody else's directory: an API base from it is used
    with a key from the same file, or without one.

    Raises UsageError if the key comes from elsewhere.
    """
    base, key = settings.api_base, settings.api_key
    assert base.value is not None
    foreign = base.file is not None and base.file.name == ".env" and base.file != key.file
    if foreign and key.value is not None:
        raise UsageError(
            f"the API key ({key.source}) is not sent to the API base in {base.file}",
            hint=f"if you trust this server, add: --api-base {base.value}",
        )
    return base.value, key.value


def models_directory(settings: Settings) -> Path:
    """Return the directory for the weights of models.

    A relative path in a settings file is relative to that file's directory.

    Raises UsageError if there is no home directory.
    """
    setting = settings.models
    if setting.value is None:
        return _user_folder("data") / "models"
    folder = setting.file.parent if setting.file else Path()
    return folder / Path(setting.value).expanduser()


def cache_directory() -> Path:
    """Return the directory for what can be deleted at any time.

    Raises UsageError if there is no home directory.
    """
    return _user_folder("cache")


def hub() -> str | None:
    """Return the URL of a mirror to download weights from, if the environment names one.

    Other tools use the same name, so it is not read from settings files.
    """
    return os.environ.get("HF_ENDPOINT", "").strip() or None


def use_one_blas_thread() -> None:
    """Have numpy, once it is imported, compute in one thread, unless the environment says more."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def check_table(setting: Setting) -> None:
    """Raise UsageError for an invalid table name."""
    name = setting.value or ""
    if not _TABLE_NAME.fullmatch(name):
        raise UsageError(
            f"invalid table name {name!r} ({setting.source})",
            hint="use up to 52 ASCII letters, digits and underscores, and no digit first",
        )
    if _RESERVED.fullmatch(name):
        raise UsageError(f'the table name "{name}" is reserved', hint="choose another name")


def short_path(path: str) -> str:
    """Return a path as people write it: `~` stands for the home directory."""
    home = os.environ.get("HOME", "").rstrip("/")
    return f"~{path[len(home) :]}" if home and path.startswith(f"{home}/") else path


def wants_color() -> bool:
    """Return whether the environment allows colors on a terminal (https://no-color.org)."""
    return not os.environ.get("NO_COLOR") and not is_dumb_terminal()


def is_dumb_terminal() -> bool:
    """Return whether the terminal can only print line after line."""
    return os.environ.get("TERM") == "dumb" or (os.name == "nt" and not _enable_escapes())


def _enable_escapes() -> bool:
    """Let the consoles of Windows obey escape sequences, and return whether they do.

    A stream that is not a console needs nothing.
    """
    import ctypes

    kernel = ctypes.windll.kernel32  # type: ignore[attr-defined,unused-ignore]
    for number in (_STDOUT, _STDERR):
        handle, mode = kernel.GetStdHandle(number), ctypes.c_ulong()
        if kernel.GetConsoleMode(handle, ctypes.byref(mode)) and not kernel.SetConsoleMode(
            handle, mode.value | _ESCAPES
        ):
            return False
    return True


def terminal_columns() -> int | None:
    """Return the width that COLUMNS asks for, None where it is not set or no sensible width."""
    value = os.environ.get("COLUMNS", "")
    columns = int(value) if value.isascii() and value.isdigit() and len(value) < 5 else 0
    return columns if columns >= _LEAST_COLUMNS else None


def has_terminal_links() -> bool:
    """Return whether the terminal ignores OSC 8 links where it does not show them."""
    term = os.environ.get("TERM", "")
    is_old_vte = os.environ.get("VTE_VERSION", "9999") < "5000"
    return term not in {"", "dumb", "linux"} and not is_old_vte


def git_configuration() -> tuple[list[Path], Path | None]:
    """Return the user's git configuration files, later ones first, and the default ignore file."""
    try:
        home = Path.home()
    except RuntimeError:
        return [], None
    folder = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "git"
    return [home / ".gitconfig", folder / "config"], folder / "ignore"


def _from_layers(
    layers: list[_Layer], names: tuple[str, ...], default: str | None = None
) -> Setting:
    """Return the value of the first of the names in the first layer that sets any of them."""
    for layer in layers:
        for name in names:
            if value := layer.values.get(name):
                return Setting(value, f"{name} in {layer.label}", layer.file)
    return Setting(default, "default")


def _api_key(layers: list[_Layer], *, no_key: bool) -> Setting:
    """Return the API key; a variable that is set but empty in the environment means no key."""
    if no_key:
        return Setting(None, "--no-key")
    environment = next(iter(layers), None)
    if environment is None:
        return Setting(None, "default")
    if not any(environment.values.get(name) for name in _API_KEY):
        for name in _API_KEY:
            if name in os.environ:
                return Setting(None, f"{name}, empty, in {environment.label}")
    return _from_layers(layers, _API_KEY)


def _layers() -> Iterator[_Layer]:
    yield _Layer("the environment", _known_names(os.environ))
    yield from filter(None, (_nearest_dotenv(), _config_file()))


def _nearest_dotenv() -> _Layer | None:
    """Return the first `.env`, from the working directory upwards, that holds one of the names."""
    try:
        folder = Path.cwd()
    except OSError:  # the working directory was deleted, or cannot be searched
        return None
    return next(filter(None, (_file_layer(f / ".env") for f in (folder, *folder.parents))), None)


def _config_file() -> _Layer | None:
    try:
        folder = _user_folder("config")
    except UsageError:
        return None
    return _file_layer(folder / "config.env")


def _file_layer(path: Path) -> _Layer | None:
    """Return the settings of jtv in a file, None if there are none.

    Raises UsageError for a file that names one of them and is not UTF-8, is too large, or
    has a line or a value that cannot be used.
    """
    try:
        # A directory called .env is some people's virtual environment.
        if not path.is_file():
            return None
    except OSError:  # the directory cannot be searched
        return None
    where = printable(str(path))
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_FILE + 1)
            if len(content) > _LARGEST_FILE:
                _check_large_file(file, content, where)
                return None
    except OSError as error:
        raise UsageError(f"cannot read {where}: {error.strerror}") from error
    if not _names_one(content):
        return None
    try:
        values = _parse(content.decode("utf-8-sig"), where)
    except UnicodeDecodeError as error:
        raise UsageError(f"{where} is not UTF-8", hint="save it as UTF-8") from error
    return _Layer(where, values, path) if values else None


def _check_large_file(file: BinaryIO, start: bytes, where: str) -> None:
    """Raise UsageError if a file that is too large for a settings file names a setting."""
    block = start
    while block:
        if _names_one(block):
            raise UsageError(
                f"{where} is larger than {_LARGEST_FILE >> 20} MiB, too large for a settings file",
                hint="keep jtv's settings in a file of their own",
            )
        # A name may lie across the border of two blocks.
        more = file.read(_LARGEST_FILE)
        block = block[-32:] + more if more else b""


def _names_one(content: bytes) -> bool:
    return any(name.encode() in content for name in NAMES)


def _parse(text: str, where: str) -> dict[str, str]:
    """Return the settings of jtv in a file; lines that name none of them are ignored.

    Nothing is interpolated: ${JINA_API_KEY} in somebody else's file would carry the key away.
    """
    import io
    import logging

    from dotenv import dotenv_values

    # python-dotenv logs each line that it cannot read; those that matter are found below.
    logging.getLogger("dotenv").addHandler(logging.NullHandler())
    every = dotenv_values(stream=io.StringIO(text), interpolate=False)
    for ours in _OUR_LINE.finditer(text):
        name = ours["name"]
        line = text.count("\n", 0, ours.start("name")) + 1
        whole = ours[0].strip()
        inside = any(whole in value for value in every.values() if value and "\n" in value)
        if name not in every and not inside:
            quotes = "check the quotation marks on this line and above it"
            raise UsageError(
                f"{where}:{line}: {name} cannot be parsed",
                hint=quotes if ours["equals"] else f"write {name}=VALUE",
            )
        if not inside and _CONTROL.search(every.get(name) or ""):
            raise UsageError(
                f"{where}:{line}: the value of {name} contains a control character",
                hint=f"use single quotes, which keep backslashes as they are: {name}='VALUE'",
            )
    return _known_names(every)


def _known_names(values: Mapping[str, str | None]) -> dict[str, str]:
    """Return the values of jtv's names; an empty one counts as not set."""
    return {name: value.strip() for name in NAMES if (value := values.get(name)) and value.strip()}


def _user_folder(kind: str) -> Path:
    import platformdirs

    folder: Path = getattr(platformdirs, f"user_{kind}_path")("jtv", appauthor=False)
    if not folder.is_absolute():
        raise UsageError(
            f"there is no home directory for jtv's {kind}",
            hint="name a file with --database or JTV_DATABASE",
        )
    return folder


def _keep_secrets(settings: Settings) -> None:
    """Register the key and the passwords in URLs as secrets, to be masked in every message."""
    register_secret(settings.api_key.value or "")
    for setting in (settings.database, settings.tidb_url):
        _keep_password(setting)


def _keep_password(setting: Setting) -> None:
    rest = (setting.value or "").partition("://")[2]
    # A ? begins the query, which may contain another @, or is part of the password.
    for part in (rest, rest.partition("?")[0]):
        register_secret(part.rpartition("@")[0].partition(":")[2])
