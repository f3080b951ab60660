"""What the referee knows of backends and of the order inside them, from what was sent and heard alone."""

from __future__ import annotations

from dataclasses import dataclass, field

from scheduling.core.limits import Limit
from scheduling.core.policy import Policy
from scheduling.core.ticket import Ticket
from tests.unit.scheduling.machines import POOL


@dataclass
class Engine:
    """One backend, as what was sent and heard of it makes it."""

    failures: int = 0
    back_off_ms: int | None = None  # None: its circuit is closed
    until_ms: int = 0
    trial: str | None = None
    slow: int | None = None
    is_capped: bool = True
    bounds: list[int] = field(default_factory=lambda: [0])
    grant: int | None = None
    heard: set[str] = field(default_factory=set)
    known: set[int] = field(default_factory=set)

    def fail(self, now_ms: int) -> None:
        if self.back_off_ms is None:
            self.failures += 1
            if self.failures == 3:
                self.trip(1_000, now_ms)
        elif self.trial:
            self.trip(min(30_000, self.back_off_ms * 2), now_ms)

    def trip(self, back_off_ms: int, now_ms: int) -> None:
        self.back_off_ms, self.until_ms = back_off_ms, now_ms + back_off_ms
        self.failures, self.trial = 0, None

    def serve(self, request_id: str) -> None:
        """A first token, or an answer."""
        self.failures = 0
        if self.trial == request_id:
            self.back_off_ms = self.trial = None
            self.slow = 2 if self.is_capped else 1
            self.heard.add(request_id)
        self.step(request_id)

    def step(self, request_id: str) -> None:
        if self.slow and request_id not in self.heard:
            self.slow += 1
            self.heard.add(request_id)

    def seat(self, one: Ticket, *, learns: bool) -> None:
        if self.back_off_ms is not None:
            self.trial = one.request_id
        if self.grant:
            self.grant -= 1
        if learns:
            self.known.update(one.prefixes)

    def takes(self, now_ms: int) -> bool:
        """Whether its circuit lets one in."""
        return self.back_off_ms is None or (not self.trial and self.until_ms <= now_ms)

    def state(self, now_ms: int) -> str:
        if self.back_off_ms is None:
            return "closed"
        return "open" if now_ms < self.until_ms else "half_open"

    def obey(self, limit: Limit, known: Limit | None, now_ms: int) -> None:
        """A newer limit came."""
        was_down = known is not None and known.down
        if known and limit.epoch > known.epoch:
            self.slow = 1
            self.known = set()
        if limit.down and not was_down and self.back_off_ms is None:
            self.trip(1_000, now_ms)
        if was_down and not limit.down:
            self.until_ms = min(self.until_ms, now_ms)

    def settle_in(self) -> None:
        """The slow start is over once it has reached all that bounds the backend, or last did."""
        full = max(self.bounds)
        if self.slow and 0 < full <= self.slow:
            self.slow = None


class Orders:
    """The order among requests inside engines, reckoned from the definition at every step."""

    def __init__(self) -> None:
        self.largest = 0
        self.begins: dict[str, int] = {}
        self.silent: dict[str, int] = {}
        self.inside: set[str] = set()

    def expected(self, one: Ticket, rules: Policy, weight: int) -> int | None:
        """What the ticket that is seated now must be sent with."""
        pool = rules.pools[POOL]
        if pool.engine_priority == "off":
            return None
        rule = rules.classes.get(one.priority_class)
        rank = rule.rank if rule else 0
        if pool.fairness == "fifo":
            return rank << 50
        now = min(self.silent.values(), default=self.largest)
        tag = max(now, self.begins.get(one.tenant, 0))
        cost = max(1, one.prompt_tokens + 2 * one.completion_tokens)
        self.begins[one.tenant] = tag + max(1, 1000 * cost // weight)
        self.silent[one.request_id] = tag
        self.largest = max(self.largest, tag)
        self.inside.add(one.request_id)
        return (rank << 50) + tag // 1000

    def started(self, request_id: str) -> None:
        self.silent.pop(request_id, None)

    def finish(self, request_id: str) -> None:
        self.started(request_id)
        self.inside.discard(request_id)
        if not self.inside:
            self.__init__()

    def obey(self, rules: Policy) -> None:
        if rules.pools[POOL].engine_priority == "off":
            self.__init__()
