"""What a run says about fairness, waiting, isolation and throughput."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from math import ceil, inf

from scheduling.core.outcome import Outcome
from scheduling.simulation.record import Gauge, Run, Served
from scheduling.simulation.results import ClassResult, Isolation, Result, TenantResult
from scheduling.simulation.service import curves
from scheduling.simulation.sharing import Sharing


def measure(run: Run) -> Result:
    """The figures of a run."""
    scenario, workload = run.scenario, run.scenario.workload
    sharing = Sharing(run, curves(run.served))
    got, entitled, total = sharing.got(), sharing.entitled(), sum(sharing.got().values())
    queue = _merged(run.engine_queues.values())
    return Result(
        workload=workload.name,
        fairness=scenario.fairness,
        admission=scenario.admission,
        engines=len(workload.engines),
        requests=len(run.served),
        simulated_s=run.ended_ms / 1000,
        tokens_per_s=1000 * sum(map(_tokens, run.served)) / run.ended_ms if run.ended_ms else 0.0,
        engine_queue_mean=_mean(queue),
        engine_queue_p99=held_percentile(queue, 99),
        engine_queue_max=max(queue, default=0),
        idle_while_queued_s=run.idle_while_queued_ms / 1000,
        preemptions=run.preemptions,
        over_limit=run.over_limit,
        outcomes=_outcomes(run.served),
        fair=sharing.figures(),
        cached_share=run.cached_tokens / run.prompt_tokens if run.prompt_tokens else 0.0,
        classes=_classes(run.served),
        tenants=tuple(
            _tenant(served, sharing.weight(name), _part(got[name], total), _part(entitled[name], total))
            for name, served in _by_tenant(run.served).items()
        ),
    )


def isolation(beside: Result, alone: Result, tenant: str) -> Isolation:
    """What the others cost a tenant, from a run with them and one without. Raises KeyError for nobody."""
    with_others, by_itself = beside.tenant(tenant), alone.tenant(tenant)
    return Isolation(
        tenant,
        by_itself.ttft_p50_s,
        by_itself.ttft_p99_s,
        _factor(with_others.ttft_p50_s, by_itself.ttft_p50_s),
        _factor(with_others.ttft_p99_s, by_itself.ttft_p99_s),
    )


def percentile(values: Iterable[float], percent: float) -> float:
    """The smallest value that at least this part is not above; 0 when there is none."""
    ordered = sorted(values)
    return ordered[max(0, ceil(len(ordered) * percent / 100) - 1)] if ordered else 0.0


def held_percentile(held_ms: Mapping[int, float], percent: float) -> int:
    """The smallest value that was not exceeded for at least this part of the time; 0 for no time."""
    left = sum(held_ms.values()) * percent / 100
    for value in sorted(held_ms):
        left -= held_ms[value]
        if left <= 0:
            return value
    return 0


def waits_s(served: Iterable[Served]) -> list[float]:
    """Seconds in line of those that got a seat."""
    return [(one.seated_ms - one.arrival.at_ms) / 1000 for one in served if one.seated_ms is not None]


def first_tokens_s(served: Iterable[Served]) -> list[float]:
    """Seconds from arrival to the first token, of those that said one."""
    return [
        (one.first_token_ms - one.arrival.at_ms) / 1000 for one in served if one.first_token_ms is not None
    ]


def _tenant(served: list[Served], weight: int, share: float, entitled: float) -> TenantResult:
    waits, firsts = waits_s(served), first_tokens_s(served)
    return TenantResult(
        tenant=served[0].arrival.tenant,
        weight=weight,
        requests=len(served),
        unserved=sum(one.outcome is not Outcome.OK for one in served),
        share=share,
        entitled=entitled,
        wait_p50_s=percentile(waits, 50),
        wait_p99_s=percentile(waits, 99),
        wait_max_s=max(waits, default=0.0),
        ttft_p50_s=percentile(firsts, 50),
        ttft_p99_s=percentile(firsts, 99),
    )


def _classes(served: Iterable[Served]) -> tuple[ClassResult, ...]:
    by_class: dict[str, list[Served]] = defaultdict(list)
    for one in served:
        by_class[one.arrival.priority_class].append(one)
    return tuple(
        ClassResult(
            name,
            len(each),
            max(waits_s(each), default=0.0),
            percentile(first_tokens_s(each), 50),
            percentile(first_tokens_s(each), 99),
        )
        for name, each in sorted(by_class.items())
    )


def _by_tenant(served: Iterable[Served]) -> dict[str, list[Served]]:
    found: dict[str, list[Served]] = defaultdict(list)
    for one in served:
        found[one.arrival.tenant].append(one)
    return {name: found[name] for name in sorted(found)}


def _outcomes(served: Iterable[Served]) -> dict[str, int]:
    return dict(sorted(Counter(one.outcome or "unfinished" for one in served).items()))


def _merged(queues: Iterable[Gauge]) -> dict[int, float]:
    held: dict[int, float] = defaultdict(float)
    for queue in queues:
        for value, ms in queue.held_ms.items():
            held[value] += ms
    return held


def _mean(held_ms: Mapping[int, float]) -> float:
    total = sum(held_ms.values())
    return sum(value * ms for value, ms in held_ms.items()) / total if total else 0.0


def _tokens(one: Served) -> int:
    return 0 if one.first_token_ms is None else one.arrival.prompt_tokens + one.completion_tokens


def _part(tokens: float, total: float) -> float:
    return tokens / total if total else 0.0


def _factor(longer: float, shorter: float) -> float:
    return longer / shorter if shorter else inf
