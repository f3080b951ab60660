"""The client of the engines: sends a request on, and hands its answer back as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Never

from msgspec.structs import replace

from gateway.calls import EngineCall, RelayOptions
from gateway.engine_order import with_order
from gateway.failures import BackendFailure, Broken, ConnectFailed
from gateway.reply import Reply
from gateway.upstream import Pool
from gateway.verdict import is_plain, judge
from gateway.waiting import Runner
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
        self.on_load = on_load or (lambda backend, report: None)
        self._pools: dict[str, Pool] = {}
        self._retired: list[Pool] = []
        patiences = (options.first_byte_s, options.stall_s, options.answer_s or options.stall_s)
        self._watch = Watch(min(patiences))

    def set_endpoints(self, endpoints: Mapping[str, Endpoint]) -> None:
        """Use these backends from the next request on. Answers under way end where they began."""
        before = self._pools
        self._pools = {
            name: before[name]
            if name in before and before[name].endpoint == endpoint
            else Pool(endpoint, self._options, self._watch)
            for name, endpoint in endpoints.items()
        }
        kept = set(self._pools.values())
        self._retired = [pool for pool in self._retired if pool.size]
        for pool in before.values():
            if pool not in kept:
                pool.retire()
                self._retired.append(pool)

    def begin(
        self,
        backend: str,
        call: EngineCall,
        usage: Usage,
        on_first_token: Callable[[], None],
        runner: Runner | None = None,
    ) -> Reply:
        """Send a request if a connection is kept; ``see`` does what is left, and then ``leave`` is due.

        ``usage`` is written as bytes pass. ``on_first_token`` is called once, at the first token of a
        stream or when another answer begins. ``runner`` is whoever asks, if it may wait without a task.
        Raises ConnectFailed.
        """
        pool = self._pools.get(backend) or _no_pool(backend)
        head = pool.head_for(call)
        reply = Reply(backend, call, usage, on_first_token, self._options, runner)
        if kept := pool.take_idle():
            kept.send(reply, head, call.body)
        return reply

    async def see(self, reply: Reply) -> None:
        """Wait until an answer begins that is worth passing on. Raises a BackendFailure if there is none."""
        try:
            by_kept = reply.is_sent
            try:
                await self._hear_head(reply)
            except Broken:
                if not by_kept or not reply.untouched:
                    raise
                # The engine closed a kept connection just as we used it: it saw no request.
                reply.begin_anew()
                await self._hear_head(reply)
            if load := reply.head.load:
                self.on_load(reply.backend, load)
            if not is_plain(reply):
                await judge(reply)
            if not reply.streamed:  # it leaves the backend's window here
                reply.on_first_token()
        except BackendFailure as failure:
            failure.backend = reply.backend
            raise

    async def _hear_head(self, reply: Reply) -> None:
        """Wait for the head of an answer, to a request that is sent by a new connection if it is not yet."""
        if not reply.is_sent:
            await reply.in_task()
            pool, call = self._pools.get(reply.backend) or _no_pool(reply.backend), reply.call
            connection = await pool.connect()
            connection.send(reply, pool.head_for(call), call.body)
        while not reply.status:
            await reply.coming()

    def leave(self, reply: Reply) -> None:
        """No more is wanted of the answer. Before its end, the engine's connection is closed at once."""
        if reply.source is not None:
            reply.close()

    @asynccontextmanager
    async def open(
        self, backend: str, call: EngineCall, usage: Usage, on_first_token: Callable[[], None]
    ) -> AsyncIterator[Reply]:
        """An answer worth passing on. More of it is wanted until the end of the block."""
        reply = self.begin(backend, call, usage, on_first_token)
        try:
            await self.see(reply)
            yield reply
        finally:
            self.leave(reply)

    def ordered(self, backend: str, call: EngineCall, order: int) -> EngineCall:
        """The call with our order (low first) as the backend's engine understands it, if it does."""
        pool = self._pools.get(backend)
        return replace(call, body=with_order(call.body, order, pool.endpoint)) if pool else call

    async def close(self) -> None:
        """End everything at once; for the time after the drain."""
        await asyncio.gather(*(pool.close() for pool in (*self._pools.values(), *self._retired)))
        self._watch.stop()


def _no_pool(backend: str) -> Never:
    raise ConnectFailed(f"no address is known for backend {backend}", backend)
