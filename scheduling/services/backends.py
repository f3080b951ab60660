"""Writes about backends: where an engine is, what it serves, how much it may hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypedDict, Unpack

from django.core.exceptions import ValidationError

from scheduling import secrets
from scheduling.models import Backend, Pool, ServedModel
from scheduling.services.addresses import checked_url
from scheduling.services.edits import (
    Stamp,
    clean,
    find,
    plain,
    record,
    record_difference,
    referred,
    remove,
    save_new,
    writing,
)
from scheduling.services.engine_order import refuse_outside_order

KEY_SET = "(set)"  # all the audit says of an engine's API key
KEY_CHANGED = "(changed)"
PLAIN_FIELDS = ("engine", "max_in_flight", "kv_tokens", "poll_every_ms", "priority_order")
NO_SEATS = "Give at least 1, or none for what the engine says. To send it nothing, drain the backend."
CHECKED = ("url",)  # by checked_url: Django's own rule refuses host names without a dot


class BackendSettings(TypedDict, total=False):
    """What a backend may be given besides its name. No models: all of its pool.

    ``max_in_flight`` and ``kv_tokens`` None: as the engine says. ``poll_every_ms``
    None: as the knob says. ``priority_order`` empty: as the engine usually does.
    """

    engine: str
    models: Iterable[str]
    max_in_flight: int | None
    kv_tokens: int | None
    poll_every_ms: int | None
    priority_order: str
    api_key: str
    ca_pem: str


class BackendFields(BackendSettings, total=False):
    """What may change about a backend."""

    pool: str
    url: str


def create_backend(
    name: str, pool: str, url: str, *, by: str, why: str = "", **settings: Unpack[BackendSettings]
) -> Backend:
    """Add an engine to a pool. Raises ValidationError by field."""
    with writing():
        row = Backend(name=name, pool=referred("pool", Pool.objects, pool), url=checked_url(url))
        columns = _columns({**settings})
        for field, value in columns.items():
            setattr(row, field, value)
        models = _models(row.pool, settings.get("models", ()))
        refuse_outside_order(row)
        save_new(row, but=CHECKED)
        row.served_models.set(models)
        record("backend", name, Stamp(by, why, "create"), after=_whole(row))
    return row


def change_backend(name: str, *, by: str, why: str = "", **fields: Unpack[BackendFields]) -> Backend:
    """Change a backend from the next dispatch on. What it runs now may end where it is."""
    return put_backend(name, dict(fields), Stamp(by, why))


def drain_backend(name: str, *, by: str, why: str = "") -> Backend:
    """Give a backend no new requests. What it runs may end."""
    return put_backend(name, {"state": Backend.State.DRAINING}, Stamp(by, why))


def resume_backend(name: str, *, by: str, why: str = "") -> Backend:
    """Give a draining backend requests again."""
    return put_backend(name, {"state": Backend.State.OPEN}, Stamp(by, why))


def delete_backend(name: str, *, by: str, why: str = "") -> None:
    """Remove a backend with its readings. Drain it first if what it runs should end well."""
    with writing():
        row = find(Backend.objects, name=name)
        # Locked first, or a reading that the controller stores just now would still refer to it.
        Backend.objects.select_for_update().get(pk=row.pk)
        before = _whole(row)
        remove(row)
        record("backend", name, Stamp(by, why, "delete"), before=before)


def put_backend(name: str, fields: dict[str, Any], stamp: Stamp) -> Backend:
    """Set fields of a backend under any verb of the audit."""
    with writing():
        row = find(Backend.objects, name=name)
        before = _whole(row)
        columns = _columns(fields)
        for field, value in columns.items():
            setattr(row, field, value)
        models = _models(row.pool, fields.get("models", before["models"]))
        clean(row, but=CHECKED)
        if {"engine", "pool"} & fields.keys():
            refuse_outside_order(row)
        row.save()
        row.served_models.set(models)
        after = _whole(row)
        if fields.get("api_key") and before["api_key"]:
            after["api_key"] = KEY_CHANGED
        record_difference("backend", name, stamp, before, after)
    return row


def _columns(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Input fields as columns of the row."""
    columns = {name: value for name, value in fields.items() if name not in ("models", "api_key")}
    if "api_key" in fields:
        columns["api_key_encrypted"] = secrets.seal(fields["api_key"])
    if "pool" in fields:
        columns["pool"] = referred("pool", Pool.objects, fields["pool"])
    if (most := fields.get("max_in_flight")) is not None and most < 1:
        raise ValidationError({"max_in_flight": NO_SEATS})
    if "url" in fields:
        columns["url"] = checked_url(fields["url"])
    return columns


def _models(pool: Pool, names: Iterable[str]) -> list[ServedModel]:
    wanted = set(names)
    rows = list(ServedModel.objects.filter(pool=pool, name__in=wanted))
    if unknown := wanted - {row.name for row in rows}:
        known = ", ".join(pool.models.values_list("name", flat=True)) or "none yet"
        raise ValidationError(
            {"models": f"Pool {pool.name} has no model {', '.join(sorted(unknown))}. It has: {known}."}
        )
    return rows


def _whole(row: Backend) -> dict[str, Any]:
    """The backend as the audit keeps it: without its secret."""
    return {
        **{name: plain(getattr(row, name)) for name in ("pool", "url", *PLAIN_FIELDS, "state", "ca_pem")},
        "models": sorted(row.served_models.values_list("name", flat=True)),
        "api_key": KEY_SET if row.api_key_encrypted else "",
    }
