"""A request that begins where its last byte comes, and goes on where its engine's answer comes.

A task takes its first step a turn of the event loop after it is made, and
each further one a turn after what it waited for. So there is none for as long
as a request waits for nothing but its engine: its coroutine is stepped by
hand. When it comes to wait for anything else, a task steps it from there on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from types import coroutine
from typing import Any

from gateway.client import Client
from gateway.waiting import due
from scheduling.dispatchers.base import PAUSED

TASK = object()  # whoever yields it goes on in a task

Serving = Coroutine[Any, Any, None]


@coroutine
def _into_task() -> Generator[Any, None, None]:
    yield TASK


class EagerClient(Client):
    """One client whose request needs no task: ``work`` is None until it does."""

    _serving: Serving | None  # what is stepped by hand; None at first
    _is_due: bool  # a step will be taken in the next turn of the loop
    _is_cancelled: bool

    def run(self, serving: Serving) -> None:
        """Serve the request as far as that goes without waiting, and see to the rest."""
        self._serving = serving
        self._is_due = self._is_cancelled = False
        self.go_on()

    def go_on(self) -> None:
        """What the request waited for is here. Not for callers in whose midst it would go on."""
        serving = self._serving
        if serving is None or self._is_due:
            return
        try:
            if self._is_cancelled:
                self._is_cancelled = False
                awaited = serving.throw(asyncio.CancelledError())
            else:
                awaited = serving.send(None)
        except (StopIteration, asyncio.CancelledError):
            self._serving = None
        except BaseException:
            self._serving = None
            raise
        else:
            if awaited is not PAUSED:
                self._serving = None
                self.work = self._loop.create_task(_Begun(serving, awaited))
                if self._is_cancelled:
                    self.work.cancel()

    def go_on_soon(self) -> None:
        """As ``go_on``, in the next turn of the loop, or sooner by ``step_due``."""
        if self._serving is not None and not self._is_due:
            self._is_due = True
            due[self] = None
            self._loop.call_soon(self.take_due_step)

    def cancel(self, msg: Any = None) -> None:
        """Raise CancelledError where the request waits, as a task does, and not before it waits."""
        if self.work is not None:
            self.work.cancel(msg)
        elif self._serving is not None:
            self._is_cancelled = True
            self.go_on_soon()

    async def in_task(self) -> None:
        """Go on in a task: what follows asks which one it runs in, as ``asyncio.timeout`` does."""
        if self.work is None:
            await _into_task()

    def take_due_step(self) -> None:
        """Go on if that is due, and be due no more."""
        due.pop(self, None)
        if self._is_due:
            self._is_due = False
            self.go_on()


class _Begun(Coroutine[Any, Any, None]):
    """The rest of a coroutine that waits for something, for a task to step."""

    def __init__(self, rest: Serving, awaited: object) -> None:
        self._rest = rest
        self._awaited = awaited

    def send(self, value: None) -> Any:
        """Tell what is awaited; from then on take steps."""
        awaited, self._awaited = self._awaited, TASK
        return self._rest.send(value) if awaited is TASK else awaited

    def throw(self, *error: Any) -> Any:
        """Raise an error where the coroutine waits, which it does even before a task's first step."""
        self._awaited = TASK
        return self._rest.throw(*error)

    def close(self) -> None:
        """End the coroutine."""
        self._rest.close()

    def __await__(self) -> Generator[Any, Any, None]:
        raise NotImplementedError
