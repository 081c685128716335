"""Downloads of weights: resumed after a failure, and checked against their SHA-256."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

import requests
from urllib3.exceptions import HTTPError

from jtv_cli.embedders.api.transport import open_session
from jtv_cli.errors import ServiceDown, ServiceError, ServiceRefused, UsageError
from jtv_cli.hosts import is_loopback
from jtv_cli.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import BinaryIO

    from jtv_cli.embedders.weights import Download, File

_CONNECT_TIMEOUT, _READ_TIMEOUT = 10.0, 60.0
_BLOCK = 1 << 16
_MOST_REDIRECTS = 5  # a hub sends its large files from another host

_RESUME = "run the same command again to resume"


def pull(
    download: Download, directory: Path, *, hub: str, progress: Callable[[str, int], None]
) -> None:
    """Download the files of a model that are not in the directory yet.

    `hub` is the URL of the hub or of a mirror. `progress` is called with a file's name and
    the bytes of it that there are. A file gets its name once it is whole and its SHA-256 is
    right; until then it has ".part" behind it.

    Raises ServiceDown or ServiceRefused where the hub fails or sends something else, and
    UsageError for a hub that cannot be, or a directory that cannot be written.
    """
    with _translated(directory):
        directory.mkdir(parents=True, exist_ok=True)
        for file in download.files:
            if not _is_whole(directory / file.name, file):
                url = f"{_checked_hub(hub)}/{download.repository}/resolve/{download.revision}"
                _fetch(f"{url}/{file.name}", file, directory, progress)


def _checked_hub(hub: str) -> str:
    """Return the hub's URL without a final slash. Raises UsageError if it cannot be one."""
    try:
        parts = urlsplit(hub)
        is_safe = parts.scheme == "https" or is_loopback(parts.hostname or "")
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_url = False
    if not is_url or parts.username or parts.query or parts.fragment:
        raise UsageError("HF_ENDPOINT is not the URL of a hub", hint="set it to https://HOST")
    if not is_safe:
        raise UsageError("HF_ENDPOINT is not an https URL", hint="set it to https://HOST")
    return hub.rstrip("/")


def _fetch(url: str, file: File, directory: Path, progress: Callable[[str, int], None]) -> None:
    part = directory / f"{file.name}.part"
    with part.open("ab") as target:
        _lock(target, part)
        if target.tell() > file.size:
            target.truncate(0)
        if target.tell() < file.size:
            _receive(url, file, target, progress)
    if _sha256(part) != file.sha256:
        part.unlink()
        raise ServiceRefused(
            f"{file.name} from {urlsplit(url).netloc} is not the file it should be:"
            " its SHA-256 differs",
            hint="check HF_ENDPOINT, and run the same command again",
        )
    part.replace(directory / file.name)


def _lock(target: BinaryIO, part: Path) -> None:
    """Raise UsageError if another process downloads the file.

    Windows has no such locks; a file that two processes wrote has the wrong SHA-256 there.
    """
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(target, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UsageError(
            f"another jtv is downloading {printable(str(part))}", hint="wait for it"
        ) from None


def _receive(url: str, file: File, target: BinaryIO, progress: Callable[[str, int], None]) -> None:
    """Append what is missing of a file; from its beginning, if the server sends all of it."""
    host = urlsplit(url).netloc
    start = target.tell()
    with _answer(url, {"Range": f"bytes={start}-"} if start else {}) as response:
        if response.status_code != requests.codes.partial_content:
            target.truncate(0)
        elif not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            raise ServiceRefused(f"{host} sent another part of {file.name}", hint=_RESUME)
        try:
            for block in response.iter_content(_BLOCK):
                if target.tell() + len(block) > file.size:
                    raise ServiceRefused(
                        f"{file.name} from {host} is larger than it should be",
                        hint="check HF_ENDPOINT",
                    )
                target.write(block)
                progress(file.name, target.tell())
        except (requests.RequestException, HTTPError) as error:
            raise _cut_off(file, host) from error
        finally:
            target.flush()
    if target.tell() < file.size:
        raise _cut_off(file, host)


def _cut_off(file: File, host: str) -> ServiceDown:
    return ServiceDown(f"the download of {file.name} from {host} was cut off", hint=_RESUME)


@contextmanager
def _answer(url: str, headers: dict[str, str]) -> Iterator[requests.Response]:
    """Ask for a file, and follow redirects as long as they lead to https or stay on this machine.

    Raises ServiceDown or ServiceRefused for anything but the file.
    """
    for _ in range(_MOST_REDIRECTS + 1):
        response = _get(url, headers)
        with response:
            location = response.headers.get("Location", "")
            if not (300 <= response.status_code < 400 and location):
                _check_status(response, url)
                yield response
                return
        target = urljoin(url, location)
        old, new = urlsplit(url), urlsplit(target)
        if new.scheme != "https" and not (new.scheme == old.scheme == "http" and _is_here(target)):
            raise ServiceRefused(
                f"{old.netloc} redirects to a URL without https", hint="check HF_ENDPOINT"
            )
        url = target
    raise ServiceRefused(f"{urlsplit(url).netloc} redirects too often", hint="check HF_ENDPOINT")


def _get(url: str, headers: dict[str, str]) -> requests.Response:
    host = urlsplit(url).netloc
    with open_session(url, is_local=_is_here(url)) as session:
        try:
            return session.get(
                url,
                # As it is: a length that counts unpacked bytes could not be resumed.
                headers={**headers, "Accept": "*/*", "Accept-Encoding": "identity"},
                timeout=(_CONNECT_TIMEOUT, _READ_TIMEOUT),
                allow_redirects=False,
                stream=True,
            )
        except requests.exceptions.SSLError as error:
            raise ServiceRefused(
                f"no TLS connection to {host} could be set up", hint="see docs/settings.md"
            ) from error
        except (OSError, HTTPError, ValueError) as error:
            raise ServiceDown(f"no answer from {host}", hint=_RESUME) from error


def _check_status(response: requests.Response, url: str) -> None:
    status, host = response.status_code, urlsplit(url).netloc
    if status in (requests.codes.ok, requests.codes.partial_content):
        return
    kind: type[ServiceError] = ServiceDown if status >= 500 or status == 429 else ServiceRefused
    hint = _RESUME if kind is ServiceDown else "check HF_ENDPOINT"
    raise kind(f"{host} answered {status} instead of the file", hint=hint)


def _is_here(url: str) -> bool:
    return is_loopback(urlsplit(url).hostname or "")


def _is_whole(path: Path, file: File) -> bool:
    return path.is_file() and path.stat().st_size == file.size and _sha256(path) == file.sha256


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def _translated(directory: Path) -> Iterator[None]:
    try:
        yield
    except requests.RequestException:
        raise
    except OSError as error:
        raise UsageError(
            f"cannot write to {printable(str(directory))}: {error.strerror}",
            hint="name another directory with JTV_MODELS",
        ) from error
