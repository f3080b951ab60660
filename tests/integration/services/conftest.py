"""A small installation that every write starts from."""

from __future__ import annotations

import pytest

from scheduling import services
from tests.integration.services.rules import BY


@pytest.fixture
def shop(db):
    """A pool with two models, a backend, and two tenants."""
    services.create_pool("main", by=BY)
    services.create_model("llama", "main", by=BY)
    services.create_model("qwen", "main", by=BY)
    services.create_backend("gpu-0", "main", "http://10.0.0.5:8000", by=BY)
    services.create_tenant("research", "Research", by=BY, weight=3, quotas={"in_flight": 8})
    services.create_tenant("chat", "Chat product", by=BY, priority_class="interactive")
