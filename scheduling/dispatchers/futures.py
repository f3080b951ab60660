"""Futures that are only a signal: whoever waits for one looks for itself what has happened."""

from __future__ import annotations

from asyncio import Future


def resolve(future: Future[None] | None) -> None:
    """Wake whoever waits for it, if anybody does and was not woken yet."""
    if future is not None and not future.done():
        future.set_result(None)
