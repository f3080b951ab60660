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
    """

    backend: str
    window: int
    cap: int
    reason: str
    epoch: int = 0
    read_at_s: float = 0.0
    running: int | None = None
    running_at_s: float = 0.0


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
