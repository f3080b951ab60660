"""Reads of API tokens, usage and records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from django.db.models import Q, QuerySet
from django.utils import timezone

from gateway import tokens
from gateway.callers import Caller, CallerTable
from gateway.models import ApiToken
from gateway.usage import EARLIEST, LATEST, Span, UsageSum, record_of, records, usage
from gateway.used import used
from scheduling.core.quota import Key, Scope
from scheduling.models import Change, Tenant
from scheduling.quotas import limits_of
from scheduling.selectors import consistent_read, revision

CHUNK_ROWS = 2000
NO_QUOTAS: Mapping[str, int] = MappingProxyType({})
NOTHING: frozenset[str] = frozenset()
MOST_EDITS = 500  # a process that missed more reads everything

__all__ = [
    "EARLIEST",
    "LATEST",
    "AdminCaller",
    "Span",
    "UsageSum",
    "admin_caller",
    "api_tokens",
    "callers",
    "record_of",
    "records",
    "tenant_use",
    "usage",
]


@dataclass(frozen=True, slots=True)
class AdminCaller:
    """The owner of an API token for the control API."""

    token_id: int
    admin: str
    token_name: str
    scopes: frozenset[str]


def callers(previous: CallerTable | None = None) -> CallerTable:
    """API tokens for inference that are not revoked.

    A suspended tenant's are in it: the policy says that it is suspended, so
    the doorman can say so too. With ``previous`` only the API tokens edited
    since are read, and all else is shared with it: most edits are of
    something else, and a large table takes a second to read.
    """
    with consistent_read():
        number = revision()
        edited = _edited_since(previous.revision, number) if previous else None
        if previous is None or edited is None:
            rows = _caller_rows().filter(revoked_at=None)
            return CallerTable(number, MappingProxyType(dict(map(_caller, rows.iterator(CHUNK_ROWS)))))
        if not edited:
            return CallerTable(number, previous.by_digest)
        table = dict(previous.by_digest)
        for row in _caller_rows().filter(pk__in=edited):
            digest, caller = _caller(row)
            if row[-1]:  # revoked
                table.pop(digest, None)
            else:
                table[digest] = caller
    return CallerTable(number, MappingProxyType(table))


def admin_caller(secret: str) -> AdminCaller | None:
    """Who holds this API token for the control API. None: nobody, revoked, expired, or no active admin."""
    if not tokens.well_formed(secret):
        return None
    token = (
        ApiToken.objects.select_related("admin")
        .filter(Q(expires_at=None) | Q(expires_at__gt=timezone.now()))
        .filter(digest=tokens.digest(secret), revoked_at=None, admin__is_active=True)
        .first()
    )
    if token is None or token.admin is None:
        return None
    return AdminCaller(token.pk, token.admin.username, token.name, frozenset(token.scopes))


def api_tokens(tenant: str = "") -> QuerySet[ApiToken]:
    """API tokens, newest first, with owner and class; all tenants' and admins' without a tenant."""
    rows = ApiToken.objects.select_related("tenant", "admin", "class_ceiling")
    return rows.filter(tenant__slug=tenant) if tenant else rows


def tenant_use(tenant: Tenant) -> dict[str, Mapping[str, int]]:
    """What a tenant used of its quotas in the open minute, day and month, as far as it is recorded.

    By model, "" for all, and by kind.
    """
    limits: dict[str, dict[str, int]] = defaultdict(dict)
    for quota in tenant.quotas.all():
        limits[quota.model.name if quota.model else ""][quota.kind] = quota.limit
    keys: dict[str, Key] = {
        model: ("model", tenant.slug, model) if model else ("tenant", tenant.slug) for model in limits
    }
    found = used([Scope(keys[model], of) for model, of in limits.items()], timezone.now())
    return {model: found.get(key, {}) for model, key in keys.items()}


def _edited_since(old: int, new: int) -> set[int] | None:
    """The API tokens edited between two revisions. None: better read all.

    The audit knows, because every edit is in it.
    """
    edits = list(
        Change.objects.order_by("-id").values_list("revision", "noun", "verb", "before", "after")[:MOST_EDITS]
    )
    unknown = old == 0 or old > new or (new > old and (not edits or edits[-1][0] > old + 1))
    recent = [edit for edit in edits if edit[0] > old]
    if unknown or any((noun, verb) == ("tenant", "delete") for _, noun, verb, _, _ in recent):
        return None
    return {(after or before or {})["id"] for _, noun, _, before, after in recent if noun == "api_token"}


def _caller(row: tuple[Any, ...]) -> tuple[bytes, Caller]:
    digest, token_id, tenant, name, ceiling, expires_at, scopes, quotas, models, hold_s, _ = row
    limits, refusing = limits_of(quotas) if quotas else (NO_QUOTAS, NOTHING)
    return bytes(digest), Caller(
        token_id=token_id,
        tenant=tenant,
        token_name=name,
        class_ceiling=ceiling or "",
        expires_at_s=expires_at.timestamp() if expires_at else None,
        scopes=frozenset(scopes),
        quotas=limits,
        models=frozenset(models),
        refusing=refusing,
        hold_s=hold_s,
    )


def _caller_rows() -> QuerySet[ApiToken, tuple[Any, ...]]:
    rows = ApiToken.objects.filter(tenant__isnull=False).order_by()
    return rows.values_list(
        "digest",
        "id",
        "tenant__slug",
        "name",
        "class_ceiling__name",
        "expires_at",
        "scopes",
        "quotas",
        "allowed_models",
        "hold_status_s",
        "revoked_at",
    )
