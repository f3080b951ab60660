"""The OpenAPI document and its page."""

from __future__ import annotations

import pytest
from django.contrib.staticfiles import finders
from django.test import Client

from tests.integration.control_api.script import PROBLEM

pytestmark = pytest.mark.django_db


def test_every_answer_is_declared_in_the_openapi_document() -> None:
    document = Client().get("/api/v1/openapi.json").json()
    operations = [each for path in document["paths"].values() for each in path.values()]
    assert len(operations) > 30
    for operation in operations:
        assert {"400", "401", "403", "404", "409", "422", "429", "503"} < operation["responses"].keys()
        assert list(operation["responses"]["404"]["content"]) == [PROBLEM]
        assert operation["security"]
        assert operation["description"]


def test_the_docs_page_uses_our_own_files_and_no_inline_script() -> None:
    page = Client().get("/api/v1/docs")
    text = page.content.decode()
    assert page.status_code == 200
    assert "http" not in text.replace("https://", "http://").split("<body>")[1].replace("openapi.json", "")
    assert "script-src 'self'" in page["Content-Security-Policy"]
    assert text.count("<script") == text.count("<script src=") + text.count('type="application/json"')
    assert "/static/ninja/swagger-ui-bundle.js" in text
    assert finders.find("ninja/swagger-ui-bundle.js")
