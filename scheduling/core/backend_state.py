"""What the controller knows of one backend, what it remembers, and what one control step may look at."""

from __future__ import annotations

from dataclasses import dataclass

from scheduling.core.limits import EngineLoad, Limit
from scheduling.core.policy import BackendRule, PoolRule


@dataclass(frozen=True, slots=True)
class OwnCounts:
    """What the gateways hold at one backend, summed over all of them."""

    pending: int = 0  # dispatched, still without a first token
    in_flight: int = 0
    blocked: bool = False  # work waited while this gate was shut
    streaming: int = 0  # past their first token
    answered: int = 0  # got their first token since the last step (an answer that is no stream: its end),
    answer_ms: int = 0  # and the time from dispatch to it, summed


@dataclass(frozen=True, slots=True)
class BackendState:
    """The controller's memory of one backend, and what the console shows of it.

    Times are Unix seconds. ``window`` and ``cap`` are the law's own numbers,
    with fractions; ``limit()`` is what gates obey.
    """

    backend: str
    window: float
    cap: float
    given_window: int  # what gates obey: the window less foreign traffic, or the stale rule's
    given_cap: int
    reason: str
    epoch: int = 0
    ticked_at_s: float = 0.0  # the last control step, with or without a reading
    decided_at_s: float = 0.0  # the last step that had news for the gates
    read_at_s: float = 0.0  # the last good reading; 0 when there never was one
    moved_at_s: float = 0.0  # the last time its work counter moved, or nobody was streaming
    running: int | None = None
    waiting: int | None = None
    kv_usage: float | None = None
    preemptions_total: int | None = None
    work_total: int | None = None
    output_token_s: float | None = None  # smoothed
    started_at_s: float | None = None
    error: str = ""
    rule_window: int = 0  # the rules this state grew under: when they change, it starts again
    rule_cap: int = 0  # the full cap: the rule's, or the engine's own word
    stored_at_s: float = 0.0  # the last time a row of it went to Postgres
    given_running: int | None = None  # what gates are told; None when there are no readings (any more)
    law: str = ""  # the admission law and the engine that the numbers above belong to
    engine: str = ""
    max_requests: int | None = None  # the engine's own word, for as long as it does not say another
    kv_tokens: int | None = None
    kv_fill_permille: int = 0  # of the KV memory that requests may reserve; 0: not begun
    capacity: int = 0  # the most requests seen running while KV memory was free; 0: none yet
    room: float = 0.0  # in flight that it takes with a queue of no more than the target; 0: not learnt
    down: bool = False
    signal_at_s: float = 0.0  # the last reading that said what the law goes by
    answer_ms: float | None = None  # dispatch to first token, over a long time (law ``gradient``)
    given_grant: int | None = None
    given_kv_tokens: int | None = None
    empty_readings: int = 0  # good readings in a row at which nothing waited and no more ran than before

    def limit(self) -> Limit:
        """What the backend's gate obeys until the next step."""
        return Limit(
            self.backend,
            self.given_window,
            self.given_cap,
            self.reason,
            self.epoch,
            self.decided_at_s,
            self.given_running,
            self.read_at_s,
            self.given_grant,
            self.given_kv_tokens,
            self.capacity,
            self.down,
        )


@dataclass(frozen=True, slots=True)
class Step:
    """One control step: all it may look at."""

    pool: PoolRule
    backend: BackendRule
    load: EngineLoad
    own: OwnCounts | None  # None: no gateway has told its counts
    now_s: float
    stale_after_s: float
    # A new epoch is no lower than this. The controller gives Unix seconds, so that gates obey it
    # even after its memory was lost; a gateway that reads for itself gives 0, and so never outranks it.
    epoch_floor: int = 0
