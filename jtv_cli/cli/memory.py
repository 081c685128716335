"""Memory limits: refuse to start what the process has too little memory for.

numpy's libraries do not report a failed allocation: OpenBLAS ends the process with exit
code 1, which for `search` means that nothing was found, or interrupts it.
"""

from __future__ import annotations

import mmap
import sys
from typing import TYPE_CHECKING

from jtv_cli import config
from jtv_cli.errors import OutOfMemory

if TYPE_CHECKING:
    from collections.abc import Sequence

# Bytes of address space that a command with vectors needs at least. numpy with one thread
# takes 110 MiB, measured with its wheels for Linux; jtv's modules and its built-in model
# take 80 MiB.
_ENOUGH = 256 << 20
_MIB = 1 << 20
# What the C library and the dynamic loader say; Python has no exception of its own for them.
_MESSAGES = ("failed to map segment", "cannot allocate memory")
_NO_THREAD = "can't start new thread"


def guard_numpy() -> None:
    """Have the import of numpy raise OutOfMemory if the process's limit is too low for it.

    Without a limit on memory, nothing changes.
    """
    try:
        import resource
    except ImportError:  # Windows has no such limits
        return
    limits = [resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA)]
    finite = [limit for limit in limits if limit != resource.RLIM_INFINITY]
    if finite and "numpy" not in sys.modules:
        # Each further thread would allocate buffers of its own when numpy is imported.
        config.use_one_blas_thread()
        sys.meta_path.insert(0, _NumpyGuard(min(finite)))


class _NumpyGuard:
    """An import hook that checks how much memory is left when numpy is imported first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit

    def find_spec(self, name: str, _path: Sequence[str] | None, _target: object = None) -> None:
        """Raise OutOfMemory for numpy if too little memory is left; find nothing."""
        if name != "numpy":
            return
        try:
            mmap.mmap(-1, _ENOUGH, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
        except OSError:
            raise OutOfMemory(
                f"not enough memory: the process is limited to {self._limit / _MIB:,.0f} MiB, and"
                f" less than {_ENOUGH // _MIB} MiB of that are free",
                hint=f"raise the limit to {2 * _ENOUGH // _MIB} MiB or more:"
                f" ulimit -v {2 * _ENOUGH // 1024}",
            ) from None
        sys.meta_path.remove(self)


def out_of_memory(error: BaseException) -> OutOfMemory | None:
    """Return the error to show if too little memory is the cause of this one, else None."""
    cause: BaseException | None = error
    while cause is not None:
        text = str(cause).lower()
        if _NO_THREAD in text:
            return OutOfMemory(
                "the system refuses to start another thread",
                hint="raise the limits on processes and memory: ulimit -u, ulimit -v",
            )
        if isinstance(cause, MemoryError) or any(message in text for message in _MESSAGES):
            return OutOfMemory(
                "not enough memory",
                hint="raise the limit on memory (ulimit -v), or use a machine with more memory",
            )
        cause = cause.__cause__ or cause.__context__
    return None
