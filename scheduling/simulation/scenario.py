"""What a run is made of: who asks for what and when, the engines that answer, and the rules in force."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from scheduling.core.policy import (
    DEFAULT_WEIGHT,
    IN_FLIGHT,
    BackendRule,
    ClassRule,
    Policy,
    PoolRule,
    TenantRule,
)
from scheduling.simulation.engine.profiles import DEFAULT_PROFILE, PROFILES, StepCosts
from scheduling.simulation.engine.request import BLOCK_SIZE, EngineConfig, SchedulingPolicy

POOL, MODEL = "main", "model"
UNLIMITED = "unlimited"  # no admission control at all: what a plain proxy does
NO_CAP = 1_000_000
UNKNOWN_CAP = 4_096  # a law that moves the cap of an engine which nobody bounded begins here
PREFIX_TOKENS = 512  # that each of an arrival's prefixes covers more than the one before
STEPPED = frozenset({"queue_target", "tpot_target", "gradient"})  # laws that do nothing between control steps


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request as it will turn out to be.

    ``max_tokens`` is what the client allowed (0: it did not say), and all
    that is known of the length before the answer. The client leaves
    ``leaves_after_ms`` after its arrival, wherever its request is then;
    after ``patience_ms`` in line the request expires.
    """

    at_ms: int
    tenant: str
    prompt_tokens: int
    completion_tokens: int
    priority_class: str = "standard"
    user: str = "user"
    streams: bool = True  # False: its answer comes whole, at the end
    max_tokens: int = 0
    leaves_after_ms: int | None = None
    patience_ms: int | None = None
    prefixes: tuple[int, ...] = ()  # hashes of the prompt's 512-token beginnings, shortest first


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """One engine, and how many requests it may hold.

    ``speed`` divides all times of the profile. ``max_in_flight`` None leaves
    the bound to the admission law: the window alone, ``max_num_seqs`` under
    ``static_cap``, and 4,096 under laws that move the cap themselves.
    """

    profile: str = DEFAULT_PROFILE
    max_num_seqs: int = 64
    speed: float = 1.0
    kv_tokens: int | None = None  # None: what the profile's GPU holds
    max_model_len: int = 8192
    max_in_flight: int | None = None
    tells_kv: bool = True  # its metrics say how many tokens its KV memory holds
    sends_headers: bool = False  # its answers carry its load (ORCA)
    scheduling_policy: str = "fcfs"  # or "priority": lower numbers first
    prefix_cache: bool = False

    def costs(self) -> StepCosts:
        """What its steps cost. Raises ValueError for an unknown profile."""
        if self.profile not in PROFILES:
            raise ValueError(f"profile is {self.profile!r}: it must be one of {', '.join(sorted(PROFILES))}")
        return PROFILES[self.profile].faster(self.speed)

    def config(self) -> EngineConfig:
        """Its limits under vLLM's names. Raises ValueError for an unknown policy."""
        known = [policy.value for policy in SchedulingPolicy]
        if self.scheduling_policy not in known:
            raise ValueError(
                f"scheduling_policy is {self.scheduling_policy!r}: it must be one of {', '.join(known)}"
            )
        return EngineConfig(
            max_num_seqs=self.max_num_seqs,
            scheduling_policy=SchedulingPolicy(self.scheduling_policy),
            hash_blocks=PREFIX_TOKENS // BLOCK_SIZE,
            kv_tokens=self.kv_tokens or self.costs().kv_tokens,
            max_model_len=self.max_model_len,
        )

    def cap(self, admission: str) -> int:
        """How many requests it may hold under this admission law."""
        if admission == UNLIMITED:
            return NO_CAP
        unbounded = UNKNOWN_CAP if admission in STEPPED else NO_CAP
        return self.max_in_flight or (self.max_num_seqs if admission == "static_cap" else unbounded)


@dataclass(frozen=True, slots=True)
class WeightChange:
    """An admin gives a tenant another weight."""

    at_ms: int
    tenant: str
    weight: int


@dataclass(frozen=True, slots=True)
class Span:
    """From, inclusive, to, exclusive, of the run. ``engine`` is its place in the workload's engines."""

    from_ms: int
    to_ms: int
    engine: int = 0

    def covers(self, at_ms: float) -> bool:
        """Whether this instant lies in it."""
        return self.from_ms <= at_ms < self.to_ms


@dataclass(frozen=True, slots=True)
class Clients:
    """``count`` clients of one tenant, each of which asks again when its last request has ended.

    They begin at ``from_ms`` and ask nothing more from ``to_ms`` on; the
    first takes the first of ``requests`` (prompt and completion tokens), the
    next the second, and so on in turn. ``think_ms`` pass between an end and
    the next request.
    """

    tenant: str
    count: int
    requests: tuple[tuple[int, int], ...]
    from_ms: int
    to_ms: int
    think_ms: int = 0
    streams: bool = True


