"""What holds a backend's requests back: limits, memory, its circuit, a pause, a slow start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduling.core.circuit import Circuit
from scheduling.core.limits import Limit
from scheduling.core.policy import BackendRule, PoolRule
from scheduling.core.prefixes import KnownPrefixes
from scheduling.core.timers import NEVER_MS

if TYPE_CHECKING:
    from scheduling.core.entry import Entry

PAUSE_MS = 1000  # an engine that said 429 or 503 gets this long before the next request
MOST_LEARNT = 4096  # requests in flight, whatever an engine says of itself


class Bounds:
    """The numbers that one backend's gate goes by, from its rules, its limits and what became of requests.

    After a restart (a limit of a higher epoch), or when its circuit closes, a
    backend starts slowly: what bounds it (the window, the cap, or both) is 1,
    and one more with each request that was heard of. So a window grows
    1, 2, 3, and a cap doubles with each round.
    """

    __slots__ = (
        "_alone",
        "_bounded_by_cap",
        "_counts_sent",
        "_full_cap",
        "_full_window",
        "_grant",
        "_is_read",
        "_rule",
        "_shut_until_ms",
        "_slow",
        "_windowed",
        "cap",
        "circuit",
        "draining",
        "gone",
        "is_choosy",
        "is_plain",
        "is_uneasy",
        "kv_tokens",
        "learnt",
        "limit",
        "models",
        "name",
        "paused_until_ms",
        "prefixes",
        "slack_requests",
        "window",
    )

    # As ``obey`` set them last.
    models: frozenset[str]
    draining: bool
    gone: bool
    slack_requests: int | None
    """Pending first tokens more than the least that a known prefix may cost; None: prefixes do not count."""
    window: int
    cap: int
    kv_tokens: int | None
    """What requests in flight may reserve; None: as much as they like."""
    is_choosy: bool
    """Whether it matters which ticket goes in: for its memory, or for its prompt's head."""
    learnt: int
    """How many requests it was seen to work on at once; 0: not known."""
    is_uneasy: bool
    """Whether it starts slowly, or requests failed, so that it counts what becomes of the next ones."""
    is_plain: bool
    """Nothing needs to be noted of who goes in and comes out but that."""
    _rule: BackendRule
    _alone: bool
    _counts_sent: bool
    _windowed: bool
    _bounded_by_cap: bool
    _full_window: int
    _full_cap: int
    _shut_until_ms: int  # for a pause, or by the circuit

    def __init__(self, name: str) -> None:
        self.name = name
        self.limit: Limit | None = None
        self.paused_until_ms = 0
        self.circuit = Circuit()
        self.prefixes = KnownPrefixes()
        self._is_read = False
        self._grant: int | None = None  # how many it may still be sent until the next limit
        self._slow = 0  # while it starts slowly: the bound

    def obey(self, rule: BackendRule, pool: PoolRule, models: frozenset[str]) -> None:
        """Follow these rules; a limit in force stays, within them."""
        self.gone = False
        self.models = models
        self.draining = rule.draining
        self.slack_requests = pool.prefix_slack_requests
        self._rule = rule
        self._alone = pool.engine_priority == "alone"
        self._windowed = pool.admission == "first_token_window" and not self._alone
        self._counts_sent = pool.counts_sent and pool.admission == "queue_target" and not self._alone
        if not self._counts_sent:
            self._grant = None
        self._refill(pool.window_requests)

    def throttle(self, now_ms: int) -> None:
        """The engine is full: halve what admits, and wait a moment."""
        if self._slow:
            self._slow = max(1, self._slow // 2)
        if self._windowed:
            self.window = min(self.window, max(1, self.window // 2))
        if self._bounded_by_cap:
            self.cap = min(self.cap, max(1, self.cap // 2))
        self.paused_until_ms = now_ms + PAUSE_MS
        self._look()

    def fail(self, now_ms: int, entry: Entry | None) -> None:
        """A request could not reach it, or was cut off before it heard anything."""
        self.circuit.fail(now_ms, entry)
        self._look()

    @property
    def remains(self) -> bool:
        """Whether who must avoid another backend may hope for this one."""
        return bool(self.cap or self._alone) and not self.draining and self.circuit.is_closed

    @property
    def looks_up_ms(self) -> int | None:
        """When time opens it, if time does."""
        return None if self._shut_until_ms == NEVER_MS else self._shut_until_ms

    def _follow(self, limit: Limit, now_ms: int) -> bool:
        known = self.limit
        if known and (limit.epoch, limit.read_at_s) <= (known.epoch, known.read_at_s):
            return False
        self.limit = limit
        self._is_read = limit.running is not None
        self._grant = limit.grant if self._counts_sent else None
        if known and limit.epoch > known.epoch:
            self.prefixes.forget()
            self._slow = 1
        was_down = known is not None and known.down
        if limit.down and not was_down:
            self.circuit.open(now_ms)
        elif was_down and not limit.down:
            self.circuit.half_open(now_ms)
        self._refill(limit.window)
        return True

    def _heard(self, entry: Entry) -> bool:
        """The backend served somebody. Whether its circuit closed by that."""
        closed = self.circuit.succeed(entry)
        if closed:
            entry.heard = True
            # It still holds its seat: a cap of one would let nobody in before its answer has ended.
            self._slow = 2 if self._bounded_by_cap else 1
            self._bound()
        else:
            self._grow(entry)
        self._look()
        return closed

    def _grow(self, entry: Entry) -> None:
        """One step of a slow start, once for each request."""
        if self._slow and not entry.heard:
            entry.heard = True
            self._slow += 1
            self._bound()

    def _bound(self) -> None:
        """While it starts slowly, what bounds it is the step that was reached, until that is all of it."""
        if not self._slow:
            return
        full = 0
        if self._windowed:
            full = self._full_window
            self.window = min(self._slow, full)
        if self._bounded_by_cap:
            full = max(full, self._full_cap)
            self.cap = min(self._slow, self._full_cap)
        if full and self._slow >= full:
            self._slow = 0

    def _refill(self, window: int) -> None:
        """Begin with the whole window and cap of the limit, or of the rules before there is one."""
        limit, most = self.limit, self._rule.max_in_flight
        if limit:
            window, most = limit.window, min(limit.cap, MOST_LEARNT if self._rule.learns_cap else most)
        self.window = self._full_window = window
        self.cap = self._full_cap = most
        self.learnt = limit.capacity if limit else 0
        self.kv_tokens = limit.kv_tokens if limit and not self._alone else None
        self.is_choosy = self.kv_tokens is not None or self.slack_requests is not None
        # The cap bounds all, or all that do not stream.
        self._bounded_by_cap = not (self._windowed and self._is_read)
        self._bound()
        self._look()

    def _look(self) -> None:
        """After anything that the circuit, a pause or a slow start may follow from."""
        self._shut_until_ms = max(self.paused_until_ms, self.circuit.shut_until_ms)
        self.is_uneasy = bool(self._slow or self.circuit.failures or not self.circuit.is_closed)
        is_cut = self.window < self._full_window or self.cap < self._full_cap
        self.is_plain = not (self.is_uneasy or is_cut or self.is_choosy or self._grant is not None)
