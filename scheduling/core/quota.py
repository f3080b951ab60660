"""A tenant's allowances: what is left, asked once before a request stands in line.

Pure: ``now_ms`` comes in, a verdict goes out. Requests per minute follow the
generic cell rate algorithm (ITU-T I.371): one number per tenant, the time at
which its allowance would be whole again, in integer microseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

MINUTE_US = 60_000_000
US_PER_MS = 1000

PER_MINUTE = "requests_per_minute"
QUEUED = "queued"


@dataclass(frozen=True, slots=True)
class Granted:
    """The request may stand in line. ``step_us`` is what it took of the minute.

    ``limit`` and ``remaining`` are requests per minute; None without such a quota.
    """

    step_us: int = 0
    limit: int | None = None
    remaining: int | None = None
    reset_ms: int = 0  # until the allowance is whole again


@dataclass(frozen=True, slots=True)
class Denied:
    """The quota ``kind`` has no room; ``retry_ms`` is when it will have, None when unknown."""

    kind: str
    limit: int
    retry_ms: int | None = None


Verdict = Granted | Denied

UNLIMITED = Granted()


@dataclass(slots=True)
class _Account:
    whole_at_us: int = 0
    queued: int = 0

    def idle(self, now_us: int) -> bool:
        return self.queued == 0 and self.whole_at_us <= now_us


@dataclass(slots=True)
class Quotas:
    """All tenants' allowances.

    Every ``reserve`` that was granted is followed by exactly one of
    ``seated`` (it got its turn: the minute's allowance is spent) or
    ``give_back`` (it never ran: everything returns). A requeued request
    calls ``requeued`` and is then again followed by one of the two.
    """

    _accounts: dict[str, _Account] = field(default_factory=dict)

    def reserve(self, tenant: str, limits: Mapping[str, int], now_ms: int) -> Verdict:
        """Take one request's worth of every quota, or nothing at all."""
        account = self._accounts.get(tenant)
        if account is None:
            account = self._accounts[tenant] = _Account()
        most_queued = limits.get(QUEUED)
        if most_queued is not None and account.queued >= most_queued:
            return Denied(QUEUED, most_queued)
        per_minute = limits.get(PER_MINUTE)
        verdict = UNLIMITED if per_minute is None else _take(account, per_minute, now_ms * US_PER_MS)
        if isinstance(verdict, Granted):
            account.queued += 1
        return verdict

    def seated(self, tenant: str) -> None:
        """The request left the line for a backend."""
        self._accounts[tenant].queued -= 1

    def requeued(self, tenant: str) -> None:
        """The engine was busy: the request stands in line again. It is not asked for room twice."""
        self._accounts.setdefault(tenant, _Account()).queued += 1

    def give_back(self, tenant: str, granted: Granted) -> None:
        """The request left the line without having run."""
        account = self._accounts[tenant]
        account.queued -= 1
        account.whole_at_us -= granted.step_us

    def queued(self, tenant: str) -> int:
        """How many of the tenant's requests stand in line."""
        account = self._accounts.get(tenant)
        return account.queued if account else 0

    def forget_idle(self, now_ms: int) -> None:
        """Drop the accounts of tenants whose allowance is whole and who wait for nothing."""
        now_us = now_ms * US_PER_MS
        for tenant in [name for name, account in self._accounts.items() if account.idle(now_us)]:
            del self._accounts[tenant]


def _take(account: _Account, per_minute: int, now_us: int) -> Verdict:
    """One request of ``per_minute``; a whole minute's worth may come at once."""
    if per_minute < 1:
        return Denied(PER_MINUTE, per_minute)
    step_us = max(1, MINUTE_US // per_minute)
    whole_at_us = max(account.whole_at_us, now_us) + step_us
    over_us = whole_at_us - now_us - step_us * per_minute
    if over_us > 0:
        return Denied(PER_MINUTE, per_minute, retry_ms=-(-over_us // US_PER_MS))
    account.whole_at_us = whole_at_us
    used_us = whole_at_us - now_us
    return Granted(
        step_us=step_us,
        limit=per_minute,
        remaining=per_minute - -(-used_us // step_us),
        reset_ms=-(-used_us // US_PER_MS),
    )