@dataclass(frozen=True, slots=True)
class Workload:
    """Arrivals in order of time, and the installation that meets them.

    ``clients`` come beside the arrivals, and wait for their answers. Shares
    are measured from ``from_ms`` to ``to_ms``, while tenants contend.
    In an outage an engine is dead; in a blackout no engine shows metrics.
    """

    name: str
    arrivals: tuple[Arrival, ...]
    from_ms: int
    to_ms: int
    weights: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    engines: tuple[EngineSpec, ...] = (EngineSpec(),)
    weight_changes: tuple[WeightChange, ...] = ()
    outages: tuple[Span, ...] = ()
    blackouts: tuple[Span, ...] = ()
    reads_engines: bool = False  # the controller reads their metrics once a second
    clients: tuple[Clients, ...] = ()

    def alone(self, tenant: str) -> Workload:
        """The same without anybody else's requests. Raises ValueError when it has none."""
        arrivals = tuple(arrival for arrival in self.arrivals if arrival.tenant == tenant)
        clients = tuple(each for each in self.clients if each.tenant == tenant)
        if not arrivals and not clients:
            known = {each.tenant for each in self.arrivals} | {each.tenant for each in self.clients}
            names = ", ".join(sorted(known)[:10])
            raise ValueError(f"{tenant} has no request in {self.name}: it knows {names}")
        return replace(self, arrivals=arrivals, clients=clients)

    def all_stream(self) -> bool:
        """Whether no answer comes whole."""
        return all(each.streams for each in self.arrivals) and all(each.streams for each in self.clients)


@dataclass(frozen=True, slots=True)
class Scenario:
    """A workload under rules.

    ``reads_engines`` None: read when the workload says so, when some answers
    come whole (only readings tell of those), or when the rules need it: a
    target for the time per output token, a law that moves at readings only,
    or memory to reserve. ``knows_lengths`` tells the scheduler how long each
    answer will be (an oracle) instead of letting it predict. ``delay_ms`` is
    the way between gateway and engine, one direction. The other fields are
    those of ``PoolRule``.
    """

    workload: Workload
    fairness: str = "token_fair"
    admission: str = "first_token_window"
    classes: Mapping[str, ClassRule] = field(default_factory=lambda: MappingProxyType({}))
    window_requests: int = 3
    tpot_target_ms: int | None = None
    reads_engines: bool | None = None
    knows_lengths: bool = False
    read_every_ms: int = 1000
    delay_ms: int = 0
    stale: str = "keep"
    counts_sent: bool = False
    kv_fill_percent: int = 0
    prefix_slack_requests: int | None = None
    engine_priority: str = "off"
    in_flight_quotas: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))  # by tenant

    def policy(self) -> Policy:
        """The rules at the beginning, as the scheduler obeys them.

        Raises ValueError when classes reserve seats of an engine that has no cap.
        """
        reserved = any(rule.reserved_seats for rule in self.classes.values())
        caps = {name: spec.cap(self.admission) for name, spec in self.engines().items()}
        if reserved and NO_CAP in caps.values():
            raise ValueError("reserved seats need a cap: give every engine max_in_flight, or use static_cap")
        pool = PoolRule(
            POOL,
            self.fairness,
            "static_cap" if self.admission == UNLIMITED else self.admission,
            window_requests=self.window_requests,
            tpot_target_ms=self.tpot_target_ms,
            stale=self.stale,
            counts_sent=self.counts_sent,
            kv_fill_percent=self.kv_fill_percent,
            prefix_slack_requests=self.prefix_slack_requests,
            engine_priority=self.engine_priority,
        )
        return Policy(
            revision=1,
            tenants=_rules(self.workload.weights, self.in_flight_quotas),
            classes=self.classes,
            pools={POOL: pool},
            backends={
                name: BackendRule(name, POOL, frozenset({MODEL}), cap, engine="vllm")
                for name, cap in caps.items()
            },
        )

    def engines(self) -> dict[str, EngineSpec]:
        """The engines by name."""
        return {f"engine-{n}": spec for n, spec in enumerate(self.workload.engines)}

    def reads(self) -> bool:
        """Whether the engines' metrics are read."""
        if self.reads_engines is not None:
            return self.reads_engines
        workload = self.workload
        return (
            workload.reads_engines
            or self.tpot_target_ms is not None
            or self.admission in STEPPED
            or self.kv_fill_percent > 0
            or not workload.all_stream()
        )


def reweighted(policy: Policy, change: WeightChange) -> Policy:
    """The next revision, in which the tenant has its new weight."""
    rule = replace(policy.tenants.get(change.tenant) or TenantRule(change.tenant), weight=change.weight)
    return replace(policy, revision=policy.revision + 1, tenants={**policy.tenants, change.tenant: rule})


def _rules(weights: Mapping[str, int], quotas: Mapping[str, int]) -> dict[str, TenantRule]:
    return {
        name: TenantRule(
            name,
            weights.get(name, DEFAULT_WEIGHT),
            quotas={IN_FLIGHT: quotas[name]} if name in quotas else {},
        )
        for name in (*weights, *(name for name in quotas if name not in weights))
    }
