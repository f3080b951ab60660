"""One gateway, one engine, and one process for each stock client, for all tests of this folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import httpx2 as httpx
import pytest

from gateway import tokens
from tests.fakes.gateway_process import running_gateway_process
from tests.fakes.speaker import running_speaker
from tests.fakes.wire import running_wire
from tests.sdk.clients import CLIENTS, Client
from tests.sdk.driving import Driver
from tests.sdk.matrix import THROUGH_US, WITHOUT_US, WRITE
from tests.sdk.stage import BRISK, QUICK, SPENT, TENANT, House, Stage, document, variable

ROLL_CALL = "test_a_client_is_here_to_be_tried"


@pytest.fixture(scope="session")
def drivers(request: pytest.FixtureRequest) -> Iterator[dict[str, Driver]]:
    """The installed clients that these tests are about; they start while the gateway does."""
    asked = list(map(_client_of, request.session.items))
    running = {client.name: Driver(client) for client in CLIENTS if client in asked and not client.missing}
    yield running
    for driver in running.values():
        driver.stop()


@pytest.fixture(scope="session")
def house(drivers: dict[str, Driver], django_db_setup: None) -> Iterator[House]:
    secrets = {tenant: tokens.generate() for tenant in (TENANT, BRISK, SPENT)}
    named = {variable(tenant): secret for tenant, secret in secrets.items()}
    with (
        running_speaker() as speaker,
        running_gateway_process(document(speaker.url), named, **QUICK) as gateway,
        running_wire(gateway.url) as wire,
        httpx.Client(base_url=gateway.url, timeout=10) as client,
    ):
        yield House(speaker, gateway, wire, client, secrets)


@pytest.fixture
def stage(client: Client, drivers: dict[str, Driver], house: House, tmp_path: Path) -> Stage:
    return Stage(house, drivers[client.name].ready(), tmp_path)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A client that is not installed is left out; ``ROLL_CALL`` says so, once."""
    left_out = {
        item
        for item in items
        if (client := _client_of(item)) and client.missing and getattr(item, "originalname", "") != ROLL_CALL
    }
    if left_out:
        config.hook.pytest_deselected(items=list(left_out))
        items[:] = [item for item in items if item not in left_out]


def _client_of(item: pytest.Item) -> Client | None:
    found = item.callspec.params.get("client") if hasattr(item, "callspec") else None
    return found if isinstance(found, Client) else None


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if WRITE in os.environ and exitstatus == pytest.ExitCode.OK:
        for matrix in (THROUGH_US, WITHOUT_US):
            if matrix.seen:
                matrix.write()
