"""Taking an edit back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from scheduling.core import policy
from scheduling.models import Alias, Backend, Change, Pool, PriorityClass, ServedModel, Tenant
from scheduling.services.backends import put_backend
from scheduling.services.edits import Conflict, Missing, Stamp, find, plain, writing
from scheduling.services.pools import (
    CLASS_FIELDS,
    POLICY_FIELDS,
    PRICE_FIELDS,
    put_class,
    put_model,
    put_policy,
)
from scheduling.services.quotas import model_quotas_of, put_quota, quotas_of
from scheduling.services.routes import fallbacks_of, put_alias, put_fallbacks, targets_of
from scheduling.services.tenants import put_tenant

TENANT_FIELDS = ("name", "weight", "priority_class", "state", "boost", "boost_until")
BACKEND_FIELDS = ("state", "max_in_flight", "kv_tokens", "poll_every_ms", "priority_order")
ALIAS_FIELDS = ("targets", "fallbacks")

Values = Mapping[str, Any]


def undo(change_id: int, *, by: str, why: str = "") -> Change:
    """Put back what a change replaced, and return the change that did it.

    Raises Missing when there is no such change, and Conflict when it cannot
    be taken back or something newer stands in its place. An undo can be
    undone in turn.
    """
    with writing():
        change = Change.objects.filter(pk=change_id).first()
        if change is None:
            raise Missing(f"There is no change {change_id}.")
        before, after = _fields(change)
        _refuse_if_moved_on(change, after)
        _put(change, before, Stamp(by, why, "undo"))
        latest = Change.objects.order_by("-id")[0]
        change.undone_by = latest
        change.save(update_fields=["undone_by"])
    return latest


def reversible(change: Change) -> bool:
    """Whether this change is of a kind that can be taken back, and was not yet."""
    try:
        _fields(change)
    except Conflict:
        return False
    return True


def _fields(change: Change) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the change replaced, and by what. Raises Conflict when it cannot be taken back."""
    if change.undone_by_id:
        raise Conflict(f"Change {change.pk} was undone already, by change {change.undone_by_id}.")
    single = bool(change.field)
    before = {change.field: change.before} if single else change.before
    after = {change.field: change.after} if single else change.after
    allowed = _REVERSIBLE.get(change.noun, ())
    if change.verb not in ("set", "undo") or not before or not after or not set(after) <= set(allowed):
        raise Conflict(
            f"A change of this kind ({change}) cannot be undone. Make the opposite change instead."
        )
    return before, after


def _refuse_if_moved_on(change: Change, after: Values) -> None:
    now = _now(change, tuple(after))
    for name, value in after.items():
        if now[name] != value:
            raise Conflict(
                f"{name} of {change.noun} {change.target} is {now[name]!r} by now, no longer {value!r}. "
                "Undo the newer change first, or set it by hand."
            )


def _now(change: Change, names: tuple[str, ...]) -> dict[str, Any]:
    if change.noun == "quota":
        slug, _, model = change.target.partition("/")
        tenant = find(Tenant.objects, slug=slug)
        quotas = model_quotas_of(tenant).get(model, {}) if model else quotas_of(tenant)
        return {name: quotas.get(name) for name in names}
    row = _READERS[change.noun](change.target)
    return {name: _LISTS[name](row) if name in _LISTS else plain(getattr(row, name)) for name in names}


def _put(change: Change, before: Values, stamp: Stamp) -> None:
    if change.noun == "quota":
        for kind, quota in before.items():
            put_quota(change.target, kind, quota, stamp)
        return
    _WRITERS[change.noun](change.target, dict(before), stamp)


def _put_model(name: str, fields: dict[str, Any], stamp: Stamp) -> None:
    if "fallbacks" in fields:  # the audit has it alone
        put_fallbacks(name, fields["fallbacks"], stamp)
    else:
        put_model(name, fields, stamp)


_REVERSIBLE: dict[str, tuple[str, ...]] = {
    "tenant": TENANT_FIELDS,
    "quota": policy.QUOTA_KINDS,
    "policy": POLICY_FIELDS,
    "class": CLASS_FIELDS,
    "model": (*PRICE_FIELDS, "fallbacks"),
    "alias": ALIAS_FIELDS,
    "backend": BACKEND_FIELDS,
}
_LISTS: dict[str, Callable[[Any], Any]] = {"targets": targets_of, "fallbacks": fallbacks_of}
_READERS: dict[str, Callable[[str], Any]] = {
    "tenant": lambda name: find(Tenant.objects, slug=name),
    "policy": lambda name: find(Pool.objects, name=name).policy,
    "class": lambda name: find(PriorityClass.objects, name=name),
    "model": lambda name: find(ServedModel.objects, name=name),
    "alias": lambda name: find(Alias.objects, name=name),
    "backend": lambda name: find(Backend.objects, name=name),
}
_WRITERS: dict[str, Callable[[str, dict[str, Any], Stamp], Any]] = {
    "tenant": put_tenant,
    "policy": put_policy,
    "class": put_class,
    "model": _put_model,
    "alias": put_alias,
    "backend": put_backend,
}
