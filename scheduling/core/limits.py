"""How many requests a backend may hold, with the reason for the number."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limit:
    """What the gate of one backend obeys until the next reading.

    ``window`` bounds requests dispatched but still without a first token;
    ``cap`` bounds requests in flight. ``epoch`` and ``read_at_s`` (Unix
    time) let a reader ignore a limit that is not newer than its own.

    ``running`` is how many requests the engine worked on when it was asked,
    at ``running_at_s`` (Unix time, earlier than the decision). It is the only
    word about requests that do not stream. None: there are no readings.

    ``grant`` bounds what may be sent until the next limit (None: nothing
    does). ``kv_tokens`` bounds what requests in flight may reserve of the
    engine's KV memory (None: not known). ``capacity`` is how many requests
    it was seen to work on at once, for routing (0: not known). ``down``:
    nobody answers at its address.
    """

    backend: str
    window: int
    cap: int
    reason: str
    epoch: int = 0
    read_at_s: float = 0.0
    running: int | None = None
    running_at_s: float = 0.0
    grant: int | None = None
    kv_tokens: int | None = None
    capacity: int = 0
    down: bool = False


@dataclass(frozen=True, slots=True)
class EngineLoad:
    """One reading of an engine. None means "not said", never zero."""

    backend: str
    read_at_s: float  # when the engine was asked: what was sent to it later is not in here
    running: int | None = None
    waiting: int | None = None
    kv_usage: float | None = None  # 0..1
    preemptions_total: int | None = None
    output_token_s: float | None = None  # mean time per output token since the reading before
    started_at_s: float | None = None  # the engine's process start: a change means a restart
    error: str = ""  # why there is no reading, e.g. "timeout", "blind: page has no vllm: series"
    work_total: int | None = None  # grows while requests stream; backwards means a restart
    max_requests: int | None = None  # how many it takes at once, by its own configuration
    kv_tokens: int | None = None  # what its KV memory holds, by its own configuration
    down: bool = False  # nobody answers at its address
