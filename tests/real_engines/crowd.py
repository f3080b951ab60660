"""Requests of three tenants all at once, and what the engine's own queue does meanwhile."""

from __future__ import annotations

import contextlib
import json
import math
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Self

import urllib3

from scheduling.core.limits import EngineLoad

TOKENS = 40
WEIGHTS = {"small": 1, "middle": 2, "large": 3}
REQUESTS = {"small": 50, "middle": 70, "large": 80}  # 200, and each tenant has some to the end of the shares
WHOLE_EVERY = 10  # one of ten does not stream
PROMPTS = tuple(f"tenant {name} takes its turn" for name in ("one", "two", "three", "four", "five"))
LOOK_EVERY_S = 0.1


@dataclass(frozen=True, slots=True)
class Ask:
    """One request to be sent."""

    tenant: str
    prompt: str
    stream: bool
    tokens: int = TOKENS
    priority: int | None = None  # the field as a client would set it; None leaves it out

    def body(self) -> dict[str, Any]:
        """The chat completion: greedy, exactly ``tokens`` long."""
        body: dict[str, Any] = {
            "model": "tiny",
            "messages": [{"role": "user", "content": self.prompt}],
            "max_tokens": self.tokens,
            "temperature": 0,
            "ignore_eos": True,
        }
        if self.priority is not None:
            body["priority"] = self.priority
        return {**body, "stream": True, "stream_options": {"include_usage": True}} if self.stream else body


@dataclass(frozen=True, slots=True)
class Heard:
    """One answer. Times are of the monotonic clock; a whole answer's first token is its end."""

    ask: Ask
    status: int
    asked_s: float
    first_s: float
    ended_s: float
    text: str
    tokens: int
    prompt_tokens: int
    finished: str  # the finish reason
    closed: bool  # the stream ended with [DONE], or the answer was one JSON document
    error: str = ""  # the code of an error event


def ask_all(url: str, secrets: dict[str, str], asks: Sequence[Ask]) -> list[Heard]:
    """Send them at once, a connection each; the answers in the order of the requests."""
    with (
        urllib3.PoolManager(maxsize=len(asks), timeout=600) as pool,
        ThreadPoolExecutor(len(asks)) as threads,
    ):
        return list(threads.map(lambda ask: ask_one(pool, url, secrets.get(ask.tenant, "none"), ask), asks))


def ask_one(pool: urllib3.PoolManager, url: str, secret: str, ask: Ask) -> Heard:
    """Send one and read its answer to the end."""
    asked_s = time.monotonic()
    answer = pool.request(
        "POST",
        f"{url}/v1/chat/completions",
        json=ask.body(),
        headers={"Authorization": f"Bearer {secret}"},
        preload_content=False,
        retries=False,
    )
    if ask.stream and answer.status == 200:
        return _stream(ask, answer, asked_s)
    document = json.loads(answer.read())
    now_s = time.monotonic()
    if answer.status != 200:
        return Heard(ask, answer.status, asked_s, now_s, now_s, str(document), 0, 0, "", False)
    choice, usage = document["choices"][0], document["usage"]
    return Heard(
        ask,
        200,
        asked_s,
        now_s,
        now_s,
        choice["message"]["content"],
        usage["completion_tokens"],
        usage["prompt_tokens"],
        choice["finish_reason"],
        True,
    )


