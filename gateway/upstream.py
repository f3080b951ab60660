"""The connections to one engine, kept for the next request."""

from __future__ import annotations

import asyncio
import contextlib
import ssl

from gateway.addresses import Target, resolve, tls_context
from gateway.calls import EngineCall, RelayOptions
from gateway.connection import Connection
from gateway.endpoints import path_at
from gateway.failures import ConnectFailed, Stopping
from gateway.forms import CONTENT_TYPE
from gateway.watch import Watch
from scheduling.engines.endpoint import Endpoint

CLOSE_S = 1.0  # how long closed connections may take to say so
# Engines that tell their load with an answer when asked: vLLM in any case of the word, Triton in lower case.
TELLS_LOAD = frozenset({"vllm", "nim", "triton", "trtllm"})
ASK_LOAD = b"endpoint-load-metrics-format: json\r\n"
JSON_TYPE = b"content-type: application/json\r\n"
LENGTH = b"content-length: "
HEADS_KEPT = 64  # request heads by path; the paths are an allow list, so few

# Ours to set: a copy of the client's would be a way to smuggle, or leak its API token.
FORBIDDEN = frozenset(
    {
        b"authorization", b"connection", b"content-length", b"cookie", b"host", b"proxy-authorization",
        b"te", b"transfer-encoding", b"upgrade", b"accept-encoding", b"content-type", b"x-api-key",
        b"api-key",
    }
)  # fmt: skip


class Pool:
    """The connections to one backend; the one used last is used first."""

    def __init__(self, endpoint: Endpoint, options: RelayOptions, watch: Watch) -> None:
        self.endpoint = endpoint
        self._options = options
        self._watch = watch
        self._idle: list[Connection] = []
        self._all: set[Connection] = set()
        self._heads: dict[str, bytes] = {}
        self._retired = self._closed = False
        self._empty = asyncio.Event()
        self._empty.set()

    def take_idle(self) -> Connection | None:
        """A kept connection that is still good."""
        idle = self._idle
        while idle:
            connection = idle.pop()
            if connection.is_usable():
                return connection
            connection.abort()
        return None

    async def connect(self) -> Connection:
        """A new connection. Raises NameUnknown, AddressRefused, ConnectFailed, Stopping."""
        target = Target.of(self.endpoint)
        try:
            async with asyncio.timeout(self._options.connect_s):
                addresses = await resolve(target, link_local=self._options.link_local)
                connection = await self._connect_any(target, addresses)
        except TimeoutError:
            raise ConnectFailed(
                f"no connection to {target.host} within {self._options.connect_s:g} s"
            ) from None
        if self._closed:
            connection.abort()
            raise Stopping
        return connection

    async def _connect_any(self, target: Target, addresses: list[str]) -> Connection:
        """Try the addresses in turn; each may use its part of the time that is left."""
        loop = asyncio.get_running_loop()
        fault: Exception | None = None
        for tried, address in enumerate(addresses):
            share_s = self._options.connect_s / (len(addresses) - tried)
            try:
                async with asyncio.timeout(share_s):
                    _, connection = await loop.create_connection(
                        lambda: Connection(self, loop.time()),
                        address,
                        target.port,
                        ssl=tls_context(self.endpoint.ca_pem) if target.secure else None,
                        server_hostname=target.host if target.secure else None,
                    )
            except (OSError, ssl.SSLError, TimeoutError) as error:
                fault = error
            else:
                return connection
        raise ConnectFailed(f"no connection to {target.host} port {target.port}: {_said(fault)}") from fault

    def head_for(self, call: EngineCall) -> bytes:
        """The request's head up to the body's length.

        Raises ValueError on a path or header that could smuggle another.
        """
        start = self._heads.get(call.path)
        if start is None:
            start = self._start_of_head(call.path)
            if len(self._heads) < HEADS_KEPT:
                self._heads[call.path] = start
        if headers := call.headers:
            if headers[0][0] == CONTENT_TYPE:  # of a form, which we have written ourselves
                start = start.replace(JSON_TYPE, b"%b: %b\r\n" % headers[0])
                headers = headers[1:]
            return b"%b%b%b" % (start.removesuffix(LENGTH), _lines(headers), LENGTH)
        return start

    def _start_of_head(self, path: str) -> bytes:
        if not path.startswith("/") or not path.isascii() or not path.isprintable() or " " in path:
            raise ValueError(f"path {path!r} cannot be asked of an engine")
        key = self.endpoint.api_key
        if key and not (key.isascii() and key.isprintable()):
            backend = self.endpoint.backend
            raise ConnectFailed(f"backend {backend}: its key holds characters no header may hold", backend)
        target = Target.of(self.endpoint)
        asks = ASK_LOAD if self.endpoint.engine in TELLS_LOAD else b""
        return (
            b"POST %s%s HTTP/1.1\r\nhost: %s\r\nuser-agent: fairlane\r\naccept: */*\r\n"
            b"accept-encoding: identity\r\n%s"
            % (target.base, path_at(path, self.endpoint.engine).encode(), target.host_header, JSON_TYPE)
        ) + (b"authorization: Bearer %s\r\n" % key.encode() + asks + LENGTH if key else asks + LENGTH)

    def retire(self) -> None:
        """Keep nothing from now on; exchanges under way may end."""
        self._retired = True
        for connection in self._idle:
            connection.abort()
        self._idle.clear()

    async def close(self) -> None:
        """End every connection at once, and wait a moment until they are gone."""
        self.retire()
        self._closed = True
        for connection in tuple(self._all):
            connection.break_off()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._empty.wait(), CLOSE_S)

    @property
    def size(self) -> int:
        """Open connections."""
        return len(self._all)

    # -- for its connections

    def add(self, connection: Connection) -> None:
        """A connection stands."""
        self._all.add(connection)
        self._watch.add(connection)
        self._empty.clear()

    def keep(self, connection: Connection) -> None:
        """A connection has done its exchange and may carry another."""
        if self._retired or connection.is_old:
            connection.abort()
        else:
            self._idle.append(connection)

    def age(self, connection: Connection) -> None:
        """A connection is old."""
        if connection in self._idle:
            connection.abort()

    def forget(self, connection: Connection) -> None:
        """A connection is gone."""
        self._all.discard(connection)
        self._watch.forget(connection)
        if not self._all:
            self._empty.set()
        if connection in self._idle:
            self._idle.remove(connection)


def _lines(headers: tuple[tuple[bytes, bytes], ...]) -> bytes:
    for name, value in headers:
        if name.lower() in FORBIDDEN or b"\n" in value or b"\r" in value or b"\n" in name:
            raise ValueError(f"header {name!r} may not be passed to an engine")
    return b"".join([b"%b: %b\r\n" % header for header in headers])


def _said(fault: Exception | None) -> str:
    return str(fault) or type(fault).__name__
