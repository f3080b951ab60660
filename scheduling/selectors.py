"""Reads of the rules, for the data plane, the console and the control API."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from types import MappingProxyType
from typing import TypeVar

from django.db import connection, transaction
from django.db.models import Model, Q, QuerySet
from django.utils import timezone

from scheduling import models, policy_rows, secrets
from scheduling.core.policy import Policy
from scheduling.engines.endpoint import Endpoint
from scheduling.services.edits import Missing

Row = TypeVar("Row", bound=Model)

logger = logging.getLogger(__name__)

ASK_EVERY_S = 0.05  # a person waits for a command's result, so ask often, and not for long


@contextmanager
def consistent_read() -> Iterator[None]:
    """All reads of the block see the database as it was at one moment.

    Inside a transaction that already runs, that one decides.
    """
    if connection.in_atomic_block:
        yield
        return
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def revision() -> int:
    """The number of the rules in force."""
    return models.Revision.objects.values_list("number", flat=True).get(id=1)


def policy() -> Policy:
    """All rules of one revision, read at one moment."""
    with consistent_read():
        return Policy(
            revision=revision(),
            tenants=MappingProxyType(policy_rows.tenant_rules()),
            classes=MappingProxyType(policy_rows.class_rules()),
            pools=MappingProxyType(policy_rows.pool_rules()),
            backends=MappingProxyType(policy_rows.backend_rules()),
            models=MappingProxyType(dict(models.ServedModel.objects.values_list("name", "pool__name"))),
            prices=MappingProxyType(policy_rows.prices()),
            routes=MappingProxyType(policy_rows.routes()),
        )


def endpoints() -> dict[str, Endpoint]:
    """Where each backend is reached, by name.

    A backend whose stored API key cannot be read gets none, and a line in the
    log: the engine then answers 401, and the other backends go on.
    """
    return {row.name: _endpoint(row) for row in models.Backend.objects.all()}


def unreadable_api_keys() -> list[str]:
    """The backends whose stored API key was sealed under another secret key."""
    return [row.name for row in models.Backend.objects.all() if _api_key(row) is None]


def tenants() -> QuerySet[models.Tenant]:
    """Tenants with their class and quotas."""
    return models.Tenant.objects.select_related("priority_class").prefetch_related("quotas__model")


def classes() -> QuerySet[models.PriorityClass]:
    """Classes, the first to go first."""
    return models.PriorityClass.objects.all()


def pools() -> QuerySet[models.Pool]:
    """Pools with policy, models and backends."""
    return models.Pool.objects.select_related("policy").prefetch_related("models", "backends")


def served_models() -> QuerySet[models.ServedModel]:
    """Served models with their pool, their fallbacks and the backends that list them."""
    return models.ServedModel.objects.select_related("pool").prefetch_related(
        "backends", "fallback_rows__model"
    )


def aliases() -> QuerySet[models.Alias]:
    """Aliases with their targets and fallbacks."""
    return models.Alias.objects.prefetch_related("target_rows__model", "fallback_rows__model")


def backends() -> QuerySet[models.Backend]:
    """Backends with their pool and the models they list."""
    return models.Backend.objects.select_related("pool").prefetch_related("served_models")


def policies() -> QuerySet[models.SchedulingPolicy]:
    """The policies, by pool."""
    return models.SchedulingPolicy.objects.select_related("pool").order_by("pool__name")


def changes() -> QuerySet[models.Change]:
    """The audit, newest first."""
    return models.Change.objects.all()


def changes_of(tenant: str) -> QuerySet[models.Change]:
    """The audit of a tenant and its quotas, newest first."""
    of_models = Q(noun="quota", target__startswith=f"{tenant}/")
    return models.Change.objects.filter(Q(noun__in=("tenant", "quota"), target=tenant) | of_models)


def readings(backend: str, since: datetime) -> QuerySet[models.BackendReading]:
    """A backend's history from a moment on, oldest first."""
    return models.BackendReading.objects.filter(backend__name=backend, at__gte=since).order_by("at")


def open_commands() -> QuerySet[models.Command]:
    """Commands that no gateway has taken yet and that are not too late, oldest first."""
    return models.Command.objects.filter(done_at=None, claimed_by="", expires_at__gt=timezone.now()).order_by(
        "id"
    )


def command_result(command_id: int, wait_s: float = 2.0) -> dict[str, object] | None:
    """What came of a command, waited for. None: no gateway answered in time."""
    until = time.monotonic() + wait_s
    while True:
        row = models.Command.objects.filter(pk=command_id).values_list("done_at", "result").first()
        if row and row[0]:
            return row[1] or {}
        if time.monotonic() >= until:
            return None
        time.sleep(ASK_EVERY_S)


def found(rows: QuerySet[Row], **key: object) -> Row:
    """The one row of these with this key. Raises Missing."""
    row = rows.filter(**key).first()
    if row is None:
        name = rows.model._meta.verbose_name  # noqa: SLF001  # _meta is Django's documented API
        raise Missing(f"There is no {name} {next(iter(key.values()))!r}.")
    return row


def _endpoint(row: models.Backend) -> Endpoint:
    api_key = _api_key(row)
    if api_key is None:
        logger.error("Backend %s: %s", row.name, secrets.Unreadable())
    return Endpoint(
        backend=row.name,
        url=row.url.rstrip("/"),
        engine=row.engine,
        api_key=api_key or "",
        ca_pem=row.ca_pem,
        poll_every_ms=row.poll_every_ms,
        low_first={"low_first": True, "high_first": False}.get(row.priority_order),
    )


def _api_key(row: models.Backend) -> str | None:
    try:
        return secrets.unseal(bytes(row.api_key_encrypted))
    except secrets.Unreadable:
        return None
