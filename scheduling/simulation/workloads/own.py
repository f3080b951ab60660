"""Scenarios of our own: each shows one thing that goes wrong in front of shared engines."""

from __future__ import annotations

from dataclasses import replace

from scheduling.simulation.scenario import Clients, EngineSpec, Span, WeightChange, Workload
from scheduling.simulation.workloads.generate import (
    Pace,
    Spread,
    by_popularity,
    dice,
    fixed,
    in_order,
    lognormal,
    paced,
    uniform,
    workload,
)

LONG = 6_000  # tokens at which drawn prompts are cut: an engine's context is 8,192
# Lengths of the Azure trace 2023, conversation (see public.py), for scenarios with everyday requests.
CHAT_PROMPT, CHAT_COMPLETION = Spread(6.633, 0.985, 5_000), Spread(5.019, 0.859, 900)


def flood(seed: int, *, seconds: int = 90, requests_per_s: float = 40.0) -> Workload:
    """A power user sends 40 requests a second for a while; a quiet tenant one every two seconds."""
    rng = dice(seed)
    began, ends = 20, 20 + seconds
    quiet = lognormal(rng, Spread(5.0, 0.6, LONG), Spread(4.6, 0.5, 2_000))
    power = lognormal(rng, Spread(5.5, 0.9, LONG), Spread(5.0, 0.86, 2_000))
    arrivals = [
        *paced(rng, "quiet", Pace(0.5, 0, ends + 20), quiet),
        *paced(rng, "power", Pace(requests_per_s, began, ends), power),
    ]
    return workload("flood", arrivals, began, ends)


