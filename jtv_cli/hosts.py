"""Hosts: which of them is this machine, and what their addresses are."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine: a lower-case name, or an address without brackets."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def resolve(host: str, port: int, seconds: float) -> Sequence[tuple[Any, ...]]:
    """Return what `socket.getaddrinfo` does for TCP, but within a time.

    The system's resolver cannot be interrupted, and has timeouts of its own: a minute and
    more for several name servers that do not answer.

    Raises OSError if the host has no address, TimeoutError if the time is up.
    """
    import socket
    from queue import Empty

    from jtv_cli.threads import run_within

    try:
        return run_within(seconds, lambda: socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM))
    except Empty:
        raise TimeoutError("the name lookup timed out") from None
