"""Clients that wait for an answer before they ask again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle
from math import ceil

from scheduling.simulation.scenario import Arrival, Clients
from scheduling.simulation.wire import Arrived

Ask = Callable[[Arrival, Arrived], object]  # a request comes; what is called when it has ended


class Crowd:
    """All such clients of a run. ``is_coming``: one of them will ask again, whatever else happens."""

    def __init__(self, ask: Ask, note: Callable[[float, Arrived], None]) -> None:
        self._ask = ask
        self._note = note
        self._coming = 0

    @property
    def is_coming(self) -> bool:
        """Whether somebody is about to ask."""
        return self._coming > 0

    def gather(self, clients: Clients) -> None:
        """Let them begin at their time."""
        requests = cycle(clients.requests)
        for _ in range(clients.count):
            self._later(clients, requests, clients.from_ms)

    def _later(self, clients: Clients, requests: Iterator[tuple[int, int]], at_ms: int) -> None:
        if at_ms < clients.to_ms:
            self._coming += 1
            self._note(at_ms, partial(self._come, clients, requests))

    def _come(self, clients: Clients, requests: Iterator[tuple[int, int]], now_ms: float) -> None:
        self._coming -= 1
        arrival = Arrival(round(now_ms), clients.tenant, *next(requests), streams=clients.streams)
        self._ask(arrival, partial(self._ended, clients, requests))

    def _ended(self, clients: Clients, requests: Iterator[tuple[int, int]], now_ms: float) -> None:
        self._later(clients, requests, ceil(now_ms) + clients.think_ms)
