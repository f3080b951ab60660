"""What the tests of the services read before and after a write."""

from __future__ import annotations

from scheduling import models, selectors

BY = "admin:ada"


def written() -> tuple[int, int]:
    return selectors.revision(), models.Change.objects.count()


def rules():
    policy = selectors.policy()
    return (
        policy.tenants,
        policy.classes,
        policy.pools,
        policy.backends,
        policy.prices,
        policy.routes,
        selectors.endpoints(),
        list(models.Tenant.objects.values_list("name", flat=True)),
    )
