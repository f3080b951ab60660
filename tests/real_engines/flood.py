"""One greedy tenant's flood, and what a quiet one feels of it."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import openai

from scheduling.core.limits import EngineLoad

FLOOD = 40  # requests the greedy tenant sends at once: ten times the engine's seats
FLOOD_TOKENS = 120
ASKED = 5  # requests of the quiet tenant, one after the other, while the flood lasts


@dataclass(frozen=True, slots=True)
class Felt:
    """The quiet tenant's first-token times, the engine's queue meanwhile, the flood's duration."""

    first_token_s: list[float]
    queue: list[int]
    flood_s: float

    def __str__(self) -> str:
        return (
            f"quiet tenant's first token median of {len(self.first_token_s)} "
            f"{statistics.median(self.first_token_s):.2f} s, worst {max(self.first_token_s):.2f} s; "
            f"engine queue mean {statistics.mean(self.queue):.1f}, most {max(self.queue)}; "
            f"{FLOOD} requests of {FLOOD_TOKENS} tokens in {self.flood_s:.1f} s"
        )


def first_token_s(client: openai.OpenAI, tokens: int) -> float:
    """Seconds from the request to the first chunk with a choice; the answer is read to its end."""
    began_s, first_s = time.monotonic(), None
    with client.chat.completions.create(
        model="tiny",
        messages=[{"role": "user", "content": "each tenant takes its turn"}],
        max_tokens=tokens,
        stream=True,
        extra_body={"ignore_eos": True},
    ) as stream:
        for chunk in stream:
            if chunk.choices and first_s is None:
                first_s = time.monotonic() - began_s
    assert first_s is not None
    return first_s


def quiet_under_flood(greedy: openai.OpenAI, quiet: openai.OpenAI, read: Callable[[], EngineLoad]) -> Felt:
    """Flood as one tenant; ask as the other while it lasts."""
    began_s = time.monotonic()
    threads = [threading.Thread(target=first_token_s, args=(greedy, FLOOD_TOKENS)) for _ in range(FLOOD)]
    for thread in threads:
        thread.start()
    ends_s = time.monotonic() + 10
    while (read().running or 0) < 4 and time.monotonic() < ends_s:
        time.sleep(0.05)
    queue: list[int] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.1):
            queue.append(read().waiting)

    watcher = threading.Thread(target=watch)
    watcher.start()
    times: list[float] = []
    while len(times) < ASKED and any(thread.is_alive() for thread in threads):
        times.append(first_token_s(quiet, 8))
    for thread in threads:
        thread.join()
    duration_s = time.monotonic() - began_s
    over.set()
    watcher.join()
    return Felt(times, queue, duration_s)


def assert_the_quiet_tenant_is_served(bare: Felt, behind: Felt) -> None:
    """Its first token comes in less than half the time, and the engine's own queue stays short."""
    assert statistics.median(behind.first_token_s) < statistics.median(bare.first_token_s) / 2
    assert max(behind.queue) < max(bare.queue) / 2