def _stream(ask: Ask, answer: urllib3.BaseHTTPResponse, asked_s: float) -> Heard:
    body, first_s = bytearray(), None
    with contextlib.suppress(urllib3.exceptions.HTTPError):  # a stream that is cut has no [DONE]
        while piece := answer.read1(65536):
            first_s = first_s or (time.monotonic() if b'"choices":[{' in piece.replace(b" ", b"") else None)
            body += piece
    ended_s = time.monotonic()
    events = body.decode(errors="replace").split("\n\n")[:-1]
    lines = [event.removeprefix("data: ") for event in events if event.startswith("data: ")]
    chunks = [json.loads(line) for line in lines if line != "[DONE]"]
    choices = [choice for chunk in chunks for choice in chunk.get("choices", ())]
    usage = next((chunk["usage"] for chunk in reversed(chunks) if chunk.get("usage")), {})
    return Heard(
        ask,
        200,
        asked_s,
        first_s or ended_s,
        ended_s,
        "".join(choice["delta"].get("content") or "" for choice in choices),
        usage.get("completion_tokens", 0),
        usage.get("prompt_tokens", 0),
        next((choice["finish_reason"] for choice in reversed(choices) if choice["finish_reason"]), ""),
        bool(lines) and lines[-1] == "[DONE]",
        next((chunk["error"]["code"] for chunk in chunks if "error" in chunk), ""),
    )


def crowd() -> list[Ask]:
    """200 requests of three tenants, one tenant's after the other's."""
    return [
        Ask(tenant, PROMPTS[number % len(PROMPTS)], number % WHOLE_EVERY != 0)
        for tenant, count in REQUESTS.items()
        for number in range(count)
    ]


class Watch:
    """The engine's own figures, read at a steady pace while a block runs; with them what Fairlane shows."""

    def __init__(self, read: Callable[[], EngineLoad], pool: Callable[[], Any] = lambda: None) -> None:
        self.loads: list[EngineLoad] = []
        self.pools: list[Any] = []
        self._read = read
        self._pool = pool
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._look), threading.Thread(target=self._show)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _look(self) -> None:
        while not self._over.wait(LOOK_EVERY_S):
            self.loads.append(self._read())

    def _show(self) -> None:
        while not self._over.wait(5 * LOOK_EVERY_S):
            if pool := self._pool():
                self.pools.append(pool)

    def full(self, seats: int) -> list[EngineLoad]:
        """The readings from the first to the last at which every seat of the engine was taken."""
        taken = [place for place, load in enumerate(self.loads) if load.running == seats]
        return self.loads[taken[0] : taken[-1] + 1] if taken else []


def percentile(values: Sequence[float], part: float) -> float:
    """The smallest value that at least this part of all is not above."""
    return sorted(values)[max(0, math.ceil(part * len(values)) - 1)]


def shares(answers: Sequence[Heard]) -> dict[str, float]:
    """Each tenant's part of the first tokens, while every tenant still had requests in line."""
    dry_s = min(max(one.first_s for one in answers if one.ask.tenant == tenant) for tenant in WEIGHTS)
    served = Counter(one.ask.tenant for one in answers if one.first_s <= dry_s)
    return {tenant: served[tenant] / served.total() for tenant in WEIGHTS}


def wrong(answers: Sequence[Heard]) -> list[Heard]:
    """Answers that are not 200, not of the right length, or not properly ended."""
    return [
        one
        for one in answers
        if (one.status, one.tokens, one.finished, one.closed) != (200, one.ask.tokens, "length", True)
    ]


def other_text(answers: Sequence[Heard], alone: dict[str, str]) -> int:
    """How many answers differ from the text that the engine wrote for the same prompt alone."""
    return sum(one.text != alone[one.ask.prompt] for one in answers)


def line(name: str, answers: Sequence[Heard], watch: Watch, seats: int) -> str:
    """One row for the README's table."""
    full = watch.full(seats)
    waiting = [load.waiting or 0 for load in full]
    first_s = [one.first_s - one.asked_s for one in answers]
    took_s = max(one.ended_s for one in answers) - min(one.asked_s for one in answers)
    busy = statistics.mean((load.running or 0) / seats for load in full)
    parts = " / ".join(f"{share:.0%}" for share in shares(answers).values())
    return (
        f"| {name} | {statistics.mean(waiting):.1f} / {percentile(waiting, 0.99)} / {max(waiting)} "
        f"| {busy:.0%} | {parts} | {statistics.median(first_s):.1f} s / {max(first_s):.1f} s "
        f"| {took_s:.0f} s | {sum(one.tokens for one in answers) / took_s:.0f} | {len(full)} |"
    )
