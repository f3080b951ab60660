"""A backend may be removed at any time, also while the controller stores what it read of it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from scheduling import readings, services
from scheduling.models import Backend, BackendReading
from tests.integration.control.known import BY, state_of

ROUNDS = 30
pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)


def store_until(stopped: threading.Event) -> int:
    """Store readings as fast as can be; how often."""
    states = [state_of("gpu-0", read_at_s=1.0)]
    stored = 0
    try:
        while not stopped.is_set():
            readings.store(states)
            stored += 1
    finally:
        connection.close()
    return stored


def test_a_backend_is_removed_while_its_readings_are_stored() -> None:
    services.create_pool("main", by=BY)
    stopped = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        storing = pool.submit(store_until, stopped)
        try:
            for _ in range(ROUNDS):
                services.create_backend("gpu-0", "main", "http://127.0.0.1:9", by=BY)
                services.delete_backend("gpu-0", by=BY)
        finally:
            stopped.set()

    assert storing.result() > 0
    assert not Backend.objects.exists()
    assert not BackendReading.objects.exists()
