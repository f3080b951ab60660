"""What a pool can be told about engines, each choice in one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Choice:
    """One choice: its name and what it does."""

    name: str
    sentence: str

    def __str__(self) -> str:
        return self.name


LAWS: Mapping[str, Choice] = {
    "first_token_window": Choice(
        "First-token window",
        "Only a few requests per backend may wait for their first token; readings trim how many. "
        "The default: it needs no metrics, and no herd gets in between two readings.",
    ),
    "queue_target": Choice(
        "Queue target",
        "Send while the engine's last reading says that fewer than the target wait in it. The article's "
        "rule, as written: a herd gets in between two readings, unless what was sent since is counted.",
    ),
    "tpot_target": Choice(
        "Time per output token",
        "Lower the cap while the engine's mean time per output token is above the target, raise it while "
        "work waits. Without a target: 150 ms.",
    ),
    "static_cap": Choice(
        "Static cap",
        "Only the backend's most in flight holds. What the engine says changes nothing.",
    ),
    "gradient": Choice(
        "Gradient",
        "Lower the cap when first tokens take longer than they did over a long time. For comparison: "
        "it takes every slower answer for a queue.",
    ),
}
STALE: Mapping[str, Choice] = {
    "keep": Choice("Keep the limit", "The last limit stays until there is a reading again. The default."),
    "open": Choice("Fail open", "Only the backend's most in flight holds until there is a reading again."),
    "closed": Choice("Fail closed", "Nothing is sent until there is a reading again."),
}
ENGINE_PRIORITY: Mapping[str, Choice] = {
    "off": Choice("Off", "Engines get no priority; what a client sends of it is taken out."),
    "with_window": Choice(
        "With the window",
        "Our order goes on as the engine's priority, and the admission law still holds requests back here.",
    ),
    "alone": Choice(
        "Alone",
        "Everything is sent at once and only the engine's priority keeps order. Quotas and weights of "
        "requests that are inside an engine cannot change any more.",
    ),
}


def choices(of: Mapping[str, Choice]) -> list[tuple[str, Choice]]:
    """The same for a form."""
    return list(of.items())
