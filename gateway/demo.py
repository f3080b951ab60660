"""Demo traffic on request: one greedy tenant and two quiet ones, for a few minutes."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

from celery import current_app
from django.core.exceptions import ValidationError

from scheduling import selectors, services
from scheduling.valkey import sync_client

GREEDY = "greedy"
QUIET = ("quiet-a", "quiet-b")
RUN_S = 180
BY = "demo"  # who issues and revokes the run's API tokens, in the audit
KEY = "fairlane:demo"  # exists while demo traffic is wanted
TASK = "gateway.tasks.run_demo_traffic"


@dataclass(frozen=True, slots=True)
class DemoState:
    """Whether demo traffic runs, who began it, and when it ends (Unix time)."""

    running: bool
    by: str = ""
    until_s: float = 0.0


def state() -> DemoState:
    """Demo traffic as it stands."""
    page: Any = sync_client().get(KEY)
    if not page:
        return DemoState(running=False)
    told = json.loads(page)
    return DemoState(running=True, by=str(told["by"]), until_s=float(told["until_s"]))


def start(*, by: str) -> DemoState:
    """Begin demo traffic for three minutes; what runs already goes on.

    Raises ValidationError when there is no served model to ask for.
    """
    model = _a_served_model()
    known = {tenant.slug for tenant in selectors.tenants()}
    for slug in (GREEDY, *QUIET):
        if slug not in known:
            services.create_tenant(slug=slug, name=slug.replace("-", " ").capitalize(), by=by)
    until_s = time.time() + RUN_S
    fresh = sync_client().set(KEY, json.dumps({"by": by, "until_s": until_s}), ex=RUN_S, nx=True)
    if fresh:
        current_app.send_task(TASK, args=[model, until_s], queue="jobs", expires=30)
    return state()


def stop() -> DemoState:
    """End demo traffic within a second."""
    sync_client().delete(KEY)
    return state()


def _a_served_model() -> str:
    rules = selectors.policy()
    with_backend = {backend.pool for backend in rules.backends.values() if not backend.draining}
    for model, pool in sorted(rules.models.items()):
        if pool in with_backend:
            return model
    raise ValidationError("There is no served model with an open backend. Add one under Backends first.")