def weighted(seed: int, *, seconds: int = 120, requests_per_s: float = 103.0) -> Workload:
    """Weights 3:1, both ask for more than their share; one with many short requests, one with few long."""
    rng = dice(seed)
    arrivals = [
        *uniform(rng, "short", requests_per_s * 100 / 103, seconds, fixed(80, 40)),
        *uniform(rng, "long", requests_per_s * 3 / 103, seconds, fixed(1500, 600)),
    ]
    # Measured when the lengths of answers are learnt: until then predictions give one tenant an advance.
    return replace(workload("weighted", arrivals, seconds // 3, seconds), weights={"short": 3, "long": 1})


def short_answers(seed: int, *, seconds: int = 60, requests_per_s: float = 150.0) -> Workload:
    """150 requests a second with answers of about 20 tokens: too fast for a controller to follow."""
    rng = dice(seed)
    lengths = lognormal(rng, Spread(3.5, 0.5, 200), Spread(2.9, 0.4, 60))
    arrivals = [
        *paced(rng, "classify", Pace(requests_per_s * 2 / 3, 0, seconds), lengths),
        *paced(rng, "extract", Pace(requests_per_s / 3, 0, seconds), lengths),
    ]
    engines = (EngineSpec(max_num_seqs=256),)
    return replace(workload("short-answers", arrivals, 5, seconds), engines=engines)


def kv_tight(seed: int, *, seconds: int = 120, requests_per_s: float = 9.0) -> Workload:
    """Long answers on an engine whose memory holds 24,000 tokens: memory runs out long before seats."""
    rng = dice(seed)
    long = lognormal(rng, Spread(5.5, 0.6, 2_000), Spread(6.2, 0.5, 2_000))
    short = lognormal(rng, Spread(5.0, 0.6, 2_000), Spread(4.6, 0.5, 500))
    arrivals = [
        *paced(rng, "writer", Pace(requests_per_s - 0.5, 10, seconds), long),
        *paced(rng, "quiet", Pace(0.5, 0, seconds + 20), short),
    ]
    return replace(workload("kv-tight", arrivals, 20, seconds), engines=(EngineSpec(kv_tokens=24_000),))


def kv_documents(seed: int, *, seconds: int = 120, requests_per_s: float = 9.0) -> Workload:
    """Long prompts and answers of very different lengths on an engine whose memory holds 24,000 tokens."""
    rng = dice(seed)
    long = lognormal(rng, Spread(6.5, 0.6, 4_000), Spread(6.0, 0.86, 4_000))
    short = lognormal(rng, Spread(5.0, 0.6, 2_000), Spread(4.6, 0.5, 500))
    arrivals = [
        *paced(rng, "reader", Pace(requests_per_s - 0.5, 10, seconds), long),
        *paced(rng, "quiet", Pace(0.5, 0, seconds + 20), short),
    ]
    return replace(workload("kv-documents", arrivals, 20, seconds), engines=(EngineSpec(kv_tokens=24_000),))


def whole_answers(seed: int, *, seconds: int = 120, requests_per_s: float | None = None) -> Workload:
    """64 clients on an engine with 64 seats: their answers come whole, and each asks again after its own.

    Raises ValueError for a rate: they come as fast as they are served.
    """
    if requests_per_s is not None:
        raise ValueError("whole-answers has no rate: its clients ask again when they are served")
    rng = dice(seed)
    lengths = lognormal(rng, CHAT_PROMPT, CHAT_COMPLETION)
    requests = tuple(lengths() for _ in range(1_000))
    clients = Clients("patient", 64, requests, 0, seconds * 1000, streams=False)
    return replace(workload("whole-answers", (), seconds // 4, seconds), clients=(clients,))


def weight_change(seed: int, *, seconds: int = 120, requests_per_s: float = 24.0) -> Workload:
    """Two tenants wait all the time; in the middle an admin gives one of them three times the weight."""
    rng = dice(seed)
    lengths = lognormal(rng, Spread(5.5, 0.5, LONG), Spread(5.0, 0.5, 2_000))
    arrivals = [
        arrival
        for tenant in ("bronze", "gold")
        for arrival in paced(rng, tenant, Pace(requests_per_s / 2, 0, seconds), lengths)
    ]
    changed = WeightChange(seconds * 500, "gold", 3)
    return replace(workload("weight-change", arrivals, 10, seconds), weight_changes=(changed,))


def backend_restart(seed: int, *, seconds: int = 120, requests_per_s: float = 8.0) -> Workload:
    """One of two engines dies half way, with all that it holds, and is back ten seconds later."""
    middle_ms = seconds * 500
    return replace(
        _everyday("backend-restart", seed, seconds, requests_per_s),
        engines=(EngineSpec(),) * 2,
        outages=(Span(middle_ms, middle_ms + 10_000),),
        reads_engines=True,
    )


def metrics_blackout(seed: int, *, seconds: int = 120, requests_per_s: float = 12.0) -> Workload:
    """After 30 seconds no engine shows metrics any more, while there is more work than they can do."""
    return replace(
        _everyday("metrics-blackout", seed, seconds, requests_per_s),
        blackouts=(Span(30_000, seconds * 1000),),
        reads_engines=True,
    )


def slow_backend(seed: int, *, seconds: int = 120, requests_per_s: float = 20.0) -> Workload:
    """One of four engines works at a quarter of the others' speed."""
    engines = (EngineSpec(speed=0.25), EngineSpec(), EngineSpec(), EngineSpec())
    return replace(_everyday("slow-backend", seed, seconds, requests_per_s), engines=engines)


def zipf(seed: int, *, seconds: int = 120, requests_per_s: float = 20.0) -> Workload:
    """A thousand tenants; the n-th sends 1/n of what the first does, and two engines are not enough."""
    rng = dice(seed)
    lengths = lognormal(rng, CHAT_PROMPT, CHAT_COMPLETION)
    arrivals = by_popularity(rng, paced(rng, "", Pace(requests_per_s, 0, seconds), lengths), 1_000, 1.0)
    return replace(workload("zipf", arrivals, 20, seconds), engines=(EngineSpec(),) * 2)


def cancel_storm(seed: int, *, seconds: int = 120, requests_per_s: float = 12.0) -> Workload:
    """Half of all clients leave within ten seconds, in line or in the middle of their answer."""
    rng = dice(seed)
    calm = _everyday("cancel-storm", seed, seconds, requests_per_s)
    arrivals = [
        replace(arrival, leaves_after_ms=rng.randrange(1, 10_000) if rng.random() < 0.5 else None)
        for arrival in calm.arrivals
    ]
    return replace(calm, arrivals=in_order(arrivals))


def _everyday(name: str, seed: int, seconds: int, requests_per_s: float) -> Workload:
    """Requests of everyday lengths, three quarters of them from one of two tenants."""
    rng = dice(seed)
    lengths = lognormal(rng, CHAT_PROMPT, CHAT_COMPLETION)
    arrivals = [
        *paced(rng, "busy", Pace(requests_per_s * 3 / 4, 0, seconds), lengths),
        *paced(rng, "calm", Pace(requests_per_s / 4, 0, seconds), lengths),
    ]
    return workload(name, arrivals, 10, seconds)
