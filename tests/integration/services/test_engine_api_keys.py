"""The API keys of engines: sealed in the database, and never in the audit."""

from __future__ import annotations

import pytest

from scheduling import models, secrets, selectors, services
from tests.integration.services.rules import BY

pytestmark = pytest.mark.django_db


def test_an_engines_api_key_is_stored_sealed_and_never_audited(shop) -> None:
    services.change_backend("gpu-0", by=BY, api_key="hunter2-original")
    services.change_backend("gpu-0", by=BY, api_key="hunter2-changed")

    assert selectors.endpoints()["gpu-0"].api_key == "hunter2-changed"
    assert b"hunter2" not in bytes(models.Backend.objects.get().api_key_encrypted)
    audit = str(list(models.Change.objects.values()))
    assert "hunter2" not in audit
    assert [(c.field, c.before, c.after) for c in selectors.changes()[:2]] == [
        ("api_key", "(set)", "(changed)"),
        ("api_key", "", "(set)"),
    ]


def test_a_new_secret_key_makes_api_keys_unreadable_but_breaks_nothing(shop, settings, caplog) -> None:
    services.change_backend("gpu-0", by=BY, api_key="hunter2")
    settings.SECRET_KEY = "another"

    assert selectors.endpoints()["gpu-0"].api_key == ""
    assert selectors.unreadable_api_keys() == ["gpu-0"]
    assert "Enter it again" in caplog.text
    with pytest.raises(secrets.Unreadable):
        secrets.unseal(bytes(models.Backend.objects.get().api_key_encrypted))
