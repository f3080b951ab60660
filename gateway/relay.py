"""The client of the engines: sends a request on, and hands its answer back as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Never

from msgspec.structs import replace

from gateway.calls import EngineCall, RelayOptions
from gateway.connection import Connection
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
        self._on_load = on_load or (lambda backend, report: None)
        self._pools: dict[str, Pool] = {}
        self._retired: list[Pool] = []
        self._watch = Watch(min(options.first_byte_s, options.stall_s), options.answer_s)

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

    async def ask(
        self,
        backend: str,
        call: EngineCall,
        usage: Usage,
        on_first_token: Callable[[], None],
        runner: Runner | None = None,
    ) -> Reply:
        """Send a request and wait for its answer's head. What is returned is to be given to ``leave``.

        Raises a BackendFailure when there is no answer worth passing on.
        ``usage`` is written as bytes pass. ``on_first_token`` is called once, at the first token of a
        stream or when another answer begins. ``runner`` is whoever asks, if it may wait without a task.
        """
        reply = Reply(backend, call, usage, on_first_token, self._options, runner)
        pool = self._pools.get(backend) or _no_pool(backend)
        try:
            head = pool.head_for(call)
            kept = pool.take_idle()
            while True:
                connection = kept or await _connect(pool, runner)
                self._watch.add(reply)
                connection.send(reply, head, call.body)
                try:
                    while not reply.status:
                        await reply.coming()
                    break
                except Broken as failure:
                    reply, kept = self._anew(reply, failure, kept), None
            if load := reply.head.load:
                self._on_load(backend, load)
            if not is_plain(reply):
                await judge(reply)
            if not reply.streamed:  # it leaves the backend's window here
                on_first_token()
        except BaseException as error:
            self.leave(reply)
            _say_whose(error, backend)
            raise
        return reply

    def _anew(self, reply: Reply, failure: Broken, kept: Connection | None) -> Reply:
        """Ask once more, when the engine closed a kept connection just as we used it: it saw no request."""
        if kept is None or not reply.untouched:
            raise failure
        self.leave(reply)
        return reply.anew()

    def leave(self, reply: Reply) -> None:
        """No more is wanted of the answer. Before its end, the engine's connection is closed at once."""
        self._watch.replies.discard(reply)
        if reply.source is not None:
            reply.close()

    @asynccontextmanager
    async def open(
        self, backend: str, call: EngineCall, usage: Usage, on_first_token: Callable[[], None]
    ) -> AsyncIterator[Reply]:
        """``ask``, and ``leave`` at the end of the block."""
        reply = await self.ask(backend, call, usage, on_first_token)
        try:
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


async def _connect(pool: Pool, runner: Runner | None) -> Connection:
    if runner is not None:
        await runner.in_task()
    return await pool.connect()


def _say_whose(error: BaseException, backend: str) -> None:
    if isinstance(error, BackendFailure):
        error.backend = backend


def _no_pool(backend: str) -> Never:
    failure = ConnectFailed(f"no address is known for backend {backend}")
    failure.backend = backend
    raise failure
