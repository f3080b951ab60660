"""The keeper of one backend's seats."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from scheduling.core.bounds import Bounds
from scheduling.core.limits import Limit
from scheduling.core.view import BackendView

if TYPE_CHECKING:
    from scheduling.core.entry import Entry

PROMOTED_ONE_IN = 4  # seats: an aged class must not turn the order of classes upside down
GROWS_BY = 16  # tokens: an answer longer than was thought reserves so far ahead (a block of vLLM's memory)


class Gate(Bounds):
    """May one more request go in? In flight < cap, and pending first tokens < window.

    The window is a measurement of the engine's own queue that needs no
    metrics and has no delay: nothing can burst between two readings, because
    only first tokens and ends open the gate. All other laws leave it out:
    there the cap alone holds, and where the law gives one, the number that
    may be sent until the next limit. An engine that schedules "alone" gets
    all that waits. Source of the idea: "Efficient Request Queueing", TNG,
    2025, part 5.

    A request that does not stream tells no first token. While the engine is
    read it stands in the window until its answer comes, until a reading
    shows it at work (``_free``), or until one that was at work ends and so
    lets the next one begin (``_pass_on``). While there are no readings nothing could
    take it out, so it never stands in the window and the cap alone bounds
    how many there are. That holds for an engine without metrics, one that
    was not read yet, and one that cannot be read any more: who goes in
    before the first reading stays out of the window, and who stood in it
    leaves at the end of the readings. A window full of others holds it back
    in any case, since they show that the engine's own queue is long enough.
    """

    __slots__ = (
        "_reserved_kv_tokens",
        "_seated",
        "_whole",
        "answer_ms",
        "answered",
        "blocked",
        "in_flight",
        "pending",
        "since_promoted",
        "streaming",
    )

    _reserved_kv_tokens: int  # as long as there is a bound to them

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.in_flight = 0
        self.pending = 0
        self.streaming = 0  # past their first token
        self.blocked = False
        # In this period: requests that began to be answered, and the time from dispatch to that, summed.
        self.answered = 0
        self.answer_ms = 0
        self.since_promoted = PROMOTED_ONE_IN - 1  # seats given since the last out of the order of classes
        # Oldest first: who is in flight, and who of them is pending and does not stream.
        self._seated: dict[Entry, None] = {}
        self._whole: dict[Entry, None] = {}

    def move(self, limit: Limit, now_ms: int, read_ms: int | None) -> bool:
        """Obey the limit if it is newer than the one in force; say whether it was."""
        known = self.limit
        if not self._follow(limit, now_ms):
            return False
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
        if self.in_flight >= self.cap - hold and (self.in_flight or not self.cap) and not self._alone:
            return False
        if self._windowed:
            if self.pending >= self.window - hold and (self.pending or not self.window):
                return False
        elif self._grant == 0:
            return False
        return not self.draining and not self.gone and now_ms >= self._shut_until_ms

    def fits(self, entry: Entry) -> bool:
        """Whether the engine has memory left for the ticket. An empty one takes any."""
        if self.kv_tokens is None or not self.in_flight:
            return True
        return self._reserved_kv_tokens + entry.kv_tokens <= self.kv_tokens

    @property
    def reserved_kv_tokens(self) -> int:
        """What requests in flight reserve, summed up when somebody asks."""
        return sum(entry.kv_tokens for entry in self._seated)

    def why_shut(self, hold: int, now_ms: int) -> str:
        """The first cause, the most lasting before the others; empty when it is open."""
        return "" if self.is_open(hold, now_ms) else next(self._causes(now_ms))

    def opens_ms(self, cause: str) -> int | None:
        """When a backend that is shut for this cause opens by itself."""
        return self.looks_up_ms if cause in ("left_alone", "circuit") else None

    def seat(self, entry: Entry, now_ms: int) -> None:
        """One request more in flight, and in the window if anything may take it out again."""
        entry.gate = self
        entry.backend = self.name
        entry.seated_ms = now_ms
        self.in_flight += 1
        streams = entry.ticket.streams
        if streams or self._is_read:
            entry.pending = True
            self.pending += 1
            if not streams:
                self._whole[entry] = None
        self._seated[entry] = None
        if not self.is_plain:
            self._note_seat(entry)

    def begin_period(self) -> None:
        """What is counted of a period begins anew."""
        self.blocked = False
        self.answered = self.answer_ms = 0

    def started(self, entry: Entry) -> bool:
        """A request's first token came, or its whole answer. Whether the circuit closed by it."""
        if entry.pending:
            self._out_of_window(entry)
            if entry.ticket.streams:
                self.streaming += 1
        return self.is_uneasy and self._heard(entry)

    def leave(self, entry: Entry, cost: int) -> None:
        """A request ended; 0: it was given back. One that was served gives a throttled gate one step back."""
        entry.gate = None
        self.in_flight -= 1
        del self._seated[entry]
        if entry.pending:
            self._out_of_window(entry)
        else:
            if entry.ticket.streams:
                self.streaming -= 1
            if self._whole and cost:
                self._pass_on()
        if not self.is_plain:
            self._note_end(entry, cost)

    def grow(self, entry: Entry, completion_tokens: int) -> None:
        """A running request has said so much: what it reserves stays ahead of it."""
        more = entry.ticket.prompt_tokens + completion_tokens + GROWS_BY - entry.kv_tokens
        if more > 0:
            entry.more_kv_tokens += more
            if self.kv_tokens is not None:
                self._reserved_kv_tokens += more

    def view(self, now_ms: int) -> BackendView:
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
            circuit=self.circuit.state(now_ms),
            reserved_kv_tokens=self.reserved_kv_tokens,
            kv_tokens=self.kv_tokens,
            slow_start=self._slow > 0,
            retry_in_ms=self.circuit.retry_in_ms(now_ms),
            answered=self.answered,
            answer_ms=self.answer_ms,
        )

    def _note_seat(self, entry: Entry) -> None:
        if self._grant:
            self._grant -= 1
        if self.kv_tokens is not None:
            self._reserved_kv_tokens += entry.kv_tokens
        if self.is_uneasy:
            self.circuit.seat(entry)
        if self.slack_requests is not None:
            self.prefixes.learn(entry.ticket.prefixes)
        self._look()

    def _note_end(self, entry: Entry, cost: int) -> None:
        if self.kv_tokens is not None:
            self._reserved_kv_tokens -= entry.kv_tokens
        if self.is_uneasy:
            self.circuit.leave(entry)
        if cost and not self._slow:
            if self.window < self._full_window:
                self.window += 1
            if self.cap < self._full_cap:
                self.cap += 1
        self._look()

    def _refill(self, window: int) -> None:
        super()._refill(window)
        if self.kv_tokens is not None:
            self._reserved_kv_tokens = self.reserved_kv_tokens

    def _causes(self, now_ms: int) -> Iterator[str]:
        if self.draining or self.gone:
            yield "draining"
        if now_ms < self.circuit.shut_until_ms:
            yield "circuit"
        if now_ms < self.paused_until_ms:
            yield "left_alone"
        if self.is_open(0, now_ms):
            yield "reserved"
        if self.in_flight >= self.cap:
            yield "slow_start" if self._slow and self.in_flight < self._full_cap else "full"
        if not self._windowed:
            yield "grant"
        yield "slow_start" if self._slow and self.pending < self._full_window else "window"

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
            self._grow(entry)

    def _pass_on(self) -> None:
        """One that was at work has ended, so the oldest that may still wait at the engine begins.

        If that is a stream its first token will tell. Without this, answers
        shorter than the time between two readings would leave seats empty.
        """
        oldest = next(iter(self._whole))
        if self.pending > len(self._whole):
            for entry in self._seated:
                if entry is oldest:
                    break
                if entry.pending:
                    return
        self._out_of_window(oldest)

    def _out_of_window(self, entry: Entry) -> None:
        entry.pending = False
        self.pending -= 1
        if self._whole:
            self._whole.pop(entry, None)
