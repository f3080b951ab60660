"""Fixtures of the batches' tests."""

from __future__ import annotations

import pytest
from django.conf import settings


@pytest.fixture
def knobs(monkeypatch):
    """The knobs, quick, to be changed further."""
    quick = {"FAIRLANE_BATCH_IN_FLIGHT_REQUESTS": 4, "FAIRLANE_BATCH_SLICE_S": 30.0}
    monkeypatch.setattr(settings, "KNOBS", {**settings.KNOBS, **quick})
    return settings.KNOBS
