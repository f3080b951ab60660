"""Each backend's history in Postgres, thinned, for charts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from django.db import transaction
from django.utils import timezone

from scheduling.core.control import BackendState
from scheduling.models import Backend, BackendReading

STORE_EVERY_S = 5.0  # a chart of an hour has 720 points then, more than a screen shows
KEEP = timedelta(days=7)  # 121,000 rows a backend at one every 5 s


def worth_storing(before: BackendState | None, after: BackendState) -> bool:
    """At most every STORE_EVERY_S, and at once when the limit or the kind of error changed."""
    if before is None or after.ticked_at_s - after.stored_at_s >= STORE_EVERY_S:
        return True
    return _news(before) != _news(after)


def marked(
    before: Mapping[str, BackendState], after: Mapping[str, BackendState]
) -> tuple[dict[str, BackendState], list[BackendState]]:
    """The states with the time of their last row set, and those that are due for one now."""
    due = {name for name, state in after.items() if worth_storing(before.get(name), state)}
    states = {
        name: replace(state, stored_at_s=state.ticked_at_s) if name in due else state
        for name, state in after.items()
    }
    return states, [states[name] for name in sorted(due)]


def store(states: list[BackendState]) -> None:
    """Add one row for each of these states; a backend that is gone gets none, nor does one go meanwhile."""
    if not states:
        return
    named = Backend.objects.filter(name__in=[state.backend for state in states])
    with transaction.atomic():
        keys = dict(named.order_by("id").select_for_update().values_list("name", "id"))
        BackendReading.objects.bulk_create(
            _row(state, keys[state.backend]) for state in states if state.backend in keys
        )


def forget_old() -> int:
    """Delete what is older than KEEP; the number of rows."""
    deleted, _ = BackendReading.objects.filter(at__lt=timezone.now() - KEEP).delete()
    return deleted


def _news(state: BackendState) -> tuple[int, int, str]:
    # The kind of the error is its first words; seconds after the colon change all the time.
    return state.given_window, state.given_cap, state.error.partition(":")[0]


def _row(state: BackendState, backend_id: int) -> BackendReading:
    return BackendReading(
        backend_id=backend_id,
        at=datetime.fromtimestamp(state.ticked_at_s, UTC),
        running=state.running,
        waiting=state.waiting,
        kv_usage=state.kv_usage,
        window=state.given_window,
        cap=state.given_cap,
        reason=state.reason[:200],
        error=state.error[:200],
    )
