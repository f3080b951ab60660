"""The client of the engines: sends a request on, and hands its answer back as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from types import TracebackType

from gateway.calls import EngineCall, RelayOptions
from gateway.connection import Connection
from gateway.engine_order import with_order
from gateway.failures import BackendFailure, Broken, ConnectFailed
from gateway.reply import Reply
from gateway.upstream import Pool
from gateway.verdict import is_plain, judge
from gateway.watch import Watch
from scheduling.core.usage import Usage
from scheduling.engines.endpoint import Endpoint

__all__ = ["EngineCall", "Relay", "RelayOptions", "Reply"]


class Relay:
    """Carries requests to engines and their answers back, unchanged, at the reader's pace.

    ``on_load`` is given the backend and the words of every load report (an
    ORCA header) that comes with an answer.
    """

    def __init__(self, options: RelayOptions, on_load: Callable[[str, bytes], None] | None = None) -> None:
        self._options = options
        self._on_load = on_load or (lambda backend, report: None)
        self._pools: dict[str, Pool] = {}
        self._retired: list[Pool] = []
        self._watch = Watch(min(options.first_byte_s, options.stall_s))

    def set_endpoints(self, endpoints: Mapping[str, Endpoint]) -> None:
        """Use these backends from the next request on. Answers under way end where they began."""
        before = self._pools
        self._pools = {
            name: before[name]
            if name in before and before[name].endpoint == endpoint
            else Pool(endpoint, self._options)
            for name, endpoint in endpoints.items()
        }
        kept = set(self._pools.values())
        self._retired = [pool for pool in self._retired if pool.size]
        for pool in before.values():
            if pool not in kept:
                pool.retire()
                self._retired.append(pool)

    def open(
        self, backend: str, call: EngineCall, usage: Usage, on_first_token: Callable[[], None]
    ) -> AbstractAsyncContextManager[Reply]:
        """Send a request; the block holds its answer.

        Entering waits for the answer's head and raises a BackendFailure when
        there is none worth passing on. Leaving before the answer's end, in
        any way, closes the engine's connection at once. ``usage`` is written
        as bytes pass. ``on_first_token`` is called once, at the first token
        of a stream or when an answer that is not a stream begins.
        """
        reply = Reply(backend, call, usage, on_first_token, self._options)
        return _Opening(self._pools.get(backend), self._watch, reply, self._on_load)

    def ordered(self, backend: str, call: EngineCall, order: int) -> EngineCall:
        """The call with our order (low first) as the backend's engine understands it, if it does."""
        pool = self._pools.get(backend)
        return replace(call, body=with_order(call.body, order, pool.endpoint)) if pool else call

    async def close(self) -> None:
        """End everything at once; for the time after the drain."""
        await asyncio.gather(*(pool.close() for pool in (*self._pools.values(), *self._retired)))
        self._watch.stop()


class _Opening(AbstractAsyncContextManager[Reply]):
    """The hold on one exchange. A class, because a generator costs twice as much."""

    __slots__ = ("_on_load", "_pool", "_reply", "_watch")

    def __init__(
        self, pool: Pool | None, watch: Watch, reply: Reply, on_load: Callable[[str, bytes], None]
    ) -> None:
        self._pool = pool
        self._on_load = on_load
        self._watch = watch
        self._reply = reply

    async def __aenter__(self) -> Reply:
        try:
            await self._ask()
            if self._reply.load:
                self._on_load(self._reply.backend, self._reply.load)
            if not is_plain(self._reply):
                await judge(self._reply)
            self._reply.begin()
        except BaseException as error:
            self._leave()
            if isinstance(error, BackendFailure):
                error.backend = self._reply.backend
            raise
        return self._reply

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    async def _ask(self) -> None:
        """Until the answer's head is there."""
        if self._pool is None:
            raise ConnectFailed(f"no address is known for backend {self._reply.backend}")
        head = self._pool.head_for(self._reply.call)
        kept = self._pool.take_idle()
        if kept is not None:
            self._send(kept, head)
            try:
                await self._reply.wait_for_head()
            except Broken:
                # The engine closed the kept connection just as we used it:
                # it has not seen this request, so it is asked once more.
                if not self._reply.untouched:
                    raise
                self._leave()
                self._reply = self._reply.anew()
            else:
                return
        self._send(await self._pool.connect(), head)
        await self._reply.wait_for_head()

    def _send(self, connection: Connection, head: bytes) -> None:
        self._watch.add(self._reply)
        connection.send(self._reply, head, self._reply.call.body)

    def _leave(self) -> None:
        self._watch.discard(self._reply)
        self._reply.close()
