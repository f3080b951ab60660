"""What may be seen of the machine from outside: plain values, cheap to build."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class TenantView:
    """One tenant's line in one pool."""

    tenant: str
    queued: int
    queued_tokens: int  # estimated cost tokens
    oldest_wait_ms: int | None
    in_flight: int
    weight: int
    entitled: float | None  # 0..1 share by weight among tenants with work; None when idle
    classes: tuple[str, ...]
    boost: int = 1  # how many times the weight counts now
    paused: bool = False
    waits_ms: Mapping[str, int] = field(default_factory=dict)  # by class: how long its oldest request waits


@dataclass(frozen=True, slots=True)
class BackendView:
    """One backend's gate."""

    backend: str
    in_flight: int
    pending_first_token: int  # in the window; of those that do not stream, who may still wait at the engine
    window: int
    cap: int
    blocked: bool  # work waited while this gate was shut, since ``begin_period``
    draining: bool
    streaming: int = 0  # past their first token, so the engine's token counter must move
    circuit: str = "closed"  # or "open": left alone since requests failed; "half_open": one at a time tries
    reserved_kv_tokens: int = 0  # by requests in flight
    kv_tokens: int | None = None  # that they may reserve; None: nothing is reserved against
    slow_start: bool = False  # its limits grow from 1 again, one step with each request that is served
    retry_in_ms: int | None = None  # when an open circuit lets the next one try
    answered: int = 0  # since ``begin_period`` too: first tokens (of an answer that is no stream: it came),
    answer_ms: int = 0  # and the time from dispatch to them, summed


@dataclass(frozen=True, slots=True)
class PoolView:
    """One pool: its tenants with work, and its gates."""

    pool: str
    fairness: str
    queued: int
    in_flight: int
    tenants: tuple[TenantView, ...]
    backends: tuple[BackendView, ...]
    paused: bool = False


@dataclass(frozen=True, slots=True)
class Reason:
    """One cause of a wait. ``code`` is for programs, ``text`` for people."""

    code: str
    text: str
    until_ms: int | None = None  # when it ends by itself, on the machine's clock


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a request waits, what holds it back most first.

    ``wait_ms`` is about how much longer, None while nobody can tell;
    ``error_ms`` is by how much such estimates were wrong lately, on average,
    None before one could be checked.
    """

    request_id: str
    position: int
    wait_ms: int | None
    error_ms: int | None
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class Newcomer:
    """A request that might come: whose, in which class, and for which model; "" for any of the pool."""

    tenant: str
    priority_class: str
    model: str = ""


@dataclass(frozen=True, slots=True)
class Foretold:
    """How a request that came now would wait: its place, 0 for none, and about for how long.

    ``wait_ms`` and ``error_ms`` are as in ``Explanation``.
    """

    position: int
    wait_ms: int | None
    error_ms: int | None
