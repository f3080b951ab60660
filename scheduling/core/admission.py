"""The keeper of one backend's seats, and all keepers of a pool."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from scheduling.core.limits import Limit
from scheduling.core.policy import BackendRule, Policy, PoolRule
from scheduling.core.view import BackendView

if TYPE_CHECKING:
    from scheduling.core.entry import Entry

PROMOTED_ONE_IN = 4  # seats: an aged class must not turn the order of classes upside down
PAUSE_MS = 1000  # an engine that said 429 or 503 gets this long before the next request


class Gate:
    """May one more request go in? In flight < cap, and pending first tokens < window.

    The window is a measurement of the engine's own queue that needs no
    metrics and has no delay: nothing can burst between two readings, because
    only first tokens and ends open the gate. ``static_cap`` leaves it out.
    Source of the idea: "Efficient Request Queueing", TNG, 2025, part 5.

    A request that does not stream tells no first token. While the engine is
    read it stands in the window until its answer comes, or until a reading
    shows it at work (``_free``). While there are no readings nothing could
    take it out, so it never stands in the window and the cap alone bounds
    how many there are. That holds for an engine without metrics, one that
    was not read yet, and one that cannot be read any more: who goes in
    before the first reading stays out of the window, and who stood in it
    leaves at the end of the readings. A window full of others holds it back
    in any case, since they show that the engine's own queue is long enough.
    """

    __slots__ = (
        "_full_cap",
        "_full_window",
        "_is_read",
        "_seated",
        "_whole",
        "_windowed",
        "blocked",
        "cap",
        "draining",
        "gone",
        "in_flight",
        "limit",
        "models",
        "name",
        "paused_until_ms",
        "pending",
        "since_promoted",
        "streaming",
        "window",
    )

    # As ``obey`` set them last.
    models: frozenset[str]
    draining: bool
    gone: bool
    window: int
    cap: int
    _full_window: int
    _full_cap: int
    _windowed: bool

    def __init__(self, name: str) -> None:
        self.name = name
        self.in_flight = 0
        self.pending = 0
        self.streaming = 0  # past their first token
        self.limit: Limit | None = None
        self.paused_until_ms = 0
        self.blocked = False
        self.since_promoted = PROMOTED_ONE_IN - 1  # seats given since the last out of the order of classes
        self._is_read = False
        # Oldest first: who is in flight, and who of them is pending and does not stream.
        self._seated: dict[Entry, None] = {}
        self._whole: dict[Entry, None] = {}

    def obey(self, rule: BackendRule, pool: PoolRule, models: frozenset[str]) -> None:
        """Follow these rules; a limit in force stays, within them."""
        self.gone = False
        self.models = models
        self.draining = rule.draining
        self._windowed = pool.admission == "first_token_window"
        limit = self.limit
        self._refill(
            limit.window if limit else pool.window_requests,
            min(limit.cap, rule.max_in_flight) if limit else rule.max_in_flight,
        )

    def move(self, limit: Limit, max_in_flight: int, read_ms: int | None) -> bool:
        """Obey the limit if it is newer than the one in force; say whether it was."""
        known = self.limit
        if known and (limit.epoch, limit.read_at_s) <= (known.epoch, known.read_at_s):
            return False
        self.limit = limit
        self._refill(limit.window, min(limit.cap, max_in_flight))
        self._is_read = limit.running is not None
        if limit.running is None:
            for entry in list(self._whole):
                self._out_of_window(entry)
        elif read_ms is not None and (known is None or limit.running_at_s > known.running_at_s):
            self._free(limit.running, read_ms)
        return True

    def is_open(self, hold: int, now_ms: int) -> bool:
        """Whether one more may go in, leaving ``hold`` seats to better classes.

        As many places of the window stay free, or a better class would find
        a free seat and three long prompts before it. An empty backend is open
        to every class, and one place of the window, however much is held back.
        """
        if self.in_flight >= self.cap - hold and (self.in_flight or not self.cap):
            return False
        if self._windowed and self.pending >= self.window - hold and (self.pending or not self.window):
            return False
        return not self.draining and not self.gone and now_ms >= self.paused_until_ms

    def why_shut(self, hold: int, now_ms: int) -> str:
        """The first cause, the most lasting before the others; empty when it is open."""
        if self.is_open(hold, now_ms):
            return ""
        if self.draining or self.gone:
            return "draining"
        if now_ms < self.paused_until_ms:
            return "left_alone"
        if self.in_flight >= self.cap:
            return "full"
        return "reserved" if self.is_open(0, now_ms) else "window"

    def opens_ms(self, cause: str) -> int | None:
        """When a backend that is shut for this cause opens by itself."""
        return self.paused_until_ms if cause == "left_alone" else None

    def seat(self, entry: Entry, now_ms: int) -> None:
        """One request more in flight, and in the window if anything may take it out again."""
        self.in_flight += 1
        streams = entry.ticket.streams
        if streams or self._is_read:
            entry.pending = True
            self.pending += 1
            if not streams:
                self._whole[entry] = None
        entry.seated_ms = now_ms
        self._seated[entry] = None

    def started(self, entry: Entry) -> None:
        """A pending request's first token came, or its whole answer."""
        self._out_of_window(entry)
        if entry.ticket.streams:
            self.streaming += 1

    def leave(self, entry: Entry, *, refund: bool) -> None:
        """A request ended. One that was served gives a throttled gate one step back."""
        self.in_flight -= 1
        if entry.pending:
            self._out_of_window(entry)
        elif entry.ticket.streams:
            self.streaming -= 1
        del self._seated[entry]
        if not refund:
            self.window = min(self.window + 1, self._full_window)
            self.cap = min(self.cap + 1, self._full_cap)

    def throttle(self, now_ms: int) -> None:
        """The engine is full: halve what admits, and wait a moment."""
        if self._windowed:
            self.window = min(self.window, max(1, self.window // 2))
        if not (self._windowed and self._is_read):  # the cap bounds all, or all that do not stream
            self.cap = min(self.cap, max(1, self.cap // 2))
        self.paused_until_ms = now_ms + PAUSE_MS

    def view(self) -> BackendView:
        """The gate as it stands."""
        return BackendView(
            backend=self.name,
            in_flight=self.in_flight,
            pending_first_token=self.pending,
            window=self.window,
            cap=self.cap,
            blocked=self.blocked,
            draining=self.draining or self.gone,
            streaming=self.streaming,
        )

    def _free(self, running: int, read_ms: int) -> None:
        """Take out of the window whom a reading of ``read_ms`` shows at work.

        Of the requests dispatched before it, ``in flight - running`` can still
        wait. Where more are pending than that, the oldest that do not stream
        leave. Whoever was dispatched later is not in the reading. Requests
        that ended meanwhile count as running: they made room for the next.

        Each dispatch is looked at by the readings under way at that time, and
        leaves once: O(1) amortised.
        """
        if not self._whole:
            return
        at_work = self.in_flight - self.pending
        for entry in reversed(self._seated):
            if entry.seated_ms < read_ms:
                break
            at_work -= not entry.pending
        for entry in list(islice(self._whole, max(0, running - at_work))):
            if entry.seated_ms >= read_ms:
                break
            self._out_of_window(entry)

    def _out_of_window(self, entry: Entry) -> None:
        entry.pending = False
        self.pending -= 1
        if self._whole:
            self._whole.pop(entry, None)

    def _refill(self, window: int, cap: int) -> None:
        self.window = self._full_window = window
        self.cap = self._full_cap = cap


class Gates:
    """The gates of one pool. A backend that left the policy keeps its gate until it is empty."""

    def __init__(self, pool: str) -> None:
        self._pool = pool
        self._gates: dict[str, Gate] = {}
        self._max_in_flight: dict[str, int] = {}

    def __iter__(self) -> Iterator[Gate]:
        return iter(self._gates.values())

    def get(self, name: str) -> Gate | None:
        """The backend's gate, if the pool has it."""
        return self._gates.get(name)

    def obey(self, policy: Policy) -> None:
        """Follow the policy's backends. One that lists no model has all of its pool."""
        pool = policy.pools.get(self._pool) or PoolRule(self._pool)
        everything = frozenset(name for name, where in policy.models.items() if where == self._pool)
        for gate in self._gates.values():
            gate.gone = True
        for name in sorted(policy.backends):
            rule = policy.backends[name]
            if rule.pool != self._pool:
                continue
            gate = self._gates.get(name) or self._gates.setdefault(name, Gate(name))
            gate.obey(rule, pool, rule.models or everything)
            self._max_in_flight[name] = rule.max_in_flight
        for gate in list(self._gates.values()):
            self.forget_if_gone(gate)

    def move(self, limit: Limit, read_ms: int | None) -> bool:
        """Set one backend's limit; False when it is unknown, or the limit is not newer."""
        gate = self._gates.get(limit.backend)
        if gate is None or gate.gone:
            return False
        return gate.move(limit, self._max_in_flight[gate.name], read_ms)

    def serving(self, model: str) -> list[Gate]:
        """The backends of the policy that have the model, draining ones too."""
        return [gate for gate in self._gates.values() if model in gate.models and not gate.gone]

    def forget_if_gone(self, gate: Gate) -> None:
        """Drop the gate of a backend that left, once its last request has ended."""
        if gate.gone and not gate.in_flight:
            self._gates.pop(gate.name, None)
            self._max_in_flight.pop(gate.name, None)
