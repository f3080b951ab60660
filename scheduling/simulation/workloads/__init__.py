"""Who asks for what and when: workloads by name, made from a seed, or read from a trace."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import wraps
from types import MappingProxyType
from typing import Any

from scheduling.simulation.scenario import Workload
from scheduling.simulation.vtc import workloads as vtc
from scheduling.simulation.workloads import documents, own, public
from scheduling.simulation.workloads.generate import at_pace, by_popularity, dice, until

# Called with a seed, and with ``seconds`` and ``requests_per_s`` where they are not to be its own.
Maker = Callable[..., Workload]


def published(name: str) -> Maker:
    """A workload of the VTC paper, which may be cut short or played at another rate."""
    made = vtc.WORKLOADS[name]

    @wraps(made)
    def make_it(seed: int, *, seconds: int | None = None, requests_per_s: float | None = None) -> Workload:
        workload = made(seed)
        if requests_per_s is not None:
            asked = 1000 * len(workload.arrivals) / workload.to_ms
            workload = at_pace(workload, asked / requests_per_s)
        return workload if seconds is None else until(workload, seconds * 1000)

    return make_it


WORKLOADS: Mapping[str, Maker] = MappingProxyType(
    {
        "flood": own.flood,
        "weighted": own.weighted,
        "short-answers": own.short_answers,
        "kv-tight": own.kv_tight,
        "kv-documents": own.kv_documents,
        "whole-answers": own.whole_answers,
        "documents": documents.documents,
        "weight-change": own.weight_change,
        "backend-restart": own.backend_restart,
        "metrics-blackout": own.metrics_blackout,
        "slow-backend": own.slow_backend,
        "zipf": own.zipf,
        "cancel-storm": own.cancel_storm,
        "azure": public.azure,
        **{trace.name: public.maker(trace) for trace in public.TRACES},
        **{name: published(name) for name in vtc.WORKLOADS if name != "overload-600s"},
    }
)


@dataclass(frozen=True, slots=True)
class Overrides:
    """What a run changes of a workload; None leaves it as it is.

    ``tenants`` gives every request to one of so many tenants, the n-th of
    which has a part that goes with 1/n**zipf. ``engines`` is how many there
    are of the workload's engines, in turn, and ``profile`` what they all are.
    """

    seconds: int | None = None
    requests_per_s: float | None = None
    tenants: int | None = None
    zipf: float = 1.0
    engines: int | None = None
    profile: str | None = None


AS_IT_IS = Overrides()


def make(name: str, seed: int, overrides: Overrides = AS_IT_IS) -> Workload:
    """A workload by its name. Raises KeyError for an unknown one."""
    given: dict[str, Any] = {
        key: value for key in ("seconds", "requests_per_s") if (value := getattr(overrides, key)) is not None
    }
    return changed(WORKLOADS[name](seed, **given), seed, overrides)


def changed(workload: Workload, seed: int, overrides: Overrides) -> Workload:
    """The workload with other tenants and other engines, as far as the overrides say so."""
    if overrides.tenants is not None:
        arrivals = by_popularity(dice(seed), workload.arrivals, overrides.tenants, overrides.zipf)
        workload = replace(workload, arrivals=tuple(arrivals), weights={})
    if overrides.engines is not None:
        engines = (workload.engines * overrides.engines)[: overrides.engines]
        workload = replace(workload, engines=engines)
    if (profile := overrides.profile) is not None:
        workload = replace(
            workload, engines=tuple(replace(spec, profile=profile) for spec in workload.engines)
        )
    return workload
