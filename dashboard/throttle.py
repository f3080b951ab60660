"""Slows the guessing of passwords: counts failed sign-ins in this process's memory."""

from __future__ import annotations

import hashlib

from django.core.cache import cache

WINDOW_S = 300
TRIES = {"pair": 5, "address": 30}  # per user and address, and per address alone


def may_try(username: str, address: str) -> bool:
    """Count one more try. False when this address tried too often, with this name or at all, within WINDOW_S.

    It counts before the password is looked at, or all tries that come at once would be looked at.
    """
    keys = _keys(username, address)
    tries = {kind: _count(key, 1) for kind, key in keys.items()}
    if all(tries[kind] <= TRIES[kind] for kind in keys):
        return True
    for key in keys.values():  # who waits is no further from a try for having asked
        _count(key, -1)
    return False


def forget(username: str, address: str) -> None:
    """The right password was given: that was no failure."""
    keys = _keys(username, address)
    cache.delete(keys["pair"])
    _count(keys["address"], -1)


def _count(key: str, more: int) -> int:
    """What is counted now; all is forgotten WINDOW_S after the first."""
    cache.add(key, 0, WINDOW_S)
    return cache.incr(key, more)


def _keys(username: str, address: str) -> dict[str, str]:
    pair = hashlib.sha256(f"{username.casefold()}\n{address}".encode()).hexdigest()
    return {"pair": f"sign-in:{pair}", "address": f"sign-in:from:{address}"}
