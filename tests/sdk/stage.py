"""A stock client before the product's gateway, before an engine that does as the prompt says."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2 as httpx

from tests.fakes.gateway_process import GatewayProcess
from tests.fakes.speaker import Speaker
from tests.fakes.voices import MODEL, WORDS
from tests.fakes.wire import Wire
from tests.sdk.driving import Driver
from tests.sdk.matrix import THROUGH_US, Matrix

NARROW = "narrow"  # a model whose only backend has one seat
TENANT, BRISK, SPENT = "research", "brisk", "spent"
BRISK_RPM = 60  # a refused request of this tenant is told to come back after 1 s and up to a quarter more
PATIENCE_S = 30.0  # a command line client starts anew for each request, on a machine with other work
DOCUMENT = {
    "models": [{"name": MODEL, "pool": "main"}, {"name": NARROW, "pool": NARROW}],
    "tenants": [
        {"slug": TENANT},
        {"slug": BRISK, "quotas": {"requests_per_minute": {"limit": BRISK_RPM, "when_exhausted": "refuse"}}},
        {"slug": SPENT, "quotas": {"tokens_per_day": 1}},
    ],
}
QUICK = {  # knobs: nobody has to wait long to see how waiting looks
    "FAIRLANE_HOLD_STATUS_S": "0.1",
    "FAIRLANE_COMMENT_EVERY_S": "0.1",
    "FAIRLANE_RECORD_EVERY_S": "0.05",
    "FAIRLANE_DRAIN_S": "0",
}


def document(engine_url: str) -> dict[str, Any]:
    """The rules: an engine with room, the same one with a single seat, and three tenants."""
    backends = [
        {
            "name": pool,
            "pool": pool,
            "engine": "vllm",
            "url": engine_url,
            "models": [model],
            "max_in_flight": seats,
        }
        for pool, model, seats in (("main", MODEL, 64), (NARROW, NARROW, 1))
    ]
    tokens = [
        {"tenant": tenant["slug"], "name": "sdk", "secret_env": variable(str(tenant["slug"]))}
        for tenant in DOCUMENT["tenants"]
    ]
    tenants = [{"name": tenant["slug"], **tenant} for tenant in DOCUMENT["tenants"]]
    return {**DOCUMENT, "tenants": tenants, "backends": backends, "tokens": tokens}


def variable(tenant: str) -> str:
    """The environment variable with the tenant's API token."""
    return f"{tenant.upper()}_TOKEN"


def until(true: Callable[[], Any]) -> None:
    """Wait for what happens in another process or thread."""
    ends_s = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < ends_s, "it did not happen"
        time.sleep(0.002)


@dataclass(frozen=True, slots=True)
class House:
    """What all clients meet."""

    speaker: Speaker
    gateway: GatewayProcess
    wire: Wire
    client: httpx.Client  # somebody else
    secrets: Mapping[str, str]

    def ask(self, tenant: str) -> int:
        """One short answer; its status."""
        return self.client.post(
            "/v1/chat/completions", json=_chat(MODEL, "say"), headers=self._token(tenant)
        ).status_code

    def someone_waits(self) -> bool:
        """Whether a request of the tenant stands in line."""
        told = self.client.get("/v1/queue", headers=self._token(TENANT)).text
        return any(map(int, re.findall(r'"queued_requests":(\d+)', told)))

    @contextmanager
    def spent(self, tenant: str, refused: Callable[[], object]) -> Iterator[None]:
        """The tenant's minute stays used up until ``refused``, however long that takes."""
        while self.ask(tenant) == 200:
            pass

        def take() -> None:
            while not refused() and not over.is_set():
                self.ask(tenant)

        over = threading.Event()
        taker = threading.Thread(target=take)
        taker.start()
        try:
            yield
        finally:
            over.set()
            taker.join()

    @contextmanager
    def full(self) -> Iterator[None]:
        """The only seat of the narrow model is taken; afterwards it is free."""
        body = {**_chat(NARROW, "hold"), "stream": True}
        with self.client.stream(
            "POST", "/v1/chat/completions", json=body, headers=self._token(TENANT)
        ) as answer:
            until(lambda: self.speaker.held == 1)
            try:
                yield
            finally:
                self.speaker.release()
                answer.read()

    def _token(self, tenant: str) -> dict[str, str]:
        return {"authorization": f"Bearer {self.secrets[tenant]}"}

    def ended(self, outcome: str) -> int:
        """How many requests have ended like this, by the books."""
        count = "SELECT count(*) FROM gateway_usagerecord WHERE outcome = %s"
        return int(self.gateway.query(count, [outcome])[0][0])


@dataclass(frozen=True, slots=True)
class Stage:
    """One client in the house."""

    house: House
    driver: Driver
    folder: Path
    matrix: Matrix = THROUGH_US

    def see(self, row: str, text: str = "ok") -> None:
        """Note what the client did."""
        self.matrix.see(row, self.driver.client, text)

    def call(self, scene: str = "say", **changes: Any) -> dict[str, Any]:
        """A call's arguments."""
        return {
            "url": self.house.gateway.url,
            "key": self.house.secrets[TENANT],
            "model": MODEL,
            "prompt": f"scene:{scene} Say something.",
            "tools": scene == "tool",
            "usage": False,
            "retries": 2,
            "headers": {},
            "until": str(self.leave_now),
            **changes,
        }

    def do(self, verb: str, scene: str = "say", **changes: Any) -> dict[str, Any]:
        """Have the client do something, directly at the gateway."""
        return self.driver.do(verb, **self.call(scene, **changes))

    def on_wire(self, scene: str = "say", **changes: Any) -> dict[str, Any]:
        """A call's arguments, with everything that passes looked at."""
        self.house.wire.clear()
        return self.call(scene, url=self.house.wire.url, **changes)

    def do_until_held(self, verb: str, scene: str) -> dict[str, Any]:
        """Have the client read a stream; the engine goes on when its first words have reached the client."""
        self.driver.begin(verb, **self.on_wire(scene, retries=0))
        until(lambda: WORDS[1].strip().encode() in self.house.wire.said)
        self.house.speaker.release()
        return self.driver.result()

    @property
    def attempts(self) -> int:
        """How often the client asked since the wire was cleared."""
        return len(self.house.wire.asked_s)

    @property
    def leave_now(self) -> Path:
        """The file that tells a waiting client to leave."""
        return self.folder / "leave"


def _chat(model: str, scene: str) -> dict[str, Any]:
    return {"model": model, "max_tokens": 8, "messages": [{"role": "user", "content": f"scene:{scene}"}]}
