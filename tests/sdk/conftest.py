"""One gateway, one engine, and one process for each stock client, for all tests of this folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
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

REQUIRE = "FAIRLANE_REQUIRE_SDK"  # then a client that is not installed is a failure


@pytest.fixture(scope="session")
def drivers(request: pytest.FixtureRequest) -> Iterator[dict[str, Driver]]:
    """The installed clients that these tests are about; they start while the gateway does."""
    asked = [
        item.callspec.params.get("client") for item in request.session.items if hasattr(item, "callspec")
    ]
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
def driver_of(drivers: dict[str, Driver]) -> Callable[[Client], Driver]:
    def find(client: Client) -> Driver:
        if client.missing:
            (pytest.fail if os.environ.get(REQUIRE) else pytest.skip)(client.missing)
        return drivers[client.name].ready()

    return find


@pytest.fixture
def stage(client: Client, driver_of: Callable[[Client], Driver], house: House, tmp_path: Path) -> Stage:
    return Stage(house, driver_of(client), tmp_path)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if WRITE in os.environ and exitstatus == pytest.ExitCode.OK:
        for matrix in (THROUGH_US, WITHOUT_US):
            if matrix.seen:
                matrix.write()
