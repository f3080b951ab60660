"""A script that may do everything, with and without an installation to work on."""

from __future__ import annotations

import pytest
from django.contrib.auth import get_user_model

from gateway.scopes import ADMIN_SCOPES
from scheduling import services
from tests.integration.control_api.script import with_scopes


@pytest.fixture
def api():
    get_user_model().objects.create_user("ada")
    return with_scopes(*ADMIN_SCOPES)


@pytest.fixture
def shop(api):
    services.create_pool("main", by="cli")
    services.create_model("org/llama", "main", by="cli")
    services.create_backend("gpu-0", "main", "http://10.0.0.5:8000", by="cli")
    services.create_tenant("chat", by="cli", quotas={"in_flight": 8})
    return api
