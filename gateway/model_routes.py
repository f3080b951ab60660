"""Which model serves a request: the one it names, or one that its name leads to."""

from __future__ import annotations

from hashlib import blake2b

from scheduling.core.policy import Policy

HASH_BITS = 64
GOLDEN = 0x9E3779B97F4A7C15  # 2**64 over the golden ratio: multiples of it lie evenly, however few or many

Targets = list[tuple[str, int]]


def resolve(policy: Policy, asked: str, place: int) -> tuple[str, tuple[str, ...]]:
    """The model for a request at this place, and those to try, in order, when no backend can serve it.

    ``asked`` is a route of the policy, ``place`` from 0 to 2**64 - 1. Models
    that are not served are left out; "" when none is left.
    """
    route = policy.routes[asked]
    served = [target for target in route.targets or ((asked, 1),) if target[0] in policy.models]
    others = [model for model in route.fallbacks if model in policy.models]
    model = _share(served, place) if served else next(iter(others), "")
    return model, tuple(other for other in others if other != model)


def place_of(asked: str, user: str) -> int:
    """The place of one user, always the same; under another name another, or the same users try all news."""
    digest = blake2b(f"{asked}\0{user}".encode(), digest_size=HASH_BITS // 8).digest()
    return int.from_bytes(digest, "big")


def _share(targets: Targets, place: int) -> str:
    """The target in whose part of the weights the place lies.

    Parts stand in the order of the targets, so a change of weights moves
    only those whose place changed hands.
    """
    at = place * sum(weight for _, weight in targets) >> HASH_BITS
    for model, weight in targets:
        at -= weight
        if at < 0:
            return model
    return targets[0][0]  # no target has a weight


class Spread:
    """Places for requests whose user is not known: as many in every part as its weight says."""

    def __init__(self) -> None:
        self._place = 0

    def next(self) -> int:
        """The next request's place."""
        self._place = (self._place + GOLDEN) % (1 << HASH_BITS)
        return self._place
