"""The slow loop's two steps: the next window from the engine's queue, the next cap from its token times."""

from __future__ import annotations

from scheduling.core.backend_state import OwnCounts
from scheduling.core.limits import EngineLoad

WINDOW_FLOOR = 1  # one request must always be able to prove that the engine is up
WINDOW_CEILING = 128  # requests; enough to hide 100 ms each way at 150 requests/s
GROWTH, GROWTH_STEP = 1.5, 1.0  # the window's step up: x 1.5 + 1
FULL_KV = 0.95  # a fuller KV memory means that the engine waits for memory, not for us
CAP_FLOOR = 1
CAP_CUT = 0.9  # the cap's step down when tokens come too slowly


def next_window(window: float, load: EngineLoad, own: OwnCounts, target: int) -> tuple[float, str]:
    """The window in requests, 1..128, that keeps the engine's queue near ``target``, and the reason."""
    ours = min(load.waiting or 0, own.pending)
    if ours > target:
        cut = max(float(WINDOW_FLOOR), window - (ours - target))
        return cut, f"{load.waiting} wait in the engine, target {target}: window cut"
    if load.waiting != 0 or not own.blocked:
        return window, "window holds"
    if load.running == 0 and own.streaming:
        # A page that calls an engine idle while it serves us is wrong or late: no step up on it.
        return window, "window holds: the engine says idle while our requests stream"
    if (load.kv_usage or 0.0) >= FULL_KV:
        return window, f"window holds: KV memory {load.kv_usage:.0%} full"
    grown = min(float(WINDOW_CEILING), GROWTH * window + GROWTH_STEP)
    return grown, "engine queue empty while work waited: window grown"


def next_cap(cap: float, most: int, *, mean_ms: float, target_ms: int, blocked: bool) -> tuple[float, str]:
    """The guard on time per output token: cap x 0.9 while it is over target, else + 1; and the reason.

    Range: 1..``most``. It also catches an engine that reports an empty
    queue while it is slow. No step up unless the gate held work back.
    """
    if mean_ms > target_ms:
        cut = max(float(CAP_FLOOR), CAP_CUT * cap)
        return cut, f"{mean_ms:.0f} ms per token, target {target_ms}: cap cut"
    if blocked and cap < most:
        raised = min(float(most), cap + 1)
        return raised, f"{mean_ms:.0f} ms per token, target {target_ms}: cap raised"
    return cap, ""
