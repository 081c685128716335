"""The weights of models that run on this machine: which there are, and where they are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from jtv_cli.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

HUB = "https://huggingface.co"
"""Where weights are downloaded from, unless a mirror is named."""


class File(NamedTuple):
    """A file to download: its size in bytes, and the SHA-256 that it must have."""

    name: str
    size: int
    sha256: str


class Download(NamedTuple):
    """What is downloaded for a model: files of one revision of a repository on a hub."""

    repository: str
    revision: str
    license: str
    files: tuple[File, ...]

    @property
    def size(self) -> int:
        """The bytes of all files."""
        return sum(file.size for file in self.files)


DOWNLOADS = {
    "all-minilm-l6-v2": Download(
        "sentence-transformers/all-MiniLM-L6-v2",
        "c9745ed1d9f207416be6d2e6f8de32d1f16199bf",
        "Apache-2.0",
        (
            File(
                "vocab.txt",
                231_508,
                "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
            ),
            File(
                "model.safetensors",
                90_868_376,
                "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            ),
        ),
    ),
}


def is_pulled(name: str, directory: Path | None) -> bool:
    """Return whether the weights of a model are in the directory of models."""
    if directory is None or name not in DOWNLOADS:
        return False
    try:
        return all(
            (directory / name / file.name).stat().st_size == file.size
            for file in DOWNLOADS[name].files
        )
    except OSError:
        return False


def find_weights(name: str, directory: Path | None) -> Path:
    """Return the directory with a model's weights.

    Raises UsageError where they were not downloaded.
    """
    if directory is None or not is_pulled(name, directory):
        raise UsageError(
            f"the weights of {name} are not on this machine",
            hint=f"download them once: jtv models pull {name}",
        )
    return directory / name
