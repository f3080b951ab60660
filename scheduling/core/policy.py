"""The rules in force: one immutable whole, swapped at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from scheduling.core.usage import DEFAULT_COST, CostRule

FAIRNESS = (
    "fifo",
    "round_robin",
    "weighted_round_robin",
    "deficit_round_robin",
    "least_in_flight",
    "vtc",
    "token_fair",
)
ADMISSION = ("first_token_window", "queue_target", "tpot_target", "static_cap", "gradient")
STALE = ("keep", "open", "closed")
ENGINE_PRIORITY = ("off", "with_window", "alone")
ENGINES = (
    "vllm",
    "sglang",
    "tgi",
    "llamacpp",
    "triton",
    "trtllm",
    "nim",
    "lmdeploy",
    "ollama",
    "openai",  # any server that speaks its API, without metrics that we know
)
PRIORITY_ENGINES = ("vllm", "sglang")  # these order their own queue by a number in the request
PRIORITY_ORDERS = ("low_first", "high_first")
IN_FLIGHT = "in_flight"
REQUESTS_PER_MINUTE = "requests_per_minute"
TOKENS_PER_MINUTE = "tokens_per_minute"
QUEUED = "queued"
TOKENS_PER_DAY = "tokens_per_day"
TOKENS_PER_MONTH = "tokens_per_month"
SPEND_PER_MONTH = "spend_per_month"  # micro-units of the installation's currency
MINUTE_KINDS = (REQUESTS_PER_MINUTE, TOKENS_PER_MINUTE)  # their allowance comes back within the minute
BUDGET_KINDS = (TOKENS_PER_DAY, TOKENS_PER_MONTH, SPEND_PER_MONTH)
MAX_QUOTA = 10**15  # of any kind: far above use, and exact in every language that may count it
QUOTA_KINDS = (*MINUTE_KINDS, IN_FLIGHT, QUEUED, *BUDGET_KINDS)

MAX_WEIGHT = 1000
DEFAULT_WEIGHT = 1
MAX_BOOST = 100  # times a weight: enough to be next, and keys still move by whole steps
DEFAULT_CLASS = "standard"
DEFAULT_MAX_IN_FLIGHT = 32  # until an engine says how many requests it takes


def _empty() -> Mapping[str, int]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class TenantRule:
    """A tenant's share and limits. ``quotas`` maps a quota kind to its limit.

    ``in_flight`` is obeyed by the scheduler: a tenant that holds so many
    seats in the pool is passed over until one is free. The other kinds are
    the gateway's, asked before a ticket is made. An ``in_flight`` below 1
    raises ValueError: nobody would go, and nobody be told. ``model_quotas`` bound the
    tenant's requests for one model in the same ways. A minute's quota lets
    requests wait for it, unless its kind is in ``refusing`` (the tenant's
    under ``""``, else under the model). Of a paused tenant nothing is seated;
    of a boosted one the weight counts ``boost`` times until ``boost_until_s``
    (Unix time).
    """

    slug: str
    weight: int = DEFAULT_WEIGHT
    priority_class: str = DEFAULT_CLASS
    suspended: bool = False
    quotas: Mapping[str, int] = field(default_factory=_empty)
    model_quotas: Mapping[str, Mapping[str, int]] = field(default_factory=lambda: MappingProxyType({}))
    refusing: Mapping[str, frozenset[str]] = field(default_factory=lambda: MappingProxyType({}))
    paused: bool = False
    boost: int = 1
    boost_until_s: float = 0.0

    def __post_init__(self) -> None:
        for quotas in (self.quotas, *self.model_quotas.values()):
            if IN_FLIGHT in quotas and (most := quotas[IN_FLIGHT]) < 1:
                raise ValueError(f"{IN_FLIGHT} of tenant {self.slug} is {most}; suspend it to let nobody in")

    def boost_at(self, now_s: float) -> int:
        """How many times the weight counts at that Unix time; 1 once the boost has ended."""
        return self.boost if now_s < self.boost_until_s else 1

    def most(self, kind: str, model: str = "") -> int | None:
        """The limit of this kind, for one model if it is named; None when there is none."""
        quotas = self.model_quotas.get(model) if model else self.quotas
        return quotas.get(kind) if quotas else None


@dataclass(frozen=True, slots=True)
class Prices:
    """What a model's tokens cost: micro-units of the installation's currency per million tokens."""

    prompt: int = 0
    cached: int = 0  # of prompt tokens that the engine had in its cache
    completion: int = 0

    def spend(self, prompt_tokens: int, cached_tokens: int, completion_tokens: int) -> int:
        """Micro-units, rounded up. ``prompt_tokens`` include the cached ones."""
        fresh_tokens = max(0, prompt_tokens - cached_tokens)
        millionths = (
            fresh_tokens * self.prompt + cached_tokens * self.cached + completion_tokens * self.completion
        )
        return -(-millionths // 1_000_000)


FREE = Prices()


@dataclass(frozen=True, slots=True)
class ClassRule:
    """A band: lower ``rank`` goes first; a head older than ``max_wait_ms`` is promoted.

    ``reserved_seats`` of every backend stay free for this class and better
    ones; ``lent_seats`` of them are lent to worse classes while nobody of this
    one waits, and come back as the borrowers end.
    """

    name: str
    rank: int
    reserved_seats: int = 0
    max_wait_ms: int | None = None
    lent_seats: int = 0


@dataclass(frozen=True, slots=True)
class PoolRule:
    """How one pool shares and admits."""

    name: str
    fairness: str = "token_fair"
    admission: str = "first_token_window"
    window_requests: int = 3  # dispatched and still without a first token, per backend
    engine_queue_target_requests: int = 3  # article part 5: keep the engine's queue near three
    tpot_target_ms: int | None = None  # article part 5: or its time per output token under 150
    stale: str = "keep"
    counts_sent: bool = False  # queue_target: add to the reading what was sent since
    kv_fill_percent: int = 100  # of the engine's KV memory that requests may reserve; 0: no reservation
    prefix_slack_requests: int | None = None  # pending more than the least that a known prefix may cost
    engine_priority: str = "off"  # article part 6: send our order on, beside the window or instead of it
    cost: CostRule = DEFAULT_COST
    paused: bool = False  # nothing is seated; what runs goes on


@dataclass(frozen=True, slots=True)
class BackendRule:
    """One engine at one URL, as the scheduler sees it. Empty ``models`` means every model of its pool.

    With ``learns_cap`` the engine's own word on how many requests it takes
    replaces ``max_in_flight``, which holds until it was heard. ``kv_tokens``
    is what its KV memory holds; None: as it says itself, else unknown.
    """

    name: str
    pool: str
    models: frozenset[str]
    max_in_flight: int = DEFAULT_MAX_IN_FLIGHT
    draining: bool = False
    engine: str = "openai"
    learns_cap: bool = False
    kv_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class ModelRoute:
    """Where requests for one name go: to one of ``targets`` (model, weight), or where none serves, on.

    ``fallbacks`` are models, tried in order when no backend can serve the
    one before. All are served models, never names of other routes.
    """

    targets: tuple[tuple[str, int], ...]
    fallbacks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Policy:
    """All rules of one revision. Never changed, only replaced."""

    revision: int
    tenants: Mapping[str, TenantRule] = field(default_factory=lambda: MappingProxyType({}))
    classes: Mapping[str, ClassRule] = field(default_factory=lambda: MappingProxyType({}))
    pools: Mapping[str, PoolRule] = field(default_factory=lambda: MappingProxyType({}))
    backends: Mapping[str, BackendRule] = field(default_factory=lambda: MappingProxyType({}))
    models: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))  # model -> pool
    prices: Mapping[str, Prices] = field(default_factory=lambda: MappingProxyType({}))  # model -> its prices
    # Asked name -> its route: an alias, or a served model that has fallbacks.
    routes: Mapping[str, ModelRoute] = field(default_factory=lambda: MappingProxyType({}))
