"""An installation to be measured: tenants with quotas and API tokens, two pools in front of one engine.

    FAIRLANE_DATA_DIR=... python -m benchmarks.gateways.fill --tenants 16 --engine-port 9000

Prints the secrets as one JSON list. The tenants are written in bulk: ten
thousand edits, one by one, would be ten thousand rows of audit.
"""

from __future__ import annotations

import argparse
import json
import os

import django
from django.core.management import call_command

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()

from gateway import tokens
from gateway.models import ApiToken
from scheduling import services
from scheduling.core.policy import QUOTA_KINDS
from scheduling.models import PriorityClass, Quota, Tenant

BY = "benchmark"
MODEL, NARROW = "bench", "bench-narrow"
# Most requests one engine may hold: more than any scenario has, or so few that most of 64 clients wait.
CAPS = {MODEL: 8_000, NARROW: 8}
WINDOW_REQUESTS = 128  # the widest there is: the engine answers at once
LIMIT = 10**12  # of every quota: never reached, always counted
WEIGHTS = (1, 2, 3, 4)
ASKING = 1_000  # API tokens that are used at most
BATCH = 1_000


def fill(tenants: int, engine_port: int) -> list[str]:
    """Make everything; secrets of the API tokens that ask."""
    for name, cap in CAPS.items():
        services.create_pool(name, by=BY)
        services.set_policy(name, by=BY, window_requests=WINDOW_REQUESTS)
        services.create_model(name, name, by=BY, prices={"prompt": 150_000, "completion": 600_000})
        services.create_backend(
            name, name, f"http://127.0.0.1:{engine_port}", by=BY, engine="vllm", max_in_flight=cap
        )
    standard = PriorityClass.objects.get(name="standard")
    rows = Tenant.objects.bulk_create(
        (
            Tenant(
                slug=f"t-{n}", name=f"Tenant {n}", weight=WEIGHTS[n % len(WEIGHTS)], priority_class=standard
            )
            for n in range(tenants)
        ),
        batch_size=BATCH,
    )
    Quota.objects.bulk_create(
        (Quota(tenant=row, kind=kind, limit=LIMIT) for row in rows for kind in QUOTA_KINDS), batch_size=BATCH
    )
    secrets = [tokens.generate() for _ in rows]
    ApiToken.objects.bulk_create(
        (_token(row, secret) for row, secret in zip(rows, secrets, strict=True)), batch_size=BATCH
    )
    return secrets[:ASKING]


def _token(tenant: Tenant, secret: str) -> ApiToken:
    prefix, last4 = tokens.shown(secret)
    digest = tokens.digest(secret)
    return ApiToken(
        tenant=tenant, name="load", digest=digest, prefix=prefix, last4=last4, scopes=[ApiToken.INFERENCE]
    )


def main() -> None:
    """Migrate, fill, say the secrets."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--tenants", type=int, required=True)
    options.add_argument("--engine-port", type=int, required=True)
    chosen = options.parse_args()
    call_command("migrate", verbosity=0, interactive=False)
    print(json.dumps(fill(chosen.tenants, chosen.engine_port)))


if __name__ == "__main__":
    main()
