"""Where an engine's name leads, and which addresses are not asked."""

from __future__ import annotations

import ipaddress
import socket


def is_link_local(address: str) -> bool:
    """169.254.0.0/16 and fe80::/10, also when IPv4 is written inside IPv6. Raises ValueError for a name."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        return parsed.ipv4_mapped.is_link_local
    return parsed.is_link_local


def numeric(sockaddr: tuple[object, ...]) -> str:
    """The address of what the resolver found, with its zone, which only link-local IPv6 has."""
    host = str(sockaddr[0])
    zone = sockaddr[3] if len(sockaddr) > 3 else 0
    return f"{host}%{zone}" if zone and "%" not in host else host


def resolved(host: str, port: int) -> list[str]:
    """The numeric addresses behind a name, best first. Raises OSError or UnicodeError when it is unknown."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return list(dict.fromkeys(numeric(entry[4]) for entry in found))
