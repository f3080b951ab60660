"""What no engine can mean is taken as not said."""

from __future__ import annotations

from dataclasses import replace

from scheduling.core.limits import EngineLoad

MOST_REQUESTS = 1_000_000  # running or waiting in one engine
MOST_COUNTED = 2**53  # exact in every language that may have counted it
MOST_KV_TOKENS = 10**9  # a thousand times what the largest machines of today hold
LONGEST_TOKEN_S = 3600.0
CLOCKS_APART_S = 86_400.0  # the engine's clock may be ahead of ours


def sane(load: EngineLoad, now_s: float) -> EngineLoad:
    """The reading without NaN, infinite, negative and absurd numbers.

    They become None, "not said", and never zero: an engine of which nothing
    is known must not look idle. A reading from the future was made now.
    ``now_s`` is Unix time.
    """
    return replace(
        load,
        read_at_s=min(load.read_at_s, now_s),
        running=_count(load.running, MOST_REQUESTS),
        waiting=_count(load.waiting, MOST_REQUESTS),
        kv_usage=_within(load.kv_usage, 0.0, 1.0),
        preemptions_total=_count(load.preemptions_total, MOST_COUNTED),
        work_total=_count(load.work_total, MOST_COUNTED),
        output_token_s=_within(load.output_token_s, 0.0, LONGEST_TOKEN_S),
        started_at_s=_within(load.started_at_s, 0.0, now_s + CLOCKS_APART_S),
        max_requests=_count(load.max_requests, MOST_REQUESTS) or None,
        kv_tokens=_count(load.kv_tokens, MOST_KV_TOKENS) or None,
    )


def _count(said: int | None, most: int) -> int | None:
    within = _within(said, 0, most)
    return None if within is None else int(within)


def _within(said: float | None, least: float, most: float) -> float | None:
    # NaN is in no order with anything, so it is not within either.
    return said if said is not None and least <= said <= most else None
