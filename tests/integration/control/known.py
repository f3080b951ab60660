"""What a controller may know of one backend, and the rules it is under."""

from __future__ import annotations

from types import MappingProxyType

from scheduling import control_bus
from scheduling.core.control import BackendState, OwnCounts
from scheduling.core.policy import BackendRule, Policy, PoolRule
from scheduling.engines.endpoint import Endpoint

BY = "admin:ada"
NOWHERE = "unix:///nonexistent/valkey.sock"
HELD_BACK = {"gpu-0": OwnCounts(pending=3, in_flight=9, blocked=True)}


def state_of(backend: str, **more) -> BackendState:
    return BackendState(backend, 3.0, 16.0, **{"given_window": 3, "given_cap": 16, "reason": "test", **more})


def counts_in(valkey) -> dict[str, OwnCounts] | None:
    """What all gateways told together."""
    return control_bus.counts_of(control_bus.load_words(valkey).values())


def rules(url: str) -> tuple[Policy, dict[str, Endpoint]]:
    policy = Policy(
        revision=1,
        pools=MappingProxyType({"main": PoolRule("main")}),
        backends=MappingProxyType(
            {"gpu-0": BackendRule("gpu-0", "main", frozenset({"llama"}), max_in_flight=16, engine="vllm")}
        ),
        models=MappingProxyType({"llama": "main"}),
    )
    return policy, {"gpu-0": Endpoint("gpu-0", url, "vllm")}
