"""The only way to write API tokens."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypedDict, Unpack

from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import connection
from django.utils import timezone

from gateway import tokens
from gateway.hold import WrittenHold, read_hold, written_hold
from gateway.models import ApiToken
from gateway.scopes import ADMIN_SCOPES, INFERENCE
from scheduling.models import Alias, PriorityClass, ServedModel, Tenant
from scheduling.quotas import Written, checked_quotas
from scheduling.services import Missing, Stamp, find, record, referred, save_new, writing


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A new API token and its secret, which nobody can read again."""

    token: ApiToken
    secret: str = field(repr=False)


class TokenSettings(TypedDict, total=False):
    """What a tenant's API token may be given besides its name.

    ``class_ceiling`` names the best class it may use, ``quotas`` bound what it
    may use (scheduling/quotas.py); its tenant's bound it besides. ``models`` are
    the models and aliases it may ask for, all when there are none.
    ``hold_status_s`` is for how long its waiting streams get no status line
    (gateway/hold.py). ``secret`` brings a secret made elsewhere, in our format.
    """

    expires_at: datetime | None
    class_ceiling: str | None
    quotas: Mapping[str, Written] | None
    models: Iterable[str] | None
    hold_status_s: WrittenHold
    scopes: Iterable[str]
    secret: str | None


def issue_token(
    *, tenant: str, name: str, by: str, why: str = "", **settings: Unpack[TokenSettings]
) -> IssuedToken:
    """Make an API token for inference. Raises ValidationError by field, Missing for the tenant."""
    ceiling = settings.get("class_ceiling")
    with writing():
        return _issue(
            ApiToken(
                tenant=find(Tenant.objects, slug=tenant),
                name=name,
                scopes=_scopes(settings.get("scopes", (INFERENCE,)), (INFERENCE,)),
                class_ceiling=referred("class_ceiling", PriorityClass.objects, ceiling) if ceiling else None,
                quotas=checked_quotas(settings.get("quotas") or {}),
                allowed_models=_models(settings.get("models") or ()),
                hold_status_s=read_hold(settings.get("hold_status_s")),
                expires_at=_future(settings.get("expires_at")),
            ),
            settings.get("secret") or tokens.generate(tokens.INFERENCE),
            tokens.INFERENCE,
            Stamp(by, why, "issue"),
        )


def issue_admin_token(
    *, admin: str, name: str, scopes: Iterable[str], by: str, expires_at: datetime | None = None
) -> IssuedToken:
    """Make an API token for the control API, with these scopes and the admin's name."""
    with writing():
        return _issue(
            ApiToken(
                admin=_admin(admin),
                name=name,
                scopes=_scopes(scopes, ADMIN_SCOPES),
                expires_at=_future(expires_at),
            ),
            tokens.generate(tokens.ADMIN),
            tokens.ADMIN,
            Stamp(by, "", "issue"),
        )


def revoke_token(token_id: int, *, by: str, why: str = "") -> ApiToken:
    """Refuse an API token from now on, at every gateway within two seconds. For good."""
    with writing():
        token = ApiToken.objects.select_related("tenant", "admin").filter(pk=token_id).first()
        if token is None:
            raise Missing(f"There is no API token {token_id}.")
        if token.revoked_at is None:
            token.revoked_at = timezone.now()
            token.save(update_fields=["revoked_at"])
            record("api_token", target(token), Stamp(by, why, "revoke"), before=_whole(token))
    return token


def note_last_use(times: Mapping[int, datetime]) -> None:
    """Remember when API tokens were last used, by id. Never moves a time back; no revision."""
    if not times:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE gateway_apitoken SET last_used_at = used.at"
            " FROM unnest(%s::bigint[], %s::timestamptz[]) AS used (id, at)"
            " WHERE gateway_apitoken.id = used.id AND (last_used_at IS NULL OR last_used_at < used.at)",
            [list(times), list(times.values())],
        )


def target(token: ApiToken) -> str:
    """How the audit calls an API token: its owner and its name."""
    return f"{token.tenant or token.admin}/{token.name}"


def _issue(token: ApiToken, secret: str, prefix: str, stamp: Stamp) -> IssuedToken:
    if not tokens.well_formed(secret) or tokens.prefix_of(secret) != prefix:
        problem = f"This is no API token in the form {prefix}…. `manage.py token new` prints one."
        raise ValidationError({"secret": problem})
    token.digest = tokens.digest(secret)
    token.prefix, token.last4 = tokens.shown(secret)
    if ApiToken.objects.filter(digest=token.digest).exists():
        raise ValidationError({"secret": "This secret is an API token already. Use another."})
    if (
        token.tenant
        and ApiToken.objects.filter(tenant=token.tenant, name=token.name, revoked_at=None).exists()
    ):
        taken = f"{token.tenant} already has an API token of this name. Use another, or revoke that first."
        raise ValidationError({"name": taken})
    save_new(token)
    record("api_token", target(token), stamp, after=_whole(token))
    return IssuedToken(token, secret)


def _scopes(wanted: Iterable[str], allowed: tuple[str, ...]) -> list[str]:
    scopes = list(dict.fromkeys(wanted))
    if unknown := [scope for scope in scopes if scope not in allowed]:
        raise ValidationError(
            {"scopes": f"Unknown: {', '.join(unknown)}. Use one or more of: {', '.join(allowed)}."}
        )
    return scopes


def _models(wanted: Iterable[str]) -> list[str]:
    names = sorted(set(wanted))
    known = {
        *ServedModel.objects.values_list("name", flat=True),
        *Alias.objects.values_list("name", flat=True),
    }
    if unknown := [name for name in names if name not in known]:
        raise ValidationError({"models": f"There is no model or alias {', '.join(unknown)}. Make it first."})
    return names


def _future(expires_at: datetime | None) -> datetime | None:
    if expires_at and timezone.is_naive(expires_at):
        raise ValidationError({"expires_at": "Say the time zone too, as in 2027-01-31T12:00:00Z."})
    if expires_at and expires_at <= timezone.now():
        raise ValidationError({"expires_at": "This is in the past. Use a time to come, or none for no end."})
    return expires_at


def _admin(username: str) -> User:
    admin = get_user_model().objects.filter(username=username, is_active=True).first()
    if admin is None:
        raise Missing(f"There is no admin {username!r}. Make one with `manage.py admin create {username}`.")
    return admin


def _whole(token: ApiToken) -> dict[str, Any]:
    """The API token as the audit keeps it: recognisable, never usable."""
    return {
        "id": token.pk,
        "shown": str(token),
        "scopes": token.scopes,
        "class_ceiling": str(token.class_ceiling or ""),
        "expires_at": token.expires_at.isoformat() if token.expires_at else None,
        **({"quotas": token.quotas} if token.quotas else {}),
        **({"models": token.allowed_models} if token.allowed_models else {}),
        **({"hold_status_s": written_hold(hold_s)} if (hold_s := token.hold_status_s) is not None else {}),
    }
