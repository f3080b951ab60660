"""Where an engine's URL leads, checked anew for every connection."""

from __future__ import annotations

import asyncio
import functools
import socket
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

from gateway.failures import AddressRefused, ConnectFailed, NameUnknown
from scheduling.engines.addresses import is_link_local, numeric
from scheduling.engines.endpoint import Endpoint

DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Target:
    """An engine's URL in parts. ``base`` has no trailing slash and may be empty."""

    secure: bool
    host: str
    port: int
    base: bytes
    host_header: bytes

    @classmethod
    def of(cls, endpoint: Endpoint) -> Target:
        """Raises ConnectFailed, with what to mend, when the URL cannot be used."""
        try:
            parts = urlsplit(endpoint.url)
            host, port = parts.hostname or "", parts.port
            host = host if ":" in host else host.encode("idna").decode()
            base = parts.path.rstrip("/").encode("ascii")
        except ValueError as error:
            raise ConnectFailed(f"backend {endpoint.backend}: url {endpoint.url!r}: {error}") from None
        clean = endpoint.url.isprintable() and not set(" @") & set(endpoint.url)
        if parts.scheme not in DEFAULT_PORTS or not host or not clean:
            raise ConnectFailed(
                f"backend {endpoint.backend}: url must be http(s)://host[:port][/base] without a user name"
            )
        usual = DEFAULT_PORTS[parts.scheme]
        name = f"[{host}]" if ":" in host else host
        return cls(
            secure=parts.scheme == "https",
            host=host,
            port=usual if port is None else port,
            base=base,
            host_header=(name if port in (None, usual) else f"{name}:{port}").encode("ascii"),
        )


async def resolve(target: Target, *, link_local: bool) -> list[str]:
    """The numeric addresses behind the target's name, best first.

    Raises NameUnknown, or AddressRefused when all that is found is
    link-local (cloud machines answer there with their credentials) and
    ``link_local`` is false. The caller connects to these addresses and never
    to the name, so what was checked is what is used.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            target.host, target.port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
        )
    except (OSError, UnicodeError) as error:
        raise NameUnknown(f"{target.host} could not be resolved: {error}") from None
    addresses = list(dict.fromkeys(numeric(entry[4]) for entry in found))
    allowed = [address for address in addresses if link_local or not is_link_local(address)]
    if not allowed:
        raise AddressRefused(
            f"{target.host} leads to {', '.join(addresses)}, a link-local address; "
            "FAIRLANE_LINK_LOCAL_BACKENDS=1 allows it"
        )
    return allowed


@functools.lru_cache(maxsize=64)
def tls_context(ca_pem: str) -> ssl.SSLContext:
    """Trusts only ``ca_pem``, or the system's authorities when that is empty. Raises ssl.SSLError."""
    context = ssl.create_default_context(cadata=ca_pem or None)
    context.set_alpn_protocols(["http/1.1"])
    return context
