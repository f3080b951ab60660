"""Quotas at the door: take what a request needs, give it back if it never ran."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from gateway.errors import QueueFull, RateLimited
from gateway.jobs import Job
from scheduling.core.policy import TenantRule
from scheduling.core.quota import QUEUED, Denied, Granted, Quotas


class Reservation:
    """One request's hold on its tenant's quotas, for the time of a ``with`` block.

    A request that leaves the block while it stands in line, refused,
    cancelled or expired, gives back all it took.
    """

    __slots__ = ("_in_line", "_quotas", "_tenant", "granted")

    def __init__(self, quotas: Quotas, tenant: str, granted: Granted) -> None:
        self._quotas = quotas
        self._tenant = tenant
        self._in_line = True
        self.granted = granted

    def seated(self) -> None:
        """The request left the line for a backend."""
        self._in_line = False
        self._quotas.seated(self._tenant)

    def requeued(self) -> None:
        """The request stands in line again: the engine was busy or failed."""
        self._in_line = True
        self._quotas.requeued(self._tenant)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._in_line:
            self._quotas.give_back(self._tenant, self.granted)


class Ledger:
    """Asks the quota machine on behalf of requests."""

    def __init__(self) -> None:
        self._quotas = Quotas()

    def reserve(self, job: Job, tenant: TenantRule, now_ms: int) -> Reservation:
        """Take one request's worth. Raises RateLimited or QueueFull, having taken nothing."""
        verdict = self._quotas.reserve(tenant.slug, tenant.quotas, now_ms)
        if isinstance(verdict, Denied):
            raise _refusal(verdict, job)
        return Reservation(self._quotas, tenant.slug, verdict)

    def forget_idle(self, now_ms: int) -> None:
        """Drop what is known of tenants that owe and wait for nothing."""
        self._quotas.forget_idle(now_ms)


def _refusal(denied: Denied, job: Job) -> QueueFull | RateLimited:
    if denied.kind == QUEUED:
        return QueueFull(
            f"The tenant has {denied.limit} requests waiting, as many as it may. The one for {job.model} "
            "was not queued."
        )
    return RateLimited(
        f"The tenant may send {denied.limit} requests per minute.", retry_after_ms=denied.retry_ms
    )
