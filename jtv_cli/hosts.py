"""Tell whether a host is this machine, to which nothing needs to be encrypted."""

from __future__ import annotations

from ipaddress import ip_address


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine: a lower-case name, or an address without brackets."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
