"""The control API's OpenAPI document, tried out: every answer is one that it declares, and none is a 5xx."""

from __future__ import annotations

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from django.test import Client

from tests.integration.control_api.conftest import api, shop  # noqa: F401 - fixtures
from tests.integration.openapi.trial import try_all

# Real transactions: a statement that fails must not fail the next request's too.
pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)


@pytest.fixture
def one_connection():
    """The database connection stays that of the test, as with Django's own test client."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


def test_every_answer_is_one_that_the_document_declares(shop, valkey, one_connection) -> None:  # noqa: F811
    schema = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", get_wsgi_application())
    tried = try_all(schema, shop.secret)
    print(f"\n{tried:,} made-up requests")
    assert tried > 100


def test_the_data_planes_document_and_its_page_are_on_the_consoles_port_too() -> None:
    page = Client().get("/api/v1/data-plane/docs")
    document = Client().get("/api/v1/data-plane/openapi.json")

    assert page.status_code == document.status_code == 200
    assert 'href="openapi.json"' in page.content.decode()
    assert document.json()["info"]["title"] == "Fairlane data plane"


def test_requests_are_tried_out_on_the_page_only_where_the_gateway_has_the_same_port(monkeypatch) -> None:
    together = Client().get("/api/v1/data-plane/docs").content.decode()
    monkeypatch.setenv("FAIRLANE_ROLE", "console")
    split = Client().get("/api/v1/data-plane/docs").content.decode()

    assert "supportedSubmitMethods" not in together
    assert '"supportedSubmitMethods": []' in split


def test_an_address_with_a_line_break_is_a_problem_and_no_page() -> None:
    answer = Client(enforce_csrf_checks=True).patch("/api/v1/aliases/a%0Ab")

    assert (answer.status_code, answer["Content-Type"]) == (404, "application/problem+json")


def test_a_text_with_nul_is_a_problem_that_says_so(shop) -> None:  # noqa: F811
    answer = shop("POST", "tenants", {"slug": "nul", "name": "a\0b"})

    assert answer.status_code == 422
    assert "U+0000" in answer.json()["detail"]
