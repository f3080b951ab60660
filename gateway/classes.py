"""Which class a request runs in: what it asks for, no better than its API token may."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.callers import Caller
from gateway.errors import Invalid
from scheduling.core.policy import Policy, TenantRule

# OpenAI's service tiers in our words; "auto" and whatever is new there means the tenant's own class.
TIERS: Mapping[str, str] = {
    "flex": "batch",
    "default": "standard",
    "scale": "interactive",
    "priority": "interactive",
    "fast": "interactive",
    "standard_only": "standard",  # Anthropic's
}
HEADER = b"x-priority-class"


def choose_class(
    tier: str | None,
    headers: Mapping[bytes, bytes],
    caller: Caller,
    policy: Policy,
    priority: int | None = None,
) -> str:
    """The class of one request. Asking above the API token's ceiling is answered by the ceiling.

    ``x-priority-class`` is heard first, then the service tier, then
    ``priority``: so many classes worse than the tenant's own, or better when
    it is negative. Raises Invalid when ``x-priority-class`` names no class.
    """
    wanted = _named(headers, policy) or TIERS.get(tier or "", "")
    if wanted not in policy.classes:
        tenant = policy.tenants.get(caller.tenant) or TenantRule(caller.tenant)
        wanted = tenant.priority_class
        if priority:
            wanted = _stepped(policy, wanted, priority)
    ceiling = caller.class_ceiling
    if ceiling and _rank(policy, wanted) < _rank(policy, ceiling):
        return ceiling
    return wanted


def _stepped(policy: Policy, own: str, steps: int) -> str:
    """The class so many steps from ``own``, or the last one that way. vLLM's order: lower is sooner."""
    names = sorted(policy.classes, key=lambda name: _rank(policy, name))
    if own not in names:
        return own
    return names[min(max(names.index(own) + steps, 0), len(names) - 1)]


def classes_for(caller: Caller, policy: Policy) -> list[str]:
    """The classes that the caller may use, the first to go first."""
    ceiling = caller.class_ceiling
    best = _rank(policy, ceiling) if ceiling else None
    names = sorted(policy.classes, key=lambda name: (_rank(policy, name), name))
    return [name for name in names if best is None or _rank(policy, name) >= best]


def _named(headers: Mapping[bytes, bytes], policy: Policy) -> str:
    text = headers.get(HEADER)
    if not text:
        return ""
    name = text.decode("ascii", "replace")
    if name not in policy.classes:
        known = ", ".join(sorted(policy.classes, key=lambda each: _rank(policy, each)))
        raise Invalid(f"x-priority-class names no class; the classes are {known}.", param="x-priority-class")
    return name


def _rank(policy: Policy, name: str) -> int:
    rule = policy.classes.get(name)
    return rule.rank if rule else 0
