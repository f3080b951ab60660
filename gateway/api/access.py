"""Who may use the control API: an admin's API token, by scope, and not faster than is good for all."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from threading import Lock

from django.http import HttpRequest
from ninja.security import HttpBearer

from gateway import selectors, tokens
from gateway.api.problems import Denied, TooFast
from gateway.scopes import allows
from gateway.selectors import AdminCaller

PREFIX = "/api/v1/"
PER_S = 50.0  # requests of one API token; a script may be quick, not a flood
BURST = 200
MOST_TOKENS = 10_000  # remembered at a time

# The first part of the path decides the scope; some share one.
RESOURCES = {
    "tenants": "tenants",
    "tokens": "tokens",
    "models": "models",
    "aliases": "models",
    "pools": "models",
    "backends": "backends",
    "policies": "policies",
    "classes": "policies",
    "queues": "queues",
    "usage": "usage",
    "changes": "changes",
    "requests": "requests",
    "batches": "batches",
}


class Pace:
    """A token bucket per key. One per process, so the limit is per process."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._left: dict[int, tuple[float, float]] = {}
        self._lock = Lock()

    def take(self, key: int) -> None:
        """Count one request. Raises TooFast with the time to wait."""
        with self._lock:
            now = self._now_s()
            left, at = self._left.get(key, (float(BURST), now))
            left = min(float(BURST), left + (now - at) * PER_S)
            if left < 1:
                raise TooFast(math.ceil((1 - left) / PER_S))
            if len(self._left) >= MOST_TOKENS:
                self._left.clear()
            self._left[key] = (left - 1, now)


class AdminToken(HttpBearer):
    """An admin's API token. Reading needs the resource's read scope, all else its write scope."""

    def __init__(self) -> None:
        super().__init__()
        self.pace = Pace()

    def authenticate(self, request: HttpRequest, token: str) -> AdminCaller | None:
        """The admin who calls. None is answered 401, Denied 403, TooFast 429."""
        secret = token.strip()
        if tokens.well_formed(secret) and tokens.prefix_of(secret) == tokens.INFERENCE:
            raise Denied(
                "This API token is for inference (fl_…). The control API needs an admin's (fla_…): "
                "`manage.py token issue --admin NAME --scope …`."
            )
        caller = selectors.admin_caller(secret)
        if caller is None:
            return None
        self.pace.take(caller.token_id)
        wanted = scope_of(request)
        if not allows(caller.scopes, wanted):
            raise Denied(
                f"This API token lacks the scope {wanted}. It has: {', '.join(sorted(caller.scopes))}."
            )
        return caller


def scope_of(request: HttpRequest) -> str:
    """The scope that a request needs. Raises Denied for a resource that has none."""
    first = request.path.removeprefix(PREFIX).partition("/")[0]
    resource = RESOURCES.get(first)
    if resource is None:
        raise Denied("No scope opens this address.")
    return f"{resource}:{'read' if request.method in ('GET', 'HEAD') else 'write'}"


def by(request: HttpRequest) -> str:
    """How the audit calls the caller."""
    caller: AdminCaller = request.auth  # type: ignore[attr-defined]  # set by Ninja
    return f"token:{caller.admin}/{caller.token_name}"
