"""Headless Chromium on the console, and what no page may do."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests import scenes
from tests.console_server import Console, running_console

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PUBLISH_EVERY_S = 0.5
LATE_S = 10


@pytest.fixture(scope="package")
def chromium(django_db_setup) -> Iterator[Browser]:
    """One Chromium for all browser tests; its loop must end with them, so not for the session."""
    if not CHROMIUM.exists():
        reason = f"there is no {CHROMIUM}: install it with apt-get install chromium"
        if os.environ.get("FAIRLANE_REQUIRE_BROWSER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    first_rows = connection._test_serialized_contents
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        # Playwright's loop runs in this thread, so Django takes it for an async one, with a connection
        # of its own, which must know too what a fresh database holds.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        connection._test_serialized_contents = first_rows
        launched = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(ARGUMENTS))
        yield launched
        launched.close()


@pytest.fixture(scope="package")
def console(chromium, django_db_setup, django_db_blocker) -> Iterator[Console]:
    """The console, served for all browser tests.

    It lives on between them, and may still answer what a page asked last: pytest-django must not
    take the database from it then.
    """
    with django_db_blocker.unblock(), running_console() as console:
        yield console


@pytest.fixture
def console_url(console) -> str:
    return console.url


@pytest.fixture
def scene(console, transactional_db, valkey, quick_passwords) -> Iterator[None]:
    """The rules of scenes.py, and a gateway that publishes twice a second and obeys them."""
    scenes.make_rules()
    scenes.publish(valkey)
    over = threading.Event()

    def publish() -> None:
        while not over.wait(PUBLISH_EVERY_S):
            scenes.publish(valkey)
        connection.close()  # this thread's

    gateway = threading.Thread(target=publish, name="gateway")
    gateway.start()
    yield
    over.set()
    gateway.join()
    _wait_for_late_requests(console)


def _wait_for_late_requests(console: Console) -> None:
    """What a page asked last may still be read for it: the tables are emptied only after that.

    Between two queries a request's connection is idle, so it is the console that knows.
    """
    busy = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid() AND backend_type = 'client backend' AND state <> 'idle'"
    )
    until_s = time.monotonic() + LATE_S
    while console.running:
        assert time.monotonic() < until_s, "the console still answers a page that is closed"
        time.sleep(0.01)
    with connection.cursor() as cursor:
        while cursor.execute(busy).fetchone()[0]:
            assert time.monotonic() < until_s, "somebody still uses the tests' database"
            time.sleep(0.01)


@pytest.fixture
def quick_passwords(settings) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@dataclass
class Conduct:
    """What pages did that they must not."""

    faults: list[str] = field(default_factory=list)

    def watch(self, context: BrowserContext, url: str) -> None:
        """Note every error, refused resource and request to another place."""
        context.on("weberror", lambda error: self.faults.append(f"script: {error.error}"))
        context.on("console", lambda line: self._hear(line.type, line.text))
        context.on("request", lambda request: self._see(request.url, url))

    def _hear(self, kind: str, text: str) -> None:
        expected = "status of 422" in text or "status of 403" in text
        if kind in ("error", "warning") and not expected:
            self.faults.append(f"console {kind}: {text}")

    def _see(self, address: str, url: str) -> None:
        if not address.startswith((url, "data:")):
            self.faults.append(f"outside request: {address}")


@pytest.fixture
def open_page(chromium, console_url, scene) -> Iterator[Callable[..., Page]]:
    """Opens a page as a new person. Ends with a check of every page's conduct."""
    conduct = Conduct()
    contexts: list[BrowserContext] = []

    def open_page(address: str, *, staff: bool = True, signed_in: bool = True, **options) -> Page:
        context = chromium.new_context(base_url=console_url, **options)
        contexts.append(context)
        conduct.watch(context, console_url)
        if signed_in:
            session = _session(f"ada{len(contexts)}", staff=staff)
            context.add_cookies([{"name": "sessionid", "value": session, "url": console_url}])
        page = context.new_page()
        page.set_default_timeout(5_000)
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert conduct.faults == []


def _session(name: str, *, staff: bool) -> str:
    client = Client()
    client.force_login(User.objects.create_user(name, is_staff=staff))
    return client.cookies["sessionid"].value
