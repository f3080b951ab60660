"""What an admin does to one waiting request, at the gateway that holds it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from scheduling.core.view import Explanation
from scheduling.dispatchers.base import Dispatcher
from scheduling.models import Command

Steer = Callable[[Dispatcher, str], bool]

STEERS: Mapping[str, Steer] = {
    Command.Kind.CANCEL: lambda dispatcher, request_id: dispatcher.cancel(request_id),
    Command.Kind.MOVE_TO_FRONT: lambda dispatcher, request_id: dispatcher.move_to_front(request_id),
    Command.Kind.HOLD: lambda dispatcher, request_id: dispatcher.hold(request_id),
    Command.Kind.RELEASE: lambda dispatcher, request_id: dispatcher.release(request_id),
}


def act(dispatcher: Dispatcher, kind: str, request_id: str) -> dict[str, Any]:
    """Do it; ``done`` is False when the request does not wait any more, or an unknown thing is asked."""
    if kind == Command.Kind.EXPLAIN:
        told = dispatcher.explain(request_id)
        return {"done": False} if told is None else {"done": True, **spoken(told)}
    if steer := STEERS.get(kind):
        return {"done": steer(dispatcher, request_id)}
    return {"done": False, "error": f"this gateway does not know the command {kind}"}


def spoken(told: Explanation) -> dict[str, Any]:
    """An explanation as JSON: seconds, and reasons with a code each, what holds it back most first."""
    return {
        "position": told.position,
        "wait_s": seconds(told.wait_ms),
        "error_s": seconds(told.error_ms),
        "reasons": [{"code": reason.code, "text": reason.text} for reason in told.reasons],
    }


def seconds(ms: int | None) -> float | None:
    """Milliseconds in seconds, to a tenth."""
    return None if ms is None else round(ms / 1000, 1)
