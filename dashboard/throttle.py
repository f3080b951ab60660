"""Slows the guessing of passwords: counts failed sign-ins in this process's memory."""

from __future__ import annotations

import hashlib

from django.core.cache import cache

WINDOW_S = 300
TRIES = {"pair": 5, "address": 30}  # per user and address, and per address alone


def must_wait(username: str, address: str) -> bool:
    """Whether this address tried too often, with this name or at all; for WINDOW_S at most."""
    return any(cache.get(key, 0) >= TRIES[kind] for kind, key in _keys(username, address).items())


def count_failure(username: str, address: str) -> None:
    """One more failed try; all are forgotten WINDOW_S after the first one."""
    for key in _keys(username, address).values():
        cache.add(key, 0, WINDOW_S)
        cache.incr(key)


def forget(username: str, address: str) -> None:
    """The right password was given."""
    cache.delete(_keys(username, address)["pair"])


def _keys(username: str, address: str) -> dict[str, str]:
    pair = hashlib.sha256(f"{username.casefold()}\n{address}".encode()).hexdigest()
    return {"pair": f"sign-in:{pair}", "address": f"sign-in:from:{address}"}
